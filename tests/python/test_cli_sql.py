"""`vonk sql`: statements, results, files, errors, models, signals and DuckDB's shell."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from program import (
    DATA,
    FILES,
    INTERRUPTED,
    MODEL,
    OK,
    TERMINATED,
    USAGE,
    complaint,
    dense,
    lists,
    program,
    read,
    reference,
    stacked,
    vonk,
)
from terminal import Terminal

ROWS = 5000


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A folder with a model, its rows, and what onnxruntime makes of them."""
    where = tmp_path_factory.mktemp("sql")
    where.joinpath("small.onnx").write_bytes(dense(n_in=8, n_out=5).SerializeToString())
    x = np.random.default_rng(1).random((ROWS, 8), dtype=np.float32) - 0.5
    ids = pa.array(np.arange(ROWS))
    pq.write_table(pa.table({"id": ids, "x": lists(x)}), where / "rows.parquet")
    (y,) = reference(where / "small.onnx", x=x)
    return where, y


def sql(*args, code=OK, **more):
    return vonk("sql", *args, check=code, **more).stdout.decode()


# --- statements and results ---


def test_several_statements_run_one_after_the_other():
    assert sql("CREATE TABLE t AS FROM range(3); INSERT INTO t VALUES (7); FROM t; SELECT 'x;y' AS a -- ; no\n;;") == (
        "range\n0\n1\n2\n7\na\nx;y\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "SELECT ';' AS a; SELECT 1 AS b",
        "SELECT 'it''s;' AS a; SELECT 1 AS b",
        r"SELECT E'\';' AS a; SELECT 1 AS b",
        'SELECT 1 AS ";"; SELECT 1 AS b',
        "SELECT $$;$$ AS a; SELECT 1 AS b",
        "SELECT $t$;$$;$t$ AS a; SELECT 1 AS b",
        "SELECT 1 AS a /* ; /* ; */ ; */; SELECT 1 AS b",
        "SELECT 1 AS a -- ;\n; SELECT 1 AS b",
        "\ufeffSELECT 1 AS a;\n\n;SELECT 1 AS b;;",
    ],
)
def test_a_semicolon_that_ends_nothing_is_no_end(text):
    out = sql("-", stdin=text.encode())
    assert out.count("\n") == 4, out
    assert out.endswith("b\n1\n"), out


def test_the_text_comes_from_a_file_or_the_standard_input(tmp_path):
    (tmp_path / "q.sql").write_text("SELECT 42 AS a")
    assert sql("-f", "q.sql", cwd=tmp_path) == "a\n42\n"
    assert sql("-f", "-", stdin=b"SELECT 43 AS a") == "a\n43\n"
    assert sql("", stdin=b"") == ""


def test_a_statement_that_duckdb_makes_several_of():
    assert sql("PIVOT (FROM range(6) t(i)) ON i % 2 USING count(*)") == "0,1\n3,3\n"


def test_json_keeps_the_types():
    query = "SELECT 1 AS a, NULL AS b, [1.5::FLOAT, NULL] AS c, {'x': 'ä'} AS d, true AS e"
    assert json.loads(sql("--json", query)) == [{"a": 1, "b": None, "c": [1.5, None], "d": {"x": "ä"}, "e": True}]
    assert json.loads(sql("--json", "FROM range(0)")) == []


def test_two_columns_of_one_name_are_told_apart():
    assert sql('SELECT 1 AS a, 2 AS a, 3 AS "A", 4 AS a_1') == "a,a_1_,A_2,a_1\n1,2,3,4\n"


def test_text_of_a_time_depends_on_the_time_zone_that_was_set():
    query = "SET TimeZone = 'Asia/Tokyo'; SELECT '2024-01-01 00:00:00'::TIMESTAMPTZ AS t"
    assert sql(query) == "t\n2024-01-01 00:00:00+09\n"
    assert "2024-01-01 00:00:00+09" in sql("--box", query)


# --- boxes ---


