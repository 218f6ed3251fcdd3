"""Executes the notebooks on a Spark cluster and saves their outputs.

    make notebooks                                  all of them
    .venv/bin/python notebooks/run.py streaming     one, or some
    .venv/bin/python notebooks/run.py --rows 200 --output /tmp/out     a quick run that leaves the saved ones alone

How it works: a notebook runs from its first cell to its last in a kernel of its own, with this folder as the working
directory. Its Spark session is one of the cluster that $MASTER names, or else of one that tools/cluster starts for this
run: two Workers of one core. A file is written only if all its cells ran, in one step, and only with what every reader
may see: what belongs to this machine (paths, its name) and what a program says to its terminal (execution times, states
of widgets, the JVM's greeting) is taken out, and a notebook that holds some of it after that is refused. Its metadata
say what ran: the digest of its sources, the rows, the versions.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
#: A cell that takes longer hangs.
PATIENCE = 600
#: In the order of the index in README.md.
NAMES = [
    "onnx_image_classification",
    "tensorflow_image_classification",
    "pytorch_image_classification",
    "tabular_regression",
    "preprocessing_layers",
    "text_classification",
    "sentence_embeddings",
    "huggingface_pipeline",
    "generation",
    "sql_functions",
    "streaming",
]
#: Of this repository, by the name that a notebook imports.
MODULES = {
    "data": "notebooks/data.py",
    "digit_torch": "examples/mnist/digit_torch.py",
    "make_small": "examples/huggingface/make_small.py",
}
#: Whose versions a notebook's outputs depend on.
PACKAGES = ["vonk", "pyspark", "pyarrow", "numpy", "onnxruntime", "tensorflow-cpu", "torch", "scikit-learn"]
#: What a JVM, Spark and TensorFlow write on standard error when they start, whatever the log level.
GREETING = re.compile(
    r"WARNING: All log messages before absl::InitializeLog.*\n|I\d{4} [\d:. ]+ [\w.]+:\d+\] .*\n"
    r"|WARNING: Using incubator modules: .*\n|Setting Spark log level to .*\n|Setting default log level to .*\n"
    r"|To adjust logging level use .*\n|Using Spark's default log4j profile: .*\n"
    r"|(NOTE: )?Picked up \w+: .*\n"
)
#: log4j2.properties of the driver's JVM: nothing but errors.
LOGGING = """\
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %c{1}: %m%n
"""


class NotebookError(Exception):
    """What, why, what to do."""


def digest(notebook: nbformat.NotebookNode) -> str:
    """SHA-256 of what a notebook runs: its cells of code, and the modules of this repository that they import."""
    found = hashlib.sha256()
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for text in cells:
        found.update(text.encode() + b"\0")
    imported = set(re.findall(r"^from (\w+) import", "\n".join(cells), re.MULTILINE))
    for name, path in MODULES.items():
        if name in imported:
            found.update(without_title(ROOT / path).encode() + b"\0")
    return found.hexdigest()


def without_title(path: Path) -> str:
    """A module's text but for its docstring, which runs nothing."""
    text = path.read_text(encoding="utf-8")
    first = ast.parse(text).body[0]
    is_title = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return "\n".join(text.splitlines()[first.end_lineno if is_title else 0 :])


# --- what is saved --------------------------------------------------------------------------------------------------


def texts(output: nbformat.NotebookNode) -> dict[str, str]:
    """The texts of one output of a cell by their kinds: "stdout", "stderr", "error", "text/plain", ..."""
    if output.output_type == "stream":
        return {output.name: output.text}
    if output.output_type == "error":
        return {"error": "\n".join([output.ename, output.evalue, *output.traceback])}
    return {kind: value for kind, value in output.data.items() if isinstance(value, str) and kind.startswith("text/")}


def machine_words(folder: Path) -> dict[str, str]:
    """What only this machine has, and what stands for it: the longest first, for one may hold another."""
    words = {
        f"{folder}/": "/tmp/",
        f"{next(iter(ROOT.glob('.venv/lib/python3*/site-packages')), ROOT)}/": "site-packages/",
        f"{ROOT}/": "",
        str(ROOT): "vonk",
        f"{Path.home()}/": "~/",
    }
    return dict(sorted(words.items(), key=lambda item: -len(item[0])))


