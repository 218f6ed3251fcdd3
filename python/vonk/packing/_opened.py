"""What a plug-in says of a converted model: the manifest has to agree with it, so the converters ask it."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import vonk
from vonk.packing._plan import PackError, Port

#: vonk's dtypes as options of plug-ins write them
SHORT = {
    "bool": "bool", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "uint8": "u8", "uint16": "u16",
    "uint32": "u32", "uint64": "u64", "float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64",
    "string": "string",
}  # fmt: skip


def describe(ports: tuple[Port, ...] | list[Port], *, by_tensor: bool = False) -> str:
    """As the options ``inputs`` and ``outputs`` take them: ``x:f32[-1,784],mask:bool[-1]``."""
    return ",".join(
        f"{(by_tensor and port.tensor) or port.name}:{SHORT[port.dtype]}[{','.join(map(str, port.shape))}]"
        for port in ports
    )


@dataclass(frozen=True)
class Opened:
    """Inputs and outputs in the plug-in's order, under its names; the format's name and what wrote the file."""

    inputs: list[Port]
    outputs: list[Port]
    format: str
    producer: str | None


def look(path: Path, **options: Any) -> Opened:
    """Opens a model file or folder as users do, and closes it again.

    Raises
    ------
    PackError
        The plug-in refuses the file; its own message.
    """
    try:
        with vonk.open(path, **options) as model:
            ins, outs = [_port(tensor) for tensor in model.inputs], [_port(tensor) for tensor in model.outputs]
            return Opened(ins, outs, model.summary().format, model.summary().producer)
    except vonk.Error as error:
        raise PackError(str(error)) from None


def ports(path: Path, **options: Any) -> tuple[list[Port], list[Port]]:
    """The inputs and outputs of a model file, as ``look`` has them."""
    opened = look(path, **options)
    return opened.inputs, opened.outputs


def _port(tensor: Any) -> Port:
    if tensor.shape is None:
        raise PackError(f"'{tensor.name}': the model does not say its shape: describe it with --input")
    shape = tuple(dim if isinstance(dim, int) else -1 for dim in tensor.shape)
    names = tuple(dim if isinstance(dim, str) else None for dim in tensor.shape)
    return Port(tensor.name, tensor.dtype, shape, tensor.name, names if any(names) else ())


def need(module: str, extra: str, what: str) -> ModuleType:
    """Imports a package that only packing needs.

    Raises
    ------
    PackError
        It is not installed; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise PackError(
            f"{what} needs the Python package '{missing}', which is not installed: make setup EXTRAS={extra}, or pip "
            f"install {PIP_NAMES.get(missing, missing)}"
        ) from None


#: packages whose distribution has another name
PIP_NAMES = {"sklearn": "scikit-learn", "tensorflow": "tensorflow-cpu"}


def version(distribution: str) -> str:
    """``"skl2onnx 1.20.0"``, for the provenance."""
    return f"{distribution} {importlib.metadata.version(distribution)}"
