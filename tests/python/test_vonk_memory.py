"""The package and memory: nothing copied that need not be, nothing kept that nobody holds."""

import gc
import os
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import vonk
from package import IRIS, MNIST, mock, pixels, probabilities, python
from reference import assert_equal, rows_of, values_of


def address(array):
    """Where the values of an Arrow list column lie."""
    return array.flatten().buffers()[1].address


@pytest.mark.parametrize("layout", ["list", "large_list", "fixed"])
def test_flat_columns_are_not_copied(layout):
    model = vonk.open(MNIST)
    table = pa.table({"pixels": rows_of(pixels(3000), layout)})
    model.predict(table)
    stats = model.stats
    assert stats.bytes_in == 3000 * 784 * 4
    assert stats.bytes_copied == 0, stats


def test_the_framework_reads_the_callers_memory(tmp_path):
    """The mock plug-in tells where its last input lay: inside the caller's array."""
    import ctypes  # noqa: PLC0415

    model = mock(tmp_path, "echo", "input x f32 N 8\noutput y = copy x\n")
    values = np.arange(800, dtype=np.float32).reshape(100, 8)
    assert_equal(model.predict(values, batch=100), values)
    counters = (ctypes.c_int64 * 32)()
    ctypes.CDLL(model._reopen[1]["plugin"]).mock_counters_read(counters)
    assert values.ctypes.data in list(counters), [hex(c & 0xFFFFFFFFFFFFFFFF) for c in counters]


def test_every_consumer_sees_the_same_memory():
    class Rows:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table({"pixels": rows_of(pixels(100), "fixed")}).__arrow_c_stream__()

    result = vonk.open(MNIST).predict(Rows())
    first, second = pa.record_batch(result)["probabilities"], pa.table(result)["probabilities"].chunk(0)
    assert address(first) == address(second) == result.to_numpy()["probabilities"].ctypes.data


def test_consumers_release_in_any_order():
    values = pixels(64)
    expected = probabilities(values)

    class Rows:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table({"pixels": rows_of(values, "fixed")}).__arrow_c_stream__()

    result = vonk.open(MNIST, batch=64).predict(Rows())
    child = pa.record_batch(result)["probabilities"].flatten()  # a child that outlives its parents
    frame, array, unread = pl.DataFrame(result), result.to_numpy()["probabilities"], result.__arrow_c_stream__()
    half_read = pa.RecordBatchReader.from_stream(result)
    half_read.read_next_batch()
    del result, unread, half_read
    gc.collect()
    np.testing.assert_array_equal(np.asarray(child).reshape(64, 10), expected)
    assert_equal(array, expected)
    assert_equal(frame["probabilities"].to_numpy(), expected)


def test_nothing_holds_the_input_after_the_call():
    model = vonk.open(MNIST)

    class Owned(np.ndarray):
        pass

    values = pixels(50).view(Owned)
    gone = weakref.ref(values)
    result = model.predict(values)
    base = weakref.ref(values.base) if isinstance(values.base, Owned) else gone
    del values
    gc.collect()
    assert gone() is None
    assert base() is None
    assert result.shape == (50, 10)


def test_arrow_memory_is_given_back_after_the_call():
    model = vonk.open(MNIST)
    before = pa.total_allocated_bytes()
    for _ in range(3):
        table = pa.table({"pixels": pa.array(list(pixels(500)))})
        model.predict(table)
        stream = model.predict_stream(table.to_reader(100))
        next(stream)
        del table, stream
        gc.collect()
        assert pa.total_allocated_bytes() == before


def test_an_abandoned_or_failed_stream_lets_its_source_go():
    model = vonk.open(IRIS)
    good = pa.record_batch({"m": rows_of(np.ones((5, 4), dtype="f4"), "list")})
    bad = pa.record_batch({"m": rows_of(np.ones((5, 3), dtype="f4"), "list")})
    for batches in ([good, good], [good, bad]):
        released = []

        def source(batches=batches, released=released):
            try:
                yield from batches
            finally:
                released.append(True)

        stream = model.predict_stream(pa.RecordBatchReader.from_batches(good.schema, source()))
        next(stream)
        if batches[1] is bad:
            with pytest.raises(vonk.InvalidError):
                next(stream)
        del stream
        gc.collect()
        assert released == [True]


def test_models_can_be_weakly_referenced():
    model = vonk.open(IRIS)
    gone = weakref.ref(model)
    table = weakref.WeakKeyDictionary({model: 1})
    del model
    gc.collect()
    assert gone() is None
    assert not table


