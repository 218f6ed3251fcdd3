"""`vonk run` on tables of every format, against onnxruntime on the same rows read by pyarrow."""

import gzip
import json
import os
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper
from program import DATA, FILES, MODEL, OK, USAGE, complaint, dense, lists, model, read, reference, stacked, value, vonk

ROWS = 5000  # more than one chunk of DuckDB, and not a whole number of them


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """mlp.onnx (x: float32[N, 4] -> y: float32[N, 3]) and the same rows in every format."""
    where = tmp_path_factory.mktemp("run")
    where.joinpath("mlp.onnx").write_bytes(dense(hidden=[8]).SerializeToString())
    rng = np.random.default_rng(7)
    x = rng.random((ROWS, 4), dtype=np.float32)
    names = [f"row {i}" for i in range(ROWS)]
    table = pa.table({"id": np.arange(ROWS), "x": lists(x), "name": names})
    pq.write_table(table, where / "rows.parquet", row_group_size=1700)
    with (where / "rows.jsonl").open("w") as out:
        for i in range(ROWS):
            out.write(json.dumps({"id": i, "x": [float(v) for v in x[i]], "name": names[i]}) + "\n")
    lines = (where / "rows.jsonl").read_text().splitlines()
    (where / "rows.json").write_text("[" + ",\n".join(lines) + "]\n")
    columns = {f"x{j}": x[:, j] for j in range(4)}
    pc.write_csv(pa.table({"id": np.arange(ROWS), **columns, "name": names}), where / "scalars.csv")
    with gzip.open(where / "scalars.csv.gz", "wb") as out:
        out.write((where / "scalars.csv").read_bytes())
    (where / "scalars.tsv").write_text((where / "scalars.csv").read_text().replace(",", "\t"))
    return where


@pytest.fixture(scope="module")
def expected(folder):
    x = stacked(read(folder / "rows.parquet")["x"])
    return reference(folder / "mlp.onnx", x=x)[0]


def run(folder, *args, **more):
    return vonk("run", "mlp.onnx", *args, cwd=folder, check=OK, **more)


PACKED = "x=x0::FLOAT,x1::FLOAT,x2::FLOAT,x3::FLOAT"


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_parquet_predictions_are_bit_equal_and_in_order(folder, expected, tmp_path, threads):
    run(folder, "rows.parquet", "-o", tmp_path / "out.parquet", "--threads", threads)
    out = read(tmp_path / "out.parquet")
    assert out.column_names == ["id", "x", "name", "y"]
    assert out["id"].to_pylist() == list(range(ROWS))
    assert out.select(["id", "x", "name"]).equals(read(folder / "rows.parquet"))
    np.testing.assert_array_equal(stacked(out["y"]), expected)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rows.jsonl", []),
        ("rows.json", []),
        ("scalars.csv", ["--input", PACKED]),
        ("scalars.tsv", ["--input", PACKED]),
        ("scalars.csv.gz", ["--input", PACKED]),
        ("scalars.csv", ["--input", "x=x0,x1,x2,x3"]),
    ],
)
def test_every_input_format_gives_the_same_predictions(folder, expected, tmp_path, name, options):
    run(folder, name, "-o", tmp_path / "out.parquet", *options)
    out = read(tmp_path / "out.parquet")
    assert out["id"].to_pylist() == list(range(ROWS))
    assert out["name"][ROWS - 1].as_py() == f"row {ROWS - 1}"
    np.testing.assert_array_equal(stacked(out["y"]), expected)


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.csv.gz"])
def test_csv_output_reads_back(folder, expected, tmp_path, name):
    run(folder, "rows.parquet", "-o", tmp_path / name, "--select", "id,name")
    data = (tmp_path / name).read_bytes()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    separator = "\t" if name.endswith("tsv") else ","
    header, *lines = text.splitlines()
    assert header == separator.join(["id", "name", "y"])
    assert len(lines) == ROWS
    first = lines[17].split(separator, 2)
    assert first[:2] == ["17", "row 17"]
    found = np.array(json.loads(first[2].strip('"')), dtype=np.float32)
    np.testing.assert_allclose(found, expected[17], rtol=1e-6)


