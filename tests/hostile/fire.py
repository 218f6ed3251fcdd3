"""Loads hostile files as a careless program would, and tells whose payload ran: `fire.py CASES.json`.

It shows that the corpus can do harm, so that a test which sees none proves something. The payloads do no more than to
make a file of their own in the corpus' folder `canaries`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import json
import os
import pickle
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from corpus import Case, load  # noqa: E402

LEGACY_HEAD = 3  # a magic number, the protocol, what the machine was


class Unpickler(pickle.Unpickler):
    def persistent_load(self, _: Any) -> Any:
        return None


def from_pickle(case: Case, path: Path) -> None:
    pickle.loads(path.read_bytes())


def from_legacy(case: Case, path: Path) -> None:
    with path.open("rb") as file:
        for _ in range(LEGACY_HEAD + 1):
            Unpickler(file).load()


def from_zip(case: Case, path: Path) -> None:
    """zip:NAME, a pickle in a zip file, or one in a zip file in it; "torch" for its data.pkl."""
    wanted = case.fires.partition(":")[2] or "data.pkl"
    with zipfile.ZipFile(path) as archive:
        content = archive.read(next(name for name in archive.namelist() if name.endswith(f"/{wanted}")))
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            content = inner.read(next(name for name in inner.namelist() if name.endswith("/data.pkl")))
    Unpickler(io.BytesIO(content)).load()


def from_numpy(case: Case, path: Path) -> None:
    loaded = np.load(path, allow_pickle=True)
    if not isinstance(loaded, np.ndarray):
        loaded[loaded.files[0]]


def from_keras(case: Case, path: Path) -> None:
    import keras  # noqa: PLC0415

    keras.saving.load_model(path, safe_mode=False)


def from_keras_call(case: Case, path: Path) -> None:
    """As Keras before 3.9: the function that a Lambda names is imported, whatever it is, and called."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Lambda")
    named, call = layer["config"]["function"], layer["inbound_nodes"][0]["kwargs"]["inputs"]
    function = getattr(importlib.import_module(named["module"]), named["config"])
    function(call, **layer["config"]["arguments"])


def from_zip_slip(case: Case, path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            target = os.path.join(case.home, "unpacked", entry.filename)  # noqa: PTH118 - as unpackers do
            Path(os.path.normpath(target)).parent.mkdir(parents=True, exist_ok=True)
            Path(os.path.normpath(target)).write_bytes(archive.read(entry))


def from_library(case: Case, path: Path) -> None:
    ctypes.CDLL(str(path))


def from_graph(case: Case, path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415

    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name="")
        session.run("y:0", {"x:0": np.zeros((1, 4), np.float32)})


def from_savedmodel(case: Case, path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415

    tf.saved_model.load(str(path)).signatures["serving_default"](x=tf.zeros([1, 4]))


def from_savedmodel_v1(case: Case, path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.saved_model.load(session, ["serve"], str(path))


READERS: dict[str, Callable[[Case, Path], None]] = {
    "pickle": from_pickle, "legacy": from_legacy, "torch": from_zip, "zip": from_zip, "numpy": from_numpy,
    "keras": from_keras, "keras_call": from_keras_call, "zip_slip": from_zip_slip, "library": from_library,
    "graph": from_graph, "savedmodel": from_savedmodel, "savedmodel_v1": from_savedmodel_v1,
}  # fmt: skip


def has_fired(canary: Path) -> bool:
    """Some payloads are processes, which nobody waits for."""
    for _ in range(100):
        if canary.exists():
            return True
        time.sleep(0.02)
    return False


def main(path: Path) -> None:
    fired = []
    for case in load(path):
        if not case.fires:
            continue
        with contextlib.suppress(Exception), contextlib.redirect_stdout(sys.stderr):
            READERS[case.fires.partition(":")[0]](case, Path(case.trigger or case.path))
        if has_fired(path.parent / "canaries" / case.name):
            fired.append(case.name)
    print(json.dumps(fired))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
