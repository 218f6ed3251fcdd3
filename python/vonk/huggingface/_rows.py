"""Rows of text through a model: NULLs set apart, long beside long, a bad row found, results where their rows were.

How it works: of one Arrow batch the rows without a NULL are sorted by their number of tokens, and cut into runs of the
model, so that little is padded. A run that fails is run again row by row: what a framework raises names no row. Results
become Arrow memory run by run, and one ``take`` at the end puts them into the order of the rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy
import pyarrow

from vonk._errors import BackendError, Error, InvalidError, OutOfMemoryError
from vonk._stats import Stats
from vonk.huggingface._packages import MissingPackageError

#: Rows of one run, if nobody says how many, and tokens of one run with the padding.
_ROWS = 64
_TOKENS = 4096


class Model(Protocol):
    """What runs rows of text: a model with the arguments of its calls."""

    #: Names of what a row holds, for a call with several columns; the first is the one of a call with one.
    names: tuple[str, ...]

    def tokens(self, rows: Sequence[Any]) -> Sequence[int]:
        """Number of tokens of each row."""

    def run(self, rows: Sequence[Any]) -> Sequence[Any]:
        """A result for each row."""

    def joins(self, longer: int, shorter: int) -> bool:
        """Whether rows of so many tokens may be in one run."""

    def hint(self, tokens: int) -> str:
        """What may be wrong with a row that failed; nothing if nobody knows."""


@dataclass(frozen=True)
class Plan:
    """What becomes of rows.

    Attributes
    ----------
    build
        Makes an Arrow array of results.
    kind
        Its type.
    nulls
        ``"null"``: a row with a NULL gives NULL; ``"error"``: it is a bad row.
    on_error
        ``"raise"``, ``"null"``, or ``"report"``, which makes the result a ``struct<value, error>``.
    batch
        Rows of one run; None chooses.
    """

    build: Callable[[Sequence[Any]], pyarrow.Array]
    kind: pyarrow.DataType
    nulls: str = "null"
    on_error: str = "raise"
    batch: int | None = None


@dataclass
class _Found:
    """Results so far, and which rows they are of."""

    parts: list[pyarrow.Array] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)
    runs: int = 0
    infer_ns: int = 0


def predict(model: Model, columns: Sequence[pyarrow.Array], names: Sequence[str], plan: Plan) -> tuple[Any, Stats]:
    """The results of rows, and what was counted.

    Parameters
    ----------
    model
        With the arguments of its calls.
    columns
        Of text, of one length; or one struct of those.
    names
        Of the columns.
    plan
        What becomes of them.

    Returns
    -------
    pyarrow.Array, vonk.Stats
        Of `plan.kind`, or a struct of it and the error.

    Raises
    ------
    vonk.InvalidError
        A column is no text.
    vonk.Error
        A row failed; its ``row`` counts from the batch's first.
    """
    begun = time.perf_counter_ns()
    columns = [_as_text(column) for column in columns]
    texts, valid = _texts(columns, names, model.names)
    n_rows, found = len(valid), _Found()
    if plan.nulls == "error":
        for row in numpy.flatnonzero(~valid).tolist():
            _fail(found, row, InvalidError("is NULL: nulls='null' gives such a row a NULL"), plan)
    rows, kept = _read(texts, numpy.flatnonzero(valid).tolist(), found, plan)
    tokens = numpy.asarray(model.tokens(rows), "i8") if rows else numpy.zeros(0, "i8")
    converted = time.perf_counter_ns()
    for run in _runs(tokens, model.joins, plan.batch):
        _run(model, [(kept[i], rows[i], int(tokens[i])) for i in run], plan, found)
    emitting = time.perf_counter_ns()
    value = _gather(found, n_rows, plan.kind)
    if plan.on_error == "report":
        errors = pyarrow.array([found.errors.get(row) for row in range(n_rows)], pyarrow.string())
        value = pyarrow.StructArray.from_arrays([value, errors], ["value", "error"])
    outer = emitting - converted - found.infer_ns
    stats = Stats(
        max_threads=1,
        rows=n_rows,
        null_rows=int(n_rows - valid.sum()) if plan.nulls == "null" else 0,
        error_rows=len(found.errors),
        micro_batches=found.runs,
        bytes_in=sum(column.nbytes for column in columns),
        bytes_copied=sum(column.nbytes for column in columns) + value.nbytes,
        convert_ns=converted - begun,
        infer_ns=found.infer_ns,
        emit_ns=time.perf_counter_ns() - emitting + outer,
    )
    return value, stats


# --- rows ---


def _as_text(column: Any) -> Any:
    """The column in one piece, and without the ways of storing text that only save room."""
    if isinstance(column, pyarrow.ChunkedArray):
        column = column.combine_chunks()
    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pyarrow.string()) if pyarrow.types.is_string_view(column.type) else column


def _texts(columns: Sequence[Any], names: Sequence[str], known: Sequence[str]) -> tuple[Callable[[int], Any], Any]:
    """A function that gives a row, as text or as a mapping of texts, and which rows have no NULL."""
    valid = numpy.ones(len(columns[0]), bool)
    if len(columns) == 1 and pyarrow.types.is_struct(columns[0].type):
        struct = columns[0]
        valid &= _is_valid(struct)
        names = _fields(struct.type, known)
        columns = [_as_text(struct.field(struct.type.get_field_index(name))) for name in names]
    if len(columns) != len(names) or (len(names) > 1 and not set(names) <= set(known)) or len(set(names)) < len(names):
        raise InvalidError(
            f"arguments: {len(columns)} columns were given{_listed(names)}, the model takes {', '.join(known)}"
        )
    for column, name in zip(columns, names, strict=True):
        if not _is_text(column.type):
            raise InvalidError(f"column '{name}': is {column.type}, the model wants text: cast it to a string")
        valid &= _is_valid(column)
    if len(columns) == 1:
        return lambda row: columns[0][row].as_py(), valid
    return lambda row: {name: column[row].as_py() for name, column in zip(names, columns, strict=True)}, valid


def _listed(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _fields(struct: Any, known: Sequence[str]) -> list[str]:
    """Names of the fields to read: those that the model knows; the only one, whatever it is called."""
    names = [part.name for part in struct]
    if len(names) == 1:
        return names
    chosen = [name for name in names if name in known]
    if known[0] not in chosen:
        raise InvalidError(
            f"struct: has the fields {', '.join(names)}, the model takes {', '.join(known)}: call the field with the"
            f" text '{known[0]}'"
        )
    return chosen


def _read(texts: Callable[[int], Any], places: Sequence[int], found: _Found, plan: Plan) -> tuple[list[Any], list[int]]:
    """Rows of these places, and the places of those that could be read: Spark lets any bytes be a string."""
    rows, kept = [], []
    for place in places:
        try:
            rows.append(texts(place))
        except UnicodeDecodeError as error:
            reason = f"is no UTF-8: byte 0x{error.object[error.start]:02x} at {error.start}"
            _fail(found, place, InvalidError(reason), plan)
        else:
            kept.append(place)
    return rows, kept


def _is_text(kind: Any) -> bool:
    types = pyarrow.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))


def _is_valid(column: Any) -> Any:
    return numpy.asarray(column.is_valid().to_numpy(zero_copy_only=False), bool)


def _runs(tokens: Any, joins: Callable[[int, int], bool], batch: int | None) -> Iterator[list[int]]:
    """Places of rows, longest first, in runs of a size."""
    run: list[int] = []
    for place in numpy.argsort(-tokens, kind="stable").tolist():
        if run:
            longest, own = int(tokens[run[0]]), int(tokens[place])
            is_full = len(run) >= (batch or _ROWS) or (batch is None and (len(run) + 1) * longest > _TOKENS)
            if is_full or not joins(longest, own):
                yield run
                run = []
        run.append(place)
    if run:
        yield run


# --- runs ---


def _run(model: Model, rows: Sequence[tuple[int, Any, int]], plan: Plan, found: _Found) -> None:
    """Rows with their places and numbers of tokens, in one run, or one by one if that fails."""
    try:
        _note(found, [row for row, _, _ in rows], _once(model, [text for _, text, _ in rows], found), plan)
        return
    except (MemoryError, OutOfMemoryError, MissingPackageError, DeclarationError):
        if len(rows) == 1:
            raise
        failure = None
    except Exception as error:
        failure = error
    if len(rows) == 1 and failure is not None:
        row, _, tokens = rows[0]
        _fail(found, row, failure, plan, model.hint(tokens))
        return
    for one in rows:
        _run(model, [one], plan, found)


def _once(model: Model, rows: Sequence[Any], found: _Found) -> Sequence[Any]:
    begun = time.perf_counter_ns()
    try:
        results = model.run(rows)
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            raise OutOfMemoryError(f"{error}", "VONK_NOMEM") from error
        raise
    finally:
        found.infer_ns += time.perf_counter_ns() - begun
    found.runs += 1
    if len(results) != len(rows):
        raise BackendError(f"gave {len(results)} results for {len(rows)} rows", "VONK_BACKEND")
    return results


def _note(found: _Found, rows: Sequence[int], results: Sequence[Any], plan: Plan) -> None:
    found.parts.append(plan.build(results))
    found.rows += rows


def _fail(found: _Found, row: int, error: Exception, plan: Plan, hint: str = "") -> None:
    is_ours = isinstance(error, Error)
    text = f"{error}" if is_ours else f"{type(error).__name__}: {error}"
    text += hint
    if plan.on_error != "raise":
        found.errors[row] = text
        return
    kind = type(error) if isinstance(error, Error) else BackendError
    code = error.code if isinstance(error, Error) else "VONK_BACKEND"
    raise kind(f"{text}: on_error='null' or 'report' goes on without such rows", code, row) from error


def _gather(found: _Found, n_rows: int, kind: Any) -> Any:
    """The results in the order of the rows, NULL where there is none."""
    places = numpy.full(n_rows, -1, "i8")
    places[found.rows] = numpy.arange(len(found.rows))
    if not found.parts:
        return pyarrow.nulls(n_rows, kind)
    whole = found.parts[0] if len(found.parts) == 1 else pyarrow.concat_arrays(found.parts)
    if len(found.rows) == n_rows and (places == numpy.arange(n_rows)).all():
        return whole
    return whole.take(pyarrow.array(places, mask=places < 0))


class DeclarationError(InvalidError):
    """The declared type is not what the model gives: no row is at fault."""


DeclarationError.__module__ = "vonk.huggingface"
