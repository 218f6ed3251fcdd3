"""A running query can be stopped while the model runs, and the threads that models run on are the database's."""

from children import each_interruptible, each_version, run

SLOW = "SELECT sum(slow([i, 1, 2, 3]::FLOAT[])) FROM range(100000) t(i)"


@each_interruptible
def test_a_query_stops_inside_a_chunk_and_the_connection_goes_on(version, tmp_path):
    """A chunk of the query takes 100 s: 2,048 rows of 50 ms."""
    out = run(
        version,
        f"""
        con = connect()
        load_slow(con)
        for i in range(3):
            seconds, message = interrupted(con, "{SLOW}")
            assert "nterrupted" in message, message
            print(seconds, message.splitlines()[0][:60], file=open("measured", "a"))
            assert seconds < 5, f"returned after {{seconds}} s: {{message}}"
            print(con.execute("SELECT slow([1, 2, 3, 4]::FLOAT[])").fetchall(), end="")
        """,
        tmp_path,
    )
    print((tmp_path / "measured").read_text())
    assert out == "[(10.0,)]" * 3


@each_interruptible
def test_one_query_stops_and_the_other_goes_on(version, tmp_path):
    out = run(
        version,
        f"""
        con = connect()
        load_slow(con)
        other, results = con.cursor(), []
        query = "SELECT sum(slow([i, 0, 0, 0]::FLOAT[])) FROM range(30) t(i)"
        thread = threading.Thread(target=lambda: results.append(other.execute(query).fetchall()))
        thread.start()
        seconds, message = interrupted(con, "{SLOW}")
        assert seconds < 5, f"returned after {{seconds}} s: {{message}}"
        thread.join()
        print(results)
        """,
        tmp_path,
    )
    assert out == "[[(435.0,)]]\n"


@each_interruptible
def test_two_threads_of_one_query_stop(version, tmp_path):
    out = run(
        version,
        """
        con = connect(threads="2")
        load_slow(con)
        con.execute("CREATE TABLE t AS SELECT range AS i FROM range(300000)")
        seconds, message = interrupted(con, "SELECT sum(slow([i, 1, 2, 3]::FLOAT[])) FROM t")
        assert seconds < 5, f"returned after {seconds} s: {message}"
        print(con.execute("SELECT count(*) FROM t").fetchall())
        """,
        tmp_path,
    )
    assert out == "[(300000,)]\n"


@each_version
def test_models_run_on_as_many_threads_as_the_database_may_use(version, tmp_path):
    out = run(
        version,
        """
        def counters():
            names = "models live_models sessions live_sessions outputs live_outputs runs failed_runs rows largest_run"
            names += " running most_running preallocated stopped shutdowns"
            values = (ctypes.c_int64 * 16)()
            ctypes.CDLL(str(MOCKS / "mock_slow.so")).mock_counters_read(values)
            return dict(zip(names.split(), values))

        con = connect(threads="1")
        load_slow(con)
        seen = []
        for threads in (1, 3):
            con.execute(f"SET threads = {threads}")
            time.sleep(1.5)
            con.execute("SELECT sum(slow([i, 1, 2, 3]::FLOAT[])) FROM range(24) t(i)").fetchall()
            seen.append(counters()["most_running"])
        print(seen)
        """,
        tmp_path,
    )
    assert out == "[1, 3]\n"
