"""``model_loader``: a function of the user's that gives the model on a worker.

How it works: it is pickled by value with its arguments, and called on workers alone. Its identity, by which a worker
keeps what it gave, is a digest of that pickle without what a rerun of a notebook's cell changes though the code stays
the same: the names of files, the numbers of lines, and the marks of classes that were defined again.
"""

from __future__ import annotations

import hashlib
import io
import os
import traceback
import types
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pyspark import cloudpickle

import vonk
from vonk.spark._spec import Options, Source

#: Bytes from which on Spark itself warns about a task.
_LARGE = 1 << 20
_SHOWN = 60


def describe(
    loader: Callable[..., Any],
    argument: Any,
    options: Options,
    pack: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] | None,
    memory: int | None,
) -> Source:
    """A loader as a source that travels. ``pack`` may be a function that gives it for the live model, on the worker.

    Raises
    ------
    vonk.InvalidError
        It is no function, or cannot be pickled.
    """
    if not callable(loader):
        raise vonk.InvalidError(f"model_loader: {loader!r} is no function: pass one that gives a path or a model")
    arguments = () if argument is None else (argument,)
    title = _title(loader, arguments)
    given = (loader, arguments, pack if callable(pack) else dict(pack or {}))
    try:
        pickled = cloudpickle.dumps(given)
        mark = identity(given)
    except Exception as error:
        raise vonk.InvalidError(
            f"model_loader {title}: it cannot be sent to the workers: {type(error).__name__}: {error}: open files, "
            "locks and sessions have to be made inside the function"
        ) from error
    if len(pickled) > _LARGE:
        warnings.warn(
            f"model_loader {title}: it carries {len(pickled) / 1e6:,.1f} MB of objects with it to every task: give it "
            "the name of a file that it reads on the worker, or pass the model itself as the first argument of "
            "model_udf, which sends it once",
            stacklevel=4,
        )
    return Source(title, None, None, loader=pickled, identity=mark, options=options, memory=memory)


def _title(loader: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    inner: Any = loader
    while isinstance(inner, partial):
        inner = inner.func
    name = getattr(inner, "__name__", type(inner).__name__).replace("<lambda>", "lambda")
    shown = ", ".join(repr(argument) for argument in arguments)
    return f"{name}({shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'})"


# --- identity ---


def identity(thing: Any) -> str:
    """A digest that is equal for equal functions and arguments, in this process."""
    content = io.BytesIO()
    _Stable(content).dump(thing)
    return hashlib.sha256(content.getvalue()).hexdigest()


def _code(code: types.CodeType) -> tuple[Any, ...]:
    """What code does, without where it stands."""
    return tuple, (
        (
            code.co_name, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags,
            code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
            getattr(code, "co_exceptiontable", b""),
        ),
    )  # fmt: skip


class _Stable(cloudpickle.CloudPickler):
    """A pickler whose output is only compared, never loaded."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.CodeType):
            return _code(obj)
        reduced = super().reducer_override(obj)
        if isinstance(obj, type) and isinstance(reduced, tuple):
            make, arguments = reduced[:2]
            if getattr(make, "__name__", "") in ("_make_skeleton_class", "_make_skeleton_enum"):
                marks = [None if _is_mark(argument) else argument for argument in arguments]
                return (make, tuple(marks), *reduced[2:])
        return reduced


def _is_mark(argument: Any) -> bool:
    """The number that cloudpickle gives to a class when it is first pickled: 32 hex digits."""
    return isinstance(argument, str) and len(argument) == 32 and all(c in "0123456789abcdef" for c in argument)


# --- on a worker ---


def load(source: Source, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Calls the loader, on a worker: a file or folder, and options to open it with.

    Parameters
    ----------
    source
        With a loader.
    folder
        An empty folder for a live model, which is packed there.

    Raises
    ------
    vonk.Error
        The loader failed; the message names it.
    """
    options: dict[str, Any] = dict(source.options)
    given, pack = call(source)
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        if not path.exists():
            raise vonk.FileError(f"model_loader {source.title}: gave '{path}', which is not on this node", "VONK_IO")
        return path, options
    if isinstance(given, vonk.Model):
        return given.path, {**given._reopen[1], **options}
    if given is None or isinstance(given, bytes | bytearray):
        kind = "nothing" if given is None else "bytes"
        raise vonk.InvalidError(f"model_loader {source.title}: gave {kind}: return a path on the worker, or a model")
    from vonk.spark._staging import pack_to  # noqa: PLC0415 - packing needs NumPy and the model's framework

    if callable(pack):
        pack = pack(given)
    return pack_to(given, folder / "model.vonk", source.title, pack, say=False), options


def call(source: Source) -> tuple[Any, Mapping[str, Any]]:
    """What the loader gives, on a worker, and the arguments of ``vonk.pack`` that came with it.

    Raises
    ------
    vonk.Error
        The loader failed; the message names it.
    """
    assert source.loader is not None
    try:
        function, arguments, pack = cloudpickle.loads(source.loader)
    except ImportError as error:
        raise vonk.InvalidError(
            f"model_loader {source.title}: it needs the module '{error.name}', which is not on this worker: bring it "
            "with spark.sparkContext.addPyFile, spark.addArtifact(pyfile=True) or --py-files, or install it there"
        ) from error
    try:
        return function(*arguments), pack
    except MemoryError:
        raise
    except Exception as error:
        code = error.code if isinstance(error, vonk.Error) else "VONK_MODEL"
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise vonk.ModelError(
            f"model_loader {source.title}: failed on this worker: {type(error).__name__}: {error} (in {at.name}, line "
            f"{at.lineno} of {at.filename})",
            code,
        ) from error
