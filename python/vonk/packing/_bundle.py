"""Writing a bundle: under a temporary name beside the target, renamed when all is well.

How it works: the manifest holds the digest of every file, so files are read twice, once for their digests. It also
holds the largest difference, which is only known when the bundle has been opened: the number is written with a fixed
width, and the manifest is replaced in place by one of the same size.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vonk.packing import _zip
from vonk.packing._manifest import encode
from vonk.packing._plan import PackError

MANIFEST = "manifest.json"
#: A manifest for a largest difference; of one size whatever the number.
Manifest = Callable[[float], Mapping[str, Any]]


def number(difference: float) -> str:
    """Seven characters: ``8.9e-08``."""
    return f"{difference if difference >= 1e-99 else 0.0:.1e}"


@dataclass(frozen=True)
class Content:
    """The files of a bundle but the manifest, with their digests."""

    entries: tuple[_zip.Entry, ...]
    digests: Mapping[str, str]

    def files(self) -> dict[str, dict[str, Any]]:
        return {entry.name: {"sha256": self.digests[entry.name], "size": entry.size} for entry in self.entries}


def collect(files: Mapping[str, bytes | Path]) -> Content:
    """Reads files once: sizes, CRCs and digests.

    Raises
    ------
    PackError
        A name that a bundle cannot have.
    """
    entries, digests = [], {}
    for name, content in sorted(files.items()):
        if "\\" in name or any(ord(c) < 32 for c in name) or any(part in ("", ".", "..") for part in name.split("/")):
            raise PackError(f"{name!r}: no file of a bundle can have this name: rename it")
        size, crc, digest = 0, 0, hashlib.sha256()
        for block in _zip.Entry(name, content, 0, 0).blocks():
            size, crc = size + len(block), zlib.crc32(block, crc)
            digest.update(block)
        entries.append(_zip.Entry(name, content, size, crc))
        digests[name] = digest.hexdigest()
    return Content(tuple(entries), digests)


def model_files(model: Path) -> dict[str, bytes | Path]:
    """The files of a model by their names in a bundle: those in its folder, or beside it."""
    top = model if model.is_dir() else model.parent
    return {
        f"model/{path.relative_to(top).as_posix()}": path
        for folder, _, names in os.walk(top)
        for path in (Path(folder, name) for name in names)
    }


# --- the target ---


def check_target(output: Path, source: Any, is_folder: bool) -> Path:
    """Where to write, links resolved, before any work is done.

    Raises
    ------
    PackError
        It cannot be written to.
    """
    if not output.name.endswith(".vonk"):
        raise PackError(f"{output}: is not called NAME.vonk, by which bundles are known", "VONK_INVALID")
    target = Path(os.path.realpath(output))
    if isinstance(source, str | os.PathLike) and target == Path(os.path.realpath(source)):
        raise PackError(f"{output}: is the source itself: write to another file", "VONK_INVALID")
    parent = target.parent
    if not parent.is_dir():
        raise PackError(f"{output}: there is no folder '{parent}'", "VONK_IO")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PackError(f"{output}: the folder '{parent}' cannot be written to", "VONK_IO")
    if target.is_dir():
        if not (target / MANIFEST).is_file():
            raise PackError(f"{output}: is a folder, and no bundle: another name, or remove it", "VONK_IO")
        if not is_folder:
            raise PackError(f"{output}: is a bundle that is a folder: pass --folder to replace it", "VONK_IO")
    elif target.exists():
        if not target.is_file():
            raise PackError(f"{output}: is no file: another name", "VONK_IO")
        if is_folder:
            raise PackError(f"{output}: is a file: another name for a folder, or remove it", "VONK_IO")
    return target


class Draft:
    """A bundle under its temporary name."""

    def __init__(self, target: Path, content: Content, manifest: Manifest, *, is_folder: bool) -> None:
        self.path = target.with_name(f".{target.name}-{os.getpid()}")
        self._target = target
        self._content = content
        self._manifest = manifest
        self._is_folder = is_folder

    def write(self) -> None:
        if self._is_folder:
            self._write_folder()
        else:
            with self.path.open("xb") as file:
                _zip.write(file, self._entries(0.0))
            _copy_mode(self._target, self.path)

    def note(self, difference: float) -> None:
        """Puts the largest difference into the manifest."""
        if self._is_folder:
            (self.path / MANIFEST).write_bytes(self._entries(difference)[0].content)  # type: ignore[arg-type]
        else:
            with self.path.open("r+b") as file:
                _zip.rewrite_first(file, self._entries(difference))

    def finish(self) -> None:
        """Makes it durable and gives it its name."""
        if self._is_folder:
            _replace_folder(self.path, self._target)
        else:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
            self.path.replace(self._target)
        _sync_folder(self._target.parent)

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
        shutil.rmtree(self.path, ignore_errors=True)

    def _entries(self, difference: float) -> list[_zip.Entry]:
        return [_zip.entry(MANIFEST, encode(self._manifest(difference))), *self._content.entries]

    def _write_folder(self) -> None:
        self.path.mkdir()
        for entry in self._entries(0.0):
            place = self.path / entry.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                for block in entry.blocks():
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())


@contextlib.contextmanager
def draft(target: Path, content: Content, manifest: Manifest, *, is_folder: bool) -> Iterator[Draft]:
    """A written draft, which is removed again unless it was finished.

    Raises
    ------
    PackError
        It cannot be written: the disk is full, ...
    """
    made = Draft(target, content, manifest, is_folder=is_folder)
    try:
        made.write()
        yield made
    except OSError as error:
        raise PackError(f"{target}: cannot be written: {error.strerror or error}", "VONK_IO") from error
    finally:
        made.discard()


def _copy_mode(old: Path, new: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        new.chmod(stat.S_IMODE(old.stat().st_mode))


def _replace_folder(new: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}-{os.getpid()}-old")
    if target.exists():
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
