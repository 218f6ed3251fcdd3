"""Looks at a Keras file before Keras does.

A .keras file (a zip) and a .h5 file hold the model as JSON that Keras rebuilds by looking up modules, classes and
functions by name, and by calling them. Keras' own safe mode was passed by more than once (CVE-2025-1550, CVE-2025-8747,
CVE-2025-9905: .h5 files ignored it, CVE-2025-9906: a configuration that switched it off, CVE-2025-12058: a vocabulary
that is a path), so nothing is handed on but what is known to be data:

- objects only of the packages of Keras that hold layers, initializers and the like, by a list of those packages; no
  functions but activations and the like, and no function of Keras that fetches, loads or configures;
- no layer that is code or reads files: Lambda, TFSMLayer, TorchModuleWrapper, JaxLayer, FlaxLayer;
- no vocabulary or other value of a lookup that is a path;
- in HDF5 no link to another file, no external or virtual storage, no content that is far larger than the file;
- in the zip no entry but those that Keras writes, each of them once.

What is refused can be packed with ``--trust``. Classes that the user's own ``--module`` registered are let through.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vonk.packing._plan import PackError

_TRUST = "pack it with --trust only if you trust its author"

#: Modules, with what is below them, whose classes are data.
_CLASSES = (
    "layers", "models", "initializers", "regularizers", "constraints", "activations", "dtype_policies", "quantizers",
    "random", "ops", "losses", "metrics", "optimizers", "src.layers", "src.models", "src.initializers",
    "src.regularizers", "src.constraints", "src.activations", "src.dtype_policies", "src.quantizers", "src.random",
    "src.ops", "src.losses", "src.metrics", "src.optimizers", "src.engine.functional", "src.engine.sequential",
)  # fmt: skip
#: Modules whose functions are data.
_FUNCTIONS = ("activations", "losses", "metrics", "initializers", "src.activations", "src.losses", "src.metrics")
#: In the package keras itself.
_TOP = {
    "Model", "Sequential", "Functional", "Variable", "DTypePolicy", "FloatDTypePolicy", "QuantizedDTypePolicy",
    "QuantizedFloat8DTypePolicy", "Initializer", "Regularizer", "Constraint", "Layer", "InputSpec", "SeedGenerator",
}  # fmt: skip
#: Layers that are code, or that read a file of their configuration's choosing.
_CODE = {
    "Lambda": "is Python code",
    "TFSMLayer": "loads another model from a path",
    "TorchModuleWrapper": "holds a pickle",
    "JaxLayer": "is code of another framework",
    "FlaxLayer": "is code of another framework",
}
#: Markers of Keras for values.
_VALUES = {
    "__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__", "__complex__",
}  # fmt: skip
_CLASS_NAME = re.compile(r"[A-Z_][A-Za-z0-9_]*")
#: Keys of lookup layers that Keras reads a file for, where the value is a text.
_PATHS = ("vocabulary", "file_path", "filepath", "filename", "path")
_ENTRIES = re.compile(
    r"metadata\.json|config\.json|model\.weights\.(h5|npz|json)|model_\d+\.weights\.h5|assets(/[^/]+)*/?"
)
_MAX_CONFIG = 256 << 20
_MAX_RATIO = 100
_MAX_LARGE = 256 << 20
_MAX_NUMBER = 1 << 31
_MAX_DEPTH = 256

#: Whether the user's own module registered a name.
Known = Callable[[str], bool]


def check_keras(path: Path, is_known: Known) -> None:
    """A .keras file.

    Raises
    ------
    PackError
        It is damaged, or may do more than hold a model.
    """
    try:
        with zipfile.ZipFile(path) as file:
            _check_entries(path, file.infolist())
            config = _parse(path, file.read("config.json"))
            for name in file.namelist():
                if name.endswith(".h5"):
                    with file.open(name) as weights:
                        _check_hdf5(path, weights)
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, EOFError, RuntimeError) as error:
        if isinstance(error, PackError):
            raise
        raise PackError(f"{path}: is no .keras file, or a damaged one: {error}") from None
    if isinstance(config, dict):
        config = {**config, "compile_config": None}  # never used here
    check_config(path, config, is_known)


def check_h5(path: Path, is_known: Known) -> None:
    """A whole model in a .h5 file."""
    import h5py  # noqa: PLC0415 - only for these

    _check_hdf5(path, path)
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise PackError(f"{path}: is no HDF5 file, or a damaged one: {error}") from None
    if text is None:
        raise PackError(f"{path}: holds weights only, and no model: save the whole model, model.save('NAME.keras')")
    check_config(path, _parse(path, text), is_known)


def check_config(path: Path, config: Any, is_known: Known) -> None:
    """The configuration, as Keras would walk it."""
    for value, place in _objects(path, config):
        _check_object(f"{path}: {place}" if place else f"{path}", value, is_known)


# --- the files ---


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    seen = set()
    for entry in entries:
        name = entry.filename
        if _ENTRIES.fullmatch(name) is None or ".." in name.split("/") or "\\" in name:
            raise PackError(f"{path}: holds '{name}', which is no part of a Keras model: {_TRUST}")
        if name in seen:
            raise PackError(f"{path}: holds '{name}' twice: it was tampered with")
        seen.add(name)
        if entry.file_size > _MAX_LARGE and entry.file_size > _MAX_RATIO * entry.compress_size:
            raise PackError(f"{path}: '{name}' claims {entry.file_size:,} bytes of {entry.compress_size:,}")
        if name == "config.json" and entry.file_size > _MAX_CONFIG:
            raise PackError(f"{path}: its configuration claims {entry.file_size:,} bytes")
    if "config.json" not in seen:
        raise PackError(f"{path}: has no config.json: it is no Keras model")


def _check_hdf5(path: Path, source: Any) -> None:
    import h5py  # noqa: PLC0415

    try:
        with h5py.File(source, "r") as file:
            _check_group(path, file, h5py)
    except PackError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise PackError(f"{path}: its weights are damaged: {error}") from None


def _check_group(path: Path, top: Any, h5py: Any) -> None:
    """Without following a link that leaves the file."""
    groups, seen = [top], set()
    while groups:
        group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise PackError(f"{path}: '{group.name}/{name}' is a link to another file, '{link.filename}'")
            if isinstance(link, h5py.SoftLink):
                continue
            item = group.get(name)
            if isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                if address not in seen:
                    seen.add(address)
                    groups.append(item)
            elif isinstance(item, h5py.Dataset):
                _check_dataset(path, item)


def _check_dataset(path: Path, item: Any) -> None:
    plist = item.id.get_create_plist()
    if plist.get_external_count() > 0 or item.is_virtual:
        raise PackError(f"{path}: '{item.name}' keeps its values in another file")
    stored = item.id.get_storage_size()
    if item.nbytes > _MAX_LARGE and item.nbytes > _MAX_RATIO * stored:
        raise PackError(f"{path}: '{item.name}' claims {item.nbytes:,} bytes of {stored:,}")


def _parse(path: Path, text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError, TypeError) as error:
        raise PackError(f"{path}: its configuration is no JSON: {error}") from None


# --- the configuration ---


def _objects(path: Path, config: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every mapping in it, with the name of the layer that it stands in."""
    todo: list[tuple[Any, str, int]] = [(config, "", 0)]
    while todo:
        value, place, depth = todo.pop()
        if depth > _MAX_DEPTH:
            raise PackError(f"{path}: its configuration is nested deeper than {_MAX_DEPTH} levels")
        if isinstance(value, bool):
            continue
        if isinstance(value, int) and abs(value) >= _MAX_NUMBER and "shared_object_id" not in place:
            raise PackError(f"{path}: {place or 'its configuration'}: {value} is no size that a model has")
        if isinstance(value, dict):
            name = value.get("name")
            inside = f"layer '{name}'" if isinstance(name, str) and "class_name" in value else place
            yield value, inside
            todo += [(part, inside, depth + 1) for key, part in value.items() if key != "shared_object_id"]
        elif isinstance(value, list):
            todo += [(part, place, depth + 1) for part in value]


