"""``vonk.spark.Model`` through Spark Connect: a stage, saved and loaded without a JVM in this process."""

import os
import subprocess
import sys

import numpy
import onnxruntime
import pytest
import vonk
from conftest import ROOT
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from vonk.spark import Model, model_summary

IRIS = ROOT / "examples" / "iris" / "iris.onnx"
COLUMNS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def measured():
    rng = numpy.random.default_rng(7)
    return rng.uniform([4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5], (40, 4)).astype("f4")


@pytest.fixture(scope="module")
def flowers(spark, measured):
    rows = [(i, *row.tolist(), float(row[2] > 4)) for i, row in enumerate(measured)]
    return spark.createDataFrame(rows, "id int, a float, b float, c float, d float, label double")


@pytest.fixture(scope="module")
def expected(measured):
    found = onnxruntime.InferenceSession(IRIS).run(None, {"measurements": measured})
    return found[0].tolist(), found[1].tolist()


def columns(frame, *names):
    rows = frame.orderBy("id").select(*names).collect()
    return tuple([row[i] for row in rows] for i in range(len(names)))


def test_a_stage_is_saved_overwritten_and_loaded(flowers, expected, tmp_path):
    path = f"{tmp_path}/stage"
    stage = Model(IRIS, inputCols=COLUMNS, outputCols=["p", "kind"])
    assert columns(stage.transform(flowers), "p", "kind") == expected
    stage.save(path)
    with pytest.raises(vonk.FileError, match="something already"):
        stage.setBatchSize(3).save(path)
    stage.write().overwrite().save(path)
    loaded = Model.load(path)
    assert (loaded.uid, loaded.getBatchSize()) == (stage.uid, 3)
    assert columns(loaded.transform(flowers), "p", "kind") == expected
    part = next((tmp_path / "stage" / "data").glob("part-*"))
    changed = bytearray(part.read_bytes())
    changed[changed.index(IRIS.read_bytes()) + 300] ^= 1
    part.with_name(f".{part.name}.crc").unlink()
    part.write_bytes(changed)
    with pytest.raises(vonk.ModelError, match=r"'iris\.onnx' in it is damaged"):
        Model.load(path)
    with pytest.raises(vonk.FileError, match="holds no complete stage: metadata is missing"):
        Model.load(f"{tmp_path}/nothing")


def test_a_pipeline_with_stages_of_the_server_is_fitted_saved_and_loaded(flowers, measured, expected, tmp_path):
    pipeline = Pipeline(
        stages=[
            VectorAssembler(inputCols=COLUMNS, outputCol="v"),
            Model(IRIS, inputCol="v", outputCol="f", outputs=["probabilities"], outputAs="vector"),
            LogisticRegression(featuresCol="f", maxIter=5),
        ]
    )
    fitted = pipeline.fit(flowers)
    classifier = fitted.stages[-1]
    features = numpy.array(expected[0], "f4").astype("f8")
    said = (features @ classifier.coefficients.toArray() + classifier.intercept > 0).astype("f8")
    found = columns(fitted.transform(flowers), "f", "prediction")
    assert ([row.toArray().tolist() for row in found[0]], found[1]) == (expected[0], said.tolist())
    assert (said == (measured[:, 2] > 4)).mean() > 0.7
    fitted.save(f"{tmp_path}/fitted")
    fitted.write().overwrite().save(f"{tmp_path}/fitted")
    assert columns(PipelineModel.load(f"{tmp_path}/fitted").transform(flowers), "f", "prediction") == found


def test_what_does_not_fit_is_said_by_the_client(flowers):
    with pytest.raises(vonk.InvalidError, match="column 'e': the DataFrame has none"):
        Model(IRIS, inputCols=["a", "b", "c", "e"]).transform(flowers)
    with pytest.raises(vonk.InvalidError, match="column 'label': is there already"):
        Model(IRIS, inputCols=COLUMNS, outputCol="label").transform(flowers)


def test_a_summary_needs_no_server(expected):
    assert model_summary(IRIS).ddl() == "struct<probabilities:array<float>,species:string>"


def test_a_stage_saved_here_is_loaded_by_a_classic_session(flowers, expected, tmp_path):
    path = f"{tmp_path}/stage"
    Model(IRIS, inputCols=COLUMNS, outputCols=["p", "kind"]).save(path)
    script = """if True:
        import sys
        from pyspark.sql import SparkSession
        from vonk.spark import Model
        spark = (SparkSession.builder.master("local[1]").config("spark.driver.memory", "1g")
                 .config("spark.api.mode", "classic").config("spark.ui.enabled", "false").getOrCreate())
        print("FOUND", type(spark).__module__, Model.load(sys.argv[1]).summary().num_params)
        spark.stop()
    """
    env = {name: value for name, value in os.environ.items() if "REMOTE" not in name and "CONNECT" not in name}
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=False, timeout=300, env=env
    )
    said = [line.split() for line in done.stdout.splitlines() if line.startswith("FOUND")]
    assert said == [["FOUND", "pyspark.sql.session", "15"]], done.stderr[-3000:]
