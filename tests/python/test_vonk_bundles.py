"""Bundles in the Python package: what they say, their self-test, and classes in every kind of result."""

import math
import sys

import numpy as np
import onnx
import pandas
import polars as pl
import pyarrow as pa
import pytest
import vonk
from package import MNIST, ROOT, pixels, probabilities
from reference import models, save

sys.path.insert(0, str(ROOT / "tests" / "bundle"))

from bundle_files import onnx_bundle  # tests/bundle/bundle_files.py

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
STEP = {"op": "rescale", "input": "x", "scale": 1 / 255}
ENTRY = np.dtype([("index", "<i8"), ("label", "O"), ("score", "<f4")])


@pytest.fixture(scope="module")
def digit(tmp_path_factory):
    mnist = onnx.load(MNIST)
    images = pixels(20, seed=3)
    return onnx_bundle(
        tmp_path_factory.mktemp("digit") / "digit.vonk",
        mnist,
        {"probabilities": WORDS},
        ({"pixels": images}, {"probabilities": probabilities(images)}),
        name="digit",
        description="Digits of 28 by 28 pixels.",
        licence="Apache-2.0",
        provenance={"framework": "tests 1.0", "created": "2026-01-02T03:04:05Z"},
    )


def expected_entries(values, n, words):
    """Rows of (index, label, score), sorted by Python."""
    rows = []
    for row in values.tolist():
        order = sorted(range(len(row)), key=lambda i: (not math.isnan(row[i]), -row[i], i))[:n]
        rows.append([(i, None if words is None else words[i], row[i]) for i in order])
    return rows


# --- what it says ---------------------------------------------------------------------------------


def test_a_bundle_says_what_it_is(digit):
    bundle = vonk.open(digit).bundle
    assert bundle == vonk.Bundle(
        name="digit",
        description="Digits of 28 by 28 pixels.",
        licence="Apache-2.0",
        provenance={"framework": "tests 1.0", "created": "2026-01-02T03:04:05Z"},
        labels=tuple(WORDS),
        steps=(),
        selftest_rows=20,
        selftest_tolerance=1e-5,
    )
    shown = repr(vonk.open(digit).summary())
    for text in (
        "licence    Apache-2.0",
        "labels     10: zero, one, two, three, four, ...",
        "20 rows, tolerance 1e-05",
    ):
        assert text in shown, shown
    assert "Apache-2.0" in vonk.open(digit)._repr_html_()
    assert repr(vonk.open(digit)) == (
        "<vonk.Model 'digit.vonk': pixels float32[N, 784] -> probabilities float32[N, 10]>"
    )


def test_a_model_file_says_nothing_of_that():
    model = vonk.open(MNIST)
    assert model.bundle is None
    assert model.summary().bundle is None


def test_the_steps_are_shown_and_done(tmp_path):
    path = onnx_bundle(tmp_path / "b.vonk", models.identity(models.F32), preprocess=[STEP])
    model = vonk.open(path)
    (step,) = model.bundle.steps
    assert step.startswith("x: x * 0.00392156")
    values = np.array([[0, 51, 255]], np.uint8)
    np.testing.assert_array_equal(model.predict(values), values.astype("f4") * np.float32(1 / 255), strict=True)


# --- the self-test --------------------------------------------------------------------------------


def test_selftest_gives_the_largest_difference(digit, tmp_path):
    assert 0 <= vonk.open(digit).selftest() <= 1e-6
    x = np.ones((4, 3), "f4")
    off = onnx_bundle(
        tmp_path / "off.vonk", models.identity(models.F32), tested=({"x": x}, {"y": x + np.float32(0.25)})
    )
    with pytest.raises(vonk.BackendError, match=r"is 1 where the original model gave 1\.25: a difference of 0\.2"):
        vonk.open(off).selftest()
    with pytest.raises(vonk.UnsupportedError, match="has no self-test"):
        vonk.open(MNIST).selftest()
    model = vonk.open(digit)
    model.close()
    with pytest.raises(vonk.InvalidError, match="is closed"):
        model.selftest()


# --- labels and the N largest ---------------------------------------------------------------------


