"""``model_summary``: what a model is, in Spark's words.

How it works: which columns an input takes is asked of the library, by binding the model to columns of each type that
Spark has, without rows; it is what a call would be told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
from pyspark.sql import SparkSession
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
)

import vonk
from vonk._summary import html_table
from vonk.huggingface import model_summary as text_summary
from vonk.huggingface._summary import is_model
from vonk.packing import _recognise
from vonk.spark import _compat, _fetch, _session, _staging, _types
from vonk.spark._shipment import Shipment, ship
from vonk.spark._spec import Binding, make_binding, make_options
from vonk.spark._text_summary import TextSummary, of_facts

#: Types of single values that a column may have, or an array's elements.
_VALUES = (
    BooleanType(), ByteType(), ShortType(), IntegerType(), LongType(), FloatType(), DoubleType(), DecimalType(18, 6),
    StringType(), BinaryType(),
)  # fmt: skip
#: The type that each dtype travels as; others are converted, or refused.
_EXACT: Mapping[str, type[DataType]] = {
    "bool": BooleanType, "int8": ByteType, "int16": ShortType, "int32": IntegerType, "int64": LongType,
    "uint8": ShortType, "uint16": IntegerType, "uint32": LongType, "uint64": LongType, "float16": FloatType,
    "bfloat16": FloatType, "float32": FloatType, "float64": DoubleType, "string": StringType,
}  # fmt: skip


@dataclass(frozen=True)
class InputColumns:
    """Which columns feed an input.

    Attributes
    ----------
    input
        Its name.
    types
        Of a column, the exact one first; the others are converted.
    count
        How many columns of single values may take the place of one array: N for a tensor ``[rows, N]``, 0 for any
        number, None if they may not.
    """

    input: str
    types: tuple[DataType, ...]
    count: int | None

    def __str__(self) -> str:
        texts = [kind.simpleString() for kind in self.types[:1]]
        texts += [_listed(self.types[1:])] if self.types[1:] else []
        if self.count is not None:
            texts.append(f"{self.count:,} columns of single values" if self.count else "columns of single values")
        return ", or ".join(texts)


@dataclass(frozen=True, repr=False)
class ModelSummary:
    """What a model takes and gives, in Spark's words; :func:`model_summary` makes one.

    Attributes
    ----------
    title
        The model's file.
    format
        ``"onnx"``, ``"tensorflow"``, ...
    num_params
        Trained numbers; None when the format does not say.
    inputs, outputs
        The signature, tuples of :class:`vonk.Tensor` with ``name``, ``dtype`` and ``shape``.
    columns
        Which columns feed each input, in their order.
    return_type
        Of ``model_udf`` over it, a ``DataType``.
    """

    title: str
    format: str
    num_params: int | None
    inputs: tuple[vonk.Tensor, ...]
    outputs: tuple[vonk.Tensor, ...]
    columns: tuple[InputColumns, ...]
    return_type: DataType

    def ddl(self) -> str:
        """The return type as Spark's functions take it: ``"struct<probabilities:array<float>,species:string>"``."""
        return str(self.return_type.simpleString())

    def simpleString(self) -> str:  # noqa: N802 - as Spark's types have it
        """The same as :meth:`ddl`."""
        return self.ddl()

    def _rows(self) -> list[tuple[str, str]]:
        size = "not known" if self.num_params is None else f"{self.num_params:,}"
        rows = [("format", self.format), ("parameters", size)]
        for tensor, columns in zip(self.inputs, self.columns, strict=True):
            rows += [("input", str(tensor)), ("", f"takes {columns}")]
        rows += [("output", str(tensor)) for tensor in self.outputs]
        return [*rows, ("returns", self.ddl())]

    def __repr__(self) -> str:
        return "\n".join([self.title, *(f"  {title:<10} {text}" for title, text in self._rows())])

    def _repr_html_(self) -> str:
        return html_table(self.title, self._rows())


def model_summary(  # noqa: PLR0913 - all but one by name
    model: Any,
    *,
    outputs: Mapping[str, str] | Iterable[str] | None = None,
    on_error: str = "raise",
    as_: str | None = None,
    squeeze: bool = False,
    model_loader: Callable[..., Any] | None = None,
    pack: Mapping[str, Any] | None = None,
    spark: SparkSession | None = None,
    **options: Any,
) -> ModelSummary | TextSummary:
    """What a model is, and what ``model_udf`` with the same options would give.

    No session is needed, but for a URI that Spark reads, and for a loader: that is asked on a worker, in one small job.

    Parameters
    ----------
    model
        What :func:`vonk.spark.model_udf` takes, an open :class:`vonk.Model`, or a stage. Or a folder of Hugging Face's,
        as :func:`vonk.spark.pipeline_udf` and the others take it, or one of those functions; of the options it takes
        ``task``, ``allow_pickle`` and arguments of the model's calls.
    outputs, on_error, as_, squeeze, model_loader, pack, spark, **options
        As for :func:`vonk.spark.model_udf`.

    Returns
    -------
    ModelSummary
        Shown as text, and as a table in a notebook; a :class:`TextSummary` of a model of Hugging Face.

    Raises
    ------
    vonk.Error
        The model cannot be opened.

    Examples
    --------
    >>> from vonk.spark import model_summary  # doctest: +SKIP
    >>> model_summary("examples/iris/iris.onnx", outputs=["species"]).ddl()  # doctest: +SKIP
    'string'
    """
    from vonk.spark._ml import Model  # noqa: PLC0415 - it needs this module
    from vonk.spark._text_udf import TextUDF  # noqa: PLC0415 - only where somebody asks

    if isinstance(model, Model | TextUDF):
        return model.summary()
    if (folder := _folder_of_text(model)) is not None and model_loader is None:
        return _of_folder(folder, dict(options))
    binding = make_binding(None, outputs, on_error=on_error, as_=as_, squeeze=squeeze)
    if model_loader is not None or (isinstance(model, str) and _needs_spark(model)):
        session = spark or _session.active()
        return of_shipment(
            session, ship(session, model, make_options(options), loader=model_loader, pack=pack), binding
        )
    if isinstance(model, vonk.Model):
        return describe(model, binding, model.path.name)
    path, left, title = _local(model, options, pack)
    with vonk.open(path, **left) as opened:
        return describe(opened, binding, title)