def test_weights_go_with_the_last_user(tmp_path):
    """Results do not keep the weights; a stream that is still read does."""
    text = "input x f32 N 2\noutput y = sum x\n"
    model = mock(tmp_path, "echo", text)
    live = live_models(model)
    values = np.ones((4, 2), dtype="f4")
    result = model.predict(pa.record_batch({"x": rows_of(values, "fixed")}))
    stream = model.predict_stream(pa.record_batch({"x": rows_of(values, "fixed")}))
    assert live() == 1
    model.close()
    assert live() == 1, "the stream uses the model"
    assert values_of(next(stream)["y"]).tolist() == [2.0] * 4
    del stream
    gc.collect()
    assert live() == 0
    assert values_of(result["y"]).tolist() == [2.0] * 4


def live_models(model):
    """How many models of its plug-in are open (the second of mock_counters)."""
    import ctypes  # noqa: PLC0415

    library = ctypes.CDLL(model._reopen[1]["plugin"])

    def count():
        counters = (ctypes.c_int64 * 32)()
        library.mock_counters_read(counters)
        return counters[1]

    return count


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_stream_larger_than_memory_takes_the_memory_of_a_batch():
    said = python(
        """
        import resource, numpy, pyarrow, vonk
        model = vonk.open("examples/mnist/mnist.onnx")
        def batches():
            for _ in range(200):  # 5 MB each
                values = pyarrow.array(numpy.random.default_rng(0).random(1600 * 784, dtype="f4"))
                yield pyarrow.record_batch({"pixels": pyarrow.FixedSizeListArray.from_arrays(values, 784)})
        schema = next(batches()).schema
        rows = 0
        for i, batch in enumerate(model.predict_stream(pyarrow.RecordBatchReader.from_batches(schema, batches()))):
            rows += batch.num_rows
            if i == 10:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """
    )
    rows, grown = map(int, said.split())
    assert rows == 320_000
    assert grown < 50_000, f"{grown} kB more after 1 GB of rows"


def use_everything(model, iris, values, table):
    model.predict(values)
    model.predict(table)
    for batch in model.predict_stream(table, as_="argmax", progress=lambda rows, done: None):
        assert batch.num_rows > 0
    iris.predict({name: values[:, i] for i, name in enumerate("abcd")}, on_error="report")
    for wrong in ({"x": values[:, :3]}, {"x": np.array([["a"] * 4])}):
        with pytest.raises(vonk.Error):
            iris.predict(wrong)
    with pytest.raises(vonk.Error):
        vonk.open("no such file.onnx")
    vonk.open(IRIS).predict(values[:2, :4], batch=1)
    vonk.plugins()
    iris.summary()


def test_capsules_that_nobody_takes_are_released(tmp_path):
    """In a process of its own: what the allocator keeps of other tests' memory is not to be measured."""
    said = python(
        """
        import sys
        sys.path.insert(0, "tests/python")
        from test_vonk_memory import *
        model = mock(Path(sys.argv[1]), "echo", "input x f32 N 1000\\noutput y = copy x\\n")
        batch = pa.record_batch({"x": rows_of(np.ones((5000, 1000), dtype="f4"), "fixed")})
        class Rows:
            def __arrow_c_array__(self, requested_schema=None):
                return batch.__arrow_c_array__()
        before = 0
        for i in range(25):  # 20 MB of predictions each
            result = model.predict(Rows())
            result.__arrow_c_array__()
            result.__arrow_c_stream__()
            pa.RecordBatchReader.from_stream(model.predict_stream(Rows())).schema  # a stream nobody reads
            before = before or resident()
        print(resident() - before)
        """,
        tmp_path,
    )
    assert int(said) < 100_000_000, f"{said} bytes more after 25 results"


def test_nothing_grows_with_use():
    model, iris = vonk.open(MNIST), vonk.open(IRIS)
    values = pixels(64)
    table = pa.table({"pixels": rows_of(values, "list")})
    for _ in range(60):
        use_everything(model, iris, values, table)
    gc.collect()
    tracemalloc.start()
    first, before, objects = tracemalloc.take_snapshot(), resident(), len(gc.get_objects())
    for _ in range(300):
        use_everything(model, iris, values, table)
    gc.collect()
    grown = sum(difference.size_diff for difference in tracemalloc.take_snapshot().compare_to(first, "filename"))
    tracemalloc.stop()
    assert grown < 200_000, f"Python memory grew by {grown} bytes in 300 rounds"
    assert len(gc.get_objects()) - objects < 200
    # A round moves 1 MB through the C half; one leaked batch a round would be 60 MB.
    assert resident() - before < 20_000_000, f"resident memory grew by {resident() - before} bytes in 300 rounds"
