"""Writes corrupt and hostile ONNX files, the same ones every time.

`make_all(folder)` returns the cases: each is a path to open, and a part of the error message that is expected. Files
that a hostile model wants to reach lie in a folder beside the model's own: `outside_of(folder)`.
"""

from __future__ import annotations

import gzip
import io
import os
import pickle
import random
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from models import F32, mlp, model, node, value
from onnx import TensorProto, helper


@dataclass(frozen=True)
class Case:
    """One file that must not open. `expected` is part of the message, in lower case."""

    name: str
    path: Path
    expected: str


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def message(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def data(built: onnx.ModelProto) -> bytes:
    return bytes(built.SerializeToString(deterministic=True))


def outside_of(folder: Path) -> Path:
    return folder / "outside"


GOOD = data(mlp())


def weights_model(tensor: onnx.TensorProto) -> onnx.ModelProto:
    """y = x + w for a tensor proto w of any content."""
    built = model([node("Add", ["x", "w"], ["y"])], [value("x", ["n", 4])], [value("y", ["n", 4])])
    built.graph.initializer.append(tensor)
    return built


def external(location: str, offset: str | None = "0", length: str | None = "16") -> onnx.TensorProto:
    """A tensor [4] of f32 that is said to be in a file."""
    tensor = TensorProto(name="w", data_type=F32, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    if offset is not None:
        tensor.external_data.add(key="offset", value=offset)
    if length is not None:
        tensor.external_data.add(key="length", value=length)
    return tensor


def in_constant_node(tensor: onnx.TensorProto) -> onnx.ModelProto:
    return model(
        [node("Constant", [], ["w"], value=tensor), node("Add", ["x", "w"], ["y"])],
        [value("x", ["n", 4])], [value("y", ["n", 4])],
    )  # fmt: skip


def in_subgraph(tensor: onnx.TensorProto) -> onnx.ModelProto:
    inner = helper.make_graph([node("Identity", ["w"], ["z"])], "then", [], [value("z", [4])], [tensor])
    other = helper.make_graph(
        [node("Constant", [], ["q"], value_floats=[1.0, 2.0, 3.0, 4.0])], "else", [], [value("q", [4])]
    )
    return model(
        [node("If", ["c"], ["y"], then_branch=inner, else_branch=other)],
        [value("c", [], TensorProto.BOOL)], [value("y", [4])],
    )  # fmt: skip


def in_function(tensor: onnx.TensorProto) -> onnx.ModelProto:
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    function = helper.make_function(
        "mine", "F", ["a"], ["b"],
        [node("Constant", [], ["w"], value=tensor), node("Add", ["a", "w"], ["b"])], opset[:1],
    )  # fmt: skip
    return model(
        [helper.make_node("F", ["x"], ["y"], domain="mine")],
        [value("x", ["n", 4])], [value("y", ["n", 4])], opset_imports=opset, functions=[function],
    )  # fmt: skip


def in_sparse(tensor: onnx.TensorProto) -> onnx.ModelProto:
    built = model([node("Add", ["x", "w"], ["y"])], [value("x", ["n", 4])], [value("y", ["n", 4])])
    indices = helper.make_tensor("w_i", TensorProto.INT64, [4], [0, 1, 2, 3])
    built.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [8]))
    return built


def in_training(tensor: onnx.TensorProto) -> onnx.ModelProto:
    built = mlp()
    graph = helper.make_graph([node("Identity", ["w"], ["z"])], "t", [], [value("z", [4])], [tensor])
    built.training_info.append(onnx.TrainingInfoProto(initialization=graph))
    return built


def recursive_function(names: list[str]) -> onnx.ModelProto:
    """Functions that call each other in a ring."""
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    functions = [
        helper.make_function(
            "mine",
            name,
            ["a"],
            ["b"],
            [helper.make_node(names[(i + 1) % len(names)], ["a"], ["b"], domain="mine")],
            opset,
        )
        for i, name in enumerate(names)
    ]
    return model(
        [helper.make_node(names[0], ["x"], ["y"], domain="mine")],
        [value("x", ["n", 4])], [value("y", ["n", 4])], opset_imports=opset, functions=functions,
    )  # fmt: skip


