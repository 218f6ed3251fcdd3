"""NumPy arrays in and out: every dtype, without copies, with the bits of onnxruntime."""

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
import vonk
from package import IRIS, identity, mock
from reference import ARROW, NUMPY, assert_equal, flat_array, models, nested, run, sample, save

INT64 = models.ELEMENT_TYPES["i64"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("identity")


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)], ids=["scalar", "list", "nested"])
@pytest.mark.parametrize("dtype", NUMPY)
def test_an_array_goes_through_unchanged(folder, dtype, shape):
    values = sample(dtype, (300, *shape))
    path = identity(folder, dtype, ["n", *shape])
    found = vonk.open(path).predict(values)
    assert_equal(found, values, dtype)
    assert_equal(found, run(path, x=values)[0], f"{dtype} against onnxruntime")


@pytest.mark.parametrize("dtype", NUMPY)
def test_an_arrow_column_of_every_dtype_is_what_the_array_is(folder, dtype):
    values = sample(dtype, (200, 3))
    model = vonk.open(identity(folder, dtype, ["n", 3]))
    result = model.predict(pa.table({"x": nested(values, fixed=True, type_=ARROW[dtype])}))

    class Rows:
        def __arrow_c_stream__(self, requested_schema=None):
            return result.__arrow_c_stream__()

    assert result["y"].type == pa.list_(ARROW[dtype], 3)
    assert_equal(model.predict(Rows()).to_numpy()["y"], values, dtype)


def test_bfloat16_is_given_and_returned_as_float32(folder):
    values = np.array([[1.5, -2.25, 3e38], [0, np.inf, 7]], dtype=ml_dtypes.bfloat16)
    path = save(models.identity(models.ELEMENT_TYPES["bf16"], ["n", 3]), folder / "bf16.onnx")
    assert_equal(vonk.open(path).predict(values), values.astype(np.float32))


def test_a_dict_of_arrays_gives_a_dict_of_arrays(tmp_path):
    made = models.model(
        [models.node("Add", ["a", "b"], ["total"]), models.node("Neg", ["id"], ["next"])],
        [models.value("a", ["n", 2]), models.value("b", ["n", 2]), models.value("id", ["n"], INT64)],
        [models.value("total", ["n", 2]), models.value("next", ["n"], INT64)],
    )
    path = save(made, tmp_path / "two.onnx")
    rng = np.random.default_rng(1)
    feeds = {"id": np.arange(9), "a": rng.random((9, 2), dtype="f4"), "b": rng.random((9, 2), dtype="f4")}
    model = vonk.open(path)
    found = model.predict(feeds)
    total, following = run(path, **feeds)
    assert list(found) == ["total", "next"]
    assert_equal(found["total"], total)
    assert_equal(found["next"], following)
    with pytest.raises(vonk.InvalidError, match=r"one array where the model has 3 inputs: pass a dict, \{'a': \.\.\."):
        model.predict(feeds["a"])


def test_a_structured_array_is_columns():
    flowers = np.array([(5.1, 3.5, 1.4, 0.2), (6.7, 3.0, 5.2, 2.3)], dtype=[(name, "f4") for name in "abcd"])
    assert vonk.open(IRIS).predict(flowers)["species"].tolist() == ["setosa", "virginica"]


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::2], lambda a: a[:, ::-1], np.asfortranarray, lambda a: a.astype(">f4"),
        lambda a: np.broadcast_to(a[:1], a.shape), lambda a: a[3:3],
        lambda a: np.frombuffer(b"?" + a.tobytes(), dtype="f4", offset=1).reshape(a.shape),
    ],
    ids=["strided", "reversed", "fortran", "big-endian", "broadcast", "empty", "unaligned"],
)  # fmt: skip
def test_an_array_of_any_layout_is_read(folder, view):
    values = view(sample("f32", (100, 3)))
    found = vonk.open(identity(folder, "f32", ["n", 3])).predict(values)
    np.testing.assert_array_equal(found, values)
    assert found.shape == values.shape


@pytest.mark.parametrize(
    "values",
    [
        np.array(["a", "", "日本語", "x" * 50]), np.array(["a", "", "日本語", "x" * 50], dtype=np.dtypes.StringDType()),
        np.array([["a", "b"], ["c", "dd"]], dtype=object),
    ],
    ids=["fixed width", "StringDType", "objects"],
)  # fmt: skip
def test_strings_of_every_kind_are_read(folder, values):
    found = vonk.open(identity(folder, "string", ["n", *values.shape[1:]])).predict(values)
    assert found.tolist() == values.tolist()