def test_a_box_looks_like_that_of_duckdbs_shell():
    query = "FROM (VALUES (1, 'x', NULL, [1, 2, 3], 1.5::DOUBLE), (20, 'yy', 3, [], -0.25)) t(a, name, c, d, e)"
    assert sql("--box", query) == (
        "┌─────────┬─────────┬─────────┬───────────┬────────┐\n"
        "│    a    │  name   │    c    │     d     │   e    │\n"
        "│ INTEGER │ VARCHAR │ INTEGER │ INTEGER[] │ DOUBLE │\n"
        "├─────────┼─────────┼─────────┼───────────┼────────┤\n"
        "│       1 │ x       │    NULL │ [1, 2, 3] │    1.5 │\n"
        "│      20 │ yy      │       3 │ []        │  -0.25 │\n"
        "└─────────┴─────────┴─────────┴───────────┴────────┘\n"
        "2 rows\n"
    )


SHELL = os.environ.get("VONK_DUCKDB_SHELL") or shutil.which("duckdb")


@pytest.mark.skipif(SHELL is None, reason="needs DuckDB's shell: pip install duckdb-cli")
@pytest.mark.parametrize(
    "query",
    [
        "SELECT i, -i * 1.5 AS d, 'text ' || i AS t, [i, i + 1] AS l, NULL AS n FROM range(7) r(i)",
        "SELECT DATE '2024-02-29' AS d, INTERVAL 3 DAY AS i, 1.50::DECIMAL(9, 2) AS m, '\\x00ab'::BLOB AS b",
        "SELECT {'a': 1, 'b': [NULL, 'x']} AS s, MAP {'k': 2} AS m, 'b'::ENUM('a', 'b') AS e",
        "SELECT 123456789012345678901 AS h, 0.1::FLOAT + 0.2 AS f, true AS b, NULL::UUID AS u",
        "SELECT '{\"a\": 1}'::JSON AS j, TIME '10:00:01.5' AS t, 'nan'::FLOAT AS f, '101'::BIT AS b",
        "SELECT 'naïve' AS a, '日本' AS b, 'Ünï' AS c",
    ],
)
def test_cells_are_those_of_duckdbs_shell(query):
    """The rows between the rules; the names of the types differ on purpose."""

    def cells(text):
        rows = text.split("├")[1].split("└")[0].splitlines()[1:]
        return [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]

    theirs = subprocess.run([SHELL, "-c", query], capture_output=True, text=True, check=True).stdout
    assert cells(sql("--box", query)) == cells(theirs)


def test_a_long_result_shows_its_first_and_last_rows():
    out = sql("--box", "--rows", "6", "FROM range(100000) t(i)").splitlines()
    shown = [line.strip("│ ") for line in out[4:-2]]
    assert shown == ["0", "1", "2", "·", "·", "·", "99997", "99998", "99999"]
    assert out[-1] == "100,000 rows (6 shown)"


@pytest.mark.parametrize("n", [0, 1, 39, 40, 41, 2047, 2048, 2049, 4096, 10_000])
def test_the_rows_shown_are_the_right_ones(n):
    out = sql("--box", f"FROM range({n}) t(i)")
    numbers = [int(word) for word in re.findall(r"^│ +(\d+) │$", out, re.MULTILINE)]
    expected = list(range(n)) if n <= 40 else [*range(20), *range(n - 20, n)]
    assert numbers == expected


def test_all_rows_are_shown_if_asked_for():
    out = sql("--box", "--rows", "0", "FROM range(5000) t(i)")
    assert len(re.findall(r"^│ +\d+ │$", out, re.MULTILINE)) == 5000


def test_control_characters_do_not_reach_the_terminal():
    out = sql("--box", "SELECT E'a\\nb\\t\\x1b[31mc' AS t")
    assert r"a\nb\t\x1b[31mc" in out and "\x1b" not in out


