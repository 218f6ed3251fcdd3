"""Rows: batches and their sizes, ragged rows, NULL, bad rows, streams, counters; against onnxruntime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
from capi import Model, Predictor, VonkError, predict, set_threads
from reference import LAYOUTS, assert_equal, batch, models, rows_of, run, sample, save, values_of

RNG = np.random.default_rng(9)
X = RNG.standard_normal((5000, 16)).astype(np.float32)
I64 = models.ELEMENT_TYPES["i64"]
NULLS_ERROR = 1
RAISE, NULL, REPORT = 0, 1, 2


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(models.mlp((16, 32, 4)), tmp_path_factory.mktemp("mlp") / "mlp.onnx")


@pytest.fixture(scope="module")
def expected(mlp: Path) -> Any:
    return run(mlp, x=X)[0]


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y [n, 4] = an MLP over the mean of table[tokens]; a token outside of 0 to 999 makes the model fail."""
    rng = np.random.default_rng(2)
    return save(
        models.model(
            [
                models.node("Gather", ["table", "tokens"], ["rows"]),
                models.node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
                models.node("MatMul", ["mean", "w"], ["h"]),
                models.node("Relu", ["h"], ["r"]),
                models.node("MatMul", ["r", "v"], ["y"]),
            ],
            [models.value("tokens", ["n", "t"], I64)],
            [models.value("y", ["n", 4])],
            {
                "table": rng.standard_normal((1000, 8)).astype(np.float32),
                "w": rng.standard_normal((8, 16)).astype(np.float32),
                "v": rng.standard_normal((16, 4)).astype(np.float32),
            },
        ),
        tmp_path_factory.mktemp("embedding") / "embedding.onnx",
    )


