"""TensorFlow models are kept as they are: SavedModels, checkpoints with their .meta, frozen graphs.

How it works: the plug-in opens the source first. It refuses graphs that run Python or touch files, and says which
inputs and outputs there are. Only then TensorFlow sees the model, for the original's predictions, in a session that
runs what the plug-in has looked at: the restoring of variables, the initializer of tables, and what the outputs need.
(tf.saved_model.load would run more: whatever the objects in the file name as their initializers.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import vonk
from vonk.packing import _opened
from vonk.packing._plan import Array, Conversion, PackError, Port, Request

#: What of a SavedModel's folder belongs to the model; fingerprint.pb is made anew each time and nobody reads it.
_PARTS = ("saved_model.pb", "variables", "assets")

_Reference = Callable[[Mapping[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True)
class _Source:
    """What the plug-in says of a source."""

    path: Path
    format: str
    options: dict[str, str]
    inputs: list[Port]
    outputs: list[Port]
    metadata: Mapping[str, str]
    sha256: str


def convert(request: Request, folder: Path) -> Conversion:
    """A Conversion of a SavedModel's folder, a frozen graph or a .meta file.

    Raises
    ------
    PackError
        The plug-in refuses it.
    """
    path = Path(request.source)
    if path.name == "saved_model.pb":
        path = path.parent
    request.progress("opening the model")
    source = _open(path, _options(request))
    if request.to not in (None, source.format):
        raise PackError(
            f"--to {request.to}: {path}: is kept as it is, {source.format}: of TensorFlow, only Keras models become "
            "anything else",
            "VONK_INVALID",
        )
    keep, load = _FORMATS[source.format]
    model = keep(path, folder / "model")
    request.progress("loading the original in TensorFlow")
    need = _opened.need("tensorflow", "tensorflow", "the comparison with the original")
    return Conversion(
        format=source.format, plugin="tensorflow", model=model, inputs=source.inputs, outputs=source.outputs,
        options=source.options, reference=load(source),
        provenance={"source": path.name, "source_sha256": source.sha256, "framework": f"tensorflow {need.__version__}"},
    )  # fmt: skip


def _options(request: Request) -> list[dict[str, str]]:
    """Options to try: an output that is named may be a node of a graph, or one of a signature's."""
    options = {"signature": request.signature} if request.signature else {}
    if request.inputs:
        options["inputs"] = _opened.describe(request.inputs)
    is_graph = Path(request.source).is_file()
    return [{**options, "outputs": ",".join(request.outputs)}, options] if request.outputs and is_graph else [options]


def _open(path: Path, choices: Sequence[dict[str, str]]) -> _Source:
    for i, options in enumerate(choices):
        given: dict[str, Any] = dict(options)
        try:
            with vonk.open(path, **given) as model:
                summary = model.summary()
                inputs, outputs = (
                    [_opened._port(tensor) for tensor in side] for side in (summary.inputs, summary.outputs)
                )
                return _Source(path, summary.format, options, inputs, outputs, summary.metadata, model.sha256)
        except vonk.Error as error:
            if i + 1 == len(choices):
                raise PackError(str(error), error.code) from error
    raise AssertionError


# --- the files ---


def keep_folder(source: Path, model: Path) -> Path:
    """Links to the model's files, none of which may lie outside its folder."""
    tops = [Path(os.path.realpath(source)), Path(os.path.realpath(source / "saved_model.pb")).parent]
    model.mkdir()
    for part in _PARTS:
        for path in [source / part, *sorted((source / part).rglob("*"))]:
            if path.is_file():
                found = Path(os.path.realpath(path))
                if not any(found.is_relative_to(top) for top in tops):
                    raise PackError(f"{path}: is a link that leaves the model's folder, to {found}")
                place = model / path.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(found)
    return model


def keep_file(source: Path, folder: Path) -> Path:
    folder.mkdir()
    (folder / source.name).symlink_to(os.path.realpath(source))
    return folder / source.name


def keep_checkpoint(source: Path, folder: Path) -> Path:
    """The .meta file, and the values of its variables beside it."""
    model = keep_file(source, folder)
    for path in sorted(source.parent.glob(f"{_escaped(source.stem)}.*")):
        if path.name == f"{source.stem}.index" or path.name.startswith(f"{source.stem}.data-"):
            found = Path(os.path.realpath(path))
            if not found.is_relative_to(os.path.realpath(source.parent)):
                raise PackError(f"{path}: is a link that leaves the model's folder, to {found}")
            (folder / path.name).symlink_to(found)
    return model


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


# --- the original ---


def _session(build: Callable[[Any, Any], Mapping[str, str]], source: _Source) -> _Reference:
    """Predictions of a session. `build` fills its graph, and says the tensor of each name that is not its node's."""
    import tensorflow as tf  # noqa: PLC0415 - takes seconds

    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        tensors = build(tf.compat.v1, session)
    for port in (*source.inputs, *source.outputs):
        if port.name not in tensors:
            tensors = {**tensors, port.name: port.name if ":" in port.name else f"{port.name}:0"}

    def reference(values: Mapping[str, Array]) -> Mapping[str, Array]:
        feeds = {tensors[port.name]: _fed(tf, port, values[port.name]) for port in source.inputs}
        found = session.run([tensors[port.name] for port in source.outputs], feeds)
        return {
            port.name: np.asarray(value, np.float32) if port.dtype == "bfloat16" else np.asarray(value)
            for port, value in zip(source.outputs, found, strict=True)
        }

    return reference


def _fed(tf: Any, port: Port, values: Array) -> Array:
    return values.astype(tf.bfloat16.as_numpy_dtype) if port.dtype == "bfloat16" else values


def _signature(graph: Any, source: _Source) -> dict[str, str]:
    """The tensors behind the names of a signature, empty if there are none."""
    key = source.options.get("signature", "serving_default")
    if key not in graph.signature_def:
        return {}
    signature = graph.signature_def[key]
    return {name: info.name for side in (signature.inputs, signature.outputs) for name, info in side.items()}


def _load_savedmodel(source: _Source) -> _Reference:
    tags = [tag for tag in source.metadata.get("tags", "serve").split(",") if tag]

    def build(v1: Any, session: Any) -> Mapping[str, str]:
        return _signature(v1.saved_model.load(session, tags, os.fspath(source.path)), source)

    return _session(build, source)


def _load_graph(source: _Source) -> _Reference:
    def build(v1: Any, session: Any) -> Mapping[str, str]:
        graph = v1.GraphDef.FromString(source.path.read_bytes())
        v1.import_graph_def(graph, name="")
        return {}

    return _session(build, source)


def _load_checkpoint(source: _Source) -> _Reference:
    def build(v1: Any, session: Any) -> Mapping[str, str]:
        saver = v1.train.import_meta_graph(os.fspath(source.path))
        if saver is not None:
            saver.restore(session, os.fspath(source.path.with_suffix("")))
        return _signature(v1.MetaGraphDef.FromString(source.path.read_bytes()), source)

    return _session(build, source)


_FORMATS: dict[str, tuple[Callable[[Path, Path], Path], Callable[[_Source], _Reference]]] = {
    "savedmodel": (keep_folder, _load_savedmodel),
    "graphdef": (keep_file, _load_graph),
    "checkpoint": (keep_checkpoint, _load_checkpoint),
}
