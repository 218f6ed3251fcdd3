"""``Model``: a model as a stage of Spark ML, columns in and columns out.

How it works: a stage is a ``ModelUDF`` with names. What it predicts with, :class:`Given`, is shared by all copies that
Pipelines and CrossValidators make, so that a model is read once. The function's column goes into the result through
``explode(array(f))``: one row stays one row, but Spark's optimizer does not put the function in the place of the
column's name then, as it would in a filter on it, and the model runs once for a row. Filters on other columns still
move below.
"""

# ruff: noqa: N802, N803 - names are Spark ML's
from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark import ml
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.ml.util import MLReadable, MLWritable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, NumericType, StructField, StructType
from pyspark.sql.types import _parse_datatype_string as parse_type

import vonk
from vonk.spark import _compat, _session, _types
from vonk.spark._advice import advise
from vonk.spark._metrics import Meter, make_meter
from vonk.spark._params import StageParams
from vonk.spark._shipment import Shipment, ship
from vonk.spark._spec import Binding, Options, make_binding, make_options
from vonk.spark._udf import ModelUDF

if TYPE_CHECKING:
    from vonk.spark._persist import StageReader, StageWriter
    from vonk.spark._summary import ModelSummary


class Given:
    """What a stage and all its copies predict with: brought to one file when it is first needed, and kept so.

    Attributes
    ----------
    model, loader, pack
        As the user gave them.
    """

    def __init__(
        self, model: Any, loader: Callable[..., Any] | None = None, pack: Mapping[str, Any] | None = None
    ) -> None:
        self.model = model
        self.loader = loader
        self.pack = pack
        self._shipments: dict[Options, Shipment] = {}
        self._lock = threading.Lock()

    def ship(self, spark: SparkSession, options: Options) -> Shipment:
        """The model, as it was when this was called first with these options.

        Raises
        ------
        vonk.Error
            There is none, or it cannot be opened.
        """
        if self.model is None and self.loader is None:
            raise vonk.InvalidError("model: the stage has none: make it with one, Model('model.onnx', inputCol=...)")
        with self._lock:  # CrossValidator fits in threads
            if options not in self._shipments:
                self._shipments[options] = ship(spark, self.model, options, loader=self.loader, pack=self.pack)
            return self._shipments[options]

    def keep(self, options: Options, shipment: Shipment) -> None:
        """What :meth:`ship` is to give for these options."""
        self._shipments[options] = shipment

    def __reduce__(self) -> tuple[Any, ...]:
        return Given, (self.model, self.loader, self.pack)


