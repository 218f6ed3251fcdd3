"""Stages of Spark ML: what all of them have, and what a model of any framework becomes."""

# ruff: noqa: N802, N815 - names are Spark ML's
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark import ml
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasInputCol, HasInputCols, HasOutputCol, HasOutputCols

if TYPE_CHECKING:
    from typing import Self


def _to_shape(value: Any) -> list[Any]:
    """A list of numbers, or one such list for each input; None is -1, a free dimension."""
    if isinstance(value, list | tuple) and any(isinstance(one, list | tuple) for one in value):
        return [_to_shape(one) for one in value]
    return TypeConverters.toListInt([-1 if dim is None else dim for dim in value])


class CommonParams(Params):
    """Parameters of all stages."""

    inputShape: Param[list[Any]] = Param(
        Params._dummy(),
        "inputShape",
        "shape of the model's input, for a model that does not say it; of several inputs, a list of shapes.",
        _to_shape,
    )
    batchSize: Param[int] = Param(
        Params._dummy(), "batchSize", "rows in one run of the model; below 1 chooses.", TypeConverters.toInt
    )
    inputColumns: Param[list[str]] = Param(
        Params._dummy(),
        "inputColumns",
        "names of the model's inputs, in the order of the input columns.",
        TypeConverters.toListString,
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(batchSize=-1)

    @property
    def input_shape(self) -> Param[list[Any]]:
        """The same as :attr:`inputShape`."""
        return self.inputShape

    @property
    def batch_size(self) -> Param[int]:
        """The same as :attr:`batchSize`."""
        return self.batchSize

    def setInputShape(self, value: Sequence[Any]) -> Self:
        """Sets :attr:`inputShape`."""
        return self._set(inputShape=value)

    def getInputShape(self) -> list[Any] | None:
        """The value of inputShape; None if it is not set."""
        return self.getOrDefault(self.inputShape) if self.isDefined(self.inputShape) else None

    def setBatchSize(self, value: int) -> Self:
        """Sets :attr:`batchSize`."""
        return self._set(batchSize=value)

    def getBatchSize(self) -> int:
        """The value of batchSize, or its default."""
        return self.getOrDefault(self.batchSize)

    def setInputColumns(self, value: Sequence[str]) -> Self:
        """Sets :attr:`inputColumns`."""
        return self._set(inputColumns=value)

    def getInputColumns(self) -> list[str] | None:
        """The value of inputColumns; None if it is not set."""
        return self.getOrDefault(self.inputColumns) if self.isDefined(self.inputColumns) else None


class ExternalModel(ml.Model, CommonParams, HasInputCol, HasInputCols, HasOutputCol, HasOutputCols):
    """Base of the stages; one of your own has a ``_transform`` besides."""

    def setInputCol(self, value: str) -> Self:
        """Sets :attr:`inputCol`."""
        return self._set(inputCol=value)

    def setInputCols(self, value: Sequence[str]) -> Self:
        """Sets :attr:`inputCols`."""
        return self._set(inputCols=value)

    def setOutputCol(self, value: str) -> Self:
        """Sets :attr:`outputCol`."""
        return self._set(outputCol=value)

    def setOutputCols(self, value: Sequence[str]) -> Self:
        """Sets :attr:`outputCols`."""
        return self._set(outputCols=value)