@pytest.mark.parametrize("name", ["out.json", "out.jsonl", "out.ndjson"])
def test_json_output_reads_back(folder, expected, tmp_path, name):
    run(folder, "rows.parquet", "-o", tmp_path / name, "--select", "id")
    text = (tmp_path / name).read_text()
    rows = json.loads(text) if name == "out.json" else [json.loads(line) for line in text.splitlines()]
    assert [row["id"] for row in rows] == list(range(ROWS))
    np.testing.assert_array_equal(np.array([row["y"] for row in rows], dtype=np.float32), expected)


def test_select_keeps_the_columns_named_in_their_order(folder, tmp_path):
    run(folder, "rows.parquet", "-o", tmp_path / "out.parquet", "--select", "name, id")
    assert read(tmp_path / "out.parquet").column_names == ["name", "id", "y"]


def test_select_of_nothing_keeps_the_predictions_only(folder, expected, tmp_path):
    run(folder, "rows.parquet", "-o", tmp_path / "out.parquet", "--select", "")
    out = read(tmp_path / "out.parquet")
    assert out.column_names == ["y"]
    np.testing.assert_array_equal(stacked(out["y"]), expected)


def test_only_the_needed_columns_are_read(folder, tmp_path):
    """A column nobody asked for may be damaged: its pages are never looked at."""
    path = tmp_path / "damaged.parquet"
    rng = np.random.default_rng(3)
    x = rng.random((100, 4), dtype=np.float32)
    pq.write_table(pa.table({"junk": [os.urandom(100) for _ in range(100)], "x": lists(x)}), path, compression="none")
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(0)
    start = min(filter(None, [chunk.dictionary_page_offset, chunk.data_page_offset]))
    data = bytearray(path.read_bytes())
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(bytes(data))
    vonk("run", folder / "mlp.onnx", path, "-o", tmp_path / "bad.parquet", check=FILES)
    vonk("run", folder / "mlp.onnx", path, "-o", tmp_path / "out.parquet", "--select", "x", check=OK)
    found = stacked(read(tmp_path / "out.parquet")["y"])
    np.testing.assert_array_equal(found, reference(folder / "mlp.onnx", x=x)[0])


def test_output_renames_and_argmax(folder, expected, tmp_path):
    options = ["--as", "argmax", "--output", "y=class", "--select", "id"]
    run(folder, "rows.parquet", "-o", tmp_path / "out.parquet", *options)
    out = read(tmp_path / "out.parquet")
    assert out.schema.field("class").type == pa.int64()
    np.testing.assert_array_equal(out["class"].to_numpy(), expected.argmax(axis=1))


def test_squeeze_makes_a_number_of_a_list_of_one(tmp_path):
    (tmp_path / "one.onnx").write_bytes(dense(n_out=1).SerializeToString())
    x = np.random.default_rng(0).random((10, 4), dtype=np.float32)
    pq.write_table(pa.table({"x": lists(x)}), tmp_path / "in.parquet")
    vonk("run", "one.onnx", "in.parquet", "-o", "out.parquet", "--squeeze", cwd=tmp_path, check=OK)
    out = read(tmp_path / "out.parquet")
    assert out.schema.field("y").type == pa.float32()
    np.testing.assert_array_equal(out["y"].to_numpy(), reference(tmp_path / "one.onnx", x=x)[0][:, 0])


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.json"])
def test_the_standard_input_is_told_by_its_content(folder, expected, tmp_path, name):
    run(folder, "-", "-o", tmp_path / "out.parquet", stdin=(folder / name).read_bytes())
    np.testing.assert_array_equal(stacked(read(tmp_path / "out.parquet")["y"]), expected)


def test_csv_through_a_pipe(folder, expected):
    done = run(folder, "-", "-o", "-", "--input", PACKED, "--select", "id", stdin=(folder / "scalars.csv").read_bytes())
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "id,y" and len(lines) == ROWS + 1
    number, numbers = lines[-1].split(",", 1)
    assert number == str(ROWS - 1)
    np.testing.assert_allclose(np.array(json.loads(numbers.strip('"'))), expected[-1], rtol=1e-6)


def test_compressed_standard_input_needs_its_format(folder, tmp_path):
    data = (folder / "scalars.csv.gz").read_bytes()
    args = ["run", "mlp.onnx", "-", "-o", tmp_path / "out.parquet", "--input", PACKED]
    message = complaint(*args, code=FILES, cwd=folder, stdin=data)
    assert message == "vonk run: -: is compressed: name the format inside with --format"
    vonk(*args, "--format", "csv", cwd=folder, stdin=data, check=OK)
    assert read(tmp_path / "out.parquet").num_rows == ROWS


