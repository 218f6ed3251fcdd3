"""scikit-learn: estimators and pipelines, as ONNX by skl2onnx.

How it works: one matrix of numbers is one input, ``features``; a ColumnTransformer that was fitted on named columns
gets an input per column (sklearn_inputs.py). skl2onnx converts; then both the estimator and the ONNX model predict
some rows, and each output of the model is named after the method whose values it has: ``label`` (predict),
``probabilities`` (predict_proba), ``scores`` (decision_function), ``distances`` (a clusterer's transform), ... An
output that no method explains is left out. Pickled files are code, and loaded only with ``trust``.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

import vonk
from vonk.packing import _opened, sklearn_inputs
from vonk.packing._plan import Array, Conversion, PackError, Port, Request

#: ONNX Runtime 1.16 reads them
OPSETS = {"": 18, "ai.onnx.ml": 3}
#: ONNX's numbers of two types
FLOAT, DOUBLE = 1, 11
ROWS = 40
SEED = 20
#: of a model in float32, where the estimator computes in double precision
TOLERANCE = 1e-4
#: between a float32 model and an estimator in double precision, and of how many rows, when methods are told apart
CLOSE, MOST = 1e-2, 0.8
#: for the converters that have these options; texts are lowered as UTF-8 whatever languages the system has
OPTIONS = {"zipmap": False, "locale": "C.UTF-8"}


@dataclass(frozen=True)
class Meaning:
    """What an output of the ONNX model is: a method of the estimator, under a name that users see."""

    tensor: str
    name: str
    method: str
    is_flat: bool  # one number a row, for which the model has a column


def convert(request: Request, folder: Path) -> Conversion:
    """Converts a fitted estimator.

    Parameters
    ----------
    request
        ``source`` is an estimator, or a file that joblib or pickle wrote, which needs ``trust``.
    folder
        An empty folder for the result.

    Raises
    ------
    PackError
        It is not fitted, a step has no converter, or the file is not trusted.
    """
    if request.to not in (None, "onnx"):
        raise PackError(f"--to {request.to}: a scikit-learn model becomes onnx", "VONK_INVALID")
    estimator, notes = _estimator(request)
    _opened.need("skl2onnx", "sklearn", "packing a scikit-learn model")
    _check_fitted(estimator)
    ports = sklearn_inputs.inputs(estimator, request)
    request.progress(f"converting {type(estimator).__name__} to ONNX")
    model = _converted(estimator, ports)
    path = folder / "model.onnx"
    rows = sklearn_inputs.rows(estimator, ports, request, ROWS, numpy.random.default_rng(SEED))
    meanings, left_out = _finished(model, estimator, ports, rows, path)
    notes += [f"the converted model's output '{name}' is left out: no method gives the same" for name in left_out]
    found_in, found_out = _opened.ports(path)
    by_name = {port.name: port for port in (*found_in, *found_out)}
    outputs = [by_name[meaning.name] for meaning in meanings]

    def reference(given: Mapping[str, Array]) -> Mapping[str, Array]:
        rows_ = sklearn_inputs.table(estimator, ports, given)
        return {m.name: _as(port, _call(estimator, m.method, rows_)) for m, port in zip(meanings, outputs, strict=True)}

    return Conversion(
        "onnx", "onnx", path, [by_name[port.name] for port in ports], outputs, reference,
        provenance=_provenance(estimator), notes=notes,
        samples=lambda n, rng: sklearn_inputs.rows(estimator, ports, request, n, rng),
        labels=_labels(estimator, outputs), tolerance=None if _is_double(ports) else TOLERANCE,
    )  # fmt: skip


def _provenance(estimator: Any) -> dict[str, str]:
    columns = getattr(estimator, "feature_names_in_", None)
    versions = {"framework": _opened.version("scikit-learn"), "converter": _opened.version("skl2onnx")}
    return versions | ({"features": ", ".join(map(str, columns))} if columns is not None else {})


def _is_double(ports: Sequence[Port]) -> bool:
    return any(port.dtype == "float64" for port in ports)


def _labels(estimator: Any, outputs: Sequence[Port]) -> dict[str, list[str]]:
    classes = getattr(estimator, "classes_", None)
    if classes is None or numpy.ndim(classes) != 1:
        return {}
    names = [str(name) for name in classes]
    if any(not name.strip() or len(name.splitlines()) != 1 for name in names):
        return {}  # a bundle's labels are lines
    return {p.name: names for p in outputs if p.name in ("probabilities", "scores") and p.shape[-1] == len(names)}


# --- the estimator ---


def _estimator(request: Request) -> tuple[Any, list[str]]:
    if not isinstance(request.source, (str, Path)):
        return request.source, []
    path = Path(request.source)
    if not request.trust:
        raise PackError(
            f"{path}: is a pickle, and loading a pickle runs the code in it: --trust, if you made the file, or pass "
            "the estimator itself to vonk.pack in Python"
        )
    joblib = _opened.need("joblib", "sklearn", "loading it")
    _opened.need("sklearn", "sklearn", "loading it")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found = joblib.load(path)
        except ModuleNotFoundError as error:
            raise PackError(f"{path}: needs the Python package '{error.name}', which is not installed") from None
        except Exception as error:
            raise PackError(f"{path}: cannot be loaded: {type(error).__name__}: {_first_line(error)}") from None
    if not hasattr(found, "get_params"):
        raise PackError(f"{path}: holds {type(found).__name__}, no scikit-learn estimator: save the estimator itself")
    old = [getattr(w.message, "original_sklearn_version", "") for w in warned]
    return found, [f"it was saved by scikit-learn {version}" for version in old if version][:1]


def _check_fitted(estimator: Any) -> None:
    from sklearn.exceptions import NotFittedError  # noqa: PLC0415
    from sklearn.utils.validation import check_is_fitted  # noqa: PLC0415

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise PackError(f"{type(estimator).__name__}: is not fitted: call its fit first") from None
    except TypeError as error:
        raise PackError(f"{type(estimator).__name__}: is no estimator: {_first_line(error)}") from None


# --- conversion ---


def _converted(estimator: Any, ports: Sequence[Port]) -> Any:
    """The model as skl2onnx makes it.

    Raises
    ------
    PackError
        Names the step that it cannot convert.
    """
    skl2onnx = importlib.import_module("skl2onnx")
    options = {}
    twin = _convertible(estimator)
    for _, part in sklearn_inputs.steps(twin):
        # a pipeline would hand its options to its last step, whatever that is
        allowed = {} if hasattr(part, "steps") else _allowed_options(part)
        if chosen := {key: value for key, value in OPTIONS.items() if key in allowed}:
            options[id(part)] = chosen
    types = [(port.name, sklearn_inputs.onnx_type(port)) for port in ports]
    try:
        with warnings.catch_warnings(), _plain_numbers():
            warnings.simplefilter("ignore")
            return skl2onnx.to_onnx(twin, initial_types=types, options=options, target_opset=OPSETS)
    except Exception as error:
        raise PackError(_why_not(estimator, error)) from error


def _allowed_options(part: Any) -> Mapping[str, Any]:
    operators = importlib.import_module("skl2onnx._supported_operators")
    registration = importlib.import_module("skl2onnx.common._registration")
    try:
        converter = registration.get_converter(operators.get_model_alias(type(part)))
    except Exception:
        return {}  # without a converter: said when it is converted
    return converter.get_allowed_options() or {}


@contextlib.contextmanager
def _plain_numbers() -> Iterator[None]:
    """skl2onnx 1.20 writes lists of numbers with truth values and NumPy's scalars among them: onnx 1.23 refuses."""
    container: Any = importlib.import_module("skl2onnx.common._container")
    make_node = container.make_node

    def make(*args: Any, **attributes: Any) -> Any:
        plain = {
            key: [_plain(item) for item in value] if isinstance(value, list) else value
            for key, value in attributes.items()
        }
        return make_node(*args, **plain)

    container.make_node = make
    try:
        yield
    finally:
        container.make_node = make_node


