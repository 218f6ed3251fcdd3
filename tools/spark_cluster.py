"""A standalone Spark cluster on this machine, from the pyspark package: one Master, some Workers, loopback only.

    tools/cluster up [--workers 2] [--cores 1] [--memory 1g] [--foreground]
    tools/cluster status [--json]
    tools/cluster down

How it works: the package has no scripts that start a cluster, so Master and Workers are started by its spark-class,
each a process in a session of its own that writes a log. Spark chooses the ports: it counts up from its defaults until
one is free, and says in the log which it took. What was started stands in cluster.json in the cluster's folder, written
before each start; every process of the cluster, executors and their Python workers included, carries that file's marker
in its environment (tools/processes.py), so that `down` finds them all, even after this program was killed.

The environment of who starts it is not the cluster's: SPARK_*, PYSPARK_* and PYTHON* are taken out, and the Python that
runs this file comes first on PATH, so that it is the executors' "python3".
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.metadata
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import processes
from processes import Process

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "cluster"
HOST = "127.0.0.1"
JAVA_NEEDED = 17
#: Exit statuses.
WHOLE, BROKEN, DOWN = 0, 1, 3
#: How Master and Workers say in their logs where they listen.
MASTER_URL = re.compile(r"Starting Spark master at (spark://\S+)")
WEB_PORT = re.compile(r"Successfully started service '(?:MasterUI|WorkerUI)' on port (\d+)")
#: Seconds that a JVM is given to start, and the whole cluster to end by itself.
START_PATIENCE = 120.0
END_PATIENCE = 10.0
#: For the heap of Master and Workers; executors have their own.
DAEMON_MEMORY = "256m"


class ClusterError(Exception):
    """What, why, what to do."""


@dataclass
class Daemon:
    """A Master or a Worker."""

    name: str  # "master", "worker-1", ...
    pid: int
    start: int  # clock ticks
    log: str

    @property
    def process(self) -> Process:
        return Process(self.pid, self.start)

    def is_alive(self) -> bool:
        return processes.find(self.pid) == self.process


@dataclass
class State:
    """cluster.json."""

    marker: str
    spark: str
    workers: int
    cores: int
    memory: str
    url: str = ""
    web: str = ""
    daemons: list[Daemon] = field(default_factory=list)

    @staticmethod
    def read(folder: Path) -> State | None:
        """None where no cluster was started.

        Raises
        ------
        ClusterError
            The file is not one of ours.
        """
        file = folder / "cluster.json"
        try:
            given = json.loads(file.read_text())
            daemons = [Daemon(**daemon) for daemon in given.pop("daemons")]
            return State(**given, daemons=daemons)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            raise ClusterError(f"{shown(file)}: cannot be read as a cluster's state: {error}: remove it") from error

    def write(self, folder: Path) -> None:
        partial = folder / "cluster.json.part"
        partial.write_text(json.dumps(asdict(self), indent=1) + "\n")
        partial.replace(folder / "cluster.json")

    def remains(self) -> list[Process]:
        """What is alive of the cluster: its daemons, executors, Python workers."""
        daemons = {daemon.process for daemon in self.daemons if daemon.is_alive()}
        return sorted(daemons | set(processes.marked(self.marker)))


def shown(path: Path) -> str:
    """A path as short as it can be typed here."""
    return os.fspath(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else os.fspath(path)


# --- what it needs --------------------------------------------------------------------------------------------------


def find_spark() -> Path:
    """The folder of the pyspark package, which is a whole Spark.

    Raises
    ------
    ClusterError
        There is none for this Python, or it is Connect's client alone.
    """
    spec = importlib.util.find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        raise ClusterError(
            f"pyspark: {sys.executable} has none: 'make setup EXTRAS=spark' brings it, or 'pip install pyspark'"
        )
    home = Path(spec.submodule_search_locations[0])
    if not (home / "bin" / "spark-class").is_file() or not (home / "jars").is_dir():
        raise ClusterError(f"{home}: has no bin/spark-class and jars: install pyspark itself, not pyspark-client")
    return home


def check_java() -> None:
    """Raises ClusterError unless there is a Java that Spark runs in: JAVA_HOME's, else the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    java = os.fspath(Path(home) / "bin" / "java") if home else "java"
    get = "'make setup EXTRAS=spark' installs it, or 'sudo apt-get install default-jre-headless'; or set JAVA_HOME"
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        whose = "JAVA_HOME has none" if home else "it is not on PATH"
        raise ClusterError(f"{java}: {whose}: Spark needs Java {JAVA_NEEDED} or later: {get}") from error
    said = re.search(r'version "(\d+)', done.stderr + done.stdout)
    if said is None:
        raise ClusterError(f"{java} -version: says {done.stderr.strip()!r}: Spark needs Java {JAVA_NEEDED}: {get}")
    if int(said[1]) < JAVA_NEEDED:
        raise ClusterError(f"{java}: is Java {said[1]}: Spark needs Java {JAVA_NEEDED} or later: {get}")


