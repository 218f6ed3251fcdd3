"""What comes from the user's own files: the source's path, rows, and code that the user names."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vonk.packing._plan import Array, PackError


class Ask:
    """Source, samples and module as they were given."""

    def __init__(self, source: Any, samples: Any, module: str | Callable[[], Any] | None) -> None:
        self._source = source
        self._samples = samples
        self._module = module

    def source(self) -> Any:
        if not isinstance(self._source, str | os.PathLike):
            return self._source
        path = Path(self._source)
        if not path.exists():
            raise PackError(f"{path}: no such file or folder", "VONK_IO")
        return path

    def shown(self) -> str:
        """The source as an error names it."""
        if isinstance(self._source, str | os.PathLike):
            return os.fspath(self._source)
        return f"{type(self._source).__name__} object"

    def origin(self) -> dict[str, str]:
        """For the provenance: the file's name and digest, or the object's class."""
        if not isinstance(self._source, str | os.PathLike):
            return {"source": f"{type(self._source).__module__}.{type(self._source).__qualname__}"}
        path = Path(self._source)
        if not path.is_file():
            return {"source": path.resolve().name}
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        return {"source": path.name, "source_sha256": digest.hexdigest()}

    def samples(self) -> Mapping[str, Array]:
        """By input; the array of a .npy file stands under the empty name."""
        given = self._samples
        if given is None:
            return {}
        if isinstance(given, str | os.PathLike):
            return _read_samples(Path(given))
        if isinstance(given, Mapping):
            return {str(name): np.asarray(array) for name, array in given.items()}
        return {"": np.asarray(given)}

    def module(self) -> Callable[[], Any] | None:
        """Imports what the user named; None for ``FILE.py`` alone, which is run for what it registers."""
        if not isinstance(self._module, str):
            return self._module
        place, colon, name = self._module.rpartition(":")
        if not colon:
            place, name = self._module, ""
        if not name and not place.endswith(".py"):
            raise PackError(f"--module: '{self._module}': write FILE.py:CLASS, or package.module:CLASS", "VONK_INVALID")
        loaded = _run_file(Path(place)) if place.endswith(".py") else _import(place)
        if not name:
            return None
        found = loaded
        for part in name.split("."):
            found = getattr(found, part, None)
        if not callable(found):
            raise PackError(f"--module: '{place}' has no class or function '{name}'", "VONK_INVALID")
        return found  # type: ignore[no-any-return]


def _read_samples(path: Path) -> dict[str, Array]:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"": found}
        with found:
            return {name: found[name] for name in found.files}
    except OSError as error:
        raise PackError(f"--samples: {path}: {error.strerror or error}", "VONK_IO") from None
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise PackError(
            f"--samples: {path}: is no .npz or .npy file of numbers and texts: {error}", "VONK_INVALID"
        ) from None


def _run_file(path: Path) -> Any:
    if not path.is_file():
        raise PackError(f"--module: {path}: no such file", "VONK_IO")
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PackError(f"--module: {path}: cannot be imported", "VONK_INVALID")
    module = importlib.util.module_from_spec(spec)
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return known
    if known is None:  # what the file defines can be found again by its module's name
        sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(name, None) if known is None else None
        raise PackError(f"--module: {path}: {type(error).__name__}: {error}", "VONK_INVALID") from error
    return module


def _import(name: str) -> Any:
    """Looked for in the working directory, too, behind all else."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PackError(f"--module: '{name}' cannot be imported: {error}", "VONK_INVALID") from error
    finally:
        sys.path.remove(here)
