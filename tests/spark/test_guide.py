"""The Python blocks of docs/spark.md run as they stand, in their order, and print what stands below them.

A block that needs what is not here is marked "python no-run" in the page.
"""

import ast
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from pyspark.sql import DataFrame
from vonk.spark import stats

PAGE = ROOT / "docs" / "spark.md"
BLOCK = re.compile(r"^```python( no-run)?\n(.*?)^```\n(?:\n?```(?:text)?\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
ROWS = 300
SCHEMA = "id int, a float, b float, c float, d float, x array<float>"


def flowers(spark, rows, partitions, broken=False):
    """Measurements; with `broken`, of twenty one has another length and two are NULL."""
    values = np.random.default_rng(7).uniform(0.1, 8, (rows, 4)).round(1).tolist()
    lists = [None if broken and i % 10 == 3 else v[:3] if broken and i % 20 == 4 else v for i, v in enumerate(values)]
    data = [(i, *v, x) for i, (v, x) in enumerate(zip(values, lists, strict=True))]
    return spark.createDataFrame(spark.sparkContext.parallelize(data, partitions), SCHEMA)


@pytest.fixture
def names(spark, tmp_path, monkeypatch):
    """What the page takes for granted, in a folder that has the models."""
    (tmp_path / "examples" / "iris").mkdir(parents=True)
    (tmp_path / "incoming").mkdir()
    for source, target in [("mnist/mnist", "mnist"), ("iris/iris", "iris"), ("iris/iris", "examples/iris/iris")]:
        shutil.copy(ROOT / "examples" / f"{source}.onnx", tmp_path / f"{target}.onnx")
    digits = pq.read_table(ROOT / "build" / "mnist" / "test.parquet").slice(0, ROWS)
    pq.write_table(digits, tmp_path / "images.parquet")
    monkeypatch.chdir(tmp_path)
    rows = flowers(spark, ROWS, 2)
    rows.createOrReplaceTempView("flowers")
    settings = dict(spark.conf.getAll)
    yield {"spark": spark, "images": spark.read.parquet((tmp_path / "images.parquet").as_uri()), "flowers": rows}
    for query in spark.streams.active:
        query.stop()
    spark.catalog.dropTempView("flowers")
    for name, value in dict(spark.conf.getAll).items():  # the page says configure(spark)
        if name not in settings:
            spark.conf.unset(name)
        elif settings[name] != value:
            spark.conf.set(name, settings[name])


def run(block, names):
    """Runs a block; its last expression as text, if it is one. A DataFrame is computed."""
    body = ast.parse(block).body
    last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "<docs/spark.md>", "exec"), names)
    if last is None:
        return ""
    value = eval(compile(last, "<docs/spark.md>", "eval"), names)
    if isinstance(value, DataFrame):
        value.write.format("noop").mode("overwrite").save()
    return str(value)


def words(text):
    """Lines as words, up to the first number that is another each time: seconds, and what stands after them."""
    lines = (line.split() for line in text.strip().splitlines())
    return [line[: next((i for i, word in enumerate(line) if re.fullmatch(r"\d+\.\d+", word)), None)] for line in lines]


def test_the_page_runs(spark, names, tmp_path):
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) >= 10
    compared = 0
    for marked, block, expected in blocks:
        if marked:
            continue
        if "stats()" in block:
            stats(reset=True)
            names["flowers"] = flowers(spark, 4000, 4, broken=True)
        # The JVM has another working folder.
        here = block.replace("hdfs:///models", (tmp_path / "models").as_uri())
        here = here.replace('"incoming"', f'"{(tmp_path / "incoming").as_uri()}"')
        printed = run(here, names)
        if expected:
            assert words(printed) == words(expected), f"{block}\nprinted:\n{printed}"
            compared += 1
    assert compared >= 2
    for query in spark.streams.active:
        query.processAllAvailable()
