"""Models of Hugging Face: text generation, pipelines, sentence encoders, over ``vonk.spark``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparkext.huggingface._stages import Model, PipelineModel, SentenceTransformerModel, TokenizerParams
    from sparkext.huggingface._summary import model_summary
    from sparkext.huggingface._udf import model_udf, pipeline_udf, sentence_transformer_udf

__all__ = [
    "Model",
    "PipelineModel",
    "SentenceTransformerModel",
    "TokenizerParams",
    "model_summary",
    "model_udf",
    "pipeline_udf",
    "sentence_transformer_udf",
]

#: Where each name is defined.
_MODULES = {
    "Model": "_stages",
    "PipelineModel": "_stages",
    "SentenceTransformerModel": "_stages",
    "TokenizerParams": "_stages",
    "model_summary": "_summary",
    "model_udf": "_udf",
    "pipeline_udf": "_udf",
    "sentence_transformer_udf": "_udf",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"sparkext.huggingface.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'sparkext.huggingface' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