class Model(ml.Model, StageParams, MLReadable["Model"], MLWritable):
    """A trained model as a stage of Spark ML: it adds columns of predictions.

    Nothing is read when a stage is made. The first ``transform``, ``transformSchema``, ``summary`` or ``save`` brings
    the model to one file; from then on the stage and its copies predict with that, whatever becomes of the original.
    Parameters other than the model are Spark ML's ``Params``, with a getter and a setter each.

    Parameters
    ----------
    model
        What :func:`vonk.spark.model_udf` takes: a path, a URI, a live model; with a loader its argument.
    inputCol, inputCols
        The column, or the columns in the order of a call of :func:`vonk.spark.model_udf`. ML Vectors become arrays.
        A field of a struct is ``"s.f"``.
    outputCol
        The column to add: one output as it is, several as a struct; ``<uid>__output`` if nothing is said.
    outputCols
        A column for each of the model's outputs instead, in order; with ``onError='report'`` one more for the error.
    batchSize
        Rows in one run of the model; 0 chooses.
    nulls, onError, outputAs, squeeze, outputs, inputs, returnType
        ``nulls``, ``on_error``, ``as_``, ``squeeze``, ``outputs``, ``inputs`` and ``return_type`` of
        :func:`vonk.spark.model_udf`; the type as DDL. ``outputAs="vector"`` besides makes ML Vectors of arrays of
        numbers, as Spark ML's own stages want them.
    model_loader
        Called on the workers only, with `model`: gives a path there, or a live model.
    pack
        Arguments of :func:`vonk.pack`, for what has to be packed.
    options
        Of :func:`vonk.open`: device, plugin, signature, threads_per_run, what the plug-in knows.

    Examples
    --------
    >>> from pyspark.ml import Pipeline  # doctest: +SKIP
    >>> digits = Model("mnist.onnx", inputCol="image", outputCol="features", outputAs="vector")  # doctest: +SKIP
    >>> Pipeline(stages=[digits, classifier]).fit(images)  # doctest: +SKIP
    """

    def __init__(  # noqa: PLR0913 - all but one by name
        self,
        model: Any = None,
        *,
        inputCol: str | None = None,
        inputCols: Sequence[str] | None = None,
        outputCol: str | None = None,
        outputCols: Sequence[str] | None = None,
        batchSize: int | None = None,
        nulls: str | None = None,
        onError: str | None = None,
        outputAs: str | None = None,
        squeeze: bool | None = None,
        outputs: Mapping[str, str] | Iterable[str] | None = None,
        inputs: Mapping[str, str | Sequence[str]] | None = None,
        returnType: str | None = None,
        model_loader: Callable[..., Any] | None = None,
        pack: Mapping[str, Any] | None = None,
        options: Mapping[str, str | int | float | bool] | None = None,
    ) -> None:
        super().__init__()
        self._given = Given(model, model_loader, pack)
        self.setParams(
            inputCol=inputCol, inputCols=inputCols, outputCol=outputCol, outputCols=outputCols, batchSize=batchSize,
            nulls=nulls, onError=onError, outputAs=outputAs, squeeze=squeeze, outputs=outputs, inputs=inputs,
            returnType=returnType, options=options,
        )  # fmt: skip

    # --- predicting ---

    def transformSchema(self, schema: StructType) -> StructType:
        """The schema of the result for rows of a schema; checks all that can be checked before there are rows.

        Raises
        ------
        vonk.InvalidError
            A column is missing, of a type that the model does not take, or already there; parameters disagree.
        """
        return self._call(_session.active(), schema).schema

    def summary(self) -> ModelSummary:
        """The model's inputs, outputs and types, as :func:`vonk.spark.model_summary` gives them."""
        from vonk.spark._summary import of_shipment  # noqa: PLC0415 - it needs this module's neighbours only then

        session = _session.active()
        return of_shipment(session, self._ship(session), self._binding())

    def _transform(self, dataset: DataFrame) -> DataFrame:
        advise(dataset.sparkSession, dataset, stacklevel=4)
        return self._call(dataset.sparkSession, dataset.schema).apply(dataset)

    def _ship(self, spark: SparkSession) -> Shipment:
        return self._given.ship(spark, make_options(self.getOptions()))

    @property
    def meter(self) -> Meter | None:
        """Where the stage's counts go: ``vonk.spark.stats(stage)`` looks it up."""
        session = _session.active()
        return make_meter(session, self._ship(session).source, self._named_binding())

    def _named_binding(self) -> Binding:
        return replace(self._binding(), columns=tuple(self._input_names()))

    def _binding(self) -> Binding:
        return make_binding(
            self.getInputs(), self.getOutputs(), nulls=self.getNulls(), on_error=self.getOnError(),
            as_=None if self._gives_vectors() else self.getOutputAs(), squeeze=self.getSqueeze(),
            batch=max(0, self.getBatchSize()) or None,
        )  # fmt: skip

    def _gives_vectors(self) -> bool:
        return self.getOutputAs() == "vector"

    def _call(self, spark: SparkSession, schema: StructType) -> _Call:
        names = self._input_names()
        columns = [_Input.find(schema, name) for name in names]
        shipment, binding = self._ship(spark), self._named_binding()
        declared = parse_type(self.getReturnType() or "") if self.getReturnType() else None
        if declared is not None and self._given.loader is not None:
            function = ModelUDF(spark, shipment, binding, declared, None)
            columns = [column.as_array(FloatType()) for column in columns]
            return self._outputs(spark, schema, function, columns)
        signature = shipment.ask(spark, partial(_types.describe, binding=binding))
        is_double = any(tensor.dtype == "float64" for tensor in signature.inputs)
        columns = [column.as_array(DoubleType() if is_double else FloatType()) for column in columns]
        given = StructType([StructField(column.name, column.kind) for column in columns])
        found = _types.check(shipment, given, binding)
        if declared is not None:
            _types.agree(found, declared, shipment.source.title)
        function = ModelUDF(spark, shipment, binding, declared or found, signature.inputs)
        return self._outputs(spark, schema, function, columns)

    def _input_names(self) -> list[str]:
        if self.isSet(self.inputCol) and self.isSet(self.inputCols):
            raise vonk.InvalidError("inputCol, inputCols: both are set: set one of them, clear() the other")
        if self.isSet(self.inputCols):
            return list(self.getInputCols())
        if self.isSet(self.inputCol):
            return [self.getInputCol()]
        mapped = self.getInputs() or {}
        names = [name for given in mapped.values() for name in ([given] if isinstance(given, str) else given)]
        if not names:
            raise vonk.InvalidError(
                "inputCol: is not set: name the model's columns, with setInputCol, setInputCols or setInputs"
            )
        return list(dict.fromkeys(names))

    def _outputs(self, spark: SparkSession, schema: StructType, function: ModelUDF, columns: Sequence[_Input]) -> _Call:
        """What the result's columns are called, and where in the function's value they are."""
        value = function.returnType
        if not self.isSet(self.outputCols):
            outputs = [_Output(self.getOutputCol(), (), value)]
        elif self.isSet(self.outputCol):
            raise vonk.InvalidError("outputCol, outputCols: both are set: set one of them, clear() the other")
        else:
            parts = _parts(value, self.getOnError() == "report")
            names = self.getOutputCols()
            if len(names) != len(parts):
                listed = ", ".join(".".join(path) or "one" for path, _ in parts)
                raise vonk.InvalidError(
                    f"outputCols: names {len(names)} columns ({', '.join(names)}), the model gives {len(parts)}"
                    f" ({listed}): name one for each, or choose some with outputs="
                )
            outputs = [_Output(name, path, kind) for name, (path, kind) in zip(names, parts, strict=True)]
        if self._gives_vectors():
            outputs = _as_vectors(outputs)
        _check_new([output.name for output in outputs], schema, _session.setting(spark, "spark.sql.caseSensitive"))
        return _Call(schema, function, tuple(columns), tuple(outputs), f"{self.uid}__all")

    # --- saving ---

    def write(self) -> StageWriter:
        """What saves the stage with its model: ``write().overwrite().save(path)``."""
        from vonk.spark._persist import StageWriter  # noqa: PLC0415 - the two know of each other

        return StageWriter(self)

    @classmethod
    def read(cls) -> StageReader:
        """What loads a saved stage: ``read().load(path)``."""
        from vonk.spark._persist import StageReader  # noqa: PLC0415 - the two know of each other

        return StageReader(cls)


