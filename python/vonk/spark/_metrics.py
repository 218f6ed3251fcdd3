"""What the models did on the workers, counted: ``vonk.spark.stats()``.

How it works: a :class:`Meter` travels with a model's function, as two plain values. On a worker it adds the counts of
each batch to a Spark accumulator of its task; Spark brings one small update per task, with the task's result, to the
driver, where all functions of the process share one accumulator. The accumulator is a ``collections.Counter`` that
Spark's own ``AddingAccumulatorParam`` adds up, so that a worker needs nothing of vonk to take part.
"""

from __future__ import annotations

import hashlib
import html
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pyspark import accumulators
from pyspark.accumulators import Accumulator, AddingAccumulatorParam
from pyspark.sql.utils import is_remote

import vonk
from vonk.spark._spec import Source

#: Of vonk.Stats, what adds up.
_ADDED = tuple(name for name in vonk.Stats._fields if name != "max_threads")
_SECOND = 1e9  # in nanoseconds

_lock = threading.Lock()
#: Key of a function -> title of its model, and what tells the models apart.
_functions: dict[str, tuple[str, str]] = {}
#: What was counted before the last reset.
_before: Counter[str] = Counter()
#: One for the process, once there is a function: Spark knows it by its number only, so it survives a restarted session.
_accumulators: list[Accumulator[Counter[str]]] = []
#: Models that this worker opened and that no batch has told of yet: how many, and nanoseconds.
_opened = [0, 0]


@dataclass(frozen=True)
class Meter:
    """Counts for one model function. Plain data: it is pickled with the function.

    Attributes
    ----------
    accumulator
        Spark's number of the driver's accumulator.
    key
        Which function; equal for the same model and the same options, so that a rerun adds to the same counts.
    """

    accumulator: int
    key: str

    def count(self, before: vonk.Stats, after: vonk.Stats, elapsed_ns: int) -> None:
        """Adds one batch, on a worker: what the predictor counted before and after it, and the time in vonk at all.

        If the model was opened for this batch, `elapsed_ns` has that time in it; it is counted apart.
        """
        total = self._of_task()
        key = self.key
        if f"{key}.batches" not in total:
            total[f"{key}.tasks"] = 1
        total[f"{key}.batches"] += 1
        total[f"{key}.elapsed_ns"] += elapsed_ns - _opened[1]
        for name, was, now in zip(_ADDED, before[1:], after[1:], strict=True):
            total[f"{key}.{name}"] += now - was
        if _opened[0]:
            total[f"{key}.opened"] += _opened[0]
            total[f"{key}.open_ns"] += _opened[1]
            _opened[:] = 0, 0

    def _of_task(self) -> Counter[str]:
        # Spark empties the registry when a task begins and sends what is in it when the task ends.
        known = accumulators._accumulatorRegistry.get(self.accumulator)
        if known is None:
            known = Accumulator(self.accumulator, Counter(), AddingAccumulatorParam(Counter()))
        counter: Counter[str] = known._value  # .value is for the driver only
        return counter


def note_opened(elapsed_ns: int) -> None:
    """Tells that this worker has opened a model: the next batch counts it."""
    _opened[0] += 1
    _opened[1] += elapsed_ns


def make_meter(spark: Any, source: Source, binding: Any = None) -> Meter | None:
    """A meter for a function, on the driver; None on Spark Connect, which has no accumulators.

    Parameters
    ----------
    spark
        The session.
    source
        The model.
    binding
        What tells functions of one model apart; anything with a stable ``repr``.
    """
    context = getattr(spark, "sparkContext", None)
    if context is None:
        return None
    model = _digest(source.title, source.key)
    key = _digest(model, binding)
    with _lock:
        if not _accumulators:
            _accumulators.append(context.accumulator(Counter(), AddingAccumulatorParam(Counter())))
        _functions[key] = source.title, model
        return Meter(_accumulators[0].aid, key)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Counts:
    """Counts of one model, or of several; times are seconds, summed over the workers.

    Attributes
    ----------
    model
        Its title.
    tasks
        Tasks that predicted.
    batches
        Arrow batches that Spark sent.
    rows, null_rows, bad_rows
        Rows taken in; of these, those with a NULL input; of these, those that the model could not take
        (``on_error="null"`` or ``"report"``).
    runs
        Runs of the model, on a micro-batch of rows each.
    bytes_in, bytes_copied
        Bytes of input values read; of these and of the outputs, those copied or converted on the way.
    convert, infer, emit, wait
        Columns to tensors; inside the framework; tensors to columns; a thread waiting for its helpers.
    elapsed
        All of the function but Spark's part: the four above, and the calls between them.
    opened, opening
        Times a worker opened the model, and how long that took.
    """

    model: str = "total"
    tasks: int = 0
    batches: int = 0
    rows: int = 0
    null_rows: int = 0
    bad_rows: int = 0
    runs: int = 0
    bytes_in: int = 0
    bytes_copied: int = 0
    convert: float = 0.0
    infer: float = 0.0
    emit: float = 0.0
    wait: float = 0.0
    elapsed: float = 0.0
    opened: int = 0
    opening: float = 0.0