def exploding_functions(depth: int) -> onnx.ModelProto:
    """Each function calls the next one ten times: inlining gives 10 ** depth nodes."""
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    functions = []
    for i in range(depth):
        names = ["a", *[f"t{j}" for j in range(9)], "b"]
        last = i == depth - 1
        calls = [
            node("Relu", [names[j]], [names[j + 1]])
            if last
            else helper.make_node(f"F{i + 1}", [names[j]], [names[j + 1]], domain="mine")
            for j in range(10)
        ]
        functions.append(helper.make_function("mine", f"F{i}", ["a"], ["b"], calls, opset))
    return model(
        [helper.make_node("F0", ["x"], ["y"], domain="mine")],
        [value("x", ["n", 4])], [value("y", ["n", 4])], opset_imports=opset, functions=functions,
    )  # fmt: skip


def nested(depth: int) -> bytes:
    """Subgraphs in subgraphs, written by hand, for no library nests so deep."""
    graph = b""
    for _ in range(depth):
        attribute = message(1, b"g") + message(6, graph)
        graph = message(1, message(4, b"If") + message(5, attribute))
    return b"\x08\x09" + message(7, graph + message(12, message(1, b"y")))


def nested_type(depth: int) -> bytes:
    """An input that is a sequence of sequences of ..."""
    kind = b""
    for _ in range(depth):
        kind = message(4, message(1, kind))
    return b"\x08\x09" + message(7, message(12, message(1, b"y")) + message(11, message(1, b"x") + message(2, kind)))


def raw_tensor(dims: list[int], raw: bytes, data_type: int = F32) -> onnx.TensorProto:
    return TensorProto(name="w", data_type=data_type, dims=dims, raw_data=raw)


