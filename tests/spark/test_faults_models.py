"""Model files that are missing, damaged or changed, models that are too many, too large or too slow."""

import os
import threading

import numpy
import pyarrow
import pytest
import vonk
from faults import (
    X,
    collect,
    expected,
    failure,
    noop,
    save_model,
    save_slow_model,
    values,
    wait_for,
    within,
)
from pyspark import SparkFiles
from pyspark.sql.functions import arrow_udf
from vonk.spark import model_udf, stats

ROWS = 1000


def rows(spark, partitions=4):
    return spark.range(0, ROWS, numPartitions=partitions).selectExpr("id", f"{X} AS x")


def predictions(spark, predict):
    return values(collect(spark, rows(spark).select("id", predict("x").alias("y")))["y"]).tolist()


def on_each_executor(spark, action):
    """Calls action() in many small tasks, so that every executor runs it."""

    def call(ids):
        action()
        return ids

    noop(spark.range(16, numPartitions=16).select(arrow_udf(call, "long")("id")))


def test_a_missing_file_is_told_before_there_is_a_job(spark, tmp_path):
    with pytest.raises(vonk.FileError, match=r"nowhere\.onnx"):
        model_udf(tmp_path / "nowhere.onnx")


def test_the_users_file_may_go_once_there_is_a_function(spark, tmp_path):
    model = save_model(tmp_path / "temporary.onnx", seed=11)
    wanted = expected(model, ROWS).tolist()
    predict = model_udf(model)
    model.unlink()
    assert predictions(spark, predict) == wanted


def test_a_local_file_that_only_the_driver_had_is_named(spark, tmp_path):
    model = save_model(tmp_path / "gone.onnx", seed=12)
    predict = model_udf(f"local:{model}")
    model.unlink()
    text = failure(spark, lambda: noop(rows(spark).select(predict("x"))))
    assert "gone.onnx" in text and "local:" in text and "VONK_IO" in text, text


def test_a_local_file_that_was_changed_is_refused(spark, tmp_path):
    model = save_model(tmp_path / "changed.onnx", seed=13)
    predict = model_udf(f"local:{model}")
    save_model(model, seed=14)
    text = failure(spark, lambda: noop(rows(spark).select(predict("x"))))
    assert "changed.onnx" in text and "sha256" in text, text
    assert predictions(spark, model_udf(f"local:{model}")) == expected(model, ROWS).tolist()


def test_a_copy_that_was_damaged_on_the_executors_is_refused(spark, tmp_path):
    model = save_model(tmp_path / "damaged.onnx", seed=15)
    predict = model_udf(model)
    predict("x")  # sends it
    damaged = save_model(tmp_path / "other.onnx", seed=16).read_bytes()  # a model, but not this one

    def damage():
        import pathlib  # noqa: PLC0415 - in the worker

        for copy in pathlib.Path(SparkFiles.getRootDirectory()).glob("*damaged.onnx"):
            copy.write_bytes(damaged)

    within(spark, lambda: on_each_executor(spark, damage))
    text = failure(spark, lambda: noop(rows(spark).select(predict("x"))))
    assert "damaged.onnx" in text and "sha256" in text, text


def test_ten_models_in_one_worker_under_the_bound(spark, tmp_path):
    """Each has 400 kB of weights, the bound is 1 MB: they are closed and opened again, and the rows are right."""
    models = [save_model(tmp_path / f"wide{i}.onnx", seed=20 + i, outputs=20_000) for i in range(10)]
    session = spark.newSession()
    session.conf.set("spark.vonk.modelMemory", "1m")
    functions = [model_udf(model, outputs={"y": "y"}, spark=session) for model in models]
    frame = session.range(0, 8, numPartitions=2).selectExpr("id", f"{X} AS x")
    predicted = [f("x").alias(f"y{i}") for i, f in enumerate(functions)]

    def peek(y):
        from vonk.spark._cache import counts  # noqa: PLC0415 - in the worker

        found = counts()
        return pyarrow.array(
            [[found["models"], found["bytes"], found["closes"]]] * len(y), pyarrow.list_(pyarrow.int64())
        )

    last = arrow_udf(peek, "array<long>")(functions[9]("x")).alias("cache")
    found = collect(session, frame.select("id", *predicted, last))
    for models_open, nbytes, closed in found["cache"].to_pylist():
        assert models_open <= 2 and nbytes <= 1 << 20 and closed >= 8, (models_open, nbytes, closed)
    for i, model in enumerate(models):
        assert numpy.array_equal(values(found[f"y{i}"]), expected(model, 8)), f"model {i}"
    assert all(stats(f).opened >= 1 for f in functions)


def test_a_model_above_the_bound_is_refused_and_the_session_goes_on(spark, tmp_path):
    large = save_model(tmp_path / "large.onnx", seed=31, outputs=200_000)  # 4 MB
    small = save_model(tmp_path / "small.onnx", seed=32)
    session = spark.newSession()
    session.conf.set("spark.vonk.modelMemory", "1m")
    text = failure(session, lambda: noop(rows(session).select(model_udf(large, spark=session)("x"))))
    assert "large.onnx" in text and "spark.vonk.modelMemory" in text and "1,048,576" in text, text
    assert predictions(session, model_udf(small, spark=session)) == expected(small, ROWS).tolist()


def test_a_cancelled_job_ends_the_worker_that_runs_the_model(spark, tmp_path):
    slow = save_slow_model(tmp_path / "slow.onnx")
    predict = model_udf(slow)
    file = str(tmp_path / "pid")

    def note(x):
        with open(f"{file}.part", "w") as out:  # noqa: PTH123
            out.write(str(os.getpid()))
        os.replace(f"{file}.part", file)  # noqa: PTH105
        return x

    frame = spark.range(0, 8, numPartitions=1).selectExpr("id", f"{X} AS x")
    query = frame.select(predict(arrow_udf(note, "array<float>")("x")))
    ended = {}

    def run():
        spark.sparkContext.setJobGroup("slow", "a slow model", interruptOnCancel=True)
        try:
            noop(query)
        except Exception as error:
            ended["error"] = str(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert wait_for(lambda: os.path.exists(file), 90), "the model never ran"  # noqa: PTH110
    spark.sparkContext.cancelJobGroup("slow")
    thread.join(60)
    assert not thread.is_alive(), "the job did not end"
    assert "cancel" in ended["error"].lower(), ended
    with open(file) as noted:  # noqa: PTH123
        pid = int(noted.read())
    assert wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 60), "the worker runs on, or is a zombie"  # noqa: PTH110
    good = save_model(tmp_path / "good.onnx", seed=41)
    assert predictions(spark, model_udf(good)) == expected(good, ROWS).tolist()
