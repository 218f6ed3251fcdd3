"""Every dtype in every form in which DuckDB hands a column to a function, on each release.

How it works: the models return what they get (ONNX's Identity), so the expected result of f(x) is x, which DuckDB
itself compares, row by row, in the query that calls f. A model and a column stand for each dtype and each shape of a
row: a number, a list of three, a list of any length, a matrix. KINDS are queries that make DuckDB deliver that column
flat, sliced, through a selection, with gaps, constant, NULL ...
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hosts
import models as onnx_models
import pytest

#: dtype -> its SQL type, and an element from the integer {v}; every value is exact in that dtype
DTYPES = {
    "bool": ("BOOLEAN", "({v}) % 3 = 0"),
    "i8": ("TINYINT", "({v}) % 200 - 100"),
    "i16": ("SMALLINT", "({v}) * 2 - 30000"),
    "i32": ("INTEGER", "({v}) * 100003 - 2000000000"),
    "i64": ("BIGINT", "({v}) * 100000000003 - 9000000000000000000"),
    "u8": ("UTINYINT", "({v}) % 256"),
    "u16": ("USMALLINT", "({v}) * 2"),
    "u32": ("UINTEGER", "({v}) * 100003"),
    "u64": ("UBIGINT", "18000000000000000000::UBIGINT + ({v})"),
    "f16": ("FLOAT", "({v}) % 2000 / 4"),
    "bf16": ("FLOAT", "({v}) % 250 / 2"),
    "f32": ("FLOAT", "({v}) / 8 - 1000"),
    "f64": ("DOUBLE", "({v}) / 3"),
    "string": ("VARCHAR", "repeat('é', ({v}) % 9) || ({v})"),  # up to 12 bytes lie in the vector, more beside it
}
SHAPES = {"number": ["N"], "list": ["N", 3], "free": ["N", "k"], "matrix": ["N", 2, 3]}
ROWS = 5000  # two chunks and a half

#: what a column of the table t(i, x) is turned into; "T" is its type
KINDS = {
    "flat": "SELECT i, x FROM t",
    "one row": "SELECT i, x FROM t WHERE i = 4321",
    "no row": "SELECT i, x FROM t WHERE i < 0",
    "slice": "SELECT i, x FROM t LIMIT 3000 OFFSET 1111",
    "odd slice": "SELECT i, x FROM t LIMIT 13 OFFSET 2041",
    "filtered": "SELECT i, x FROM t WHERE i % 3 = 0",
    "sorted": "SELECT i, x FROM t ORDER BY i DESC LIMIT 2500",
    "repeated by a join": "SELECT k AS i, x FROM range(5000) r(k) JOIN t ON k % 7 = t.i",
    "joined": "SELECT a.i, b.x FROM t a JOIN t b ON a.i = (b.i * 2) % 5000 AND b.i < 2500",
    "gaps": "SELECT i, CASE WHEN i % 5 < 3 THEN x END AS x FROM t",
    "some NULL": "SELECT i, x FROM holes",
    "few NULL": "SELECT i, CASE WHEN i <> 2047 THEN x END AS x FROM t",
    "all NULL": "SELECT i, NULL::T AS x FROM t",
    "constant": "SELECT k AS i, (SELECT x FROM t WHERE i = 4) AS x FROM range(3000) r(k)",
    "literal NULL": "SELECT 1 AS i, NULL::T AS x",
    "in a struct": "SELECT i, s.x AS x FROM (SELECT i, {'j': i, 'x': x} AS s FROM t)",
    "unnested": "SELECT i, unnest([x, NULL::T, x]) AS x FROM t WHERE i % 2 = 0",
    "union": "SELECT i, x FROM t WHERE i < 10 UNION ALL SELECT i, x FROM t WHERE i > 4000",
    "window": "SELECT i, lag(x, 3) OVER (ORDER BY i) AS x FROM t",
}


def element(dtype: str, v: str) -> str:
    sql_type, template = DTYPES[dtype]
    return "(" + template.format(v=v) + ")::" + sql_type


def row(dtype: str, shape: str) -> str:
    """The expression of row i."""
    if shape == "number":
        return element(dtype, "i")
    if shape == "list":
        return f"[{element(dtype, 'i * 3 + j')} FOR j IN range(3)]"
    if shape == "free":
        return f"[{element(dtype, 'i + j')} FOR j IN range(i % 5)]"
    return f"[[{element(dtype, 'i + j * 3 + k')} FOR k IN range(3)] FOR j IN range(2)]"


def column_type(dtype: str, shape: str) -> str:
    return DTYPES[dtype][0] + {"number": "", "matrix": "[][]"}.get(shape, "[]")


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with <dtype>_<shape>.onnx."""
    folder = tmp_path_factory.mktemp("identities")
    for dtype in DTYPES:
        for shape, dims in SHAPES.items():
            made = onnx_models.identity(onnx_models.ELEMENT_TYPES[dtype], dims)
            (folder / f"{dtype}_{shape}.onnx").write_bytes(made.SerializeToString())
    return folder


