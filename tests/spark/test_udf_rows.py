"""Broken rows, NULL rows, ``on_error``: what model_udf gives is what ``vonk.open().predict`` gives in this process."""

import numpy
import pyarrow
import pytest
import vonk
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from udf_models import run, save, trap
from vonk.spark import model_udf

N = 2000


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save(trap(), tmp_path_factory.mktemp("models") / "trap.onnx")


@pytest.fixture(scope="module")
def broken():
    """Rows of x and k with NULLs, wrong lengths, NULL elements, and k that the model fails on; which are good."""
    rng = numpy.random.default_rng(7)
    x = [rng.integers(-9, 9, 4).astype(float).tolist() for _ in range(N)]
    k = rng.integers(0, 10, N).tolist()
    kinds = rng.choice(7, N, p=[0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    for i in numpy.flatnonzero(kinds == 1):
        x[i] = None
    for i in numpy.flatnonzero(kinds == 2):
        x[i] = x[i][: i % 4]
    for i in numpy.flatnonzero(kinds == 3):
        x[i][i % 4] = None
    for i in numpy.flatnonzero(kinds == 4):
        k[i] = None
    for i in numpy.flatnonzero(kinds == 5):
        k[i] = 10 + int(i)
    for i in numpy.flatnonzero(kinds == 6):
        x[i], k[i] = None, 99
    return x, k, numpy.flatnonzero(kinds == 0)


@pytest.fixture(scope="module")
def data(spark, broken):
    x, k, _ = broken
    rows = list(zip(range(N), x, k, strict=True))
    return spark.createDataFrame(rows, "id int, x array<float>, k bigint").repartition(2, "id").cache()


def table(broken):
    x, k, _ = broken
    return pyarrow.table({"x": pyarrow.array(x, pyarrow.list_(pyarrow.float32())), "k": pyarrow.array(k, "i8")})


def collect(data, call):
    return [row.r for row in data.select("id", call.alias("r")).orderBy("id").collect()]


def test_null_and_broken_rows_are_null_and_good_rows_are_the_frameworks(path, broken, data, spark):
    x, k, good = broken
    found = collect(data, model_udf(path, on_error="null", spark=spark)("x", "k"))
    expected = vonk.open(path).predict(table(broken), on_error="null").to_pylist()
    assert found.count(None) == N - len(good) == sum(row["y"] is None for row in expected)
    assert [(row.y, row.t) if row else (None, None) for row in found] == [(row["y"], row["t"]) for row in expected]
    reference = run(path, x=numpy.array([x[i] for i in good], "f4"), k=numpy.array([k[i] for i in good]))
    assert [found[i].y for i in good] == reference["y"].tolist()
    assert [found[i].t for i in good] == reference["t"].tolist()


def test_reports_say_why_and_are_those_of_a_local_call(path, broken, data, spark):
    found = collect(data, model_udf(path, on_error="report", spark=spark)("x", "k"))
    expected = vonk.open(path).predict(table(broken), on_error="report").to_pylist()
    assert all(row is not None for row in found)
    reasons = [row["error"] and row["error"].replace(str(path), path.name) for row in expected]
    assert [row.error for row in found] == reasons
    assert [None if row.value is None else (row.value.y, row.value.t) for row in found] == [
        None if row["error"] else (row["y"], row["t"]) for row in expected
    ]
    assert len({row.error for row in found}) > 5


def test_one_output_reports_beside_a_plain_value(path, data, spark):
    model = model_udf(path, outputs=["t"], on_error="report", spark=spark)
    assert model.returnType.simpleString() == "struct<value:float,error:string>"
    found = data.where("id < 50").select("k", "x", model("x", "k").alias("r")).collect()
    assert {row.r.error is None for row in found} == {True, False}
    assert all(row.r.value == numpy.float32(row.k * 1.5) for row in found if row.r.error is None)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("k = 7 and size(x) = 2", r"trap\.onnx \(partition \d+, row \d+ of the batch\): column 'x': has 2 elements"),
        ("x is null", r"column 'x': is NULL: nulls='null' gives such a row a NULL.*\[VONK_INVALID\]"),
        ("k > 9 and x is not null", r"on_error='null' or 'report' goes on without such rows \[VONK_BACKEND\]"),
    ],
)
def test_a_bad_row_fails_the_job_and_is_named(path, data, spark, place, message):
    nulls = "error" if "null" in place and "not" not in place else "null"
    model = model_udf(path, nulls=nulls, spark=spark)
    rows = data.where(place) if place.startswith("k = 7") else data.where(f"({place}) or (size(x) = 4 and k < 10)")
    rows = rows.where("not exists(coalesce(x, array()), e -> e is null)")
    with pytest.raises(Exception, match=message):
        rows.select(model("x", "k")).collect()


def test_a_null_among_packed_columns_is_a_null_row(path, data, spark):
    model = model_udf(path, inputs={"x": ["a", "b", "c", "d"]}, outputs=["t"], spark=spark)
    columns = [F.get("x", F.lit(i)).alias(name) for i, name in enumerate("abcd")]
    rows = data.where("k < 10").select("id", "k", "x", *columns)
    found = rows.select("k", "x", model("a", "b", "c", "d", "k").alias("t")).collect()
    for row in found:
        is_whole = row.x is not None and len(row.x) == 4 and None not in row.x
        assert row.t == (numpy.float32(row.k * 1.5) if is_whole else None), row


def test_the_row_of_an_error_counts_in_sparks_batch(path, spark):
    session = spark.newSession()
    session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "100")
    rows = session.range(0, 1000, 1, 1).selectExpr("id", "array(1f, 2f, 3f, 4f) x", "if(id = 321, 10L, 1L) k")
    with pytest.raises(Exception, match=r"\(partition 0, row 21 of the batch\)"):
        rows.select(model_udf(path, spark=session)("x", "k")).collect()
