"""A model's folder as one file, and back.

How it works: the file is a zip without compression, which weights do not yield to, with entries in one order and of one
date: equal folders give equal files, whose digest names the model. It may come from a stranger, so unpacking takes
relative names of plain files only, and as many bytes as the zip's directory says. A folder appears under its final name
when it is whole; processes that unpack the same file wait for the first one. Later ones compare names and sizes: that
finds what a cleaner of old files took away. Whoever can change a file there could change the process, too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from vonk._errors import FileError, ModelError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_BLOCK = 1 << 20
_MOST_FILES = 10_000


def pack(folder: Path, names: Sequence[str], target: Path) -> None:
    """Writes files of a folder into a zip; links are followed.

    Parameters
    ----------
    folder
        The model.
    names
        Relative paths of its files, with ``/``.
    target
        The zip.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in sorted(names):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.file_size = (folder / name).stat().st_size  # tells zipfile whether it is a large one
            with (folder / name).open("rb") as source, archive.open(entry, "w") as copy:
                shutil.copyfileobj(source, copy, _BLOCK)


def unpack(archive: Path, folder: Path, sha256: str) -> Path:
    """The folder with the zip's files: unpacked, unless it is there already.

    Parameters
    ----------
    archive, folder
        The zip; where its files shall be.
    sha256
        Of the zip.

    Raises
    ------
    vonk.ModelError
        The zip is another one, or holds what no model's does; or a file is gone from the folder.
    vonk.FileError
        It cannot be read, or there is no room.
    """
    try:
        if folder.is_dir():
            _compare(archive, folder)
            return folder
        with _alone(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir():
                _check_digest(archive, sha256)
                _unpack(archive, folder)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            f"model '{archive.name}': cannot be unpacked to {folder.parent}: {error.strerror or error}: is there room?",
            "VONK_IO",
        ) from error
    return folder


def _compare(archive: Path, folder: Path) -> None:
    if not archive.exists():
        return  # the folder is whole: it appeared so
    try:
        with zipfile.ZipFile(archive) as source:
            entries = source.infolist()
    except zipfile.BadZipFile as error:
        raise ModelError(f"model '{archive.name}': is not the zip that was pinned: {error}", "VONK_MODEL") from error
    for entry in entries:
        file = folder / entry.filename
        if not file.is_file() or file.stat().st_size != entry.file_size:
            raise ModelError(
                f"model '{archive.name}': its unpacked '{entry.filename}' is gone, or has not the size that was pinned",
                "VONK_MODEL",
            )


def _check_digest(archive: Path, sha256: str) -> None:
    total = hashlib.sha256()
    with archive.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    found = total.hexdigest()
    if found != sha256:
        raise ModelError(f"model '{archive.name}': has sha256 {found}, pinned is {sha256}", "VONK_MODEL")


def _unpack(archive: Path, folder: Path) -> None:
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        with zipfile.ZipFile(archive) as source:
            for entry in _checked(source, archive.name):
                target = part / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with source.open(entry) as stream, target.open("xb") as copy:
                    shutil.copyfileobj(stream, copy, _BLOCK)
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            # on a file system without locks another process was faster
    except (zipfile.BadZipFile, FileExistsError, NotADirectoryError, RuntimeError, EOFError) as error:
        raise ModelError(f"model '{archive.name}': is no whole zip file: {error}", "VONK_MODEL") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _checked(source: zipfile.ZipFile, title: str) -> list[zipfile.ZipInfo]:
    """The entries, if each is a plain file inside the folder, stored as it is.

    Raises
    ------
    vonk.ModelError
        One is not.
    """
    entries = source.infolist()
    if len(entries) > _MOST_FILES:
        raise ModelError(f"model '{title}': has {len(entries):,} files: no model has so many", "VONK_MODEL")
    size = source.fp.seek(0, os.SEEK_END) if source.fp is not None else 0
    if sum(entry.file_size for entry in entries) > size:
        raise ModelError(f"model '{title}': its files are larger than the zip that holds them", "VONK_MODEL")
    for entry in entries:
        name = entry.filename
        path = PurePosixPath(name)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        is_inside = not path.is_absolute() and ".." not in path.parts and "\\" not in name and "\0" not in name
        if not is_inside or not name or entry.is_dir():
            raise ModelError(
                f"model '{title}': the entry '{name}' leads out of its folder or is no file: not unpacked", "VONK_MODEL"
            )
        if kind not in (0, stat.S_IFREG):
            raise ModelError(f"model '{title}': the entry '{name}' is a link or a device: not unpacked", "VONK_MODEL")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ModelError(f"model '{title}': the entry '{name}' is compressed: vonk stores as is", "VONK_MODEL")
    return entries


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; a file system without locks lets all of them in, which costs room only."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
