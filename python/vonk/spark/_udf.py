"""``model_udf``: a model as a function of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pyspark.sql import Column, SparkSession
from pyspark.sql.functions import arrow_udf
from pyspark.sql.types import DataType

from vonk.spark._metrics import Meter, make_meter
from vonk.spark._shipment import Shipment, ship
from vonk.spark._spec import Binding, make_inputs, make_options, make_outputs
from vonk.spark._types import return_type as derive_return_type
from vonk.spark._worker import Scorer


def model_udf(  # noqa: PLR0913 - all but one by name
    model: Any,
    *,
    inputs: Mapping[str, str | Sequence[str]] | None = None,
    outputs: Mapping[str, str] | Iterable[str] | None = None,
    return_type: DataType | str | None = None,
    nulls: str = "null",
    on_error: str = "raise",
    as_: str | None = None,
    squeeze: bool = False,
    batch_size: int | None = None,
    spark: SparkSession | None = None,
    **options: Any,
) -> ModelUDF:
    """A trained model as a function of columns."""
    session = spark or SparkSession.builder.getOrCreate()
    shipment = ship(session, model, make_options(options))
    binding = Binding(
        inputs=make_inputs(inputs), outputs=make_outputs(outputs), nulls=nulls, on_error=on_error, as_=as_,
        squeeze=squeeze, batch=batch_size,
    )  # fmt: skip
    if return_type is None:
        with shipment.open() as opened:
            return_type = derive_return_type(opened, binding)
    return ModelUDF(shipment, binding, return_type, make_meter(session, shipment.source, binding))


class ModelUDF:
    """A model as a function of columns; :func:`model_udf` makes one."""

    def __init__(
        self, shipment: Shipment, binding: Binding, return_type: DataType | str, meter: Meter | None = None
    ) -> None:
        self._shipment = shipment
        self._binding = binding
        self.returnType = return_type
        self.meter = meter

    def __call__(self, *columns: str | Column) -> Column:
        names = tuple(column if isinstance(column, str) else f"_{i}" for i, column in enumerate(columns))
        return self._function(names)(*columns)

    def _function(self, names: tuple[str, ...]) -> Callable[..., Column]:
        scorer = Scorer(self._shipment.source, Binding(**{**vars(self._binding), "columns": names}), self.meter)

        def predict(*columns):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN202 - Spark would read type hints
            return scorer(*columns)

        return arrow_udf(predict, self.returnType)  # type: ignore[no-any-return]