def test_patterns_and_several_inputs_are_concatenated_by_name(folder, expected, tmp_path):
    table = read(folder / "rows.parquet")
    pq.write_table(table.slice(0, 3000), tmp_path / "part-1.parquet")
    pq.write_table(table.slice(3000, 1000).select(["name", "x", "id"]), tmp_path / "part-2.parquet")
    pq.write_table(table.slice(4000), tmp_path / "rest.parquet")
    out = tmp_path / "all.out.parquet"
    vonk("run", folder / "mlp.onnx", "part-*.parquet", "rest.parquet", "-o", out, cwd=tmp_path, check=OK)
    assert read(out)["id"].to_pylist() == list(range(ROWS))
    np.testing.assert_array_equal(stacked(read(out)["y"]), expected)


def test_formats_can_be_mixed(folder, expected, tmp_path):
    run(folder, "rows.parquet", "rows.jsonl", "-o", tmp_path / "out.parquet")
    out = read(tmp_path / "out.parquet")
    assert out["id"].to_pylist() == [*range(ROWS), *range(ROWS)]
    np.testing.assert_array_equal(stacked(out["y"]), np.concatenate([expected, expected]))


def test_an_empty_table_gives_an_empty_table(folder, tmp_path):
    pq.write_table(read(folder / "rows.parquet").slice(0, 0), tmp_path / "none.parquet")
    run(folder, tmp_path / "none.parquet", "-o", tmp_path / "out.parquet")
    out = read(tmp_path / "out.parquet")
    assert (out.num_rows, out.column_names) == (0, ["id", "x", "name", "y"])


def test_one_row(folder, expected, tmp_path):
    pq.write_table(read(folder / "rows.parquet").slice(0, 1), tmp_path / "one.parquet")
    run(folder, tmp_path / "one.parquet", "-o", tmp_path / "out.parquet")
    np.testing.assert_allclose(stacked(read(tmp_path / "out.parquet")["y"]), expected[:1], rtol=1e-6)


def test_columns_that_no_tensor_can_hold_are_passed_through(folder, tmp_path):
    table = read(folder / "rows.parquet").slice(0, 3)
    extra = pa.table(
        {
            "day": pa.array([0, 1, None], pa.date32()),
            "at": pa.array([1, 2, 3], pa.timestamp("us")),
            "price": pa.array(["1.50", "2.25", None]).cast(pa.decimal128(9, 2)),
            "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
            "pairs": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            "record": pa.array([{"a": 1, "b": [True]}, None, {"a": None, "b": []}]),
            "blob": pa.array([b"\0\1", b"", None], pa.binary()),
        }
    )
    for name in extra.column_names:
        table = table.append_column(name, extra[name])
    pq.write_table(table, tmp_path / "in.parquet")
    run(folder, tmp_path / "in.parquet", "-o", tmp_path / "out.parquet")
    out = read(tmp_path / "out.parquet")
    for name in extra.column_names:
        assert out[name].to_pylist() == extra[name].to_pylist(), name