def environment(spark: Path, folder: Path, marker: str) -> dict[str, str]:
    """Of Master and Workers, and so of the executors."""
    foreign = ("SPARK_", "PYSPARK_", "PYTHON")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    options = [
        "-Dspark.master.rest.enabled=false",
        "-Dspark.port.maxRetries=100",
        f"-Djava.io.tmpdir={folder / 'tmp'}",
    ]
    return env | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}",
        "TMPDIR": os.fspath(folder / "tmp"),
        "SPARK_HOME": os.fspath(spark),
        "SPARK_CONF_DIR": os.fspath(folder / "conf"),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_LOCAL_DIRS": os.fspath(folder / "tmp"),
        "SPARK_DAEMON_MEMORY": DAEMON_MEMORY,
        "SPARK_DAEMON_JAVA_OPTS": " ".join(options),
        processes.MARKER: marker,
    }


# --- up -------------------------------------------------------------------------------------------------------------


def up(folder: Path, workers: int, cores: int, memory: str) -> State:
    """Starts a cluster and waits until all its workers can take work. It is left as it was if anything fails.

    Parameters
    ----------
    folder
        For its state, logs and work; made if need be.
    workers, cores, memory
        How many Workers, and what each offers to executors: cores, and memory as Spark writes it ("1g").

    Raises
    ------
    ClusterError
        It is up already with other workers, or cannot be started.
    """
    spark = find_spark()
    check_java()
    with locked(folder):
        old = State.read(folder)
        if old is not None and is_whole(old):
            same = (old.workers, old.cores, old.memory) == (workers, cores, memory)
            if not same:
                raise ClusterError(f"a cluster of {size(old)} is up already: 'tools/cluster down' ends it")
            return old
        if old is not None:
            print("cluster: what is left of an earlier one is taken away first", file=sys.stderr)
            clean(folder, old)
        # In the folder of the interpreter that spark-class and Java read, a space is one word; in -D options it is not.
        if any(character.isspace() for character in os.fspath(folder)):
            raise ClusterError(f"{folder}: has a space in its path, which Spark's scripts do not take: use --folder")
        version = importlib.metadata.version("pyspark")
        state = State(secrets.token_hex(8), version, workers, cores, memory)
        try:
            start(folder, state, spark)
        except BaseException as error:
            clean(folder, state, keep_logs=isinstance(error, ClusterError))
            raise
        return state


