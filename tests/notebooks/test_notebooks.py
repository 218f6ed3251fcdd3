"""The notebooks: each runs again with few rows, on one cluster; what is saved is whole, and of the present sources."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyspark", reason="make setup EXTRAS=all")
pytest.importorskip("nbclient", reason="tools/setup.sh notebooks")

import nbformat

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
sys.path.insert(0, str(FOLDER))
import run  # noqa: E402 - found by then

NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
ROWS = 200
#: The largest difference that a notebook may find between Spark's values and the framework's own.
TOLERANCE = 1e-4


def read(path):
    return nbformat.read(path, 4)


def outputs(notebook, kind):
    return [
        text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for found, text in run.texts(output).items()
        if found == kind
    ]


@pytest.fixture(scope="session")
def again(tmp_path_factory):
    """All of them, run with few rows, two at once on one cluster: where they are, and what their runner said."""
    folder = tmp_path_factory.mktemp("again")
    before = {name: (FOLDER / f"{name}.ipynb").read_bytes() for name in NAMES}
    done = subprocess.run(
        [sys.executable, FOLDER / "run.py", "--rows", str(ROWS), "--jobs", "2", "--output", folder],
        capture_output=True, text=True, check=False, timeout=1800,
    )  # fmt: skip
    print(done.stdout)
    assert before == {name: (FOLDER / f"{name}.ipynb").read_bytes() for name in NAMES}, "the saved ones were touched"
    return folder, done.stdout + done.stderr


def test_the_list_of_notebooks_is_that_of_the_folder():
    assert sorted(run.NAMES) == NAMES


def test_the_index_names_each_notebook_once():
    named = re.findall(r"^\| \[(\w+)\]\(\1\.ipynb\) \|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert named == run.NAMES


# --- what is saved --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_saved_outputs_are_of_the_present_sources(name):
    notebook = read(FOLDER / f"{name}.ipynb")
    said = notebook.metadata["vonk"]
    assert said["sources"] == run.digest(notebook), "the notebook or data.py has changed: make notebooks"
    assert said["rows"] is None
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_saved_outputs_show_no_machine_no_error_no_log(name):
    notebook = read(FOLDER / f"{name}.ipynb")
    nbformat.validate(notebook)
    assert run.faults(notebook) == []
    text = (FOLDER / f"{name}.ipynb").read_text()
    assert not re.search(r"/(root|home/\w+|work)/|[\w.]+:\d+/(json|api)|\x1b\[", text)
    assert set(notebook.metadata) == {"kernelspec", "language_info", "vonk"}


@pytest.mark.parametrize("name", NAMES)
def test_saved_outputs_show_a_summary_a_plot_and_the_time(name):
    notebook = read(FOLDER / f"{name}.ipynb")
    pictures = [
        base64.b64decode(output.data["image/png"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert pictures and all(picture.startswith(b"\x89PNG") and len(picture) < 60_000 for picture in pictures)
    assert re.search(r"[\d,]+ rows in [\d.]+ s", "".join(outputs(notebook, "stdout")))
    summaries = [
        text
        for cell in notebook.cells
        if "model_summary(" in cell.source
        for output in cell.get("outputs", [])
        for kind, text in run.texts(output).items()
        if kind == "text/html"
    ]
    assert any(">parameters</th>" in text and ">returns</th>" in text for text in summaries)


# --- run again ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_again(name, again):
    folder, log = again
    assert (folder / f"{name}.ipynb").exists(), log
    found = read(folder / f"{name}.ipynb")
    assert found.metadata["vonk"]["rows"] == ROWS
    assert found.metadata["vonk"]["sources"] == run.digest(read(FOLDER / f"{name}.ipynb"))
    said = "".join(outputs(found, "stdout"))
    differences = re.findall(r"largest difference.*: (\S+)$", said, re.MULTILINE)
    texts = re.findall(r"texts that differ: (\d+) of \d+", said)
    assert differences or texts, "no comparison with the framework's own values"
    assert all(float(value) <= TOLERANCE for value in differences), differences
    assert all(int(value) == 0 for value in texts), texts
