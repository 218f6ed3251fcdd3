"""vonk_model_selftest: a bundle's own rows through the whole way, against what stands beside them."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from capi import Model, VonkError, set_threads
from reference import NUMPY, models, run, sample, save

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from bundle_files import onnx_bundle  # tests/bundle/bundle_files.py

RNG = np.random.default_rng(9)


def selftest(path: Path) -> float:
    return Model(path).selftest()


def failure(path: Path) -> tuple[str, float]:
    with pytest.raises(VonkError) as caught:
        Model(path).selftest()
    assert caught.value.code == "VONK_BACKEND"
    return caught.value.message, caught.value.difference


def same(dtype: str, shape: list[Any] | None = None) -> onnx.ModelProto:
    return models.identity(models.ELEMENT_TYPES[dtype], shape)


@pytest.mark.parametrize("suffix", [".vonk", ""])
def test_a_network_passes_with_its_own_results(tmp_path: Path, suffix: str) -> None:
    model, x = models.mlp(), RNG.standard_normal((50, 4)).astype(np.float32)
    y = run(save(model, tmp_path / "m.onnx"), x=x)[0]
    path = onnx_bundle(tmp_path / f"b{suffix}", model, tested=({"x": x}, {"y": y}))
    assert selftest(path) <= 1e-6
    assert Model(path).bundle() == (50, 1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_largest_difference_is_relative_above_one_and_absolute_below(tmp_path: Path, threads: int) -> None:
    x = np.array([[0.25, 1.0, 100.0], [0.5, -2000.0, 3.0]] * 300, np.float32)
    set_threads(threads)
    try:
        for (row, column), off, expected in (
            ((0, 0), 0.001, 0.001),
            ((1, 1), 1.0, 1 / 2001),
            ((599, 2), 0.5, 0.5 / 3.5),
            ((300, 1), -0.25, 0.25),
        ):
            y = x.copy()
            y[row, column] += np.sign(x[row, column]) * off
            passing = onnx_bundle(tmp_path / "p.vonk", same("f32"), tested=({"x": x}, {"y": y}), tolerance=0.3)
            assert selftest(passing) == pytest.approx(expected, rel=1e-4)
            failing = onnx_bundle(tmp_path / "f.vonk", same("f32"), tested=({"x": x}, {"y": y}), tolerance=1e-5)
            message, difference = failure(failing)
            assert difference == pytest.approx(expected, rel=1e-4)
            assert f"output 'y', row {row}, element {column}: is {x[row, column]:.9g} where" in message
            assert f"gave {y[row, column]:.9g}" in message
    finally:
        set_threads(0)


def test_what_the_message_says(tmp_path: Path) -> None:
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    y = x + np.array([[0, 0, 0], [0, 0.5, 0]], np.float32)
    path = onnx_bundle(tmp_path / "b.vonk", same("f32"), tested=({"x": x}, {"y": y}), tolerance=0.001)
    message, difference = failure(path)
    assert difference == 0.5 / 5.5
    assert message == (
        f"self-test of '{path}': output 'y', row 1, element 1: is 5 where the original model gave 5.5: a difference of "
        "0.0909, above the tolerance of 0.001: another version of the framework or another CPU may round differently; "
        "if it is more than rounding, pack the model anew for what runs here"
    )


def test_nan_equals_nan_and_infinity_its_like(tmp_path: Path) -> None:
    x = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    assert selftest(onnx_bundle(tmp_path / "b.vonk", same("f32"), tested=({"x": x}, {"y": x}))) == 0.0
    for i, (found, expected) in enumerate([("nan", 1), ("1", math.nan), ("inf", -math.inf), ("inf", 3e38)]):
        x = np.array([[float(found), 0, 0]], np.float32)
        y = np.array([[expected, 0, 0]], np.float32)
        path = onnx_bundle(tmp_path / f"{i}.vonk", same("f32"), tested=({"x": x}, {"y": y}), tolerance=1000.0)
        message, difference = failure(path)
        assert difference == math.inf
        assert re.search(rf"row 0, element 0: is -?{found} where the original model gave ", message)


@pytest.mark.parametrize("dtype", [d for d in NUMPY if d != "string"])
def test_every_dtype(tmp_path: Path, dtype: str) -> None:
    x = sample(dtype, (40, 3), seed=1)
    assert selftest(onnx_bundle(tmp_path / "b.vonk", same(dtype), tested=({"x": x}, {"y": x}))) == 0.0
    y = x.copy()
    y[17, 2] = not y[17, 2] if dtype == "bool" else (y[17, 2] ^ 1 if x.dtype.kind in "iu" else 3.5)
    message, difference = failure(onnx_bundle(tmp_path / "c.vonk", same(dtype), tested=({"x": x}, {"y": y})))
    assert "row 17, element 2: is " in message
    if x.dtype.kind != "f":
        assert difference == math.inf
        assert f"is {int(x[17, 2])} where the original model gave {int(y[17, 2])}: another version" in message


def test_bfloat16(tmp_path: Path) -> None:
    x = np.array([[0x3F80, 0xC040, 0x4049]], np.uint16)  # 1, -3, 3.140625
    assert selftest(onnx_bundle(tmp_path / "b.vonk", same("bf16"), tested=({"x": x}, {"y": x}))) == 0.0
    y = np.array([[0x3F80, 0xC040, 0x4040]], np.uint16)
    message, _ = failure(onnx_bundle(tmp_path / "c.vonk", same("bf16"), tested=({"x": x}, {"y": y})))
    assert "row 0, element 2: is 3.140625 where the original model gave 3:" in message


def test_texts(tmp_path: Path) -> None:
    x = np.array([["", "a", "日本語"], ["x" * 300, "é", "b"]], dtype=object)
    assert selftest(onnx_bundle(tmp_path / "b.vonk", same("string"), tested=({"x": x}, {"y": x}))) == 0.0
    y = x.copy()
    y[1, 0] = "é" * 100
    message, difference = failure(onnx_bundle(tmp_path / "c.vonk", same("string"), tested=({"x": x}, {"y": y})))
    assert difference == math.inf
    assert f"row 1, element 0: is '{'x' * 60}...' where the original model gave '{'é' * 30}...': another" in message


@pytest.mark.parametrize("shape", [["n"], ["n", 1], ["n", 2, 3], ["n", "t"], ["n", 2, "t"], [8, 3], ["n", "t", 2, "u"]])
def test_shapes(tmp_path: Path, shape: list[Any]) -> None:
    known = [20, *[5 if isinstance(dim, str) else dim for dim in shape[1:]]]
    x = RNG.standard_normal(known).astype(np.float32)
    assert selftest(onnx_bundle(tmp_path / "b.vonk", same("f32", shape), tested=({"x": x}, {"y": x}))) == 0.0
    y = x.copy()
    y.reshape(20, -1)[19, -1] += 1
    message, _ = failure(onnx_bundle(tmp_path / "c.vonk", same("f32", shape), tested=({"x": x}, {"y": y})))
    assert f"row 19, element {math.prod(known[1:]) - 1}: is " in message


def test_another_shape_than_the_original_gave(tmp_path: Path) -> None:
    x, y = np.zeros((3, 5), np.float32), np.zeros((3, 4), np.float32)
    path = onnx_bundle(tmp_path / "b.vonk", same("f32", ["n", "t"]), tested=({"x": x}, {"y": y}))
    message, difference = failure(path)
    assert "output 'y': has 5 elements along dimension 1 where the original model gave 4" in message
    assert difference == math.inf


def test_several_inputs_and_outputs_of_which_some_are_tested(tmp_path: Path) -> None:
    i64 = models.ELEMENT_TYPES["i64"]
    model = models.model(
        [models.node("Add", ["a", "b"], ["total"]), models.node("Add", ["id", "one"], ["next"])],
        [models.value("a", ["n", 2]), models.value("b", ["n", 2]), models.value("id", ["n"], i64)],
        [models.value("total", ["n", 2]), models.value("next", ["n"], i64)],
        {"one": np.array(1, np.int64)},
    )
    a, b = RNG.standard_normal((2, 30, 2)).astype(np.float32)
    fed = {"id": np.arange(30, dtype=np.int64), "b": b, "a": a}
    given = {"next": fed["id"] + 1, "total": a + b}
    assert selftest(onnx_bundle(tmp_path / "b.vonk", model, tested=(fed, given))) == 0.0
    assert selftest(onnx_bundle(tmp_path / "c.vonk", model, tested=(fed, {"next": given["next"]}))) == 0.0
    wrong = {"next": given["next"] + (fed["id"] == 7), "total": a + b + np.float32(1)}
    message, difference = failure(onnx_bundle(tmp_path / "d.vonk", model, tested=(fed, wrong)))
    assert difference == math.inf
    assert "output 'next', row 7, element 0: is 8 where the original model gave 9" in message


def test_the_rows_go_through_preprocessing(tmp_path: Path) -> None:
    steps = [{"op": "rescale", "input": "x", "scale": 1 / 255, "offset": -0.5}]
    x = RNG.integers(0, 256, (20, 3)).astype(np.float32)
    y = x * np.float32(1 / 255) + np.float32(-0.5)
    assert selftest(onnx_bundle(tmp_path / "b.vonk", same("f32"), tested=({"x": x}, {"y": y}), preprocess=steps)) == 0.0
    failure(onnx_bundle(tmp_path / "c.vonk", same("f32"), tested=({"x": x}, {"y": y})))


def test_a_model_that_refuses_its_rows(tmp_path: Path) -> None:
    ids, given = np.array([1, 99], np.int64), np.zeros((2, 3), np.float32)
    model = models.gather()
    names = [model.graph.input[0].name, model.graph.output[0].name]
    shape = [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim]
    given = np.zeros((2, *shape[1:]), np.float32)
    path = onnx_bundle(tmp_path / "b.vonk", model, tested=({names[0]: ids}, {names[1]: given}))
    with pytest.raises(VonkError, match=r"self-test of '.*b.vonk': .*99"):
        Model(path).selftest()


def test_no_self_test(tmp_path: Path) -> None:
    raw = save(models.mlp(), tmp_path / "m.onnx")
    for path, why in (
        (raw, "is no bundle, so it has"),
        (onnx_bundle(tmp_path / "b.vonk", models.mlp()), "this bundle has"),
    ):
        with pytest.raises(VonkError) as caught:
            selftest(path)
        assert caught.value.code == "VONK_UNSUPPORTED"
        assert caught.value.message == f"model '{path}': {why} no self-test: 'vonk pack' gives it one"
        assert math.isnan(caught.value.difference), "untouched"
