"""ONNX models that converters made: what is taken out, named and written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

#: ONNX Runtime 1.16 reads up to this
IR_VERSION = 9
#: bytes of weights from which on they lie in a file beside the model; one file can hold 2 GiB
LARGE = 1 << 30


def clean(model: onnx.ModelProto) -> None:
    """Takes out what tells of the author's machine (paths and lines of code), and what nobody needs to run it."""
    del model.metadata_props[:]
    model.doc_string = ""
    model.ir_version = min(model.ir_version, IR_VERSION)
    for graph in _graphs(model.graph):
        del graph.metadata_props[:]
        del graph.value_info[:]
        graph.doc_string = ""
        for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
            del part.metadata_props[:]
            part.doc_string = ""
    for function in model.functions:
        del function.metadata_props[:], function.value_info[:]
        function.doc_string = ""
        for node in function.node:
            del node.metadata_props[:]
            node.doc_string = ""


def _graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    found = [graph]
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    found += _graphs(inner)
    return found


def name_dimensions(model: onnx.ModelProto, inputs: Sequence[str]) -> None:
    """Free dimensions get names that say something: N for the rows, ids_1 for the second of the input ``ids``."""
    names: dict[str, str] = {}
    by_name = {port.name: port for port in model.graph.input}
    for name in inputs:
        if name not in by_name:
            continue
        for axis, dim in enumerate(by_name[name].type.tensor_type.shape.dim):
            if dim.dim_param and dim.dim_param not in names:
                names[dim.dim_param] = "N" if axis == 0 else f"{name}_{axis}"
    for port in (*model.graph.input, *model.graph.output):
        for axis, dim in enumerate(port.type.tensor_type.shape.dim):
            if axis == 0 and dim.WhichOneof("value") is None:
                dim.dim_param = "N"
            elif dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda m: names.get(m[0], m[0]), dim.dim_param)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Writes the model; weights of 1 GiB and more into ``NAME.onnx.data`` beside it."""
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) < LARGE:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return
    options: dict[str, Any] = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 1024}
    onnx.save_model(model, str(path), **options)


def rename_values(model: onnx.ModelProto, names: Mapping[str, str]) -> dict[str, str]:
    """Renames inputs and outputs, by old name; one whose new name is taken already gets another.

    Returns
    -------
    dict
        Old name -> the name that it has now.
    """
    graphs = _graphs(model.graph)
    taken = {name for graph in graphs for node in graph.node for name in (*node.input, *node.output)}
    taken |= {value.name for graph in graphs for value in (*graph.initializer, *graph.input, *graph.output)}
    chosen: dict[str, str] = {}
    for old, wanted in names.items():
        new = wanted
        while new in taken:
            new += "_"
        taken.add(new)
        chosen[old] = new
    for graph in graphs:
        for value in (*graph.input, *graph.output):
            value.name = chosen.get(value.name, value.name)
        for node in graph.node:
            for values in (node.input, node.output):
                values[:] = [chosen.get(name, name) for name in values]
    return chosen


def rename_output(model: onnx.ModelProto, old: str, new: str, *, is_flat: bool) -> None:
    """Gives an output another name; a column, ``[N, 1]``, becomes one number a row if it is to be flat."""
    graph = model.graph
    port = next(port for port in graph.output if port.name == old)
    inner = f"{new}_column" if is_flat else new
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = inner
    shape = port.type.tensor_type.shape
    if is_flat:
        graph.initializer.append(onnx.helper.make_tensor(f"{new}_shape", onnx.TensorProto.INT64, [1], [-1]))
        graph.node.append(onnx.helper.make_node("Reshape", [inner, f"{new}_shape"], [new], name=f"{new}_flat"))
        del shape.dim[1:]
    port.name = new


def keep_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Drops the other outputs; what was computed for them alone, ONNX Runtime leaves out itself."""
    kept = {port.name: port for port in model.graph.output if port.name in names}
    ports = [onnx.ValueInfoProto.FromString(kept[name].SerializeToString()) for name in names]
    del model.graph.output[:]
    model.graph.output.extend(ports)