# A saved stage names its class: by this name it can be loaded, whichever file it is in.
Model.__module__ = "vonk.spark"


@dataclass(frozen=True)
class _Input:
    """A column that the function reads."""

    name: str
    column: Column
    kind: DataType

    @classmethod
    def find(cls, schema: StructType, name: str) -> _Input:
        found = _at(schema, name)
        if found is None:
            raise vonk.InvalidError(
                f"column '{name}': the DataFrame has none of that name, it has {_some(schema.names)}:"
                " set inputCol or inputCols to columns that are there"
            )
        path, kind = found
        return cls(name, F.col(path), kind)

    def as_array(self, element: DataType) -> _Input:
        """An ML Vector as an array: Spark does that without Python, and sends half the bytes of doubles as floats."""
        if not isinstance(self.kind, VectorUDT):
            return self
        dtype = "float32" if isinstance(element, FloatType) else "float64"
        return replace(self, column=vector_to_array(self.column, dtype), kind=ArrayType(element, containsNull=False))


@dataclass(frozen=True)
class _Output:
    """A column to add: a field of the function's value, or with an empty path all of it."""

    name: str
    path: tuple[str, ...]
    kind: DataType
    is_vector: bool = False


@dataclass(frozen=True)
class _Call:
    """A stage that fits a DataFrame of a schema."""

    given: StructType
    function: ModelUDF
    inputs: tuple[_Input, ...]
    outputs: tuple[_Output, ...]
    temporary: str

    @property
    def schema(self) -> StructType:
        kinds = [VectorUDT() if one.is_vector else one.kind for one in self.outputs]
        return self._schema(kinds)

    def _schema(self, kinds: Sequence[DataType]) -> StructType:
        new = [StructField(one.name, kind) for one, kind in zip(self.outputs, kinds, strict=True)]
        return StructType([*self.given.fields, *new])

    def apply(self, dataset: DataFrame) -> DataFrame:
        scored = self._score(dataset, [one.column for one in self.inputs])
        vectors = {one.name: _to_vector(one.name) for one in self.outputs if one.is_vector}
        return scored.withColumns(vectors) if vectors else scored

    def _score(self, dataset: DataFrame, columns: Sequence[Column]) -> DataFrame:
        if not _compat.has_arrow_udf():
            schema = self._schema([one.kind for one in self.outputs])
            return self.function._map(dataset, columns, schema, [one.path for one in self.outputs])
        value = F.explode(F.array(self.function(*columns)))
        if not self.outputs[0].path:
            return dataset.select("*", value.alias(self.outputs[0].name))
        parts = []
        for output in self.outputs:
            column = F.col(_quoted(self.temporary))
            for field in output.path:
                column = column.getField(field)
            parts.append(column.alias(output.name))
        return dataset.select("*", value.alias(self.temporary)).select("*", *parts).drop(self.temporary)


