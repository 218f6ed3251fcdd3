"""What is shipped, as one file each in a private folder of this process.

How it works: a file is copied, so that nobody changes what was shipped, and named by the digest of its content. A model
that is several files is wrapped into a bundle; what only Python can read, a live object among them, is packed as ``vonk
pack`` does. A file that has not changed since the last time (its times, size and inode say so) is not read again.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vonk
from vonk import _core
from vonk.packing import PackError, _manifest, _recognise, _wrap, onnx_weights

#: Seconds within which a file may have changed twice without its times telling.
_RACY = 2.0
_BLOCK = 1 << 20
#: Endings of what is made here.
_OURS = (".vonk", ".zip")
_EPOCH = 315532800  # 1980: equal models pack into equal bundles


@dataclass(frozen=True)
class Staged:
    """A model as one file.

    Attributes
    ----------
    path
        In the staging folder.
    sha256
        Of the file.
    title
        What users know it by.
    options
        Of ``vonk.open``: those that are left, for a bundle holds what its manifest says.
    """

    path: Path
    sha256: str
    title: str
    options: Mapping[str, Any]


_lock = threading.RLock()
_known: dict[Hashable, Staged] = {}
_by_digest: dict[str, Path] = {}
_folders: list[tuple[int, Path]] = []


def stage(path: Path, options: Mapping[str, Any], pack: Mapping[str, Any] | None = None) -> Staged:
    """Any file or folder that vonk opens or packs.

    Raises
    ------
    vonk.Error
        It cannot be read, or packed, or there is no room for the copy.
    """
    how = repr(sorted(options.items())), repr(pack)
    return stage_as(path, how, lambda path, work: _one_file(path, options, pack, work))


def stage_as(
    path: Path, how: Hashable, make: Callable[[Path, Path], tuple[Path, Mapping[str, Any]]], title: str = ""
) -> Staged:
    """A file or folder, made one file by a function, once for what has not changed since.

    Parameters
    ----------
    path
        On the driver.
    how
        What the function does, besides the path.
    make
        Gets the path and an empty folder; gives the file, and the options of ``vonk.open`` that are left.
    title
        What users know it by; empty is the path's name.

    Raises
    ------
    vonk.Error
        It cannot be read, or there is no room for the copy.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - links stay: what lies beside the link belongs to the model
    if not path.exists():
        raise vonk.FileError(f"model '{path}': no such file or folder on the driver", "VONK_IO")
    with _lock:
        key = _fingerprint(path), how
        found = _known.get(key)
        if found is not None and found.path.exists():
            return found
        title = title or path.name
        with _room(title), _workplace() as work:
            is_racy = _is_racy(path)
            made, left = make(path, work)
            found = _keep(made, title, left)
            if not is_racy:
                _known[key] = found
        return found


def stage_object(model: Any, options: Mapping[str, Any], pack: Mapping[str, Any] | None = None) -> Staged:
    """A live model: it is packed as ``vonk.pack`` does.

    Raises
    ------
    vonk.Error
        It cannot be packed.
    """
    title = type(model).__name__
    return stage_made(
        title, lambda work: pack_to(model, work / f"{_plain(title)}.vonk", title, pack or {}, say=True), options
    )


def stage_made(title: str, make: Callable[[Path], Path], options: Mapping[str, Any]) -> Staged:
    """A file that a function makes in an empty folder.

    Raises
    ------
    vonk.Error
        There is no room for the copy.
    """
    with _lock, _room(title), _workplace() as work:
        return _keep(make(work), title, options)


def pack_to(model: Any, target: Path, title: str, pack: Mapping[str, Any], *, say: bool) -> Path:
    """Packs a model, with words on standard error if asked for.

    Raises
    ------
    vonk.packing.PackError
        It cannot be packed; the message says what ``pack=`` may tell.
    """
    told = _Told(title) if say else None
    try:
        with _manifest.dated(_EPOCH):
            report = vonk.pack(model, target, **{"progress": told, "name": title, **pack})
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise vonk.InvalidError(f"pack: {error}: it takes the arguments of vonk.pack") from None
    except PackError as error:
        how = " (options of vonk pack are here pack={'inputs': [...], 'module': ..., 'trust': ...})"
        raise PackError(
            f"model '{title}': cannot be packed for the workers: {error}{how if '--' in error.message else ''}",
            error.code,
        ) from error
    if told is not None:
        told.done(report)
    return target


def folder() -> Path:
    """The staging folder of this process; only its user may enter it, and it goes with the process."""
    if _folders and _folders[-1][0] == os.getpid() and _folders[-1][1].is_dir():
        return _folders[-1][1]
    made = Path(tempfile.mkdtemp(prefix="vonk-spark-"))
    _folders.append((os.getpid(), made))
    atexit.register(_remove, os.getpid(), made)
    return made


