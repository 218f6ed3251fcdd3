"""Keeps what frameworks print off the terminal.

How it works: descriptors 1 and 2 and ``sys.stdout`` and ``sys.stderr`` point to a nameless file meanwhile: TensorFlow's
and PyTorch's C++ write to the descriptors, their Python to the objects. Descriptors belong to the process, so what
other threads print meanwhile goes there, too. A library that is imported meanwhile may keep ``sys.stderr`` for good, as
absl does for its log: what it writes there later goes to the stream that was there before.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable
from typing import IO, Any

#: Of what was printed, the end is kept for an error's note.
_KEPT = 20_000


class _Aside(io.TextIOBase):
    """Stands for a stream: writes to a file until it is ended, and to the stream from then on."""

    def __init__(self, file: IO[str], stream: Any) -> None:
        self._target: Any = file
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override] # read-only, as that of files is
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if self._target is not None:  # None is what sys.stderr is where there is no terminal
            self._target.write(text)
        return len(text)

    def flush(self) -> None:
        if self._target is not None:
            self._target.flush()

    def fileno(self) -> int:
        return super().fileno() if self._target is None else int(self._target.fileno())

    def end(self) -> None:
        self._target = self._stream


class Quiet:
    """Keeps the output of a ``with`` block aside."""

    def __init__(self, is_on: bool = True) -> None:
        self._is_on = is_on
        self._file: IO[bytes] | None = None
        self._saved: dict[int, int] = {}
        self._streams: tuple[Any, Any] = (None, None)
        self._asides: tuple[_Aside, ...] = ()
        self._text: IO[str] | None = None

    def __enter__(self) -> Quiet:
        if self._is_on:
            self._file = tempfile.TemporaryFile()
            self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._end()
            self._file.close()
            self._file = None

    def outside(self, function: Callable[[], object]) -> None:
        """Calls a function whose output is shown."""
        if self._file is None:
            function()
            return
        self._end()
        try:
            function()
        finally:
            self._begin()

    def printed(self) -> str:
        """The end of what was kept aside so far."""
        if self._file is None:
            return ""
        _flush()
        size = os.fstat(self._file.fileno()).st_size
        start = max(0, size - _KEPT)
        return os.pread(self._file.fileno(), size - start, start).decode(errors="replace").strip()

    def _begin(self) -> None:
        assert self._file is not None
        _flush()
        aside = self._file.fileno()
        self._saved = {number: os.dup(number) for number in (1, 2) if _is_open(number)}
        for number in self._saved:
            os.dup2(aside, number)
        self._streams = (sys.stdout, sys.stderr)
        self._text = io.TextIOWrapper(os.fdopen(os.dup(aside), "wb", 0), "utf-8", "replace", write_through=True)
        self._asides = tuple(_Aside(self._text, stream) for stream in self._streams)
        sys.stdout, sys.stderr = self._asides

    def _end(self) -> None:
        _flush()
        sys.stdout, sys.stderr = self._streams
        for aside in self._asides:
            aside.end()
        for number, copy in self._saved.items():
            os.dup2(copy, number)
            os.close(copy)
        self._saved = {}
        assert self._text is not None
        self._text.close()
        self._text = None


def _flush() -> None:
    """So that nothing that was printed before comes out behind."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
