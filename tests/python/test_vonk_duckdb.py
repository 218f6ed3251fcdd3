"""vonk.duckdb: connections with models in them, and models on connections of the user's own."""

import doctest
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vonk
import vonk.duckdb
from onnx import TensorProto
from program import ROOT, dense, model, reference, value

MNIST = ROOT / "examples" / "mnist" / "mnist.onnx"
IRIS = ROOT / "examples" / "iris" / "iris.onnx"
WAYS = (vonk.duckdb.Way.EXTENSION, vonk.duckdb.Way.ARROW)


@pytest.fixture
def rows():
    return np.random.default_rng(3).random((5000, 4), dtype=np.float32)


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.onnx"
    onnx.save(dense(n_in=4, n_out=3), path)
    return path


@pytest.fixture(params=WAYS, ids=lambda way: way.value)
def own(request):
    """A connection of the user's own, and the way that its models are registered."""
    unsigned = request.param is vonk.duckdb.Way.EXTENSION
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"} if unsigned else {})
    yield con, request.param
    con.close()


def lists(rows, kind=None):
    return pa.table({"i": np.arange(len(rows)), "v": pa.array(list(rows), kind or pa.list_(pa.float32()))})


def test_connect_gives_duckdbs_connection_with_the_models_in_it(small, rows):
    expected = reference(small, x=rows)[0]
    options = {"path": small, "as": "argmax"}
    with vonk.duckdb.connect(models={"score": small, "best": options, "again": str(small)}, threads=2) as con:
        assert isinstance(con, duckdb.DuckDBPyConnection)
        con.register("t", lists(rows))
        found = con.sql("SELECT score(v), best(v), again(v) FROM t ORDER BY i").fetchall()
        np.testing.assert_allclose([row[0] for row in found], expected, rtol=1e-5)
        assert [row[1] for row in found] == expected.argmax(axis=1).tolist()
        assert [row[0] for row in found] == [row[2] for row in found]
        assert con.sql("SELECT current_setting('threads')").fetchone() == (2,)


def test_a_model_object_stands_for_its_file(small, rows):
    with vonk.duckdb.connect(models={"score": vonk.open(small)}) as con:
        con.register("t", lists(rows[:10]))
        np.testing.assert_allclose(
            [row[0] for row in con.sql("SELECT score(v) FROM t ORDER BY i").fetchall()],
            reference(small, x=rows[:10])[0],
            rtol=1e-5,
        )


def test_a_file_can_be_opened_again_after_close_and_read_only(small, tmp_path):
    file = tmp_path / "data.duckdb"
    with vonk.duckdb.connect(file, {"score": small}) as con:
        con.execute("CREATE TABLE t AS SELECT [1.0, 2.0, 3.0, 4.0]::FLOAT[] AS v")
    with vonk.duckdb.connect(file, {"score": small}, read_only=True) as con:
        assert len(con.sql("SELECT score(v) FROM t").fetchone()[0]) == 3
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            con.execute("CREATE TABLE u (i INT)")
    with duckdb.connect(file) as con:  # nobody holds the file
        assert con.sql("SELECT count(*) FROM t").fetchone() == (1,)


def test_a_model_that_cannot_be_loaded_closes_the_database(tmp_path):
    file = tmp_path / "data.duckdb"
    with pytest.raises(duckdb.Error, match=r"nowhere\.onnx"):
        vonk.duckdb.connect(file, {"score": tmp_path / "nowhere.onnx"})
    code = f"import duckdb; duckdb.connect({str(file)!r}).close()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("models", "error", "part"),
    [
        ({"my model": MNIST}, ValueError, "is not an SQL name"),
        ({"m": {"as": "argmax"}}, ValueError, "has no 'path'"),
        ({"m": 3}, TypeError, "is a int"),
        ({"m": {"path": MNIST, "batch": 1.5j}}, TypeError, "option value"),
        ({"m": {"path": MNIST, "shape": "x"}}, duckdb.Error, "shape"),
        ({"sum": MNIST}, duckdb.Error, "sum"),
    ],
)
def test_wrong_models_say_what_is_wrong(models, error, part):
    with pytest.raises(error, match=part):
        vonk.duckdb.connect(models=models)


def test_unsigned_extensions_cannot_be_switched_off_in_connect():
    with pytest.raises(ValueError, match="leave it out"):
        vonk.duckdb.connect(allow_unsigned_extensions=False)


def test_load_says_what_to_do_where_it_is_not_allowed():
    with duckdb.connect() as con, pytest.raises(PermissionError, match=r"vonk\.duckdb\.register"):
        vonk.duckdb.load(con)


