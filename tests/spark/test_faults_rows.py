"""Rows, columns and partitions that are not what a model wants: reported exactly, or refused clearly."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow
import pytest
from faults import X, collect, expected, failure, noop, save_model, values, within
from pyspark.sql import functions as F  # noqa: N812 - as everywhere
from vonk.spark import model_udf

ROWS = 100_000
#: 1,000 of them: every 100th row has three numbers, or a NULL among its four.
POISON = f"""CASE WHEN id % 200 = 50 THEN slice({X}, 1, 3)
    WHEN id % 200 = 150 THEN transform({X}, (v, i) -> IF(i = 2, NULL, v)) ELSE {X} END"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "exact.onnx")


@pytest.fixture(scope="module")
def clean(spark, model):
    """Predictions of the rows without fault."""
    rows = spark.range(0, ROWS, numPartitions=4).selectExpr("id", f"{X} AS x")
    found = values(collect(spark, rows.select("id", model_udf(model)("x").alias("y")))["y"])
    assert found.tolist() == expected(model, ROWS).tolist()
    return found


def poisoned(spark, partitions=4):
    return spark.range(0, ROWS, numPartitions=partitions).selectExpr("id", f"{POISON} AS x")


def test_report_names_exactly_the_poison_rows(spark, model, clean):
    predict = model_udf(model, on_error="report")
    found = collect(spark, poisoned(spark).select("id", predict("x").alias("p")).select("id", "p.value", "p.error"))
    bad = [i for i, error in enumerate(found["error"].to_pylist()) if error is not None]
    assert bad == list(range(50, ROWS, 100))
    assert [i for i, value in enumerate(found["value"].to_pylist()) if value is None] == bad
    good = found.filter(pyarrow.compute.is_null(found["error"]))
    assert values(good["value"]).tobytes() == clean[[i for i in range(ROWS) if i % 100 != 50]].tobytes()
    errors = found["error"].to_pylist()
    assert "3" in errors[50] and "4" in errors[50], errors[50]
    assert "NULL" in errors[150], errors[150]


def test_null_gives_null_for_exactly_the_poison_rows(spark, model, clean):
    predict = model_udf(model, on_error="null")
    found = collect(spark, poisoned(spark).select("id", predict("x").alias("y")))
    assert [i for i, value in enumerate(found["y"].to_pylist()) if value is None] == list(range(50, ROWS, 100))
    good = found.filter(pyarrow.compute.is_valid(found["y"]))
    assert values(good["y"]).tobytes() == clean[[i for i in range(ROWS) if i % 100 != 50]].tobytes()


def test_raise_names_the_partition_and_the_row(spark, model):
    predict = model_udf(model)
    rows = spark.range(0, 1000, numPartitions=4).selectExpr("id", f"IF(id = 700, slice({X}, 1, 3), {X}) AS x")
    text = failure(spark, lambda: noop(rows.select(predict("x"))))
    told = [line for line in text.splitlines() if "row 200" in line]  # the 200th of partition 2
    assert told, text
    assert "partition 2" in told[0], text


@pytest.mark.parametrize(("partitions", "rows"), [(200, 0), (200, 3), (200, 200)], ids=["none", "few", "one-each"])
def test_partitions_without_rows_or_with_one(spark, model, partitions, rows):
    predict = model_udf(model)
    frame = spark.range(0, rows, numPartitions=partitions).selectExpr("id", f"{X} AS x")
    found = collect(spark, frame.select("id", predict("x").alias("y")))
    assert found.num_rows == rows
    assert found["y"].to_pylist() == expected(model, rows).tolist()


def test_empty_data_frames(spark, model):
    predict = model_udf(model)
    for frame in (
        spark.createDataFrame([], "id long, x array<float>"),
        spark.range(100).selectExpr("id", f"{X} AS x").where("id < 0"),
    ):
        assert within(spark, lambda frame=frame: frame.select(predict("x")).collect()) == []


def test_a_data_frame_of_nulls_gives_nulls(spark, model):
    frame = spark.range(0, 1000, numPartitions=3).selectExpr("id", "CAST(NULL AS array<float>) AS x")
    columns = model_udf(model)("x").alias("y"), model_udf(model, on_error="report")("x").alias("p")
    found = within(spark, lambda: frame.select(*columns).collect())
    assert {(row.y, row.p.value, row.p.error) for row in found} == {(None, None, "column 'x': is NULL")}
    assert len(found) == 1000


def test_a_union_that_made_strings_of_numbers_is_refused(spark, model):
    session = spark.newSession()
    session.conf.set("spark.sql.ansi.enabled", "false")  # with it, the words would have to be numbers
    numbers = session.range(10).selectExpr("id", "array(1.0D, 2.0D, 3.0D, 4.0D) AS x")
    words = session.range(10).selectExpr("id", "array('1', '2', '3', '4') AS x")
    both = numbers.union(words)
    assert both.schema["x"].dataType.simpleString() == "array<string>"
    text = failure(spark, lambda: noop(both.select(model_udf(model)("x"))))
    assert "float32" in text and "string" in text.lower(), text


def test_a_union_with_arrays_of_another_length_names_a_row(spark, model):
    four = spark.range(0, 10, numPartitions=1).selectExpr("id", f"{X} AS x")
    five = spark.range(10, 20, numPartitions=1).selectExpr("id", f"concat({X}, array(1f)) AS x")
    text = failure(spark, lambda: noop(four.union(five).select(model_udf(model)("x"))))
    assert "row 0" in text and "5" in text and "4" in text, text


def test_40_small_jobs_at_once(spark, model, tmp_path):
    """Sixteen threads, three functions over two models, in one session."""
    other = save_model(tmp_path / "other.onnx", seed=2, outputs=1)
    functions = [(model_udf(model), model), (model_udf(other), other), (model_udf(other, squeeze=True), other)]

    def job(number):
        predict, file = functions[number % 3]
        rows = 50 + number
        frame = spark.range(0, rows, numPartitions=1).selectExpr("id", f"{X} AS x")
        found = frame.select("id", predict("x").alias("y")).toArrow().sort_by("id")["y"].to_pylist()
        wanted = expected(file, rows)
        return found == (wanted[:, 0] if number % 3 == 2 else wanted).tolist()

    def jobs():
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(job, range(40)))

    assert within(spark, jobs) == [True] * 40


def test_many_functions_in_one_query(spark, model, clean):
    predict = model_udf(model)
    frame = spark.range(0, 1000, numPartitions=2).selectExpr("id", f"{X} AS x")
    query = (
        frame.select("id", predict("x").alias("a"), model_udf(model, on_error="null")("x").alias("b"))
        .where(F.col("a")[0] > 0)
        .select("id", "a", "b")
    )
    found = collect(spark, query)
    wanted = [row for row in clean[:1000].tolist() if row[0] > 0]
    assert found["a"].to_pylist() == wanted
    assert found["b"].to_pylist() == wanted
