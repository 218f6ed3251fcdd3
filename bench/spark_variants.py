"""What bench/spark.py compares: ways to have a model's predictions in a Spark column, for five kinds of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import spark_data as data
import spark_functions as peers
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as Spark's own documentation
from pyspark.sql.functions import arrow_udf, pandas_udf
from pyspark.sql.pandas.functions import ArrowUDFType, PandasUDFType
from pyspark.sql.types import ArrayType, FloatType
from vonk.spark import model_udf

COLUMNAR = "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled"
ROWWISE: Mapping[str, str] = {COLUMNAR: "false"}
#: Spark reads tables of more than 100 columns row by row. With these it reads them as columns, and leaves out the
#: generated method for all columns that is too large for the JVM to compile.
WIDE: Mapping[str, str] = {"spark.sql.codegen.maxFields": "2000", "spark.sql.codegen.hugeMethodLimit": "8000"}
SETTINGS = (*ROWWISE, *WIDE)
#: Rows that predict_batch_udf gives its function; 1,000 is in Spark's own examples.
BATCH = 1000

Plan = Callable[[DataFrame], DataFrame]


@dataclass(frozen=True)
class Variant:
    """One line of a table: `plan` makes the DataFrame with the columns id and y that is computed."""

    name: str
    plan: Plan
    settings: Mapping[str, str] = field(default_factory=dict)
    predicts: bool = True


@dataclass(frozen=True)
class Group:
    """One table: rows, the model, and the variants, vonk's last."""

    name: str
    title: str
    rows: data.Rows
    model: Path
    variants: tuple[Variant, ...]
    needs_keras: bool = False


def with_y(function: Any, *columns: Any) -> Plan:
    return lambda rows: rows.select("id", function(*columns).alias("y"))


def scan(rows: DataFrame) -> DataFrame:
    return rows.select("*")


def arrow(function: Any, kind: str) -> Any:
    return arrow_udf(function, kind, ArrowUDFType.SCALAR)


def batch(make: Any, kind: Any, shape: list[int] | None = None) -> Any:
    shapes = None if shape is None else [shape]
    return predict_batch_udf(make, return_type=kind, batch_size=BATCH, input_tensor_shapes=shapes)


LISTS = "array<float>"


def nothing_variants() -> tuple[Variant, ...]:
    pandas = pandas_udf(peers.pandas_nothing, LISTS, PandasUDFType.SCALAR)
    return (
        Variant("scan only", scan, predicts=False),
        Variant("no model, arrow_udf", with_y(arrow(peers.arrow_nothing, LISTS), "x"), predicts=False),
        Variant("no model, arrow_udf, columnarInput=false", with_y(arrow(peers.arrow_nothing, LISTS), "x"), ROWWISE,
                predicts=False),
        Variant("no model, mapInArrow", lambda rows: rows.mapInArrow(peers.map_nothing, f"id long, y {LISTS}"),
                predicts=False),
        Variant("no model, pandas_udf", with_y(pandas, "x"), predicts=False),
    )  # fmt: skip


def peer_variants(model: Path) -> tuple[Variant, ...]:
    path, keras = str(model), str(data.keras_model())
    iterator = pandas_udf(peers.pandas_ort(path), LISTS, PandasUDFType.SCALAR_ITER)
    kind, shape = ArrayType(FloatType()), [data.WIDTH]
    return (
        Variant("predict_batch_udf + Keras predict", with_y(batch(peers.batch_keras_predict(keras), kind, shape), "x")),
        Variant("predict_batch_udf + Keras model(x)", with_y(batch(peers.batch_keras_call(keras), kind, shape), "x")),
        Variant("predict_batch_udf + ONNX Runtime", with_y(batch(peers.batch_ort(path), kind, shape), "x")),
        Variant("pandas_udf iterator + ONNX Runtime", with_y(iterator, "x")),
        *arrow_peers(path),
    )


def arrow_peers(path: str) -> tuple[Variant, ...]:
    return (
        Variant("mapInArrow + ONNX Runtime", lambda rows: rows.mapInArrow(peers.map_ort(path), f"id long, y {LISTS}")),
        Variant("arrow_udf + ONNX Runtime", with_y(arrow(peers.arrow_ort(path), LISTS), "x")),
        Variant("arrow_udf + ONNX Runtime, columnarInput=false", with_y(arrow(peers.arrow_ort(path), LISTS), "x"),
                ROWWISE),
    )  # fmt: skip


def vonk_variants(model: Path, *columns: str, **options: Any) -> tuple[Variant, ...]:
    predict = model_udf(model, **options)
    return (
        Variant("vonk model_udf, columnarInput=true", with_y(predict, *columns), {COLUMNAR: "true"}),
        Variant("vonk model_udf", with_y(predict, *columns), ROWWISE),
    )


