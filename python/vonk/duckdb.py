"""Models as SQL functions of DuckDB's Python package.

How it works: :func:`connect` opens a database that may load extensions which DuckDB has not signed itself, and loads
vonk's into it. A connection of the user's own may have been opened without that permission, which cannot be given
later; there :func:`register` makes a Python function of DuckDB's type "arrow" instead, which gets the same columns as
Arrow arrays, chunk by chunk, and asks :meth:`vonk.Model.predict`.

>>> import vonk.duckdb
>>> con = vonk.duckdb.connect(models={"species": {"path": "examples/iris/iris.onnx", "output": "species"}})
>>> con.sql("SELECT species(5.1, 3.5, 1.4, 0.2) AS species").fetchall()
[('setosa',)]
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vonk._frameworks import tell as tell_frameworks
from vonk._paths import installation

try:
    import duckdb
except ImportError as error:
    raise ImportError(
        "vonk.duckdb: DuckDB's Python package is not installed: pip install 'duckdb>=1.4'", name="duckdb"
    ) from error

if TYPE_CHECKING:
    from vonk import Model

__all__ = ["Registration", "Way", "connect", "load", "register"]

#: A model's file, an open model, or the options of ``vonk_load`` with "path".
ModelLike: TypeAlias = "str | os.PathLike[str] | Model | Mapping[str, Any]"

_OLDEST = (1, 4)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Way(enum.Enum):
    """How a model was registered."""

    EXTENSION = "extension"
    """In C: typed from the model, checked when a query is bound, on all threads of DuckDB."""
    ARROW = "arrow"
    """By a Python function: any columns, checked with the first rows, one thread at a time outside of the model."""


@dataclass(frozen=True)
class Registration:
    """What :func:`register` made.

    Attributes
    ----------
    name
        The SQL function.
    way
        By the extension, or by a Python function.
    functions
        The signatures, as ``digit(FLOAT[]) -> BIGINT``; ``ANY...`` for a Python function.
    """

    name: str
    way: Way
    functions: tuple[str, ...]


def connect(
    database: str | os.PathLike[str] = ":memory:",
    models: Mapping[str, ModelLike] | None = None,
    *,
    read_only: bool = False,
    **config: Any,
) -> duckdb.DuckDBPyConnection:
    """Opens a database with vonk's functions and some models in it.

    Parameters
    ----------
    database
        A file, or ``":memory:"``.
    models
        SQL name to model: a path, an open :class:`vonk.Model` (its file), or the options of ``vonk_load`` with the key
        "path", such as ``{"path": "digit.onnx", "as": "argmax"}``.
    read_only
        Opens the file for reading only.
    config
        Settings of DuckDB, such as ``threads=2``. ``allow_unsigned_extensions`` is set: vonk's extension is not signed
        by DuckDB.

    Returns
    -------
    duckdb.DuckDBPyConnection
        DuckDB's own connection; close it as any other.

    Raises
    ------
    duckdb.Error
        DuckDB cannot open the file, or a model cannot be loaded (the message names it).
    FileNotFoundError
        This installation has no extension.
    ImportError
        DuckDB is older than 1.4.

    Examples
    --------
    >>> con = connect(models={"digit": {"path": "examples/mnist/mnist.onnx", "as": "argmax"}}, threads=2)
    >>> con.sql("SELECT typeof(digit([0.0 for i in range(784)])) AS type").fetchall()
    [('BIGINT',)]
    >>> con.close()
    """
    _check_version()
    if str(config.get("allow_unsigned_extensions", "true")).lower() not in ("true", "1"):
        raise ValueError(
            "vonk.duckdb.connect: allow_unsigned_extensions is off: vonk's extension needs it: leave it out, or use "
            "duckdb.connect and vonk.duckdb.register"
        )
    settings = {**config, "allow_unsigned_extensions": "true"}
    con = duckdb.connect(os.fspath(database), read_only=read_only, config=settings)
    try:
        load(con)
        for name, model in (models or {}).items():
            _load_model(con, name, model, {})
    except BaseException:
        con.close()
        raise
    return con


def load(con: duckdb.DuckDBPyConnection) -> None:
    """Loads vonk's extension into the database of a connection, if it is not there yet.

    Parameters
    ----------
    con
        A connection whose database was opened with ``allow_unsigned_extensions``.

    Raises
    ------
    PermissionError
        The database was opened without it.
    FileNotFoundError
        This installation has no extension.
    duckdb.Error
        DuckDB refuses the file.

    Examples
    --------
    >>> con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    >>> load(con)
    >>> con.sql("FROM vonk_models()").fetchall()
    []
    """
    _check_version()
    if _is_loaded(con):
        return
    if not _may_load(con):
        raise PermissionError(
            "vonk.duckdb.load: this database was opened without allow_unsigned_extensions, which cannot be set later: "
            "open it with vonk.duckdb.connect, or use vonk.duckdb.register, which needs no extension"
        )
    tell_frameworks()  # what libvonk.so is told holds for the extension too
    con.execute(f"LOAD {_literal(str(_extension()))}")


def register(
    con: duckdb.DuckDBPyConnection, name: str, model: ModelLike, *, way: Way | str | None = None, **options: Any
) -> Registration:
    """Makes an SQL function of a model, on a connection of your own.

    Parameters
    ----------
    con
        Any connection of DuckDB's Python package.
    name
        The SQL function to make.
    model
        A path, an open :class:`vonk.Model`, or a mapping with "path" and options.
    way
        :attr:`Way.EXTENSION` or :attr:`Way.ARROW` to insist on one. Without it the extension is used where the
        database may load it.
    options
        Options of ``vonk_load``, such as ``output="probabilities"``, ``as_="argmax"``, ``batch=256``,
        ``nulls="error"``, ``on_error="null"``.

    Returns
    -------
    Registration
        Which way was taken, and the signatures. Inside a transaction that was begun before, the extension's function is
        seen only after its end. A result of `con` that is read halfway is ended.

    Raises
    ------
    duckdb.Error
        The name is taken, the model cannot be loaded, or DuckDB refuses the extension.
    vonk.Error
        The model cannot be opened (the Arrow way).

    Examples
    --------
    >>> con = duckdb.connect()
    >>> register(con, "digit", "examples/mnist/mnist.onnx", as_="argmax").way
    <Way.ARROW: 'arrow'>
    >>> con.sql("SELECT digit([0.0 for i in range(784)]) IN range(10) AS is_digit").fetchall()
    [(True,)]
    """
    _check_version()
    _check_name(name)
    wanted = None if way is None else Way(way)
    if wanted is None:
        wanted = Way.EXTENSION if _is_loaded(con) or _may_load(con) else Way.ARROW
    if wanted is Way.EXTENSION:
        load(con)
        return Registration(name, wanted, _load_model(con, name, model, options))
    if _one(
        con,
        f"SELECT 1 FROM duckdb_keywords() WHERE keyword_name = {_literal(name.lower())}"
        " AND keyword_category = 'reserved'",
    ):
        raise ValueError(f"model name '{name}': is a reserved word of SQL: choose another name")
    from vonk._duckdb_udf import create_function  # noqa: PLC0415 - needs pyarrow, which the extension does not

    path, all_options = _path_and_options(name, model, options)
    return Registration(name, wanted, (create_function(con, name, path, all_options),))


# --- the extension ---


def _check_version() -> None:
    numbers = re.findall(r"\d+", duckdb.__version__)[:2]
    if tuple(map(int, numbers)) < _OLDEST:
        raise ImportError(
            f"vonk.duckdb: DuckDB {duckdb.__version__} is installed, vonk needs 1.4 or later: "
            "pip install --upgrade duckdb",
            name="duckdb",
        )


def _extension() -> Path:
    """VONK_EXTENSION, else the file of this installation."""
    named = os.environ.get("VONK_EXTENSION")
    path = Path(named) if named else installation().extension
    if not path.is_file():
        origin = "VONK_EXTENSION names it" if named else "the wheel is not fully installed"
        hint = "unset it" if named else "run 'pip install --force-reinstall vonk'"
        raise FileNotFoundError(f"{path}: there is no such extension: {origin}: {hint}, or use vonk.duckdb.register")
    return path.resolve()


def _one(con: duckdb.DuckDBPyConnection, query: str) -> Any:
    """The first value of a query; on a cursor of its own, so that a result of the user's stays as it is."""
    cursor = con.cursor()
    try:
        rows = cursor.execute(query).fetchall()
    finally:
        cursor.close()
    return rows[0][0] if rows else None


