"""``vonk.spark.stats``: what the workers counted, against what the data has."""

import os
import subprocess
import sys

import pytest
import vonk
from conftest import ROOT
from faults import X, noop, save_model, within
from vonk.spark import Model, model_udf, stats

IRIS = ROOT / "examples" / "iris" / "iris.onnx"


@pytest.fixture
def flowers(spark):
    """4,000 rows in 4 partitions: every 10th is NULL, every 16th of the others has three numbers, not four."""
    column = "IF(id % 10 = 0, NULL, IF(id % 16 = 1, array(1f, 2f, 3f), array(5.1f, 3.5f, 1.4f, CAST(id AS FLOAT))))"
    return spark.range(0, 4000, numPartitions=4).selectExpr("id", f"{column} AS x")


NULLS = sum(i % 10 == 0 for i in range(4000))
BAD = sum(i % 16 == 1 and i % 10 != 0 for i in range(4000))


def test_counts_are_those_of_the_data(spark, flowers):
    predict = model_udf(IRIS, outputs=["probabilities"], on_error="null")
    stats(reset=True)  # the guide's test has an equal function
    assert stats(predict).rows == 0
    within(spark, lambda: noop(flowers.select(predict("x"))))
    counts = stats(predict)
    found = counts.rows, counts.null_rows, counts.bad_rows, counts.tasks, counts.batches
    assert found == (4000, NULLS, BAD, 4, 4)
    assert counts.runs >= 4
    assert counts.bytes_in >= (4000 - NULLS - BAD) * 4 * 4
    assert counts.infer > 0
    assert counts.convert + counts.infer + counts.emit + counts.wait <= counts.elapsed
    within(spark, lambda: noop(flowers.select(predict("x"))))
    assert stats(predict).rows == 8000


def test_several_functions_in_one_query_count_apart_and_together(spark, flowers, tmp_path):
    stats(reset=True)
    one = model_udf(save_model(tmp_path / "one.onnx", seed=51), on_error="report")
    two = model_udf(save_model(tmp_path / "two.onnx", seed=52), on_error="null")
    again = model_udf(tmp_path / "two.onnx", on_error="null", nulls="error")
    within(spark, lambda: noop(flowers.where("id < 2000").select(one("x"), two("x"), again("x"))))
    assert (stats(one).rows, stats(one).null_rows, stats(one).bad_rows) == (2000, NULLS / 2, BAD / 2)
    assert (stats(two).rows, stats(two).bad_rows) == (2000, BAD / 2)
    assert (stats(again).rows, stats(again).bad_rows) == (2000, (BAD + NULLS) / 2)
    assert stats("two.onnx").rows == 4000
    counts = stats()
    assert {model.model: model.rows for model in counts.models} == {"one.onnx": 2000, "two.onnx": 4000}
    assert counts.rows == 6000
    stats(reset=True)
    assert stats().rows == 0


def test_what_a_failed_task_did_is_not_counted(spark, flowers, tmp_path):
    predict = model_udf(save_model(tmp_path / "strict.onnx", seed=53))
    with pytest.raises(Exception, match=r"strict\.onnx"):
        within(spark, lambda: noop(flowers.select(predict("x"))))
    assert stats(predict).rows == 0


def test_the_table_names_models_and_ends_with_the_total(spark, flowers, tmp_path):
    stats(reset=True)
    assert "no model has predicted" in repr(stats())
    for name in ("a.onnx", "b.onnx"):
        predict = model_udf(save_model(tmp_path / name, seed=54), on_error="null")
        within(spark, lambda predict=predict: noop(flowers.select(predict("x"))))
    lines = repr(stats()).splitlines()
    assert [line.split()[0] for line in lines] == ["model", "a.onnx", "b.onnx", "total"]
    assert lines[3].split()[1:4] == ["8,000", f"{2 * NULLS:,}", f"{2 * BAD:,}"]
    assert len({len(line) for line in lines}) == 1
    assert stats()._repr_html_().count("<tr>") == 4
    assert "<td>a.onnx</td>" in stats()._repr_html_()


def test_a_stage_counts_as_its_function(spark, flowers, tmp_path):
    stage = Model(save_model(tmp_path / "stage.onnx", seed=57), inputCol="x", outputCol="y", onError="null")
    within(spark, lambda: noop(stage.transform(flowers)))
    assert (stats(stage).rows, stats(stage).bad_rows) == (4000, BAD)


def test_models_of_one_name_are_told_apart(spark, tmp_path):
    stats(reset=True)
    (tmp_path / "other").mkdir()
    for folder, seed in ((tmp_path, 55), (tmp_path / "other", 56)):
        predict = model_udf(save_model(folder / "same.onnx", seed=seed))
        frame = spark.range(10, numPartitions=1).selectExpr(f"{X} AS x")
        within(spark, lambda frame=frame, predict=predict: noop(frame.select(predict("x"))))
    titles = [model.model for model in stats().models]
    assert len(set(titles)) == 2 and all(title.startswith("same.onnx (") for title in titles), titles


def test_anything_else_is_refused():
    with pytest.raises(vonk.InvalidError, match="int is not a model's function"):
        stats(7)


def test_without_a_session_it_says_so():
    done = subprocess.run(
        [sys.executable, "-c", "import vonk.spark; print(vonk.spark.stats())"],
        env=os.environ, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.startswith("No counts: no model has been made a function in this process yet")