def test_labels_in_every_kind_of_result(digit):
    model, images = vonk.open(digit), pixels(300)
    words = [WORDS[i] for i in np.argmax(probabilities(images), axis=1)]
    found = model.predict(images, as_="label")
    assert found.dtype == object
    assert found.tolist() == words
    table = pa.table({"pixels": pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), 784)})
    assert model.predict(table, as_="label").to_pydict() == {"probabilities": words}
    assert model.predict(pl.DataFrame(table), as_="label")["probabilities"].to_list() == words
    frame = pandas.DataFrame({"pixels": list(images)}, index=range(100, 400))
    assert model.predict(frame, as_="label")["probabilities"].to_dict() == dict(
        zip(range(100, 400), words, strict=True)
    )
    assert [x for part in model.predict_stream(table, as_="label") for x in part["probabilities"].to_pylist()] == words


def test_top_n_is_a_structured_array(digit):
    images = pixels(300)
    top = vonk.open(digit).predict(images, as_="top3")
    assert top.shape == (300, 3)
    assert top.dtype == ENTRY
    assert top.tolist() == expected_entries(probabilities(images), 3, WORDS)
    assert top["label"][:, 0].tolist() == [WORDS[i] for i in top["index"][:, 0]]


def test_top_n_of_tables(digit):
    model, images = vonk.open(digit), pixels(50)
    expected = [
        [{"index": i, "label": word, "score": score} for i, word, score in row]
        for row in expected_entries(probabilities(images), 2, WORDS)
    ]
    table = pa.table({"pixels": pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), 784)})
    assert model.predict(table, as_="top2")["probabilities"].to_pylist() == expected
    assert model.predict(pl.DataFrame(table), as_="top2")["probabilities"].to_list() == expected
    frame = model.predict(pandas.DataFrame({"pixels": list(images)}), as_="top2")
    assert [[dict(entry) for entry in row] for row in frame["probabilities"]] == expected


def test_rows_without_a_prediction_are_masked_or_none(tmp_path):
    path = onnx_bundle(tmp_path / "b.vonk", models.identity(models.F32), {"y": ["a", "b", "c"]})
    model = vonk.open(path)
    values = np.ma.MaskedArray(np.array([[1, 2, 3], [4, 5, 6], [9, 8, 7]], "f4"), mask=[[0] * 3, [1] * 3, [0] * 3])
    assert model.predict(values, as_="label").tolist() == ["c", None, "a"]
    top = model.predict(values, as_="top2")
    assert isinstance(top, np.ma.MaskedArray)
    assert top.shape == (3, 2)
    assert top.mask["index"].tolist() == [[False] * 2, [True] * 2, [False] * 2]
    assert top[0].tolist() == [(2, "c", 3.0), (1, "b", 2.0)]
    assert top[2].tolist() == [(0, "a", 9.0), (1, "b", 8.0)]


def test_top_n_without_labels_and_of_rows_of_different_lengths(tmp_path):
    model = vonk.open(save(models.identity(models.ELEMENT_TYPES["i64"], ["n", "t"]), tmp_path / "m.onnx"))
    rows = pa.table({"x": [[3, 1], [4, 4, 9], [7]]})

    class Rows:
        def __arrow_c_stream__(self, requested_schema=None):
            return rows.__arrow_c_stream__()

    found = model.predict(Rows(), as_="top2").to_numpy()["y"]
    assert [part.tolist() for part in found] == [
        [(0, None, 3), (1, None, 1)],
        [(2, None, 9), (0, None, 4)],
        [(0, None, 7)],
    ]
    assert found[0].dtype == np.dtype([("index", "<i8"), ("label", "O"), ("score", "<i8")])
    empty = model.predict(np.zeros((0, 4), np.int64), as_="top2")
    assert len(empty) == 0


def test_what_as_can_be(digit):
    with pytest.raises(vonk.InvalidError, match="it can be 'argmax', 'label', 'top5'"):
        vonk.open(digit).predict(pixels(1), as_="best")
    with pytest.raises(vonk.InvalidError, match="pack it with --labels FILE"):
        vonk.open(MNIST).predict(pixels(1), as_="label")
