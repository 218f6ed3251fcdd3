"""The extension in the processes that people load it into: Python, the stock shell, two DuckDBs at once."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from children import DEPS, EXTENSION, IRIS, MOCKS, VERSIONS, each_version, environment, finish, run, start

#: Where plug-ins and frameworks are, for a copy that has none beside it.
PLACES = {
    "VONK_PLUGIN_PATH": EXTENSION.parent / "vonk" / "plugins",
    "VONK_ONNXRUNTIME_LIBRARY": next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")),
}
SETOSA = "[5.1, 3.5, 1.4, 0.2]::FLOAT[]"


@each_version
def test_it_loads_and_predicts_what_the_framework_predicts(version, tmp_path):
    session = onnxruntime.InferenceSession(str(IRIS))
    rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], np.float32)
    expected = session.run(["probabilities"], {session.get_inputs()[0].name: rows})[0]
    out = run(
        version,
        """
        con = connect()
        con.execute(f"FROM vonk_load('iris', '{IRIS}', output := 'probabilities')")
        for row in ([5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]):
            (values,) = con.execute(f"SELECT iris({row}::FLOAT[])").fetchone()
            print(*map(repr, values))
        """,
        tmp_path,
    )
    found = np.array([[float(value) for value in line.split()] for line in out.splitlines()], np.float32)
    assert (found == expected).all(), f"SQL: {found}, the framework: {expected}"


@each_version
def test_without_the_setting_it_is_refused_by_duckdb_and_says_so(version, tmp_path):
    out = run(
        version,
        """
        con = duckdb.connect()
        try:
            con.execute(f"LOAD '{EXTENSION}'")
        except duckdb.IOException as error:
            print("signature" in str(error) and "allow_unsigned_extensions" in str(error))
        """,
        tmp_path,
    )
    assert out == "True\n"


@each_version
def test_loading_twice_changes_nothing(version, tmp_path):
    out = run(
        version,
        """
        con = connect()
        con.execute(f"FROM vonk_load('iris', '{IRIS}')")
        con.execute(f"LOAD '{EXTENSION}'")
        print(con.execute("SELECT name FROM vonk_models()").fetchall())
        """,
        tmp_path,
    )
    assert out == "[('iris',)]\n"


@each_version
def test_threads_may_load_it_into_their_databases_at_once(version, tmp_path):
    out = run(
        version,
        """
        counts = []

        def work(i):
            con = connect(f"{i}.db")
            con.execute(f"FROM vonk_load('iris', '{IRIS}')")
            counts.append(len(con.execute("SELECT iris([5.1, 3.5, 1.4, 0.2]::FLOAT[]) FROM range(50)").fetchall()))
            con.close()

        for _ in range(5):
            threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        print(set(counts), len(counts))
        until(lambda: "vonk-watch" not in tasks())
        """,
        tmp_path,
    )
    assert out == "{50} 20\n"


@each_version
def test_models_can_be_named_in_the_environment_and_no_connection_kept(version, tmp_path):
    out = run(
        version,
        """
        con = connect()
        print("vonk-watch" in tasks(), con.execute("FROM duckdb_connection_count()").fetchall())
        print(con.execute(f"SELECT len(iris([5.1, 3.5, 1.4, 0.2]::FLOAT[]).probabilities)").fetchall())
        try:
            con.execute(f"FROM vonk_load('other', '{IRIS}')")
        except duckdb.Error as error:
            print("VONK_MODELS" in str(error))
        """,
        tmp_path,
        VONK_NO_PIN="1",
        VONK_MODELS=f"iris={IRIS}",
    )
    assert out == "False [(1,)]\n[(3,)]\nTrue\n"


@each_version
def test_a_copy_elsewhere_finds_plugins_by_the_environment_or_names_where_it_looked(version, tmp_path):
    """As after INSTALL, which copies the file into the user's home folder."""
    copy = tmp_path / "elsewhere" / "vonk.duckdb_extension"
    copy.parent.mkdir()
    shutil.copy(EXTENSION, copy)
    code = """
        con = connect()
        try:
            con.execute(f"FROM vonk_load('iris', '{IRIS}')")
            print(len(con.execute("SELECT iris([5.1, 3.5, 1.4, 0.2]::FLOAT[])").fetchall()))
        except duckdb.Error as error:
            print(error)
        """
    out = run(version, code, tmp_path, GUEST_EXTENSION=copy)
    for place in ("elsewhere/vonk/plugins", "lib/vonk/plugins", "VONK_PLUGIN_PATH"):
        assert place in out, f"the message does not name {place}: {out}"
    out = run(version, code, tmp_path, GUEST_EXTENSION=copy, VONK_PLUGIN_PATH=PLACES["VONK_PLUGIN_PATH"])
    for place in ("VONK_ONNXRUNTIME_LIBRARY", "set-up recorded no 'onnxruntime'"):
        assert place in out, f"the message does not name {place}: {out}"
    assert run(version, code, tmp_path, GUEST_EXTENSION=copy, **PLACES) == "1\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_duckdb_in_the_process_is_refused_and_a_copy_serves_it(version, tmp_path):
    """libduckdb beside DuckDB's Python package, as a program's plug-in may bring it along."""
    copy = tmp_path / "copy" / "vonk.duckdb_extension"
    copy.parent.mkdir()
    shutil.copy(EXTENSION, copy)
    out = run(
        version,
        f"""
        con = connect()
        other = ctypes.CDLL("{DEPS / "duckdb" / "lib" / "libduckdb.so"}")
        config, database, connection = (ctypes.c_void_p() for _ in range(3))
        other.duckdb_create_config(ctypes.byref(config))
        other.duckdb_set_config(config, b"allow_unsigned_extensions", b"true")
        assert other.duckdb_open_ext(None, ctypes.byref(database), config, None) == 0
        assert other.duckdb_connect(database, ctypes.byref(connection)) == 0
        other.duckdb_result_error.restype = ctypes.c_char_p

        def query(text):
            result = (ctypes.c_char * 256)()
            failed = other.duckdb_query(connection, text.encode(), result)
            return other.duckdb_result_error(result).decode() if failed else "fine"

        error = query(f"LOAD '{{EXTENSION}}'")
        print("two DuckDB libraries" in error and "libduckdb.so" in error and "a copy" in error or error)
        print(query("LOAD '{copy}'"), query(f"FROM vonk_load('iris', '{{IRIS}}')"))
        con.execute(f"FROM vonk_load('iris', '{{IRIS}}')")
        print(query("SELECT iris({SETOSA})"), len(con.execute("SELECT iris({SETOSA})").fetchall()))
        """,
        tmp_path,
        **PLACES,
    )
    assert out == "True\nfine fine\nfine 1\n"


