"""The API of the ``sparkext`` library for Apache Spark, over :mod:`vonk.spark`.

>>> import sparkext
>>> sparkext.load("sparkext_tf", "/tmp/sparkext_tf.zip")
>>> mnist = sparkext_tf.model_udf("mnist_model")
>>> df.withColumn("preds", mnist("data"))

``docs/sparkext.md`` is the guide. A framework is imported when one of its functions needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparkext._load import load, plugins
    from sparkext.framework import Model, ModelSummary, Plugin, TensorSummary

__all__ = ["Model", "ModelSummary", "Plugin", "TensorSummary", "load", "plugins"]

#: Where each name is defined.
_MODULES = {
    "Model": "framework",
    "ModelSummary": "framework",
    "Plugin": "framework",
    "TensorSummary": "framework",
    "load": "_load",
    "plugins": "_load",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"sparkext.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'sparkext' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
