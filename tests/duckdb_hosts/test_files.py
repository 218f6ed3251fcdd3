"""A database with vonk loaded lets go of its file as one without does."""

import os
import signal

import pytest
from children import each_interruptible, each_version, finish, run, start

CLOSINGS = pytest.mark.parametrize("close", ["con.close()", "del con; gc.collect()"], ids=["close", "del"])


@each_version
@CLOSINGS
def test_a_closed_database_is_written_and_unlocked(version, close, tmp_path):
    out = run(
        version,
        f"""
        con = connect("a.db")
        con.execute("CREATE TABLE t AS SELECT range AS i FROM range(1000)")
        assert Path("a.db.wal").exists(), "nothing to write back: the test shows nothing"
        {close}
        assert opens_elsewhere("a.db"), "another process cannot open it"
        assert not Path("a.db.wal").exists()
        print("done")
        """,
        tmp_path,
    )
    assert out == "done\n"


@each_version
def test_a_closed_database_opens_again_in_the_process(version, tmp_path):
    out = run(
        version,
        """
        for i in range(5):
            con = connect("a.db")
            con.execute("CREATE OR REPLACE TABLE t AS SELECT 42 AS i")
            con.close()
            began = time.monotonic()
            con = connect("a.db", load=False)
            assert time.monotonic() - began < 5, "opening it again waits"
            print(con.execute("FROM t").fetchall())
            con.close()
        """,
        tmp_path,
    )
    assert out == "[(42,)]\n" * 5


@each_version
def test_an_attached_database_is_let_go_when_it_is_detached(version, tmp_path):
    out = run(
        version,
        """
        con = connect("a.db")
        con.execute("ATTACH 'b.db' AS b")
        con.execute("CREATE TABLE b.t AS SELECT 1 AS i")
        con.execute("DETACH b")
        assert opens_elsewhere("b.db"), "another process cannot open the detached file"
        # the main database detached too, and the connection still works
        con.execute("ATTACH ':memory:' AS m; USE m; DETACH a")
        assert opens_elsewhere("a.db"), "another process cannot open the detached main file"
        con.execute(f"FROM vonk_load('iris', '{IRIS}')")
        print(con.execute("SELECT count(iris([5.1, 3.5, 1.4, 0.2]::FLOAT[])) FROM range(9)").fetchall())
        """,
        tmp_path,
    )
    assert out == "[(9,)]\n"


@each_version
def test_an_attached_database_is_let_go_when_all_is_closed(version, tmp_path):
    out = run(
        version,
        """
        con = connect()
        con.execute("ATTACH 'b.db' AS b")
        con.execute("CREATE TABLE b.t AS SELECT 1 AS i")
        con.close()
        assert opens_elsewhere("b.db"), "another process cannot open the attached file"
        print("done")
        """,
        tmp_path,
    )
    assert out == "done\n"


@each_version
def test_a_connection_for_each_request(version, tmp_path):
    out = run(
        version,
        """
        con = connect("a.db")
        con.execute(f"FROM vonk_load('iris', '{IRIS}')")
        columns = "[5.1, 3.5, 1.4, 0.2]::FLOAT[]"
        for i in range(20):  # one database all the while
            cursor = con.cursor()
            cursor.execute(f"SELECT iris({columns}) FROM range(10)").fetchall()
            cursor.close()
            time.sleep(0.01)
        con.execute(f"FROM vonk_load('more', '{IRIS}')")
        con.close()
        for i in range(5):  # opened and closed again each time
            other = connect(f"b{i % 2}.db")
            other.execute(f"FROM vonk_load('iris', '{IRIS}')")
            other.execute(f"SELECT iris({columns}) FROM range(10)").fetchall()
            other.close()
        print("done")
        """,
        tmp_path,
    )
    assert out == "done\n"