NUMBERS = {
    "int8": (TensorProto.INT8, pa.int8()), "int16": (TensorProto.INT16, pa.int16()),
    "int32": (TensorProto.INT32, pa.int32()), "int64": (TensorProto.INT64, pa.int64()),
    "uint8": (TensorProto.UINT8, pa.uint8()), "uint16": (TensorProto.UINT16, pa.uint16()),
    "uint32": (TensorProto.UINT32, pa.uint32()), "uint64": (TensorProto.UINT64, pa.uint64()),
    "float32": (TensorProto.FLOAT, pa.float32()), "float64": (TensorProto.DOUBLE, pa.float64()),
    "bool": (TensorProto.BOOL, pa.bool_()),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_type_passes_unchanged(tmp_path, name):
    kind, arrow = NUMBERS[name]
    graph = model(
        [helper.make_node("Identity", ["a"], ["same"]), helper.make_node("Identity", ["v"], ["values"])],
        [value("a", kind, "N"), value("v", kind, "N", 3)],
        [value("same", kind, "N"), value("values", kind, "N", 3)],
    )
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
    rng = np.random.default_rng(5)
    dtype = np.dtype(name)
    numbers = (
        rng.random((3000, 4)) * 100 if dtype.kind == "f" else rng.integers(0, 2 if name == "bool" else 100, (3000, 4))
    )
    numbers = numbers.astype(dtype)
    table = pa.table({"a": pa.array(numbers[:, 0], arrow), "v": lists(numbers[:, 1:], arrow)})
    pq.write_table(table, tmp_path / "in.parquet")
    vonk("run", "m.onnx", "in.parquet", "-o", "out.parquet", cwd=tmp_path, check=OK)
    out = read(tmp_path / "out.parquet")
    assert out.schema.field("same").type == arrow
    np.testing.assert_array_equal(out["same"].to_numpy(), numbers[:, 0])
    np.testing.assert_array_equal(stacked(out["values"]), numbers[:, 1:])


def test_strings_and_categories_pass_unchanged(tmp_path):
    graph = model(
        [helper.make_node("Identity", ["s"], ["same"]), helper.make_node("Identity", ["k"], ["kinds"])],
        [value("s", TensorProto.STRING, "N"), value("k", TensorProto.STRING, "N")],
        [value("same", TensorProto.STRING, "N"), value("kinds", TensorProto.STRING, "N")],
    )
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
    words = ["", "a", "twelve bytes", "more than twelve bytes", "größer\n", "x" * 5000] * 500
    kinds = pa.array(["red", "green", "blue"] * 1000).dictionary_encode()
    pq.write_table(pa.table({"s": words, "k": kinds}), tmp_path / "in.parquet")
    vonk("run", "m.onnx", "in.parquet", "-o", "out.parquet", cwd=tmp_path, check=OK)
    out = read(tmp_path / "out.parquet")
    assert out["same"].to_pylist() == words
    assert out["kinds"].to_pylist() == kinds.to_pylist()


def test_struct_fields_feed_inputs_and_two_outputs_become_columns(tmp_path):
    graph = model(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        [value("a", TensorProto.FLOAT, "N", 2), value("b", TensorProto.FLOAT, "N", 2)],
        [value("sum", TensorProto.FLOAT, "N", 2), value("difference", TensorProto.FLOAT, "N", 2)],
    )
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
    rows = [{"a": [float(i), 1.0], "b": [2.0, float(i)]} for i in range(2500)]
    table = pa.table({"s": pa.array(rows, pa.struct([("a", pa.list_(pa.float32())), ("b", pa.list_(pa.float32()))]))})
    pq.write_table(table, tmp_path / "in.parquet")
    vonk("run", "m.onnx", "in.parquet", "-o", "out.parquet", cwd=tmp_path, check=OK)
    out = read(tmp_path / "out.parquet")
    assert out.column_names == ["s", "sum", "difference"]
    assert out["sum"][2400].as_py() == [2402.0, 2401.0]
    assert out["difference"][2400].as_py() == [2398.0, -2399.0]


def test_nested_lists_and_outputs_of_higher_rank(tmp_path):
    graph = model(
        [helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 2, 1])],
        [value("image", TensorProto.FLOAT, "N", 2, 3)],
        [value("turned", TensorProto.FLOAT, "N", 3, 2)],
    )
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
    images = np.random.default_rng(1).random((2100, 2, 3), dtype=np.float32)
    kind = pa.list_(pa.list_(pa.float32()))
    pq.write_table(pa.table({"image": pa.array(images.tolist(), kind)}), tmp_path / "in.parquet")
    vonk("run", "m.onnx", "in.parquet", "-o", "out.parquet", cwd=tmp_path, check=OK)
    found = np.array(read(tmp_path / "out.parquet")["turned"].to_pylist(), dtype=np.float32)
    np.testing.assert_array_equal(found, images.transpose(0, 2, 1))


