"""Set-up's stages run once per key, and a download that is not the tested file is refused."""

import tarfile

import pytest
import setup as vonk_setup


def test_a_stage_runs_once_per_key_and_again_when_its_result_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(vonk_setup, "ROOT", tmp_path)
    result = tmp_path / "result"
    runs = []

    def work():
        runs.append(1)
        result.write_text("done")

    assert vonk_setup.stage("x", tmp_path, "key1", [result], work)
    assert not vonk_setup.stage("x", tmp_path, "key1", [result], work)
    assert vonk_setup.stage("x", tmp_path, "key2", [result], work)
    result.unlink()
    assert vonk_setup.stage("x", tmp_path, "key2", [result], work)
    assert len(runs) == 3


def test_a_stage_that_fails_runs_again(tmp_path, monkeypatch):
    monkeypatch.setattr(vonk_setup, "ROOT", tmp_path)
    with pytest.raises(vonk_setup.SetupError, match="x: result should exist now"):
        vonk_setup.stage("x", tmp_path, "key", [tmp_path / "result"], lambda: None)
    assert vonk_setup.stage("x", tmp_path, "key", [], lambda: None)


def test_a_key_follows_the_content_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr(vonk_setup, "ROOT", tmp_path)
    file = tmp_path / "src" / "a.c"
    file.parent.mkdir()
    file.write_text("1")
    before = vonk_setup.key_of("x", file.parent)
    assert vonk_setup.key_of("x", file.parent) == before
    file.write_text("2")
    assert vonk_setup.key_of("x", file.parent) != before


def test_a_download_with_another_digest_is_refused_and_removed(tmp_path):
    file = tmp_path / "duckdb.h"
    file.write_text("not the header")
    with pytest.raises(vonk_setup.SetupError, match="is not the file we tested"):
        vonk_setup.check_sha256(file, "duckdb/include/duckdb.h")
    assert not file.exists()


def test_extract_takes_the_named_files_and_says_which_are_missing(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    archive = tmp_path / "x.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "a.txt", "package/data/a.txt")
    vonk_setup.extract(archive, {"data/a.txt": tmp_path / "out" / "a"})
    assert (tmp_path / "out" / "a").read_text() == "a"
    with pytest.raises(vonk_setup.SetupError, match=r"x\.tgz: does not hold data/b\.txt"):
        vonk_setup.extract(archive, {"data/b.txt": tmp_path / "out" / "b"})