def test_none_and_masked_elements_are_nulls(folder):
    strings = vonk.open(identity(folder, "string", ["n"])).predict(np.array(["a", None, "c"], dtype=object))
    assert strings.tolist() == ["a", None, "c"]
    masked = np.ma.MaskedArray(np.arange(12, dtype="f4").reshape(4, 3), mask=False)
    masked[2, 1] = np.ma.masked
    found = vonk.open(identity(folder, "f32", ["n", 3])).predict(masked)
    assert np.isnan(found[2]).all()
    np.testing.assert_array_equal(found[[0, 1, 3]], masked.data[[0, 1, 3]])


@pytest.mark.parametrize("dtype", ["i8", "u64", "bool"])
def test_null_rows_of_other_dtypes_are_masked(folder, dtype):
    values = sample(dtype, (9, 3))
    masked = np.ma.MaskedArray(values, mask=np.repeat(np.arange(9) % 4 == 1, 3).reshape(9, 3))
    found = vonk.open(identity(folder, dtype, ["n", 3])).predict(masked)
    assert isinstance(found, np.ma.MaskedArray)
    np.testing.assert_array_equal(found.mask, masked.mask)
    np.testing.assert_array_equal(found.compressed(), masked.compressed())


def test_rows_of_different_lengths_come_back_as_objects(tmp_path):
    model = mock(tmp_path, "echo", "input x f32 N L\noutput y = copy x\n")
    rows = pa.array([[1.0], [2.0, 3.0], None, []], type=pa.list_(pa.float32()))

    class Rows:
        def __arrow_c_array__(self, requested_schema=None):
            return rows.__arrow_c_array__()

    found = model.predict(Rows()).to_numpy()["y"]
    assert [None if row is None else row.tolist() for row in found] == [[1.0], [2.0, 3.0], None, []]
    even = model.predict(np.ones((3, 5), dtype="f4"))
    assert_equal(even, np.ones((3, 5), dtype="f4"))


def test_values_are_not_copied_on_the_way(folder):
    model = vonk.open(identity(folder, "f32", ["n", 1000]))
    values = np.random.default_rng(0).random((5000, 1000), dtype=np.float32)
    before = values.copy()
    found = model.predict(values)
    stats = model.stats
    assert stats.bytes_in == values.nbytes
    assert stats.bytes_copied == 0, stats
    assert not np.shares_memory(found, values), "predictions never alias their input"
    found[:] = 0  # ours to write
    np.testing.assert_array_equal(values, before)


def test_an_array_without_rows_or_of_other_things_is_refused():
    model = vonk.open(IRIS)
    with pytest.raises(vonk.InvalidError, match=r"'measurements': is a single value: .* pass array\[None\]"):
        model.predict(np.float32(3)[...])
    with pytest.raises(vonk.InvalidError, match=r"column 'x': is complex128, which no tensor can hold"):
        model.predict({"x": np.zeros((2, 4), dtype=complex)})
    with pytest.raises(vonk.InvalidError, match=r"column 'x': has \{\} of type dict in an array of objects"):
        model.predict({"x": np.array([{}, 1], dtype=object)})
    with pytest.raises(vonk.InvalidError, match="column 'b': has 3 rows where column 'a' has 2"):
        model.predict({"a": np.zeros(2), "b": np.zeros(3), "c": np.zeros(2), "d": np.zeros(2)})
    with pytest.raises(vonk.InvalidError, match="int64"):
        model.predict({"x": [[1, 2, 3, 4]]})
    with pytest.raises(ValueError, match="too many dimensions"):
        model.predict({"x": np.zeros((1,) * 12)})


def test_flat_arrays_fill_the_shape_and_scalars_are_packed(folder):
    shaped = vonk.open(identity(folder, "f32", ["n", 2, 3]))
    flat = np.arange(24, dtype="f4").reshape(4, 6)
    np.testing.assert_array_equal(shaped.predict(flat), flat.reshape(4, 2, 3))
    packed = vonk.open(identity(folder, "f32", ["n", 3]))
    columns = {name: np.arange(5, dtype="f4") + i for i, name in enumerate("abc")}
    np.testing.assert_array_equal(packed.predict(columns)["y"], np.stack(list(columns.values()), axis=1))


def test_flat_arrow_and_numpy_share_no_state_with_the_model(folder):
    """A result outlives the model, and the model's close."""
    model = vonk.open(identity(folder, "f64", ["n"]))
    values = sample("f64", (1000,))
    found = model.predict(values)
    table = model.predict(pa.table({"x": flat_array(values)}))
    model.close()
    del model
    assert_equal(found, values)
    assert_equal(table["y"].to_numpy(), values)