# --- rows that go wrong ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A model that looks numbers up and refuses those out of range, and rows of which some are bad."""
    where = tmp_path_factory.mktemp("broken")
    weights = np.arange(20, dtype=np.float32).reshape(10, 2)
    graph = model(
        [helper.make_node("Gather", ["w", "i"], ["y"])],
        [value("i", TensorProto.INT64, "N")],
        [value("y", TensorProto.FLOAT, "N", 2)],
        [numpy_helper.from_array(weights, "w")],
    )
    (where / "m.onnx").write_bytes(graph.SerializeToString())
    rng = np.random.default_rng(2)
    indices = rng.integers(0, 10, 20000).tolist()
    bad = set(rng.choice(20000, 150, replace=False).tolist())
    nulls = set(sorted(bad)[:50])
    for row in bad:
        indices[row] = None if row in nulls else 1000 + row
    pq.write_table(pa.table({"n": np.arange(20000), "i": pa.array(indices, pa.int64())}), where / "in.parquet")
    return where, indices, bad, nulls, weights


def test_the_first_bad_row_is_named_whatever_the_threads(broken):
    where, indices, bad, nulls, _ = broken
    row = min(bad - nulls)
    for threads in (1, 4):
        message = complaint(
            "run", "m.onnx", "in.parquet", "-o", "out.parquet", "--threads", threads, code=DATA, cwd=where
        )
        assert message.startswith(f"vonk run: row {row:,} (the first is 0): "), message
        assert str(indices[row]) in message
        assert not (where / "out.parquet").exists()


def test_report_gives_every_bad_row_its_reason_and_keeps_the_others(broken):
    where, indices, bad, nulls, weights = broken
    done = vonk("run", "m.onnx", "in.parquet", "-o", "report.parquet", "--on-error", "report", cwd=where, check=OK)
    out = read(where / "report.parquet")
    assert out.column_names == ["n", "i", "y", "error"]
    for row, (found, error) in enumerate(zip(out["y"].to_pylist(), out["error"].to_pylist(), strict=True)):
        if row in nulls:
            assert found is None and "NULL" in error, (row, found, error)
        elif row in bad:
            assert found is None and str(indices[row]) in error, (row, found, error)
        else:
            assert found == weights[indices[row]].tolist() and error is None, (row, found, error)
    said = done.stderr.decode()
    assert "50 rows have a NULL where the model needs a value" in said
    assert "100 rows could not be scored" in said


def test_on_error_null_counts(broken):
    where, _, bad, _, _ = broken
    vonk("run", "m.onnx", "in.parquet", "-o", "null.parquet", "--on-error", "null", cwd=where, check=OK)
    out = read(where / "null.parquet")
    assert out.column_names == ["n", "i", "y"]
    assert {row for row, y in enumerate(out["y"].to_pylist()) if y is None} == bad


def test_nulls_can_be_refused(broken):
    where, _, _, nulls, _ = broken
    options = ["--nulls", "error", "--on-error", "raise"]
    pq.write_table(read(where / "in.parquet").slice(min(nulls), 1), where / "null-row.parquet")
    message = complaint("run", "m.onnx", "null-row.parquet", "-o", "x.parquet", *options, code=DATA, cwd=where)
    assert message.startswith("vonk run: row 0 (the first is 0): ") and "NULL" in message


# --- what does not fit -----------------------------------------------------------------------------------------------


def test_a_clash_of_names_says_what_to_write(folder, tmp_path):
    args = ["run", "mlp.onnx", "rows.parquet", "-o", tmp_path / "out.parquet", "--output", "y=NAME"]
    assert complaint(*args, code=DATA, cwd=folder) == (
        "vonk run: output 'y': would be the column 'NAME', but the input has one of that name: name it with "
        "--output y=NAME, or leave the input's out with --select"
    )


def test_a_clash_with_the_error_column(folder, tmp_path):
    table = read(folder / "rows.parquet").rename_columns(["error", "x", "name"])
    pq.write_table(table, tmp_path / "in.parquet")
    args = ["run", folder / "mlp.onnx", "in.parquet", "-o", "out.parquet", "--on-error", "report"]
    assert complaint(*args, code=DATA, cwd=tmp_path) == (
        "vonk run: column 'error': the input has one of that name, and --on-error report adds its own: leave the "
        "input's out with --select"
    )


def test_a_column_that_is_not_there(folder, tmp_path):
    args = ["run", "mlp.onnx", "rows.parquet", "-o", tmp_path / "out.parquet"]
    assert complaint(*args, "--select", "nmae", code=DATA, cwd=folder) == (
        "vonk run: --select: the input has no column 'nmae': it has id, x, name"
    )


