"""The parameters of a stage: what Spark ML's own stages have, and what a model's function knows.

Names are Spark ML's, in its way of writing.
"""

# ruff: noqa: N802, N815
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasInputCol, HasInputCols, HasOutputCol, HasOutputCols

import vonk

if TYPE_CHECKING:
    from typing import Self


def _one_of(*choices: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if value not in choices:
            raise vonk.InvalidError(f"{value!r} is no choice: use one of {', '.join(map(repr, choices))}")
        return str(value)

    return convert


def _to_outputs(value: Any) -> dict[str, str] | list[str]:
    if isinstance(value, Mapping):
        return {TypeConverters.toString(name): TypeConverters.toString(column) for name, column in value.items()}
    return [value] if isinstance(value, str) else TypeConverters.toListString(value)


def _to_inputs(value: Any) -> dict[str, str | list[str]]:
    if not isinstance(value, Mapping):
        raise TypeError(f"Could not convert {value!r} to a mapping of input name to column")
    return {
        TypeConverters.toString(name): given if isinstance(given, str) else TypeConverters.toListString(given)
        for name, given in value.items()
    }


def _to_options(value: Any) -> dict[str, str | int | float | bool]:
    if not isinstance(value, Mapping) or not all(isinstance(one, str | int | float) for one in value.values()):
        raise TypeError(f"Could not convert {value!r} to a mapping of option to text or number")
    return {TypeConverters.toString(name): one for name, one in value.items()}


class StageParams(HasInputCol, HasInputCols, HasOutputCol, HasOutputCols):
    """Parameters with a getter and a setter each."""

    batchSize: Param[int] = Param(
        Params._dummy(), "batchSize", "rows in one run of the model; 0 chooses.", TypeConverters.toInt
    )
    nulls: Param[str] = Param(
        Params._dummy(),
        "nulls",
        "what a row with a NULL gives: 'null' gives NULL, 'error' makes it a bad row.",
        _one_of("null", "error"),
    )
    onError: Param[str] = Param(
        Params._dummy(),
        "onError",
        "what a bad row does: 'raise' fails the job, 'null' gives NULL, 'report' adds the reason.",
        _one_of("raise", "null", "report"),
    )
    outputAs: Param[str | None] = Param(
        Params._dummy(),
        "outputAs",
        "what becomes of the classes along the last dimension: 'argmax', 'label', 'top5'; or 'vector'.",
        TypeConverters.toString,
    )
    squeeze: Param[bool] = Param(
        Params._dummy(), "squeeze", "drops dimensions of 1: [rows, 1] is a number.", TypeConverters.toBoolean
    )
    outputs: Param[dict[str, str] | list[str] | None] = Param(
        Params._dummy(), "outputs", "the outputs wanted: names, or name to the field it becomes.", _to_outputs
    )
    inputs: Param[dict[str, str | list[str]] | None] = Param(
        Params._dummy(), "inputs", "input name to column, or to a list of columns to pack.", _to_inputs
    )
    returnType: Param[str | None] = Param(
        Params._dummy(),
        "returnType",
        "type of the predictions as DDL; with a loader it saves a job that asks for the signature.",
        TypeConverters.toString,
    )
    options: Param[dict[str, str | int | float | bool]] = Param(
        Params._dummy(), "options", "of vonk.open: device, plugin, signature, threads_per_run, ...", _to_options
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            batchSize=0, nulls="null", onError="raise", outputAs=None, squeeze=False, outputs=None, inputs=None,
            returnType=None, options={},
        )  # fmt: skip

    def setParams(self, **values: Any) -> Self:
        """Sets parameters by name: ``setParams(inputCol="x", batchSize=64)``; None leaves one as it is.

        Raises
        ------
        vonk.InvalidError
            There is no such parameter, or it does not take that value.
        """
        for name in values:
            if not self.hasParam(name):
                known = ", ".join(param.name for param in self.params)
                raise vonk.InvalidError(f"{name}: is no parameter of {type(self).__name__}: it has {known}")
        return self._set(**{name: value for name, value in values.items() if value is not None})

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

    def setBatchSize(self, value: int) -> Self:
        """Sets :attr:`batchSize`."""
        return self._set(batchSize=value)

    def getBatchSize(self) -> int:
        """Gets the value of batchSize or its default value."""
        return self.getOrDefault(self.batchSize)

    def setNulls(self, value: str) -> Self:
        """Sets :attr:`nulls`."""
        return self._set(nulls=value)

    def getNulls(self) -> str:
        """Gets the value of nulls or its default value."""
        return self.getOrDefault(self.nulls)

    def setOnError(self, value: str) -> Self:
        """Sets :attr:`onError`."""
        return self._set(onError=value)

    def getOnError(self) -> str:
        """Gets the value of onError or its default value."""
        return self.getOrDefault(self.onError)

    def setOutputAs(self, value: str) -> Self:
        """Sets :attr:`outputAs`."""
        return self._set(outputAs=value)

    def getOutputAs(self) -> str | None:
        """Gets the value of outputAs or its default value."""
        return self.getOrDefault(self.outputAs)

    def setSqueeze(self, value: bool) -> Self:
        """Sets :attr:`squeeze`."""
        return self._set(squeeze=value)

    def getSqueeze(self) -> bool:
        """Gets the value of squeeze or its default value."""
        return self.getOrDefault(self.squeeze)

    def setOutputs(self, value: Mapping[str, str] | Iterable[str]) -> Self:
        """Sets :attr:`outputs`."""
        return self._set(outputs=value)

    def getOutputs(self) -> dict[str, str] | list[str] | None:
        """Gets the value of outputs or its default value."""
        return self.getOrDefault(self.outputs)

    def setInputs(self, value: Mapping[str, str | Sequence[str]]) -> Self:
        """Sets :attr:`inputs`."""
        return self._set(inputs=value)

    def getInputs(self) -> dict[str, str | list[str]] | None:
        """Gets the value of inputs or its default value."""
        return self.getOrDefault(self.inputs)

    def setReturnType(self, value: str) -> Self:
        """Sets :attr:`returnType`."""
        return self._set(returnType=value)

    def getReturnType(self) -> str | None:
        """Gets the value of returnType or its default value."""
        return self.getOrDefault(self.returnType)

    def setOptions(self, value: Mapping[str, str | int | float | bool]) -> Self:
        """Sets :attr:`options`."""
        return self._set(options=value)

    def getOptions(self) -> dict[str, str | int | float | bool]:
        """Gets the value of options or its default value."""
        return self.getOrDefault(self.options)
