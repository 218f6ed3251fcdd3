"""Model.predict: rows of every library in, the same kind out, the bits of onnxruntime."""

import sys

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import vonk
from package import IRIS, MNIST, ROOT, pixels, probabilities, python
from reference import assert_equal, rows_of, run, values_of


@pytest.fixture(scope="module")
def mnist():
    return vonk.open(MNIST, batch=64)


@pytest.fixture(scope="module")
def iris():
    return vonk.open(IRIS, batch=64)


N = 64  # one batch, as the reference has: another number of rows may round differently
VALUES = pixels(N)
EXPECTED = probabilities(VALUES)
FLOWERS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]], dtype=np.float32)
PROBABILITIES, SPECIES = run(IRIS, measurements=FLOWERS)


def column(layout="list"):
    return rows_of(VALUES, layout)


# --- one kind after the other ---


@pytest.mark.parametrize("layout", ["list", "large_list", "fixed", "list_view", "large_list_view"])
def test_a_pyarrow_table_gives_a_table_with_the_bits_of_onnxruntime(mnist, layout):
    result = mnist.predict(pa.table({"pixels": column(layout)}))
    assert isinstance(result, pa.Table)
    result.validate(full=True)
    assert result.schema == pa.schema([pa.field("probabilities", pa.list_(pa.float32(), 10))]), result.schema
    assert_equal(values_of(result["probabilities"].combine_chunks()), EXPECTED, layout)


def test_a_pyarrow_record_batch_gives_a_record_batch(mnist):
    result = mnist.predict(pa.record_batch({"pixels": column()}))
    assert isinstance(result, pa.RecordBatch)
    assert_equal(values_of(result["probabilities"]), EXPECTED)


def test_a_pyarrow_reader_gives_a_table_with_its_batches(mnist):
    table = pa.table({"pixels": pa.chunked_array([column(), column()])})
    result = mnist.predict(table.to_reader())
    assert [len(chunk) for chunk in result["probabilities"].chunks] == [N, N]
    for chunk in result["probabilities"].chunks:
        assert_equal(values_of(chunk), EXPECTED)


def test_a_pyarrow_array_is_the_one_column(mnist):
    assert_equal(values_of(mnist.predict(column())["probabilities"]), EXPECTED)


def test_a_pyarrow_struct_array_is_its_fields(mnist):
    array = pa.StructArray.from_arrays([column(), pa.array(range(N))], ["pixels", "id"])
    result = mnist.predict(array[10:20], inputs={"pixels": "pixels"})
    np.testing.assert_allclose(values_of(result["probabilities"]), EXPECTED[10:20], rtol=1e-5)


def test_a_pyarrow_table_without_rows_gives_one_without_rows(mnist):
    result = mnist.predict(pa.table({"pixels": column()}).slice(0, 0))
    assert result.num_rows == 0
    assert result.schema.names == ["probabilities"]


def test_a_polars_frame_gives_a_polars_frame(mnist, iris):
    result = mnist.predict(pl.from_arrow(pa.table({"pixels": column()})))
    assert isinstance(result, pl.DataFrame)
    assert result.schema == {"probabilities": pl.Array(pl.Float32, 10)}
    assert_equal(result["probabilities"].to_numpy(), EXPECTED)
    flowers = pl.DataFrame({name: FLOWERS[:, i] for i, name in enumerate("abcd")})
    assert iris.predict(flowers)["species"].to_list() == SPECIES.tolist()


def test_a_polars_series_is_the_one_column(mnist):
    series = pl.Series("anything", VALUES)
    assert_equal(mnist.predict(series)["probabilities"].to_numpy(), EXPECTED)


def test_a_polars_query_is_refused_with_what_to_do(iris):
    with pytest.raises(TypeError, match=r"LazyFrame is a query, not rows: call \.collect\(\)"):
        iris.predict(pl.LazyFrame({"a": [1.0]}))


def test_a_pandas_frame_gives_a_frame_with_its_index(mnist, iris):
    index = pd.Index([f"row {i}" for i in range(N)], name="key")
    result = mnist.predict(pd.DataFrame({"pixels": list(VALUES)}, index=index))
    assert isinstance(result, pd.DataFrame)
    pd.testing.assert_index_equal(result.index, index)
    assert_equal(np.stack(result["probabilities"].to_numpy()), EXPECTED)
    flowers = pd.DataFrame(FLOWERS, columns=list("abcd"), index=[7, 3, 9])
    result = iris.predict(flowers)
    assert result["species"].to_dict() == dict(zip([7, 3, 9], SPECIES.tolist(), strict=True))


