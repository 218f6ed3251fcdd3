"""The inputs of a scikit-learn estimator, and rows that suit it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy

from vonk.packing import _opened
from vonk.packing._plan import Array, PackError, Port, Request

MATRIX, TEXT = "features", "text"
NUMBERS = ("float32", "float64", "int64", "bool")
WORDS_A_TEXT = 6


def steps(estimator: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """An estimator and those inside it, with their names, the inner ones behind."""
    yield name, estimator
    inner = [pair[:2] for pair in getattr(estimator, "steps", ())]
    inner += [pair[:2] for pair in getattr(estimator, "transformers_", getattr(estimator, "transformer_list", ()))]
    inner += [pair for pair in (getattr(estimator, "estimators", None) or ()) if isinstance(pair, tuple)]
    for attribute in ("best_estimator_", "estimator_", "final_estimator_", "estimator"):
        if hasattr(estimator, attribute):
            inner.append((attribute, getattr(estimator, attribute)))
            break
    for step, part in inner:
        if hasattr(part, "get_params") and not isinstance(part, type):
            yield from steps(part, str(step))


def first_step(estimator: Any) -> Any:
    """What sees the rows first."""
    best = getattr(estimator, "best_estimator_", None)
    if best is not None:
        return first_step(best)
    for _, step in getattr(estimator, "steps", ()):
        if step is not None and step != "passthrough":
            return first_step(step)
    return estimator


def is_text(step: Any) -> bool:
    """Whether it takes documents: one text a row, no columns."""
    return hasattr(step, "build_tokenizer")


# --- inputs ---


def inputs(estimator: Any, request: Request) -> list[Port]:
    """One matrix, one text, or an input per named column.

    Raises
    ------
    PackError
        What the user described does not fit.
    """
    first = first_step(estimator)
    columns = _columns(first)
    if columns:
        known = [Port(name, kind, (-1, 1)) for name, kind in columns.items()]
    elif is_text(first):
        known = [Port(TEXT, "string", (-1,))]
    else:
        width = getattr(first, "n_features_in_", None)
        if width is None and not request.inputs:
            raise PackError(
                f"{type(estimator).__name__}: does not say how many features it takes: --input {MATRIX}:f32[-1,4], say"
            )
        known = [Port(MATRIX, "string" if _text_columns(first, range(width or 0)) else "float32", (-1, width or -1))]
    if request.inputs:
        return _described(estimator, known, request.inputs)
    return [_as_sampled(port, request.samples) for port in known]


def _described(estimator: Any, known: list[Port], given: Sequence[Port]) -> list[Port]:
    for port in given:
        if port.dtype not in (*NUMBERS, "string"):
            raise PackError(
                f"--input {port.name}: {port.dtype} is nothing that converted scikit-learn models take: "
                f"{', '.join((*NUMBERS, 'string'))}",
                "VONK_INVALID",
            )
    if len(known) == len(given) == 1:
        fits = all(-1 in (a, b) or a == b for a, b in zip(known[0].shape, given[0].shape, strict=False))
        if len(known[0].shape) != len(given[0].shape) or not fits:
            wanted = ",".join(map(str, known[0].shape))
            raise PackError(f"--input {given[0].name}: {type(estimator).__name__} takes [{wanted}]", "VONK_INVALID")
        shape = tuple(max(a, b) for a, b in zip(known[0].shape, given[0].shape, strict=True))
        return [replace(given[0], shape=shape)]
    by_name = {port.name: port for port in given}
    wrong = next((name for name in by_name if name not in {port.name for port in known}), None)
    if wrong is not None:
        wanted = ", ".join(f"{port.name}:{_opened.SHORT[port.dtype]}{list(port.shape)}" for port in known)
        raise PackError(f"--input {wrong}: {type(estimator).__name__} takes {wanted}", "VONK_INVALID")
    return [by_name.get(port.name, port) for port in known]


def _as_sampled(port: Port, samples: Mapping[str, Array]) -> Port:
    """A column whose dtype is a guess has that of the user's rows."""
    rows = samples.get(port.name)
    if rows is None:
        return port
    is_string = numpy.asarray(rows).dtype.kind in "OUST"
    return replace(port, dtype="string" if is_string else "float32" if port.dtype == "string" else port.dtype)


