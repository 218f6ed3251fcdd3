"""``model_udf``: a model as a function of columns."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.types import DataType, StructField, StructType, _parse_datatype_string

import vonk
from vonk.spark import _calls, _compat, _session, _types
from vonk.spark._advice import advise
from vonk.spark._metrics import Meter, make_meter
from vonk.spark._shipment import Shipment, ship
from vonk.spark._spec import Binding, make_binding, make_options
from vonk.spark._text_udf import TextUDF
from vonk.spark._worker import make_function


def model_udf(  # noqa: PLR0913 - all but the first few by name
    model: Any,
    inputs: Mapping[str, str | Sequence[str]] | Sequence[str] | None = None,
    outputs: Mapping[str, str] | Iterable[str] | None = None,
    return_type: DataType | str | None = None,
    model_loader: Callable[..., Any] | None = None,
    batch_size: int | None = None,
    *,
    nulls: str = "null",
    on_error: str = "raise",
    as_: str | None = None,
    squeeze: bool = False,
    pack: Mapping[str, Any] | None = None,
    spark: SparkSession | None = None,
    **options: Any,
) -> ModelUDF:
    """A trained model as a function of columns.

    Parameters
    ----------
    model
        Path of a model file, folder or bundle; a URI that Spark can read; or a live model of Keras, PyTorch or
        scikit-learn, which is packed here.
    inputs
        How columns meet the model's inputs. None: by name, by position, or N numbers for one tensor ``[rows, N]``. A
        list names the arguments of a call, in order. A mapping gives each input its column, or a list of columns to
        pack; ``"s.f"`` is field f of struct s.
    outputs
        The outputs wanted: names, or name to the field that it becomes. None is all of them.
    return_type
        The type of the result, a DataType or DDL. It comes from the model and need not be given; if it is, it must be
        the model's, or wider. With a loader it saves the job that asks for the model's signature.
    model_loader
        Called on the workers only, with `model`: gives a path there, or a live model.
    batch_size
        Rows in one run of the model. None chooses; it is not the size of Spark's batches.
    nulls
        ``"null"``: a row with a NULL gives NULL; ``"error"``: it is a bad row.
    on_error
        What a bad row does: ``"raise"`` fails the job; ``"null"`` gives NULL; ``"report"`` makes the result a
        struct<value, error>, whose error says why there is no value.
    as_
        ``"argmax"``: the place of the largest value along the last dimension; ``"label"``: its label, of a bundle;
        ``"top5"``, or another number: an array of struct<index, label, score>, most likely first.
    squeeze
        Drops dimensions of 1: ``[rows, 1]`` is a number, not an array of one.
    pack
        Arguments of :func:`vonk.pack`, for a live model or a file that has to be packed first:
        ``{"inputs": ["x:f32[-1,4]"]}``, ``{"labels": [...]}``.
    spark
        The session; None is the one of this process.
    **options
        Of :func:`vonk.open`: device, plugin, signature, threads_per_run, what the plug-in knows.

    Returns
    -------
    ModelUDF
        To be called with columns.

    Raises
    ------
    vonk.InvalidError
        An option that nobody knows, or a return type that the model does not have.
    vonk.FileError, vonk.ModelError, vonk.UnsupportedError
        The model cannot be opened.

    Examples
    --------
    >>> from vonk.spark import model_udf  # doctest: +SKIP
    >>> iris = model_udf("examples/iris/iris.onnx", outputs=["species"])  # doctest: +SKIP
    >>> flowers.select(iris("a", "b", "c", "d"))  # doctest: +SKIP
    """
    session = spark or _session.active()
    shipment = ship(session, model, make_options(options), loader=model_loader, pack=pack)
    binding = make_binding(inputs, outputs, nulls=nulls, on_error=on_error, as_=as_, squeeze=squeeze, batch=batch_size)
    declared = _parse_datatype_string(return_type) if isinstance(return_type, str) else return_type
    advise(session)
    return make_udf(session, shipment, binding, declared)


def make_udf(spark: SparkSession, shipment: Shipment, binding: Binding, declared: DataType | None = None) -> ModelUDF:
    """The function over a model that is shipped.

    Parameters
    ----------
    spark
        The session.
    shipment
        The model.
    binding
        How columns meet it.
    declared
        The type of the result, if the user says; with a loader, the model is not asked then.

    Raises
    ------
    vonk.InvalidError
        The model's outputs are not what the binding asks for, or have another type.
    """
    if declared is not None and shipment.source.loader is not None:
        return ModelUDF(spark, shipment, binding, declared, None)
    signature = shipment.ask(spark, partial(_types.describe, binding=binding))
    if declared is not None:
        _types.agree(signature.returns, declared, shipment.source.title)
    return ModelUDF(spark, shipment, binding, declared or signature.returns, signature.inputs)


class ModelUDF(_compat.Registrable):
    """A model as a function of columns; :func:`model_udf` makes one.

    Call it with names of columns, or with columns: one array, nested array, binary, text or ML Vector per input of the
    model; one struct with a field per input; N columns of single values for a tensor ``[rows, N]``. Keywords name
    arguments: ``f(image="pixels")``.

    Attributes
    ----------
    returnType
        Of the result.
    """

    def __init__(
        self,
        spark: SparkSession,
        shipment: Shipment,
        binding: Binding,
        return_type: DataType,
        inputs: tuple[vonk.Tensor, ...] | None,
    ) -> None:
        self.returnType = return_type
        self._spark = spark
        self._shipment = shipment
        self._binding = binding
        self._inputs = inputs
        self._functions: dict[tuple[Binding, Hashable], Callable[..., Column]] = {}
        self.meter: Meter | None = make_meter(spark, shipment.source, binding)

    def __call__(self, *columns: str | Column, **named: str | Column) -> Column:
        call = _calls.pack(_calls.read(columns, named, self._binding), self._inputs)
        function = self._function(call.binding)
        result = function(*call.columns)
        return result if call.text is None else result.alias(f"{function.__name__}({call.text})")

    def check(self, rows: DataFrame | StructType, *columns: str | Column, **named: str | Column) -> DataType:
        """Checks, before there is a job, whether a call fits the model.

        Parameters
        ----------
        rows
            What the columns are of: a DataFrame, or its schema.
        *columns, **named
            As for a call. None at all: all columns, in their order.

        Returns
        -------
        DataType
            Of the result.

        Raises
        ------
        vonk.InvalidError
            What does not fit: the column, what it is, what the model wants, what to write.
        """
        if not columns and not named:
            names = rows.columns if isinstance(rows, DataFrame) else rows.names
            columns = tuple(f"`{name}`" if "." in name else name for name in names)
        call = _calls.read(columns, named, self._binding)
        kinds = _calls.types_of(rows, call.columns)
        schema = StructType([StructField(_calls.name_of(call.columns[i], i), kind) for i, kind in enumerate(kinds)])
        return _types.check(self._shipment, schema, call.binding)

    def summary(self) -> str:
        """One line: the model, its inputs, the type of the result."""
        if self._inputs is None:
            inputs = "its inputs are known on the workers only"
        else:
            inputs = ", ".join(f"{tensor.name} {tensor.type}" for tensor in self._inputs)
        return f"{self._shipment.source.title}: {inputs} -> {self.returnType.simpleString()}"

    def __repr__(self) -> str:
        return f"<ModelUDF {self.summary()}>"

    def _function(self, binding: Binding) -> Callable[..., Column]:
        """One for all calls that are alike, so that Spark sees that they are and evaluates them once.

        Another one after a restart: what PySpark makes of it belongs to a SparkContext, where its counts go.
        """
        key = binding, _session.files_key(_session.living(self._spark))
        if key in self._functions:
            self._shipment.send(self._spark)
        else:
            self._functions[key] = _compat.column_function(self._scorer(binding), self.returnType)
        return self._functions[key]

    @property
    def sql_function(self) -> Callable[..., Column]:
        """What ``spark.udf.register`` takes."""
        return self._function(self._binding)

    def _scorer(self, binding: Binding) -> Callable[..., Any]:
        """The function of Arrow arrays that runs on the workers."""
        self._shipment.send(self._spark)
        declared = self.returnType.json() if self._inputs is None else None
        return make_function(self._shipment.source, binding, declared, self.meter)

    def _map(
        self, rows: DataFrame, columns: Sequence[Column], schema: StructType, paths: Sequence[tuple[str, ...]]
    ) -> DataFrame:
        """The rows with parts of the result beside them, in whole batches also on Spark 4.0."""
        call = _calls.pack(_calls.read(columns, {}, self._binding), self._inputs)
        return _compat.map_columns(rows, call.columns, self._scorer(call.binding), schema, paths)


def register(spark: SparkSession, name: str, model: Any, **options: Any) -> ModelUDF | TextUDF:
    """Makes a model a function of SQL: ``SELECT digit(pixels) FROM images``.

    Parameters
    ----------
    spark
        The session whose SQL knows it.
    name
        Of the function.
    model
        What :func:`model_udf` takes, or what it or a function of Hugging Face's models gave.
    **options
        As for :func:`model_udf`.

    Returns
    -------
    ModelUDF
        The same function for DataFrames.

    Raises
    ------
    vonk.InvalidError
        Options for a function that is made already.
    """
    is_made = isinstance(model, ModelUDF | TextUDF)
    if is_made and options:
        raise vonk.InvalidError(
            f"register: {model!r} is made already, {', '.join(options)} cannot be changed: give them to"
            f" {'model_udf' if isinstance(model, ModelUDF) else 'the function that made it'}"
        )
    function: ModelUDF | TextUDF = model if is_made else model_udf(model, spark=spark, **options)
    spark.udf.register(name, function.sql_function)
    return function
