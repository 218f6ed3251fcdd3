"""What a model of Hugging Face is, in short: of a live one by asking it, of a folder by the heads of its weights."""

from __future__ import annotations

import os
from typing import Any

import vonk
from vonk.huggingface import model_summary as summary_of

from sparkext.framework import ModelSummary, TensorSummary


def model_summary(model: Any, **kwargs: Any) -> ModelSummary:
    """What a model is: its parameters; text in, and what comes out.

    Parameters
    ----------
    model
        A folder with weights in safetensors; a live model, a pair ``(model, tokenizer)``, a pipeline, or a
        ``SentenceTransformer``.
    **kwargs
        Not used.

    Raises
    ------
    vonk.Error
        There is no such folder, or none with a model in it.
    """
    if isinstance(model, str | os.PathLike):
        about = summary_of(model)
        count = about.num_params
        is_encoder = about.kind == "encoder"
    else:
        live = model[0] if isinstance(model, tuple | list) else getattr(model, "model", model)
        live = live if hasattr(live, "parameters") else model
        if not hasattr(live, "parameters"):
            raise vonk.InvalidError(f"model: {type(model).__name__} is none of Hugging Face's that can be asked")
        count = sum(parameter.numel() for parameter in live.parameters())
        is_encoder = hasattr(model, "encode")
    returns = "array<float>" if is_encoder else "string"
    text = TensorSummary([-1], "string", "text")
    result = TensorSummary([-1, -1] if is_encoder else [-1], returns, "vector" if is_encoder else "result")
    return ModelSummary(count, [text], [result], returns)
