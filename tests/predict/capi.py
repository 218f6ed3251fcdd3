"""The C library through ctypes, as any program would use it: for tests only (the Python package proper comes later)."""

from __future__ import annotations

import ctypes as c
import functools
import math
import os
from collections.abc import Mapping
from typing import Any

import pyarrow as pa


def library_path() -> str:
    """The library under test: the installed one, or VONK_LIBRARY."""
    if "VONK_LIBRARY" in os.environ:
        return os.environ["VONK_LIBRARY"]
    import vonk  # noqa: PLC0415 - with VONK_LIBRARY no wheel need be installed

    return str(vonk.installation().library)


class Error(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("code", c.c_int32),
        ("native_code", c.c_int64),
        ("row", c.c_int64),
        ("message", c.c_char * 1024),
    ]


class KeyValue(c.Structure):
    _fields_ = [("key", c.c_char_p), ("value", c.c_char_p)]


class BindOptions(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("nulls", c.c_int32),
        ("inputs", c.POINTER(KeyValue)),
        ("n_inputs", c.c_size_t),
        ("outputs", c.POINTER(KeyValue)),
        ("n_outputs", c.c_size_t),
        ("row_errors", c.c_int32),
        ("squeeze", c.c_int32),
        ("batch_rows", c.c_int64),
        ("batch_bytes", c.c_int64),
        ("as_", c.c_char_p),
        ("half_as_float", c.c_int32),
        ("sql_casts", c.c_int32),
        ("variable_lists", c.c_int32),
        ("signed_integers", c.c_int32),
        ("advice", c.c_int32),
    ]


class Stats(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("max_threads", c.c_uint32)] + [
        (name, c.c_uint64)
        for name in (
            "rows null_rows error_rows micro_batches bytes_in bytes_copied convert_ns infer_ns emit_ns wait_ns".split()
        )
    ]


class ArrowBlock(c.Structure):
    """Room for an ArrowSchema, ArrowArray or ArrowArrayStream: filled by C, read by pyarrow."""

    _fields_ = [("bytes", c.c_uint8 * 128)]


class BundleSummary(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32), ("n_provenance", c.c_uint32), ("n_steps", c.c_uint32), ("n_labels", c.c_uint32),
        ("name", c.c_char_p), ("description", c.c_char_p), ("licence", c.c_char_p),
        ("provenance", c.POINTER(KeyValue)), ("steps", c.POINTER(c.c_char_p)), ("labels", c.POINTER(c.c_char_p)),
        ("labels_output", c.c_uint32), ("reserved", c.c_int32),
        ("selftest_rows", c.c_int64), ("selftest_tolerance", c.c_double),
    ]  # fmt: skip


class VonkError(Exception):
    #: of a self-test that failed
    difference = math.nan

    def __init__(self, error: Error) -> None:
        self.code = _lib().vonk_status_name(error.code).decode()
        self.row = error.row
        self.message = error.message.decode()
        super().__init__(f"{self.code}: {self.message}")


@functools.cache
def _lib() -> Any:
    lib = c.CDLL(library_path())
    pointer, status = c.c_void_p, c.c_int32
    lib.vonk_status_name.restype = c.c_char_p
    lib.vonk_model_open.argtypes = [c.c_char_p, c.POINTER(KeyValue), c.c_size_t, c.POINTER(pointer), c.POINTER(Error)]
    lib.vonk_model_close.argtypes = [pointer]
    lib.vonk_model_selftest.argtypes = [pointer, c.POINTER(c.c_double), c.POINTER(Error)]
    lib.vonk_model_bundle.argtypes = [pointer]
    lib.vonk_model_bundle.restype = c.POINTER(BundleSummary)
    lib.vonk_predictor_create.argtypes = [
        pointer, pointer, c.POINTER(BindOptions), c.POINTER(pointer), c.POINTER(Error),
    ]  # fmt: skip
    lib.vonk_predictor_release.argtypes = [pointer]
    lib.vonk_predictor_cancel.argtypes = [pointer]
    lib.vonk_predictor_schema.argtypes = [pointer, pointer, c.POINTER(Error)]
    lib.vonk_predict.argtypes = [pointer, pointer, pointer, c.POINTER(Error)]
    lib.vonk_predict_stream.argtypes = [pointer, pointer, pointer, c.POINTER(Error)]
    lib.vonk_predictor_columns.argtypes = [pointer, c.POINTER(c.POINTER(c.c_int64)), c.POINTER(c.c_size_t)]
    lib.vonk_predictor_stats.argtypes = [pointer, c.POINTER(Stats)]
    lib.vonk_predictor_batch_rows.argtypes = [pointer]
    lib.vonk_predictor_batch_rows.restype = c.c_int64
    for name in ("vonk_model_open", "vonk_predictor_create", "vonk_predict", "vonk_predict_stream"):
        getattr(lib, name).restype = status
    return lib


def _check(status: int, error: Error) -> None:
    if status != 0:
        raise VonkError(error)


def _pairs(mapping: Mapping[str, str] | None) -> Any:
    items = list((mapping or {}).items())
    array = (KeyValue * max(1, len(items)))()
    for slot, (key, value) in zip(array, items, strict=False):
        slot.key, slot.value = key.encode(), value.encode()
    return array, len(items)


def set_threads(n: int) -> None:
    _lib().vonk_set_threads(c.c_uint32(n))


def release_array(block: ArrowBlock) -> None:
    """Calls release of an ArrowArray that pyarrow exported: the ninth of its eight-byte words."""
    release = c.cast(c.byref(block, 64), c.POINTER(c.c_void_p))[0]
    if release:
        c.CFUNCTYPE(None, c.c_void_p)(release)(c.addressof(block))