def test_columns_line_up_whatever_the_script():
    """Widths by Python's own tables of Unicode."""

    def width(text):
        return sum(
            0
            if unicodedata.combining(c) or unicodedata.category(c) in ("Mn", "Me", "Cf")
            else 2
            if unicodedata.east_asian_width(c) in "WF"
            else 1
            for c in text
        )

    words = [
        "plain",
        "日本語",
        "한국어",
        "ｆｕｌｌ",
        "e\u0301te\u0301",
        "Ελλάδα",
        "שלום",
        "ไทยดี",
        "🎉🚀",
        "a\u200bb",
        "Ⅷ½",
    ]
    values = ", ".join(f"('{word}')" for word in words)
    lines = sql("--box", f"FROM (VALUES {values}) t(word)").splitlines()[:-1]
    assert {width(line) for line in lines} == {width(lines[0])}, "\n".join(lines)


def test_a_plan_is_printed_as_it_is():
    out = sql("--box", "EXPLAIN SELECT 42")
    assert "PROJECTION" in out and "explain_value" not in out


# --- a terminal ---


def test_a_terminal_gets_a_box_with_rows_and_time():
    terminal = Terminal(["sql", "SELECT 1 AS a, NULL AS b"], columns=80)
    assert terminal.code == OK
    assert "│ INTEGER │ INTEGER │" in terminal.plain()
    assert re.search(r"\n1 row, \d\.\d\d s\n", terminal.plain()), terminal.plain()
    assert "\x1b[2mNULL\x1b[0m" in terminal.text
    assert "\x1b" not in Terminal(["sql", "SELECT NULL"], columns=80, env={"NO_COLOR": "1"}).text


@pytest.mark.parametrize("columns", [20, 40, 79, 80, 120, 300])
@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_a_box_is_never_wider_than_the_terminal(columns, n):
    names = ", ".join(f"repeat('é', {i * 7 % 60}) || {i} AS column_{i}" for i in range(n))
    terminal = Terminal(["sql", f"SELECT {names} FROM range(2)"], columns=columns, env={"NO_COLOR": "1"})
    lines = [line for line in terminal.plain().splitlines() if line[:1] in "┌│├└"]
    assert lines and {len(line) for line in lines} == {len(lines[0])}, terminal.plain()
    assert len(lines[0]) <= columns, terminal.plain()
    shown = re.search(r"(\d+) columns \((\d+) shown\)", terminal.plain())
    n_cells = lines[1].count("│") - 1
    assert n_cells == (int(shown[2]) + 1 if shown else n), terminal.plain()


def test_what_does_not_fit_ends_with_an_ellipsis():
    terminal = Terminal(["sql", "SELECT range(1000) AS l"], columns=40, env={"NO_COLOR": "1"})
    row = terminal.plain().splitlines()[4]
    assert row.startswith("│ [0, 1, 2, 3,") and row.endswith("… │") and len(row) == 40


def test_a_statement_without_a_table_says_how_many_rows_it_made():
    terminal = Terminal(["sql", "CREATE TABLE t AS FROM range(12345)"], columns=80)
    assert re.fullmatch(r"12,345 rows, \d\.\d\d s\n", terminal.plain()), terminal.plain()
    assert sql("CREATE TABLE t AS FROM range(12345)") == ""


def test_progress_is_shown_and_taken_away(slow):
    terminal = Terminal(
        ["sql", "-m", "slow=m.onnx", "CREATE TABLE t AS SELECT slow(x) FROM 'in.parquet' LIMIT 6144"], cwd=slow
    )
    assert terminal.code == OK, terminal.text
    assert re.search(r"\r\x1b\[K(\d+ %, )?[\d,]+ rows predicted, [\d,]+ rows/s, ", terminal.text), terminal.text
    assert re.search(r"\r\x1b\[K6,144 rows, \d", terminal.text), terminal.text
    quiet = Terminal(
        ["sql", "-q", "-m", "slow=m.onnx", "CREATE TABLE t AS SELECT slow(x) FROM 'in.parquet' LIMIT 6144"], cwd=slow
    )
    assert (quiet.code, quiet.text) == (OK, "")


# --- models ---


def test_predictions_are_those_of_the_framework(scored):
    where, y = scored
    out = where / "out.parquet"
    sql("-m", "small=small.onnx", "SELECT id, small(x) AS p FROM 'rows.parquet' ORDER BY id", "-o", out, cwd=where)
    np.testing.assert_allclose(stacked(read(out)["p"]), y, rtol=1e-5, atol=1e-6)
    assert read(out)["id"].to_pylist() == list(range(ROWS))