@pytest.fixture(scope="module")
def models(host: hosts.Host, identities: Path) -> Iterator[hosts.Host]:
    """All of them loaded, as f_<dtype>_<shape>."""
    host.open(":memory:")
    for path in sorted(identities.glob("*.onnx")):
        host.sql(f"FROM vonk_load('f_{path.stem}', '{path}')")
    yield host


def make_table(host: hosts.Host, dtype: str, shape: str) -> None:
    """t(i, x), and holes: the same with stored NULLs."""
    host.sql(f"CREATE OR REPLACE TABLE t AS SELECT i, {row(dtype, shape)} AS x FROM range({ROWS}) r(i)")
    host.sql(
        f"CREATE OR REPLACE TABLE holes AS SELECT i, CASE WHEN i % 4 <> 1 THEN {row(dtype, shape)} END AS x FROM t"
    )


def difference(host: hosts.Host, query: str, call: str, expected: str) -> str:
    """What is wrong with the results of call over the rows of query; '' if nothing is."""
    compared = f"FROM (SELECT i, {call} AS y, {expected} AS e FROM ({query}))"
    try:
        wrong, rows = host.sql(f"SELECT count(*) FILTER (y IS DISTINCT FROM e), count(*) {compared}")[0]
        ((wanted,),) = host.sql(f"SELECT count(*) FROM ({query})")
        if wrong == 0 and rows == wanted:
            return ""
        sample = host.sql(f"SELECT i, e, y {compared} WHERE y IS DISTINCT FROM e ORDER BY i LIMIT 3")
    except hosts.SqlError as error:
        return str(error)
    return f"{wrong} of {rows} rows ({wanted} expected) differ; row, expected, actual: {sample}"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_column_arrives_as_it_is(models: hosts.Host, dtype: str, shape: str) -> None:
    make_table(models, dtype, shape)
    sql_type = column_type(dtype, shape)
    faults = []
    for kind, query in KINDS.items():
        fault = difference(models, query.replace("::T", f"::{sql_type}"), f"f_{dtype}_{shape}(x)::{sql_type}", "x")
        if fault:
            faults.append(f"{kind}: {fault}")
    assert not faults, f"DuckDB {models.version}, {sql_type}:\n" + "\n".join(faults)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [name for name in DTYPES if name not in ("string", "bool")])