def start(folder: Path, state: State, spark: Path) -> None:
    shutil.rmtree(folder / "logs", ignore_errors=True)
    for name in ("logs", "conf", "tmp", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    state.write(folder)
    env = environment(spark, folder, state.marker)
    words = ["org.apache.spark.deploy.master.Master", "--host", HOST]
    master = launch(folder, state, env, "master", words)
    state.url = wait_for(master, MASTER_URL)
    state.web = f"http://{HOST}:{wait_for(master, WEB_PORT)}"
    state.write(folder)
    for i in range(1, state.workers + 1):
        words = ["org.apache.spark.deploy.worker.Worker", "--host", HOST, "--cores", str(state.cores)]
        words += ["--memory", state.memory, "--work-dir", os.fspath(folder / "work" / f"worker-{i}"), state.url]
        launch(folder, state, env, f"worker-{i}", words)
    wait_for_workers(state)


def launch(folder: Path, state: State, env: dict[str, str], name: str, words: list[str]) -> Daemon:
    log = folder / "logs" / f"{name}.log"
    with log.open("wb") as out:
        # A session of its own: Ctrl-C in this terminal is not for it. spark-class becomes the JVM, the number stays.
        child = subprocess.Popen(
            [os.fspath(Path(env["SPARK_HOME"]) / "bin" / "spark-class"), *words],
            env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    found = processes.find(child.pid)
    child.returncode = 0  # its status is taken by processes.reap, if this process lives so long
    daemon = Daemon(name, child.pid, 0 if found is None else found.start, os.fspath(log))
    state.daemons.append(daemon)
    state.write(folder)
    return daemon


def wait_for(daemon: Daemon, pattern: re.Pattern[str]) -> str:
    """What the pattern finds in a daemon's log, as soon as it does."""
    deadline = time.monotonic() + START_PATIENCE
    while True:
        alive = daemon.is_alive()
        if found := pattern.search(Path(daemon.log).read_text(errors="replace")):
            return found[1]
        if not alive:
            raise ClusterError(f"{daemon.name}: ended while it started: {complaint(daemon)}")
        if time.monotonic() >= deadline:
            raise ClusterError(f"{daemon.name}: not ready after {START_PATIENCE:.0f} s: see {daemon.log}")
        time.sleep(0.05)


def wait_for_workers(state: State) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while (seen := alive_workers(ask(state))) < state.workers:
        for daemon in state.daemons:
            if not daemon.is_alive():
                raise ClusterError(f"{daemon.name}: ended while it started: {complaint(daemon)}")
        if time.monotonic() >= deadline:
            raise ClusterError(f"{seen} of {state.workers} workers registered after {START_PATIENCE:.0f} s")
        time.sleep(0.1)


def complaint(daemon: Daemon) -> str:
    """The line of a log that says most about why its daemon ended, and where the log is."""
    lines = [line.strip() for line in Path(daemon.log).read_text(errors="replace").splitlines() if line.strip()]
    wrong = [line for line in lines if re.search(r"\bERROR\b|Exception|Error:", line)]
    return f"{(wrong or lines or ['it wrote nothing'])[0]}: see {daemon.log}"


# --- status ---------------------------------------------------------------------------------------------------------


def ask(state: State) -> dict[str, Any] | None:
    """What the Master says of its workers and applications; None if it does not answer."""
    if not state.web:
        return None
    try:
        # No proxy: this machine is meant, whatever http_proxy says.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{state.web}/json/", timeout=10) as answer:
            found = json.load(answer)
            return found if isinstance(found, dict) else None
    except (OSError, ValueError):
        return None


def alive_workers(answer: dict[str, Any] | None) -> int:
    return 0 if answer is None else sum(worker["state"] == "ALIVE" for worker in answer["workers"])


def is_whole(state: State) -> bool:
    """Whether Master and all Workers are there and know of each other."""
    alive = all(daemon.is_alive() for daemon in state.daemons) and len(state.daemons) == state.workers + 1
    return alive and alive_workers(ask(state)) == state.workers


def describe(folder: Path) -> dict[str, Any]:
    """The cluster as `status --json` gives it."""
    state = State.read(folder)
    if state is None:
        return {"state": "down", "folder": os.fspath(folder)}
    remains = state.remains()
    kind = "stale" if not remains else "up" if is_whole(state) else "broken"
    answer = ask(state) if remains else None
    return {
        "state": kind,
        "folder": os.fspath(folder),
        "master": state.url,
        "web": state.web,
        "spark": state.spark,
        "workers": [
            {"name": daemon.name, "pid": daemon.pid, "alive": daemon.is_alive(), "cores": state.cores,
             "memory": state.memory, "log": daemon.log}
            for daemon in state.daemons if daemon.name != "master"
        ],
        "applications": [
            {"name": app["name"], "id": app["id"], "cores": app["cores"], "state": app["state"]}
            for app in (answer or {}).get("activeapps", [])
        ],
        "processes": [name_process(process, state) for process in remains],
    }  # fmt: skip


def name_process(process: Process, state: State) -> dict[str, Any]:
    """What a process of the cluster is: "master", "worker", "executor", "daemon" (of Python workers), "python"."""
    words = processes.command(process.pid)
    role = next((daemon.name.partition("-")[0] for daemon in state.daemons if daemon.process == process), "other")
    parent = processes.parent(process.pid)
    if any(word.endswith("CoarseGrainedExecutorBackend") for word in words):
        role = "executor"
    elif "pyspark.daemon" in words:
        role = "python" if "pyspark.daemon" in processes.command(parent) else "daemon"
    elif "pyspark.worker" in words:
        role = "python"
    return {"pid": process.pid, "role": role, "parent": parent}


def print_status(folder: Path, as_json: bool) -> int:
    found = describe(folder)
    if as_json:
        print(json.dumps(found, indent=1))
    elif found["state"] == "down":
        print("cluster: down; 'tools/cluster up' starts one")
    elif found["state"] == "stale":
        print(
            "cluster: its processes are gone, it was not ended by 'tools/cluster down': 'tools/cluster up' starts anew"
        )
    else:
        print(f"cluster: {found['state']}, Spark {found['spark']}")
        print(f"master:       {found['master']}   web page {found['web']}")
        for worker in found["workers"]:
            alive = (
                f"{many(worker['cores'], 'core')}, {worker['memory']}"
                if worker["alive"]
                else f"gone: see {worker['log']}"
            )
            print(f"{worker['name'] + ':':13} process {worker['pid']}: {alive}")
        for app in found["applications"]:
            print(f"application:  {app['name']} ({app['id']}), {many(app['cores'], 'core')}, {app['state'].lower()}")
        if found["state"] == "broken":
            print("cluster: 'tools/cluster down' ends what is left of it")
    return {"up": WHOLE, "broken": BROKEN}.get(found["state"], DOWN)


# --- down -----------------------------------------------------------------------------------------------------------


def down(folder: Path) -> bool:
    """Ends the cluster: its applications' executors, Workers, Master. False if there was none."""
    with locked(folder):
        state = State.read(folder)
        if state is None:
            return False
        clean(folder, state)
        return True


def clean(folder: Path, state: State, keep_logs: bool = True) -> None:
    """Ends all processes of a cluster and removes what it wrote but the logs.

    Raises
    ------
    ClusterError
        A process does not end.
    """
    if left := processes.end(state.marker, [daemon.process for daemon in state.daemons], END_PATIENCE):
        numbers = ", ".join(str(process.pid) for process in left)
        raise ClusterError(f"processes {numbers}: do not end, even when killed: try 'tools/cluster down' again")
    keep_executor_logs(folder)
    for name in ("conf", "tmp", "work") if keep_logs else ("conf", "tmp", "work", "logs"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "cluster.json").unlink(missing_ok=True)


def keep_executor_logs(folder: Path) -> None:
    """work/worker-1/app-…/0/stderr becomes logs/app-…-executor-0.log."""
    for log in (folder / "work").glob("worker-*/app-*/*/stderr"):
        target = folder / "logs" / f"{log.parent.parent.name}-executor-{log.parent.name}.log"
        target.parent.mkdir(exist_ok=True)
        log.replace(target)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One `up` or `down` at a time in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- the program ----------------------------------------------------------------------------------------------------


def size(state: State) -> str:
    return f"{many(state.workers, 'worker')} of {many(state.cores, 'core')} and {state.memory}"


def many(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def greet(state: State, folder: Path) -> None:
    print(f"cluster: up: {size(state)}, Spark {state.spark}")
    print(f"master:  {state.url}")
    print(f"web:     {state.web}   logs: {shown(folder / 'logs')}")
    print()
    print(f"In {shown(Path(sys.executable))}:")
    print("    from pyspark.sql import SparkSession")
    print(f'    builder = SparkSession.builder.master("{state.url}").config("spark.driver.host", "{HOST}")')
    print("    spark = builder.getOrCreate()")
    print()
    print("'tools/cluster status' looks at it, 'tools/cluster down' ends it.", flush=True)


def run_up(arguments: argparse.Namespace, folder: Path) -> int:
    before = State.read(folder)
    state = up(folder, arguments.workers, arguments.cores, arguments.memory)
    if before is not None and before.marker == state.marker:
        print(f"cluster: is up already: {size(state)}: {state.url}")
        return WHOLE
    greet(state, folder)
    return stay(state, folder) if arguments.foreground else WHOLE


def stay(state: State, folder: Path) -> int:
    """Keeps the cluster until Ctrl-C, or until whoever started this program is gone."""
    parent = os.getppid()
    try:
        print("Ctrl-C ends it.", flush=True)
        while os.getppid() == parent:
            if not state.daemons[0].is_alive():
                print(f"cluster: the master has ended: see {state.daemons[0].log}", file=sys.stderr)
                return BROKEN
            time.sleep(0.2)
    except KeyboardInterrupt:
        pass
    finally:
        down(folder)
    return WHOLE


def memory(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*[mg]", text.lower()):
        raise argparse.ArgumentTypeError(f"'{text}': write it as 512m or 2g")
    return text.lower()


def count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"'{text}': a number from 1 to 100")
    return int(text)


def read_arguments(words: list[str] | None) -> argparse.Namespace:
    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument("--folder", type=Path, default=FOLDER, help="for state, logs and work (build/cluster)")
    parser = argparse.ArgumentParser(prog="tools/cluster", description="A Spark cluster on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="up | status | down")
    starting = commands.add_parser("up", parents=[folder], help="start it and wait until it takes work")
    starting.add_argument("--workers", type=count, default=2, metavar="N", help="how many Workers (2)")
    starting.add_argument("--cores", type=count, default=1, metavar="N", help="of each Worker (1)")
    starting.add_argument("--memory", type=memory, default="1g", help="of each Worker, for executors (1g)")
    starting.add_argument(
        "--foreground", action="store_true", help="stay; the cluster ends at Ctrl-C, or with the caller"
    )
    looking = commands.add_parser("status", parents=[folder], help=f"what is there; status {DOWN} if it is down")
    looking.add_argument("--json", action="store_true", help="as JSON, with all processes")
    commands.add_parser("down", parents=[folder], help="end it, its applications' executors too")
    return parser.parse_args(words)


def interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(words: list[str] | None = None) -> int:
    arguments = read_arguments(words)
    folder: Path = arguments.folder.absolute()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        if arguments.command == "up":
            return run_up(arguments, folder)
        if arguments.command == "status":
            return print_status(folder, arguments.json)
        if down(folder):
            print(f"cluster: down; its logs are kept in {shown(folder / 'logs')}")
        else:
            print("cluster: is down already")
        return WHOLE
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return BROKEN
    except KeyboardInterrupt:
        print("cluster: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return WHOLE  # what is printed while it waits is not needed: see finish


def finish(status: int) -> int:
    """The status, once all is written: a reader that has seen enough, as in `up | head -1`, is no failure."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python says so when it ends
    return status


if __name__ == "__main__":
    sys.exit(finish(main()))