def test_argmax_of_all_models_or_of_one(scored):
    where, y = scored
    query = "SELECT small(x) AS p FROM 'rows.parquet' ORDER BY id"
    expected = y.argmax(1).tolist()
    for form in ("argmax", "small=argmax"):
        out = sql("-m", "small.onnx", "--as", form, query, cwd=where)
        assert [int(line) for line in out.splitlines()[1:]] == expected
    query = "SELECT a(x) = b(x)[1] AS p FROM 'rows.parquet' LIMIT 1"
    sql("-m", "a=small.onnx", "-m", "b=small.onnx", "--as", "a=argmax", query, cwd=where)


def test_models_are_named_by_their_files(scored, tmp_path):
    where, _ = scored
    shutil.copy(where / "small.onnx", tmp_path / "2nd-model.v1.onnx")
    out = sql("-m", tmp_path / "2nd-model.v1.onnx", "SELECT name FROM vonk_models()")
    assert out == "name\n_2nd_model\n"


def test_the_environment_names_models_too(scored):
    where, _ = scored
    out = sql(
        "SELECT name, loaded FROM vonk_models() ORDER BY name",
        cwd=where,
        env={"VONK_MODELS": "a=small.onnx:b=missing.onnx"},
    )
    assert out == "name,loaded\na,true\nb,false\n"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(d) AS n FROM (SELECT small(x) AS d FROM 'rows.parquet' OFFSET 0) WHERE d = 2",
        "WITH p AS (SELECT id, small(x) AS d FROM 'rows.parquet' OFFSET 0) SELECT count(*) AS n FROM p WHERE d = 2",
        "CREATE TEMP TABLE p AS SELECT small(x) AS d FROM 'rows.parquet'; SELECT count(*) AS n FROM p WHERE d = 2",
    ],
)
def test_a_filter_on_a_prediction_can_run_the_model_once_a_row(scored, query):
    where, y = scored
    n = int((y.argmax(1) == 2).sum())
    out = sql("-m", "small.onnx", "--as", "argmax", f"{query}; SELECT rows FROM vonk_models()", cwd=where)
    assert out == f"n\n{n}\nrows\n{ROWS}\n"


def test_a_result_that_is_shown_or_written_runs_the_model_once(scored):
    where, _ = scored
    for output in (["--box"], ["--csv"], ["--json"], ["-o", "once.parquet"]):
        query = "SELECT small(x) AS p FROM 'rows.parquet'; COPY (SELECT rows FROM vonk_models()) TO 'rows.csv'"
        sql("-m", "small=small.onnx", *output, query, cwd=where)
        assert (where / "rows.csv").read_text() == f"rows\n{ROWS}\n", output


def test_a_model_that_cannot_be_opened_has_its_own_exit_code(tmp_path):
    assert complaint("sql", "-m", "no.onnx", "SELECT 1", code=MODEL, cwd=tmp_path) == (
        "vonk sql: no.onnx: cannot be found: No such file or directory"
    )


# --- files ---


@pytest.mark.parametrize("name", ["o.parquet", "o.csv", "o.tsv", "o.json", "o.jsonl", "o.csv.gz", "o.ndjson.zst"])
def test_the_last_result_is_written_by_the_ending_of_the_name(tmp_path, name):
    query = "SELECT 'first' AS x; SELECT i, i * 0.5 AS h, NULL AS n FROM range(3000) t(i); CREATE TABLE t (a INTEGER)"
    assert sql(query, "-o", name, cwd=tmp_path) == ""
    check = f"SELECT count(*) AS c, sum(i) AS s, sum(h) AS h, count(n) AS n FROM '{name}'"
    assert sql(check, cwd=tmp_path) == "c,s,h,n\n3000,4498500,2249250.0,0\n"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_arrays_become_lists_in_parquet_so_that_others_can_read_them(tmp_path):
    query = """
        CREATE TABLE t (v FLOAT[2], s STRUCT(x FLOAT[3][], "[4]" INTEGER));
        INSERT INTO t VALUES ([1, 2], {'x': [[1, 2, 3]], '[4]': 1}), (NULL, NULL);
        FROM t"""
    sql(query, "-o", "o.parquet", cwd=tmp_path)
    assert read(tmp_path / "o.parquet").to_pylist() == [
        {"v": [1.0, 2.0], "s": {"x": [[1.0, 2.0, 3.0]], "[4]": 1}},
        {"v": None, "s": None},
    ]