def test_a_column_of_the_wrong_type_says_how_to_convert_it(tmp_path):
    (tmp_path / "m.onnx").write_bytes(dense().SerializeToString())
    pq.write_table(pa.table({"x": lists(np.zeros((2, 4), np.int64))}), tmp_path / "in.parquet")
    message = complaint("run", "m.onnx", "in.parquet", "-o", "out.parquet", code=DATA, cwd=tmp_path)
    assert "column 'x'" in message and "int64" in message and "float32" in message
    assert message.endswith("(here: --input TENSOR=COLUMN::TYPE)")
    vonk("run", "m.onnx", "in.parquet", "-o", "out.parquet", "--input", "x=x::FLOAT[]", cwd=tmp_path, check=OK)


def test_a_field_of_a_struct_can_be_converted(folder, expected, tmp_path):
    table = read(folder / "rows.parquet")
    record = pa.StructArray.from_arrays([table["x"].combine_chunks().cast(pa.list_(pa.float64()))], ["f"])
    pq.write_table(pa.table({"s": record}), tmp_path / "in.parquet")
    args = ["run", folder / "mlp.onnx", "in.parquet", "-o", "out.parquet", "--input"]
    for column in ("x=s.f::FLOAT[4]", "x=s.f::FLOAT[]", "x=s.f"):
        vonk(*args, column, cwd=tmp_path, check=OK)
        np.testing.assert_array_equal(stacked(read(tmp_path / "out.parquet")["y"]), expected)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("z::FLOAT[]", "vonk run: --input: the input has no column 'z': it has id, x, name"),
        ("id.f::FLOAT[]", "vonk run: rows.parquet: "),
        ("x::FLO", "vonk run: rows.parquet: Type with name FLO does not exist!"),
    ],
)
def test_a_conversion_that_cannot_be(folder, tmp_path, column, message):
    args = ["run", "mlp.onnx", "rows.parquet", "-o", tmp_path / "out.parquet", "--input", f"x={column}"]
    assert complaint(*args, code=DATA, cwd=folder).startswith(message)


def test_one_conversion_may_feed_two_inputs(tmp_path):
    graph = model(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        [value("a", TensorProto.FLOAT, "N", 2), value("b", TensorProto.FLOAT, "N", 2)],
        [value("sum", TensorProto.FLOAT, "N", 2)],
    )
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
    (tmp_path / "in.csv").write_text('v\n"[1, 2]"\n"[3, 4]"\n')
    inputs = ["--input", "a=v::FLOAT[]", "--input", "b=v::FLOAT[]"]
    vonk("run", "m.onnx", "in.csv", "-o", "out.parquet", *inputs, cwd=tmp_path, check=OK)
    assert read(tmp_path / "out.parquet")["sum"].to_pylist() == [[2.0, 4.0], [6.0, 8.0]]


def test_decimals_feed_a_model_as_floats(tmp_path):
    (tmp_path / "m.onnx").write_bytes(dense().SerializeToString())
    numbers = [Decimal("0.25"), Decimal("-1.50"), Decimal("12345678901.75"), Decimal("3.00")]
    table = pa.table({"x": pa.array([numbers], pa.list_(pa.decimal128(18, 2)))})
    pq.write_table(table, tmp_path / "decimals.parquet")
    pq.write_table(pa.table({"x": pa.array([[float(n) for n in numbers]])}), tmp_path / "floats.parquet")
    for name in ("decimals", "floats"):
        vonk("run", "m.onnx", f"{name}.parquet", "-o", f"{name}_out.parquet", cwd=tmp_path, check=OK)
    found, expected = (read(tmp_path / f"{name}_out.parquet").column(-1).to_pylist() for name in ("decimals", "floats"))
    assert found == expected


def test_a_date_cannot_feed_a_model(tmp_path):
    (tmp_path / "m.onnx").write_bytes(dense().SerializeToString())
    pq.write_table(pa.table({"x": pa.array([0], pa.date32())}), tmp_path / "in.parquet")
    assert complaint("run", "m.onnx", "in.parquet", "-o", "out.parquet", code=DATA, cwd=tmp_path) == (
        "vonk run: column 'x': is DATE, which no tensor can hold: turn it into numbers first"
    )


