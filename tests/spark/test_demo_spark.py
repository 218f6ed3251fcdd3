"""`make demo-spark` as a user sees it: the right answers by all three ways, what it prints, and nothing left behind."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from conftest import ROOT

DEMO = [sys.executable, ROOT / "examples" / "mnist" / "demo_spark.py"]
STATE = ROOT / "build" / "mnist" / "cluster" / "cluster.json"


def left():
    """Processes of the demo's cluster: they all inherit where its settings are."""
    ours = f"SPARK_CONF_DIR={STATE.parent}/conf".encode()
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                with open(f"/proc/{entry.name}/environ", "rb") as file:  # noqa: PTH123
                    if ours in file.read().split(b"\0"):
                        found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.fixture(scope="module")
def done():
    done = subprocess.run(DEMO, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not STATE.exists() and left() == []
    return done


def test_it_prints_the_accuracy_of_the_framework_s_own_predictions_for_each_way(done):
    table = pq.read_table(ROOT / "build" / "mnist" / "digits.parquet").sort_by("id")
    pixels = table.column("pixels").combine_chunks().values.to_numpy().reshape(-1, 784)
    session = onnxruntime.InferenceSession(ROOT / "examples" / "mnist" / "mnist.onnx")
    digits = session.run(None, {"pixels": pixels})[0].argmax(axis=1)
    accuracy = float(np.mean(digits == table.column("label").to_numpy()))
    assert accuracy >= 0.97 and len(table) == 10_000
    for way in ("model_udf", "Pipeline", "SQL"):
        assert re.search(rf"^{way}: +accuracy {accuracy:.4f} of 10,000 digits", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize(
    "pattern",
    [
        r"\$ tools/cluster up .*\ncluster: up: 2 workers of 1 core and 1g, Spark 4",
        r"first predictions:\n +id +label +digit\n +0 +7 +7\n +1 +2 +2\n",
        r"rows/s \(first call [\d.]+ s, then [\d.]+ s\)",
        r"vonk\.spark\.stats\(\):\n.*rows.*\n.*mnist\.onnx +180,000",  # three ways, each once and five times more
        r"SQL, 5 x warm +5 +5 +10 +0 +50,000",
        r"\$ tools/cluster down .*\ncluster: down",
        r"next, try:\n +tools/cluster up",
    ],
)
def test_it_prints_what_a_newcomer_needs(done, pattern):
    assert re.search(pattern, done.stdout), f"{pattern!r} not found in:\n{done.stdout}"


def test_it_prints_nothing_else_on_standard_error(done):
    assert done.stderr == ""


def test_ctrl_c_ends_the_cluster(done):
    with subprocess.Popen(
        DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as demo:
        for line in demo.stdout:
            if line.startswith("driver:"):
                break
        assert len(left()) >= 3  # a Master and two Workers: the test sees them
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
        out, wrong = demo.communicate(timeout=120)
    assert demo.returncode == 130 and wrong.endswith("demo: interrupted\n"), wrong
    assert "cluster: down" in out and not STATE.exists() and left() == []
