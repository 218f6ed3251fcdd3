"""What goes wrong, as exceptions: one class for each kind of failure, all of them :class:`Error`.

Each class is besides a builtin exception that callers may be catching already (``ValueError``, ``OSError``, ...).
"""

from __future__ import annotations


class Error(Exception):
    """Any failure of vonk.

    Attributes
    ----------
    code
        The name of the status in the C interface, ``"VONK_INVALID"``.
    row
        The first row at fault, counted from 0 in the data that was passed; None when no row is at fault.
    native_code
        The framework's own error code; 0 when there is none.
    """

    def __init__(
        self, message: str = "", code: str = "VONK_INVALID", row: int | None = None, native_code: int = 0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.row = row
        self.native_code = native_code

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type[Error], tuple[str, str, int | None, int]]:
        # exceptions travel between processes (concurrent.futures)
        return type(self), (self.message, self.code, self.row, self.native_code)


class InvalidError(Error, ValueError):
    """An argument or the data is wrong: a column that does not fit, a row that cannot be converted."""


class OutOfMemoryError(Error, MemoryError):
    """Memory, of the process or of the device, ran out."""


class FileError(Error, OSError):
    """A file could not be found, read or written, or an input stream failed."""


class UnsupportedError(Error, NotImplementedError):
    """Well-formed, but no plug-in or framework here can do it."""


class PluginError(Error, RuntimeError):
    """A plug-in and this version of vonk do not fit together."""


class ModelError(Error, ValueError):
    """The model file is damaged, or is not what it says."""


class BackendError(Error, RuntimeError):
    """The framework failed while running the model."""


class CancelledError(Error, RuntimeError):
    """Somebody asked for the prediction to end."""


class DeviceError(Error, RuntimeError):
    """The device is not there, or failed."""


class ForkedError(Error, RuntimeError):
    """The process was forked after a model had been opened: open and predict in the child, or use ``spawn``."""


# Shown, and looked up when unpickled, as what users import.
for _class in (Error, *Error.__subclasses__()):
    _class.__module__ = "vonk"
