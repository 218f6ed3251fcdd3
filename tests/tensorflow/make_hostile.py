"""Writes corrupt and hostile models of TensorFlow, the same ones every time, out of good ones.

`make_all(good, folder)` takes the folder of `make_models.py` and writes into `folder` the models, `cases.json`, a list
of [name, path, part of the error message that is expected, in lower case], and `outside/canary`, a file that some want
to reach. Needs TensorFlow for its protocol buffers; nothing here is run.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorflow.core.framework import graph_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

Edit = Callable[[Any], object]


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def message(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


class Corpus:
    def __init__(self, good: Path, folder: Path) -> None:
        self.good, self.folder = good, folder
        self.cases: list[tuple[str, str, str]] = []

    def case(self, name: str, path: Path, expected: str) -> None:
        self.cases.append((name, str(path), expected))

    def file(self, name: str, content: bytes, expected: str) -> None:
        """`name` has an extension."""
        path = self.folder / name
        path.write_bytes(content)
        self.case(name, path, expected)

    def folder_with(self, name: str, expected: str, base: str = "mlp") -> Path:
        """A copy of a good SavedModel, to be changed."""
        path = self.folder / name
        shutil.copytree(self.good / base, path)
        self.case(name, path, expected)
        return path

    def bytes(self, name: str, content: bytes, expected: str, base: str = "mlp") -> None:
        (self.folder_with(name, expected, base) / "saved_model.pb").write_bytes(content)

    def edited(self, name: str, expected: str, edit: Edit, base: str = "mlp") -> None:
        """A SavedModel whose one graph `edit` changes."""
        path = self.folder_with(name, expected, base)
        model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        edit(model.meta_graphs[0])
        (path / "saved_model.pb").write_bytes(model.SerializeToString(deterministic=True))

    def graph(self, name: str, expected: str, edit: Edit) -> None:
        graph = graph_pb2.GraphDef.FromString((self.good / "frozen.pb").read_bytes())
        edit(graph)
        self.file(f"{name}.pb", graph.SerializeToString(deterministic=True), expected)


def structural(corpus: Corpus) -> None:
    good = (corpus.good / "mlp/saved_model.pb").read_bytes()
    for i, size in enumerate((1, 3, 8, 100, 1000, len(good) // 2, len(good) - 100, len(good) - 1)):
        corpus.bytes(f"truncated_{i}", good[:size], "'")
    corpus.bytes("empty", b"", "no graph")
    corpus.bytes("zeros", bytes(4096), "cannot be read")
    corpus.bytes("random", random.Random(7).randbytes(5000), "'")
    corpus.bytes("trailing", good + b"\xff\xff\xff", "cannot be read")
    corpus.bytes("length_2_64", b"\x08\x01\x12" + varint((1 << 64) - 1) + b"abc", "cannot be read")
    corpus.bytes("group", b"\x08\x01\x13" + good[2:] + b"\x14", "cannot be read")
    corpus.bytes("no_graph", b"\x08\x01", "no graph")
    corpus.bytes("empty_graph", b"\x08\x01" + message(2, message(1, message(4, b"serve"))), "no signatures")
    corpus.bytes("many_graphs", b"\x08\x01" + message(2, b"") * 100_000, "'")
    model = saved_model_pb2.SavedModel.FromString(good)
    meta = model.meta_graphs[0].SerializeToString(deterministic=True)
    twice = meta + message(2, model.meta_graphs[0].graph_def.SerializeToString(deterministic=True))
    corpus.bytes("two_graphs", b"\x08\x01" + message(2, twice), "two graphs")
    graph = (corpus.good / "frozen.pb").read_bytes()
    for i, size in enumerate((20, 60, len(graph) - 30, len(graph) - 1)):
        corpus.file(f"truncated_{i}.pb", graph[:size], "'")
    corpus.file("empty.pb", b"", "is empty")
    corpus.file("nodes_without_end.pb", message(1, b"") * 100_000, "'")
    checkpoint = (corpus.good / "checkpoint/model.meta").read_bytes()
    corpus.file("truncated.meta", checkpoint[: len(checkpoint) // 2], "cannot be read")


def other_formats(corpus: Corpus) -> None:
    graph = (corpus.good / "frozen.pb").read_bytes()
    corpus.file("pickle.pb", pickle.dumps({"a": os.system}, protocol=4), "pickle")
    corpus.file("gzip.pb", gzip.compress(graph, mtime=0), "gzip")
    with zipfile.ZipFile(corpus.folder / "zip.pb", "w") as archive:
        archive.writestr(zipfile.ZipInfo("frozen.pb"), graph)
    corpus.case("zip.pb", corpus.folder / "zip.pb", "zip archive")
    corpus.file("html.pb", b"<!DOCTYPE html>\n<html><body>Please log in</body></html>", "web page")
    corpus.file("lfs.pb", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n", "git lfs pull")
    corpus.file("text.pb", b"hello, this is no model\n" * 10, "is not a tensorflow model")
    corpus.file("graph.pbtxt", b'node { name: "x" op: "Placeholder" }\n', "text form")
    corpus.file("elf.pb", b"\x7fELF" + bytes(60), "program or library")
    corpus.file("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "vonk pack model.h5 -o model.vonk")
    corpus.file("lite.tflite", b"\x1c\0\0\0TFL3" + bytes(100), "tensorflow lite")
    shutil.copy(corpus.good / "mlp.keras", corpus.folder / "m.keras")
    corpus.case("m.keras", corpus.folder / "m.keras", "vonk pack m.keras -o m.vonk")
    shutil.copy(corpus.good / "mlp/saved_model.pb", corpus.folder / "other_name.pb")
    corpus.case("other_name.pb", corpus.folder / "other_name.pb", "give the folder")
    corpus.case("missing.pb", corpus.folder / "missing.pb", "no such file")
    (corpus.folder / "nothing").mkdir()
    corpus.case("nothing", corpus.folder / "nothing", "without saved_model.pb")
    (corpus.folder / "text_form").mkdir()
    (corpus.folder / "text_form/saved_model.pbtxt").write_text("x")
    corpus.case("text_form", corpus.folder / "text_form", "text form")
    os.mkfifo(corpus.folder / "fifo.pb")
    corpus.case("fifo.pb", corpus.folder / "fifo.pb", "no regular file")


def signatures(corpus: Corpus) -> None:
    def default(meta: Any) -> Any:
        return meta.signature_def["serving_default"]

    def nine(meta: Any) -> None:
        for _ in range(9):
            default(meta).inputs["x"].tensor_shape.dim.add(size=1)

    def negative(meta: Any) -> None:
        default(meta).inputs["x"].tensor_shape.dim[1].size = -5

    def rename(meta: Any, **names: str) -> None:
        for key, name in names.items():
            side = default(meta).inputs if key == "x" else default(meta).outputs
            side["x" if key == "x" else "output_0"].name = name

    def dtype(meta: Any, value: int) -> None:
        default(meta).inputs["x"].dtype = value

    corpus.edited("input_not_there", "'nowhere', which is not in its graph", lambda m: rename(m, x="nowhere:0"))
    corpus.edited("output_not_there", "'nowhere', which is not in its graph", lambda m: rename(m, y="nowhere:0"))
    corpus.edited("output_number_5", "output 5 of node", lambda m: rename(m, y="StatefulPartitionedCall:5"))
    corpus.edited("output_number_huge", "'", lambda m: rename(m, y="StatefulPartitionedCall:99999999999"))
    corpus.edited("name_empty", "sparse or composite", lambda m: rename(m, x=""))
    corpus.edited(
        "coo_sparse",
        "sparse or composite",
        lambda m: default(m).inputs["x"].coo_sparse.MergeFrom(meta_graph_pb2.TensorInfo.CooSparse()),
    )
    corpus.edited("name_colon", "'", lambda m: rename(m, x=":0"))
    corpus.edited("name_control", "'", lambda m: rename(m, y="^NoOp"))
    corpus.edited("wrong_dtype", "says that", lambda m: dtype(m, types_pb2.DT_INT64))
    corpus.edited("dtype_resource", "resource", lambda m: dtype(m, types_pb2.DT_RESOURCE))
    corpus.edited("dtype_variant", "variant", lambda m: dtype(m, types_pb2.DT_VARIANT))
    corpus.edited("dtype_qint8", "qint8", lambda m: dtype(m, types_pb2.DT_QINT8))
    corpus.edited("dtype_reference", "unknown dtype", lambda m: dtype(m, types_pb2.DT_FLOAT_REF))
    corpus.edited("nine_dimensions", "11 dimensions", nine)
    corpus.edited("negative_dimension", "cannot be read", negative)
    corpus.edited("no_outputs", "no outputs", lambda m: default(m).outputs.clear())
    corpus.edited("no_default", "it has: serve", lambda m: m.signature_def.__delitem__("serving_default"))
    corpus.edited("nul_in_key", "cannot be read", lambda m: m.signature_def["a\0b"].outputs["y"].CopyFrom(
        default(m).outputs["output_0"]))  # fmt: skip


def graphs(corpus: Corpus) -> None:
    def twice(meta: Any) -> None:
        meta.graph_def.node.add().CopyFrom(meta.graph_def.node[0])

    def giant(meta: Any) -> None:
        for node in meta.graph_def.node:
            if node.op == "VarHandleOp":
                for dim in node.attr["shape"].shape.dim:
                    dim.size = 1 << 62

    def cycle(graph: Any) -> None:
        for node in graph.node:
            if node.op == "MatMul":
                node.input[0] = "y"

    def function_ring(meta: Any) -> None:
        library = meta.graph_def.library.function
        names = [f.signature.name for f in library]
        for i, function in enumerate(library):
            function.node_def.add(name="ring", op="StatefulPartitionedCall").attr["f"].func.name = names[
                (i + 1) % len(names)
            ]

    def unknown_op(meta: Any) -> None:
        meta.graph_def.node[0].op = "NoSuchOperation"

    def missing_input(graph: Any) -> None:
        graph.node[-1].input[0] = "nowhere"

    def huge_constant(graph: Any) -> None:
        for node in graph.node:
            if node.op == "Const":
                for dim in node.attr["value"].tensor.tensor_shape.dim:
                    dim.size = 1 << 40

    corpus.edited("two_nodes_of_one_name", "two nodes of the name", twice)
    corpus.edited("giant_variables", "'", giant)
    corpus.edited("functions_in_a_ring", "'", function_ring)
    corpus.edited("unknown_operation", "nosuchoperation", unknown_op)
    corpus.graph("cycle", "'", cycle)
    corpus.graph("missing_input", "nowhere", missing_input)
    corpus.graph("huge_constant", "'", huge_constant)
    corpus.graph("no_nodes", "'", lambda g: g.ClearField("node"))
    corpus.graph("future_version", "'", lambda g: setattr(g.versions, "min_consumer", 99999))
    path = corpus.folder_with("deep_attribute", "too deep")
    model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    raw = [deep_node(node) for node in model.meta_graphs[0].graph_def.node]
    meta = model.meta_graphs[0]
    library = message(2, meta.graph_def.library.SerializeToString())
    meta.ClearField("graph_def")
    whole = meta.SerializeToString(deterministic=True) + message(2, b"".join(message(1, n) for n in raw) + library)
    (path / "saved_model.pb").write_bytes(b"\x08\x01" + message(2, whole))


def deep_node(node: Any) -> bytes:
    """A node; calls get an attribute that nests functions 2,000 deep."""
    content: bytes = node.SerializeToString(deterministic=True)
    if node.op != "StatefulPartitionedCall":
        return content
    value = message(10, message(1, b"g"))
    for _ in range(2000):
        value = message(10, message(1, b"g") + message(2, message(1, b"f") + message(2, value)))
    return content + message(5, message(1, b"h") + message(2, value))


def files(corpus: Corpus) -> None:
    outside = corpus.folder / "outside"
    outside.mkdir()
    (outside / "canary").write_text("a\nb\n")

    def asset(name: str) -> Edit:
        def edit(meta: Any) -> None:
            meta.asset_file_def[0].filename = name

        return edit

    def without_asset(meta: Any) -> None:
        """The path is a constant of the graph."""
        meta.ClearField("asset_file_def")
        for node in meta.graph_def.node:
            if node.name == "asset_path_initializer":
                node.op = "Const"
                node.ClearField("attr")
                node.attr["dtype"].type = types_pb2.DT_STRING
                node.attr["value"].tensor.dtype = types_pb2.DT_STRING
                node.attr["value"].tensor.tensor_shape.SetInParent()
                node.attr["value"].tensor.string_val.append(str(outside / "canary").encode())

    def assigned_twice(meta: Any) -> None:
        """A constant is assigned to the asset's variable as well."""
        path = meta.graph_def.node.add(name="evil", op="Const")
        path.attr["dtype"].type = types_pb2.DT_STRING
        path.attr["value"].tensor.dtype = types_pb2.DT_STRING
        path.attr["value"].tensor.tensor_shape.SetInParent()
        path.attr["value"].tensor.string_val.append(str(outside / "canary").encode())
        assign = meta.graph_def.node.add(name="assign_evil", op="AssignVariableOp", input=["Variable", "evil"])
        assign.attr["dtype"].type = types_pb2.DT_STRING
        for node in meta.graph_def.node:
            if node.name == "ReadVariableOp":
                node.input.append("^assign_evil")

    def restores_other(meta: Any) -> None:
        """The node that restores reads a checkpoint of its own choosing."""
        meta.saver_def.filename_tensor_name = "Const:0"

    names = {"up": "../../outside/canary", "far": "x/../../../outside/canary", "absolute": str(outside / "canary"),
             "empty": "", "link": "link", "folder": "sub", "missing": "not_there", "long": "x" * 5000,
             "nul": "vocab.txt\0x"}  # fmt: skip

    def keep(name: str, expected: str) -> None:
        corpus.edited(f"asset_{name}", expected, asset(names[name]), "text")

    keep("up", "leaves the model's folder")
    keep("far", "leaves the model's folder")
    keep("absolute", "not relative")
    keep("empty", "no file name")
    keep("missing", "no such file")
    keep("long", "'")
    keep("nul", "no file name")
    keep("link", "link out of the model's folder")
    (corpus.folder / "asset_link/assets/link").symlink_to(outside / "canary")
    keep("folder", "no regular file")
    (corpus.folder / "asset_folder/assets/sub").mkdir()
    corpus.edited("table_of_a_constant", "not said to be one of the model's own", without_asset, "text")
    corpus.edited("table_assigned_twice", "not said to be one of the model's own", assigned_twice, "text")
    corpus.edited("restore_by_constant", "'", restores_other)
    path = corpus.folder_with("no_variables", "variables.index': no such file")
    shutil.rmtree(path / "variables")
    path = corpus.folder_with("no_index", "variables.index': no such file")
    (path / "variables/variables.index").unlink()
    path = corpus.folder_with("no_data", "data-00000-of-00001': no such file")
    (path / "variables/variables.data-00000-of-00001").unlink()
    path = corpus.folder_with("index_cut", "cut off or damaged")
    index = path / "variables/variables.index"
    index.write_bytes(index.read_bytes()[:-20])
    path = corpus.folder_with("variables_link", "link out of the model's folder")
    (path / "variables/variables.data-00000-of-00001").unlink()
    (path / "variables/variables.data-00000-of-00001").symlink_to(outside / "canary")
    shutil.copy(corpus.good / "v1/saved_model.pb", corpus.folder / "v1_alone.meta")
    corpus.case("v1_alone.meta", corpus.folder / "v1_alone.meta", "give the folder")
    for name, expected in (("python", "runs python"), ("reads", "reads files"), ("reads_in_branch", "reads files"),
                           ("prints", "prints"), ("complex", "complex64"), ("quantised", "quint8"),
                           ("no_output", "no outputs"), ("unfrozen.pb", "saved for training")):  # fmt: skip
        corpus.case(name, corpus.good / name, expected)


def meta_files(corpus: Corpus) -> None:
    """A checkpoint's .meta file without the checkpoint, and one that names no node to restore it with."""
    meta = meta_graph_pb2.MetaGraphDef.FromString((corpus.good / "checkpoint/model.meta").read_bytes())
    signature = meta.signature_def["serving_default"]
    signature.inputs["x"].name, signature.inputs["x"].dtype = "x:0", types_pb2.DT_FLOAT
    signature.outputs["y"].name, signature.outputs["y"].dtype = "y:0", types_pb2.DT_FLOAT
    corpus.file("alone.meta", meta.SerializeToString(deterministic=True), "alone.index': no such file")
    meta.ClearField("saver_def")
    corpus.file("no_saver.meta", meta.SerializeToString(deterministic=True), "no node that restores")


def make_all(good: Path, folder: Path) -> None:
    corpus = Corpus(good, folder)
    structural(corpus)
    other_formats(corpus)
    signatures(corpus)
    graphs(corpus)
    files(corpus)
    meta_files(corpus)
    (folder / "cases.json").write_text(json.dumps(corpus.cases, indent=1))
