"""A catalogue of wrong uses: whole messages, each of which says what, why, and what to do instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from capi import Model, Predictor, VonkError, library_path, predict
from onnx import TensorProto, helper
from reference import batch, models, save

FLOATS = pa.list_(pa.float32())
X = pa.schema({"x": FLOATS})
AB = pa.schema({"a": FLOATS, "b": FLOATS})
REPORT = 2


class Files:
    """Model files in a folder, made when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def onnx(self, name: str, model: Any) -> Path:
        return save(model, self.folder / f"{name}.onnx")

    def mlp(self) -> Path:
        return self.onnx("mlp", models.mlp((4, 8, 3)))

    def pair(self) -> Path:
        """y = a + b, z = b."""
        nodes = [models.node("Add", ["a", "b"], ["y"]), models.node("Identity", ["b"], ["z"])]
        tensors = [models.value(name, ["n", 2]) for name in "abyz"]
        return self.onnx("pair", models.model(nodes, tensors[:2], tensors[2:]))

    def gather(self) -> Path:
        return self.onnx("gather", models.gather(10))

    def same(self, dtype: str, *dims: Any) -> Path:
        return self.onnx("same", models.identity(models.ELEMENT_TYPES[dtype], ["n", *dims]))

    def shaped(self, a: list[Any] | None, b: list[Any], y: list[Any]) -> Path:
        """Inputs and output of these shapes, whether they make sense or not."""
        tensors = [models.value("a", a), models.value("b", b), models.value("y", y)]
        return self.onnx(
            "shaped", models.model([models.node("Concat", ["a", "b"], ["y"], axis=0)], tensors[:2], tensors[2:])
        )

    def text(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


def bind(path: Path, columns: dict[str, pa.DataType] | pa.Schema, **options: Any) -> Predictor:
    return Predictor(Model(path), pa.schema(columns), **options)


def rows(path: Path, values: list[Any], type_: pa.DataType = FLOATS, **options: Any) -> pa.RecordBatch:
    return predict(path, batch(x=pa.array(values, type_)), **options)


def columns(names: str, type_: pa.DataType) -> dict[str, pa.DataType]:
    return dict.fromkeys(names, type_)


Case = tuple[Callable[[Files], Any], str, str]

#: the plug-ins in their order, each with its formats
INSTALLED = "onnx (onnx, ort), tensorflow (savedmodel, checkpoint, graphdef), torch (torchscript, aotinductor)"

CASES: dict[str, Case] = {
    "open: no such file": (
        lambda f: Model(f.folder / "none.onnx"),
        "IO",
        "DIR/none.onnx: cannot be found: No such file or directory",
    ),
    "open: empty path": (
        lambda f: Model(""),
        "INVALID",
        "model path: is empty: give the path of a model file",
    ),
    "open: a folder": (
        lambda f: Model(f.folder),
        "UNSUPPORTED",
        f"DIR: no plug-in recognises it; installed: {INSTALLED}: check the file, or choose the plug-"
        "in with the option 'plugin'",
    ),
    "open: not what its name says": (
        lambda f: Model(f.text("notes.onnx", b"hello")),
        "MODEL",
        "'DIR/notes.onnx': is not an ONNX file: its first bytes are not those of one",
    ),
    "open: no model at all": (
        lambda f: Model(f.text("notes.txt", b"hello")),
        "UNSUPPORTED",
        f"DIR/notes.txt: no plug-in recognises it; installed: {INSTALLED}: check the file, or choose "
        "the plug-in with the option 'plugin'",
    ),
    "open: empty file": (
        lambda f: Model(f.text("empty.onnx", b"")),
        "MODEL",
        "'DIR/empty.onnx': is empty: download or export it again",
    ),
    "open: truncated file": (
        lambda f: Model(f.text("cut.onnx", f.mlp().read_bytes()[:150])),
        "MODEL",
        "'DIR/cut.onnx': is a damaged ONNX file: a field that cannot be read in the model at byte 14 of "
        "150: download or export it again",
    ),
    "open: content not the pinned one": (
        lambda f: Model(f"{f.text('pinned.onnx', b'hello')}#sha256={'0' * 64}"),
        "MODEL",
        "model 'DIR/pinned.onnx': its content is not the pinned one: sha256 is "
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824, expected "
        "0000000000000000000000000000000000000000000000000000000000000000: it was changed or damaged; get"
        " the right file or a new pin",
    ),
    "open: malformed pin": (
        lambda f: Model(f"{f.mlp()}#sha256=12"),
        "INVALID",
        "model path 'DIR/mlp.onnx#sha256=12': the pin after #sha256= must be 64 hex digits",
    ),
    "open: no such device": (
        lambda f: Model(f.mlp(), device="gpu"),
        "INVALID",
        "option device: 'gpu' is no device: write cpu, cuda, cuda:N or rocm:N, such as device=cuda:0",
    ),
    "open: a second CPU": (
        lambda f: Model(f.mlp(), device="cpu:1"),
        "INVALID",
        "option device: 'cpu:1' is no device: write cpu, cuda, cuda:N or rocm:N, such as device=cuda:0",
    ),
    "open: unknown option": (
        lambda f: Model(f.mlp(), speed="fast"),
        "INVALID",
        "option speed: is not known to plug-in onnx: it takes plugin, device, "
        "threads_per_run, graph_optimization, shared_weights",
    ),
    "open: plug-in not installed": (
        lambda f: Model(f.mlp(), plugin="caffe"),
        "UNSUPPORTED",
        "plug-in 'caffe': no file 'vonk_caffe.so' in any of these places: PLACES: install it, "
        "or name its folder in VONK_PLUGIN_PATH",
    ),
    "open: plug-in by relative path": (
        lambda f: Model(f.mlp(), plugin="./plugin.so"),
        "INVALID",
        "plug-in './plugin.so': is a relative path, which would depend on the current folder: give an "
        "absolute path, or a name",
    ),
    "open: plug-in file missing": (
        lambda f: Model(f.mlp(), plugin=str(f.folder / "plugin.so")),
        "IO",
        "DIR/plugin.so: cannot be found: No such file or directory",
    ),
    "open: plug-in file is none": (
        lambda f: Model(f.mlp(), plugin=str(f.text("plugin.so", b"hello"))),
        "ABI",
        "DIR/plugin.so: cannot be loaded: file too short",
    ),
    "open: empty plug-in": (
        lambda f: Model(f.mlp(), plugin=""),
        "INVALID",
        "plug-in '': is no plug-in's name: expected up to 64 of a-z, 0-9 and _, or an absolute path",
    ),
    "model: no batch dimension": (
        lambda f: bind(
            f.onnx(
                "one",
                models.model([models.node("Identity", ["x"], ["y"])], [models.value("x", [])], [models.value("y", [])]),
            ),
            X,
        ),
        "UNSUPPORTED",
        "input 'x': is a single value without a batch dimension, so the model cannot run on rows: export "
        "the model with a free first dimension",
    ),
    "model: no shape": (
        lambda f: bind(
            f.onnx(
                "shapeless",
                models.model(
                    [models.node("Identity", ["x"], ["y"])],
                    [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
                    [models.value("y", ["n", 2])],
                ),
            ),
            X,
        ),
        "UNSUPPORTED",
        "input 'x': the model does not say its shape, so the columns cannot be checked: export it with shapes",
    ),
    "model: free and fixed first dimensions": (
        lambda f: bind(f.shaped(["n", 2], [1, 2], ["n", 2]), AB),
        "UNSUPPORTED",
        "input 'a': its first dimension is free while that of 'b' is 1, so rows cannot be told apart: "
        "export the model with a free first dimension everywhere",
    ),
    "model: first dimensions that differ": (
        lambda f: bind(f.shaped([2, 2], [3, 2], [5, 2]), AB),
        "UNSUPPORTED",
        "input 'b': its first dimension is 3 where that of 'a' is 2, so they do not count rows and the "
        "model has no batch dimension: export the model with a free first dimension",
    ),
    "model: an output that does not count rows": (
        lambda f: bind(f.onnx("two", models.two_sided()), {**columns("ab", FLOATS), "id": pa.int64()}),
        "UNSUPPORTED",
        "input 'a': its first dimension is free while that of 'width' is 2, so rows cannot be told apart:"
        " export the model with a free first dimension everywhere",
    ),
    "columns: none": (
        lambda f: bind(f.mlp(), {}),
        "INVALID",
        "input 'x': there is no column at all: the model's input is x (float32[4])",
    ),
    "columns: too many": (
        lambda f: bind(f.mlp(), columns("pq", FLOATS)),
        "INVALID",
        "input 'x': no column clearly belongs to it: the model's input is x (float32[4]), the columns are"
        " p (list<float32>), q (list<float32>): map it, as in x=COLUMN, or give only the columns it takes",
    ),
    "columns: too few to pack": (
        lambda f: bind(f.mlp(), columns("pqr", pa.float32())),
        "INVALID",
        "input 'x': no column clearly belongs to it: the model's input is x (float32[4]), the columns are"
        " p (float32), q (float32), r (float32): map it, as in x=COLUMN, or give 4 columns of single "
        "values",
    ),
    "columns: one of the packed is no number": (
        lambda f: bind(f.mlp(), {**columns("pqr", pa.float32()), "s": pa.string()}),
        "INVALID",
        "column 's': is string, input 'x' wants float32[4]: write CAST(s AS FLOAT)",
    ),
    "columns: one of two by name": (
        lambda f: bind(f.pair(), columns("aq", FLOATS)),
        "INVALID",
        "input 'b': no column is named like it: the model's inputs are a (float32[2]), b (float32[2]), "
        "the columns are a (list<float32>), q (list<float32>): map it, as in b=COLUMN",
    ),
    "columns: three for two inputs": (
        lambda f: bind(f.pair(), columns("pqr", FLOATS)),
        "INVALID",
        "input 'a': no column clearly belongs to it: the model's inputs are a (float32[2]), b "
        "(float32[2]), the columns are p (list<float32>), q (list<float32>), r (list<float32>): map it, "
        "as in a=COLUMN",
    ),
    "columns: a struct without the field": (
        lambda f: bind(f.pair(), {"s": pa.struct(columns("ac", FLOATS))}),
        "INVALID",
        "input 'b': no field is named like it: the model's inputs are a (float32[2]), b (float32[2]), the"
        " fields are a (list<float32>), c (list<float32>): map it, as in b=s.FIELD",
    ),
    "columns: two of one name": (
        lambda f: bind(f.mlp(), pa.schema([("x", FLOATS), ("x", FLOATS)])),
        "INVALID",
        "column 'x': several columns have that name: rename one of them",
    ),
    "input map: no such column": (
        lambda f: bind(f.mlp(), columns("pq", pa.float32()), inputs={"x": "z"}),
        "INVALID",
        "input map: input 'x' is given column 'z', which is not there: the columns are p (float32), q (float32)",
    ),
    "input map: no such field": (
        lambda f: bind(f.mlp(), {"s": pa.struct({"a": FLOATS})}, inputs={"x": "s.b"}),
        "INVALID",
        "input map: input 'x' is given column 's.b', which is not there: the columns are s (struct<a: list<float32>>)",
    ),
    "input map: no such packed column": (
        lambda f: bind(f.mlp(), columns("pq", pa.float32()), inputs={"x": "p,q,r,s"}),
        "INVALID",
        "input map: input 'x' is given column 'r', which is not there: the columns are p (float32), q (float32)",
    ),
    "input map: no such input": (
        lambda f: bind(f.mlp(), X, inputs={"input": "x"}),
        "INVALID",
        "input map: the model has no input 'input': its inputs are x (float32[4])",
    ),
    "input map: empty": (
        lambda f: bind(f.mlp(), X, inputs={"x": ""}),
        "INVALID",
        "input map: input 'x' is given an empty column name: write x=COLUMN, or x=A,B,C to pack columns "
        "of single values",
    ),
    "input map: comma at the end": (
        lambda f: bind(f.mlp(), columns("pq", pa.float32()), inputs={"x": "p,q,"}),
        "INVALID",
        "input map: input 'x' is given an empty column name: write x=COLUMN, or x=A,B,C to pack columns "
        "of single values",
    ),
    "input map: too few to pack": (
        lambda f: bind(f.mlp(), columns("pq", pa.float32()), inputs={"x": "p,q"}),
        "INVALID",
        "input 'x': 2 columns were given to pack, a row is float32[4]: give as many columns as it has elements",
    ),
    "input map: lists to pack": (
        lambda f: bind(f.mlp(), columns("pqrs", FLOATS), inputs={"x": "p,q,r,s"}),
        "INVALID",
        "column 'p': is list<float32>, a row of input 'x' is float32[4]: only single values can be packed",
    ),
    "input map: one of two": (
        lambda f: bind(f.pair(), columns("pq", FLOATS), inputs={"a": "p"}),
        "INVALID",
        "input 'b': no column clearly belongs to it: the model's inputs are a (float32[2]), b "
        "(float32[2]), the columns are p (list<float32>), q (list<float32>): map it, as in b=COLUMN, or "
        "give only the columns it takes",
    ),
    "dtype: int64 for float32 lists": (
        lambda f: bind(f.mlp(), {"x": pa.list_(pa.int64())}),
        "INVALID",
        "column 'x': is list<int64>, input 'x' wants float32[4], and the conversion could change values: "
        "write CAST(x AS FLOAT[])",
    ),
    "dtype: int64 for float32": (
        lambda f: bind(f.same("f32"), {"x": pa.int64()}),
        "INVALID",
        "column 'x': is int64, input 'x' wants float32, and the conversion could change values: write CAST(x AS FLOAT)",
    ),
    "dtype: float64 for int64": (
        lambda f: bind(f.gather(), {"index": pa.float64()}),
        "INVALID",
        "column 'index': is float64, input 'index' wants int64, and the conversion could change values: "
        "write CAST(index AS BIGINT)",
    ),
    "dtype: uint64 for int64": (
        lambda f: bind(f.gather(), {"index": pa.uint64()}),
        "INVALID",
        "column 'index': is uint64, input 'index' wants int64, and the conversion could change values: "
        "write CAST(index AS BIGINT)",
    ),
    "dtype: text for numbers": (
        lambda f: bind(f.mlp(), {"x": pa.list_(pa.string())}),
        "INVALID",
        "column 'x': is list<string>, input 'x' wants float32[4]: write CAST(x AS FLOAT[])",
    ),
    "dtype: numbers for text": (
        lambda f: bind(f.same("string"), {"x": pa.float32()}),
        "INVALID",
        "column 'x': is float32, input 'x' wants string: write CAST(x AS VARCHAR)",
    ),
    "dtype: numbers for bool, nested": (
        lambda f: bind(f.same("bool", 2, 2), {"x": pa.list_(pa.list_(pa.int8()))}),
        "INVALID",
        "column 'x': is list<list<int8>>, input 'x' wants bool[2, 2], and the conversion could change "
        "values: write CAST(x AS BOOLEAN[][])",
    ),
    "type: a timestamp": (
        lambda f: bind(f.same("f32"), {"x": pa.timestamp("us")}),
        "UNSUPPORTED",
        "column 'x': is a timestamp, which no tensor can hold: write epoch(x)",
    ),
    "type: a date": (
        lambda f: bind(f.same("f32"), {"x": pa.date32()}),
        "UNSUPPORTED",
        "column 'x': is a date, which no tensor can hold: write epoch(x)",
    ),
    "type: a decimal": (
        lambda f: bind(f.same("f32"), {"x": pa.decimal128(10, 2)}),
        "INVALID",
        "column 'x': is decimal(10, 2), input 'x' wants float32, and the conversion could change values: "
        "write CAST(x AS FLOAT)",
    ),
    "type: a decimal of 256 bits": (
        lambda f: bind(f.same("f32"), {"x": pa.decimal256(10, 2)}),
        "UNSUPPORTED",
        "column 'x': is a decimal: write CAST(x AS DOUBLE)",
    ),
    "type: a map": (
        lambda f: bind(f.mlp(), {"x": pa.map_(pa.string(), pa.float32())}),
        "UNSUPPORTED",
        "column 'x': is a map, which no tensor can hold: write map_values(x)",
    ),
    "type: a string view": (
        lambda f: bind(f.same("string"), {"x": pa.string_view()}),
        "UNSUPPORTED",
        "column 'x': is a string view: cast it to utf8, which vonk reads",
    ),
    "type: a struct": (
        lambda f: bind(f.mlp(), {"x": pa.struct(columns("ab", pa.float32()))}),
        "INVALID",
        "column 'x': is struct<a: float32, b: float32>, input 'x' wants float32[4]: map one of its fields, as in x=x.a",
    ),
    "type: a list of structs": (
        lambda f: bind(f.mlp(), {"x": pa.list_(pa.struct(columns("ab", pa.float32())))}),
        "INVALID",
        "column 'x': is list<struct<a: float32, b: float32>>, input 'x' wants float32[4]: give plain lists of numbers",
    ),
    "shape: one number for many": (
        lambda f: bind(f.mlp(), {"x": pa.float32()}),
        "INVALID",
        "column 'x': is float32, a row of input 'x' is float32[4]: give one list column, or one scalar "
        "column per element",
    ),
    "shape: a list for one number": (
        lambda f: bind(f.same("f32"), X),
        "INVALID",
        "column 'x': is list<float32>, a row of input 'x' is float32: give a column of single values",
    ),
    "shape: fixed lists of another length": (
        lambda f: bind(f.mlp(), {"x": pa.list_(pa.float32(), 5)}),
        "INVALID",
        "column 'x': is float32[5], a row of input 'x' is float32[4]: give lists of 4 elements",
    ),
    "shape: fixed lists that do not divide": (
        lambda f: bind(f.same("f32", "t", 2), {"x": pa.list_(pa.float32(), 5)}),
        "INVALID",
        "column 'x': is float32[5], a row of input 'x' is float32[free, 2]: give lists of a multiple of 2 elements",
    ),
    "shape: lists too deep": (
        lambda f: bind(f.mlp(), {"x": pa.list_(FLOATS)}),
        "INVALID",
        "column 'x': is list<list<float32>>, a row of input 'x' is float32[4]: nest the lists as deep as "
        "the shape, or give one flat list",
    ),
    "shape: nested fixed lists of other lengths": (
        lambda f: bind(f.same("f32", 2, 3), {"x": pa.list_(pa.list_(pa.float32(), 4), 2)}),
        "INVALID",
        "column 'x': is float32[4][2], a row of input 'x' is float32[2, 3]: give lists of those lengths",
    ),
    "shape: a flat list for two free dimensions": (
        lambda f: bind(f.same("f32", "h", "w"), X),
        "INVALID",
        "column 'x': is list<float32>, a row of input 'x' is float32[free, free]: a flat list cannot say "
        "two free dimensions: give nested lists",
    ),
    "output map: no such output": (
        lambda f: bind(f.mlp(), X, outputs={"probs": "p"}),
        "INVALID",
        "output map: 'probs' is no output of the model: the model's outputs are y (float32[3])",
    ),
    "output map: empty": (
        lambda f: bind(f.mlp(), X, outputs={"y": ""}),
        "INVALID",
        "output map: 'y' is given no column name: the model's outputs are y (float32[3])",
    ),
    "output map: one name twice": (
        lambda f: bind(f.pair(), AB, outputs={"y": "p", "z": "p"}),
        "INVALID",
        "output map: two outputs would become column 'p': give them different names",
    ),
    "output map: clash with the error column": (
        lambda f: bind(f.mlp(), X, outputs={"y": "error"}, row_errors=REPORT),
        "INVALID",
        "output 'y': would become column 'error', which on_error='report' adds: map it to another name, y=NAME",
    ),
    "as: unknown": (
        lambda f: bind(f.mlp(), X, as_="best"),
        "INVALID",
        "as='best': is not known: it can be 'argmax', 'label', 'top5' (or another number, up to 1000), or be left out "
        "for the tensor",
    ),
    "as: argmax of several outputs": (
        lambda f: bind(f.pair(), AB, as_="argmax"),
        "INVALID",
        "as='argmax': the model has 2 outputs, y (float32[2]), z (float32[2]): choose one in the output map",
    ),
    "as: argmax of single numbers": (
        lambda f: bind(f.gather(), {"index": pa.int64()}, as_="argmax"),
        "INVALID",
        "as='argmax': a row of output 'y' is float32: it needs numbers along a last dimension",
    ),
    "as: argmax of text": (
        lambda f: bind(f.same("string", 3), {"x": pa.list_(pa.string())}, as_="argmax"),
        "INVALID",
        "as='argmax': a row of output 'y' is string[3]: it needs numbers along a last dimension",
    ),
    "options: nulls": (
        lambda f: bind(f.mlp(), X, nulls=7),
        "INVALID",
        "bind options: nulls or row_errors is none of its values: use the VONK_NULLS_ and VONK_ROWS_ constants",
    ),
    "options: row errors": (
        lambda f: bind(f.mlp(), X, row_errors=7),
        "INVALID",
        "bind options: nulls or row_errors is none of its values: use the VONK_NULLS_ and VONK_ROWS_ constants",
    ),
    "options: negative batch": (
        lambda f: bind(f.mlp(), X, batch_rows=-1),
        "INVALID",
        "bind options: batch_rows and batch_bytes cannot be negative: 0 chooses them",
    ),
    "options: negative bytes": (
        lambda f: bind(f.mlp(), X, batch_bytes=-1),
        "INVALID",
        "bind options: batch_rows and batch_bytes cannot be negative: 0 chooses them",
    ),
    "row: too short": (
        lambda f: rows(f.mlp(), [[1.0, 2.0, 3.0, 4.0], [1.0, 2.0]]),
        "INVALID row 1",
        "column 'x': has 2 elements, input 'x' wants float32[4]: on_error='null' or 'report' goes on without such rows",
    ),
    "row: one element": (
        lambda f: rows(f.mlp(), [[1.0]]),
        "INVALID row 0",
        "column 'x': has 1 element, input 'x' wants float32[4]: on_error='null' or 'report' goes on without such rows",
    ),
    "row: a NULL with nulls=error": (
        lambda f: rows(f.mlp(), [[1.0, 2.0, 3.0, 4.0], None], nulls=1),
        "INVALID row 1",
        "column 'x': is NULL: nulls='null' gives such a row a NULL prediction",
    ),
    "row: a NULL in a list": (
        lambda f: rows(f.mlp(), [[1.0, None, 3.0, 4.0]]),
        "INVALID row 0",
        "column 'x': element 1 of the list is NULL: on_error='null' or 'report' goes on without such rows",
    ),
    "row: does not fill a free dimension": (
        lambda f: rows(f.same("f32", "t", 2), [[1.0, 2.0, 3.0]]),
        "INVALID row 0",
        "column 'x': has 3 elements, input 'x' wants float32[free, 2]: on_error='null' or 'report' goes "
        "on without such rows",
    ),
    "row: uneven inner lists": (
        lambda f: rows(f.same("f32", 2, 2), [[[1.0, 2.0], [3.0]]], pa.list_(FLOATS)),
        "INVALID row 0",
        "column 'x': its inner lists differ in length, which those of a tensor do not: on_error='null' or"
        " 'report' goes on without such rows",
    ),
    "row: an inner NULL": (
        lambda f: rows(f.same("f32", 2, 2), [[[1.0, 2.0], None]], pa.list_(FLOATS)),
        "INVALID row 0",
        "column 'x': an inner list is NULL, which a tensor cannot hold: on_error='null' or 'report' goes "
        "on without such rows",
    ),
    "row: inner lists of another length": (
        lambda f: rows(f.same("f32", 2, 2), [[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]], pa.list_(FLOATS)),
        "INVALID row 0",
        "column 'x': has 2 x 3 elements, input 'x' wants float32[2, 2]: on_error='null' or 'report' goes "
        "on without such rows",
    ),
    "row: refused by the model": (
        lambda f: predict(f.gather(), batch(index=pa.array([1, 77]))),
        "BACKEND row 1",
        "'DIR/gather.onnx': Gather node. Name:'' Status Message: indices element out of data bounds, "
        "idx=77 must be within the inclusive range [-10,9]: on_error='null' or 'report' goes on without "
        "such rows",
    ),
}


def said(message: str, folder: Path) -> str:
    """The message without what differs from machine to machine: folders, and the framework's version and place."""
    message = message.replace(str(folder), "DIR")
    message = re.sub(r"any of these places: .*: install", "any of these places: PLACES: install", message)
    message = re.sub(r"ONNX Runtime [0-9.]+ at '[^']*'", "ONNX Runtime VERSION at 'LIBRARY'", message)
    return message.replace(str(Path(library_path()).parent), "LIB")


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_use_is_explained(name: str, tmp_path: Path) -> None:
    action, code, message = CASES[name]
    with pytest.raises(VonkError) as caught:
        action(Files(tmp_path))
    row = "" if caught.value.row < 0 else f" row {caught.value.row}"
    assert said(caught.value.message, tmp_path) == message
    assert f"{caught.value.code.removeprefix('VONK_')}{row}" == code


def test_the_catalogue_is_large() -> None:
    assert len(CASES) >= 40
