"""How long a model lives: exchanged, given back, changed on disk, on each release."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import hosts
import pytest


@pytest.fixture
def mock(host: hosts.Host, tmp_path: Path) -> tuple[hosts.Host, str, Path]:
    """A database, the statement that loads a mock model as 'guest', and the plug-in, which counts what is alive."""
    library = hosts.mock_folder() / "mock_echo.so"
    (tmp_path / "guest.mock").write_text("input x f32 n 4\noutput y = sum x\n")
    host.open(":memory:")
    return host, f"FROM vonk_load('guest', '{tmp_path}/guest.mock', plugin := '{library}')", library


def alive(host: hosts.Host, library: Path) -> tuple[int, int]:
    """Models and sessions that the plug-in has made and not got back."""
    counters = host.counters(library)
    return counters["live_models"], counters["live_sessions"]


def test_an_unloaded_model_is_freed(mock: tuple[hosts.Host, str, Path]) -> None:
    host, load, library = mock
    host.sql(load)
    assert host.value("SELECT sum(guest([i, i, i, i]::FLOAT[])) FROM range(5000) t(i)") == 4 * 4999 * 2500
    assert alive(host, library) >= (1, 1)
    assert host.sql("FROM vonk_unload('guest')") == [("guest", True)]
    assert alive(host, library) == (0, 0)
    assert "model 'guest' is not loaded" in host.error("SELECT guest([1, 2, 3, 4]::FLOAT[])")


def test_an_exchanged_model_is_freed(mock: tuple[hosts.Host, str, Path]) -> None:
    host, load, library = mock
    for scale in (1, 2, 3):
        host.sql(load[:-1] + f", options := MAP {{'scale': '{scale}'}})")
        assert host.value("SELECT guest([1, 1, 1, 1]::FLOAT[])") == 4 * scale
        assert alive(host, library)[0] == 1


def test_a_prepared_statement_holds_no_model(mock: tuple[hosts.Host, str, Path]) -> None:
    host, load, library = mock
    host.sql(load)
    host.sql("PREPARE p AS SELECT guest($1::FLOAT[])")
    assert host.sql("EXECUTE p([1, 2, 3, 4])") == [(10,)]
    host.sql("FROM vonk_unload('guest')")
    assert alive(host, library) == (0, 0)


def test_a_closed_database_frees_its_models(mock: tuple[hosts.Host, str, Path], tmp_path: Path) -> None:
    host, load, library = mock
    host.open(str(tmp_path / "some.db"))
    host.sql(load)
    assert host.value("SELECT guest([1, 2, 3, 4]::FLOAT[])") == 10
    host.open(":memory:")
    deadline = time.monotonic() + hosts.PATIENCE / 10
    while alive(host, library) != (0, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert alive(host, library) == (0, 0)


def test_errors_free_what_they_had_opened(mock: tuple[hosts.Host, str, Path]) -> None:
    host, load, library = mock
    for wrong in ("output := 'z'", "as_ := 'top5'", "options := MAP {'scale': 'much'}"):
        host.error(load[:-1] + f", {wrong})")
    host.error(load.replace("'guest'", "'sum'"))
    assert alive(host, library) == (0, 0)


def test_a_file_that_changed_is_read_again(host: hosts.Host, data: Path, tmp_path: Path) -> None:
    """By the next vonk_load of its name, and by vonk_predict with its path at once."""
    path = tmp_path / "model.onnx"
    query = f"SELECT scale([1, 1, 1]::FLOAT[])[1], vonk_predict('{path}', [1, 1, 1]::FLOAT[])[1]"
    host.open(":memory:")
    shutil.copy(data / "models" / "double.onnx", path)
    host.sql(f"FROM vonk_load('scale', '{path}')")
    assert host.sql(query) == [(2, 2)]
    shutil.copy(data / "models" / "triple.onnx", tmp_path / "new.onnx")
    (tmp_path / "new.onnx").replace(path)
    assert host.sql(query) == [(2, 3)]
    host.sql(f"FROM vonk_load('scale', '{path}')")
    assert host.sql(query) == [(3, 3)]


def test_a_file_that_is_gone_does_no_harm_to_what_is_loaded(host: hosts.Host, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    host.open(":memory:")
    shutil.copy(data / "models" / "double.onnx", path)
    host.sql(f"FROM vonk_load('scale', '{path}')")
    path.unlink()
    assert host.value("SELECT scale([1, 1, 1]::FLOAT[])[1]") == 2
    assert "model.onnx" in host.error(f"FROM vonk_load('scale', '{path}')")
    assert host.value("SELECT scale([1, 1, 1]::FLOAT[])[1]") == 2


@pytest.mark.parametrize("version", hosts.versions())
def test_a_path_holds_one_model_and_can_be_unloaded(version: str, tmp_path: Path) -> None:
    """vonk_predict with a path keeps the model open for the next call, and lets the old one go if the file changed."""
    library = tmp_path / "vonk_mock.so"
    shutil.copy(hosts.mock_folder() / "mock_echo.so", library)
    path = tmp_path / "guest.mock"
    query = f"SELECT vonk_predict('{path}', [1, 2]::FLOAT[])"
    host = hosts.Host(version, VONK_PLUGIN_PATH=str(tmp_path))
    for op, expected in (("sum", [3]), ("copy", [1, 2]), ("length", [2])):
        path.write_text(f"input x f32 n 2\noutput y = {op} x\n")
        assert [host.value(query), host.value(query)] == [expected, expected]
        assert alive(host, library)[0] == 1
    assert host.counters(library)["models"] == 3
    assert host.sql(f"FROM vonk_unload('{path}')") == [(str(path), True)]
    assert alive(host, library) == (0, 0)
    host.close()