def test_a_pandas_integer_prediction_stays_one_beside_a_null(iris):
    flowers = pd.DataFrame(FLOWERS.astype(object), columns=list("abcd"))
    flowers = flowers.astype("float32")
    flowers.loc[1, "c"] = None
    result = iris.predict(flowers, outputs=["probabilities"], as_="argmax")
    assert result["probabilities"].dtype == pd.Int64Dtype()
    assert result["probabilities"].isna().tolist() == [False, True, False]
    assert result["probabilities"][0] == PROBABILITIES[0].argmax()


def test_a_pandas_series_is_the_one_column(mnist):
    series = pd.Series(list(VALUES), index=range(100, 100 + N))
    result = mnist.predict(series)
    assert result.index.tolist() == series.index.tolist()
    assert_equal(np.stack(result["probabilities"].to_numpy()), EXPECTED)


def test_a_duckdb_relation_gives_a_table_that_duckdb_can_query(mnist):
    con = duckdb.connect()
    arrow = pa.table({"pixels": column("fixed"), "id": range(N)})  # noqa: F841 - DuckDB reads it by its name
    relation = con.sql("SELECT pixels FROM arrow ORDER BY id")
    predictions = mnist.predict(relation)
    assert isinstance(predictions, vonk.Table)
    assert repr(predictions) == "vonk.Table(64 rows: probabilities)"
    assert_equal(predictions.to_numpy()["probabilities"], EXPECTED)
    found = con.sql("SELECT count(*), max(list_sum(probabilities)) FROM predictions").fetchall()
    assert found[0][0] == N
    assert found[0][1] == pytest.approx(1.0, abs=1e-5)


def test_any_object_with_an_arrow_stream_or_array_is_rows(mnist):
    table, batch = pa.table({"pixels": column()}), pa.record_batch({"pixels": column()})

    class Stream:
        def __arrow_c_stream__(self, requested_schema=None):
            return table.__arrow_c_stream__(requested_schema)

    class Array:
        def __arrow_c_array__(self, requested_schema=None):
            return batch.__arrow_c_array__(requested_schema)

    for rows in (Stream(), Array()):
        result = mnist.predict(rows)
        assert isinstance(result, vonk.Table)
        for taken in (pa.table(result), pa.table(result), pa.table(pl.DataFrame(result))):  # as often as one likes
            assert_equal(np.array(taken["probabilities"].to_pylist(), dtype=np.float32), EXPECTED)
        assert pa.record_batch(result).num_rows == len(result) == N
        assert pa.schema(result) == pa.table(result).schema


def test_a_result_of_several_batches_is_no_single_array(mnist):
    class Rows:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table({"pixels": pa.chunked_array([column(), column()])}).__arrow_c_stream__()

    result = mnist.predict(Rows())
    assert pa.table(result).num_rows == 2 * N
    assert_equal(result.to_numpy()["probabilities"], np.concatenate([EXPECTED, EXPECTED]))
    with pytest.raises(vonk.InvalidError, match="has 2 batches, not one: take it as a stream"):
        pa.record_batch(result)


@pytest.mark.parametrize("data", [[1, 2], "rows", None, 7, object()])
def test_what_has_no_rows_is_refused_with_what_to_pass(iris, data):
    with pytest.raises(TypeError, match=r"cannot read rows from a .*: pass a table of pyarrow, polars, pandas"):
        iris.predict(data)


def test_none_of_the_libraries_is_needed():
    said = python(
        """
        import sys
        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("pyarrow", "polars", "pandas", "numpy", "duckdb"):
                    raise ImportError(name)
        sys.meta_path.insert(0, Refuse())
        import vonk
        model = vonk.open("examples/iris/iris.onnx")
        print(model, model.summary(), model.sha256, vonk.plugins())
        """
    )
    assert "<vonk.Model 'iris.onnx': measurements float32[N, 4] -> probabilities float32[N, 3]" in said


def test_a_library_is_imported_only_by_its_own_rows():
    said = python(
        """
        import sys, vonk, numpy
        model = vonk.open("examples/iris/iris.onnx")
        model.predict(numpy.zeros((2, 4), dtype="f4"))
        print([name for name in ("pyarrow", "polars", "pandas", "duckdb") if name in sys.modules])
        """
    )
    assert said.strip() == "[]"


# --- options ---