def test_load_twice_is_fine():
    with vonk.duckdb.connect() as con:
        vonk.duckdb.load(con)
        assert con.sql("FROM vonk_models()").fetchall() == []


def test_a_missing_extension_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("VONK_EXTENSION", str(tmp_path / "vonk.duckdb_extension"))
    with pytest.raises(FileNotFoundError, match="VONK_EXTENSION names it"):
        vonk.duckdb.connect()


def test_without_duckdb_the_import_says_what_to_install():
    code = "import sys; sys.modules['duckdb'] = None; import vonk; import vonk.duckdb"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (
        "ImportError: vonk.duckdb: DuckDB's Python package is not installed: pip install 'duckdb>=1.4'"
    )


def test_the_module_leaves_duckdb_itself_alone():
    assert vonk.duckdb is not duckdb
    assert sys.modules["duckdb"] is duckdb
    assert vonk.duckdb.duckdb is duckdb


def test_the_examples_in_docstrings_are_true(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = doctest.testmod(vonk.duckdb)
    assert result.failed == 0, "its output is above"
    assert result.attempted >= 12


# --- register, both ways ---


def test_register_says_which_way_it_took(own, small):
    con, way = own
    made = vonk.duckdb.register(con, "score", small)
    assert (made.name, made.way) == ("score", way)
    assert made.functions[0].startswith("score(") and made.functions[0].endswith("-> FLOAT[3]"), made.functions


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.float32(), 4)], ids=str)
def test_predictions_are_those_of_onnxruntime(own, small, rows, kind):
    con, _ = own
    vonk.duckdb.register(con, "score", small)
    con.register("t", lists(rows, kind))
    found = con.sql("SELECT score(v) FROM t ORDER BY i").to_arrow_table().column(0)
    assert found.type == pa.list_(pa.float32(), 3)
    np.testing.assert_allclose(
        found.combine_chunks().flatten().to_numpy().reshape(-1, 3), reference(small, x=rows)[0], rtol=1e-5
    )


def test_numbers_integers_and_decimals_feed_a_row(own, small):
    con, _ = own
    vonk.duckdb.register(con, "score", small)
    expected = reference(small, x=np.array([[1, 2.5, 3, 4]], dtype=np.float32))[0][0]
    for call in ("score(1, 2.5, 3.0::FLOAT, 4::BIGINT)", "score([1, 2.5, 3, 4])", "score([1, 2.5, 3, 4]::DOUBLE[4])"):
        np.testing.assert_allclose(con.sql(f"SELECT {call}").fetchone()[0], expected, rtol=1e-5, err_msg=call)


def test_null_rows_have_null_predictions(own, small, rows):
    con, _ = own
    vonk.duckdb.register(con, "score", small)
    values = [None if i % 7 == 0 else row for i, row in enumerate(rows)]
    con.register("t", lists(values))
    found = con.sql("SELECT score(v) FROM t ORDER BY i").fetchall()
    assert [i for i, row in enumerate(found) if row[0] is None] == list(range(0, 5000, 7))


def test_options_are_those_of_vonk_load(own, small, rows):
    con, _ = own
    vonk.duckdb.register(con, "best", small, as_="argmax", batch=100)
    vonk.duckdb.register(con, "careful", {"path": small, "on_error": "null"})
    con.register("t", lists([*rows[:3], rows[0][:2]]))
    expected = reference(small, x=rows[:3])[0]
    found = con.sql("SELECT best(v) FROM t WHERE i < 3 ORDER BY i").fetchall()
    assert [row[0] for row in found] == expected.argmax(axis=1).tolist()
    assert [row[0] is None for row in con.sql("SELECT careful(v) FROM t ORDER BY i").fetchall()] == [False] * 3 + [True]


def test_a_bad_row_fails_the_query_with_its_reason(own, small, rows):
    con, _ = own
    vonk.duckdb.register(con, "score", small)
    con.register("t", lists([*rows[:3], rows[0][:2]]))
    with pytest.raises(
        duckdb.InvalidInputException, match=r"model 'score': .* has 2 elements, input 'x' wants float32.4."
    ):
        con.sql("SELECT score(v) FROM t").fetchall()