def test_a_query_that_fails_half_way_leaves_the_old_file(tmp_path):
    (tmp_path / "o.csv").write_text("old")
    query = "SELECT CASE WHEN i = 900000 THEN error('row ' || i) ELSE i END FROM range(1000000) t(i)"
    assert "row 900000" in complaint("sql", query, "-o", "o.csv", code=DATA, cwd=tmp_path)
    assert (tmp_path / "o.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["o.csv"]


def test_an_output_without_a_table_is_an_error(tmp_path):
    message = complaint("sql", "CREATE TABLE t (a INTEGER)", "-o", "o.csv", code=DATA, cwd=tmp_path)
    assert message == "vonk sql: -o: nothing was written: no statement gives a table: end with a SELECT"
    assert list(tmp_path.iterdir()) == []


def test_a_database_keeps_its_tables(tmp_path):
    sql("--database", "d.db", "CREATE TABLE t AS FROM range(3)", cwd=tmp_path)
    assert sql("--database", "d.db", "SELECT count(*) AS n FROM t", cwd=tmp_path) == "n\n3\n"
    assert [path.name for path in tmp_path.iterdir()] == ["d.db"]
    message = complaint("sql", "--database", "d.db", "--readonly", "DROP TABLE t", code=DATA, cwd=tmp_path)
    assert "read-only" in message
    complaint("sql", "--database", "no/d.db", "SELECT 1", code=FILES, cwd=tmp_path)


# --- errors ---


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "SELECT 1;\nSELECT a,\n  b FRM x;",
            'line 3: syntax error at or near "x"\n  3 |   b FRM x;\n    |         ^',
        ),
        (
            "SELECT a FROM range(3)",
            'Referenced column "a" not found in FROM clause! Candidate bindings: "range"\n'
            "  1 | SELECT a FROM range(3)\n    |        ^",
        ),
        (
            "CREATE TABLE t AS SELECT 1; SELECT 'é日' AS x, foo",
            'Referenced column "foo" was not found because the FROM clause is missing\n'
            "  1 | CREATE TABLE t AS SELECT 1; SELECT 'é日' AS x, foo\n    | " + 47 * " " + "^",
        ),
        (
            "CREATE TABLE t AS SELECT 1;\n-- a comment\n\nSELECT\n\tlength(1, 2)",
            "line 5: No function matches the given name and argument types 'length(INTEGER_LITERAL, INTEGER_LITERAL)'. "
            "You might need to add explicit type casts. Candidate functions: length(VARCHAR) -> BIGINT; "
            "length(BIT) -> BIGINT; length(ANY[]) -> BIGINT\n  5 |  length(1, 2)\n    |  ^",
        ),
        (
            "CREATE TABLE t AS SELECT 1;\nCREATE TABLE u AS\nSELECT CAST('x' || range AS INTEGER)\nFROM range(3)",
            "line 3: Could not convert string 'x0' to INT32\n"
            "  3 | SELECT CAST('x' || range AS INTEGER)\n    |        ^",
        ),
        ("CREATE TABLE t AS SELECT 1;\n\nCREATE TABLE t AS SELECT 1", 'line 3: Table with name "t" already exists!'),
        (
            "SELECT\t1,\tfoo",
            'Referenced column "foo" was not found because the FROM clause is missing\n  1 | SELECT 1, foo\n    | '
            + 10 * " "
            + "^",
        ),
        ("SELECT $1", "Values were not provided for the following prepared statement parameters: 1"),
    ],
)
def test_an_error_names_the_line_and_the_place(query, message):
    assert complaint("sql", query, code=DATA) == f"vonk sql: {message}"