def _folder_of_text(model: Any) -> Path | None:
    """The folder, if it is one of Hugging Face's."""
    if not isinstance(model, str | os.PathLike):
        return None
    text = os.fspath(model)
    path = Path(text)
    if not path.exists() and _fetch.scheme_of(text) in ("file", "local"):
        path = _fetch.path_of(text)
    return path if is_model(path) else None


def _of_folder(folder: Path, options: dict[str, Any]) -> TextSummary:
    task, allow_pickle = options.pop("task", None), bool(options.pop("allow_pickle", False))
    return of_facts(text_summary(folder, task=task, allow_pickle=allow_pickle, arguments=options))


def of_shipment(spark: SparkSession, shipment: Shipment, binding: Binding) -> ModelSummary:
    """Of a model that is shipped."""
    return shipment.ask(spark, partial(describe, binding=binding, title=shipment.source.title))


def _needs_spark(model: str) -> bool:
    return not Path(model).exists() and _fetch.scheme_of(model) not in (None, "file", "local")


def _local(
    model: Any, options: Mapping[str, Any], pack: Mapping[str, Any] | None
) -> tuple[Path | str, dict[str, Any], str]:
    """What vonk opens here, the options for it, what users know it by."""
    if not isinstance(model, str | Path):
        staged = _staging.stage_object(model, options, pack)
        return staged.path, dict(staged.options), staged.title
    text = str(model)
    bare = text.partition("#sha256=")[0]
    path = Path(bare) if _fetch.scheme_of(bare) is None or Path(bare).exists() else _fetch.path_of(bare)
    if path.exists() and (pack is not None or _recognise.needs_packing(path)):
        staged = _staging.stage(path, options, pack)
        return staged.path, dict(staged.options), staged.title
    return f"{path}{text[len(bare) :]}", dict(options), path.name


def describe(model: vonk.Model, binding: Binding, title: str) -> ModelSummary:
    """Of an open model."""
    about = model.summary()
    kind = about.format if about.bundle is None else f"{about.format} in a bundle"
    columns = tuple(_columns(model, i, binding) for i in range(len(model.inputs)))
    returns = _types.return_type(model, binding)
    return ModelSummary(title, kind, about.parameters, model.inputs, model.outputs, columns, returns)


def _columns(model: vonk.Model, place: int, binding: Binding) -> InputColumns:
    tensor = model.inputs[place]
    dims = (tensor.shape or ())[1:]
    exact = _EXACT.get(tensor.dtype)
    candidates: list[DataType] = list(_VALUES) if dims == (1,) else []  # a value stands for an array of one
    candidates += [_nested(value, len(dims)) for value in _VALUES]
    candidates += [BinaryType()] if dims and dims != (1,) else []
    candidates.sort(key=lambda kind: not isinstance(_innermost(kind), exact or ()))
    takes = tuple(kind for kind in candidates if _fits(model, place, [kind], binding))
    count = None
    if len(dims) == 1 and takes:
        width = dims[0] if isinstance(dims[0], int) else 0
        count = width if width != 1 else None
    return InputColumns(tensor.name, takes, count)


def _nested(value: DataType, rank: int) -> DataType:
    for _ in range(rank):
        value = ArrayType(value)
    return value


def _innermost(kind: DataType) -> DataType:
    while isinstance(kind, ArrayType):
        kind = kind.elementType
    return kind


def _fits(model: vonk.Model, place: int, kinds: Sequence[DataType], binding: Binding) -> bool:
    """Whether the model takes a column of a type for one of its inputs, with ideal ones for the others."""
    ideal = _types.ideal_columns(model)
    schema = ideal.set(place, pyarrow.field(model.inputs[place].name, _compat.to_arrow(kinds[0])))
    try:
        model.bind(schema, **(binding.options() | {"inputs": None}))
    except vonk.Error:
        return False
    return True


def _listed(kinds: Sequence[DataType]) -> str:
    """``array<tinyint|int>, binary``: types that differ in their innermost one only, together."""
    nests: dict[int, list[str]] = {}
    for kind in kinds:
        nests.setdefault(_depth(kind), []).append(_innermost(kind).simpleString())
    return ", ".join("array<" * depth + "|".join(names) + ">" * depth for depth, names in nests.items())


def _depth(kind: DataType) -> int:
    return 1 + _depth(kind.elementType) if isinstance(kind, ArrayType) else 0
