"""sparkext over Spark Connect: the zip file of a plug-in is an artifact of the session."""

import sys
import zipfile

import numpy as np
import onnxruntime
import pytest
import sparkext
from conftest import ROOT

IRIS = ROOT / "examples" / "iris" / "iris.onnx"
PLUGIN = """
from pyspark.sql.functions import arrow_udf
from sparkext import onnx, Plugin

def doubled(x):
    import pyarrow.compute
    return pyarrow.compute.multiply(x, 2)

class Doubling(Plugin):
    def model_summary(self, model):
        return onnx.model_summary(model)

    def model_udf(self, model, model_loader=None, input_columns=None, batch_size=-1, **kwargs):
        return arrow_udf(doubled, "bigint")

    def model(self, model, model_loader=None, input_columns=None, batch_size=-1, **kwargs):
        return onnx.Model(model, model_loader, input_columns, batch_size)

def plugin():
    return Doubling()
"""


@pytest.fixture(scope="module")
def plugin(spark, tmp_path_factory):
    path = tmp_path_factory.mktemp("zips") / "doubling.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("doubling.py", PLUGIN)
    yield sparkext.load("doubling", path)
    del sys.modules["doubling"]
    sys.path.remove(str(path))


def test_functions_of_a_zip_file_run_on_the_workers(spark, plugin):
    found = spark.range(4).select(plugin.model_udf(None)("id").alias("p")).collect()
    assert sorted(row.p for row in found) == [0, 2, 4, 6]


def test_a_stage_predicts(spark, plugin):
    rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], "f4")
    frame = spark.createDataFrame([(row.tolist(),) for row in rows], "data array<float>")
    stage = plugin.model(str(IRIS)).setInputCol("data").setOutputCols(["p", "species"])
    found = np.array([row.p for row in stage.transform(frame).collect()])
    session = onnxruntime.InferenceSession(IRIS, providers=["CPUExecutionProvider"])
    expected = session.run(["probabilities"], {"measurements": rows})[0]
    print(found, expected)
    assert np.abs(found - expected).max() < 1e-6


def test_a_changed_zip_file_is_taken_and_said(spark, tmp_path):
    """A session of Connect refuses a file of the same name with other content, and ends no workers."""
    path = tmp_path / "changing.zip"
    for content in (PLUGIN, PLUGIN + "NEW = True\n"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("changing.py", content)
        if "NEW" in content:
            with pytest.warns(UserWarning, match="another module 'changing' was loaded before"):
                sparkext.load("changing", path)
        else:
            sparkext.load("changing", path)
    assert sys.modules.pop("changing").NEW
    sys.path[:] = [entry for entry in sys.path if entry != str(path)]
