"""``vonk pack``: a model of any framework as one safe file, on its author's machine.

How it works: a converter (``_recognise`` chooses it, ``_plan`` is the interface) brings the model into a format that a
plug-in opens. The frame, here, writes the bundle under a temporary name, opens it as any user of vonk would, compares
its predictions with the original's, and only then gives it its name. docs/pack.md is the guide.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import vonk
from vonk.packing import _bundle, _compare, _manifest, _quiet, _recognise, _samples, _spec, _steps
from vonk.packing._ask import Ask
from vonk.packing._plan import Array, Conversion, PackError, Port, Request
from vonk.packing._report import Report

__all__ = ["PackError", "Report", "pack"]

_TOLERANCE = 1e-5
_TOLERANCE_HALF = 1e-3
_HALVES = ("float16", "bfloat16")


def pack(  # noqa: PLR0913 - all but two by name
    source: Any,
    output: str | os.PathLike[str],
    *,
    to: str | None = None,
    inputs: str | Iterable[str | Port] = (),
    outputs: Mapping[str, str] | Iterable[str] | None = None,
    labels: Any = None,
    preprocess: Any = None,
    name: str | None = None,
    description: str | None = None,
    licence: str | None = None,
    signature: str | None = None,
    tolerance: float | None = None,
    samples: Any = None,
    module: str | Callable[[], Any] | None = None,
    trust: bool = False,
    folder: bool = False,
    verbose: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Packs a model into a bundle, and checks that it predicts what the original predicts.

    Parameters
    ----------
    source
        A path, or a live model: a Keras model, a ``torch.nn.Module``, a fitted scikit-learn estimator, ...
    output
        ``NAME.vonk``; an existing one is replaced at the very end, if all went well.
    to
        The target format (``"onnx"``, ``"torchscript"``, ...); None for the one that keeps numbers and speed best.
    inputs
        Inputs as ``"image:f32[-1,3,12,12]"``, one or several, in order, where the source does not say them.
    outputs
        New names: ``{"old": "new"}``, or ``["old=new"]``.
    labels
        The classes of an output's last dimension: a file with one a line, a list of texts, or ``{output: either}``.
    preprocess
        Steps before the model, in order: ``"rescale:scale=1/255"``, mappings as in the manifest, or a JSON file.
    name, description, licence
        For the manifest; the licence as an SPDX identifier such as ``"Apache-2.0"``.
    signature
        Of a SavedModel that has several.
    tolerance
        The largest difference that is accepted, |found - expected| / max(1, |expected|); None: 1e-5, or 1e-3 for a
        model with float16 or bfloat16 tensors.
    samples
        Rows to compare on, besides random ones: ``{input: array}``, or a file, .npz, or .npy for a single input.
    module
        The class whose state a state_dict is, or a function that makes the module; as a text
        ``"FILE.py:NAME"`` or ``"package.module:NAME"``. ``"FILE.py"`` is run for the Keras classes that it registers.
    trust
        Code inside the source (pickles, Keras' Lambda) may be run. Only for files whose author you trust.
    folder
        Write a folder instead of a zip file.
    verbose
        Let through what frameworks print.
    progress
        Called with a few words at each stage.

    Returns
    -------
    Report
        What was written; as text, what ``vonk pack`` prints.

    Raises
    ------
    PackError
        The model cannot be packed, or the bundle's predictions differ from the original's. Nothing was written.

    Examples
    --------
    >>> import vonk
    >>> report = vonk.pack("examples/iris/iris.onnx", "/tmp/iris.vonk", licence="Apache-2.0")
    >>> report.format, [port.name for port in report.outputs]
    ('onnx', ['probabilities', 'species'])
    """
    began = time.monotonic()
    target = _bundle.check_target(Path(output), source, folder)
    ask = Ask(source, samples, module)
    renames = _spec.parse_renames(outputs)
    request = Request(
        source=ask.source(), to=to, inputs=_spec.parse_inputs(inputs), outputs=tuple(renames), signature=signature,
        trust=trust, samples=ask.samples(),
    )  # fmt: skip
    job = _Job(request, target, ask.origin(), is_folder=folder, tolerance=tolerance)
    texts = {"name": name or _name_of(target), "description": description, "licence": licence}
    with tempfile.TemporaryDirectory(prefix="vonk-pack-") as work, _quiet.Quiet(not verbose) as aside:

        def say(text: str) -> None:
            if progress is not None:
                aside.outside(lambda: progress(text))

        try:
            job.request = replace(request, module=ask.module(), progress=say)
            report = job.run(Path(work), texts, renames, labels, preprocess)
        except PackError as error:
            error.printed = aside.printed()
            raise
        except MemoryError:
            raise
        except vonk.Error as error:
            failure = PackError(str(error), error.code)
            failure.printed = aside.printed()
            raise failure from error
        except Exception as error:
            failure = PackError(f"{ask.shown()}: {_first_line(error)}")
            failure.printed = aside.printed()
            raise failure from error
    return replace(report, seconds=time.monotonic() - began)