def _remove(owner: int, made: Path) -> None:
    if os.getpid() == owner:  # a child of a fork leaves it to its parent
        shutil.rmtree(made, ignore_errors=True)


# --- one file ---


def _one_file(
    path: Path, options: Mapping[str, Any], pack: Mapping[str, Any] | None, work: Path
) -> tuple[Path, Mapping[str, Any]]:
    """The model as one file, itself if it is one, and the options that are left."""
    target = work / f"{_plain(path.name).removesuffix('.vonk')}.vonk"
    if pack is not None or _recognise.needs_packing(path):
        return pack_to(path, target, path.name, pack or {}, say=True), options
    if _may_be_several(path):
        left = _wrap.wrap(path, target, options)
        if target.exists():
            return target, left
    return path, options


def _may_be_several(path: Path) -> bool:
    if path.is_dir():
        return True
    _, plugin = _core.recognise(os.fsencode(path))
    return plugin == "tensorflow" or (plugin == "onnx" and bool(onnx_weights.locations(path)))


def _keep(made: Path, name: str, options: Mapping[str, Any]) -> Staged:
    """Copies a file under the name that its content has."""
    target = folder()
    with tempfile.NamedTemporaryFile(dir=target, prefix=".", delete=False) as copy:
        part = Path(copy.name)
        try:
            digest = hashlib.sha256()
            with made.open("rb") as source:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    copy.write(block)
            copy.flush()
            sha256 = digest.hexdigest()
            ending = made.suffix if made.suffix in _OURS and not name.endswith(made.suffix) else ""
            final = _by_digest.get(sha256) or target / f"{sha256[:16]}-{_plain(name)}{ending}"
            if final.exists():
                part.unlink()
            else:
                part.replace(final)
            _by_digest[sha256] = final
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return Staged(final, sha256, name, dict(options))


def _plain(name: str) -> str:
    """A name that needs no escapes in a URI."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-80:].lstrip(".") or "model"


@contextmanager
def _workplace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=folder(), prefix=".work-") as work:
        yield Path(work)


@contextmanager
def _room(title: str) -> Iterator[None]:
    try:
        yield
    except vonk.Error:
        raise
    except OSError as error:
        if error.filename and folder() not in Path(os.fsdecode(error.filename)).parents:
            raise vonk.FileError(
                f"model '{title}': its file '{os.fsdecode(error.filename)}' cannot be read: {error.strerror or error}",
                "VONK_IO",
            ) from error
        where = tempfile.gettempdir()
        raise vonk.FileError(
            f"model '{title}': cannot be copied to {where}, from where Spark takes it: {error.strerror or error}: set "
            "TMPDIR to a folder with room",
            "VONK_IO",
        ) from error


# --- has it changed? ---


def _files(path: Path) -> list[Path]:
    """A file and what lies beside it under its name, or all files of a folder."""
    if path.is_dir():
        return [Path(top, name) for top, _, names in os.walk(path) for name in sorted(names)]
    return [path, *_beside(path)]


def _beside(path: Path) -> list[Path]:
    if path.suffix == ".meta":
        return sorted(path.parent.glob(f"{glob_escape(path.stem)}.*"))
    try:
        return [path.parent / name for name in onnx_weights.locations(path)] if path.suffix == ".onnx" else []
    except OSError:
        return []


def glob_escape(text: str) -> str:
    """Text in which no character stands for others."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _fingerprint(path: Path) -> Hashable:
    marks = []
    for file in _files(path):
        try:
            at = file.stat()
        except OSError:
            continue
        marks.append((str(file), at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns))
    return str(path), tuple(marks)


def _is_racy(path: Path) -> bool:
    now = time.time()
    return any(now - max(at.st_mtime, at.st_ctime) < _RACY for at in (file.stat() for file in _files(path)))


# --- words ---


class _Told:
    """Says on standard error that a model is being packed, which takes seconds: on a terminal one line, rewritten."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._say("begins", is_last=not self._is_terminal)

    def __call__(self, text: str) -> None:
        if self._is_terminal:
            self._say(text, is_last=False)

    def done(self, report: vonk.Report) -> None:
        seconds = time.monotonic() - self._began
        self._say(
            f"{report.format}, {report.size:,} bytes, {seconds:.1f} s, largest difference "
            f"{report.largest_difference:.1e}",
            is_last=True,
        )

    def _say(self, text: str, *, is_last: bool) -> None:
        if sys.stderr is not None:
            start = "\r\033[K" if self._is_terminal else ""
            end = "\n" if is_last else ""
            sys.stderr.write(f"{start}vonk: packing '{self._title}' for Spark's workers: {text}{end}")
            sys.stderr.flush()