def clean(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Takes out of the outputs what belongs to this machine and this moment."""
    words = machine_words(folder)

    def plain(text: str) -> str:
        for word, instead in words.items():
            text = text.replace(word, instead)
        return re.sub(r"/notebook-\w{8}/", "/notebook/", re.sub(r" at 0x[0-9a-f]{6,}", "", text))

    for name in set(notebook.metadata) - {"kernelspec", "language_info", "vonk"}:
        del notebook.metadata[name]
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"tags": cell.metadata.tags} if "tags" in cell.metadata else {})
        kept: list[nbformat.NotebookNode] = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = plain(GREETING.sub("", output.text) if output.name == "stderr" else output.text)
                if not output.text.strip():
                    continue
                if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                    kept[-1].text += output.text
                    continue
            elif output.output_type == "error":
                output.traceback = []  # lines of libraries, with colours; name and message say what happened
                output.evalue = plain(output.evalue)
            else:
                output.metadata = {}
                for kind in [kind for kind in output.data if "widget" in kind]:
                    del output.data[kind]
                output.data.update({kind: plain(value) for kind, value in texts(output).items()})
            kept.append(output)
        if cell.cell_type == "code":
            cell.outputs = kept


def faults(notebook: nbformat.NotebookNode) -> list[str]:
    """What an executed notebook holds that a reader should not see."""
    found = []
    host = platform.node()
    private = re.compile(
        "|".join([re.escape(f"{ROOT}"), re.escape(f"{Path.home()}/"), *([rf"\b{re.escape(host)}\b"] if host else [])])
    )
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            for kind, text in texts(output).items():
                if kind == "stderr":
                    found.append(f"cell {number}: writes to standard error: {text.strip()[:500]}")
                if kind == "error" and "raises-exception" not in cell.metadata.get("tags", []):
                    found.append(f"cell {number}: fails: {text.strip()[:500]}")
                if seen := private.search(text):
                    found.append(f"cell {number}: names this machine: {text[max(seen.start() - 50, 0) :][:150]!r}")
    return found


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Writes the file in one step."""
    nbformat.validate(notebook)
    partial = path.with_suffix(".ipynb.part")
    partial.write_text(nbformat.writes(notebook, indent=1) + "\n")
    partial.replace(path)


# --- execution ------------------------------------------------------------------------------------------------------


def execute(source: Path, target: Path, folder: Path) -> float:
    """Runs one notebook, writes it with its outputs to `target`, and returns the seconds it took.

    Raises
    ------
    NotebookError
        A cell failed, or the outputs are not fit to be read by others. Nothing was written.
    """
    notebook = nbformat.read(source, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=PATIENCE,
        startup_timeout=PATIENCE,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE)}},
    )
    log = folder / f"{source.stem}.log"
    began = time.monotonic()
    try:
        with log.open("wb") as terminal:  # of the kernel: what its JVM writes, and other libraries below Python
            client.execute(stdout=terminal, stderr=terminal)
    except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
        said = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise NotebookError(f"{source.name}: {error}\nThe end of what its kernel wrote:\n{said}") from error
    seconds = time.monotonic() - began
    clean(notebook, folder)
    if wrong := faults(notebook):
        raise NotebookError("\n".join(f"{source.name}: {fault}" for fault in wrong))
    rows = os.environ.get("VONK_NOTEBOOK_ROWS")
    notebook.metadata["vonk"] = {
        "sources": digest(notebook),
        "rows": int(rows) if rows else None,
        "versions": versions(),
    }
    save(notebook, target)
    return seconds


