"""What holds for the whole process: plug-ins, threads, memory, messages."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

from vonk import _core
from vonk._errors import InvalidError
from vonk._frameworks import tell as tell_frameworks


@dataclass(frozen=True)
class Plugin:
    """A framework plug-in that was found.

    Attributes
    ----------
    name, version
        Its own; None if it could not be loaded.
    path
        The file.
    formats
        Names of the model formats it opens.
    options
        Option name to what it does; they are passed to :func:`vonk.open` by name.
    error
        Why it cannot be used; None if it can.
    """

    name: str | None
    version: str | None
    path: str
    formats: tuple[str, ...]
    options: Mapping[str, str]
    error: str | None

    def runtime(self) -> tuple[str, str]:
        """Loads the framework behind the plug-in into this process.

        Returns
        -------
        tuple of str
            Its version, and the library that was really loaded.

        Raises
        ------
        UnsupportedError
            The framework is missing: the message says where it was looked for, and what to install.

        Examples
        --------
        >>> import vonk
        >>> onnx = next(plugin for plugin in vonk.plugins() if plugin.name == "onnx")
        >>> onnx.runtime()[0].count(".")
        2
        """
        tell_frameworks()
        return _core.plugin_runtime(self.path)

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.path}: {self.error}"
        return f"{self.name} {self.version}: {', '.join(self.formats)} ({self.path})"


def plugins() -> tuple[Plugin, ...]:
    """The plug-ins in ``$VONK_PLUGIN_PATH`` and in the installation, usable or not.

    Loads no framework: :meth:`Plugin.runtime` does, and says what to install where one is missing.

    Returns
    -------
    tuple of Plugin
        In the order of the search.

    Examples
    --------
    >>> import vonk
    >>> [plugin.formats for plugin in vonk.plugins() if plugin.name == "onnx"]
    [('onnx', 'ort')]
    """
    return tuple(
        Plugin(name, version, path, formats, dict(options), error)
        for name, version, path, formats, options, error in _core.plugins()
    )


def set_threads(n: int) -> None:
    """Sets how many threads of this process may run models at a time.

    Parameters
    ----------
    n
        Threads; 0 is the default: the cores granted to the process. Takes effect with the next prediction.

    Raises
    ------
    InvalidError
        No number of threads.
    """
    if not 0 <= n < 1 << 32:
        raise InvalidError(f"threads: {n} is no number of threads: 0 stands for the cores granted to the process")
    _core.set_threads(n)


def get_threads() -> int:
    """How many threads of this process may run models at a time.

    Examples
    --------
    >>> import vonk
    >>> vonk.get_threads() >= 1
    True
    """
    return _core.get_threads()


def set_model_memory(nbytes: int) -> None:
    """Bounds the weights of all open models together.

    Parameters
    ----------
    nbytes
        Bytes; a model that would exceed it raises :class:`vonk.OutOfMemoryError`. 0 is no bound, the default.

    Raises
    ------
    InvalidError
        No number of bytes.
    """
    if not 0 <= nbytes < 1 << 64:
        raise InvalidError(f"model memory: {nbytes} is no number of bytes: 0 stands for no bound")
    _core.set_model_memory(nbytes)


#: VONK_LOG_DEBUG and so on, in the order of their numbers
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)


def set_log(level: int | str | None = logging.WARNING, logger: logging.Logger | None = None) -> None:
    """Sends the library's messages to Python's logging; until then they go nowhere.

    Messages of other threads are handed over by the main thread, a moment later.

    Parameters
    ----------
    level
        The lowest level wanted, ``logging.DEBUG`` to ``logging.ERROR`` or its name; None ends it.
    logger
        Where they go; ``logging.getLogger("vonk")`` by default.

    Raises
    ------
    ValueError
        A name that is no level.

    Examples
    --------
    >>> import vonk
    >>> vonk.set_log("INFO")
    >>> vonk.set_log(None)
    """
    if level is None:
        _core.set_log(0, None)
        return
    # The public mapping of names to numbers is newer than Python 3.10.
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    if not isinstance(number, int):
        raise ValueError(f"level: {level!r} is none: use DEBUG, INFO, WARNING or ERROR")
    lowest = next((i for i, known in enumerate(_LEVELS) if known >= number), len(_LEVELS) - 1)
    target = logging.getLogger("vonk") if logger is None else logger

    def listen(i: int, where: str, message: str) -> None:
        target.log(_LEVELS[min(max(i, 0), 3)], "%s: %s", where, message)

    _core.set_log(lowest, listen)


# A message must not look for the interpreter when that is gone, nor for a thread that a fork left behind.
atexit.register(_core.set_log, 0, None)
os.register_at_fork(after_in_child=_core.after_fork)
