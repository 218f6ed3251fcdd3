"""What the tests of the program share: running it, small models, tables, and onnxruntime as the reference."""

from __future__ import annotations

import os
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]

OK, FAILED, USAGE, MODEL, DATA, FILES, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 5, 130, 143


def program():
    """The program under test: VONK_PROGRAM, else the installed one."""
    named = os.environ.get("VONK_PROGRAM")
    if named:
        return Path(named)
    import vonk  # noqa: PLC0415  (only there once set-up has run)

    return vonk.installation().program


def vonk(*args, cwd=None, stdin=None, env=None, check=None):
    """Runs the program; check: the exit code it must have, with everything it said in the failure."""
    words = [str(program()), *map(str, args)]
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(words, cwd=cwd, input=stdin, env=environment, capture_output=True, timeout=120, check=False)
    if check is not None:
        assert done.returncode == check, f"{words[1:]}: exit {done.returncode}, not {check}: {done.stderr.decode()}"
    return done


def complaint(*args, code, **more):
    """The message of a run that must fail with `code`."""
    done = vonk(*args, check=code, **more)
    assert done.stdout == b""
    return done.stderr.decode().rstrip("\n")


def dense(name="x", n_in=4, n_out=3, seed=0, hidden=(), output="y"):
    """A small dense network, input float32[N, n_in], output float32[N, n_out]."""
    rng = np.random.default_rng(seed)
    nodes, weights, previous = [], [], name
    sizes = [n_in, *hidden, n_out]
    for i, (rows, columns) in enumerate(pairwise(sizes)):
        weights.append(numpy_helper.from_array(rng.standard_normal((rows, columns)).astype(np.float32) / rows, f"w{i}"))
        target = output if i == len(sizes) - 2 else f"h{i}"
        nodes.append(helper.make_node("MatMul", [previous, f"w{i}"], [target]))
        previous = target
    return model(
        nodes, [value(name, TensorProto.FLOAT, "N", n_in)], [value(output, TensorProto.FLOAT, "N", n_out)], weights
    )


def value(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, list(shape))


def model(nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(weights))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests")
    onnx.checker.check_model(made)
    return made


def reference(path, **feeds):
    """The model's outputs by onnxruntime itself."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options).run(None, feeds)


def lists(array, kind=None):
    """A NumPy array [rows, n] as an Arrow list column."""
    flat = pa.array(np.ascontiguousarray(array).ravel(), type=kind)
    offsets = pa.array(np.arange(0, array.size + 1, array.shape[1], dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, flat)


def stacked(column):
    return np.stack(column.to_numpy())


def read(path):
    return pq.read_table(path)
