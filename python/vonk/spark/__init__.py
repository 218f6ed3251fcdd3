"""vonk on Apache Spark: a model as a column function, as a stage of a Pipeline, as a function of SQL.

>>> from vonk.spark import model_udf
>>> digit = model_udf("mnist.onnx", as_="argmax")
>>> images.select("label", digit("image"))

``docs/spark.md`` is the guide. What is in here is imported when it is first used: a worker needs little of it.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vonk.spark._advice import Setting, Settings, configure
    from vonk.spark._huggingface import generate_udf, pipeline_udf, sentence_transformer_udf
    from vonk.spark._metrics import Counts, SparkStats, stats
    from vonk.spark._ml import Model
    from vonk.spark._summary import ModelSummary, model_summary
    from vonk.spark._text_summary import TextSummary
    from vonk.spark._text_udf import TextUDF
    from vonk.spark._udf import ModelUDF, model_udf, register

__all__ = [
    "Counts",
    "Model",
    "ModelSummary",
    "ModelUDF",
    "Setting",
    "Settings",
    "SparkStats",
    "TextSummary",
    "TextUDF",
    "configure",
    "generate_udf",
    "model_summary",
    "model_udf",
    "pipeline_udf",
    "register",
    "sentence_transformer_udf",
    "stats",
]

#: Where each name is defined.
_MODULES = {
    "Counts": "_metrics",
    "Model": "_ml",
    "ModelSummary": "_summary",
    "ModelUDF": "_udf",
    "Setting": "_advice",
    "Settings": "_advice",
    "SparkStats": "_metrics",
    "TextSummary": "_text_summary",
    "TextUDF": "_text_udf",
    "configure": "_advice",
    "generate_udf": "_huggingface",
    "model_summary": "_summary",
    "model_udf": "_udf",
    "pipeline_udf": "_huggingface",
    "register": "_udf",
    "sentence_transformer_udf": "_huggingface",
    "stats": "_metrics",
}

_missing = [name for name in ("pyspark", "pyarrow") if find_spec(name) is None]
if _missing:
    raise ImportError(
        f"vonk.spark: {' and '.join(_missing)} cannot be imported: pip install {' '.join(_missing)}, or make setup"
        " EXTRAS=spark",
        name=_missing[0],
    )


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"vonk.spark.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'vonk.spark' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