class _Job:
    """One packing, stage by stage."""

    def __init__(
        self, request: Request, target: Path, origin: Mapping[str, str], *, is_folder: bool, tolerance: float | None
    ) -> None:
        self.request = request
        self._origin = origin
        self._target = target
        self._is_folder = is_folder
        self._tolerance = tolerance

    def run(
        self, work: Path, texts: Mapping[str, str | None], renames: Mapping[str, str], labels: Any, preprocess: Any
    ) -> Report:
        say = self.request.progress
        converter = _recognise.converter(self.request.source)
        conversion: Conversion = converter.convert(self.request, work)
        outputs = _manifest.rename(conversion.outputs, renames)
        inputs = list(conversion.inputs)
        _spec.check_names("inputs", [port.name for port in inputs])
        _spec.check_names("outputs", [port.name for port in outputs])
        known = {renames.get(name, name): texts for name, texts in conversion.labels.items()}
        labelled = _manifest.read_labels(known or None if labels is None else labels, outputs)
        original = _samples.Original(conversion, inputs, outputs, _steps.read(preprocess, inputs))
        say("asking the original for its predictions")
        rows = _samples.make(original, _one_input(self.request.samples, inputs))
        tolerance = self._tolerance
        if tolerance is None:
            tolerance = conversion.tolerance or _default_tolerance([*inputs, *outputs])
        selftest, files = _manifest.selftest(rows[0], inputs, outputs, tolerance)
        say("writing the bundle")
        files = {**files, **{label.file: label.content() for label in labelled}}
        content = _bundle.collect({**_bundle.model_files(conversion.model), **files})
        notes = list(conversion.notes)
        if selftest is None:
            notes.append("there is no self-test: one row is larger than 1 MB")
        form: dict[str, Any] = {
            "vonk_bundle": _manifest.VERSION,
            **{key: text for key, text in texts.items() if text},
            "model": _model_entry(conversion),
            "inputs": _manifest.ports(inputs),
            "outputs": _manifest.ports(outputs, labelled),
            **({"preprocess": [step.manifest() for step in original.steps]} if original.steps else {}),
            **({"selftest": selftest} if selftest else {}),
            "provenance": {
                **self._origin,
                **conversion.provenance,
                "packed_by": f"vonk {vonk.__version__}",
                "created": _manifest.created(),
            },
            "files": content.files(),
        }
        worst = self._finish(form, content, conversion, rows, outputs, tolerance)
        return Report(
            path=self._target, format=conversion.format, plugin=conversion.plugin, inputs=tuple(inputs),
            outputs=tuple(outputs), size=_size(self._target), largest_difference=worst, tolerance=tolerance,
            rows=sum(part.rows for part in rows), notes=tuple(notes), options=_open_options(conversion),
        )  # fmt: skip

    def _finish(
        self, form: dict[str, Any], content: _bundle.Content, conversion: Conversion,
        rows: Sequence[_samples.Samples], outputs: Sequence[Port], tolerance: float,
    ) -> float:  # fmt: skip
        """Writes, compares, and gives the file its name; the largest difference."""

        def manifest(difference: float) -> dict[str, Any]:
            return {**form, "provenance": {**form["provenance"], "largest_difference": _bundle.number(difference)}}

        options = _open_options(conversion)
        with _bundle.draft(self._target, content, manifest, is_folder=self._is_folder) as draft:
            self.request.progress("comparing the bundle with the original")
            worst = _compare.compare(draft.path, rows, outputs, options)
            if not worst <= tolerance:
                raise PackError(_too_far(worst, tolerance), "VONK_BACKEND")
            draft.note(worst)
            _compare.verify(draft.path, options, has_selftest="selftest" in form)
            draft.finish()
        return worst


def _too_far(worst: float, tolerance: float) -> str:
    what = "values that are no floats differ" if worst == float("inf") else f"the largest difference is {worst:.1e}"
    return (
        f"the bundle predicts other values than the original: {what}, the tolerance {tolerance:.1e}: nothing was "
        "written: another --to, or --tolerance if that is close enough"
    )


def _model_entry(conversion: Conversion) -> dict[str, Any]:
    path = "model" if conversion.model.is_dir() else f"model/{conversion.model.name}"
    entry: dict[str, Any] = {"format": conversion.format, "plugin": conversion.plugin, "path": path}
    return entry | ({"options": dict(sorted(conversion.options.items()))} if conversion.options else {})


def _open_options(conversion: Conversion) -> dict[str, str]:
    """An AOTInductor package is code; here it is the author's own."""
    return {"allow_native_code": "1"} if conversion.format == "aotinductor" else {}


def _one_input(samples: Mapping[str, Array], inputs: Sequence[Port]) -> Mapping[str, Array]:
    """An array without a name (.npy) is for the only input."""
    if "" not in samples:
        return samples
    if len(inputs) != 1:
        names = ", ".join(port.name for port in inputs)
        raise PackError(f"--samples: one array for the inputs {names}: give an .npz with all of them", "VONK_INVALID")
    return {inputs[0].name: samples[""]}


def _default_tolerance(ports: Iterable[Port]) -> float:
    return _TOLERANCE_HALF if any(port.dtype in _HALVES for port in ports) else _TOLERANCE


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _name_of(target: Path) -> str:
    return target.name.removesuffix(".vonk")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