def test_inputs_name_a_column_or_pack_several(mnist, iris):
    table = pa.table({"id": range(N), "image": column()})
    assert_equal(values_of(mnist.predict(table, inputs={"pixels": "image"})["probabilities"].chunk(0)), EXPECTED)
    shuffled = pa.table(
        {"d": FLOWERS[:, 3], "c": FLOWERS[:, 2], "x": ["?"] * 3, "b": FLOWERS[:, 1], "a": FLOWERS[:, 0]}
    )
    result = iris.predict(shuffled, inputs={"measurements": ["a", "b", "c", "d"]})
    np.testing.assert_allclose(values_of(result["probabilities"].chunk(0)), PROBABILITIES, rtol=1e-6)


def test_outputs_are_chosen_and_renamed(iris):
    table = pa.table({"m": rows_of(FLOWERS, "list")})
    assert iris.predict(table).column_names == ["probabilities", "species"]
    assert iris.predict(table, outputs=["species"]).column_names == ["species"]
    assert iris.predict(table, outputs={"species": "what"})["what"].to_pylist() == SPECIES.tolist()
    with pytest.raises(vonk.InvalidError, match="outputs: 'species' is a string: pass a list of names"):
        iris.predict(table, outputs="species")


def test_argmax_is_the_index_of_the_largest(mnist):
    result = mnist.predict(pa.table({"pixels": column()}), as_="argmax")
    assert result.schema.field(0).type == pa.int64()
    assert result["probabilities"].to_pylist() == EXPECTED.argmax(axis=1).tolist()


def test_squeeze_drops_dimensions_of_one(tmp_path):
    from reference import models, save  # noqa: PLC0415

    model = vonk.open(save(models.mlp((3, 1)), tmp_path / "one.onnx"))
    x = np.ones((5, 3), dtype=np.float32)
    assert model.predict(x).shape == (5, 1)
    assert model.predict(x, squeeze=True).shape == (5,)


def test_a_null_gives_a_null_or_an_error(iris):
    array = pa.array([FLOWERS[0], None, FLOWERS[2]], type=pa.list_(pa.float32()))
    result = iris.predict(pa.table({"m": array}))
    assert result["species"].to_pylist() == [SPECIES[0], None, SPECIES[2]]
    with pytest.raises(vonk.InvalidError) as caught:
        iris.predict(pa.table({"m": array}), nulls="error")
    assert caught.value.row == 1
    assert caught.value.code == "VONK_INVALID"


def test_a_bad_row_raises_or_is_reported(iris):
    array = pa.array([FLOWERS[0], FLOWERS[1][:3], FLOWERS[2]], type=pa.list_(pa.float32()))
    table = pa.table({"m": pa.chunked_array([array, array])})
    with pytest.raises(vonk.InvalidError) as caught:
        iris.predict(table)
    assert caught.value.row == 1
    assert iris.predict(table, on_error="null")["species"].null_count == 2
    result = iris.predict(table, on_error="report", outputs=["species"])
    assert result.column_names == ["species", "error"]
    assert [error is None for error in result["error"].to_pylist()] == [True, False, True] * 2
    assert "4" in result["error"][1].as_py()


def test_the_row_at_fault_counts_in_the_whole_data(iris):
    good = pa.array([FLOWERS[0]] * 3, type=pa.list_(pa.float32()))
    bad = pa.array([FLOWERS[0], FLOWERS[1][:3]], type=pa.list_(pa.float32()))
    with pytest.raises(vonk.InvalidError) as caught:
        iris.predict(pa.table({"m": pa.chunked_array([good, good, bad])}))
    assert caught.value.row == 7


def test_batch_is_the_rows_of_a_run(tmp_path):
    from package import mock  # noqa: PLC0415

    model = mock(tmp_path, "echo", "input x f32 N 2\noutput y = rows x\n")
    x = np.zeros((10, 2), dtype=np.float32)
    assert model.predict(x, batch=4).tolist() == [4, 4, 4, 4, 4, 4, 4, 4, 2, 2]
    assert vonk.open(model.path, plugin=model._reopen[1]["plugin"], batch=5).predict(x).tolist() == [5] * 10


def test_words_that_are_no_choice_are_refused(iris):
    with pytest.raises(vonk.InvalidError, match="nulls: 'skip' is no choice: use one of 'null', 'error'"):
        iris.predict(FLOWERS, nulls="skip")
    with pytest.raises(vonk.InvalidError, match="on_error: 7 is no choice"):
        iris.predict(FLOWERS, on_error=7)