def _columns(first: Any) -> dict[str, str]:
    """Column -> dtype, if the first step picks columns by name; else nothing."""
    names = getattr(first, "feature_names_in_", None)
    if names is None or not hasattr(first, "transformers_"):
        return {}
    used: dict[str, str] = {}
    for _, part, columns in first.transformers_:
        if isinstance(part, str) and part == "drop":
            continue
        chosen = [columns] if isinstance(columns, str) else _names(columns, names)
        texts = _text_columns(first_step(part), range(len(chosen)))
        used |= {name: "string" if i in texts else "float32" for i, name in enumerate(chosen)}
    return {str(name): used[str(name)] for name in names if str(name) in used}


def _names(columns: Any, names: Any) -> list[str]:
    """The columns of a ColumnTransformer's step: names, positions, a slice or a mask."""
    if isinstance(columns, slice) and isinstance(columns.start or columns.stop, str):
        every = [str(name) for name in names]
        start = every.index(columns.start) if columns.start is not None else 0
        stop = every.index(columns.stop) + 1 if columns.stop is not None else len(every)
        return every[start:stop]
    listed = list(columns) if not isinstance(columns, slice) else columns
    if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
        return listed
    return [str(name) for name in numpy.asarray(names, dtype=object)[listed]]


def _text_columns(step: Any, among: Sequence[int]) -> set[int]:
    """Which of the columns that a step sees hold texts, by what it learned."""
    if is_text(step):
        return set(among)
    categories = getattr(step, "categories_", None)
    if isinstance(categories, list):
        return {i for i, kinds in enumerate(categories) if numpy.asarray(kinds).dtype.kind in "OUST"}
    statistics = getattr(step, "statistics_", None)
    if statistics is not None and numpy.asarray(statistics).dtype.kind in "OUST":
        return {i for i, value in enumerate(statistics) if isinstance(value, str)}
    return set()


def onnx_type(port: Port) -> Any:
    """skl2onnx's type of an input."""
    data_types: Any = importlib.import_module("skl2onnx.common.data_types")
    kinds = {
        "float32": data_types.FloatTensorType,
        "float64": data_types.DoubleTensorType,
        "int64": data_types.Int64TensorType,
        "bool": data_types.BooleanTensorType,
        "string": data_types.StringTensorType,
    }
    return kinds[port.dtype]([None if dim < 0 else dim for dim in port.shape])


# --- rows ---


def rows(
    estimator: Any, ports: Sequence[Port], request: Request, n: int, rng: numpy.random.Generator
) -> dict[str, Array]:
    """The user's rows as far as they go, else such as the estimator may have been fitted on."""
    given = request.samples
    if len(ports) == 1 and "" in given:
        given = {ports[0].name: given[""]}
    if all(port.name in given and len(given[port.name]) > 0 for port in ports):
        return {p.name: _cast(numpy.take(given[p.name], range(n), 0, mode="wrap"), p) for p in ports}
    first = first_step(estimator)
    if is_text(first):
        words = sorted(getattr(first, "vocabulary_", {"some": 0, "words": 1}))
        texts = [" ".join(rng.choice(words, WORDS_A_TEXT)) for _ in range(n)]
        return {ports[0].name: numpy.array(texts, dtype=object)}
    kinds = _categories(first)
    if len(ports) > 1:
        return {port.name: _cast(_column(kinds.get(port.name), n, rng).reshape(n, 1), port) for port in ports}
    port = ports[0]
    low, high = _ranges(estimator, port.shape[1])
    if port.dtype != "string":
        found: Array = rng.uniform(low, high, (n, port.shape[1])).astype(object)
    else:
        found = numpy.empty((n, port.shape[1]), dtype=object)
    for i in range(port.shape[1]):
        if str(i) in kinds:
            found[:, i] = rng.choice(kinds[str(i)], n)
    return {port.name: _cast(found, port)}