def test_an_error_in_a_file_names_it(tmp_path):
    (tmp_path / "q.sql").write_text("CREATE TABLE t AS SELECT 1;\nSELECT foo")
    message = complaint("sql", "-f", "q.sql", code=DATA, cwd=tmp_path)
    assert message.startswith("vonk sql: q.sql: line 2: Referenced column"), message


def test_an_error_in_a_late_row_points_into_the_text():
    query = "SELECT CASE WHEN range = 500000\nTHEN CAST('x' || range AS INTEGER) END AS y FROM range(1000000)"
    assert complaint("sql", "--box", query, code=DATA) == (
        "vonk sql: line 2: Could not convert string 'x500000' to INT32\n"
        "  2 | THEN CAST('x' || range AS INTEGER) END AS y FROM range(1000000)\n    |      ^"
    )


def test_a_line_too_long_to_show_is_cut_around_the_place():
    message = complaint("sql", f"SELECT '{'a' * 300}', foo", code=DATA).splitlines()
    assert (
        len(message[1]) < 170
        and message[1].startswith("  1 | ...")
        and message[1][len(message[2]) - 1 :].startswith("foo")
    )


def test_a_mistake_of_syntax_is_found_before_anything_is_run(tmp_path):
    complaint("sql", "--database", "d.db", "CREATE TABLE t AS SELECT 1; SELEC 2", code=DATA, cwd=tmp_path)
    assert sql("--database", "d.db", "SHOW TABLES", cwd=tmp_path) == "name\n"


def test_the_first_statement_that_fails_is_the_last_one_run():
    done = vonk("sql", "SELECT 1 AS a; SELECT error('no'); SELECT 2 AS b", check=DATA)
    assert (done.stdout, done.stderr) == (b"a\n1\n", b"vonk sql: no\n")


def test_many_arguments_do_not_flood_the_message(tmp_path):
    tmp_path.joinpath("m.onnx").write_bytes(dense(n_in=784).SerializeToString())
    columns = ", ".join(["true"] * 784)
    message = complaint("sql", "-m", "m.onnx", f"SELECT m({columns})", code=DATA, cwd=tmp_path).splitlines()[0]
    assert "'m(BOOLEAN x 784)'" in message and "; m(DOUBLE[]) -> FLOAT[3]" in message and len(message) < 900, message


def test_a_missing_file_has_its_own_exit_code(tmp_path):
    assert "no.parquet" in complaint("sql", "FROM 'no.parquet'", code=FILES, cwd=tmp_path)
    assert "no.sql" in complaint("sql", "-f", "no.sql", code=FILES, cwd=tmp_path)
    assert "no/o.csv" in complaint("sql", "SELECT 1", "-o", "no/o.csv", code=FILES, cwd=tmp_path)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "no query: write it in quotes, name a file with -f FILE, - for the standard input, or --shell to type"),
        (["--csv", "--json", "SELECT 1"], "-o, --box, --csv and --json: choose one"),
        (["-f", "a.sql", "SELECT 1"], "-f: takes the place of a query: got 'SELECT 1' too"),
        (["--shell", "SELECT 1"], "--shell: takes no query: type it in the shell, or leave --shell out"),
        (["--readonly", "SELECT 1"], "--readonly: only goes with --database"),
        (["--output-format", "csv", "SELECT 1"], "--output-format: only goes with -o"),
        (["-m", "a=", "SELECT 1"], "--model: 'a=' is not NAME=PATH"),
        (
            ["-m", "a=b.onnx", "--as", "b=argmax", "SELECT 1"],
            "--as: 'b=argmax': no model of that name is given with -m",
        ),
        (
            ["-m", "a=b.onnx", "--as", "best", "SELECT 1"],
            "--as: 'best' is not argmax, label or topN, as in top5 (N up to 1000)",
        ),
        (
            ["SELECT 1", "-o", "x.xml"],
            "-o: 'x.xml' does not end with .parquet, .csv, .tsv, .json, .jsonl or .ndjson: choose with --output-format",
        ),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(args, message, tmp_path):
    hint = "\n'vonk help sql' explains the command and its options."
    assert complaint("sql", *args, code=USAGE, cwd=tmp_path) == f"vonk sql: {message}{hint}"