def test_vonk_predict_gives_the_same_as_float(models: hosts.Host, dtype: str, shape: str) -> None:
    make_table(models, dtype, shape)
    expected = {"number": "[x]::FLOAT[]", "matrix": "flatten(x)::FLOAT[]"}.get(shape, "x::FLOAT[]")
    if shape == "number":
        expected = f"CASE WHEN x IS NOT NULL THEN {expected} END"
    sql_type = column_type(dtype, shape)
    faults = []
    for kind in ("flat", "filtered", "some NULL", "all NULL", "constant", "no row"):
        query = KINDS[kind].replace("::T", f"::{sql_type}")
        fault = difference(models, query, f"vonk_predict('f_{dtype}_{shape}', x)", expected)
        if fault:
            faults.append(f"{kind}: {fault}")
    assert not faults, f"DuckDB {models.version}, {sql_type}:\n" + "\n".join(faults)


@pytest.mark.parametrize("dtype", DTYPES)
def test_try_gives_the_same_and_says_where_nothing_came(models: hosts.Host, dtype: str) -> None:
    make_table(models, dtype, "list")
    sql_type = DTYPES[dtype][0]
    result = f"try_f_{dtype}_list(x)"
    error = """CASE WHEN x IS NULL THEN 'column ''argument 1'': is NULL' END"""
    for query in (KINDS["flat"], KINDS["some NULL"]):
        assert difference(models, query, f"{result}.value::{sql_type}[]", "x") == ""
        assert difference(models, query, f"{result}.error", error) == ""


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_may_be_an_array_scalars_or_a_struct(models: hosts.Host, dtype: str) -> None:
    make_table(models, dtype, "list")
    sql_type = DTYPES[dtype][0]
    forms = {
        "array": f"f_{dtype}_list(x::{sql_type}[3])",
        "scalars": f"f_{dtype}_list(x[1], x[2], x[3])",
        "struct": f"f_{dtype}_list({{'a': x[1], 'b': x[2], 'c': x[3]}})",
    }
    faults = []
    for form, call in forms.items():
        for kind in ("flat", "filtered", "some NULL"):
            fault = difference(models, KINDS[kind], f"({call})::{sql_type}[]", "x")
            if fault:
                faults.append(f"{form}, {kind}: {fault}")
    assert not faults, f"DuckDB {models.version}, {sql_type}:\n" + "\n".join(faults)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_stored_array_column(models: hosts.Host, dtype: str) -> None:
    sql_type = DTYPES[dtype][0]
    make_table(models, dtype, "list")
    models.sql(f"CREATE OR REPLACE TABLE t AS SELECT i, x::{sql_type}[3] AS x FROM t")
    models.sql(
        "CREATE OR REPLACE TABLE holes AS SELECT i, x FROM t WHERE i % 4 <> 1 "
        f"UNION ALL SELECT i, NULL::{sql_type}[3] FROM t WHERE i % 4 = 1 ORDER BY i"
    )
    faults = []
    for kind in ("flat", "filtered", "slice", "repeated by a join", "some NULL", "in a struct", "union", "one row"):
        fault = difference(models, KINDS[kind], f"f_{dtype}_list(x)::{sql_type}[]", f"x::{sql_type}[]")
        if fault:
            faults.append(f"{kind}: {fault}")
    assert not faults, f"DuckDB {models.version}, {sql_type}[3]:\n" + "\n".join(faults)