@contextmanager
def cluster(folder: Path, jobs: int) -> Iterator[str]:
    """The URL of a cluster that lives as long as this block, with room for so many sessions; or else $MASTER."""
    if os.environ.get("MASTER"):
        yield os.environ["MASTER"]
        return
    command = [os.fspath(ROOT / "tools" / "cluster"), "up", "--foreground", "--folder", str(folder / "cluster")]
    command += ["--workers", "2", "--cores", str(jobs), "--memory", f"{jobs}g"]
    with subprocess.Popen(
        command, env=os.environ | {"VONK_PYTHON": sys.executable}, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        url = ""
        try:
            for line in child.stdout:
                url = line.split()[1] if line.startswith("master:") else url
                if line.startswith("Ctrl-C"):
                    break
            else:
                raise NotebookError("tools/cluster: starts none: what it wrote is above")
            yield url
        finally:
            child.terminate()  # it may ignore Ctrl-C, as what runs in the background does
            child.communicate(timeout=60)


def environment(master: str, folder: Path, rows: int | None) -> dict[str, str]:
    """What the kernels get besides: whatever a user would have said once for this machine, not in every notebook."""
    conf = folder / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "log4j2.properties").write_text(LOGGING)
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    if not os.environ.get("MASTER"):  # the cluster is ours: a session takes a core of each Worker
        settings |= {"spark.cores.max": "2", "spark.executor.cores": "1"}
    if path := os.environ.get("PYTHONPATH"):  # a vonk that is not installed: executors look there, too
        settings["spark.executorEnv.PYTHONPATH"] = os.pathsep.join(
            str(Path(part).resolve()) for part in path.split(os.pathsep)
        )
        os.environ["PYTHONPATH"] = settings["spark.executorEnv.PYTHONPATH"]
    words = [f"--conf {name}={value}" for name, value in settings.items()]
    found = {
        "MASTER": master,
        "PYSPARK_SUBMIT_ARGS": " ".join([*words, "pyspark-shell"]),
        "SPARK_CONF_DIR": str(conf),
        "TMPDIR": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "jupyter"),
        "MPLCONFIGDIR": str(ROOT / "build" / "notebooks" / "matplotlib"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    if "127.0.0.1" in master or master.startswith("local"):
        found["SPARK_LOCAL_IP"] = "127.0.0.1"
    if rows is not None:
        found["VONK_NOTEBOOK_ROWS"] = str(rows)
    return found


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Executes notebooks on a Spark cluster and saves their outputs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of notebooks, without .ipynb; all if none is given")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to write them, instead of in their place")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at once; the times they show get worse")
    parser.add_argument("--rows", type=int, help="an upper bound of rows, for a quick run; wants --output")
    given = parser.parse_args(arguments)
    given.names = [Path(name).stem for name in given.names] or NAMES
    for name in given.names:
        if not (HERE / f"{name}.ipynb").is_file():
            parser.error(f"there is no notebook '{name}': choose from {', '.join(NAMES)}")
    if given.rows is not None and (given.output is None or given.rows < 1):
        parser.error("--rows wants a number above 0, and --output: outputs of few rows are not what readers should see")
    return given


def attempt(name: str, target: Path, folder: Path) -> bool:
    """Runs one notebook and says how that went."""
    try:
        seconds = execute(HERE / f"{name}.ipynb", target / f"{name}.ipynb", folder)
    except NotebookError as error:
        print(f"notebooks: {error}", file=sys.stderr, flush=True)
        return False
    print(f"notebooks: {name}: {seconds:.1f} s", flush=True)
    return True


def main(arguments: list[str] | None = None) -> int:
    given = parse(arguments)
    target: Path = given.output or HERE
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vonk-notebooks-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary).resolve()
        try:
            with cluster(folder, given.jobs) as master:
                os.environ.pop("VONK_NOTEBOOK_ROWS", None)
                os.environ.update(environment(master, folder, given.rows))
                work = partial(attempt, target=target, folder=folder)
                if given.jobs == 1:
                    done = list(map(work, given.names))
                else:
                    with ThreadPoolExecutor(given.jobs) as pool:
                        done = list(pool.map(work, given.names))
        except NotebookError as error:
            print(f"notebooks: {error}", file=sys.stderr)
            return 1
    failed = [name for name, is_done in zip(given.names, done, strict=True) if not is_done]
    if failed:
        print(f"notebooks: failed, and not written: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster is ended, as at Ctrl-C
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("notebooks: interrupted", file=sys.stderr)
        sys.exit(130)