def _plain(item: Any) -> Any:
    item = item.item() if isinstance(item, numpy.generic) else item
    return int(item) if isinstance(item, bool) else item


def _convertible(estimator: Any) -> Any:
    """A vote's converter insists on another form of ``transform``, which is not used here."""
    if getattr(estimator, "flatten_transform", False) and hasattr(estimator, "estimators_"):
        estimator = copy.copy(estimator)
        estimator.flatten_transform = False
    elif getattr(estimator, "steps", None):
        *before, (name, last) = estimator.steps
        estimator = copy.copy(estimator)
        estimator.steps = [*before, (name, _convertible(last))]
    return estimator


def _why_not(estimator: Any, error: Exception) -> str:
    """Names the step, if the message has its class."""
    text = str(error)
    for name, part in sorted(sklearn_inputs.steps(estimator), key=lambda pair: -len(type(pair[1]).__name__)):
        kind = type(part)
        if f"{kind.__module__}.{kind.__name__}" in text or re.search(rf"\b(Sklearn)?{kind.__name__}\b", text):
            step = f"step '{name}' ({kind.__name__})" if name else kind.__name__
            if "Unable to find a" in text or "No proper" in text:
                return f"{step}: skl2onnx has no converter for it: leave it out of the pipeline, or replace it"
            return f"{step}: skl2onnx cannot convert it: {_first_line(error)}"
    return f"{type(estimator).__name__}: skl2onnx cannot convert it: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300].rstrip(".:") if lines else type(error).__name__


