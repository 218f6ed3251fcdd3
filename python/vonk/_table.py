"""Predictions for those who bring no table library of their own: Arrow through the PyCapsule protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vonk import _core, _numpy
from vonk._errors import InvalidError
from vonk._stats import Stats


class Table:
    """A table of predictions in Arrow memory, which any Arrow library can take without a copy.

    It is what :meth:`Model.predict` gives back for data of a library that it has no constructor for.
    ``pyarrow.table(t)``, ``polars.DataFrame(t)`` and ``duckdb.sql("FROM t")`` read it.

    Examples
    --------
    >>> import vonk, pyarrow
    >>> class Rows:  # anything with an Arrow stream
    ...     def __arrow_c_stream__(self, requested_schema=None):
    ...         return pyarrow.table({"x": [[5.1, 3.5, 1.4, 0.2]]}).__arrow_c_stream__()
    >>> table = vonk.open("examples/iris/iris.onnx").predict(Rows(), outputs=["species"])
    >>> table
    vonk.Table(1 row: species)
    >>> table.to_numpy()["species"]
    array(['setosa'], dtype=object)
    """

    def __init__(self, batches: _core.Batches) -> None:
        self._batches = batches

    @property
    def num_rows(self) -> int:
        """Rows in the table."""
        return self._batches.num_rows()

    @property
    def column_names(self) -> list[str]:
        """The outputs' names."""
        return [name for name, _ in self._batches.columns()]

    def to_numpy(self) -> dict[str, Any]:
        """The columns as NumPy arrays over the same memory, as :meth:`Model.predict` gives them for arrays."""
        return _numpy.arrays(self._batches)

    def __arrow_c_schema__(self) -> object:
        return self._batches.schema()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        # The protocol asks for the schema "on a best-effort basis": ours is what the model gives.
        return self._batches.stream()

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        if self._batches.num_batches() != 1:
            raise InvalidError(
                f"table: has {self._batches.num_batches()} batches, not one: take it as a stream (pyarrow.table)"
            )
        return self._batches.array(0)

    def __len__(self) -> int:
        return self.num_rows

    def __repr__(self) -> str:
        rows = self.num_rows
        return f"vonk.Table({rows:,} row{'' if rows == 1 else 's'}: {', '.join(self.column_names)})"


class PredictionStream:
    """Predictions made as they are read, one batch of the source at a time.

    An Arrow stream (``__arrow_c_stream__``) for any library that writes or queries one, and an iterator of batches:
    ``pyarrow.RecordBatch`` where pyarrow is installed, else :class:`Table`. It can be read once.
    """

    def __init__(self, stream: _core.Stream, predictor: _core.Predictor) -> None:
        self._stream = stream
        self._predictor = predictor

    @property
    def stats(self) -> Stats:
        """What has been read and predicted so far."""
        return Stats(*self._predictor.stats())

    def cancel(self) -> None:
        """Ends the prediction that is under way in another thread, and the stream: it raises CancelledError."""
        self._predictor.cancel()

    def __arrow_c_schema__(self) -> object:
        return self._stream.schema()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._stream.export()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        batches = self._stream.next()
        if batches is None:
            raise StopIteration
        table = Table(batches)
        try:
            import pyarrow  # noqa: PLC0415 - optional
        except ImportError:
            return table
        return pyarrow.record_batch(table)

    def __repr__(self) -> str:
        return f"<vonk.PredictionStream: {self.stats.rows:,} rows so far>"