class Model:
    def __init__(self, path: Any, **options: str) -> None:
        self.pointer = c.c_void_p()
        error = Error()
        pairs, n = _pairs(options)
        _check(_lib().vonk_model_open(str(path).encode(), pairs, n, c.byref(self.pointer), c.byref(error)), error)

    def selftest(self) -> float:
        """The largest difference; a failure has it, too."""
        difference, error = c.c_double(math.nan), Error()
        status = _lib().vonk_model_selftest(self.pointer, c.byref(difference), c.byref(error))
        try:
            _check(status, error)
        except VonkError as failed:
            failed.difference = difference.value
            raise
        return difference.value

    def bundle(self) -> tuple[int, float]:
        """Rows and tolerance of its self-test."""
        summary = _lib().vonk_model_bundle(self.pointer).contents
        return summary.selftest_rows, summary.selftest_tolerance

    def __del__(self) -> None:
        if self.pointer:
            _lib().vonk_model_close(self.pointer)


class Predictor:
    """A model bound to a pyarrow schema; takes RecordBatches and Tables' batches."""

    def __init__(
        self,
        model: Model,
        schema: pa.Schema,
        *,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        nulls: int = 0,
        row_errors: int = 0,
        squeeze: bool = False,
        batch_rows: int = 0,
        batch_bytes: int = 0,
        as_: str | None = None,
        half_as_float: bool = False,
        sql_casts: bool = False,
        variable_lists: bool = False,
        signed_integers: bool = False,
        advice: int = 0,
    ) -> None:
        self.model = model
        self.pointer = c.c_void_p()
        options = BindOptions(struct_size=c.sizeof(BindOptions), nulls=nulls, row_errors=row_errors)
        self.keep = _pairs(inputs), _pairs(outputs)
        (options.inputs, options.n_inputs), (options.outputs, options.n_outputs) = self.keep
        options.squeeze, options.batch_rows, options.half_as_float = squeeze, batch_rows, half_as_float
        options.batch_bytes = batch_bytes
        options.sql_casts, options.variable_lists = sql_casts, variable_lists
        options.signed_integers, options.advice = signed_integers, advice
        options.as_ = None if as_ is None else as_.encode()
        block, error = ArrowBlock(), Error()
        schema._export_to_c(c.addressof(block))
        status = _lib().vonk_predictor_create(
            model.pointer, c.byref(block), c.byref(options), c.byref(self.pointer), c.byref(error)
        )
        pa.Schema._import_from_c(c.addressof(block))  # releases it
        _check(status, error)

    def __del__(self) -> None:
        if self.pointer:
            _lib().vonk_predictor_release(self.pointer)

    def schema(self) -> pa.Schema:
        block, error = ArrowBlock(), Error()
        _check(_lib().vonk_predictor_schema(self.pointer, c.byref(block), c.byref(error)), error)
        return pa.Schema._import_from_c(c.addressof(block))

    def predict_struct(self, rows: pa.StructArray) -> pa.RecordBatch:
        """A struct array as the batch: unlike a RecordBatch it can have NULL rows and an offset of its own."""
        return self(rows)

    def __call__(self, batch: pa.RecordBatch | pa.StructArray) -> pa.RecordBatch:
        rows, out, schema, error = ArrowBlock(), ArrowBlock(), ArrowBlock(), Error()
        batch._export_to_c(c.addressof(rows))
        before = bytes(out)
        try:
            status = _lib().vonk_predict(self.pointer, c.byref(rows), c.byref(out), c.byref(error))
        finally:
            release_array(rows)
        assert status == 0 or bytes(out) == before, "a failure must leave *out as it was"
        _check(status, error)
        _check(_lib().vonk_predictor_schema(self.pointer, c.byref(schema), c.byref(error)), error)
        result = pa.RecordBatch._import_from_c(c.addressof(out), c.addressof(schema))
        result.validate(full=True)
        return result

    def stream(self, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The predictions of a stream; the source is moved on success, and stays ours (and is released) on failure."""
        source, out, error = ArrowBlock(), ArrowBlock(), Error()
        reader._export_to_c(c.addressof(source))
        status = _lib().vonk_predict_stream(self.pointer, c.byref(source), c.byref(out), c.byref(error))
        release = c.cast(c.byref(source, 24), c.POINTER(c.c_void_p))[0]
        if status != 0:
            assert release, "a failure must leave the source where it was"
            assert bytes(out) == bytes(ArrowBlock()), "a failure must leave *out as it was"
            c.CFUNCTYPE(None, c.c_void_p)(release)(c.addressof(source))
        else:
            assert not release, "success must have moved the source"
        _check(status, error)
        return pa.RecordBatchReader._import_from_c(c.addressof(out))

    def columns(self) -> list[int]:
        """Which columns of the schema the predictor reads."""
        indices, n = c.POINTER(c.c_int64)(), c.c_size_t()
        _lib().vonk_predictor_columns(self.pointer, c.byref(indices), c.byref(n))
        return [indices[i] for i in range(n.value)]

    def cancel(self) -> None:
        _lib().vonk_predictor_cancel(self.pointer)

    def stats(self) -> Stats:
        stats = Stats(struct_size=c.sizeof(Stats))
        _lib().vonk_predictor_stats(self.pointer, c.byref(stats))
        return stats

    def batch_rows(self) -> int:
        return int(_lib().vonk_predictor_batch_rows(self.pointer))


def predict(path: Any, batch: pa.RecordBatch, **options: Any) -> pa.RecordBatch:
    return Predictor(Model(path), batch.schema, **options)(batch)