def _is_loaded(con: duckdb.DuckDBPyConnection) -> bool:
    return _one(con, "SELECT 1 FROM duckdb_functions() WHERE function_name = 'vonk_load' LIMIT 1") is not None


def _may_load(con: duckdb.DuckDBPyConnection) -> bool:
    return bool(_one(con, "SELECT current_setting('allow_unsigned_extensions')::BOOLEAN"))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"model name '{name}': is not an SQL name: use letters, digits and '_', and no digit in front")


def _load_model(
    con: duckdb.DuckDBPyConnection, name: str, model: ModelLike, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Calls vonk_load and returns the signatures of the functions."""
    _check_name(name)
    path, all_options = _path_and_options(name, model, options)
    words = [_literal(name), _literal(path), *(f'"{key}" := {_literal(v)}' for key, v in all_options.items())]
    # Not on a cursor: a result of the connection that is read halfway keeps a transaction open, in which the new
    # function would not be seen. This ends it.
    rows = con.execute(f"SELECT functions FROM vonk_load({', '.join(words)})").fetchall()
    return tuple(rows[0][0])


def _path_and_options(name: str, model: ModelLike, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The absolute path, and the options by the names that vonk_load has for them."""
    merged: dict[str, Any] = {}
    if isinstance(model, Mapping):
        merged.update(model)
        if "path" not in merged:
            raise ValueError(f"model '{name}': the mapping has no 'path': add the model's file")
        model = merged.pop("path")
    merged.update(options)
    if "as" in merged:
        merged["as_"] = merged.pop("as")
    path = os.fspath(model) if isinstance(model, str | os.PathLike) else getattr(model, "path", None)
    if path is None:
        raise TypeError(
            f"model '{name}': is a {type(model).__name__}: give a path, a vonk.Model, or a mapping with 'path'"
        )
    return os.fspath(path), {key: value for key, value in merged.items() if value is not None}


def _literal(value: Any) -> str:
    """SQL for a Python value: text, number, truth value, or a mapping of texts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        pairs = (f"{_literal(str(key))}: {_literal(str(item))}" for key, item in value.items())
        return f"MAP {{{', '.join(pairs)}}}"
    if isinstance(value, str | os.PathLike):
        return "'" + os.fspath(value).replace("'", "''") + "'"
    raise TypeError(f"option value {value!r}: is a {type(value).__name__}: give text, a number, True or False")