def _cast(values: Any, port: Port) -> Array:
    if port.dtype == "string":
        texts = numpy.asarray(values, dtype=object)
        return numpy.array([str(v) for v in texts.ravel()], dtype=object).reshape(-1, *port.shape[1:])
    return numpy.asarray(values).astype(port.dtype).reshape(-1, *port.shape[1:])


def _column(kinds: Any, n: int, rng: numpy.random.Generator) -> Array:
    if kinds is None:
        return rng.normal(0, 1, n)
    chosen: Array = rng.choice(numpy.asarray(kinds, dtype=object), n)
    return chosen


def _categories(first: Any) -> dict[str, list[Any]]:
    """What encoders know, by the column's name or number; of texts, documents of known words."""
    found: dict[str, list[Any]] = {}
    parts = getattr(first, "transformers_", [("", first, None)])
    names = getattr(first, "feature_names_in_", None)
    for _, part, columns in parts:
        listed = _listed(columns, names, first)
        for _, step in steps(part) if hasattr(part, "get_params") else ():
            if is_text(step):
                found |= {name: sorted(getattr(step, "vocabulary_", ["text"])) for name in listed}
            kinds = getattr(step, "categories_", None)
            for i, known in enumerate(kinds if isinstance(kinds, list) else ()):
                name = listed[i] if i < len(listed) else str(i)
                found[name] = [value for value in known if not _is_missing(value)]
    return {name: kinds for name, kinds in found.items() if kinds}


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _listed(columns: Any, names: Any, first: Any) -> list[str]:
    if columns is None:
        return [str(i) for i in range(getattr(first, "n_features_in_", 0))]
    if isinstance(columns, str):
        return [columns]
    return _names(columns, names if names is not None else [str(i) for i in range(first.n_features_in_)])


def _ranges(estimator: Any, n: int) -> tuple[Array, Array]:
    """Where the rows that it was fitted on lie, by what its steps learned: means, bounds, centres, thresholds."""
    low, high = numpy.full(n, -2.0), numpy.full(n, 2.0)
    for _, step in steps(first_step(estimator)):
        mean, scale = _of_features(step, "mean_", n), _of_features(step, "scale_", n)
        if mean is not None and scale is not None:
            return mean - 2 * scale, mean + 2 * scale
        if _of_features(step, "data_min_", n) is not None:
            return numpy.asarray(step.data_min_), numpy.asarray(step.data_max_)
        for attribute in ("cluster_centers_", "support_vectors_", "_fit_X", "theta_"):
            points = getattr(step, attribute, None)
            if (
                points is not None
                and numpy.ndim(points) == 2
                and numpy.shape(points)[1] == n
                and hasattr(points, "min")
            ):
                spread = numpy.asarray(points.max(axis=0) - points.min(axis=0)) + 1e-3
                return points.min(axis=0) - spread / 4, points.max(axis=0) + spread / 4
        for tree in _trees(step):
            for feature, threshold in zip(tree.feature, tree.threshold, strict=True):
                if 0 <= feature < n:
                    low[feature], high[feature] = min(low[feature], threshold - 1), max(high[feature], threshold + 1)
    return low, high


def _of_features(step: Any, attribute: str, n: int) -> Array | None:
    """What a step learned of each feature."""
    learned = getattr(step, attribute, None)
    return numpy.asarray(learned) if learned is not None and numpy.shape(learned) == (n,) else None


def _trees(step: Any) -> list[Any]:
    found = [step] if hasattr(step, "tree_") else list(numpy.ravel(getattr(step, "estimators_", [])))
    return [part.tree_ for part in found if hasattr(part, "tree_")]


def table(estimator: Any, ports: Sequence[Port], values: Mapping[str, Array]) -> Any:
    """The rows as the estimator takes them: a matrix, a list of texts, or a data frame."""
    if len(ports) == 1 and ports[0].name not in _columns(first_step(estimator)):
        rows_ = values[ports[0].name]
        return list(rows_) if is_text(first_step(estimator)) else rows_
    parts = [numpy.asarray(values[port.name]).reshape(-1) for port in ports]
    pandas = _opened.need("pandas", "sklearn", "an estimator that was fitted on a data frame")
    return pandas.DataFrame({port.name: part for port, part in zip(ports, parts, strict=True)})
