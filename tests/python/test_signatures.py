"""Models with several signatures, and models that are folders: in the program, in SQL and in Python."""

import hashlib
import json
import pickle
import shlex
import shutil
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import saved_models
import vonk
import vonk.duckdb
from package import IRIS
from program import MODEL, OK, complaint, lists, program, read, stacked
from program import vonk as run_vonk

ROWS = saved_models.ROWS


@pytest.fixture(scope="module")
def models():
    return saved_models.folder()


@pytest.fixture(scope="module")
def saved(models):
    return models / "saved"


@pytest.fixture(scope="module")
def scores(models):
    return np.load(models / "score.npy")


@pytest.fixture(scope="module")
def doubled(models):
    return np.load(models / "doubled.npy")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "ROWS.parquet"
    pq.write_table(pa.table({"x": lists(ROWS)}), path)
    return path


def rows_of(cells):
    return np.array([list(row) for row in cells], dtype=np.float32)


# --- the program ---


def test_inspect_shows_the_signatures_and_which_one_it_is(saved):
    said = run_vonk("inspect", saved, check=OK).stdout.decode()
    assert "\n  signature  serving_default, of: serving_default, twice\n" in said, said
    assert "score: float32[N]" in said and "doubled" not in said, said
    other = run_vonk("inspect", saved, "--signature", "twice", check=OK).stdout.decode()
    assert "\n  signature  twice, of: serving_default, twice\n" in other, other
    assert "doubled: float32[N, 3]" in other and "score" not in other, other


def test_inspect_tells_scripts_the_same(saved):
    found = json.loads(run_vonk("inspect", saved, "--signature", "twice", "--json", check=OK).stdout)
    assert (found["signature"], found["signatures"]) == ("twice", ["serving_default", "twice"])
    plain = json.loads(run_vonk("inspect", IRIS, "--json", check=OK).stdout)
    assert (plain["signature"], plain["signatures"]) == (None, None)


def test_the_lines_to_type_next_can_be_pasted(models, table, doubled):
    moved = table.parent / "it's a model"
    shutil.copytree(models / "saved", moved)
    said = run_vonk("inspect", moved, "--signature", "twice", "--device", "cpu", check=OK).stdout.decode()
    run_line = next(line for line in said.splitlines() if line.startswith("vonk run"))
    other_line = next(line for line in said.splitlines() if line.startswith("vonk inspect"))
    words = shlex.split(run_line)
    assert words[2:7] == [str(moved), "--signature", "twice", "--device", "cpu"], words
    subprocess.run(f'vonk() {{ {program()} "$@"; }}; {run_line}', shell=True, cwd=table.parent, check=True)
    assert np.array_equal(stacked(read(table.parent / "PREDICTIONS.parquet")["doubled"]), doubled)
    assert shlex.split(other_line)[2:] == [str(moved), "--device", "cpu", "--signature", "serving_default"]


def test_options_of_a_plugin_are_in_the_lines_to_type_next(models):
    option = "inputs=input:f32[-1,3]"
    said = run_vonk("inspect", models / "script.pt", "--option", option, check=OK).stdout.decode()
    words = shlex.split(next(line for line in said.splitlines() if line.startswith("vonk run")))
    assert words[3:5] == ["--option", option], said


def test_run_uses_the_signature(saved, table, scores, doubled):
    out = table.with_name("out.parquet")
    run_vonk("run", saved, table, "-o", out, check=OK)
    assert read(out)["score"].to_numpy() == pytest.approx(scores)
    run_vonk("run", f"{saved}/", table, "-o", out, "--signature", "twice", check=OK)
    assert np.array_equal(stacked(read(out)["doubled"]), doubled)


def test_bench_uses_the_signature(saved):
    args = ["bench", saved, "--signature", "twice", "--rows", 1000, "--seconds", 0.1, "--json"]
    assert json.loads(run_vonk(*args, check=OK).stdout)["rows"] == 1000


def test_sql_of_the_program_uses_the_signature(saved, doubled):
    query = "SELECT m([1, 2, 3]) AS y"
    printed = run_vonk("sql", "-m", f"m={saved}", "--signature", "twice", "--json", query, check=OK).stdout
    assert json.loads(printed) == [{"y": {"doubled": [2, 4, 6]}}] or json.loads(printed) == [{"y": [2, 4, 6]}]


def test_sql_of_the_program_names_a_folder_after_itself(saved):
    for path in (saved, f"{saved}/", f"{saved}//"):
        printed = run_vonk("sql", "-m", path, "--csv", "SELECT saved([1, 2, 3]) AS y", check=OK).stdout.decode()
        assert printed.split() == ["y", "14.0"], path


def test_a_signature_that_is_not_there_is_answered_with_those_that_are(saved, table):
    message = complaint("inspect", saved, "--signature", "nope", code=MODEL)
    assert "'nope'" in message and "serving_default" in message and "twice" in message, message


