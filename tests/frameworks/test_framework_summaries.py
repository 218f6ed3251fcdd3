"""What `vonk inspect` and Model.summary say of a model: names, types, and the numbers in it, counted as the framework
counts them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import networks as nets
import pytest
import zoo


class Expected(NamedTuple):
    maker: str
    path: str
    options: dict[str, str]
    inputs: list[tuple[str | None, str, list[int | None]]]  # name (None: not looked at), dtype, dims; None = free
    outputs: list[tuple[str | None, str, list[int | None]]]
    parameters: str | int  # a name in results.npz: what the framework counted; or a number
    more_bytes: int = 0  # of what is stored beside the parameters: whole numbers that are indices or counts
    plugin: str = ""  # of a bundle


F32, I64 = "float32", "int64"
IMAGE, SCORES = ("image", F32, [None, 12, 12, 3]), ("scores", F32, [None, 5])
PIXELS, DIGITS = ("pixels", F32, [None, 784]), ("probabilities", F32, [None, 10])
TOKENS, Y4 = ("tokens", I64, [None, None]), ("y", F32, [None, 4])
X3, Y3 = ("x", F32, [None, 3]), ("y", F32, [None, 3])
TWO_IN = [("a", F32, [None, 2]), ("b", F32, [None, 3]), ("id", I64, [None])]
TOTAL, NEXT = ("total", F32, [None, 2]), ("next", I64, [None])
NATIVE = {"allow_native_code": "1"}


def unnamed(*tensors: Any) -> list[Any]:
    """The format does not keep these names."""
    return [(None, dtype, dims) for _, dtype, dims in tensors]


def total(*networks: Any) -> int:
    return sum(array.size for network in networks for array in network.arrays())


def stored(*networks: Any) -> int:
    """Inductor writes vectors of up to eight numbers into the code that it compiles: they are no weights any more."""
    return sum(array.size for network in networks for array in network.arrays() if array.ndim > 1 or array.size > 8)


CNN, EMBEDDING = total(nets.CNN()), total(nets.Embedding())

MODELS = [
    # conv-first
    Expected("onnx", "cnn.onnx", {}, [IMAGE], [SCORES], CNN),
    Expected("tensorflow", "cnn", {}, [IMAGE], unnamed(SCORES), "params.cnn"),
    Expected("tensorflow", "cnn_v1", {}, [IMAGE], [SCORES], CNN),
    Expected("tensorflow", "cnn_checkpoint/model.meta", {}, [IMAGE], [SCORES], CNN),
    Expected("tensorflow", "cnn.pb", {}, [IMAGE], [SCORES], CNN),
    Expected(
        "torchscript", "cnn.pt", {"inputs": "image:f32[-1,12,12,3]", "outputs": "scores:f32[-1,5]"}, [IMAGE], [SCORES],
        "params.cnn", 8,
    ),
    Expected("aoti", "cnn.pt2", NATIVE, unnamed(IMAGE), unnamed(SCORES), stored(nets.CNN())),
    Expected("aoti", "mlp.pt2", NATIVE, unnamed(PIXELS), unnamed(DIGITS), "params.mlp"),
    # embedding-first
    Expected("onnx", "embedding.onnx", {}, [TOKENS], [Y4], EMBEDDING),
    Expected("tensorflow", "embedding", {}, [TOKENS], unnamed(Y4), "params.embedding"),
    Expected(
        "torchscript", "embedding.pt", {"inputs": "tokens:i64[-1,-1]", "outputs": "y:f32[-1,4]"}, [TOKENS], [Y4],
        "params.embedding",
    ),
    Expected("aoti", "embedding.pt2", NATIVE, unnamed(TOKENS), unnamed(Y4), "params.embedding"),
    # no parameter at all
    Expected("onnx", "plain.onnx", {}, [X3], [Y3], 0),
    Expected("tensorflow", "plain", {}, [X3], [Y3], 0),
    Expected("torchscript", "plain.pt", {"inputs": "x:f32[-1,3]", "outputs": "y:f32[-1,3]"}, [X3], [Y3], 0),
    # several inputs and outputs; the order of a SavedModel is that of the names
    Expected("onnx", "two.onnx", {}, TWO_IN, [NEXT, TOTAL], 6, 8),
    Expected("tensorflow", "two", {}, TWO_IN, [NEXT, TOTAL], 6),
    Expected(
        "torchscript", "two.pt",
        {"inputs": "a:f32[-1,2],b:f32[-1,3],id:i64[-1]", "outputs": "total:f32[-1,2],next:i64[-1]"},
        TWO_IN, [TOTAL, NEXT], "params.two",
    ),
    # bundles: the names are those of the model, in every format
    Expected("packed_keras", "cnn.vonk", {}, [IMAGE], unnamed(SCORES), "params.cnn", plugin="tensorflow"),
    Expected("packed_keras", "mlp_onnx.vonk", {}, [PIXELS], unnamed(DIGITS), "params.mlp", plugin="onnx"),
    Expected("packed_keras", "mlp_folder.vonk", {}, [PIXELS], unnamed(DIGITS), "params.mlp", plugin="tensorflow"),
    Expected("packed_torch", "mlp.vonk", {}, [PIXELS], [DIGITS], "params.mlp", plugin="onnx"),
    Expected("packed_torch", "mlp_script.vonk", {}, [PIXELS], [DIGITS], "params.mlp", plugin="torch"),
    Expected("packed_torch", "embedding.vonk", {}, [TOKENS], [Y4], "params.embedding", 8, plugin="onnx"),
    Expected("packed_torch", "cnn_native.vonk", NATIVE, [IMAGE], [SCORES], stored(nets.CNN()), plugin="torch"),
]  # fmt: skip
every_model = pytest.mark.parametrize(
    "model",
    [
        pytest.param(
            model,
            id=f"{model.maker}-{model.path}",
            marks=pytest.mark.skipif(not zoo.is_here(model.maker), reason=f"{model.maker}: not installed"),
        )
        for model in MODELS
    ],
)


def expect_tensors(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected), found
    for tensor, (name, dtype, dims) in zip(found, expected, strict=True):
        assert name in (None, tensor["name"]), tensor
        assert tensor["dtype"] == dtype, tensor
        shape = [dim if isinstance(dim, int) else None for dim in tensor["shape"]]
        assert shape == dims, tensor


def count(model: Expected) -> int:
    return model.parameters if isinstance(model.parameters, int) else int(zoo.results(model.maker)[model.parameters])


def inspect(model: Expected) -> Any:
    program = os.environ.get("VONK_PROGRAM")
    if program is None:
        import vonk  # noqa: PLC0415 - the installed wheel

        program = str(vonk.installation().program)
    words = [program, "inspect", "--json", str(zoo.models(model.maker) / model.path)]
    for key, text in model.options.items():
        words += ["--option", f"{key}={text}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@every_model
def test_inspect_tells_tensors_and_parameters(model: Expected) -> None:
    found = inspect(model)
    expect_tensors(found["inputs"], model.inputs)
    expect_tensors(found["outputs"], model.outputs)
    assert found["parameters"] == count(model), f"{found['parameters']}, the framework counts {count(model)}"
    assert found["weight_bytes"] == 4 * count(model) + model.more_bytes
    assert found["plugin"] == (model.plugin or zoo.PLUGINS[model.maker])
    assert Path(found["runtime_path"]).is_file()


@every_model
def test_python_says_the_same(model: Expected) -> None:
    import vonk  # noqa: PLC0415 - only there where a wheel or a build tree's package is

    told, summary = inspect(model), vonk.open(zoo.models(model.maker) / model.path, **model.options).summary()
    assert summary.parameters == told["parameters"]
    assert summary.weight_bytes == told["weight_bytes"]
    assert [t.name for t in summary.inputs] == [t["name"] for t in told["inputs"]]
    assert [t.name for t in summary.outputs] == [t["name"] for t in told["outputs"]]
    assert [t.dtype for t in summary.outputs] == [t["dtype"] for t in told["outputs"]]


@pytest.mark.skipif(not zoo.is_here("aoti"), reason="aoti: not installed")
def test_a_package_of_many_inputs() -> None:
    """39 inputs, 39 outputs, nothing else in it: in the order of forward's arguments."""
    found = inspect(Expected("aoti", "identities.pt2", NATIVE, [], [], 0))
    assert len(found["inputs"]) == len(found["outputs"]) == 39
    assert found["parameters"] == 0
    for tensor, output in zip(found["inputs"], found["outputs"], strict=True):
        assert tensor["dtype"] == output["dtype"]
        assert len(tensor["shape"]) == len(output["shape"])
