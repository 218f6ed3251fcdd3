"""Models: opening them, predicting with them."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from vonk import _core
from vonk._errors import ForkedError, InvalidError
from vonk._frameworks import tell as tell_frameworks
from vonk._predictor import Predictor
from vonk._process import set_threads
from vonk._progress import Progress
from vonk._sources import columns_of, open_source, open_stream
from vonk._stats import Stats
from vonk._summary import Bundle, Summary, Tensor
from vonk._table import PredictionStream

_NULLS = {"null": 0, "error": 1}
_ON_ERROR = {"raise": 0, "null": 1, "report": 2}
#: Bound models kept for the next call with the same columns and options.
_KEPT = 16
_MAIN_THREAD = threading.main_thread().ident

_Pairs = tuple[tuple[str, str], ...]
_Inputs = Mapping[str, "str | Sequence[str]"] | None
_Outputs = Mapping[str, str] | Iterable[str] | None


def open(  # noqa: PLR0913 - all but one by name
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    batch: int | None = None,
    device: str | None = None,
    plugin: str | None = None,
    signature: str | None = None,
    threads_per_run: int | None = None,
    **options: str | int | float | bool,
) -> Model:
    """Opens a model file, folder or bundle. Nothing in it is executed, and a process keeps one copy of its weights.

    Parameters
    ----------
    path
        A bundle (``.vonk``), or a model file or folder of a format that a plug-in opens (:func:`vonk.plugins`);
        ``#sha256=`` and 64 hex digits after it pin its content.
    threads
        The same as :func:`vonk.set_threads`: it holds for the process. None leaves it as it is.
    batch
        Rows in one run of the model; None chooses. A fixed batch dimension of the model always wins.
    device
        ``"cpu"`` (default), ``"cuda"``, ``"cuda:1"``, ``"rocm:0"``. There is no falling back to another device.
    plugin
        Name or absolute path of the plug-in, instead of the one that recognises the file.
    signature
        Which of the model's signatures, for formats that hold several (TensorFlow's SavedModel); None is the format's
        default. ``model.summary().metadata["signatures"]`` names them.
    threads_per_run
        Threads that the framework may use inside one run; 1 by default, since micro-batches run side by side.
    **options
        Of the plug-in: ``vonk.plugins()`` lists them.

    Returns
    -------
    Model
        Usable from any number of threads.

    Raises
    ------
    FileError
        There is no such file.
    ModelError
        It is damaged, or not the pinned one.
    UnsupportedError
        No plug-in or framework for it is installed.
    InvalidError
        An option that nobody knows.

    Examples
    --------
    >>> import vonk
    >>> vonk.open("examples/iris/iris.onnx").inputs
    (Tensor(name='measurements', dtype='float32', shape=('N', 4)),)
    """
    if threads is not None:
        set_threads(threads)
    named = {"device": device, "plugin": plugin, "signature": signature, "threads_per_run": threads_per_run}
    given = {key: value for key, value in named.items() if value is not None} | options
    return Model(os.fspath(path), {key: _text(value) for key, value in given.items()}, batch or 0)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _reopen(path: str, options: dict[str, str], batch: int) -> Model:
    return Model(path, options, batch)


class Model:
    """An opened model; :func:`vonk.open` makes one. A context manager; copies and pickles open the file again.

    Attributes
    ----------
    inputs, outputs
        The signature, tuples of :class:`Tensor`.
    path
        Of the file, absolute, links resolved.
    bundle
        What a bundle says besides, a :class:`Bundle`: name, licence, labels, preprocessing, provenance. None if the
        model is none.

    Examples
    --------
    >>> import vonk, numpy
    >>> with vonk.open("examples/iris/iris.onnx") as model:
    ...     model.predict(numpy.array([[5.1, 3.5, 1.4, 0.2]], dtype="f4"), outputs=["species"])
    array(['setosa'], dtype=object)
    """

    def __init__(self, path: str, options: dict[str, str], batch: int) -> None:
        self._reopen = (path, options, batch)
        self._batch = batch
        tell_frameworks()
        self._core = _core.open_model(os.fsencode(path), tuple(options.items()))
        self._summary = _summarise(self._core)
        self.path = Path(self._summary.path)
        self.inputs = self._summary.inputs
        self.outputs = self._summary.outputs
        self.bundle = self._summary.bundle
        self._lock = threading.Lock()
        self._is_forked = False
        self._predictors: OrderedDict[tuple[Any, ...], _core.Predictor] = OrderedDict()
        self._past = Stats()
        _alive.add(self)

    # --- what it is ---

    def summary(self) -> Summary:
        """What the model is and who runs it."""
        return self._summary

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's content now, 64 hex digits. Reads the whole file.

        Of a folder: the digest of what ``sha256sum`` prints for all files below it, named within the folder and
        sorted by the bytes of their names.
        """
        return self._core.sha256()

    def selftest(self) -> float:
        """Runs the self-test of a bundle here: does it predict what it predicted where it was packed?

        Returns
        -------
        float
            The largest difference, ``|found - expected| / max(1, |expected|)``; at most the bundle's tolerance.

        Raises
        ------
        BackendError
            A difference is above the tolerance: the message says where, and what came instead.
        UnsupportedError
            There is no self-test.
        """
        self._check_process()
        return self._core.selftest()

    @property
    def stats(self) -> Stats:
        """What :meth:`predict` has done with this model so far; a stream has counts of its own."""
        with self._lock:
            total = self._past
            for predictor in self._predictors.values():
                total = total.plus(Stats(*predictor.stats()))
        return total

    def __repr__(self) -> str:
        ins, outs = (", ".join(f"{t.name} {t.type}" for t in side) for side in (self.inputs, self.outputs))
        return f"<vonk.Model '{self.path.name}': {ins} -> {outs}>"

    def _repr_html_(self) -> str:
        return self._summary._repr_html_()

    # --- its end ---

    def close(self) -> None:
        """Gives the model back; the weights go with its last user. Predictions under way end as they would."""
        with self._lock:
            self._predictors.clear()
            self._core.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, self._reopen

    # --- predicting ---

    def predict(  # noqa: PLR0913 - the options of the contract, by name
        self,
        data: Any,
        *,
        inputs: _Inputs = None,
        outputs: _Outputs = None,
        nulls: str = "null",
        on_error: str = "raise",
        as_: str | None = None,
        squeeze: bool = False,
        batch: int | None = None,
        half_as_float: bool = False,
        variable_lists: bool = False,
        signed_integers: bool = False,
    ) -> Any:
        """Predicts for rows, in their order.

        Columns meet inputs as everywhere in vonk: by name, by position when no name fits, one list column for one
        tensor, N numbers packed into ``[rows, N]``. What does not fit raises before any row is read.

        Parameters
        ----------
        data
            Rows: a pyarrow Table, RecordBatch, RecordBatchReader or array, a polars or pandas DataFrame or Series, a
            DuckDB relation, any object with ``__arrow_c_stream__`` or ``__arrow_c_array__``, a dict of NumPy arrays
            ``[rows, ...]``, or one such array for a model with one input.
        inputs
            Input name to column name, or to a list of number columns to pack; ``"s.f"`` is field f of struct s.
        outputs
            The outputs wanted: names, or name to the column it becomes. None is all of them.
        nulls
            ``"null"``: a row with a NULL gets a NULL prediction; ``"error"``: it is a bad row.
        on_error
            What a bad row does: ``"raise"``; ``"null"`` gives NULL for it; ``"report"`` besides adds a column "error"
            that says why.
        as_
            What becomes of the classes along an output's last dimension. ``"argmax"``: the index of the largest,
            int64. ``"label"``: its label, from the bundle. ``"top5"``, or another number up to 1000: the five largest,
            most likely first, a list of ``struct(index, label, score)``; for NumPy an array ``[rows, 5]`` of that
            structured dtype. Of several outputs the one that has labels is meant.
        squeeze
            Drops dimensions of 1 after the rows: ``[rows, 1]`` becomes ``[rows]``.
        batch
            Rows in one run of the model, instead of what :func:`vonk.open` was told.
        half_as_float
            Gives float16 outputs as float32.
        variable_lists
            Outputs become lists with offsets, whose elements are called "element", instead of fixed-size lists: for
            libraries and files that have no others.
        signed_integers
            For those without unsigned types: unsigned outputs become the next wider signed type (uint64 int64), and
            unsigned inputs also take signed integers. A value out of range makes its row a bad one.

        Returns
        -------
        object
            The same kind as the data: a pyarrow Table (RecordBatch for one), a polars DataFrame, a pandas DataFrame
            with the index of the data, a dict of NumPy arrays (for a dict), one array (for an array, if there is one
            output). For anything else a :class:`Table`.

        Raises
        ------
        InvalidError
            The columns do not fit the model, or a row could not be converted (``.row`` says which).
        BackendError
            The framework refused a row or failed.
        ForkedError
            The process was forked after the model had been opened.
        TypeError
            ``data`` is nothing that rows can be read from.

        Examples
        --------
        >>> import vonk, pyarrow
        >>> model = vonk.open("examples/iris/iris.onnx")
        >>> flowers = pyarrow.table({"a": [5.1, 6.7], "b": [3.5, 3.0], "c": [1.4, 5.2], "d": [0.2, 2.3]})
        >>> model.predict(flowers, outputs=["species"]).to_pydict()
        {'species': ['setosa', 'virginica']}
        """
        self._check_process()
        source, restore = open_source(data, self.inputs)
        options = self._options(
            inputs=inputs, outputs=outputs, nulls=nulls, on_error=on_error, squeeze=squeeze, batch=batch, as_=as_,
            half_as_float=half_as_float, variable_lists=variable_lists, signed_integers=signed_integers,
        )  # fmt: skip
        key = (source.fingerprint(), options, threading.get_ident() == _MAIN_THREAD)
        predictor = self._bound(key, source, options)
        try:
            return restore(predictor.predict(source))
        finally:
            if predictor.cancelled():
                self._forget(key)

    def predict_stream(  # noqa: PLR0913
        self,
        reader: Any,
        *,
        progress: bool | Callable[[int, bool], object] = False,
        inputs: _Inputs = None,
        outputs: _Outputs = None,
        nulls: str = "null",
        on_error: str = "raise",
        as_: str | None = None,
        squeeze: bool = False,
        batch: int | None = None,
        half_as_float: bool = False,
        variable_lists: bool = False,
        signed_integers: bool = False,
    ) -> PredictionStream:
        """Predicts for a source larger than memory, a batch at a time, as the result is read.

        Parameters
        ----------
        reader
            As ``data`` of :meth:`predict`; a pyarrow RecordBatchReader or a DuckDB relation is read lazily. A
            connection of DuckDB's has one lazy result at a time: query the predictions with another cursor
            (``con.cursor()``) than the one that gives the rows.
        progress
            True: rows and rows/s on standard error. A function: called with the rows so far and whether that was
            all, at most ten times a second and once at the end.
        inputs, outputs, nulls, on_error, as_, squeeze, batch, half_as_float, variable_lists, signed_integers
            As for :meth:`predict`.

        Returns
        -------
        PredictionStream
            An Arrow stream and an iterator of batches.

        Raises
        ------
        InvalidError
            The columns do not fit the model.

        Examples
        --------
        >>> import vonk, pyarrow
        >>> rows = pyarrow.table({"x": [[5.1, 3.5, 1.4, 0.2]] * 4})
        >>> reader = pyarrow.RecordBatchReader.from_batches(rows.schema, rows.to_batches(max_chunksize=2))
        >>> for part in vonk.open("examples/iris/iris.onnx").predict_stream(reader, outputs=["species"]):
        ...     print(part.num_rows, part["species"][0])
        2 setosa
        2 setosa
        """
        self._check_process()
        source = open_stream(reader, self.inputs)
        options = self._options(
            inputs=inputs, outputs=outputs, nulls=nulls, on_error=on_error, squeeze=squeeze, batch=batch, as_=as_,
            half_as_float=half_as_float, variable_lists=variable_lists, signed_integers=signed_integers,
        )  # fmt: skip
        predictor = self._core.bind(source, *options)
        tell = Progress(_rows_of(reader)) if progress is True else progress or None
        return PredictionStream(predictor.stream(source, tell), predictor)

    def bind(  # noqa: PLR0913
        self,
        columns: Any,
        *,
        inputs: _Inputs = None,
        outputs: _Outputs = None,
        nulls: str = "null",
        on_error: str = "raise",
        as_: str | None = None,
        squeeze: bool = False,
        batch: int | None = None,
        half_as_float: bool = False,
        variable_lists: bool = False,
        signed_integers: bool = False,
        sql_casts: bool = False,
    ) -> Predictor:
        """Binds the model to columns, once for many batches of them. For engines and services; no row is read.

        Parameters
        ----------
        columns
            Their names and types: anything with ``__arrow_c_schema__``, such as a pyarrow Schema, Table or
            RecordBatch; one type alone (``pyarrow.list_(pyarrow.float32())``) is one column.
        inputs, outputs, nulls, on_error, as_, squeeze, batch, half_as_float, variable_lists, signed_integers
            As for :meth:`predict`.
        sql_casts
            Integers of any width, and decimals, become floats, as SQL's own casts do it.

        Returns
        -------
        Predictor
            Usable from any number of threads. It keeps the model open.

        Raises
        ------
        InvalidError
            The columns do not fit the model.
        TypeError
            ``columns`` says nothing about columns.

        Examples
        --------
        >>> import vonk, pyarrow
        >>> columns = pyarrow.schema({"x": pyarrow.list_(pyarrow.float32())})
        >>> species = vonk.open("examples/iris/iris.onnx").bind(columns, outputs=["species"])
        >>> pyarrow.schema(species.schema)
        species: string
        >>> rows = pyarrow.RecordBatch.from_pylist([{"x": [5.1, 3.5, 1.4, 0.2]}], schema=columns)
        >>> species.predict(rows).to_numpy()["species"]
        array(['setosa'], dtype=object)
        """
        self._check_process()
        source = columns_of(columns)
        options = self._options(
            inputs=inputs, outputs=outputs, nulls=nulls, on_error=on_error, squeeze=squeeze, batch=batch, as_=as_,
            half_as_float=half_as_float, variable_lists=variable_lists, signed_integers=signed_integers,
            sql_casts=sql_casts,
        )  # fmt: skip
        return Predictor(self._core.bind(source, *options), source, self._check_process)

    def _check_process(self) -> None:
        """Before anything is touched that another thread of the parent may have held when the process was forked."""
        if self._is_forked:
            raise ForkedError(
                "fork: this process was forked after the model had been opened, and threads do not survive that: "
                "start worker processes before the first model is opened, or with 'spawn' instead of 'fork'",
                "VONK_FORKED",
            )

    def _options(  # noqa: PLR0913
        self,
        *,
        inputs: _Inputs,
        outputs: _Outputs,
        nulls: str,
        on_error: str,
        squeeze: bool,
        batch: int | None,
        as_: str | None,
        half_as_float: bool,
        variable_lists: bool = False,
        signed_integers: bool = False,
        sql_casts: bool = False,
    ) -> tuple[_Pairs, _Pairs, int, int, bool, int, str | None, bool, bool, bool, bool]:
        """In the order of bind's parameters."""
        return (
            () if inputs is None else _input_pairs(inputs),
            () if outputs is None else _output_pairs(outputs),
            _choice("nulls", nulls, _NULLS),
            _choice("on_error", on_error, _ON_ERROR),
            squeeze,
            self._batch if batch is None else batch,
            as_,
            half_as_float,
            variable_lists,
            signed_integers,
            sql_casts,
        )

    def _bound(self, key: tuple[Any, ...], source: _core.Source, options: tuple[Any, ...]) -> _core.Predictor:
        """The predictor for columns and options. The main thread has its own: Ctrl-C ends one for good."""
        with self._lock:
            known = self._predictors.get(key)
            if known is not None:
                self._predictors.move_to_end(key)
                return known
            predictor = self._core.bind(source, *options)
            self._predictors[key] = predictor
            if len(self._predictors) > _KEPT:
                _, old = self._predictors.popitem(last=False)
                self._past = self._past.plus(Stats(*old.stats()))
            return predictor

    def _forget(self, key: tuple[Any, ...]) -> None:
        with self._lock:
            old = self._predictors.pop(key, None)
            if old is not None:
                self._past = self._past.plus(Stats(*old.stats()))


