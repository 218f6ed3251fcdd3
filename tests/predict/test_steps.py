"""Steps of preprocessing, bit for bit against NumPy's float32 and float64."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from capi import Model, Predictor, predict, set_threads
from reference import ARROW, NUMPY, Array, assert_equal, batch, models, nested, rows_of, save, values_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from bundle_files import onnx_bundle  # tests/bundle/bundle_files.py

RNG = np.random.default_rng(8)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def rescale(scale: Any = 1 / 255, offset: Any = 0.0, **more: Any) -> dict[str, Any]:
    return {"op": "rescale", "input": "x", "scale": scale, "offset": offset, **more}


def normalize(mean: Any, std: Any, **more: Any) -> dict[str, Any]:
    return {"op": "normalize", "input": "x", "mean": mean, "std": std, **more}


def along(numbers: Any, dtype: type, rank: int, axis: int) -> Array:
    """Numbers of a step as NumPy wants them beside a tensor."""
    array = np.asarray(numbers, dtype)
    if array.ndim == 0:
        return array
    shape = [1] * rank
    shape[axis] = len(array)
    return array.reshape(shape)


def apply(x: Array, steps: list[dict[str, Any]]) -> Array:
    """The reference: each operation rounds once, in the tensor's own type."""
    for step in steps:
        axis = step.get("axis", -1)
        if step["op"] == "rescale":
            scale, offset = (along(step[key], x.dtype.type, x.ndim, axis) for key in ("scale", "offset"))
            x = x * scale
            x = x + offset
        else:
            mean, std = (along(step[key], x.dtype.type, x.ndim, axis) for key in ("mean", "std"))
            x = x - mean
            x = x / std
    return x


def identity(path: Path, dims: list[Any], steps: list[dict[str, Any]], dtype: str = "f32") -> Path:
    return onnx_bundle(path, models.identity(models.ELEMENT_TYPES[dtype], ["n", *dims]), preprocess=steps)


STEPS: dict[str, list[dict[str, Any]]] = {
    "rescale by 1/255": [rescale()],
    "rescale with offset": [rescale(1 / 127.5, -1.0)],
    "normalize by numbers": [normalize(0.1307, 0.3081)],
    "normalize the last axis": [normalize(MEAN, STD)],
    "normalize axis 1": [normalize(MEAN, STD, axis=1)],
    "rescale, then normalize": [rescale(), normalize(MEAN, STD, axis=-1)],
    "normalize twice, then rescale": [normalize(3.0, 7.0), normalize(MEAN, STD, axis=1), rescale([1.5, 0.1, 3.0], 0.1)],
    "rescale one number by many": [rescale([1 / 3, 1 / 5, 1 / 7], [0.1, 0.2, 0.3], axis=2)],
}


@pytest.mark.parametrize("given", ["f32", "u8", "f64"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", STEPS)
def test_steps_have_numpys_bits(tmp_path: Path, name: str, dtype: str, given: str) -> None:
    path = identity(tmp_path / "b.vonk", [3, 3, 3], STEPS[name], dtype)
    values = RNG.integers(0, 256, (300, 3, 3, 3)).astype(NUMPY[given])
    if given != "u8":
        values += RNG.standard_normal(values.shape).astype(NUMPY[given])
        values[0, 0, 0] = [np.nan, np.inf, -0.0]
    found = values_of(predict(path, batch(x=nested(values, type_=ARROW[given]))).column("y"))
    assert_equal(found, apply(values.astype(NUMPY[dtype]), STEPS[name]), name)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 64, 191, 192, 193, 1000])
def test_numbers_along_axes_of_any_length(tmp_path: Path, n: int) -> None:
    values = RNG.standard_normal((130, n)).astype(np.float32)
    numbers = (RNG.standard_normal((2, n)) + 3).tolist()
    steps = [normalize(numbers[0], numbers[1]), rescale(numbers[1], numbers[0], axis=1)]
    path = identity(tmp_path / "b.vonk", [n], steps)
    assert_equal(values_of(predict(path, batch(x=rows_of(values, "fixed"))).column("y")), apply(values, steps))