def test_a_cast_that_fails_is_about_the_rows(tmp_path):
    (tmp_path / "m.onnx").write_bytes(dense().SerializeToString())
    (tmp_path / "in.csv").write_text("x\n[1, 2, 3, 4]\nhello\n")
    args = ["run", "m.onnx", "in.csv", "-o", "out.parquet", "--input", "x=x::FLOAT[]"]
    message = complaint(*args, code=DATA, cwd=tmp_path)
    assert message.startswith("vonk run: in.csv: ") and "hello" in message
    assert list(tmp_path.glob("*out*")) == []


@pytest.mark.parametrize(
    ("inputs", "code", "message"),
    [
        (["no.parquet"], FILES, "vonk run: no.parquet: cannot be read: No such file or directory"),
        (["no-*.parquet"], FILES, "vonk run: no-*.parquet: no file matches this pattern"),
        (["."], FILES, "vonk run: .: is a folder: name the files in it, as in './*.parquet'"),
        (
            ["https://example.com/rows.parquet"],
            FILES,
            "vonk run: https://example.com/rows.parquet: is not on this machine: fetch it first, or pipe it in with -",
        ),
        (["-", "-"], FILES, "vonk run: -: the standard input can be read once only"),
        (
            ["text.parquet"],
            FILES,
            "vonk run: text.parquet: is not a Parquet file, or a damaged one: it does not begin with 'PAR1'",
        ),
    ],
)
def test_an_input_that_cannot_be_read(tmp_path, inputs, code, message):
    (tmp_path / "m.onnx").write_bytes(dense().SerializeToString())
    (tmp_path / "text.parquet").write_text("hello\n")
    assert complaint("run", "m.onnx", *inputs, "-o", "out.csv", code=code, cwd=tmp_path, stdin=b"x\n1\n") == message


def test_a_truncated_parquet_file_is_one_clear_error(folder, tmp_path):
    data = (folder / "rows.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    message = complaint("run", folder / "mlp.onnx", "cut.parquet", "-o", "out.csv", code=FILES, cwd=tmp_path)
    assert message.startswith("vonk run: cut.parquet: ") and "\n" not in message


def test_an_input_is_not_overwritten(folder, tmp_path):
    before = (folder / "rows.parquet").read_bytes()
    message = complaint("run", "mlp.onnx", "rows.parquet", "-o", "rows.parquet", code=USAGE, cwd=folder)
    assert message.startswith(f"vonk run: -o: '{(folder / 'rows.parquet').resolve()}' is also an input")
    assert (folder / "rows.parquet").read_bytes() == before


def test_a_damaged_model_is_told_from_a_damaged_table(folder, tmp_path):
    (tmp_path / "m.onnx").write_bytes((folder / "mlp.onnx").read_bytes()[:100])
    message = complaint("run", "m.onnx", folder / "rows.parquet", "-o", "out.csv", code=MODEL, cwd=tmp_path)
    assert "m.onnx" in message


def test_a_duckdb_that_is_named_must_be_there(folder, tmp_path):
    args = ["run", "mlp.onnx", "rows.parquet", "-o", tmp_path / "out.csv"]
    done = vonk(*args, cwd=folder, env={"VONK_LIBDUCKDB": "/nowhere/libduckdb.so"})
    assert done.stderr.decode() == (
        "vonk run: VONK_LIBDUCKDB: there is no /nowhere/libduckdb.so: give the path of a libduckdb.so, or unset it\n"
    )
    assert done.returncode == 1
    assert not (tmp_path / "out.csv").exists()


# --- what it says ----------------------------------------------------------------------------------------------------


def test_quiet_says_nothing(folder, tmp_path):
    done = run(folder, "rows.parquet", "-o", tmp_path / "out.parquet", "--quiet")
    assert (done.stdout, done.stderr) == (b"", b"")


def test_stats_say_where_the_time_went(folder, tmp_path):
    said = run(folder, "rows.parquet", "-o", tmp_path / "out.parquet", "--stats").stderr.decode()
    for word in ("5,000 rows in", "rows/s", "reading", "the model", "0 bytes of input and output copied", "idle"):
        assert word in said, f"{word!r} is not in:\n{said}"


def test_no_progress_without_a_terminal(folder, tmp_path):
    said = run(folder, "rows.parquet", "-o", tmp_path / "out.parquet").stderr
    assert b"\r" not in said and len(said.splitlines()) == 1
