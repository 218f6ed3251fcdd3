"""Faults that take an application of their own: workers without vonk or a framework, without reuse, short of memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What faults_child.py found, by name."""
    here = Path(__file__).parent
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), os.fspath(here)]))
    done = subprocess.run(
        [sys.executable, here / "faults_child.py", tmp_path_factory.mktemp("child")],
        env={**os.environ, "PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return {found["name"]: found for found in map(json.loads, done.stdout.splitlines())}


def last_lines(text, number=12):
    """Of the Python error in a PythonException, without the JVM's trace."""
    return "\n".join(text.split("JVM stacktrace")[0].rstrip().splitlines()[-number:])


def test_a_function_outlives_its_session_and_its_counts_go_on(told):
    assert told["first"] | {"opened": 1} == {"name": "first", "right": True, "rows": 2000, "tasks": 2, "opened": 1}
    assert told["restarted without reuse"]["right"]
    assert told["restarted without reuse"]["rows"] == 4000
    assert told["restarted without reuse"]["tasks"] == 2 + 3


def test_without_worker_reuse_each_task_opens_the_model(told):
    assert told["restarted without reuse"]["opened"] == told["first"]["opened"] + 3


def test_a_worker_without_vonk_says_which_python_and_what_to_do(told):
    text = last_lines(told["no vonk"]["text"])
    assert "vonk is not installed in the Python of this worker" in text
    assert sys.executable in text
    assert "install it on every node" in text


def test_a_worker_without_the_framework_says_what_to_install(told):
    text = last_lines(told["no framework"]["text"])
    assert "exact.onnx" in text
    assert "onnxruntime" in text
    assert "install" in text


def test_a_model_that_needs_more_memory_than_the_worker_may_have_fails_clearly(told):
    text = last_lines(told["greedy"]["text"])
    assert "greedy.onnx" in text
    assert "memory" in text or "alloc" in text, text
    assert told["greedy"]["right"], "the session does not predict any more"