def test_a_columns_memory_is_not_written_and_the_copy_is_counted(tmp_path: Path) -> None:
    values = RNG.standard_normal((500, 8)).astype(np.float32)
    before = values.copy()
    rows = batch(x=pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 8))
    plain = Predictor(Model(save(models.identity(models.F32, ["n", 8]), tmp_path / "m.onnx")), rows.schema)
    plain(rows)
    assert plain.stats().bytes_copied == 0
    stepping = Predictor(Model(identity(tmp_path / "b.vonk", [8], [rescale(2.0)])), rows.schema)
    assert_equal(values_of(stepping(rows).column("y")), values * np.float32(2))
    assert_equal(values_of(stepping(rows).column("y")), values * np.float32(2), "a second time")
    assert_equal(values, before)
    assert stepping.stats().bytes_copied == 2 * values.nbytes


def test_packed_columns(tmp_path: Path) -> None:
    values = RNG.integers(0, 100, (200, 3)).astype(np.float32)
    path = identity(tmp_path / "b.vonk", [3], [normalize(MEAN, STD)])
    rows = batch(a=pa.array(values[:, 0]), b=pa.array(values[:, 1].astype(np.int8)), c=pa.array(values[:, 2]))
    assert_equal(values_of(predict(path, rows).column("y")), apply(values, [normalize(MEAN, STD)]))


def test_only_the_named_input(tmp_path: Path) -> None:
    model = models.model(
        [models.node("Concat", ["x", "z"], ["y"], axis=1)],
        [models.value("z", ["n", 2]), models.value("x", ["n", 2])],
        [models.value("y", ["n", 4])],
    )
    path = onnx_bundle(tmp_path / "b.vonk", model, preprocess=[rescale(0.5, 1.0)])
    x, z = RNG.standard_normal((2, 90, 2)).astype(np.float32)
    found = values_of(predict(path, batch(x=rows_of(x, "list"), z=rows_of(z, "list"))).column("y"))
    assert_equal(found, np.concatenate([apply(x, [rescale(0.5, 1.0)]), z], axis=1))


def test_rows_of_different_lengths_nulls_and_bad_rows(tmp_path: Path) -> None:
    step = normalize(MEAN, STD)
    path = identity(tmp_path / "b.vonk", ["t", 3], [step])
    rows = [RNG.standard_normal((n, 3)).astype(np.float32) for n in (3, 0, 1, 3, 7, 1, 0, 3)]
    column = pa.array([None, *[row.tolist() for row in rows]], pa.list_(pa.list_(pa.float32())))
    found = predict(path, batch(x=column)).column("y").to_pylist()
    assert found.pop(0) is None
    for row, expected in zip(found, rows, strict=True):
        assert_equal(np.array(row, np.float32).reshape(-1, 3), apply(expected, [step]))


def test_a_fixed_batch_is_padded_before_the_steps(tmp_path: Path) -> None:
    step = rescale(1 / 255, -0.5)
    model = models.identity(models.F32, [32, 4])
    path = onnx_bundle(tmp_path / "b.vonk", model, preprocess=[step])
    values = RNG.integers(0, 256, (45, 4)).astype(np.uint8)
    found = values_of(predict(path, batch(x=rows_of(values, "list", pa.uint8()))).column("y"))
    assert_equal(found, apply(values.astype(np.float32), [step]))


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_cut_anywhere(tmp_path: Path, threads: int) -> None:
    steps = [rescale(), normalize(MEAN, STD)]
    path = identity(tmp_path / "b.vonk", [2, 3], steps)
    values = RNG.integers(0, 256, (700, 2, 3)).astype(np.uint8)
    expected = apply(values.astype(np.float32), steps)
    rows = batch(x=nested(values, type_=pa.uint8()))
    set_threads(threads)
    try:
        predictor = Predictor(Model(path), rows.schema, batch_rows=64)
        for start, size in ((0, 700), (0, 1), (1, 63), (5, 130), (690, 10)):
            found = values_of(predictor(rows.slice(start, size)).column("y"))
            assert_equal(found, expected[start : start + size], f"{start}, {size}")
    finally:
        set_threads(0)
