"""The cluster and the session of tests/spark, for the tests of the packages sparkext and sparkext_*."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

_spec = importlib.util.spec_from_file_location("spark_conftest", HERE.parent / "spark" / "conftest.py")
assert _spec is not None and _spec.loader is not None
_shared = importlib.util.module_from_spec(_spec)
sys.modules["spark_conftest"] = _shared
_spec.loader.exec_module(_shared)

# Executors see these test modules too: functions in them are pickled by name.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), os.fspath(HERE)]))

cluster = _shared.cluster
master_url = _shared.master_url
spark = _shared.spark


@pytest.fixture
def ones(spark):
    """One row, a column "data" of two ones, as the old library's tests have it."""
    return spark.createDataFrame([([1.0, 1.0],)], "data array<float>").coalesce(1)