def arrays(rows: int) -> Group:
    model = data.DIGITS
    variants = (*nothing_variants(), *peer_variants(model), *vonk_variants(model, "x"))
    source = data.Rows("arrays", rows, data.make_arrays)
    return Group("arrays", "array<float>[784], MLP 784-512-10", source, model, variants, needs_keras=True)


def many_arrays(rows: int) -> Group:
    model = data.DIGITS
    nothing = nothing_variants()
    ort = Variant(
        "predict_batch_udf + ONNX Runtime",
        with_y(batch(peers.batch_ort(str(model)), ArrayType(FloatType()), [data.WIDTH]), "x"),
    )
    variants = (nothing[0], *nothing[2:4], ort, *arrow_peers(str(model)), *vonk_variants(model, "x"))
    source = data.Rows("many", 5 * rows, data.make_arrays, copies=5)
    return Group("many", "the same, five times the rows", source, model, variants)


def binary(rows: int) -> Group:
    model = data.DIGITS
    variants = (
        Variant("scan only", scan, predicts=False),
        Variant("no model, arrow_udf, columnarInput=false", with_y(arrow(peers.arrow_nothing, LISTS), "x"), ROWWISE,
                predicts=False),
        *arrow_peers(str(model)),
        *vonk_variants(model, "x"),
    )  # fmt: skip
    source = data.Rows("binary", rows, data.make_binary)
    return Group("binary", "the same digits as binary, raw little-endian float32", source, model, variants)


def columns(rows: int) -> Group:
    model, names = data.DIGITS, data.PIXELS
    ort = batch(peers.batch_ort(str(model)), ArrayType(FloatType()), [data.WIDTH])
    variants = (
        Variant("scan only", scan, predicts=False),
        Variant("scan only, maxFields=2000", scan, WIDE, predicts=False),
        Variant("predict_batch_udf(struct) + ONNX Runtime", with_y(ort, F.struct(*names))),
        Variant("predict_batch_udf(array) + ONNX Runtime", with_y(ort, F.array(*names))),
        Variant("arrow_udf(array) + ONNX Runtime, columnarInput=false",
                with_y(arrow(peers.arrow_ort(str(model)), LISTS), F.array(*names)), ROWWISE),
        Variant("vonk model_udf, maxFields=2000", with_y(model_udf(model), *names), {**ROWWISE, **WIDE}),
        *vonk_variants(model, *names),
    )  # fmt: skip
    few = max(1, rows // 6)
    source = data.Rows("columns", few, data.make_columns, group=(few + 1) // 2)
    return Group("columns", "784 float columns, the same network", source, model, variants)


def scalars(rows: int) -> Group:
    model, names = data.scalar_model(), data.SCALARS
    ort = batch(peers.batch_ort(str(model)), FloatType(), [len(names)])
    variants = (
        Variant("scan only", scan, predicts=False),
        Variant("predict_batch_udf(struct) + ONNX Runtime", with_y(ort, F.struct(*names))),
        Variant("arrow_udf + ONNX Runtime", with_y(arrow(peers.arrow_ort(str(model)), "float"), *names)),
        Variant("arrow_udf + ONNX Runtime, columnarInput=false",
                with_y(arrow(peers.arrow_ort(str(model)), "float"), *names), ROWWISE),
        *vonk_variants(model, *names, squeeze=True),
    )  # fmt: skip
    source = data.Rows("scalars", 5 * rows, data.make_scalars)
    return Group("scalars", "10 float columns, MLP 10-32-1", source, model, variants)


def strings(rows: int) -> Group:
    from pyspark.sql.types import LongType  # noqa: PLC0415

    model = data.string_model()
    variants = (
        Variant("scan only", scan, predicts=False),
        Variant("predict_batch_udf + ONNX Runtime", with_y(batch(peers.batch_ort(str(model)), LongType()), "x")),
        Variant("arrow_udf + ONNX Runtime", with_y(arrow(peers.arrow_ort(str(model)), "bigint"), "x")),
        Variant("arrow_udf + ONNX Runtime, columnarInput=false",
                with_y(arrow(peers.arrow_ort(str(model)), "bigint"), "x"), ROWWISE),
        *vonk_variants(model, "x"),
    )  # fmt: skip
    source = data.Rows("strings", 5 * rows, data.make_strings)
    return Group("strings", "strings of 12 characters, LabelEncoder", source, model, variants)


GROUPS: Mapping[str, Callable[[int], Group]] = {
    "arrays": arrays, "many": many_arrays, "binary": binary, "columns": columns, "scalars": scalars,
    "strings": strings,
}  # fmt: skip


def expected(group: Group) -> np.ndarray[Any, Any]:
    """The model's own answers for all rows of one copy."""
    _, values = group.rows.make(group.rows.rows // group.rows.copies)
    found: np.ndarray[Any, Any] = peers.run(str(group.model), values)
    return found
