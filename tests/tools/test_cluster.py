"""tools/cluster: a Spark cluster that starts whatever ports are taken, says what it has, and leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import processes
import pytest

pytest.importorskip("pyspark", reason="make setup EXTRAS=spark")

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "tools" / "cluster"
#: An application that holds on to its executors, as a notebook does.
APPLICATION = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master(sys.argv[1]).appName("notebook").config("spark.ui.enabled", "false")
spark = builder.config("spark.driver.host", "127.0.0.1").config("spark.executor.memory", "512m").getOrCreate()
print(spark.sparkContext.parallelize(range(4), 2).map(lambda n: n * n).sum(), flush=True)
sys.stdin.read()
"""


def cluster(*words, folder, env=None, python=sys.executable):
    return subprocess.run(
        [CLUSTER, *words, "--folder", folder], env={**os.environ, "VONK_PYTHON": str(python), **(env or {})},
        capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip


def status(folder):
    done = cluster("status", "--json", folder=folder)
    return done.returncode, json.loads(done.stdout)


def marker(folder):
    return json.loads((folder / "cluster.json").read_text())["marker"]


def listening(pids):
    """The addresses on which processes listen, by /proc."""
    sockets = set()
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            sockets.update(re.findall(r"socket:\[(\d+)\]", str(fd.readlink())))
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in sockets:
                found.append(words[1])
    return found


@pytest.fixture
def taken():
    """Spark's default ports, taken by somebody else."""
    held = []
    for port in (7077, 8080, 8081):
        one = socket.socket()
        try:
            one.bind(("127.0.0.1", port))
            one.listen()
        except OSError:  # somebody else holds it indeed
            one.close()
            continue
        held.append(one)
    yield {7077, 8080, 8081}
    for one in held:
        one.close()


def test_it_starts_beside_taken_ports_on_loopback_and_goes_without_a_trace(tmp_path, taken):
    done = cluster("up", "--workers", "2", "--memory", "512m", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    url = re.search(r"^master:  spark://127\.0\.0\.1:(\d+)$", done.stdout, re.MULTILINE)
    web = re.search(r"^web:     http://127\.0\.0\.1:(\d+) ", done.stdout, re.MULTILINE)
    assert url and web and not {int(url[1]), int(web[1])} & taken, done.stdout
    assert f'.master("spark://127.0.0.1:{url[1]}")' in done.stdout and "tools/cluster down" in done.stdout
    code, found = status(tmp_path)
    assert (code, found["state"], len(found["workers"])) == (0, "up", 2), found
    pids = [process["pid"] for process in found["processes"]]
    addresses = listening(pids)
    assert len(addresses) >= 6, "a port and a page of each"
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert {address.partition(":")[0] for address in addresses} <= loopback, addresses

    again = cluster("up", "--workers", "2", "--memory", "512m", folder=tmp_path)
    assert again.returncode == 0 and "is up already" in again.stdout and url[1] in again.stdout, again
    other = cluster("up", "--workers", "3", folder=tmp_path)
    assert other.returncode == 1 and "2 workers of 1 core and 512m is up already" in other.stderr, other

    mark = marker(tmp_path)
    down = cluster("down", folder=tmp_path)
    assert down.returncode == 0 and down.stdout.startswith("cluster: down"), down
    assert processes.marked(mark) == [] and [pid for pid in pids if processes.find(pid)] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "logs"]
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["master.log", "worker-1.log", "worker-2.log"]
    assert cluster("down", folder=tmp_path).stdout == "cluster: is down already\n"
    assert status(tmp_path)[0] == 3


def test_status_shows_applications_and_a_killed_worker_and_down_ends_executors(tmp_path):
    assert cluster("up", "--workers", "1", "--memory", "512m", folder=tmp_path).returncode == 0
    url = status(tmp_path)[1]["master"]
    with subprocess.Popen(
        [sys.executable, "-c", APPLICATION, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
    ) as application:  # fmt: skip
        try:
            assert application.stdout.readline() == "14\n"
            _, found = status(tmp_path)
            assert [app["name"] for app in found["applications"]] == ["notebook"], found
            roles = sorted(process["role"] for process in found["processes"])
            assert roles == ["daemon", "executor", "master", "python", "worker"], found
            assert "application:  notebook (app-" in cluster("status", folder=tmp_path).stdout

            worker = found["workers"][0]
            os.kill(worker["pid"], signal.SIGKILL)
            code, found = status(tmp_path)
            assert (code, found["state"]) == (1, "broken"), found
            shown = cluster("status", folder=tmp_path).stdout
            assert f"worker-1:     process {worker['pid']}: gone: see {worker['log']}" in shown, shown

            mark = marker(tmp_path)
            assert cluster("down", folder=tmp_path).returncode == 0
            assert processes.marked(mark) == []
        finally:
            application.kill()
    logs = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert len(logs) == 3 and re.fullmatch(r"app-[\d-]+-executor-0\.log", logs[0]), logs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_start_leaves_nothing(tmp_path, number):
    """Nor does one that was killed, once somebody says `down`."""
    command = [sys.executable, ROOT / "tools" / "spark_cluster.py", "up", "--folder", tmp_path]
    heard = ["env", "--default-signal=INT"]  # it is ignored where the tests run in the background
    with subprocess.Popen([*heard, *command], stderr=subprocess.PIPE) as child:
        deadline = time.monotonic() + 60
        while not (tmp_path / "logs" / "master.log").exists():
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        mark = marker(tmp_path)
        child.send_signal(number)
        child.wait(timeout=60)
    if number == signal.SIGKILL:
        assert cluster("down", folder=tmp_path).returncode == 0
    else:
        assert child.returncode == 130
    assert processes.marked(mark) == []
    assert not (tmp_path / "cluster.json").exists() and not (tmp_path / "work").exists()


def fake_java(folder, version, then="exit 1"):
    """A java that tells its version and does nothing else."""
    program = folder / "jdk" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\n[ "$1" != -version ] || {{ echo \'openjdk version "{version}"\' >&2; exit; }}\n{then}\n'
    )
    program.chmod(0o755)
    return {"JAVA_HOME": str(folder / "jdk")}


def test_a_master_that_does_not_start_is_told_with_its_log(tmp_path):
    env = fake_java(tmp_path, "17.0.1", "echo 'Error: the heap is too large' >&2; exit 1")
    done = cluster("up", folder=tmp_path / "cluster", env=env)
    log = tmp_path / "cluster" / "logs" / "master.log"
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("cluster: master: ended while it started: "), done.stderr
    assert str(log) in done.stderr and "the heap is too large" in log.read_text()
    assert not (tmp_path / "cluster" / "cluster.json").exists()


@pytest.mark.parametrize(
    ("version", "said"),
    [(None, "java: JAVA_HOME has none"), ("11.0.2", "is Java 11"), ("1.8.0_402", "is Java 1")],
)
def test_without_java_17_it_says_what_to_install(tmp_path, version, said):
    env = {"JAVA_HOME": str(tmp_path / "jdk")} if version is None else fake_java(tmp_path, version)
    done = cluster("up", folder=tmp_path / "cluster", env=env)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr and "Spark needs Java 17 or later" in done.stderr, done.stderr
    assert "apt-get install default-jre-headless" in done.stderr and "EXTRAS=spark" in done.stderr
    assert not (tmp_path / "cluster").exists()


def test_without_java_on_path_it_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname"):
        (tools / name).symlink_to(f"/bin/{name}" if name == "sh" else f"/usr/bin/{name}")
    done = cluster("up", folder=tmp_path / "cluster", env={"PATH": str(tools)})
    assert done.returncode == 1, done
    assert done.stderr.startswith("cluster: java: it is not on PATH: "), done.stderr


def test_without_pyspark_it_says_how_to_get_it(tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without site-packages
    python.chmod(0o755)
    done = cluster("up", folder=tmp_path / "cluster", python=python)
    assert done.returncode == 1 and done.stderr.startswith("cluster: pyspark: "), done.stderr
    assert "make setup EXTRAS=spark" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [CLUSTER, "down", "--folder", tmp_path]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stale_state_is_said_and_a_process_that_has_its_number_now_is_left_alone(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as other:
        found = processes.find(other.pid)
        daemon = {"name": "master", "pid": other.pid, "start": found.start - 1, "log": "master.log"}
        state = {"marker": "0123456789abcdef", "spark": "4.3.0", "workers": 1, "cores": 1, "memory": "1g",
                 "url": "spark://127.0.0.1:1", "web": "http://127.0.0.1:1", "daemons": [daemon]}  # fmt: skip
        (tmp_path / "cluster.json").write_text(json.dumps(state))
        code, told = status(tmp_path)
        assert (code, told["state"], told["processes"]) == (3, "stale", []), told
        assert "its processes are gone" in cluster("status", folder=tmp_path).stdout
        processes.send(processes.Process(other.pid, found.start - 1), signal.SIGKILL)
        assert cluster("down", folder=tmp_path).returncode == 0
        assert processes.find(other.pid) == found, "it was killed"
        processes.send(found, signal.SIGKILL)
        assert other.wait(timeout=10) == -signal.SIGKILL
    assert not (tmp_path / "cluster.json").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"daemons": 1}', '{"daemons": [{"name": 1}]}'])
def test_a_state_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "cluster.json").write_text(text)
    done = cluster("status", folder=tmp_path)
    assert done.returncode == 1 and "cannot be read as a cluster's state" in done.stderr, done


@pytest.mark.parametrize(
    "words", [["--workers", "0"], ["--workers", "x"], ["--cores", "-1"], ["--memory", "1"], ["--memory", "0g"]]
)
def test_sizes_that_are_none_are_refused(tmp_path, words):
    done = cluster("up", *words, folder=tmp_path / "cluster")
    assert done.returncode == 2 and words[0] in done.stderr, done
