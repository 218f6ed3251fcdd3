"""The networks that tests/frameworks has in every format: weights, sizes, rows to predict, and what NumPy says.

Nothing of a framework is imported here. The makers (make_onnx.py, make_tensorflow.py, ...) build the same networks from
these arrays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ROOT = Path(__file__).resolve().parents[2]

#: vonk's dtypes -> NumPy's; NumPy has no bfloat16, whose values travel as float32
DTYPES = {
    "bool": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
    "f16": np.float16, "bf16": np.float32, "f32": np.float32, "f64": np.float64, "string": np.str_,
}  # fmt: skip

#: the shapes of the dtype models; -1 counts rows, "fixed" takes four at a time
SHAPES = {"scalar": (-1,), "vector": (-1, 3), "rank3": (-1, 2, 3), "fixed": (4, 3)}
FIXED_ROWS = 4

#: rows of the samples below; not a multiple of FIXED_ROWS
ROWS = 37


# --- values of every dtype ------------------------------------------------------------------------


def as_bfloat16(values: Array) -> Array:
    """float32 values with the lower half of their bits cut off: those that bfloat16 has."""
    return (values.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def sample(dtype: str, shape: str, rows: int = ROWS) -> Array:
    """`rows` rows of a dtype that hit its ends: extremes, both zeros, NaN and infinity, then random ones."""
    rng = np.random.default_rng([ord(c) for c in dtype + shape])
    dims = (rows, *SHAPES[shape][1:])
    n = int(np.prod(dims))
    values: Array
    if dtype == "string":
        words = ["", "a", "vonk", "é", "日本語", "x" * 40]
        values = np.array([words[i] for i in rng.integers(0, len(words), n)])
    elif dtype == "bool":
        values = rng.integers(0, 2, n).astype(np.bool_)
    elif dtype == "bf16":
        edges = [0.0, -0.0, 1.5, -2.25, np.inf, -np.inf, np.nan, 3.3895314e38, 1e-40]
        values = as_bfloat16(np.concatenate([edges, rng.standard_normal(n) * 100])[:n])
    elif dtype.startswith("f"):
        info = np.finfo(DTYPES[dtype])
        edges = [0.0, -0.0, 1.5, -2.25, np.inf, -np.inf, np.nan, info.max, info.smallest_subnormal]
        values = np.concatenate([edges, rng.standard_normal(n) * 100])[:n].astype(DTYPES[dtype])
    else:
        ends = np.iinfo(DTYPES[dtype])
        values = rng.integers(ends.min, ends.max, n, dtype=DTYPES[dtype], endpoint=True)
        values[:2] = [ends.min, ends.max]
    return values.reshape(dims)


# --- networks -------------------------------------------------------------------------------------


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class MLP:
    """784-512-relu-10-softmax with the weights of examples/mnist/mnist.onnx: it reads digits."""

    input, output = "pixels", "probabilities"
    input_shape, output_shape = (784,), (10,)

    def __init__(self) -> None:
        import onnx  # noqa: PLC0415 - the tensorflow and torch makers want it only here
        from onnx import numpy_helper  # noqa: PLC0415

        graph = onnx.load(ROOT / "examples" / "mnist" / "mnist.onnx").graph
        weights = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
        self.w0, self.b0 = weights["hidden.weight"], weights["hidden.bias"]
        self.w1, self.b1 = weights["digit.weight"], weights["digit.bias"]

    def arrays(self) -> list[Array]:
        return [self.w0, self.b0, self.w1, self.b1]

    def __call__(self, x: Array) -> Array:
        """In double precision."""
        hidden = np.maximum(x.astype(np.float64) @ self.w0 + self.b0, 0)
        return softmax(hidden @ self.w1 + self.b1)

    def rows(self, n: int = 300) -> Array:
        """Mostly black, like digits."""
        rng = np.random.default_rng(5)
        x = rng.random((n, 784), dtype=np.float32)
        return np.where(rng.random((n, 784)) < 0.8, np.float32(0), x)


class CNN:
    """Images [12, 12, 3], channels last: 3x3 convolution to 8 channels, batch norm, relu, 2x2 pool, dense to 5."""

    input, output = "image", "scores"
    input_shape, output_shape = (12, 12, 3), (5,)
    epsilon = 1e-3

    def __init__(self) -> None:
        rng = np.random.default_rng(17)

        def normal(*shape: int, scale: float = 1.0) -> Array:
            return (rng.standard_normal(shape) * scale).astype(np.float32)

        self.kernel = normal(3, 3, 3, 8, scale=0.2)  # height, width, in, out
        self.kernel_bias = normal(8, scale=0.1)
        self.gamma, self.beta = 1 + normal(8, scale=0.1), normal(8, scale=0.1)
        self.mean = normal(8, scale=0.1)
        self.variance = 1 + np.abs(normal(8, scale=0.3))
        self.w, self.b = normal(6 * 6 * 8, 5, scale=0.1), normal(5, scale=0.1)

    def arrays(self) -> list[Array]:
        return [self.kernel, self.kernel_bias, self.gamma, self.beta, self.mean, self.variance, self.w, self.b]

    def __call__(self, x: Array) -> Array:
        """In double precision."""
        x = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
        y = np.zeros((len(x), 12, 12, 8)) + self.kernel_bias
        for i in range(3):
            for j in range(3):
                y += x[:, i : i + 12, j : j + 12] @ self.kernel[i, j]
        y = (y - self.mean) / np.sqrt(self.variance + self.epsilon) * self.gamma + self.beta
        y = np.maximum(y, 0).reshape(len(x), 6, 2, 6, 2, 8).max(axis=(2, 4))
        return softmax(y.reshape(len(x), -1) @ self.w + self.b)

    def rows(self, n: int = 120) -> Array:
        return np.random.default_rng(6).random((n, 12, 12, 3), dtype=np.float32)


class Embedding:
    """Tokens of 0 to 999, any number of them [n, t] -> the mean of their rows in a table, an MLP over that -> [n, 4].

    A token outside of the table makes the model fail, so tests can break a row.
    """

    input, output = "tokens", "y"
    n_tokens = 1000

    def __init__(self) -> None:
        rng = np.random.default_rng(2)
        self.table = rng.standard_normal((self.n_tokens, 8)).astype(np.float32)
        self.w = rng.standard_normal((8, 16)).astype(np.float32)
        self.v = rng.standard_normal((16, 4)).astype(np.float32)

    def arrays(self) -> list[Array]:
        return [self.table, self.w, self.v]

    def __call__(self, tokens: Array) -> Array:
        """In double precision."""
        mean = self.table.astype(np.float64)[tokens].mean(axis=1)
        result: Array = np.maximum(mean @ self.w, 0) @ self.v
        return result


class Dense:
    """x [n, 16] -> 32 -> relu -> y [n, 4]: the small network of the row tests."""

    input, output = "x", "y"
    input_shape, output_shape = (16,), (4,)

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.w0 = (rng.standard_normal((16, 32)) / 4).astype(np.float32)
        self.b0 = rng.standard_normal(32).astype(np.float32)
        self.w1 = (rng.standard_normal((32, 4)) / 6).astype(np.float32)
        self.b1 = rng.standard_normal(4).astype(np.float32)

    def arrays(self) -> list[Array]:
        return [self.w0, self.b0, self.w1, self.b1]

    def __call__(self, x: Array) -> Array:
        """In double precision."""
        return np.maximum(x.astype(np.float64) @ self.w0 + self.b0, 0) @ self.w1 + self.b1

    def rows(self, n: int = 3000) -> Array:
        return np.random.default_rng(9).standard_normal((n, 16)).astype(np.float32)


#: y[i] = table[index[i]], 32 rows at a time: fails on an index outside
GATHER_TABLE = np.arange(10, dtype=np.float32) / 7
GATHER_ROWS = 32

#: two inputs, two outputs: total [n, 2] = a + b w, next [n] = id + 1
TWO_WEIGHT = np.array([[1.0, 0.5], [0.25, -2.0], [3.0, 1.5]], np.float32)


def two_rows(n: int = 20) -> dict[str, Array]:
    rng = np.random.default_rng(8)
    return {
        "a": rng.standard_normal((n, 2)).astype(np.float32),
        "b": rng.standard_normal((n, 3)).astype(np.float32),
        "id": rng.integers(-(2**62), 2**62, n),
    }
