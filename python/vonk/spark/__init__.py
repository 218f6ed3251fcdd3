"""vonk on Apache Spark: a model as a column function, as a stage of a Pipeline, as a function of SQL.

>>> from vonk.spark import model_udf
>>> digit = model_udf("mnist.onnx", as_="argmax")
>>> images.select("label", digit("image"))

``docs/spark.md`` is the guide.
"""

from __future__ import annotations

from vonk.spark._metrics import Counts, SparkStats, stats
from vonk.spark._udf import ModelUDF, model_udf, register

__all__ = ["Counts", "ModelUDF", "SparkStats", "model_udf", "register", "stats"]