# --- outputs ---


def _finished(
    model: Any, estimator: Any, ports: Sequence[Port], rows: Mapping[str, Array], path: Path
) -> tuple[list[Meaning], list[str]]:
    """Names the outputs by what they are and writes the file; what they mean, and those that mean nothing."""
    onnx_file = importlib.import_module("vonk.packing.onnx_file")
    onnx_file.clean(model)
    _tell_tree_outputs(model)
    onnx_file.save(model, path)
    try:
        with vonk.open(path) as opened:
            found = opened.predict(dict(rows))
            names = [port.name for port in opened.outputs]
    except vonk.Error as error:
        raise PackError(str(error)) from None
    found = found if isinstance(found, dict) else {names[0]: found}
    expected = {m: _call(estimator, m, sklearn_inputs.table(estimator, ports, rows)) for m in _methods(estimator)}
    meanings: list[Meaning] = []
    for tensor in names:
        for method, name in _methods(estimator).items():
            fits, is_flat = _fits(found[tensor], expected[method])
            if fits and method not in {meaning.method for meaning in meanings}:
                meanings.append(Meaning(tensor, name, method, is_flat))
                break
    main = next(iter(_methods(estimator)))
    if main not in {meaning.method for meaning in meanings}:
        raise PackError(
            f"{type(estimator).__name__}: the converted model predicts something else than {main}: "
            f"try --input {ports[0].name}:f64[{','.join(map(str, ports[0].shape))}]"
        )
    for meaning in meanings:
        onnx_file.rename_output(model, meaning.tensor, meaning.name, is_flat=meaning.is_flat)
    left_out = [name for name in names if name not in {meaning.tensor for meaning in meanings}]
    onnx_file.keep_outputs(model, [meaning.name for meaning in meanings])
    onnx_file.name_dimensions(model, [port.name for port in ports])
    onnx_file.save(model, path)
    return meanings, left_out


def _tell_tree_outputs(model: Any) -> None:
    """Trees give float32 whatever they take; skl2onnx declares float64 for a float64 input."""
    trees = {name for node in model.graph.node if node.op_type.startswith("TreeEnsemble") for name in node.output}
    for port in model.graph.output:
        kind = port.type.tensor_type
        if port.name in trees and kind.elem_type == DOUBLE:
            kind.elem_type = FLOAT


def _methods(estimator: Any) -> dict[str, str]:
    """Method -> name of the output, the main one first."""
    kind = getattr(estimator, "_estimator_type", None)
    is_regressor = kind == "regressor" or importlib.import_module("sklearn.base").is_regressor(estimator)
    names = {
        "predict": "prediction" if is_regressor else "label",
        "predict_proba": "probabilities",
        "decision_function": "scores",
        "transform": "distances" if hasattr(estimator, "predict") else "transformed",
        "score_samples": "score_samples",
    }
    return {method: name for method, name in names.items() if hasattr(estimator, method)}


def _call(estimator: Any, method: str, rows: Any) -> Any:
    """A method's result. Rows that are float32 go in as float64, of the same values, as they were fitted on."""
    wide = rows.astype(numpy.float64) if getattr(rows, "dtype", None) == numpy.float32 else rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = getattr(estimator, method)(wide)
        except ValueError:  # k-means takes the dtype alone that it was fitted on
            result = getattr(estimator, method)(rows)
    return result.toarray() if hasattr(result, "toarray") else numpy.asarray(result)


def _fits(found: Any, expected: Any) -> tuple[bool, bool]:
    """Whether these are the same values but for rounding; whether the model has a column for a number a row."""
    found = numpy.asarray(found)
    is_flat = found.ndim == expected.ndim + 1 and found.shape[-1] == 1
    found = found[..., 0] if is_flat else found
    if found.shape != expected.shape:
        return False, False
    if found.dtype.kind in "OUS" or expected.dtype.kind in "OUS":
        same = numpy.array([str(a) == str(b) for a, b in zip(found.ravel(), expected.ravel(), strict=True)])
    else:
        a, b = found.astype(numpy.float64), expected.astype(numpy.float64)
        same = numpy.abs(a - b) <= CLOSE * numpy.maximum(1, numpy.abs(b))
    return bool(numpy.mean(same) >= MOST), is_flat


def _as(port: Port, values: Any) -> Array:
    """The estimator's values in the output's dtype."""
    if port.dtype == "string":
        return numpy.array([str(v) for v in numpy.ravel(values)], dtype=object).reshape(numpy.shape(values))
    return numpy.asarray(values).astype(port.dtype)