# --- signals ---


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A model and rows that take many seconds to score."""
    where = tmp_path_factory.mktemp("slow")
    where.joinpath("m.onnx").write_bytes(dense(n_in=16, hidden=[2048, 2048], n_out=4).SerializeToString())
    x = np.random.default_rng(0).random((60_000, 16), dtype=np.float32)
    pq.write_table(pa.table({"x": lists(x)}), where / "in.parquet")
    return where


def interrupt(args, number, cwd):
    """Starts a query, ends it a second later; the exit code, what was said, and how long the end took."""
    process = subprocess.Popen(
        [program(), "sql", *args], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(1.5)
    assert process.poll() is None, process.communicate()
    sent = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    return process.returncode, err, time.monotonic() - sent


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
@pytest.mark.parametrize(
    "args",
    [
        ["SELECT sum(slow(x)[1]) FROM 'in.parquet'"],
        ["SELECT slow(x) FROM 'in.parquet'", "--box"],
        ["SELECT slow(x) FROM 'in.parquet'", "-o", "out/o.parquet"],
        ["CREATE TABLE t AS SELECT slow(x) FROM 'in.parquet'"],
        ["SELECT sum(x.range * y.range) FROM range(1000000) x, range(1000000) y"],
    ],
)
def test_an_interrupted_query_ends_soon_and_leaves_nothing(slow, args, number, code):
    (slow / "out").mkdir(exist_ok=True)
    returned, err, took = interrupt(["-m", "slow=m.onnx", *args], number, slow)
    assert (returned, err) == (code, "vonk sql: interrupted\n")
    assert list((slow / "out").iterdir()) == []
    assert took < 1.0, f"{took:.2f} s to end"


# --- DuckDB's shell ---


def test_the_shell_has_vonk_and_its_models(scored):
    if SHELL is None or not (program().parent.parent / "lib" / "vonk.duckdb_extension").exists():
        pytest.skip("needs DuckDB's shell and the extension")
    where, y = scored
    query = b".mode csv\nSELECT sum(small(x)) AS s FROM 'rows.parquet';"
    words = ["sql", "--shell", "-m", "small=small.onnx", "--as", "argmax"]
    done = vonk(*words, cwd=where, stdin=query, env={"VONK_DUCKDB_SHELL": SHELL}, check=OK)
    assert done.stdout.decode().split() == ["s", str(int(y.argmax(1).sum()))]
    assert done.stderr == b""


def test_a_shell_that_is_missing_is_explained(tmp_path, monkeypatch):
    message = complaint("sql", "--shell", code=1, env={"VONK_DUCKDB_SHELL": "/no/duckdb"})
    assert message.startswith("vonk sql: VONK_DUCKDB_SHELL: /no/duckdb: No such file or directory: "), message
    # set-up puts a shell beside the program: a copy of the program has none
    prefix = tmp_path / "prefix"
    alone = prefix / "bin" / "vonk"
    alone.parent.mkdir(parents=True)
    shutil.copy2(program(), alone)
    extension = program().parent.parent / "lib" / "vonk.duckdb_extension"
    if extension.exists():
        (prefix / "lib").mkdir()
        shutil.copy2(extension, prefix / "lib")
    monkeypatch.setenv("VONK_PROGRAM", str(alone))
    message = complaint("sql", "--shell", code=1, env={"VONK_DUCKDB_SHELL": "", "PATH": str(tmp_path)})
    assert f"no {alone.parent}/duckdb" in message and "pip install duckdb-cli" in message, message


def test_a_shell_that_is_too_old_is_no_shell(tmp_path):
    old = tmp_path / "duckdb"
    old.write_text("#!/bin/sh\necho v1.3.2 0123456789\n")
    old.chmod(0o755)
    if (program().parent.parent / "lib" / "vonk.duckdb_extension").exists():
        message = complaint("sql", "--shell", code=1, env={"VONK_DUCKDB_SHELL": str(old)})
        assert f"{old}: is DuckDB v1.3.2: vonk needs 1.4 or later" in message, message