def test_several_inputs_and_outputs(own, tmp_path):
    con, _ = own
    path = tmp_path / "two.onnx"
    nodes = [onnx.helper.make_node(op, ["a", "b"], [name]) for op, name in (("Add", "total"), ("Sub", "difference"))]
    inputs, outputs = (
        [value(name, TensorProto.FLOAT, "N", 2) for name in names] for names in (("a", "b"), ("total", "difference"))
    )
    onnx.save(model(nodes, inputs, outputs), path)
    vonk.duckdb.register(con, "pair", path)
    found = con.sql("SELECT pair([1, 2]::FLOAT[], [10, 20]::FLOAT[]) AS r").fetchone()[0]
    assert {name: list(numbers) for name, numbers in found.items()} == {"total": [11, 22], "difference": [-9, -18]}
    vonk.duckdb.register(con, "difference_of", path, output="difference")
    assert list(con.sql("SELECT difference_of([1, 2]::FLOAT[], [10, 20]::FLOAT[])").fetchone()[0]) == [-9, -18]


def test_text_outputs(own):
    con, _ = own
    vonk.duckdb.register(con, "species", IRIS, output="species")
    assert con.sql("SELECT species([5.1, 3.5, 1.4, 0.2]::FLOAT[])").fetchone() == ("setosa",)


def test_many_chunks_on_several_threads(own, tmp_path):
    con, _ = own
    images = np.random.default_rng(0).random((20_000, 784), dtype=np.float32)
    flat = pa.array(images.ravel())
    offsets = pa.array(np.arange(0, images.size + 1, 784, dtype=np.int32))
    table = pa.table({"i": np.arange(len(images)), "v": pa.ListArray.from_arrays(offsets, flat)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2500)
    vonk.duckdb.register(con, "digit", MNIST, as_="argmax")
    con.execute("SET threads = 2")
    found = (
        con.sql(f"SELECT digit(v) AS d FROM '{tmp_path}/t.parquet' ORDER BY i").to_arrow_table().column(0).to_numpy()
    )
    scores = reference(MNIST, pixels=images)[0]
    ordered = np.sort(scores, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 1e-5
    np.testing.assert_array_equal(found[clear], scores.argmax(axis=1)[clear])


def test_a_way_can_be_insisted_on(small):
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as con:
        assert vonk.duckdb.register(con, "score", small, way="arrow").way is vonk.duckdb.Way.ARROW
    with duckdb.connect() as con, pytest.raises(PermissionError, match="allow_unsigned_extensions"):
        vonk.duckdb.register(con, "score", small, way=vonk.duckdb.Way.EXTENSION)


def test_a_python_function_of_the_name_is_not_replaced(small):
    with duckdb.connect() as con:
        vonk.duckdb.register(con, "score", small)
        with pytest.raises(duckdb.Error, match="score"):
            vonk.duckdb.register(con, "score", small)
        con.remove_function("score")
        vonk.duckdb.register(con, "score", small)


def test_a_reserved_word_is_no_name(own, small):
    con, _ = own
    with pytest.raises((ValueError, duckdb.Error), match="reserved word"):
        vonk.duckdb.register(con, "both", small)


def test_unknown_options_are_named(own, small):
    con, _ = own
    with pytest.raises((ValueError, duckdb.Error), match="colour"):
        vonk.duckdb.register(con, "score", small, colour="red")


# --- the other releases ---


@pytest.mark.parametrize("version", ["1.4.5", "1.5.6", "2.0.0"])
def test_every_release_of_duckdb(version, small, tmp_path):
    variable = "VONK_TEST_DUCKDB_" + version.replace(".", "_")
    folder = Path(os.environ.get(variable, ROOT / "build" / "deps" / "duckdb-python" / version))
    if not folder.is_dir():
        pytest.skip(f"DuckDB {version} is not at hand: {folder}")
    rows = np.random.default_rng(5).random((3000, 4), dtype=np.float32)
    pq.write_table(lists(rows), tmp_path / "t.parquet")
    code = f"""
import duckdb, vonk.duckdb
assert duckdb.__version__ == {version!r}, duckdb.__version__
with vonk.duckdb.connect(models={{"score": {str(small)!r}}}) as con:
    found = con.sql("SELECT sum(score(v)[1]) FROM '{tmp_path}/t.parquet'").fetchall()[0][0]
with duckdb.connect() as con:
    way = vonk.duckdb.register(con, "score", {str(small)!r}).way
    print(found, con.sql("SELECT sum(score(v)[1]) FROM '{tmp_path}/t.parquet'").fetchall()[0][0], way.value)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    by_extension, by_arrow, way = done.stdout.split()
    expected = float(reference(small, x=rows)[0][:, 0].sum(dtype=np.float64))
    assert way == "arrow"
    assert [float(by_extension), float(by_arrow)] == pytest.approx([expected, expected], rel=1e-4)