def _to_vector(name: str) -> Column:
    """An array as an ML Vector: NULL stays NULL."""
    column = F.col(_quoted(name))
    return F.when(column.isNotNull(), array_to_vector(column.cast("array<double>")))


def _as_vectors(outputs: Sequence[_Output]) -> list[_Output]:
    """Those that are arrays of numbers as ML Vectors, which Spark ML's own stages want."""
    found = [replace(one, is_vector=_is_numbers(one.kind)) for one in outputs]
    if not any(one.is_vector for one in found):
        kinds = ", ".join(one.kind.simpleString() for one in outputs)
        raise vonk.InvalidError(
            f"outputAs: 'vector' wants an array of numbers, the model gives {kinds}: choose an output with outputs=, or"
            " name a column for each with outputCols"
        )
    return found


def _is_numbers(kind: DataType) -> bool:
    return isinstance(kind, ArrayType) and isinstance(kind.elementType, NumericType)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _at(kind: DataType, path: str) -> tuple[str, DataType] | None:
    """A column of a schema, or a field in it, as Spark finds them: its quoted name, its type."""
    if not isinstance(kind, StructType):
        return None
    folded = path.lower()
    for name in (*(name for name in kind.names if name == path), *(n for n in kind.names if n.lower() == folded)):
        return _quoted(name), kind[name].dataType
    first, dot, rest = path.partition(".")
    outer = _at(kind, first) if dot else None
    inner = None if outer is None else _at(outer[1], rest)
    return None if outer is None or inner is None else (f"{outer[0]}.{inner[0]}", inner[1])


def _parts(value: DataType, has_report: bool) -> list[tuple[tuple[str, ...], DataType]]:
    """The fields of a function's value that can be columns of their own."""
    if has_report and isinstance(value, StructType):
        inner = [(("value", *path), kind) for path, kind in _parts(value["value"].dataType, False)]
        return [*inner, (("error",), value["error"].dataType)]
    if isinstance(value, StructType):
        return [((field.name,), field.dataType) for field in value]
    return [((), value)]


def _check_new(names: Sequence[str], schema: StructType, case_sensitive: str | None) -> None:
    def fold(name: str) -> str:
        return name if case_sensitive == "true" else name.lower()

    taken = {fold(name) for name in schema.names}
    for name in names:
        if fold(name) in taken:
            raise vonk.InvalidError(
                f"column '{name}': is there already: set outputCol or outputCols to new names, or drop it first"
            )
        taken.add(fold(name))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown}, ... {names[-1]}"
