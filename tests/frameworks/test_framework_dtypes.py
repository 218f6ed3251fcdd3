"""Every dtype in every framework, in and out, against what the framework says in Python; and docs/dtypes.md, which
tells the results.

`python tests/frameworks/test_framework_dtypes.py --write` writes docs/dtypes.md anew.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import networks as nets
import pyarrow as pa
import pytest
import zoo
from cells import ARROW, MAKERS, TITLES, UNSUPPORTED, Cell, Predictor, VonkError, same_bits, shared_model, values_of

PAGE = nets.ROOT / "docs" / "dtypes.md"


def case(maker: str, *values: Any) -> Any:
    here = pytest.mark.skipif(not zoo.is_here(maker), reason=f"{maker}: not installed")
    return pytest.param(maker, *values, marks=here, id="-".join([maker, *map(str, values)]))


SUPPORTED = [
    case(maker, dtype, shape)
    for maker in MAKERS
    for dtype in nets.DTYPES
    for shape in nets.SHAPES
    if (maker, dtype) not in UNSUPPORTED
]


def expected_type(dtype: str, shape: str) -> pa.DataType:
    type_ = ARROW[dtype]
    for n in reversed(nets.SHAPES[shape][1:]):
        type_ = pa.list_(pa.field("item", type_), n)
    return type_


@pytest.mark.parametrize(("maker", "dtype", "shape"), SUPPORTED)
def test_all_rows_come_out_as_the_framework_gives_them(maker: str, dtype: str, shape: str) -> None:
    cell = Cell(maker, dtype, shape)
    found = cell.predict(cell.rows())
    assert found.type == expected_type(dtype, shape)
    same_bits(values_of(found, shape), cell.expected() if shape != "fixed" else nets.sample(dtype, shape), str(cell))


@pytest.mark.parametrize(("maker", "dtype", "shape"), SUPPORTED)
def test_null_rows_are_null_and_the_others_keep_their_bits(maker: str, dtype: str, shape: str) -> None:
    cell = Cell(maker, dtype, shape)
    nulls = (0, 5, 6, nets.ROWS - 1)
    found = cell.predict(cell.rows(nulls=nulls))
    assert [i for i in range(nets.ROWS) if not found[i].is_valid] == list(nulls)
    good = [i for i in range(nets.ROWS) if i not in nulls]
    same_bits(values_of(found.take(pa.array(good)), shape), nets.sample(dtype, shape)[good], "rows beside NULLs")


@pytest.mark.parametrize(("maker", "dtype", "shape"), SUPPORTED)
@pytest.mark.parametrize("rows", [0, 1])
def test_no_row_and_one_row(maker: str, dtype: str, shape: str, rows: int) -> None:
    cell = Cell(maker, dtype, shape)
    found = cell.predict(cell.rows(rows))
    assert found.type == expected_type(dtype, shape)
    assert len(found) == rows
    same_bits(values_of(found, shape), nets.sample(dtype, shape)[:rows], f"{rows} rows")


@pytest.mark.parametrize(("maker", "dtype"), [case(*pair) for pair, message in UNSUPPORTED.items() if message], ids=str)
def test_what_is_not_supported_says_so(maker: str, dtype: str) -> None:
    cell = Cell(maker, dtype, "vector")
    with pytest.raises(VonkError) as caught:
        cell.open()
    assert caught.value.code == "VONK_UNSUPPORTED"
    assert caught.value.message == f"'{cell.path.resolve()}': {UNSUPPORTED[maker, dtype]}"


# --- the page -------------------------------------------------------------------------------------

ARROW_TYPES = [
    pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
    pa.float16(), pa.float32(), pa.float64(), pa.decimal128(9, 2), pa.string(), pa.large_string(), pa.binary(),
    pa.large_binary(), pa.date32(), pa.timestamp("us"),
]  # fmt: skip
SQL_TYPES = (
    "BOOLEAN TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT UHUGEINT FLOAT DOUBLE DECIMAL "
    "VARCHAR BLOB DATE TIMESTAMP"
).split()
LONG = {
    "bool": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "u8": "uint8", "u16": "uint16",
    "u32": "uint32", "u64": "uint64", "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64",
    "string": "string",
}  # fmt: skip


def arrow_name(type_: pa.DataType) -> str:
    return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(type_), str(type_))


def arrow_feeds(dtype: str, **options: bool) -> list[str]:
    """The Arrow types that a tensor takes, asked for numbers and for lists of them alike; bytes are a row."""

    def bound(shape: str, type_: pa.DataType) -> bool:
        try:
            Predictor(shared_model(Cell("onnx", dtype, shape)), pa.schema({"x": type_}), **options)
        except VonkError:
            return False
        return True

    def is_row(type_: pa.DataType) -> bool:
        return dtype != "string" and (pa.types.is_binary(type_) or pa.types.is_large_binary(type_))

    names = [arrow_name(type_) for type_ in ARROW_TYPES if bound("scalar", type_)]
    rows = [type_ if is_row(type_) else pa.list_(type_) for type_ in ARROW_TYPES]
    assert names == [arrow_name(type_) for type_, row in zip(ARROW_TYPES, rows, strict=True) if bound("vector", row)]
    return names


def engine_rows() -> str:
    """What an engine without unsigned types, and an SQL engine, may give and gets besides."""
    rows = ""
    for dtype in nets.DTYPES:
        plain = arrow_feeds(dtype)
        columns = [
            ", ".join(name for name in arrow_feeds(dtype, **options) if name not in plain) or "–"
            for options in ({"signed_integers": True}, {"sql_casts": True})
        ]
        model = shared_model(Cell("onnx", dtype, "scalar"))
        out = Predictor(model, pa.schema({"x": ARROW[dtype]}), signed_integers=True, half_as_float=True).schema()
        rows += f"| {LONG[dtype]} | {columns[0]} | {columns[1]} | {arrow_name(out.field(0).type)} |\n"
    return rows


def sql_feeds(connection: Any, dtype: str) -> tuple[list[str], str]:
    """The SQL types that a function of the model takes, numbers and lists alike, and the type of its result."""
    import duckdb  # noqa: PLC0415 - of the tests' requirements

    taken: dict[str, list[str]] = {}
    results = set()
    for shape, suffix in (("scalar", ""), ("vector", "[]")):
        name = f"m_{dtype}_{shape}"
        connection.execute(f"FROM vonk_load('{name}', '{Cell('onnx', dtype, shape).path}')")
        taken[shape] = []
        for type_ in SQL_TYPES:
            try:
                rows = connection.execute(f"SELECT typeof({name}(CAST(NULL AS {type_}{suffix})))").fetchall()
            except duckdb.BinderException:
                continue
            taken[shape].append(type_)
            results.add(rows[0][0].removesuffix("[3]"))
    assert taken["scalar"] == taken["vector"], taken
    assert len(results) == 1, results
    return taken["scalar"], results.pop()


def connect() -> Any:
    import duckdb  # noqa: PLC0415 - of the tests' requirements

    extension = os.environ.get("VONK_EXTENSION")
    if extension is None:
        import vonk  # noqa: PLC0415 - the installed wheel

        extension = str(vonk.installation().extension)
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD '{extension}'")
    return connection


HEAD = """\
# Element types

