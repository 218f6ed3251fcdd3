"""Models bound to columns: what an engine calls for every batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vonk import _core
from vonk._sources import batch_of
from vonk._stats import Stats
from vonk._table import Table


class Predictor:
    """A model bound to columns; :meth:`Model.bind` makes one. Usable from any number of threads.

    Where :meth:`Model.predict` takes whatever rows a user has and gives back the same kind, a predictor takes batches
    in Arrow memory, all of one schema, and gives Arrow memory.

    Attributes
    ----------
    columns
        Which of the columns it reads: their indices, rising.
    batch_rows
        Rows in one run of the model, as chosen or asked for.

    Examples
    --------
    >>> import vonk, pyarrow
    >>> rows = pyarrow.record_batch({"id": [7], "x": [[6.7, 3.0, 5.2, 2.3]]})
    >>> predictor = vonk.open("examples/iris/iris.onnx").bind(rows.schema, inputs={"measurements": "x"})
    >>> predictor.columns
    (1,)
    >>> pyarrow.record_batch(predictor.predict(rows))["species"].to_pylist()
    ['virginica']
    """

    def __init__(self, core: _core.Predictor, columns: _core.Source, check_process: Callable[[], None]) -> None:
        self._core = core
        self._columns = columns
        self._check_process = check_process
        self.columns = core.columns()
        self.batch_rows = core.batch_rows()

    def predict(self, rows: Any) -> Table:
        """Predicts for one batch.

        Parameters
        ----------
        rows
            Anything with ``__arrow_c_array__``, such as a pyarrow RecordBatch or StructArray, of the schema that the
            model was bound to: the same columns in the same order. Names of list elements do not matter.

        Returns
        -------
        Table
            One batch of as many rows, in their order, with :attr:`schema`; ``pyarrow.record_batch`` takes it without
            a copy.

        Raises
        ------
        InvalidError
            The batch has other columns, or a row could not be converted (``.row`` says which).
        BackendError
            The framework refused a row or failed.
        CancelledError
            :meth:`cancel` was called. Ctrl-C, too, ends a predictor for good.
        ForkedError
            The process was forked after the model had been opened.
        TypeError
            ``rows`` is not one batch in Arrow memory.
        """
        self._check_process()
        source = batch_of(rows)
        self._columns.check(source)
        return Table(self._core.predict(source))

    @property
    def schema(self) -> Schema:
        """Names and types of the predictions: an object with ``__arrow_c_schema__``, for ``pyarrow.schema``."""
        return Schema(self._core)

    @property
    def stats(self) -> Stats:
        """What this predictor has done so far; :attr:`Model.stats` does not count it."""
        return Stats(*self._core.stats())

    def cancel(self) -> None:
        """Ends the predictions that are under way in other threads, and all later ones: they raise CancelledError."""
        self._core.cancel()

    def __repr__(self) -> str:
        return f"<vonk.Predictor: {self.stats.rows:,} rows so far>"


class Schema:
    """Names and types of predictions, for whoever speaks the Arrow PyCapsule protocol."""

    def __init__(self, core: _core.Predictor) -> None:
        self._core = core

    def __arrow_c_schema__(self) -> object:
        return self._core.schema()