# --- how many rows --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 255, 256, 257, 5000])
@pytest.mark.parametrize("batch_rows", [0, 1, 7, 256, 100_000])
def test_any_number_of_rows_in_any_micro_batch(mlp: Path, expected: Any, n: int, batch_rows: int) -> None:
    rows = batch(x=rows_of(X[:n], "list"))
    predictor = Predictor(Model(mlp), rows.schema, batch_rows=batch_rows)
    assert_equal(values_of(predictor(rows).column("y")).reshape(n, 4), expected[:n])
    size = predictor.batch_rows()
    assert batch_rows in (size, 0)
    assert predictor.stats().micro_batches == -(-n // size)
    assert predictor.stats().rows == n


def test_the_chosen_micro_batch_keeps_tensors_near_a_mebibyte(tmp_path: Path) -> None:
    for width, rows in ((1, 2048), (60, 2048), (70, 1024), (784, 128), (100_000, 4)):
        path = save(models.identity(models.F32, ["n", width]), tmp_path / f"{width}.onnx")
        predictor = Predictor(Model(path), pa.schema({"x": pa.list_(pa.float32(), width)}))
        assert predictor.batch_rows() == rows, width


def test_batch_bytes_is_an_upper_bound(mlp: Path) -> None:
    schema = pa.schema({"x": pa.list_(pa.float32())})
    row = 4 * (16 + 4)
    assert Predictor(Model(mlp), schema, batch_bytes=10 * row).batch_rows() == 9
    assert Predictor(Model(mlp), schema, batch_rows=5, batch_bytes=10 * row).batch_rows() == 5
    assert Predictor(Model(mlp), schema, batch_bytes=1).batch_rows() == 1


def test_batch_bytes_bounds_rows_of_free_length_too(tmp_path: Path) -> None:
    """size = how many rows the run had, as the model sees it."""
    path = save(
        models.model(
            [
                models.node("Shape", ["x"], ["n"], start=0, end=1),
                models.node("Expand", ["n", "n"], ["size"]),
                models.node("Identity", ["x"], ["y"]),
            ],
            [models.value("x", ["n", "t"])],
            [models.value("size", ["n"], I64), models.value("y", ["n", "t"])],
        ),
        tmp_path / "size.onnx",
    )
    for lengths in ([1000] * 300, RNG.choice([10, 500, 1000], 300).tolist()):
        column = pa.array([np.zeros(n, np.float32) for n in lengths], pa.list_(pa.float32()))
        sizes = predict(path, batch(x=column), batch_bytes=100_000).column("size").to_pylist()
        for length, size in zip(lengths, sizes, strict=True):
            assert size * 2 * 4 * length <= 100_000, f"{size} rows of {length}"
        assert max(sizes) > 1


@pytest.mark.parametrize("fixed", [1, 2, 32])
@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 100])
def test_a_fixed_batch_dimension_is_honoured(tmp_path: Path, fixed: int, n: int) -> None:
    """y = x - the mean over its batch: only padding that is dropped, and batches cut at 32, give these values."""
    path = save(
        models.model(
            [models.node("Shape", ["x"], ["s"], start=0, end=1), models.node("Expand", ["s", "s"], ["size"]),
             models.node("Add", ["x", "x"], ["y"])],
            [models.value("x", [fixed, 3])],
            [models.value("y", [fixed, 3]), models.value("size", [fixed], I64)],
        ),
        tmp_path / "fixed.onnx",
    )  # fmt: skip
    values = X[:n, :3].copy()
    rows = batch(x=rows_of(values, "list"))
    predictor = Predictor(Model(path), rows.schema, batch_rows=1000)
    result = predictor(rows)
    assert_equal(values_of(result.column("y")).reshape(n, 3), values + values)
    assert result.column("size").to_pylist() == [fixed] * n
    assert predictor.batch_rows() == fixed
    assert predictor.stats().micro_batches == -(-n // fixed)


# --- rows of different lengths --------------------------------------------------------------------


def test_ragged_rows_equal_onnxruntime_row_by_row_in_order(embedding: Path) -> None:
    lengths = RNG.integers(1, 40, 600)
    tokens = [RNG.integers(0, 1000, n) for n in lengths]
    rows = batch(tokens=pa.array([t.tolist() for t in tokens], pa.list_(pa.int64())))
    predictor = Predictor(Model(embedding), rows.schema)
    found = values_of(predictor(rows).column("y"))
    for i, t in enumerate(tokens):
        np.testing.assert_allclose(found[i], run_rows(embedding, t)[0], rtol=1e-5, atol=1e-6, err_msg=f"row {i}")
        # onnxruntime adds in another order if a row is alone, and in the same one for any number above: vonk never
        # runs one alone in a batch of several
        same = run_rows(embedding, np.stack([t, t]))[0]
        assert_equal(found[i], same, f"row {i} of {len(t)} tokens")
    assert predictor.stats().micro_batches == len(set(lengths.tolist()))


def test_good_ragged_rows_keep_their_bits_beside_bad_ones(embedding: Path) -> None:
    lengths = RNG.integers(1, 60, 300)  # some lengths once or twice only
    tokens = [RNG.integers(0, 1000, n).tolist() for n in lengths]
    broken = RNG.choice(300, 60, replace=False)
    wrong: list[Any] = list(tokens)
    for k, i in enumerate(broken):
        wrong[i] = None if k % 2 else [*tokens[i][:-1], 10_000 + k]
    kind = pa.list_(pa.int64())
    clean, beside = batch(tokens=pa.array(tokens, kind)), batch(tokens=pa.array(wrong, kind))
    expected = predict(embedding, clean).column("y")
    found = predict(embedding, beside, row_errors=2)
    assert np.flatnonzero(found.column("error").is_valid().to_numpy(False)).tolist() == sorted(broken.tolist())
    good = np.setdiff1d(np.arange(300), broken)
    assert_equal(values_of(found.column("y").take(good)), values_of(expected.take(good)))


_sessions: dict[Path, Any] = {}


def run_rows(path: Path, tokens: Any) -> Any:
    if path not in _sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        _sessions[path] = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return _sessions[path].run(None, {"tokens": tokens.reshape(-1, tokens.shape[-1])})[0]


def test_rows_of_one_length_run_together_and_may_be_borrowed(embedding: Path) -> None:
    tokens = RNG.integers(0, 1000, (900, 12))
    rows = batch(tokens=rows_of(tokens, "list"))
    predictor = Predictor(Model(embedding), rows.schema, batch_rows=300)
    assert_equal(values_of(predictor(rows).column("y")), run_rows(embedding, tokens))
    assert predictor.stats().micro_batches == 3
    assert predictor.stats().bytes_copied == 0


def test_two_ragged_inputs_are_grouped_by_both_shapes(tmp_path: Path) -> None:
    path = save(
        models.model(
            [
                models.node("ReduceSum", ["a", "axis"], ["sa"], keepdims=0),
                models.node("ReduceMax", ["b"], ["mb"], axes=[1], keepdims=0),
                models.node("Add", ["sa", "mb"], ["y"]),
            ],
            [models.value("a", ["n", "s"]), models.value("b", ["n", "t"])],
            [models.value("y", ["n"])],
            {"axis": np.array([1], np.int64)},
        ),
        tmp_path / "two.onnx",
    )
    shapes = [(int(s), int(t)) for s, t in zip(RNG.integers(1, 4, 200), RNG.integers(1, 4, 200), strict=True)]
    a = [X[i, :s] for i, (s, _) in enumerate(shapes)]
    b = [X[i, 8 : 8 + t] for i, (_, t) in enumerate(shapes)]
    rows = batch(a=pa.array(a, pa.list_(pa.float32())), b=pa.array(b, pa.list_(pa.float32())))
    predictor = Predictor(Model(path), rows.schema)
    found = values_of(predictor(rows).column("y"))
    for i, (s, t) in enumerate(shapes):
        assert abs(found[i] - (a[i].sum() + b[i].max())) < 1e-5, f"row {i} of {s} and {t}"
    assert predictor.stats().micro_batches == len(Counter(shapes))


def test_a_flat_list_gives_the_one_free_dimension(tmp_path: Path) -> None:
    path = save(models.identity(models.F32, ["n", "t", 2]), tmp_path / "m.onnx")
    column = pa.array([[1, 2, 3, 4], [], [5, 6], [7, 8, 9]], pa.list_(pa.float32()))
    result = predict(path, batch(x=column), row_errors=REPORT)
    assert result.column("y").to_pylist() == [[[1, 2], [3, 4]], [], [[5, 6]], None]
    assert result.column("error").to_pylist()[:3] == [None] * 3
    assert result.column("error").to_pylist()[3] == "column 'x': has 3 elements, input 'x' wants float32[free, 2]"


# --- NULL -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [*LAYOUTS, "scalars"])
def test_a_null_row_gets_null_and_the_others_keep_their_bits(mlp: Path, expected: Any, layout: str) -> None:
    missing = RNG.random(5000) < 0.3
    missing[:300] = True  # a whole micro-batch of them
    mask = pa.array(missing)
    if layout == "scalars":
        columns = {f"c{j}": pa.array(X[:, j], mask=missing if j == 3 else None) for j in range(16)}
    else:
        column = rows_of(X, layout)
        everything = pa.array([None], column.type)
        columns = {"x": pa.concat_arrays([column, everything]).take(pa.array(np.where(missing, 5000, np.arange(5000))))}
    rows = batch(**columns)
    predictor = Predictor(Model(mlp), rows.schema)
    result = predictor(rows).column("y")
    assert result.is_null().equals(mask)
    assert_equal(values_of(result.drop_null()), expected[~missing])
    assert predictor.stats().null_rows == missing.sum()
    assert predictor.stats().error_rows == 0


@pytest.mark.parametrize("type_", [pa.list_(pa.float32()), pa.list_(pa.float32(), 16), pa.null(), pa.list_(pa.null())])
def test_a_column_of_nulls_runs_nothing(mlp: Path, type_: pa.DataType) -> None:
    rows = batch(x=pa.nulls(700, type_))
    predictor = Predictor(Model(mlp), rows.schema, row_errors=REPORT)
    result = predictor(rows)
    assert result.column("y").null_count == 700
    assert result.column("error").to_pylist() == ["column 'x': is NULL"] * 700
    assert predictor.stats().micro_batches == 0
    assert predictor.stats().null_rows == 700


def test_nulls_error_refuses_and_tells_the_row(mlp: Path) -> None:
    column = pa.array([*X[:5].tolist(), None], pa.list_(pa.float32()))
    with pytest.raises(VonkError, match="column 'x': is NULL") as caught:
        predict(mlp, batch(x=column), nulls=NULLS_ERROR)
    assert (caught.value.code, caught.value.row) == ("VONK_INVALID", 5)


def test_nulls_error_with_report_is_an_error_row(mlp: Path, expected: Any) -> None:
    rows = batch(x=pa.array([X[0].tolist(), None, X[1].tolist()], pa.list_(pa.float32())))
    predictor = Predictor(Model(mlp), rows.schema, nulls=NULLS_ERROR, row_errors=REPORT)
    result = predictor(rows)
    assert result.column("error").to_pylist() == [None, "column 'x': is NULL", None]
    assert result.column("y").to_pylist() == [expected[0].tolist(), None, expected[1].tolist()]
    assert (predictor.stats().null_rows, predictor.stats().error_rows) == (0, 1)


def test_a_null_inside_a_list_is_a_bad_row(mlp: Path) -> None:
    broken = X[1].tolist()
    broken[7] = None
    rows = batch(x=pa.array([X[0].tolist(), broken], pa.list_(pa.float32())))
    with pytest.raises(VonkError, match="column 'x': element 7 of the list is NULL") as caught:
        predict(mlp, rows)
    assert caught.value.row == 1
    assert predict(mlp, rows, row_errors=NULL).column("y").is_null().to_pylist() == [False, True]


# --- bad rows -------------------------------------------------------------------------------------

GATHER_FAILS = "indices element out of data bounds"


def tokens_with(bad: list[int], n: int = 700) -> tuple[Any, pa.RecordBatch]:
    tokens = np.random.default_rng(4).integers(0, 1000, (n, 6))
    broken = tokens.copy()
    broken[bad, 2] = 5000
    return tokens, batch(tokens=rows_of(broken, "list"))


@pytest.mark.parametrize(
    "bad", [[0], [699], [255, 256], [3, 4, 5, 300], [*range(0, 700, 7)], [*range(256)], [*range(700)]], ids=len
)
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_the_model_rejects_are_found_and_the_others_keep_their_bits(
    embedding: Path, bad: list[int], threads: int
) -> None:
    tokens, rows = tokens_with(bad)
    clean = run_rows(embedding, tokens)
    set_threads(threads)
    try:
        predictor = Predictor(Model(embedding), rows.schema, row_errors=REPORT, batch_rows=256)
        result = predictor(rows)
    finally:
        set_threads(0)
    errors = result.column("error").to_pylist()
    assert [i for i, error in enumerate(errors) if error is not None] == bad
    assert all(GATHER_FAILS in errors[i] for i in bad), errors[bad[0]]
    good = np.setdiff1d(np.arange(700), bad)
    assert result.column("y").is_null().to_pylist() == [error is not None for error in errors]
    if len(good) > 0:
        assert_equal(values_of(result.column("y").drop_null()), clean[good])
    assert predictor.stats().error_rows == len(bad)


def test_raise_tells_the_row_and_why(embedding: Path) -> None:
    _, rows = tokens_with([421, 650])
    with pytest.raises(VonkError, match=GATHER_FAILS) as caught:
        predict(embedding, rows, batch_rows=256)
    assert (caught.value.code, caught.value.row) == ("VONK_BACKEND", 421)


def test_null_counts_and_says_nothing(embedding: Path) -> None:
    _, rows = tokens_with([421, 650])
    predictor = Predictor(Model(embedding), rows.schema, row_errors=NULL)
    result = predictor(rows)
    assert result.schema.names == ["y"]
    assert np.flatnonzero(result.column("y").is_null()).tolist() == [421, 650]
    assert predictor.stats().error_rows == 2


@pytest.mark.parametrize(("bad", "runs"), [(0, 1 + 2 * 8), (100, 1 + 2 * 8), (255, 1 + 8 + 1)])
def test_halves_that_must_hold_the_bad_row_are_not_tried_whole(embedding: Path, bad: int, runs: int) -> None:
    _, rows = tokens_with([bad], n=256)
    predictor = Predictor(Model(embedding), rows.schema, row_errors=NULL, batch_rows=256)
    predictor(rows)
    assert predictor.stats().micro_batches <= runs, "halving 256 rows to one"


def test_a_micro_batch_of_mostly_nulls_runs_the_others_alone(mlp: Path, expected: Any) -> None:
    good = [3, 50, 51, 98]
    column = pa.array([X[i].tolist() if i in good else None for i in range(100)], pa.list_(pa.float32()))
    predictor = Predictor(Model(mlp), pa.schema({"x": column.type}), batch_rows=100)
    assert_equal(values_of(predictor(batch(x=column)).column("y").drop_null()), expected[good])
    assert predictor.stats().bytes_in == len(good) * 16 * 4


def test_a_thousand_broken_rows_of_a_hundred_thousand(embedding: Path) -> None:
    rng = np.random.default_rng(6)
    n = 100_000
    tokens = rng.integers(0, 1000, (n, 8))
    broken = rng.permutation(n)[:1000]
    null, wrong, rejected = broken[:334], broken[334:667], broken[667:]
    values = tokens.reshape(-1).copy()
    values[rejected * 8 + 3] = 1000
    lengths = np.full(n, 8)
    lengths[null] = 0
    keep = np.ones((n, 8), np.bool_)
    keep[null] = False
    keep[wrong, 5:] = False
    lengths[wrong] = 5
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    valid = np.ones(n, np.bool_)
    valid[null] = False
    column = pa.ListArray.from_arrays(offsets, pa.array(values[keep.reshape(-1)]), mask=pa.array(~valid))
    path = fixed_tokens(embedding)
    clean = Predictor(Model(path), pa.schema({"tokens": pa.list_(pa.int64())}))(batch(tokens=rows_of(tokens, "list")))
    predictor = Predictor(Model(path), pa.schema({"tokens": pa.list_(pa.int64())}), row_errors=REPORT)
    result = predictor(batch(tokens=column))
    errors = np.asarray(result.column("error").is_valid())
    assert np.array_equal(np.flatnonzero(errors), np.sort(broken))
    good = ~errors
    assert_equal(values_of(result.column("y").filter(pa.array(good))), values_of(clean.column("y"))[good])
    assert_equal(values_of(clean.column("y")), run_rows(embedding, tokens), "the clean run against onnxruntime")
    messages = result.column("error").to_numpy(zero_copy_only=False)
    assert set(messages[null]) == {"column 'tokens': is NULL"}
    assert set(messages[wrong]) == {"column 'tokens': has 5 elements, input 'tokens' wants int64[8]"}
    assert all(GATHER_FAILS in message for message in messages[rejected])
    assert (predictor.stats().null_rows, predictor.stats().error_rows) == (334, 666)


def fixed_tokens(embedding: Path) -> Path:
    """The embedding with 8 tokens a row, so that another number of them is wrong."""
    model = onnx.load(embedding)
    model.graph.input[0].CopyFrom(models.value("tokens", ["n", 8], I64))
    return save(model, embedding.with_name("fixed.onnx"))


def test_bad_rows_in_a_fixed_batch(tmp_path: Path) -> None:
    path = save(
        models.model(
            [models.node("Gather", ["table", "index"], ["y"])],
            [models.value("index", [32], I64)],
            [models.value("y", [32])],
            {"table": np.arange(10, dtype=np.float32)},
        ),
        tmp_path / "fixed.onnx",
    )
    indices = RNG.integers(0, 10, 100)
    broken = indices.copy()
    broken[[0, 31, 32, 99]] = 77
    result = predict(path, batch(index=pa.array(broken)), row_errors=NULL).column("y")
    assert np.flatnonzero(result.is_null()).tolist() == [0, 31, 32, 99]
    good = broken < 10
    assert_equal(values_of(result.drop_null()), indices[good].astype(np.float32))


# --- copies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("start", [0, 1, 613])
def test_dense_float_lists_are_not_copied(mlp: Path, expected: Any, layout: str, start: int) -> None:
    rows = batch(x=rows_of(X, layout).slice(start))
    predictor = Predictor(Model(mlp), rows.schema)
    assert_equal(values_of(predictor(rows).column("y")), expected[start:])
    stats = predictor.stats()
    assert stats.bytes_copied == 0
    assert stats.bytes_in == X[start:].nbytes


@pytest.mark.parametrize("dtype", ["f16", "f64", "i8", "bool"])
def test_converted_values_are_counted_as_copied(mlp: Path, dtype: str) -> None:
    values = (
        np.nan_to_num(sample(dtype, (500, 16)), posinf=1, neginf=1) if dtype[0] == "f" else sample(dtype, (500, 16))
    )
    rows = batch(x=rows_of(values, "list"))
    predictor = Predictor(Model(mlp), rows.schema)
    predictor(rows)
    assert predictor.stats().bytes_copied == 500 * 16 * 4


def test_a_null_row_costs_the_copy_of_its_micro_batch_alone(mlp: Path) -> None:
    column = pa.array([*X[:99].tolist(), None, *X[99:299].tolist()], pa.list_(pa.float32()))
    predictor = Predictor(Model(mlp), pa.schema({"x": column.type}), batch_rows=100)
    predictor(batch(x=column))
    assert predictor.stats().bytes_copied == 100 * 16 * 4


def test_text_is_borrowed_and_its_results_are_counted(tmp_path: Path) -> None:
    path = save(models.identity(models.ELEMENT_TYPES["string"], ["n"]), tmp_path / "m.onnx")
    words = sample("string", (800,))
    predictor = Predictor(Model(path), pa.schema({"x": pa.string()}))
    predictor(batch(x=pa.array(words)))
    nbytes = sum(len(word.encode()) for word in words)
    assert predictor.stats().bytes_in == nbytes
    assert predictor.stats().bytes_copied == nbytes, "results are put together once"


def test_stats_only_grow(mlp: Path) -> None:
    predictor = Predictor(Model(mlp), pa.schema({"x": pa.list_(pa.float32())}), row_errors=NULL)
    before = predictor.stats()
    names = [name for name, _ in type(before)._fields_]
    for n in (0, 10, 1000, 3):
        predictor(batch(x=pa.array([*X[:n].tolist(), None, [1.0]], pa.list_(pa.float32()))))
        now = predictor.stats()
        assert all(getattr(now, name) >= getattr(before, name) for name in names)
        before = now
    assert (before.rows, before.null_rows, before.error_rows) == (1013 + 8, 4, 4)
    assert before.convert_ns > 0 and before.infer_ns > 0 and before.emit_ns > 0


# --- streams --------------------------------------------------------------------------------------


def reader(batches: Iterator[pa.RecordBatch] | list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(schema, batches)


SCHEMA = pa.schema({"x": pa.list_(pa.float32())})


def test_a_stream_is_its_batches(mlp: Path, expected: Any) -> None:
    sizes = [0, 1, 999, 3000, 1000]
    starts = np.cumsum([0, *sizes])
    parts = [batch(x=rows_of(X[a : a + n], "list")) for a, n in zip(starts, sizes, strict=False)]
    predictor = Predictor(Model(mlp), SCHEMA)
    results = list(predictor.stream(reader(parts, SCHEMA)))
    assert [result.num_rows for result in results] == sizes
    found = np.concatenate([values_of(result.column("y")).reshape(-1, 4) for result in results])
    assert_equal(found, expected)


def test_a_stream_is_lazy_and_outlives_its_predictor(mlp: Path) -> None:
    taken = []

    def batches() -> Iterator[pa.RecordBatch]:
        for i in range(3):
            taken.append(i)
            yield batch(x=rows_of(X[:5], "list"))

    stream = Predictor(Model(mlp), SCHEMA).stream(reader(batches(), SCHEMA))
    assert taken == []
    assert stream.schema == pa.schema({"y": pa.list_(pa.field("item", pa.float32()), 4)})
    stream.read_next_batch()
    assert taken == [0]
    assert len(list(stream)) == 2
    assert taken == [0, 1, 2]


def test_an_error_of_the_source_ends_the_stream_with_its_message(mlp: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield batch(x=rows_of(X[:5], "list"))
        raise ValueError("the disk is full")

    stream = Predictor(Model(mlp), SCHEMA).stream(reader(batches(), SCHEMA))
    assert stream.read_next_batch().num_rows == 5
    with pytest.raises(Exception, match=r"input stream: .*the disk is full"):
        stream.read_next_batch()


def test_an_error_of_a_row_ends_one_batch_of_the_stream(mlp: Path) -> None:
    good, bad = batch(x=rows_of(X[:5], "list")), batch(x=rows_of(X[:5, :3], "list"))
    stream = Predictor(Model(mlp), SCHEMA).stream(reader([good, bad, good], SCHEMA))
    assert stream.read_next_batch().num_rows == 5
    with pytest.raises(pa.ArrowInvalid, match="column 'x': has 3 elements, input 'x' wants"):
        stream.read_next_batch()
    assert stream.read_next_batch().num_rows == 5


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (pa.schema({}), "input stream: has 0 columns where the predictor was bound to 1"),
        (pa.schema({"x": pa.float32()}), "input stream: column 0 is 'x' of float32"),
        (pa.schema({"z": pa.list_(pa.float32())}), "input stream: column 0 is 'z' of list<float32>"),
        (pa.schema({"x": pa.large_list(pa.float32())}), "input stream: column 0 is 'x' of "),
    ],
)
def test_a_stream_of_another_schema_is_refused_and_left_alone(mlp: Path, schema: pa.Schema, message: str) -> None:
    with pytest.raises(VonkError) as caught:
        Predictor(Model(mlp), SCHEMA).stream(reader([], schema))
    assert caught.value.message.startswith(message)