What each framework's tensors may hold, in and out. This page is written by its test,
`python tests/frameworks/test_framework_dtypes.py --write`: for each framework and type, an identity model goes through
the library with a number, a vector `[3]` and a matrix `[2, 3]` a row, with NULL rows, no row, one row and many, and
with a fixed batch of four; every result is compared, bit for bit, with what the framework gives in Python.

"""
MIDDLE = """
## Columns that feed them, and columns that come out

The same for every framework, and for lists of them as for numbers. A column feeds a tensor of another type only if no
value can change, except that floats may become narrower, because every literal of SQL is a double. In SQL, DuckDB's own
casts come before that, so whole numbers of any width become floats. A NULL is never given to a model.

A binary column feeds a tensor of numbers with its bytes: a value is a whole row, its numbers in row-major order as the
tensor has them (little-endian, a bool is a byte of 0 or 1). Any other length than the row's is a bad row.

| type | Arrow columns in | Arrow column out | DuckDB columns in | DuckDB column out |
|---|---|---|---|---|
"""
TAIL = """
Arrow has no bfloat16, and DuckDB neither of the halves: both travel as float32, which holds them exactly (in Arrow only
bfloat16). Of Arrow's other types, dates, times and decimals want a cast.

## Options of engines

`vonk_bind_options` in C, `Model.bind` in Python: what the options add for engines that lack some types. With
`signed_integers` a value that the other type does not hold makes its row a bad one. With `sql_casts` integers and
decimals (of 128 bits) become the nearest float. The last column is with `signed_integers` and `half_as_float`, as on
Spark.

| type | columns in that `signed_integers` adds | columns in that `sql_casts` adds | column out |
|---|---|---|---|
"""


def support_table() -> str:
    notes: list[str] = []
    lines = ["| type | " + " | ".join(TITLES[maker] for maker in MAKERS) + " |", "|---|" + "---|" * len(MAKERS)]
    for dtype in nets.DTYPES:
        cells = []
        for maker in MAKERS:
            message = UNSUPPORTED.get((maker, dtype))
            if message is None:
                cells.append("yes")
                continue
            note = (
                f"Refused: `{message}`." if message else "PyTorch has no tensors of them, so there is no such package."
            )
            if note not in notes:
                notes.append(note)
            cells.append(f"no ({notes.index(note) + 1})")
        lines.append(f"| {LONG[dtype]} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *[f"{i + 1}. {note}" for i, note in enumerate(notes)], ""])


def page() -> str:
    connection = connect()
    rows = ""
    for dtype in nets.DTYPES:
        sql_in, sql_out = sql_feeds(connection, dtype)
        columns = [", ".join(arrow_feeds(dtype)), arrow_name(ARROW[dtype]), ", ".join(sql_in), sql_out]
        rows += f"| {LONG[dtype]} | " + " | ".join(columns) + " |\n"
    return HEAD + support_table() + MIDDLE + rows + TAIL + engine_rows()


@pytest.mark.skipif(not all(map(zoo.is_here, MAKERS)), reason="the page is about all frameworks")
def test_the_page_says_what_the_tests_found() -> None:
    assert PAGE.read_text() == page(), "run python tests/frameworks/test_framework_dtypes.py --write"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: test_framework_dtypes.py --write")
    PAGE.write_text(page())
