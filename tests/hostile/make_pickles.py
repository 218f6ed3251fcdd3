"""Pickles, and files that hold them: scikit-learn's, PyTorch's, NumPy's. Nothing but NumPy is needed to make them."""

from __future__ import annotations

import importlib.util
import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from corpus import Corpus
from payloads import CALLS

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00."


def archive(members: dict[str, bytes], top: str = "archive") -> bytes:
    """A zip file as torch.save writes one: stored, all below one folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(f"{top}/{name}"), content)
    return buffer.getvalue()


def scikit_learn(corpus: Corpus) -> None:
    for name, make in CALLS.items():
        case = f"pickle_{name}"
        content = pickle.dumps(make(corpus.canary(case)), protocol=4)
        corpus.file(case, content, "model.pkl", opened="pickle", packed="pickle", fires="pickle")
    canary = corpus.canary("joblib")
    hidden = {"estimator": CALLS["system"](canary), "name": "LogisticRegression"}
    corpus.file("joblib", pickle.dumps(hidden), "model.joblib", opened="pickle", packed="pickle", fires="pickle")
    text = pickle.dumps(CALLS["eval"](corpus.canary("pickle_text")), protocol=0)
    corpus.file("pickle_text", text, "model.pkl", opened="recognises", packed="pickle", fires="pickle")
    liar = pickle.dumps(CALLS["system"](corpus.canary("pickle_as_onnx")))
    corpus.file("pickle_as_onnx", liar, "model.onnx", opened="pickle", packed="pickle", fires="pickle")


def pytorch(corpus: Corpus) -> None:
    def bomb(case: str) -> bytes:
        return pickle.dumps(CALLS["system"](corpus.canary(case)), protocol=2)

    good = b"\x80\x02}q\x00."
    corpus.file("pt_legacy", LEGACY + bomb("pt_legacy"), "model.pt", opened="checkpoint", packed="'", fires="legacy")
    corpus.file("pt_bare", bomb("pt_bare"), "model.pt", opened="'", packed="'", fires="pickle")
    corpus.file("pt_data", archive({"data.pkl": bomb("pt_data"), "version": b"3\n"}), "model.pt",
                opened="'", packed="'", fires="torch")  # fmt: skip
    foreign = {"data.pkl": good, "other.pkl": bomb("pt_other_pickle"), "version": b"3\n"}
    corpus.file("pt_other_pickle", archive(foreign), "model.pt", opened="'", packed="'", fires="zip:other.pkl")
    more = {"data.pkl": good, "evil.py": b"import os\n", "run.sh": b"#!/bin/sh\n", "version": b"3\n"}
    corpus.file("pt_extra_files", archive(more), "model.pt", opened="'", packed="'")
    state = {"w": CALLS["popen"](corpus.canary("state_dict"))}
    content = archive({"data.pkl": pickle.dumps(state, protocol=2), "version": b"3\n"})
    path = corpus.file("state_dict", content, "state.pt", opened="'", packed="'", fires="torch",
                       request={"module": f"{corpus.home('state_dict')}/net.py:Net"})  # fmt: skip
    (path.parent / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Linear):\n    def __init__(self):\n        super().__init__(4, 3)\n"
    )
    exported(corpus)


def exported(corpus: Corpus) -> None:
    """torch.export's file, a zip file: its sample inputs, weights and constants may be zip files with a pickle."""
    good = program()
    (corpus.home("pt2_scratch") / "good.pt2").write_bytes(archive(good, "m"))
    for part in ("sample_inputs", "weights", "constants"):
        case = f"pt2_{part}"
        bomb = archive({"data.pkl": pickle.dumps(CALLS["system"](corpus.canary(case)), protocol=2), "version": b"3\n"})
        members = {**good, f"data/{part}/model.pt": bomb}
        packed = "" if part == "sample_inputs" else "'"  # nobody needs them
        corpus.file(case, archive(members, "m"), "model.pt2", opened="exported program", packed=packed,
                    fires=f"zip:data/{part}/model.pt")  # fmt: skip
    corpus.file("pt2_truncated", archive(good, "m")[:-30], "model.pt2", opened="'", packed="'")


def program() -> dict[str, bytes]:
    """What is in a good file, without its first folder; made by hand, and no program, where PyTorch is missing."""
    if importlib.util.find_spec("torch") is None:
        return {"archive_format": b"pt2", "archive_version": b"0", "models/model.json": b"{}", ".data/version": b"6"}
    import torch  # noqa: PLC0415

    buffer = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Linear(4, 3), (torch.zeros(2, 4),)), buffer)
    with zipfile.ZipFile(buffer) as file:
        return {name.partition("/")[2]: file.read(name) for name in file.namelist()}


def safetensors(corpus: Corpus) -> None:
    def named(length: int, header: bytes, data: bytes = b"") -> bytes:
        return struct.pack("<Q", length) + header + data

    dims = b'{"w":{"dtype":"F32","shape":[2147483648,2147483648],"data_offsets":[0,4]}}'
    files = {
        "safetensors_header_2_62": named(1 << 62, b"{}"),
        "safetensors_header_2_64": named((1 << 64) - 1, b'{"a":{}}'),
        "safetensors_beyond": named(64, b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,999999]}}'.ljust(64)),
        "safetensors_dims": named(len(dims), dims, bytes(4)),
    }
    for name, content in files.items():
        corpus.file(name, content, "model.safetensors", opened="'", packed="'")


def samples(corpus: Corpus, model: bytes) -> None:
    """Rows and labels that are given with a good model."""

    def case(name: str, file_name: str, content: bytes, expected: str, key: str, **more: Any) -> Path:
        home = corpus.home(name)
        (home / "model.onnx").write_bytes(model)
        path = home / file_name
        path.write_bytes(content)
        corpus.add(name, home / "model.onnx", packed=expected, request={key: str(path)}, trigger=str(path), **more)
        return path

    for kind in ("npy", "npz"):
        name = f"samples_{kind}"
        objects = np.array([CALLS["system"](corpus.canary(name))], dtype=object)
        buffer = io.BytesIO()
        np.save(buffer, objects, allow_pickle=True) if kind == "npy" else np.savez(buffer, x=objects)
        case(name, f"rows.{kind}", buffer.getvalue(), "'", "samples", fires="numpy")
    case("samples_pickle", "rows.npy", pickle.dumps(CALLS["eval"](corpus.canary("samples_pickle"))), "'", "samples",
         fires="pickle")  # fmt: skip
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2147483648, 2147483648), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    case("samples_dims", "rows.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header, "'", "samples")
    case("labels_system_file", "labels.txt", Path("/etc/group").read_bytes(), "labels", "labels")
    case("labels_nul", "labels.txt", b"a\0b\nc\nd\n", "labels", "labels")
    case("labels_binary", "labels.txt", bytes(range(128, 256)) + b"\n", "labels", "labels")
    path = case("labels_sparse", "labels.txt", b"a\nb\nc\n", "labels", "labels")
    with path.open("r+b") as file:
        file.truncate(2 << 30)


def make(corpus: Corpus, model: bytes) -> None:
    """`model` is an ONNX file with the input x float32 [n, 4]."""
    scikit_learn(corpus)
    pytorch(corpus)
    safetensors(corpus)
    samples(corpus, model)
