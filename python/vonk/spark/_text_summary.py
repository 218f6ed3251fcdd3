"""What a model of Hugging Face is, in Spark's words: the facts are :mod:`vonk.huggingface`'s."""

from __future__ import annotations

from dataclasses import dataclass, fields

from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import DataType

from vonk.huggingface import ModelSummary

#: Which function takes a kind of model.
_FUNCTIONS = {
    "encoder": "sentence_transformer_udf",
    "pipeline": "pipeline_udf",
    "generator": "generate_udf",
}


@dataclass(frozen=True, repr=False)
class TextSummary(ModelSummary):
    """What a model of Hugging Face is; :func:`vonk.spark.model_summary` makes one of its folder.

    Attributes
    ----------
    return_type
        Of the function over it, a ``DataType``; None where the task is not known.
    """

    return_type: DataType | None = None

    @property
    def function(self) -> str:
        """The name of the function that takes such a model."""
        return _FUNCTIONS[self.kind]

    def ddl(self) -> str:
        """The return type as Spark's functions take it; empty where it is not known."""
        return "" if self.return_type is None else str(self.return_type.simpleString())

    def simpleString(self) -> str:  # noqa: N802 - as Spark's types have it
        """The same as :meth:`ddl`."""
        return self.ddl()

    def _returns(self) -> str:
        return f"{self.ddl()}, of {self.function}" if self.return_type is not None else super()._returns()


def of_facts(about: ModelSummary, return_type: DataType | None = None) -> TextSummary:
    """In Spark's words.

    Parameters
    ----------
    about
        The facts.
    return_type
        Of a function that is there; None is the model's own.
    """
    known = {field.name: getattr(about, field.name) for field in fields(ModelSummary)}
    if return_type is None and about.returns is not None:
        return_type = from_arrow_type(about.returns)
    return TextSummary(**known, return_type=return_type)