def structural(add: Callable[[str, bytes, str], None]) -> None:
    add("empty", b"", "is empty")
    add("one_byte", b"\x08", "is not an onnx file")
    add("zeros", bytes(4096), "is not an onnx file")
    add("ones", b"\xff" * 4096, "is not an onnx file")
    add("random", random.Random(7).randbytes(5000), "is not an onnx file")
    add("text", b"hello, this is no model\n" * 10, "is not an onnx file")
    for i, part in enumerate((3, 10, 17, 60, 120, 200, len(GOOD) // 2, len(GOOD) - 100, len(GOOD) - 1)):
        add(f"truncated_{i}", GOOD[:part], "'")
    add("varint_overflow", b"\x08" + b"\xff" * 10 + b"\x01" + GOOD, "is not an onnx file")
    add("long_key", b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + GOOD, "is not an onnx file")
    add("length_beyond", b"\x08\x09" + varint(7 << 3 | 2) + varint(1 << 40) + b"abc", "cannot be read")
    add("length_2_64", b"\x08\x09" + varint(7 << 3 | 2) + varint((1 << 64) - 1) + b"abc", "cannot be read")
    add("group", b"\x08\x09\x3b" + GOOD[2:] + b"\x3c", "cannot be read")
    add("trailing_garbage", GOOD + b"\xff\xff\xff", "cannot be read")
    add("two_graphs", GOOD + message(7, b""), "occurs twice")
    add("no_graph", b"\x08\x09" + message(2, b"me"), "no graph")
    add("empty_graph", b"\x08\x09" + message(7, b""), "no output")
    add("deep_graphs", nested(10_000), "nesting")
    add("deep_types", nested_type(10_000), "nesting")


def other_formats(add: Callable[[str, bytes, str], None]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("model.onnx"), GOOD)
    add("gzip", gzip.compress(GOOD, mtime=0), "gzip")
    add("zip", packed.getvalue(), "zip archive")
    add("pickle", pickle.dumps({"a": 1}, protocol=4), "pickle")
    add("html", b"<!DOCTYPE html>\n<html><body>Please log in</body></html>", "web page")
    add("xml", b"\xef\xbb\xbf  <?xml version='1.0'?><Error>AccessDenied</Error>", "web page")
    add("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n", "git lfs pull")
    add("hdf5", b"\x89HDF\r\n\x1a\n" + bytes(100), "hdf5")
    add("safetensors", (50).to_bytes(8, "little") + b'{"a":{}}', "safetensors")
    add("elf", b"\x7fELF" + bytes(60), "not an onnx file")


def content(add: Callable[[str, bytes, str], None]) -> None:
    def put(name: str, built: onnx.ModelProto, expected: str) -> None:
        add(name, data(built), expected)

    put("dim_2_31", weights_model(raw_tensor([1 << 31], b"")), "its dimensions need")
    put("dim_2_62", weights_model(raw_tensor([1 << 62, 1], b"")), "dimensions")
    put("dims_overflow", weights_model(raw_tensor([1 << 32, 1 << 32], b"")), "dimensions")
    put("dim_negative", weights_model(raw_tensor([-4], b"")), "dimensions")
    put("dims_too_few_bytes", weights_model(raw_tensor([4], bytes(15))), "its dimensions need 16")
    put("dims_too_many_bytes", weights_model(raw_tensor([4], bytes(17))), "its dimensions need 16")
    few = TensorProto(name="w", data_type=F32, dims=[4], float_data=[1.0, 2.0, 3.0])
    put("too_few_floats", weights_model(few), "'w'")
    built = weights_model(TensorProto(name="w", data_type=F32, dims=[1 << 29]))
    built.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 29
    put("huge_without_data", built, "'")
    put("element_type_99", weights_model(raw_tensor([4], bytes(16), 99)), "'")
    built = mlp()
    built.graph.input[0].type.tensor_type.elem_type = 77
    put("input_type_77", built, "'")
    built = mlp()
    built.graph.input[0].name = "x\0y"
    put("nul_in_name", built, "no text")
    add("bad_utf8_name", GOOD.replace(b"\x0a\x01x\x12", b"\x0a\x01\xff\x12"), "no text")
    built = mlp()
    built.graph.node[0].output[0] = built.graph.node[-1].output[0]
    put("duplicate_names", built, "'")
    built = mlp()
    built.graph.node[0].input[0] = built.graph.node[1].output[0]
    put("cycle", built, "'")
    built = mlp()
    built.graph.node[0].input[0] = "nowhere"
    put("missing_value", built, "nowhere")
    built = mlp()
    del built.graph.output[:]
    put("no_output", built, "no output")
    built = mlp()
    built.graph.output[0].name = "nowhere"
    put("output_of_nothing", built, "nowhere")
    built = mlp()
    built.opset_import[0].version = 9999
    put("opset_9999", built, "opset")
    built = mlp()
    built.opset_import[0].version = -5
    put("opset_negative", built, "opset")
    built = mlp()
    del built.opset_import[:]
    put("no_opset", built, "opset")
    built = mlp()
    built.ir_version = 9999
    put("ir_9999", built, "9999")
    built = mlp()
    built.graph.node[0].op_type = "NoSuchOperator"
    put("unknown_operator", built, "nosuchoperator")
    built = mlp()
    built.graph.node[0].op_type = "BertTokenizer"
    built.graph.node[0].domain = "ai.onnx.contrib"
    put("unknown_domain", built, "'berttokenizer' of domain 'ai.onnx.contrib'")
    built = mlp()
    built.graph.node[0].domain = "x\n\x1b[31m\0y"
    put("control_characters_in_domain", built, "no standard operator")
    put("function_calls_itself", recursive_function(["F"]), "'")
    put("functions_in_a_ring", recursive_function(["F", "G", "H"]), "'")
    put("functions_explode", exploding_functions(9), "'")


PLACES: dict[str, Callable[[onnx.TensorProto], onnx.ModelProto]] = {
    "initializer": weights_model, "constant": in_constant_node, "subgraph": in_subgraph,
    "function": in_function, "sparse": in_sparse, "training": in_training,
}  # fmt: skip


def outside(add: Callable[[str, bytes, str], None], top: Path) -> None:
    beyond, folder = outside_of(top), top / "models"
    beyond.mkdir()
    np.arange(16, dtype=np.float32).tofile(beyond / "canary")
    np.arange(4, dtype=np.float32).tofile(folder / "good.data")
    (folder / "sub").mkdir()
    (folder / "link").symlink_to(beyond / "canary")
    (folder / "folder_link").symlink_to(beyond)
    os.mkfifo(folder / "fifo")
    trap = folder / "*" / "_ORT_MEM_ADDR_"
    trap.mkdir(parents=True)
    np.arange(4, dtype=np.float32).tofile(trap / "*")
    for place, build in PLACES.items():
        add(f"external_up_{place}", data(build(external("../outside/canary"))), "leaves the model's folder")
    locations = {
        "relative": ("outside/../../x/canary", "leaves the model's folder"),
        "absolute": (str(beyond / "canary"), "absolute path"),
        "link": ("link", "link out of the model's folder"),
        "folder_link": ("folder_link/canary", "link out of the model's folder"),
        "fifo": ("fifo", "no regular file"),
        "folder": ("sub", "no regular file"),
        "device": ("../../../../../../dev/zero", "leaves the model's folder"),
        "missing": ("not_there.data", "no such file"),
        "empty_name": ("", "no file name"),
        "nul": ("good.data\0x", "no file name"),
        "long": ("x" * 5000, "no file name"),
        "memory_tag": ("*/_ORT_MEM_ADDR_/*", "address in memory"),
        "native_memory_tag": ("*/_ORT_NATIVE_ENDIAN_MEM_ADDR_/*", "address in memory"),
    }
    for name, (location, expected) in locations.items():
        add(f"external_{name}", data(weights_model(external(location))), expected)
    add("external_no_location", data(weights_model(external("", None, None))), "no file name")
    add("external_offset_huge", data(weights_model(external("good.data", str(1 << 62)))), "are needed")
    add("external_offset_overflow", data(weights_model(external("good.data", str((1 << 64) - 8)))), "makes no sense")
    add("external_offset_negative", data(weights_model(external("good.data", "-16"))), "makes no sense")
    add("external_offset_words", data(weights_model(external("good.data", "0x10"))), "makes no sense")
    add("external_length_huge", data(weights_model(external("good.data", "0", str(1 << 62)))), "are needed")
    tensor = external("good.data")
    tensor.dims[0] = 5
    add("external_too_short", data(weights_model(tensor)), "20 bytes from byte 0 on are needed, and it has 16")
    tensor = external("good.data")
    tensor.external_data.add(key="location", value="../outside/canary")
    add("external_two_locations", data(weights_model(tensor)), "makes no sense")
    tensor = external("../outside/canary")
    tensor.data_location = TensorProto.DEFAULT
    add("external_not_said", data(weights_model(tensor)), "leaves the model's folder")


def make_all(folder: Path) -> list[Case]:
    """Writes every file into `folder`, which must be empty, and returns the cases."""
    cases = []
    models = folder / "models"
    models.mkdir()

    def add(name: str, content_bytes: bytes, expected: str) -> None:
        path = models / f"{name}.onnx"
        path.write_bytes(content_bytes)
        cases.append(Case(name, path, expected))

    structural(add)
    other_formats(add)
    content(add)
    outside(add, folder)
    (models / "folder.onnx").mkdir()
    cases.append(Case("folder", models / "folder.onnx", "is a folder"))
    os.mkfifo(models / "fifo.onnx")
    cases.append(Case("fifo", models / "fifo.onnx", "no regular file"))
    cases.append(Case("missing", models / "nowhere.onnx", "no such file"))
    ort = bytearray(random.Random(9).randbytes(3000))
    ort[4:8] = b"ORTM"
    (models / "random.ort").write_bytes(ort)
    cases.append(Case("random_ort", models / "random.ort", "'"))
    return cases


if __name__ == "__main__":
    for case in make_all(Path(sys.argv[1])):
        print(case.path)