def shell() -> str:
    path = shutil.which("duckdb", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert path is not None, "duckdb, the shell: not installed: run 'make deps'"
    return path


def test_the_stock_shell_loads_it(tmp_path):
    env = {key: value for key, value in os.environ.items() if not key.startswith("VONK_MODELS")}
    if "LD_PRELOAD" in env and "asan" in env["LD_PRELOAD"]:
        pytest.skip("the shell holds a memory allocator of its own, which the sanitizer's cannot stand beside")
    database = tmp_path / "shell.db"
    command = [shell(), "-unsigned", "-csv", "-noheader", "-cmd", f"LOAD '{EXTENSION}'", str(database)]
    script = (
        f"CREATE TABLE t AS SELECT 1; FROM vonk_load('iris', '{IRIS}', output := 'species');\nSELECT iris({SETOSA});\n"
    )
    done = subprocess.run(command, input=script, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.splitlines()[-1] == "setosa", done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["shell.db"], "the shell left a journal"


def test_the_stock_shell_stops_a_query_inside_a_chunk(tmp_path):
    """As on Ctrl-C; the shell holds DuckDB statically and exports nothing of it."""
    if "asan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("the shell holds a memory allocator of its own, which the sanitizer's cannot stand beside")
    model = tmp_path / "slow.mock"
    model.write_text("input x f32 -1 4\noutput y = sum x\n")
    child = subprocess.Popen(
        [shell(), "-unsigned", "-csv", "-noheader", "-cmd", f"LOAD '{EXTENSION}'"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(
        f"FROM vonk_load('slow', '{model}', plugin := '{MOCKS / 'mock_slow.so'}', batch := 1);\n"
        "SELECT 'ready';\nSELECT sum(slow([i, 1, 2, 3]::FLOAT[])) FROM range(100000) t(i);\n"
    )
    child.stdin.flush()
    while (line := child.stdout.readline()) != "ready\n":
        assert line != "", "the shell ended"
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    began = time.monotonic()
    child.communicate(timeout=60)
    assert time.monotonic() - began < 5, "a chunk takes 100 s"


def test_the_environment_of_the_tests_is_the_version_asked_for(tmp_path):
    """Else all of the above would be about one release."""
    for version in VERSIONS:
        child = start(version, "print(duckdb.__version__)", tmp_path)
        assert finish(child) == version + "\n"
        assert version in environment(version)["PYTHONPATH"]
