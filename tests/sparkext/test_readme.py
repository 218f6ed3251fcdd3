"""The example of the old library's README, run as a script, and the blocks of docs/sparkext.md.

Only names of files are others: those of a temporary folder.
"""

import ast
import re
import runpy
import subprocess
import sys

import linear_keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from pyspark.sql import DataFrame

pytest.importorskip("tensorflow", reason="make setup EXTRAS=tensorflow")
torch = pytest.importorskip("torch", reason="make setup EXTRAS=torch")
keras = pytest.importorskip("keras", reason="make setup EXTRAS=tensorflow")

README = """
# cd /path/to/sparkext/src
# zip -r /tmp/sparkext_tf.zip sparkext_tf

from pyspark.sql.functions import col
import sparkext

sparkext.load("sparkext_tf", "/tmp/sparkext_tf.zip")

df = spark.read.parquet("mnist_test")
mnist = sparkext_tf.model_udf("mnist_model")
predictions = df.withColumn("preds", mnist(col("data"))).collect()
"""
PAGE = ROOT / "docs" / "sparkext.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
DIGIT = ROOT / "examples" / "mnist" / "digit.keras"
ROWS = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The model, the rows and the zip files that both take for granted."""
    made = tmp_path_factory.mktemp("readme")
    keras.models.load_model(DIGIT).export(made / "mnist_model", verbose=False)
    linear_keras.pets().save(made / "pets.keras")
    images = np.random.default_rng(9).random((ROWS, 784), "f4").tolist()
    rows = pa.table({"id": range(ROWS), "data": pa.array(images, pa.list_(pa.float32()))})
    (made / "mnist_test").mkdir()
    pq.write_table(rows, made / "mnist_test" / "part.parquet")
    zips = made / "build" / "plugin-zips"
    subprocess.run([sys.executable, ROOT / "tools" / "plugin_zips.py", zips], check=True, capture_output=True)
    return made


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("sparkext_tf", None)


def with_files(text, folder):
    """The text with the names of these files; the JVM has another working folder."""
    text = text.replace('"/tmp/', '"build/plugin-zips/')
    return text.replace('"mnist_test"', f'"{(folder / "mnist_test").as_uri()}"')


def test_the_old_readmes_example_runs_as_it_stands(spark, folder, here):
    script = folder / "example.py"
    script.write_text(with_files(README, folder))
    found = runpy.run_path(str(script), {"spark": spark}, "__main__")["predictions"]
    images = np.array([row.data for row in found], "f4")
    expected = keras.models.load_model(DIGIT).predict(images, verbose=0)
    preds = np.array([row.preds for row in found])
    print(preds[0], expected[0])
    assert preds.shape == expected.shape == (ROWS, 10)
    assert np.abs(preds - expected).max() < 1e-5


def test_the_page_runs(spark, folder, here):
    frames = {
        "points": spark.createDataFrame([([1.0, 1.0],)], "data array<float>"),
        "animals": spark.createDataFrame([("Cat", 3, 40)], "kind string, months long, price long"),
    }
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) >= 6
    names = {"__name__": "__main__", "spark": spark, "torch": torch, **frames}
    computed = 0
    for block in blocks:
        body = ast.parse(with_files(block, folder)).body
        last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "<docs/sparkext.md>", "exec"), names)
        value = None if last is None else eval(compile(last, "<docs/sparkext.md>", "eval"), names)
        if isinstance(value, DataFrame):
            computed += len(value.collect())
    assert computed >= 3