@dataclass(frozen=True)
class SparkStats(Counts):
    """Counts in total, as attributes; ``models`` has them per model. Shown as a table."""

    models: tuple[Counts, ...] = ()
    note: str = ""

    def __repr__(self) -> str:
        if self.note:
            return self.note
        lines = [[head for head, _ in _COLUMNS], *([show(row) for _, show in _COLUMNS] for row in self._rows())]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)

    def _repr_html_(self) -> str:
        if self.note:
            return f"<p>{html.escape(self.note)}</p>"
        head = "".join(f"<th>{html.escape(head)}</th>" for head, _ in _COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(show(row))}</td>" for _, show in _COLUMNS) + "</tr>"
            for row in self._rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _rows(self) -> list[Counts]:
        return [*self.models, self] if len(self.models) != 1 else list(self.models)


def stats(model: Any = None, *, reset: bool = False) -> SparkStats:
    """What models did on the workers since this process began, or since the last reset.

    Counts arrive with the end of each task, so they are complete when an action has returned. Spark counts a task of
    an action's last stage once, even if it was tried again. A task of an earlier stage that is run again, because an
    executor was lost or Spark speculates, counts again; so does each evaluation of the function in a query.
    What a failed task did is not counted.

    Parameters
    ----------
    model
        A function that :func:`model_udf` made, a :class:`Model` stage, or a model's title: only its counts. By
        default, all.
    reset
        Begins anew after this reading, for all models.

    Returns
    -------
    SparkStats
        Through Spark Connect, which has no accumulators, an empty one that says so.

    Raises
    ------
    vonk.InvalidError
        ``model`` is neither.
    """
    wanted = _wanted(model)
    with _lock:
        now = Counter(dict(_accumulators[0].value)) if _accumulators else Counter()
        now.subtract(_before)
        functions = dict(_functions)
        if reset:
            _before.update(now)
    found: dict[tuple[str, str], Counter[str]] = {}
    for name, value in now.items():
        key, _, field = name.partition(".")
        if value and wanted(key, functions[key][0]):
            found.setdefault(functions[key], Counter())[field] += value
    titles = Counter(title for title, _ in found)
    models = tuple(
        _counts(title if titles[title] == 1 else f"{title} ({which})", counter)
        for (title, which), counter in sorted(found.items())
    )
    total = _counts("total", sum(found.values(), Counter()))
    return SparkStats(**asdict(total), models=models, note="" if models else _why_none())


def _wanted(model: Any) -> Callable[[str, str], bool]:
    if model is None:
        return lambda key, title: True
    if isinstance(model, str):
        return lambda key, title: title == model
    if not hasattr(model, "meter"):
        raise vonk.InvalidError(
            f"stats: {type(model).__name__} is not a model's function: pass what model_udf() gave, a vonk.spark.Model,"
            " a model's title, or nothing for all models"
        )
    meter: Meter | None = model.meter
    return lambda key, title: meter is not None and key == meter.key


def _counts(title: str, found: Counter[str]) -> Counts:
    return Counts(
        model=title,
        tasks=found["tasks"],
        batches=found["batches"],
        rows=found["rows"],
        null_rows=found["null_rows"],
        bad_rows=found["error_rows"],
        runs=found["micro_batches"],
        bytes_in=found["bytes_in"],
        bytes_copied=found["bytes_copied"],
        convert=found["convert_ns"] / _SECOND,
        infer=found["infer_ns"] / _SECOND,
        emit=found["emit_ns"] / _SECOND,
        wait=found["wait_ns"] / _SECOND,
        elapsed=found["elapsed_ns"] / _SECOND,
        opened=found["opened"],
        opening=found["open_ns"] / _SECOND,
    )


def _why_none() -> str:
    if is_remote():
        return (
            "No counts: Spark Connect has no accumulators, so what the workers count does not reach this process."
            " The same program on a classic session (SparkSession.builder.master(...)) counts."
        )
    if _accumulators:
        return "No counts: no model has predicted since the last reset; counts come with the end of a task."
    return "No counts: no model has been made a function in this process yet."


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} B" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


_COLUMNS: tuple[tuple[str, Callable[[Counts], str]], ...] = (
    ("model", lambda c: c.model),
    ("rows", lambda c: f"{c.rows:,}"),
    ("NULL", lambda c: f"{c.null_rows:,}"),
    ("bad", lambda c: f"{c.bad_rows:,}"),
    ("tasks", lambda c: f"{c.tasks:,}"),
    ("batches", lambda c: f"{c.batches:,}"),
    ("runs", lambda c: f"{c.runs:,}"),
    ("convert s", lambda c: f"{c.convert:.3f}"),
    ("infer s", lambda c: f"{c.infer:.3f}"),
    ("emit s", lambda c: f"{c.emit:.3f}"),
    ("wait s", lambda c: f"{c.wait:.3f}"),
    ("in all s", lambda c: f"{c.elapsed:.3f}"),
    ("in", lambda c: _bytes(c.bytes_in)),
    ("copied", lambda c: _bytes(c.bytes_copied)),
    ("opened", lambda c: f"{c.opened:,}"),
    ("opening s", lambda c: f"{c.opening:.3f}"),
)