def _check_object(where: str, value: dict[str, Any], is_known: Known) -> None:
    for key in _PATHS:
        text = value.get(key)
        if isinstance(text, str) and text:
            raise PackError(f"{where}: its {key} is a path, '{text}', which Keras would read: {_TRUST}")
    if "class_name" not in value:
        return
    name, module, registered = (value.get(key) for key in ("class_name", "module", "registered_name"))
    if not isinstance(name, str) or not isinstance(module, str | None) or not isinstance(registered, str | None):
        raise PackError(f"{where}: names an object that is no text: it was tampered with")
    if name in _VALUES:
        return
    if name == "__lambda__" or value.get("function_type") == "lambda":
        raise PackError(f"{where}: a Lambda is Python code inside the file: {_TRUST}")
    if name in _CODE:
        kind = "a Lambda is Python code inside the file" if name == "Lambda" else f"a {name} {_CODE[name]}"
        raise PackError(f"{where}: {kind}: {_TRUST}")
    target = value.get("config") if name == "function" else name
    if any(isinstance(text, str) and is_known(text) for text in (registered, target)):
        return
    if name == "function":
        _check_function(where, value, target)
    else:
        _check_class(where, name, module, registered)


def _check_function(where: str, value: dict[str, Any], name: Any) -> None:
    module = value.get("module")
    if not isinstance(name, str) or not isinstance(module, str) or not _is_below(module, _FUNCTIONS) or "." in name:
        raise PackError(f"{where}: refers to the function '{module}.{name}', which is not one of Keras': {_WAYS}")


def _check_class(where: str, name: str, module: str | None, registered: str | None) -> None:
    if registered is not None and registered != name:
        raise PackError(f"{where}: is of the class '{registered}', which is not one of Keras': {_WAYS}")
    is_class = _CLASS_NAME.fullmatch(name) is not None
    # Files of Keras 2 name no module: there the name is looked up among Keras' own and what is registered.
    is_ours = module is None or (module == "keras" and name in _TOP) or _is_below(module, _CLASSES)
    if not (is_class and is_ours):
        raise PackError(f"{where}: refers to '{module}.{name}', which is not one of Keras' layers: {_WAYS}")


_WAYS = f"name the file that registers it with --module FILE.py, or {_TRUST}"


def _is_below(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == f"keras.{package}" or module.startswith(f"keras.{package}.") for package in packages)


def registered(name: str) -> bool:
    """Whether this process has an object registered under a name: the user's module did that."""
    import keras  # noqa: PLC0415

    return keras.saving.get_registered_object(name) is not None


def check(path: Path) -> None:
    """Either kind of file, by its content."""
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\3\4"
    (check_keras if is_zip else check_h5)(path, registered)
