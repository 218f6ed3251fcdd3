"""Which converter takes a source.

How it works: an object by the packages of its class and of the classes that it inherits from, none of which is
imported for that; a path by its content: a folder by the files that make it one, a zip or HDF5 file by what is in it,
everything else as the plug-ins recognise it. The ending counts only where content cannot tell (pickles).
"""

from __future__ import annotations

import importlib
import os
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

from vonk import _core
from vonk.packing._plan import PackError

#: Package of an object's class -> converter. Keras comes first: with another backend its models are torch modules, too.
_OBJECTS = {"keras": "keras", "tf_keras": "keras", "torch": "torch", "sklearn": "sklearn", "onnx": "onnx"}
#: What a plug-in recognises -> converter.
_PLUGINS = {"onnx": "onnx", "tensorflow": "tensorflow", "torch": "torch"}

_ZIP = b"PK\3\4"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_PICKLE = b"\x80"
#: How a pickled file of torch.save before 1.6 begins: a magic number.
_OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
_TORCH_ENDINGS = (".pt", ".pth", ".pt2", ".ts", ".ckpt", ".bin")

KNOWN = (
    "Keras models (.keras, .h5), SavedModel folders, frozen graphs (.pb) and .meta, ONNX, PyTorch's .pt, .pth and "
    ".pt2, pickled scikit-learn estimators, or a live object of one of these"
)


def converter(source: Any) -> ModuleType:
    """The module that converts a source.

    Raises
    ------
    PackError
        Nobody knows it, or it is a bundle already.
    """
    name = _of_path(Path(source)) if isinstance(source, str | os.PathLike) else _of_object(source)
    return importlib.import_module(f"vonk.packing.{name}")


def needs_packing(path: Path) -> bool:
    """Whether a file or folder is one that only Python can read, so that no plug-in opens it: a Keras model, an
    exported program of PyTorch's, weights alone, a pickle. Told by its content; nothing of it is run.

    Raises
    ------
    PackError
        It cannot be read.
    """
    if path.is_dir():
        return (path / "config.json").is_file() and (path / "model.weights.h5").is_file()
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise PackError(f"{path}: {error.strerror}", "VONK_IO") from None
    if head.startswith((_HDF5, _PICKLE)):
        return True
    if not head.startswith(_ZIP):
        return head[8:9] == b"{" and path.suffix == ".safetensors"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    if names[:1] == ["manifest.json"]:
        return False
    if "config.json" in names and any(name.endswith(".h5") for name in names):
        return True
    inner = [name.partition("/")[2] for name in names]
    if any(name.startswith("data/aotinductor/") for name in inner) or "constants.pkl" in inner:
        return False  # a package, TorchScript
    return "data.pkl" in inner or any(name.startswith("models/") for name in inner)


def _of_object(source: Any) -> str:
    packages = {base.__module__.partition(".")[0] for base in type(source).__mro__}
    for package, name in _OBJECTS.items():
        if package in packages:
            return name
    if isinstance(source, type):
        raise PackError(f"{source.__name__}: is a class: pass a model, an object of that class")
    kind = f"{type(source).__module__}.{type(source).__qualname__}"
    raise PackError(f"an object of {kind}: is no model that vonk knows: it packs {KNOWN}")


def _of_path(path: Path) -> str:
    try:
        if path.is_dir():
            return _of_folder(path)
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise PackError(f"{path}: {error.strerror}", "VONK_IO") from None
    if not head:
        raise PackError(f"{path}: is empty")
    if head.startswith(_HDF5):
        return "keras"
    if head.startswith(_ZIP):
        return _of_zip(path)
    if head.startswith(_PICKLE):
        is_torch = head.startswith(_OLD_TORCH) or path.suffix.lower() in _TORCH_ENDINGS
        return "torch" if is_torch else "sklearn"
    sureness, plugin = _core.recognise(os.fsencode(path))
    if sureness > 0 and plugin in _PLUGINS:
        return _PLUGINS[plugin]
    raise PackError(f"{path}: is no model that vonk knows: it packs {KNOWN}")


def _of_folder(path: Path) -> str:
    if (path / "manifest.json").is_file():
        raise PackError(f"{path}: is a bundle already")
    if (path / "saved_model.pb").is_file():
        return "tensorflow"
    if (path / "config.json").is_file() and (path / "model.weights.h5").is_file():
        return "keras"
    raise PackError(f"{path}: is a folder without saved_model.pb: pass a SavedModel's folder, or the model's file")


def _of_zip(path: Path) -> str:
    """Keras' files have config.json at the top; PyTorch's stand in a folder."""
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise PackError(f"{path}: is a damaged zip file: {error}") from None
    if names and names[0] == "manifest.json":
        raise PackError(f"{path}: is a bundle already")
    if "config.json" in names and any(name.endswith(".h5") for name in names):
        return "keras"
    if any(name.rpartition("/")[2] in ("data.pkl", "constants.pkl", "archive_format", "version") for name in names):
        return "torch"
    if path.suffix.lower() == ".keras":
        return "keras"
    if path.suffix.lower() in _TORCH_ENDINGS:
        return "torch"
    raise PackError(f"{path}: is a zip file, but no model that vonk knows: it packs {KNOWN}")
