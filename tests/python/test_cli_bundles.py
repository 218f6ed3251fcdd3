"""`vonk run --as`, `vonk sql --as` and `vonk inspect --selftest` on bundles."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from package import ROOT
from program import DATA, FAILED, MODEL, OK, complaint, lists, read, vonk
from reference import models

sys.path.insert(0, str(ROOT / "tests" / "bundle"))

from bundle_files import onnx_bundle  # tests/bundle/bundle_files.py

WORDS = ["sun", "rain", "snow, or sleet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """weather.vonk: its scores are x; good.vonk and bad.vonk have self-tests; rows.parquet has id and x."""
    where = tmp_path_factory.mktemp("bundles")
    network, x = models.identity(models.F32), np.random.default_rng(2).random((300, 3), dtype=np.float32)
    onnx_bundle(where / "weather.vonk", network, {"y": WORDS})
    onnx_bundle(where / "good.vonk", network, tested=({"x": x}, {"y": x + np.float32(1e-6)}))
    onnx_bundle(where / "bad.vonk", network, tested=({"x": x}, {"y": x + np.float32(0.5)}))
    pq.write_table(pa.table({"id": np.arange(300), "x": lists(x)}), where / "rows.parquet")
    return where


@pytest.fixture(scope="module")
def expected(folder):
    """Of every row the two largest."""
    rows = []
    for row in read(folder / "rows.parquet")["x"].to_pylist():
        order = sorted(range(3), key=lambda i: (-row[i], i))[:2]
        rows.append([{"index": i, "label": WORDS[i], "score": row[i]} for i in order])
    return rows


def score(folder, *args):
    return vonk("run", "weather.vonk", "rows.parquet", "--select", "id", *args, cwd=folder, check=OK)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.jsonl"])
def test_labels_in_files_of_every_format(folder, expected, tmp_path, name):
    score(folder, "-o", tmp_path / name, "--as", "label")
    labels = [entries[0]["label"] for entries in expected]
    if name == "out.jsonl":
        found = [json.loads(line)["y"] for line in (tmp_path / name).read_text().splitlines()]
    elif name == "out.csv":
        found = pc.read_csv(tmp_path / name)["y"].to_pylist()
    else:
        found = read(tmp_path / name)["y"].to_pylist()
    assert found == labels


def test_top_n_as_json_and_parquet_structs_and_csv_text(folder, expected, tmp_path):
    score(folder, "-o", tmp_path / "out.parquet", "--as", "top2")
    assert read(tmp_path / "out.parquet")["y"].to_pylist() == expected
    score(folder, "-o", tmp_path / "out.jsonl", "--as", "top2")
    rows = [json.loads(line)["y"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [[(e["index"], e["label"], np.float32(e["score"])) for e in row] for row in rows] == [
        [(e["index"], e["label"], np.float32(e["score"])) for e in row] for row in expected
    ]
    done = score(folder, "-o", "-", "--as", "top2")
    assert done.stdout.decode().splitlines()[1].startswith(f"0,\"[{{'index': {expected[0][0]['index']}, 'label': ")


def test_sql_has_them_too(folder, expected):
    query = "SELECT weather(x) AS y FROM 'rows.parquet' ORDER BY id LIMIT 3"
    done = vonk("sql", "-m", "weather.vonk", "--as", "weather=label", "--json", query, cwd=folder, check=OK)
    assert [row["y"] for row in json.loads(done.stdout)] == [entries[0]["label"] for entries in expected[:3]]
    done = vonk("sql", "-m", "weather.vonk", "--as", "top2", "--json", query, cwd=folder, check=OK)
    assert [[e["label"] for e in row["y"]] for row in json.loads(done.stdout)] == [
        [e["label"] for e in entries] for entries in expected[:3]
    ]


def test_labels_need_labels(folder):
    said = complaint("run", "good.vonk", "rows.parquet", "-o", "out.csv", "--as", "label", cwd=folder, code=DATA)
    assert said == (
        "vonk run: as='label': output 'y' has no labels, for the bundle has none: pack it with --labels FILE, or use "
        "as='argmax' for the number of the class"
    )
    assert not (folder / "out.csv").exists()


def test_selftest_says_how_far_off_it_is(folder):
    done = vonk("inspect", "good.vonk", "--selftest", cwd=folder, check=OK)
    path, line = done.stdout.decode().splitlines()
    assert path == str(folder / "good.vonk")
    assert line.startswith("  self-test  passed: 300 rows, largest difference 1.")
    assert line.endswith("e-06, tolerance 1e-05")
    told = json.loads(vonk("inspect", "good.vonk", "--selftest", "--json", cwd=folder, check=OK).stdout)
    assert told.pop("largest_difference") == pytest.approx(1e-6, rel=0.1)
    assert told == {
        "path": str(folder / "good.vonk"),
        "passed": True,
        "rows": 300,
        "tolerance": 1e-05,
        "error": None,
    }


def test_a_failed_selftest_is_a_failure(folder):
    said = complaint("inspect", "bad.vonk", "--selftest", cwd=folder, code=FAILED)
    assert said.startswith(f"vonk inspect: self-test of '{folder / 'bad.vonk'}': output 'y', row ")
    done = vonk("inspect", "bad.vonk", "--selftest", "--json", cwd=folder, check=FAILED)
    told = json.loads(done.stdout)
    assert told["passed"] is False
    assert 0.3 < told["largest_difference"] <= 0.5
    assert told["error"] in done.stderr.decode()


def test_without_a_selftest_there_is_nothing_to_run(folder):
    assert complaint("inspect", "weather.vonk", "--selftest", cwd=folder, code=MODEL) == (
        f"vonk inspect: model '{folder / 'weather.vonk'}': this bundle has no self-test: 'vonk pack' gives it one"
    )
