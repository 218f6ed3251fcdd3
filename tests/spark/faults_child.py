"""Applications with settings that the tests' own session must not have, one after the other in one JVM.

    python tests/spark/faults_child.py FOLDER

A line of JSON for each: what it is called, and what came of it. Run by test_faults_settings.py.
"""

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import faults
from pyspark.sql import SparkSession
from vonk.spark import model_udf, stats

ROWS = 2000
#: Makes a package look as if it were not installed, in workers only.
HIDE = """
import os, sys
class Hidden:
    def find_spec(name, path=None, target=None):
        if name in os.environ.get("TEST_HIDES", "").split():
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
if "pyspark.daemon" in sys.orig_argv:
    sys.meta_path.insert(0, Hidden)
"""


@contextmanager
def session(**settings):
    builder = SparkSession.builder.master("local[1]").appName("vonk fault tests")
    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
    } | {name.replace("__", "."): value for name, value in settings.items()}
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    try:
        yield spark
    finally:
        spark.stop()


def tell(name, **what):
    print(json.dumps({"name": name, **what}), flush=True)


def rows(spark, partitions=2):
    return spark.range(0, ROWS, numPartitions=partitions).selectExpr("id", f"{faults.X} AS x")


def predictions(spark, predict, partitions=2):
    found = faults.collect(spark, rows(spark, partitions).select("id", predict("x").alias("y")))
    return faults.values(found["y"]).tolist()


def count(predict):
    found = stats(predict)
    return {"rows": found.rows, "tasks": found.tasks, "opened": found.opened}


def main(folder):
    model = faults.save_model(folder / "exact.onnx")
    greedy = faults.save_greedy_model(folder / "greedy.onnx")
    (folder / "hidden").mkdir()
    (folder / "hidden" / "sitecustomize.py").write_text(HIDE)
    path = os.pathsep.join([str(folder / "hidden"), os.environ.get("PYTHONPATH", "")])
    wanted = faults.expected(model, ROWS).tolist()

    with session() as spark:
        predict = model_udf(model)
        tell("first", right=predictions(spark, predict) == wanted, **count(predict))
    with session(spark__python__worker__reuse="false") as spark:
        tell("restarted without reuse", right=predictions(spark, predict, 3) == wanted, **count(predict))
    hide = {"spark.executorEnv.PYTHONPATH": path}
    with session(**hide, spark__executorEnv__TEST_HIDES="vonk") as spark:
        tell("no vonk", text=faults.failure(spark, lambda: predictions(spark, model_udf(model))))
    hide["spark.executorEnv.VONK_PATHS_CONF"] = "/dev/null"
    with session(**hide, spark__executorEnv__TEST_HIDES="onnxruntime") as spark:
        tell("no framework", text=faults.failure(spark, lambda: predictions(spark, model_udf(model))))
    with session(spark__executor__pyspark__memory="3g") as spark:
        text = faults.failure(spark, lambda: faults.noop(rows(spark).select(model_udf(greedy)("x"))))
        tell("greedy", text=text, right=predictions(spark, model_udf(model)) == wanted)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