@pytest.mark.parametrize("command", [["inspect"], ["run"], ["bench"]])
def test_a_format_with_one_signature_says_so(command, table):
    args = [*command, IRIS, *([table, "-o", "-"] if command == ["run"] else []), "--signature", "serve"]
    message = complaint(*args, code=MODEL)
    assert message == f"vonk {command[0]}: signature 'serve': onnx models have one signature: leave it out"


# --- SQL ---


def test_vonk_load_takes_the_signature(saved, scores, doubled):
    con = vonk.duckdb.connect()
    con.execute(f"FROM vonk_load('s', '{saved}')").fetchall()
    con.execute(f"FROM vonk_load('d', '{saved}', signature := 'twice')").fetchall()
    arguments = ", ".join(f"[{', '.join(map(str, row))}]" for row in ROWS.tolist())
    found = con.sql(f"SELECT s(x), d(x), vonk_predict('d', x) FROM (SELECT unnest([{arguments}]) AS x)").fetchall()
    assert [row[0] for row in found] == pytest.approx(scores.tolist())
    assert np.array_equal(rows_of(row[1] for row in found), doubled)
    assert np.array_equal(rows_of(row[2] for row in found), doubled)
    with pytest.raises(Exception, match="onnx models have one signature: leave it out"):
        con.execute(f"FROM vonk_load('i', '{IRIS}', signature := 'twice')")
    with pytest.raises(Exception, match="no signature 'nope'"):
        con.execute(f"FROM vonk_load('n', '{saved}', signature := 'nope')")


@pytest.mark.parametrize("way", ["extension", "arrow"])
def test_a_function_is_registered_for_a_signature(saved, doubled, way):
    con = vonk.duckdb.connect()
    vonk.duckdb.register(con, "d", saved, way=way, signature="twice")
    found = con.sql("SELECT d([0.0, 1.0, 2.0]::FLOAT[])").fetchone()[0]
    assert list(found["doubled"] if isinstance(found, dict) else found) == doubled[0].tolist()


def test_a_folder_is_described_and_found_in_vonk_models(saved, monkeypatch):
    monkeypatch.setenv("VONK_MODELS", str(saved.parent))
    con = vonk.duckdb.connect()
    listed = dict(con.sql("SELECT name, error FROM vonk_models()").fetchall())
    assert listed["saved"] is None and set(listed) == {"saved", "script"}, listed
    assert con.sql("SELECT saved([1.0, 1.0, 1.0])").fetchone()[0] == pytest.approx(6.0)
    assert con.sql(f"SELECT kind, name FROM '{saved}'").fetchall() == [("input", "x"), ("output", "score")]


def test_vonk_models_may_name_a_model_that_is_a_folder(saved, monkeypatch):
    monkeypatch.setenv("VONK_MODELS", f"{saved}/")
    con = vonk.duckdb.connect()
    assert con.sql("SELECT name, format, error FROM vonk_models()").fetchall() == [("saved", "savedmodel", None)]


def test_vonk_plugins_lists_the_options(saved):
    con = vonk.duckdb.connect()
    found = dict(con.sql("SELECT name, options FROM vonk_plugins()").fetchall())
    assert any(option.startswith("signature: ") for option in found["tensorflow"]), found
    assert not any(option.startswith("signature: ") for option in found["onnx"]), found


# --- Python ---


def test_open_takes_the_signature(saved, scores, doubled):
    assert vonk.open(saved).predict(ROWS) == pytest.approx(scores)
    model = vonk.open(saved, signature="twice")
    assert np.array_equal(model.predict(ROWS), doubled)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(ROWS), doubled)
    assert model.summary().metadata["signature"] == "twice"
    assert model.summary().metadata["signatures"].split(", ") == ["serving_default", "twice"]


def test_python_says_that_a_format_has_one_signature():
    with pytest.raises(vonk.InvalidError, match=r"^signature 'x': onnx models have one signature: leave it out$"):
        vonk.open(IRIS, signature="x")


def test_a_model_saved_again_in_place_is_not_the_old_one(tmp_path, scores):
    """Also while the old one is in use."""
    import tensorflow  # noqa: F401, PLC0415 - in this process, for the second model

    path = tmp_path / "saved"
    saved_models.make_saved(path)
    old = vonk.open(path)
    assert old.predict(ROWS) == pytest.approx(scores)
    saved_models.make_saved(path, factor=10.0)
    assert vonk.open(path).predict(ROWS) == pytest.approx(10.0 * scores)
    assert old.predict(ROWS) == pytest.approx(scores)


def test_the_size_and_digest_of_a_folder_are_those_of_its_files(saved):
    files = sorted((path for path in saved.rglob("*") if path.is_file()), key=lambda p: str(p.relative_to(saved)))
    lines = "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(saved)}\n" for p in files)
    model = vonk.open(saved)
    assert model.summary().file_bytes == sum(path.stat().st_size for path in files)
    assert model.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    vonk.open(f"{saved}#sha256={model.sha256}")
    with pytest.raises(vonk.ModelError, match="is not the pinned one"):
        vonk.open(f"{saved}#sha256={'0' * 64}")