#: Every model there is, for the child of a fork.
_alive: weakref.WeakSet[Model] = weakref.WeakSet()


def _note_fork() -> None:
    for model in list(_alive):
        model._is_forked = True
        model._lock = threading.Lock()  # a thread that was left behind may have held it


os.register_at_fork(after_in_child=_note_fork)


def _summarise(core: _core.Model) -> Summary:
    *texts, n_params, weight_bytes, file_bytes, inputs, outputs, metadata = core.summary()
    path, format_, producer, plugin, runtime_version, runtime_path, device = texts
    return Summary(
        path=path or "",
        format=format_ or "",
        producer=producer,
        plugin=plugin or "",
        runtime_version=runtime_version or "",
        runtime_path=runtime_path or "",
        device=device or "",
        parameters=None if n_params < 0 else n_params,
        weight_bytes=None if weight_bytes < 0 else weight_bytes,
        file_bytes=file_bytes,
        inputs=tuple(Tensor(*tensor) for tensor in inputs),
        outputs=tuple(Tensor(*tensor) for tensor in outputs),
        metadata=dict(metadata),
        bundle=_describe_bundle(core),
    )


def _describe_bundle(core: _core.Model) -> Bundle | None:
    told = core.bundle()
    if told is None:
        return None
    name, description, licence, provenance, labels, steps, rows, tolerance = told
    return Bundle(name, description, licence, dict(provenance), labels, steps, rows, tolerance)


def _choice(name: str, value: str, known: Mapping[str, int]) -> int:
    try:
        return known[value]
    except (KeyError, TypeError):
        words = ", ".join(repr(word) for word in known)
        raise InvalidError(f"{name}: {value!r} is no choice: use one of {words}") from None


def _input_pairs(inputs: Mapping[str, str | Sequence[str]]) -> _Pairs:
    return tuple(
        (tensor, columns if isinstance(columns, str) else ",".join(columns)) for tensor, columns in inputs.items()
    )


def _output_pairs(outputs: Mapping[str, str] | Iterable[str]) -> _Pairs:
    if isinstance(outputs, str):
        raise InvalidError(f"outputs: {outputs!r} is a string: pass a list of names, [{outputs!r}]")
    return tuple(outputs.items()) if isinstance(outputs, Mapping) else tuple((name, name) for name in outputs)


def _rows_of(data: Any) -> int | None:
    """How many rows there are, if the data knows without being read."""
    rows = getattr(data, "num_rows", None)
    return rows if isinstance(rows, int) else None