def test_a_column_that_does_not_fit_is_named_with_both_types(mnist):
    with pytest.raises(vonk.InvalidError) as caught:
        mnist.predict(pa.table({"pixels": rows_of(VALUES[:, :783], "fixed")}))
    for word in ("'pixels'", "783", "784"):
        assert word in str(caught.value), caught.value
    with pytest.raises(ValueError, match="string"):
        mnist.predict(pa.table({"pixels": ["a"] * 3}))


# --- streams ---


def test_a_stream_is_predicted_batch_by_batch(mnist):
    read = []

    def batches():
        for i in range(5):
            read.append(i)
            yield pa.record_batch({"pixels": column()})

    reader = pa.RecordBatchReader.from_batches(pa.record_batch({"pixels": column()}).schema, batches())
    stream = mnist.predict_stream(reader)
    assert read == []
    first = next(stream)
    assert isinstance(first, pa.RecordBatch)
    assert read == [0], "a batch is read when it is asked for, not earlier"
    assert_equal(values_of(first["probabilities"]), EXPECTED)
    assert sum(batch.num_rows for batch in stream) == 4 * N
    assert stream.stats.rows == 5 * N
    assert list(stream) == []


def test_a_stream_is_an_arrow_stream_for_any_consumer(mnist):
    table = pa.table({"pixels": pa.chunked_array([column()] * 3)})
    assert pa.table(mnist.predict_stream(table.to_reader())).num_rows == 3 * N
    assert pl.DataFrame(mnist.predict_stream(table.to_reader())).height == 3 * N
    stream = mnist.predict_stream(table.to_reader(), as_="argmax")  # noqa: F841 - DuckDB reads it by its name
    con = duckdb.connect()
    found = con.sql("SELECT probabilities, count(*) FROM stream GROUP BY 1 ORDER BY 1").fetchall()
    digits, counts = np.unique(EXPECTED.argmax(axis=1), return_counts=True)
    assert found == [(d, 3 * c) for d, c in zip(digits.tolist(), counts.tolist(), strict=True)]


def test_a_stream_from_a_duckdb_query_is_read_lazily(mnist):
    con = duckdb.connect()
    query = f"SELECT pixels FROM '{ROOT}/build/mnist/test.parquet'"
    stream = mnist.predict_stream(con.sql(query))
    rows = next(stream).num_rows
    assert 0 < rows < 10000
    assert rows + sum(batch.num_rows for batch in stream) == 10000


def test_a_failing_source_ends_the_stream_with_its_words(mnist):
    def batches():
        yield pa.record_batch({"pixels": column()})
        raise RuntimeError("the disk is gone")

    schema = pa.record_batch({"pixels": column()}).schema
    stream = mnist.predict_stream(pa.RecordBatchReader.from_batches(schema, batches()))
    next(stream)
    for _ in range(2):
        with pytest.raises(vonk.FileError, match=r"input stream: .*the disk is gone"):
            next(stream)
    with pytest.raises(OSError, match="the disk is gone"):
        mnist.predict(pa.RecordBatchReader.from_batches(schema, batches()))


def test_progress_is_told_and_can_end_the_stream(mnist):
    table = pa.table({"pixels": pa.chunked_array([column()] * 4)})
    told = []
    for _ in mnist.predict_stream(table.to_reader(), progress=lambda rows, done: told.append((rows, done))):
        pass
    assert told[-1] == (4 * N, True)

    def refuse(rows, done):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        list(mnist.predict_stream(table.to_reader(), progress=refuse))
    with pytest.raises((OSError, pa.ArrowException), match="enough"):
        pa.table(mnist.predict_stream(table.to_reader(), progress=refuse))


def test_progress_is_one_line_where_nobody_watches(mnist, capsys):
    pa.table(mnist.predict_stream(pa.table({"pixels": pa.chunked_array([column()] * 4)}), progress=True))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("256 rows, "), said.err


def test_string_views_of_polars_are_read(tmp_path):
    from package import mock  # noqa: PLC0415

    model = mock(tmp_path, "echo", "input t string N\noutput y = copy t\n")
    words = ["", "a", None, "twelve bytes", "thirteen byte", "é" * 500, None, "x" * 100_000]
    frame = pl.DataFrame({"t": words * 50, "other": [["nested"]] * 400})
    assert model.predict(frame, inputs={"t": "t"})["y"].to_list() == words * 50
    assert model.predict(frame["t"][3:77])["y"].to_list() == (words * 50)[3:77]
    views = pa.array(words, type=pa.string_view())
    assert model.predict(views[2:6])["y"].to_pylist() == words[2:6]
    if sys.version_info >= (3, 11):
        both = pa.chunked_array([views, views.slice(5)])
        assert model.predict(both)["y"].to_pylist() == words + words[5:]
