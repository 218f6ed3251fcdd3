"""A session of Spark Connect: a server in a JVM of its own, and this process a client without one.

These tests run in a pytest process of their own (python -m pytest tests/spark/connect): a process has either kind of
session, and keeps to it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

for _package in ("pyspark", "grpc", "google.rpc", "zstandard"):
    pytest.importorskip(_package, reason="make setup EXTRAS=spark")
from pyspark.sql import SparkSession  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


def connect(**settings):
    """A client of the server, which is started if it is not there."""
    builder = SparkSession.builder.remote(os.environ.get("VONK_TEST_REMOTE") or "local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """The one session of this process."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    # A worker of Connect's runs in a folder of its own, and sees the vonk that is tested.
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in given if part)  # noqa: PTH100
    session = connect(
        **{
            "spark.driver.memory": "1g",
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.warehouse.dir": os.fspath(tmp_path_factory.mktemp("warehouse")),
        }
    )
    yield session
    session.stop()
