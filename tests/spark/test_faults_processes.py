"""Workers and executors that die: Spark tries again and the rows are right, or the job fails clearly and in time."""

import os
import signal

import pytest
from faults import (
    KILL,
    SEGV,
    X,
    alive,
    breaker,
    collect,
    executor_pids,
    expected,
    failure,
    needs_cluster,
    noop,
    save_model,
    values,
    wait_for,
)  # fmt: skip
from pyspark.sql.functions import arrow_udf
from vonk.spark import model_udf

ROWS = 40_000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "exact.onnx")


def frame(spark, partitions=8, rows=ROWS):
    return spark.range(0, rows, numPartitions=partitions).selectExpr("id", f"{X} AS x")


@pytest.mark.parametrize("number", [KILL, SEGV], ids=["SIGKILL", "SIGSEGV"])
def test_a_worker_that_dies_once_costs_an_attempt_and_no_row(spark, model, tmp_path, number):
    needs_cluster(spark)  # local[2] tries each task once
    predict = model_udf(model)
    before = executor_pids(spark)
    marker = tmp_path / "died"
    broken = breaker(number, 17_000, str(marker))
    found = collect(spark, frame(spark).select("id", predict(broken("id", "x")).alias("y")))
    assert marker.exists()
    assert values(found["y"]).tolist() == expected(model, ROWS).tolist()
    assert executor_pids(spark) == before


def test_a_row_that_kills_each_worker_fails_the_job_and_leaves_the_executors(spark, model):
    predict = model_udf(model)
    before = executor_pids(spark)
    broken = breaker(SEGV, 17_000)
    session = spark.newSession()
    session.conf.set("spark.sql.execution.pyspark.udf.faulthandler.enabled", "true")
    text = failure(session, lambda: noop(frame(session).select(predict(broken("id", "x")))))
    assert "Python worker exited unexpectedly (crashed)" in text
    assert "Fatal Python error: Segmentation fault" in text
    assert "in pass_on" in text  # where it was
    assert executor_pids(spark) == before
    found = collect(spark, frame(spark).select("id", predict("x").alias("y")))
    assert values(found["y"]).tolist() == expected(model, ROWS).tolist()


def test_an_executor_that_is_killed_costs_no_row(spark, model, tmp_path):
    needs_cluster(spark)
    predict = model_udf(model)
    before = executor_pids(spark)
    marker = str(tmp_path / "killed")

    def pass_on(ids, x):
        if 17_000 in ids.to_pylist() and not os.path.exists(marker):  # noqa: PTH110
            daemon = open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()  # noqa: PTH123, SIM115
            with open(marker, "w") as file:  # noqa: PTH123
                file.write(daemon[1])
            os.kill(int(daemon[1]), signal.SIGKILL)
        return x

    broken = arrow_udf(pass_on, "array<float>")
    found = collect(spark, frame(spark).select("id", predict(broken("id", "x")).alias("y")))
    assert values(found["y"]).tolist() == expected(model, ROWS).tolist()
    killed = int((tmp_path / "killed").read_text())
    assert killed in before
    assert not alive(killed)
    assert wait_for(lambda: len(executor_pids(spark)) == len(before), 180), (
        "no executor took the place of the killed one"
    )
