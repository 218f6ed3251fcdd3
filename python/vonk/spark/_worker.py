"""What runs in Spark's Python workers: predicting batch by batch.

How it works: a model's function is pickled as a few bytes of plain data, and :func:`start` makes a :class:`Scorer` of
them in each task. Spark calls it with one Arrow array per argument. Arrow memory goes to the C library as it is and the
predictions come back as Arrow memory; the interpreter's lock is released meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, replace
from typing import Any

import pyarrow
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import _parse_datatype_json_string

import vonk
from vonk.spark._byname import by_name, dump, fields_given, load
from vonk.spark._cache import Entry, lease
from vonk.spark._columns import Arrangement, one_column
from vonk.spark._explain import explain
from vonk.spark._metrics import Meter
from vonk.spark._spec import Binding, Source
from vonk.spark._types import agree, result_type

#: Functions over one model whose bindings a worker keeps.
_KEPT = 64


def make_function(source: Source, binding: Binding, declared: str | None, meter: Meter | None) -> Callable[..., Any]:
    """The function that Spark pickles.

    Parameters
    ----------
    source, binding
        The model, and how the arguments meet it.
    declared
        The type, as JSON, of results that nobody has compared with the model's yet; None: they are what it gives.
    meter
        Where its counts go.
    """
    payload = dump(fields_given(source), fields_given(binding), declared, None if meter is None else asdict(meter))
    return by_name(source.title, "vonk.spark._worker", "start", payload)


def start(payload: bytes) -> Scorer:
    """What :func:`make_function` put together."""
    source, binding, declared, meter = load(payload)
    return Scorer(Source(**source), Binding(**binding), declared, None if meter is None else Meter(**meter), payload)


class Scorer:
    """A model's function in one task: its arguments are Arrow arrays of one length, its result is one more."""

    def __init__(
        self, source: Source, binding: Binding, declared: str | None, meter: Meter | None, key: Hashable = None
    ) -> None:
        self._source = source
        self._binding = binding
        self._declared = declared
        self._meter = meter
        self._key = key  # of what is bound: equal in all tasks of a function

    def __call__(self, *columns: Any, **named: Any) -> Any:
        begin = time.perf_counter_ns()
        given = [*columns, *named.values()]
        with self._lease() as entry:
            bound = self._bind(entry, given, tuple(named))
            before = bound.predictor.stats
            found = self._predict(bound, given)
            if self._meter is not None:
                self._meter.count(before, bound.predictor.stats, time.perf_counter_ns() - begin)
        return found

    def _lease(self) -> Entry:
        try:
            return lease(self._source)
        except vonk.Error as error:
            raise explain(error, self._source, opening=True) from None

    def _bind(self, entry: Entry, given: Sequence[Any], named: tuple[str, ...]) -> _Bound:
        """The model bound to arguments of these types. It is kept with the model, so that it goes with it."""
        kinds = tuple(column.type for column in given)
        key = self._key, kinds, named
        bound: _Bound | None = entry.kept.get(key)
        if bound is None:
            binding = self._binding
            if named and not binding.columns:
                numbered = (f"argument {i + 1}" for i in range(len(given) - len(named)))
                binding = replace(binding, columns=(*numbered, *named))
            try:
                bound = _Bound(entry.model, list(kinds), binding)
            except vonk.Error as error:
                raise explain(error, self._source) from None
            if self._declared is not None:
                derived = from_arrow_type(result_type(bound.predictor, binding))
                agree(derived, _parse_datatype_json_string(self._declared), self._source.title)
            if len(entry.kept) >= _KEPT:
                entry.kept.pop(next(iter(entry.kept)))
            entry.kept[key] = bound
        return bound

    def _predict(self, bound: _Bound, given: Sequence[Any]) -> Any:
        found, first = [], 0
        try:
            for rows in bound.arrangement.rows(given):
                predictions = pyarrow.record_batch(bound.predictor.predict(rows))
                found.append(one_column(predictions, self._binding, bound.path, self._source.title))
                first += len(rows)
        except vonk.Error as error:
            row = None if error.row is None else first + error.row
            raise explain(error, self._source, row) from None
        return found[0] if len(found) == 1 else pyarrow.concat_arrays(found)


class _Bound:
    """A model bound to arguments of certain types."""

    def __init__(self, model: vonk.Model, kinds: list[Any], binding: Binding) -> None:
        self.model = model
        self.path = str(model.path)
        self.arrangement = Arrangement(kinds, binding)
        self.predictor = model.bind(self.arrangement.schema, **binding.options())
