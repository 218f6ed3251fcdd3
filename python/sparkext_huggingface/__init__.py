"""The plug-in for models of Hugging Face: ``sparkext.load("sparkext_huggingface", zip)``; installed,
``sparkext.load("huggingface")``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sparkext import huggingface
from sparkext.framework import Model, ModelSummary, Plugin
from sparkext.huggingface import model_summary, model_udf, pipeline_udf, sentence_transformer_udf
from vonk.spark import TextUDF

__all__ = ["model", "model_summary", "model_udf", "pipeline_udf", "plugin", "sentence_transformer_udf"]


class HuggingFacePlugin(Plugin):
    """Models that write text; pipelines and sentence encoders have functions of their own."""

    pipeline_udf = staticmethod(pipeline_udf)
    sentence_transformer_udf = staticmethod(sentence_transformer_udf)

    def model_summary(self, model: Any, **kwargs: Any) -> ModelSummary:
        """What a model is."""
        return model_summary(model, **kwargs)

    def model_udf(
        self,
        model: Any,
        model_loader: Callable[[Any], Any] | None = None,
        input_columns: Sequence[str] | None = None,
        batch_size: int = -1,
        **kwargs: Any,
    ) -> TextUDF:
        """A model that writes text as a function of a column; there is one input, so `input_columns` names nothing."""
        return model_udf(model, model_loader=model_loader, batch_size=batch_size, **kwargs)

    def model(
        self,
        model: Any,
        model_loader: Callable[[Any], Any] | None = None,
        input_columns: Sequence[str] | None = None,
        batch_size: int = -1,
        **kwargs: Any,
    ) -> Model:
        """A model that writes text as a stage of Spark ML."""
        return huggingface.Model(model, model_loader=model_loader, batch_size=batch_size, **kwargs)


_PLUGIN = HuggingFacePlugin()
model = _PLUGIN.model


def plugin() -> Plugin:
    """An object with the three functions, and those for pipelines and sentence encoders."""
    return _PLUGIN
