"""A good bundle of the mock model, for tests that change one thing of it."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from library import MOCK, NAMES, OK, close, open_model
from zips import Archive, Entry

MODEL_TEXT = b"input x f32 -1 3\ninput n i64 -1\ninput w string -1\noutput y = copy x\noutput m = copy n\n"
FILES = {
    "model/net.mock": MODEL_TEXT,
    "model/words.bin": b"beside the model",
    "labels.txt": "rot\ngrün\r\nblau\n".encode(),
    "selftest/x.bin": struct.pack("<6f", *range(6)),
    "selftest/n.bin": struct.pack("<2q", 1, 2),
    "selftest/y.bin": struct.pack("<6f", *range(6)),
}


def good() -> dict[str, Any]:
    return {
        "vonk_bundle": 1,
        "name": "colours",
        "model": {"format": "mock", "plugin": "echo", "path": "model/net.mock"},
        "inputs": [
            {"name": "X", "tensor": "x", "dtype": "float32", "shape": [-1, 3]},
            {"name": "W", "tensor": "w", "dtype": "string", "shape": [-1]},
            {"name": "N", "tensor": "n", "dtype": "int64", "shape": [-1]},
        ],
        "outputs": [
            {"name": "M", "tensor": "m", "dtype": "int64", "shape": [-1]},
            {"name": "Y", "tensor": "y", "dtype": "float32", "shape": [-1, 3], "labels": "labels.txt",
             "dim_names": [None, "colour"]},
        ],
        "preprocess": [
            {"op": "rescale", "input": "X", "scale": 2},
            {"op": "normalize", "input": "X", "mean": [1, 2, 3.5], "std": 2, "axis": 1},
        ],
        "selftest": {
            "rows": 2,
            "tolerance": 1e-5,
            "inputs": {
                "X": {"shape": [2, 3], "file": "selftest/x.bin"},
                "N": {"shape": [2], "file": "selftest/n.bin"},
                "W": {"shape": [2], "values": ["a", "ü\u0000"]},
            },
            "outputs": {"Y": {"shape": [2, 3], "file": "selftest/y.bin"}},
        },
        "provenance": {"source": "net.mock", "framework": "mock 1"},
    }  # fmt: skip


def listed(files: dict[str, bytes]) -> dict[str, Any]:
    return {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()}


def manifest_of(described: dict[str, Any], files: dict[str, bytes]) -> bytes:
    return json.dumps({"files": listed(files)} | described, ensure_ascii=False).encode()


def archive(described: dict[str, Any] | None = None, files: dict[str, bytes] | None = None) -> Archive:
    files = FILES if files is None else files
    text = manifest_of(good() if described is None else described, files)
    return Archive([Entry(b"manifest.json", text), *(Entry(name.encode(), data) for name, data in files.items())])


def opened(path: Path, **options: str) -> tuple[int, str]:
    status, message, model = open_model(path, {"plugin": MOCK} | options)
    if status == OK:
        close(model)
    return status, message


def expect(path: Path, status: int, text: str, **options: str) -> None:
    found, message = opened(path, **options)
    print(f"{NAMES[found] if found < 8 else found}: {message}")
    assert found == status, f"expected {NAMES[status]}, found {NAMES[found]}: {message}"
    assert text in message, f"expected ...{text}...\nfound {message}"
    assert message.startswith(f"bundle '{path}': ")
    assert all(ord(letter) >= 0x20 for letter in message), repr(message)


def write(path: Path, described: dict[str, Any], files: dict[str, bytes] | None = None) -> Path:
    path.write_bytes(archive(described, files).bytes())
    return path


def folder(path: Path, described: dict[str, Any] | None = None, files: dict[str, bytes] | None = None) -> Path:
    files = FILES if files is None else files
    for name, data in {
        "manifest.json": manifest_of(good() if described is None else described, files),
        **files,
    }.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path