@pytest.mark.parametrize("shape", ["list", "free", "matrix"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_null_element_makes_the_row_bad_and_no_other(models: hosts.Host, dtype: str, shape: str) -> None:
    make_table(models, dtype, shape)
    sql_type = column_type(dtype, shape)
    hole = "[NULL]" if shape == "free" else "[NULL, x[2], x[3]]"
    if shape == "matrix":
        hole = "[x[1], [x[2][1], NULL, x[2][3]]]"
    query = f"SELECT i, x AS whole, CASE WHEN i % 10 = 7 THEN {hole} ELSE x END::{sql_type} AS x FROM t"
    expected = "CASE WHEN i % 10 <> 7 THEN whole END"
    query = f"SELECT i, x, {expected} AS expected FROM ({query})"
    call = f"f_{dtype}_{shape}(x)"
    assert difference(models, query, f"try_{call}.value::{sql_type}", "expected") == ""
    says = f"coalesce(try_{call}.error LIKE '%element _ of the list is NULL%', false)"
    assert difference(models, query, says, "i % 10 = 7") == ""
    assert "of the list is NULL" in models.error(f"SELECT count({call}) FROM ({query})")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_survive_a_table(models: hosts.Host, tmp_path: Path, dtype: str, shape: str) -> None:
    """Results with NULLs between them, as ARRAY or LIST, written into a table and a file, sorted and joined again."""
    make_table(models, dtype, shape)
    sql_type = column_type(dtype, shape)
    models.sql(f"CREATE OR REPLACE TABLE results AS SELECT i, f_{dtype}_{shape}(x) AS y FROM holes ORDER BY i % 7, i")
    query = "SELECT i, h.x AS x, r.y AS z FROM results r JOIN holes h USING (i)"
    assert difference(models, query, f"z::{sql_type}", "x") == ""
    models.sql(f"COPY (SELECT i, y::{sql_type} AS y FROM results) TO '{tmp_path}/results.parquet'")
    assert difference(models, query.replace("results r", f"'{tmp_path}/results.parquet' r"), "z", "x") == ""


@pytest.mark.parametrize("shape", ["list", "matrix"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_lists_instead_of_arrays(models: hosts.Host, identities: Path, dtype: str, shape: str) -> None:
    make_table(models, dtype, shape)
    models.sql(f"FROM vonk_load('l_{dtype}_{shape}', '{identities}/{dtype}_{shape}.onnx', lists := true)")
    call = f"l_{dtype}_{shape}(x)"
    assert models.value(f"SELECT typeof({call}) FROM t LIMIT 1") == column_type(dtype, shape)
    for kind in ("flat", "some NULL", "filtered"):
        assert difference(models, KINDS[kind], call, "x") == "", kind


EXTREMES = {
    "bool": ["true", "false"],
    "i8": ["'-128'", "127"],
    "i16": ["'-32768'", "32767"],
    "i32": ["'-2147483648'", "2147483647"],
    "i64": ["'-9223372036854775808'", "9223372036854775807"],
    "u8": ["0", "255"],
    "u16": ["0", "65535"],
    "u32": ["0", "4294967295"],
    "u64": ["0", "18446744073709551615"],
    "f16": ["'-65504'", "'65504'", "'6.103515625e-05'", "'inf'", "'-inf'", "'nan'", "'-0'", "'5.9604644775390625e-08'"],
    "f32": ["'-3.4028234663852886e38'", "'3.4028234663852886e38'", "'1.401298464324817e-45'", "'inf'", "'nan'", "'-0'"],
    "f64": ["'-1.7976931348623157e308'", "'1.7976931348623157e308'", "'5e-324'", "'-inf'", "'nan'", "'-0'"],
    "string": [
        "'a' || chr(0) || 'b'",
        "''",
        "'twelve bytes'",
        "'thirteen byte'",
        "'😀'",
        "repeat('x', 100000)",
        "'a' || chr(9) || 'b'",
    ],
}


@pytest.mark.parametrize("dtype", EXTREMES)
def test_the_ends_of_a_dtype_survive(models: hosts.Host, dtype: str) -> None:
    sql_type = DTYPES[dtype][0]
    values = ", ".join(f"({i}, {text}::{sql_type})" for i, text in enumerate(EXTREMES[dtype]))
    text = f"SELECT i, x, f_{dtype}_number(x) AS y FROM (VALUES {values}) v(i, x) ORDER BY i"
    rows = models.sql(text)
    assert len(rows) == len(EXTREMES[dtype])
    assert [repr(row[2]) for row in rows] == [repr(row[1]) for row in rows]  # repr: nan is nan, -0.0 is not 0.0


def test_an_enum_is_text(models: hosts.Host) -> None:
    models.sql("CREATE TYPE mood AS ENUM ('sad', 'happy', 'somewhere in between')")
    models.sql(
        "CREATE OR REPLACE TABLE moods AS "
        "SELECT i, ['sad', 'happy', 'somewhere in between'][i % 3 + 1]::mood AS x FROM range(5000) r(i)"
    )
    assert difference(models, "SELECT i, x FROM moods WHERE i % 4 > 0", "f_string_number(x)", "x::VARCHAR") == ""
    assert difference(models, "SELECT i, x FROM moods", "f_string_free([x, x]::VARCHAR[])", "[x, x]::VARCHAR[]") == ""


def test_a_dictionary_from_parquet_and_csv(models: hosts.Host, tmp_path: Path) -> None:
    models.sql(
        f"COPY (SELECT i, ['one', 'the second of all', 'three'][i % 3 + 1] AS x FROM range({ROWS}) r(i)) "
        f"TO '{tmp_path}/words.parquet'"
    )
    assert difference(models, f"FROM '{tmp_path}/words.parquet'", "f_string_number(x)", "x") == ""
    models.sql(f"COPY (FROM '{tmp_path}/words.parquet') TO '{tmp_path}/words.csv'")
    assert difference(models, f"FROM '{tmp_path}/words.csv'", "f_string_number(x)", "x") == ""


#: the columns of the next two tests: a gappy list, a number and a constant, with NULLs in each
MIXED = (
    "SELECT i, CASE WHEN i % 3 <> 0 THEN [i, 0.5]::FLOAT[] END AS a, CASE WHEN i % 5 <> 0 THEN i END AS b, "
    "CASE WHEN i % 7 <> 0 THEN 'a constant text' END AS c FROM range(5000) r(i)"
)
MIXED_RESULT = (
    "CASE WHEN i % 3 <> 0 AND i % 5 <> 0 AND i % 7 <> 0 THEN {'total': (i + 0.5)::FLOAT, 'number': i, 'text': c} END"
)


@pytest.fixture
def mixed(models: hosts.Host, tmp_path: Path) -> hosts.Host:
    """mixed(a FLOAT[2], b BIGINT, c VARCHAR) -> the sum of a, b, c."""
    path = tmp_path / "mixed.mock"
    inputs = "input a f32 n 2\ninput b i64 n\ninput c string n\n"
    path.write_text(inputs + "output total = sum a\noutput number = copy b\noutput text = copy c\n")
    models.sql(f"FROM vonk_load('mixed', '{path}', plugin := '{hosts.mock_folder()}/mock_echo.so')")
    return models


def test_several_columns_of_different_kinds_in_one_call(mixed: hosts.Host) -> None:
    query = f"SELECT i, {MIXED_RESULT} AS x, mixed(a, b, c) AS z FROM ({MIXED})"
    assert difference(mixed, query, "z", "x") == ""


def test_a_struct_with_fields_of_different_kinds(mixed: hosts.Host) -> None:
    """Its fields meet the inputs by name; a NULL struct is a row without any."""
    struct = "CASE WHEN i % 11 <> 0 THEN {'c': c, 'a': a, 'b': b} END"
    expected = f"CASE WHEN i % 11 <> 0 THEN {MIXED_RESULT} END"
    query = f"SELECT i, {expected} AS x, mixed({struct}) AS z FROM ({MIXED})"
    assert difference(mixed, query, "z", "x") == ""
    mixed.sql(f"CREATE OR REPLACE TABLE structs AS SELECT i, {struct} AS s, {expected} AS x FROM ({MIXED})")
    assert difference(mixed, "SELECT i, x, mixed(s) AS z FROM structs WHERE i % 2 = 0", "z", "x") == ""


def copied(host: hosts.Host, name: str) -> tuple[int, int]:
    """Rows and copied bytes since it was loaded."""
    ((rows, copied_bytes),) = host.sql(f"SELECT rows, copied_bytes FROM vonk_models() WHERE name = '{name}'")
    return rows, copied_bytes


#: float32[N, 64] -> [N]: what is copied is counted of inputs and outputs, and here the inputs are nearly all
WIDTH = 64


@pytest.fixture
def wide(models: hosts.Host, tmp_path: Path) -> hosts.Host:
    path = tmp_path / "wide.mock"
    path.write_text(f"input x f32 n {WIDTH}\noutput y = sum x\n")
    models.sql(f"FROM vonk_load('wide', '{path}', plugin := '{hosts.mock_folder()}/mock_echo.so')")
    models.sql(
        f"CREATE OR REPLACE TABLE t AS SELECT i, [(i + j)::FLOAT FOR j IN range({WIDTH})] AS x FROM range({ROWS}) r(i)"
    )
    models.sql(f"COPY (FROM t) TO '{tmp_path}/t.parquet'")
    models.sql(f"CREATE OR REPLACE VIEW file AS FROM '{tmp_path}/t.parquet'")
    return models


@pytest.mark.parametrize(
    "query",
    [
        "SELECT x FROM t",
        "SELECT x FROM file",
        f"SELECT x::FLOAT[{WIDTH}] AS x FROM t",
        "SELECT x FROM t WHERE i < 3000",
    ],
)
def test_dense_rows_are_not_copied(wide: hosts.Host, query: str) -> None:
    before = copied(wide, "wide")
    rows = wide.value(f"SELECT count(wide(x)) FROM ({query})")
    after = copied(wide, "wide")
    assert rows in (ROWS, 3000)
    assert (after[0] - before[0], after[1] - before[1]) == (rows, 0)


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT x FROM t WHERE i % 3 = 0", 1667),
        ("SELECT CASE WHEN i % 3 = 0 THEN x END AS x FROM t", 1667),
        ("SELECT x FROM range(3000) r(k) JOIN t ON k % 7 = t.i", 3000),
    ],
)
def test_gappy_rows_are_gathered_once_at_most(wide: hosts.Host, query: str, rows: int) -> None:
    before = copied(wide, "wide")
    assert wide.value(f"SELECT count(wide(x)) FROM ({query})") == rows
    after = copied(wide, "wide")
    assert after[1] - before[1] <= rows * (WIDTH + 1) * 4  # and the result, where NULLs stand between


def test_doubles_are_converted_once(wide: hosts.Host) -> None:
    before = copied(wide, "wide")
    assert wide.value("SELECT count(wide(x::DOUBLE[])) FROM t") == ROWS
    after = copied(wide, "wide")
    assert after[1] - before[1] == ROWS * WIDTH * 4


@pytest.mark.parametrize("width", [2, 100, 1000])
def test_as_many_scalars_as_the_row_has_numbers(models: hosts.Host, tmp_path: Path, width: int) -> None:
    path = tmp_path / "many.mock"
    path.write_text(f"input x f64 n {width}\noutput y = sum x\n")
    models.sql(f"FROM vonk_load('many_{width}', '{path}', plugin := '{hosts.mock_folder()}/mock_echo.so')")
    arguments = ", ".join(f"i + {j}" for j in range(width))
    expected = f"(i * {width} + {width * (width - 1) // 2})::DOUBLE"
    assert difference(models, "SELECT i, NULL AS x FROM range(2500) r(i)", f"many_{width}({arguments})", expected) == ""


def test_a_file_with_many_row_groups(models: hosts.Host, tmp_path: Path) -> None:
    make_table(models, "f32", "list")
    models.sql(
        f"COPY (FROM t UNION ALL SELECT i + {ROWS}, x FROM t) TO '{tmp_path}/groups.parquet' (ROW_GROUP_SIZE 2048)"
    )
    models.sql("SET threads = 2")
    assert difference(models, f"FROM '{tmp_path}/groups.parquet'", "f_f32_list(x)::FLOAT[]", "x") == ""
