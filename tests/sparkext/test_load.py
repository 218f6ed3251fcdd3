"""sparkext.load: plug-ins in zip files and installed ones."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import sparkext
from conftest import ROOT

IRIS = ROOT / "examples" / "iris" / "iris.onnx"
FLOWERS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]], "f4")


@pytest.fixture(scope="session")
def zips(tmp_path_factory):
    """A folder with what `make plugin-zips` writes."""
    folder = tmp_path_factory.mktemp("zips")
    subprocess.run([sys.executable, ROOT / "tools" / "plugin_zips.py", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def flowers(spark):
    return spark.createDataFrame([(row.tolist(),) for row in FLOWERS], "data array<float>").coalesce(1)


def expected():
    session = onnxruntime.InferenceSession(IRIS, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"measurements": FLOWERS})[0]


def test_a_plug_in_of_a_zip_file_predicts(flowers, zips):
    plugin = sparkext.load("sparkext_onnx", zips / "sparkext_onnx.zip")
    iris = plugin.model_udf(IRIS, outputs=["probabilities"])
    found = np.array([row.p for row in flowers.select(iris("data").alias("p")).collect()])
    print(found, expected())
    assert np.abs(found - expected()).max() < 1e-6
    assert sys.modules["sparkext_onnx"].__file__.startswith(str(zips))


def test_the_name_of_the_module_is_bound_where_load_is_called(flowers, zips):
    sparkext.load("sparkext_onnx", zips / "sparkext_onnx.zip")
    iris = sparkext_onnx.model_udf(str(IRIS), outputs=["probabilities"])  # noqa: F821 - load binds it
    found = np.array([row.p for row in flowers.select(iris("data").alias("p")).collect()])
    assert np.abs(found - expected()).max() < 1e-6
