"""Rows in every framework: batches, NULL, rows that the model refuses, rows of different lengths.

tests/predict/test_rows.py has more of each, with ONNX; these are the promises that depend on the framework: a good row
keeps its bits whatever happens to its neighbours, and a bad one is found and named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import networks as nets
import numpy as np
import pyarrow as pa
import pytest
import zoo
from cells import Model, Predictor, VonkError, column

RAISE, NULL, REPORT = 0, 1, 2
RNG = np.random.default_rng(11)
#: how each framework says that a token is not in the table
REFUSAL = {
    "onnx": "indices element out of data bounds",
    "tensorflow": r"indices\[\d+,\d+\] = 5000 is not in \[0, 1000\)",
    "torchscript": "index out of range in self",
    "aoti": "index out of bounds",
}
REFUSAL |= {"packed_keras": REFUSAL["tensorflow"], "packed_torch": REFUSAL["onnx"]}


class Rows(NamedTuple):
    maker: str
    dense: Model  # float32[n, 16] -> float32[n, 4]
    embedding: Model  # int64[n, t] -> float32[n, 4]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(maker, marks=pytest.mark.skipif(not zoo.is_here(maker), reason=f"{maker}: not installed"))
        for maker in (*zoo.PACKAGES, "packed_keras", "packed_torch")
    ],
)
def rows(request: pytest.FixtureRequest) -> Rows:
    folder, native = zoo.models(request.param), {"allow_native_code": "1"}
    paths: dict[str, tuple[str, str, dict[str, str], dict[str, str]]] = {
        "onnx": ("dense.onnx", "embedding.onnx", {}, {}),
        "tensorflow": ("dense", "embedding", {}, {}),
        "torchscript": (
            "dense.pt",
            "embedding.pt",
            {"inputs": "x:f32[-1,16]", "outputs": "y:f32[-1,4]"},
            {"inputs": "tokens:i64[-1,-1]", "outputs": "y:f32[-1,4]"},
        ),
        "aoti": ("dense.pt2", "embedding.pt2", native, native),
        "packed_keras": ("dense.vonk", "embedding.vonk", {}, {}),
        "packed_torch": ("dense.vonk", "embedding.vonk", {}, {}),
    }
    dense, embedding, dense_options, embedding_options = paths[request.param]
    return Rows(request.param, Model(folder / dense, **dense_options), Model(folder / embedding, **embedding_options))


def predict(model: Model, array: pa.Array, **options: Any) -> tuple[Any, Any]:
    """The first output as [rows, 4] (NaN where NULL), and the column of errors."""
    batch = pa.RecordBatch.from_arrays([array], names=["x"])
    result = Predictor(model, batch.schema, **options)(batch)
    values = [[np.nan] * 4 if row is None else row for row in result.column(0).to_pylist()]
    errors = result.column("error").to_pylist() if "error" in result.schema.names else None
    return np.array(values, np.float32).reshape(-1, 4), errors


def expect_bits(found: Any, expected: Any, good: Any, what: str) -> None:
    """The rows `good` have the same bits."""
    wrong = [i for i in good if found[i].tobytes() != expected[i].tobytes()]
    assert not wrong, f"{what}: {len(wrong)} rows, row {wrong[0]} is {found[wrong[0]]}, expected {expected[wrong[0]]}"


def floats(values: Any) -> pa.Array:
    return column(values, pa.float32())


# --- how many rows --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 3, 255, 256, 257, 3000])
@pytest.mark.parametrize("batch_rows", [0, 1, 3, 256])
def test_any_number_of_rows_in_any_micro_batch(rows: Rows, n: int, batch_rows: int) -> None:
    x = nets.Dense().rows()[:n]
    found, _ = predict(rows.dense, floats(x), batch_rows=batch_rows)
    assert found.shape == (n, 4)
    np.testing.assert_allclose(found, zoo.results(rows.maker)["dense"][:n], rtol=0, atol=1e-5)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 33, 300])
def test_a_row_has_the_same_bits_in_any_batch_of_several(rows: Rows, n: int) -> None:
    """PyTorch with its MKL needs four; with these in view vonk fills runs that have lost their neighbours up."""
    if n < 4 and rows.maker in ("torchscript", "aoti"):
        pytest.skip("not promised by PyTorch")
    x = nets.Dense().rows()[:300]
    expected, _ = predict(rows.dense, floats(x), batch_rows=300)
    found, _ = predict(rows.dense, floats(x[:n]))
    expect_bits(found, expected, range(n), f"{n} rows of 300")


# --- NULL -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.98])
def test_rows_beside_nulls_keep_their_bits(rows: Rows, share: float) -> None:
    x = nets.Dense().rows()
    missing = np.random.default_rng(3).random(len(x)) < share
    missing[300:560] = True  # a whole micro-batch of them
    missing[[0, 700]] = False
    expected, _ = predict(rows.dense, floats(x), batch_rows=256)
    array = column(x, pa.float32(), tuple(np.flatnonzero(missing)))
    found, errors = predict(rows.dense, array, batch_rows=256, row_errors=REPORT)
    assert np.array_equal(np.isnan(found).all(axis=1), missing)
    expect_bits(found, expected, np.flatnonzero(~missing), f"{share:.0%} NULL")
    assert {error for error, is_null in zip(errors, missing, strict=True) if is_null} == {"column 'x': is NULL"}


# --- rows that the model refuses ------------------------------------------------------------------


def tokens_with(bad: list[int], n: int = 300) -> tuple[pa.Array, pa.Array]:
    """Six tokens a row, clean, and with one outside of the table in some rows."""
    tokens = np.random.default_rng(4).integers(0, 1000, (n, 6))
    broken = tokens.copy()
    broken[bad, 2] = 5000
    return column(tokens, pa.int64()), column(broken, pa.int64())


ALMOST_ALL = [i for i in range(300) if i not in (17, 150, 151)]


@pytest.mark.parametrize(
    "bad", [[0], [299], [127, 128], [3, 4, 5, 200], [*range(0, 300, 7)], [*range(128)], ALMOST_ALL, [*range(300)]],
    ids=len,
)  # fmt: skip
def test_rows_that_the_model_refuses_are_found_and_the_others_keep_their_bits(rows: Rows, bad: list[int]) -> None:
    clean, broken = tokens_with(bad)
    expected, _ = predict(rows.embedding, clean, batch_rows=128)
    found, errors = predict(rows.embedding, broken, batch_rows=128, row_errors=REPORT)
    assert [i for i, error in enumerate(errors) if error is not None] == bad
    expect_bits(found, expected, [i for i in range(300) if i not in bad], f"beside {len(bad)} refused rows")


def test_a_refused_row_is_named_with_the_reason(rows: Rows, capfd: pytest.CaptureFixture[str]) -> None:
    _, broken = tokens_with([121, 250])
    with pytest.raises(VonkError, match=REFUSAL[rows.maker]) as caught:
        predict(rows.embedding, broken, batch_rows=128)
    assert (caught.value.code, caught.value.row) == ("VONK_BACKEND", 121)
    reason = caught.value.message.partition("': ")[2]  # behind the model's path
    for word in ("frame #", ".cpp", ".cc", "/", "[["):
        assert word not in reason.partition(" (node")[0], (
            "a stack, a file of whoever built it, the framework's notation"
        )
    _, errors = predict(rows.embedding, broken, row_errors=REPORT)
    assert errors[250] is not None
    found, _ = predict(rows.embedding, broken, row_errors=NULL)
    assert np.flatnonzero(np.isnan(found).all(axis=1)).tolist() == [121, 250]
    assert capfd.readouterr() == ("", ""), "what is returned as an error is not printed besides"


@pytest.mark.parametrize("maker", [m for m in zoo.PACKAGES if m != "aoti"])
def test_refused_rows_in_a_fixed_batch(maker: str) -> None:
    """32 rows at a time, the last batch padded: y[i] = table[index[i]]."""
    if not zoo.is_here(maker):
        pytest.skip(f"{maker}: not installed")
    path: Path = zoo.models(maker) / {"onnx": "gather.onnx", "tensorflow": "gather", "torchscript": "gather.pt"}[maker]
    options = {"inputs": "index:i64[32]", "outputs": "y:f32[32]"} if maker == "torchscript" else {}
    indices = RNG.integers(0, 10, 100)
    broken = indices.copy()
    broken[[0, 31, 32, 99]] = 77
    batch = pa.RecordBatch.from_arrays([pa.array(broken)], names=["index"])
    result = Predictor(Model(path, **options), batch.schema, row_errors=NULL)(batch).column(0)
    expected = [None if i == 77 else float(nets.GATHER_TABLE[i]) for i in broken]
    assert result.to_pylist() == expected


# --- rows of different lengths --------------------------------------------------------------------


def test_rows_of_different_lengths_come_back_in_order(rows: Rows) -> None:
    lengths = np.random.default_rng(5).integers(1, 20, 200)
    tokens = [np.random.default_rng(i).integers(0, 1000, n) for i, n in enumerate(lengths)]
    found, _ = predict(rows.embedding, pa.array([t.tolist() for t in tokens], pa.list_(pa.int64())))
    net = nets.Embedding()
    for i, t in enumerate(tokens):
        np.testing.assert_allclose(found[i], net(t[None])[0], rtol=1e-5, atol=1e-5, err_msg=f"row {i}")


def test_good_rows_of_any_length_keep_their_bits_beside_bad_ones(rows: Rows) -> None:
    rng = np.random.default_rng(6)
    lengths = rng.integers(1, 60, 300)  # some lengths once or twice only
    tokens = [rng.integers(0, 1000, n).tolist() for n in lengths]
    broken = sorted(rng.choice(300, 60, replace=False).tolist())
    wrong: list[Any] = list(tokens)
    for k, i in enumerate(broken):
        wrong[i] = None if k % 2 else [*tokens[i][:-1], 10_000 + k]
    kind = pa.list_(pa.int64())
    expected, _ = predict(rows.embedding, pa.array(tokens, kind))
    found, errors = predict(rows.embedding, pa.array(wrong, kind), row_errors=REPORT)
    assert [i for i, error in enumerate(errors) if error is not None] == broken
    expect_bits(found, expected, [i for i in range(300) if i not in broken], "beside bad rows")
