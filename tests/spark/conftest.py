"""The cluster and the session that the Spark tests share. A JVM takes seconds to start, so there is one of each.

Spark runs as it would elsewhere: a Master and two Workers of one core, processes of their own that tools/cluster starts
in a temporary folder. VONK_TEST_MASTER says otherwise: "local[2]", or the URL of a cluster that is up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("pyspark", reason="make setup EXTRAS=spark")
from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Cluster:
    """What tools/cluster started."""

    url: str
    folder: Path

    def status(self) -> dict:
        """As `tools/cluster status --json` gives it."""
        done = subprocess.run(
            [ROOT / "tools" / "cluster", "status", "--json", "--folder", self.folder],
            env={**os.environ, "VONK_PYTHON": sys.executable}, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def pids(self, role: str) -> list[int]:
        """Of a role's processes: "master", "worker", "executor", "daemon" (forks Python workers), "python"."""
        return [process["pid"] for process in self.status()["processes"] if process["role"] == role]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A standalone cluster of 2 x 1 core: its URL, its processes. It ends with this process, however that ends."""
    if os.environ.get("VONK_TEST_MASTER"):
        pytest.skip("VONK_TEST_MASTER chooses another cluster, whose processes are not known here")
    folder = tmp_path_factory.mktemp("cluster")
    command = [ROOT / "tools" / "cluster", "up", "--foreground", "--workers", "2", "--cores", "1", "--memory", "1g"]
    with subprocess.Popen(
        [*command, "--folder", folder], env={**os.environ, "VONK_PYTHON": sys.executable}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout is not None and child.stderr is not None
        said = {}
        for line in child.stdout:  # ends with the program, should it fail
            said.update([line.split()[:2]] if line.startswith("master:") else [])
            if line.startswith("Ctrl-C"):
                break
        else:
            pytest.fail(child.stderr.read())
        yield Cluster(said["master:"], folder)
        child.terminate()  # it may ignore Ctrl-C, as what runs in the background does
        _, wrong = child.communicate(timeout=60)
    assert child.returncode == 0, wrong


@pytest.fixture(scope="session")
def master_url(request):
    """Where the tests' applications run."""
    return os.environ.get("VONK_TEST_MASTER") or request.getfixturevalue("cluster").url


@pytest.fixture(scope="session")
def spark(master_url, tmp_path_factory):
    """The one session of this process; who needs other settings takes spark.newSession() or a child process."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    # Executors see the vonk that is tested, and the test modules, whose functions are pickled by name.
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), os.fspath(Path(__file__).parent)]))
    session = (
        SparkSession.builder.master(master_url)
        .appName("vonk tests")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        .config("spark.executor.memory", "512m")
        .config("spark.executorEnv.PYTHONPATH", path)
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", os.fspath(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()
