"""What runs in Spark's Python workers for models of Hugging Face: columns of text in, one column out.

How it works: as in ``_worker``, plain data travels and the model is leased from the worker's cache, where vonk's models
are, too. The model with the arguments of a call is kept beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pyspark import cloudpickle
from pyspark.sql.types import _parse_datatype_json_string

import vonk
from vonk.spark._byname import by_name, dump, fields_given, load
from vonk.spark._cache import lease
from vonk.spark._compat import to_arrow
from vonk.spark._explain import explain
from vonk.spark._metrics import Meter
from vonk.spark._spec import Source

#: Functions over one model that a worker keeps bound.
_KEPT = 64


@dataclass(frozen=True)
class TextCall:
    """How columns of text meet the model.

    Attributes
    ----------
    returns
        The type of a result as Spark's JSON, without the struct of ``on_error="report"``.
    names
        Of the last arguments, which were given by name; those before them have the model's own.
    nulls, on_error, batch
        As for :class:`vonk.spark._spec.Binding`.
    arguments
        Of the model's calls: a pickled mapping.
    """

    returns: str
    names: tuple[str, ...] = ()
    nulls: str = "null"
    on_error: str = "raise"
    batch: int | None = None
    arguments: bytes = b""


def make_function(source: Source, call: TextCall, meter: Meter | None) -> Callable[..., Any]:
    """The function that Spark pickles."""
    payload = dump(fields_given(source), fields_given(call), None if meter is None else asdict(meter))
    return by_name(source.title, "vonk.spark._text_worker", "start", payload)


def start(payload: bytes) -> TextScorer:
    """What :func:`make_function` put together."""
    source, call, meter = load(payload)
    return TextScorer(Source(**source), TextCall(**call), None if meter is None else Meter(**meter), payload)


class TextScorer:
    """A model's function in one task: its arguments are Arrow arrays of one length, its result is one more."""

    def __init__(self, source: Source, call: TextCall, meter: Meter | None, key: Hashable) -> None:
        self._source = source
        self._call = call
        self._meter = meter
        self._key = key  # of what is bound: equal in all tasks of a function

    def __call__(self, *columns: Any, **named: Any) -> Any:
        begin = time.perf_counter_ns()
        try:
            entry = lease(self._source)
        except vonk.Error as error:
            raise explain(error, self._source, opening=True) from None
        with entry:
            found, counted = self._predict(entry, [*columns, *named.values()], tuple(named))
            if self._meter is not None:
                self._meter.count(vonk.Stats(), counted, time.perf_counter_ns() - begin)
        return found

    def _predict(self, entry: Any, columns: Sequence[Any], named: tuple[str, ...]) -> Any:
        from vonk.huggingface import _rows  # noqa: PLC0415 - of workers with such models
        from vonk.spark._text_opening import threads  # noqa: PLC0415

        threads.follow_task()
        try:
            bound, plan = self._bind(entry)
            last = self._call.names or named
            names = bound.names[: max(0, len(columns) - len(last))] + last
            return _rows.predict(bound, columns, names, plan)
        except vonk.Error as error:
            raise explain(error, self._source, error.row) from None

    def _bind(self, entry: Any) -> Any:
        found = entry.kept.get(self._key)
        if found is None:
            from vonk.huggingface import _results, _rows  # noqa: PLC0415 - of workers with such models

            call = self._call
            kind = to_arrow(_parse_datatype_json_string(call.returns))
            bound = entry.model.bind(cloudpickle.loads(call.arguments) if call.arguments else {})
            found = bound, _rows.Plan(_results.builder(kind), kind, call.nulls, call.on_error, call.batch)
            if len(entry.kept) >= _KEPT:
                entry.kept.pop(next(iter(entry.kept)))
            entry.kept[self._key] = found
        return found