@each_version
def test_a_process_that_ends_without_closing_leaves_no_journal(version, tmp_path):
    run(version, "con = connect('a.db'); con.execute('CREATE TABLE t AS SELECT 7 AS i')", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db"]
    out = run(version, "print(connect('a.db', load=False).execute('FROM t').fetchall())", tmp_path)
    assert out == "[(7,)]\n"


@each_version
def test_a_process_that_ends_with_an_error_leaves_no_journal(version, tmp_path):
    child = start(
        version,
        "con = connect('a.db'); con.execute('CREATE TABLE t AS SELECT 7 AS i'); sys.exit(3)",
        tmp_path,
    )
    finish(child, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db"]


@each_version
def test_python_objects_in_a_database_are_freed_by_python(version, tmp_path):
    """Who destroys a database destroys what the program put into it, which for Python objects must be Python's thread:
    another one is ended with the process while Python finalizes."""
    package = tmp_path / "fsspec"
    package.mkdir()
    (package / "__init__.py").write_text("class AbstractFileSystem: protocol = 'mine'\n")
    run(
        version,
        """
        sys.path.insert(0, ".")
        import fsspec
        con = connect("a.db")
        con.register_filesystem(fsspec.AbstractFileSystem())
        con.execute(f"FROM vonk_load('iris', '{IRIS}')")
        con.execute("CREATE TABLE t AS SELECT iris([5.1, 3.5, 1.4, 0.2]::FLOAT[])")

        class Slow:  # what is finalized after the connection takes a while
            def __del__(self, sleep=time.sleep):
                sleep(0.3)

        slow = Slow()
        """,
        tmp_path,
    )
    assert sorted(path.name for path in tmp_path.glob("a.*")) == ["a.db"]


@each_version
def test_a_killed_process_leaves_a_database_that_opens(version, tmp_path):
    child = start(
        version,
        """
        con = connect("a.db")
        con.execute("CREATE TABLE t AS SELECT 7 AS i")
        print("ready", flush=True)
        time.sleep(100)
        """,
        tmp_path,
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    out = run(version, "con = connect('a.db'); print(con.execute('FROM t').fetchall()); con.close()", tmp_path)
    assert out == "[(7,)]\n"


@each_version
def test_closing_one_database_leaves_the_other_at_work(version, tmp_path):
    out = run(
        version,
        """
        a, b = connect("a.db"), connect("b.db")
        for con in (a, b):
            con.execute(f"FROM vonk_load('iris', '{IRIS}')")
        a.close()
        assert opens_elsewhere("a.db")
        assert not opens_elsewhere("b.db"), "the open one is not locked any more"
        print(b.execute("SELECT count(iris([5.1, 3.5, 1.4, 0.2]::FLOAT[])) FROM range(5000)").fetchall())
        b.execute(f"FROM vonk_load('again', '{IRIS}')")
        b.close()
        assert opens_elsewhere("b.db")
        until(lambda: "vonk-watch" not in tasks())
        """,
        tmp_path,
    )
    assert out == "[(5000,)]\n"


@each_version
def test_loading_leaves_neither_a_connection_nor_a_thread(version, tmp_path):
    out = run(
        version,
        """
        con = connect("a.db", load=False)
        before = tasks()
        con.execute(f"LOAD '{EXTENSION}'")
        con.execute(f"FROM vonk_load('iris', '{IRIS}')")
        print(con.execute("FROM duckdb_connection_count()").fetchall(), "vonk-watch" in tasks())
        """,
        tmp_path,
    )
    assert out == "[(1,)] False\n"


@each_interruptible
def test_the_watcher_is_there_while_models_run_and_ends_after_them(version, tmp_path):
    out = run(
        version,
        """
        for i in range(3):
            con, other = connect("a.db"), connect()
            for each in (con, other):
                each.execute(f"FROM vonk_load('iris', '{IRIS}')")
                each.execute("SELECT iris([5.1, 3.5, 1.4, 0.2]::FLOAT[]) FROM range(9)").fetchall()
            print(tasks().count("vonk-watch"), end=" ")
            until(lambda: "vonk-watch" not in tasks())
            con.execute("SELECT iris([5.1, 3.5, 1.4, 0.2]::FLOAT[]) FROM range(9)").fetchall()
            print(tasks().count("vonk-watch"), end=" ")
            close_all(con, other)
            del con, other
            until(lambda: "vonk-watch" not in tasks())
        """,
        tmp_path,
    )
    assert out == "1 1 1 1 1 1 "


@each_version
def test_nothing_grows_over_two_hundred_databases(version, tmp_path):
    rounds = 40 if os.environ.get("VONK_TEST_SANITIZE") else 100
    out = run(
        version,
        f"""
        def cycle(i):
            con = connect(f"a{{i % 2}}.db")
            if i % 5 == 0:
                con.execute(f"FROM vonk_load('iris', '{{IRIS}}')")
                con.execute("SELECT iris([5.1, 3.5, 1.4, 0.2]::FLOAT[]) FROM range(100)").fetchall()
            con.close()

        def look():
            until(lambda: "vonk-watch" not in tasks())
            gc.collect()
            return descriptors(), resident() // 2**20

        for i in range({rounds}):
            cycle(i)
        files, memory = look()
        for i in range({rounds}):
            cycle(i)
        more_files, more_memory = look()
        print(more_files - files, more_memory - memory)
        """,
        tmp_path,
    )
    files, mebibytes = map(int, out.split())
    assert files == 0, f"{files} more descriptors after {rounds} databases"
    limit = 200 if os.environ.get("VONK_TEST_SANITIZE") else 20  # a sanitizer keeps freed memory for a while
    assert mebibytes < limit, f"{mebibytes} MiB more after {rounds} databases"


@each_version
def test_a_forked_child_neither_hangs_nor_touches_the_parents_file(version, tmp_path):
    out = run(
        version,
        """
        con = connect("a.db")
        con.execute("CREATE TABLE t AS SELECT 7 AS i")
        wal = Path("a.db.wal").read_bytes()
        child = os.fork()
        if child == 0:  # through exit(), so that all that is registered there runs
            ctypes.PyDLL(None).exit(0)
        until(lambda: os.waitpid(child, os.WNOHANG)[0] == child)
        assert Path("a.db.wal").read_bytes() == wal, "the child wrote to the parent's journal"
        child = os.fork()
        if child == 0:  # a database of its own
            own = connect("b.db")
            own.execute("CREATE TABLE t AS SELECT 8 AS i")
            own.execute(f"FROM vonk_load('iris', '{IRIS}')")
            own.close()
            until(lambda: not Path("b.db.wal").exists())
            os._exit(5)
        status = []
        until(lambda: status.append(os.waitpid(child, os.WNOHANG)) or status[-1][0] == child)
        print(os.waitstatus_to_exitcode(status[-1][1]), con.execute("FROM t").fetchall())
        con.close()
        assert opens_elsewhere("a.db")
        """,
        tmp_path,
    )
    assert out == "5 [(7,)]\n"
