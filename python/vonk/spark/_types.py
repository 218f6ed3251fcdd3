"""Types both ways: what a model predicts, as a type of Spark.

How it works: the C library binds the model to columns of the types that its signature asks for, without rows, and tells
what the predictions would be; nothing about dtypes is decided twice.
"""

from __future__ import annotations

from typing import Any

import pyarrow
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import DataType

import vonk
from vonk.spark._spec import Binding
from vonk.spark._worker import _one_column

_ARROW = {
    "bool": pyarrow.bool_(),
    "int8": pyarrow.int8(),
    "int16": pyarrow.int16(),
    "int32": pyarrow.int32(),
    "int64": pyarrow.int64(),
    "uint8": pyarrow.uint8(),
    "uint16": pyarrow.uint16(),
    "uint32": pyarrow.uint32(),
    "uint64": pyarrow.uint64(),
    "float16": pyarrow.float32(),
    "bfloat16": pyarrow.float32(),
    "float32": pyarrow.float32(),
    "float64": pyarrow.float64(),
    "string": pyarrow.string(),
}


def ideal_columns(model: vonk.Model) -> pyarrow.Schema:
    """Columns that the model takes as they are, one per input, named as the inputs."""
    fields = []
    for tensor in model.inputs:
        kind: Any = _ARROW[tensor.dtype]
        for _ in (tensor.shape or ())[1:]:
            kind = pyarrow.list_(kind)
        fields.append(pyarrow.field(tensor.name, kind))
    return pyarrow.schema(fields)


def return_type(model: vonk.Model, binding: Binding) -> DataType:
    """What a function over the model gives for a row."""
    rows = pyarrow.RecordBatch.from_pylist([], schema=ideal_columns(model))
    options = binding.options() | {"inputs": None}
    return from_arrow_type(_one_column(model.predict(rows, **options), binding).type)
