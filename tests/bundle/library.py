"""Opening models through the build tree's library, in this process."""

from __future__ import annotations

import ctypes as c
import os
from collections.abc import Mapping
from pathlib import Path

OK, INVALID, NOMEM, IO, UNSUPPORTED, ABI, MODEL, BACKEND = range(8)
NAMES = ["OK", "INVALID", "NOMEM", "IO", "UNSUPPORTED", "ABI", "MODEL", "BACKEND"]
MOCK = os.environ.get("VONK_MOCK_DIR", "") + "/mock_echo.so"


class Error(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("code", c.c_int32), ("native_code", c.c_int64),
                ("row", c.c_int64), ("message", c.c_char * 1024)]  # fmt: skip


class Pair(c.Structure):
    _fields_ = [("key", c.c_char_p), ("value", c.c_char_p)]


_library = c.CDLL(os.environ["VONK_LIBRARY"])
_library.vonk_model_open.argtypes = [
    c.c_char_p, c.POINTER(Pair), c.c_size_t, c.POINTER(c.c_void_p), c.POINTER(Error)
]  # fmt: skip
_library.vonk_model_close.argtypes = [c.c_void_p]
_library.vonk_model_recognise.argtypes = [c.c_char_p, c.POINTER(c.c_char_p)]


def open_model(path: Path | str, options: Mapping[str, str] | None = None) -> tuple[int, str, int]:
    """Status, message and handle; the handle is to be closed where the status is OK."""
    pairs = [(key.encode(), value.encode()) for key, value in (options or {}).items()]
    array = (Pair * max(1, len(pairs)))(*[Pair(*pair) for pair in pairs])
    model, error = c.c_void_p(), Error(struct_size=c.sizeof(Error))
    status = _library.vonk_model_open(os.fsencode(path), array, len(pairs), c.byref(model), c.byref(error))
    message = error.message.decode("utf-8")  # messages are UTF-8, whatever the names in the file
    assert status == OK or message, f"status {status} without a message"
    assert (status == OK) == bool(model.value)
    return status, message, model.value or 0


def close(model: int) -> None:
    _library.vonk_model_close(model)


def recognise(path: Path | str) -> tuple[int, str | None]:
    plugin = c.c_char_p()
    sure = _library.vonk_model_recognise(os.fsencode(path), c.byref(plugin))
    return sure, plugin.value.decode() if plugin.value is not None else None
