"""ONNX: files and models in memory, kept as they are.

How it works: the plug-in's own reader checks a file before anything else does, and its answer is the description. The
bundle's file is the source, byte for byte; its external data is copied from where the model says it is.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from vonk.packing import _opened, onnx_weights
from vonk.packing._plan import Array, Conversion, PackError, Port, Request


def convert(request: Request, folder: Path) -> Conversion:
    """Takes an ``.onnx`` or ``.ort`` file, or an ``onnx.ModelProto``, as it is.

    Raises
    ------
    PackError
        The model is refused, or its external data is missing.
    """
    source = request.source
    if isinstance(source, (str, Path)):
        path, opened = _copied(Path(source), folder)
    else:
        path, opened = _written(source, folder)
    if request.to not in (None, opened.format):
        raise PackError(f"--to {request.to}: the model is {opened.format}, and stays as it is", "VONK_INVALID")
    return Conversion(
        opened.format, "onnx", path, opened.inputs, opened.outputs, _reference(path, opened.inputs, opened.outputs),
        provenance={"framework": opened.producer} if opened.producer else {},
    )  # fmt: skip


def _copied(source: Path, folder: Path) -> tuple[Path, _opened.Opened]:
    """The file and its external data in the folder. What the plug-in refuses where it is, is not touched."""
    opened = _opened.look(source)
    name, *others = parts = files_of(source, opened.format)
    for part, found in parts.items():
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, target)
    if others:
        _opened.look(folder / name)
    return folder / name, opened


def files_of(source: Path, ending: str) -> dict[str, Path]:
    """The files of a model that the plug-in has opened, by their names in a bundle: itself, then its external data.

    Raises
    ------
    PackError
        The data is missing, or not in the model's folder.
    """
    stem = re.sub(r"[^\w.-]+", "_", source.name.removesuffix(source.suffix)).strip("._") or "model"
    name = f"{stem}.{ending}"
    found = {name: source}
    homes = (source.parent, Path(os.path.realpath(source)).parent)
    for location in onnx_weights.locations(source):
        if location == name:
            raise PackError(
                f"{source}: its weights are in '{location}', the name of the model in the bundle: rename it"
            )
        if location.startswith("/") or ".." in location.split("/"):
            raise PackError(f"{source}: its weights are in '{location}', which is not in the model's folder")
        place = next((home / location for home in homes if (home / location).is_file()), None)
        if place is None:
            raise PackError(f"{source}: its weights are in '{location}', which is missing: put it beside the model")
        found[location] = place
    return found


def _written(model: Any, folder: Path) -> tuple[Path, _opened.Opened]:
    if not hasattr(model, "graph"):
        raise PackError(f"an object of {type(model).__name__}: is no ONNX model: pass a ModelProto, or a file")
    _opened.need("onnx", "torch", "packing an ONNX model in memory")
    from vonk.packing import onnx_file  # noqa: PLC0415 - imports onnx

    path = folder / "model.onnx"
    onnx_file.save(model, path)
    return path, _opened.look(path)


def _reference(
    path: Path, inputs: Sequence[Port], outputs: Sequence[Port]
) -> Callable[[Mapping[str, Array]], Mapping[str, Array]]:
    """ONNX Runtime's own Python package."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the package is imported
    onnxruntime = _opened.need("onnxruntime", "torch", "comparing with ONNX Runtime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def predict(rows: Mapping[str, Array]) -> Mapping[str, Array]:
        found = session.run([port.name for port in outputs], {port.name: rows[port.name] for port in inputs})
        return {port.name: numpy.asarray(values) for port, values in zip(outputs, found, strict=True)}

    return predict
