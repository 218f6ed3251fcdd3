"""Bundles written with the standard library alone, as docs/bundle.md describes them: for tests that need one."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

Array = NDArray[Any]


def port(name: str, dtype: str, shape: Sequence[int], **more: Any) -> dict[str, Any]:
    """An input or output; the plug-in calls it the same unless tensor= says otherwise."""
    return {"name": name, "tensor": name, "dtype": dtype, "shape": list(shape), **more}


def manifest(
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
    *,
    model: str = "model/model.onnx",
    format: str = "onnx",
    plugin: str = "onnx",
    options: Mapping[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What stands in manifest.json, but for the digests; more: name=, licence=, preprocess=, provenance=, ..."""
    described = {"format": format, "plugin": plugin, "path": model}
    if options is not None:
        described["options"] = dict(options)  # type: ignore[assignment]
    return {"vonk_bundle": 1, "model": described, "inputs": list(inputs), "outputs": list(outputs), **more}


def tensor(name: str, values: Array, files: dict[str, bytes]) -> dict[str, Any]:
    """A tensor of the self-test; its numbers are added to files."""
    if values.dtype == object:
        return {"shape": list(values.shape), "values": values.reshape(-1).tolist()}
    files[f"selftest/{name}.bin"] = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return {"shape": list(values.shape), "file": f"selftest/{name}.bin"}


def selftest(
    inputs: Mapping[str, Array], outputs: Mapping[str, Array], files: dict[str, bytes], tolerance: float = 1e-5
) -> dict[str, Any]:
    """A self-test of these tensors by the names users see; bfloat16 goes as uint16."""
    return {
        "rows": len(next(iter(inputs.values()))),
        "tolerance": tolerance,
        "inputs": {name: tensor(f"in_{i}", x, files) for i, (name, x) in enumerate(inputs.items())},
        "outputs": {name: tensor(f"out_{i}", x, files) for i, (name, x) in enumerate(outputs.items())},
    }


def labels(lines: Sequence[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def write(path: Path, described: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
    """The bundle with these files: a zip file, or a folder if path has no suffix."""
    listed = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()}
    text = json.dumps({**described, "files": listed}, indent=1).encode()
    if path.suffix == "":
        for name, data in {"manifest.json": text, **files}.items():
            target = path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {"manifest.json": text, **files}.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return path


#: what ONNX calls an element type, by number, as a manifest writes it
ONNX_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip


def onnx_ports(values: Any, classes: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The ports of a graph's inputs or outputs, under their own names."""
    ports = []
    for value in values:
        tensor = value.type.tensor_type
        shape = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
        more = {"labels": f"{value.name}.txt"} if value.name in classes else {}
        ports.append(port(value.name, ONNX_DTYPES[tensor.elem_type], shape, **more))
    return ports


def onnx_bundle(
    path: Path,
    model: onnx.ModelProto,
    classes: Mapping[str, Sequence[str]] | None = None,
    tested: tuple[Mapping[str, Array], Mapping[str, Array]] | None = None,
    tolerance: float = 1e-5,
    **more: Any,
) -> Path:
    """A bundle of an ONNX model, whose names stay as they are: with labels of some outputs, with a self-test of these
    inputs and outputs, and with whatever else stands in a manifest.
    """
    classes = {} if classes is None else classes
    files = {"model/model.onnx": model.SerializeToString(deterministic=True)}
    files |= {f"{name}.txt": labels(lines) for name, lines in classes.items()}
    if tested is not None:
        more["selftest"] = selftest(*tested, files, tolerance)
    ports = onnx_ports(model.graph.input, classes), onnx_ports(model.graph.output, classes)
    return write(path, manifest(*ports, **more), files)
