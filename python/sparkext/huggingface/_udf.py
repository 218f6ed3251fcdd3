"""The three functions of old: each calls the one of ``vonk.spark`` that does the work.

How it works: the old ``model_udf`` gave its keywords to the tokenizer and to the decoder alike. Here each goes where it
belongs: ``padding`` and ``truncation`` to the tokenizer, ``skip_special_tokens`` to the decoder, lengths and everything
else to ``generate``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import vonk
from vonk.spark import TextUDF
from vonk.spark import generate_udf as _generate_udf
from vonk.spark import pipeline_udf as _pipeline_udf
from vonk.spark import sentence_transformer_udf as _sentence_transformer_udf

#: Tokens that are written, if nothing says how many.
MAX_TARGET_LENGTH = 128
_PADDING = (True, False, None, "longest", "max_length", "do_not_pad")


def model_udf(
    model: Any,
    tokenizer: Any = None,
    return_type: str = "string",
    model_loader: Callable[[Any], Any] | None = None,
    batch_size: int = -1,
    **kwargs: Any,
) -> TextUDF:
    """A model that writes text as a function of a column of text.

    Parameters
    ----------
    model
        A folder, the name of a model of the hub, or a live model of PyTorch. With a loader, its argument.
    tokenizer
        Of a live model.
    return_type
        The type of a result.
    model_loader
        Called on the workers only, with `model`: gives ``(model, tokenizer)``, or a folder there.
    batch_size
        Rows in one run of the model; below 1 chooses.
    max_target_length : int, optional
        Tokens to write, 128, unless an argument of ``generate`` or the model's own configuration says.
    truncation, skip_special_tokens : bool, optional
        Shorten long texts; leave tokens such as ``</s>`` out. Both are true.
    padding : str, optional
        Rows of a run are padded to the longest, whatever is said, and padding never changes a result.
    return_tensors : str, optional
        ``"pt"``: vonk runs models of PyTorch.
    **kwargs
        Of ``generate`` (``max_length``, ``num_beams``, ...), and of :func:`vonk.spark.generate_udf`.

    Raises
    ------
    vonk.InvalidError
        An argument is wrong; it is a ``ValueError``.
    vonk.Error
        There is no such model, or none that vonk takes.
    """
    arguments = of_generation(kwargs)
    return _generate_udf(model, tokenizer, return_type, model_loader, rows(batch_size), **arguments)


def pipeline_udf(
    model: Any,
    model_loader: Callable[[Any], Any] | None = None,
    return_type: str | None = "string",
    batch_size: int = -1,
    **kwargs: Any,
) -> TextUDF:
    """A pipeline as a function of a column of text.

    Parameters
    ----------
    model
        A folder, the name of a model of the hub, or a live ``transformers.Pipeline``. With a loader, its argument.
    model_loader
        Called on the workers only, with `model`: gives a pipeline, or a folder there.
    return_type
        The fields of a result by their names, ``"label string, score float"``; a single one may be bare.
    batch_size
        Rows in one run of the model; below 1 chooses.
    **kwargs
        Of the pipeline's calls, and of :func:`vonk.spark.pipeline_udf`.

    Raises
    ------
    vonk.Error
        As for :func:`model_udf`.
    """
    return _pipeline_udf(model, return_type, model_loader, rows(batch_size), **kwargs)


def sentence_transformer_udf(
    model: Any,
    model_loader: Callable[[Any], Any] | None = None,
    return_type: str = "array<float>",
    batch_size: int = -1,
    **kwargs: Any,
) -> TextUDF:
    """A sentence encoder as a function of a column of text.

    Parameters
    ----------
    model
        A folder, the name of a model of the hub, or a live ``SentenceTransformer``. With a loader, its argument.
    model_loader
        Called on the workers only, with `model`: gives a ``SentenceTransformer``, or a folder there.
    return_type
        The type of a vector.
    batch_size
        Rows in one run of the model; below 1 chooses.
    **kwargs
        Of ``encode``, and of :func:`vonk.spark.sentence_transformer_udf`.

    Raises
    ------
    vonk.Error
        As for :func:`model_udf`.
    """
    return _sentence_transformer_udf(model, return_type, model_loader, rows(batch_size), **kwargs)


def rows(batch_size: int | None) -> int | None:
    """A size of old, where all below 1 means that vonk chooses."""
    return None if batch_size is None or batch_size < 1 else batch_size


def of_generation(keywords: dict[str, Any]) -> dict[str, Any]:
    """Keywords of old as those of :func:`vonk.spark.generate_udf`.

    Raises
    ------
    vonk.InvalidError
        A word that is no choice.
    """
    given = dict(keywords)
    padding = given.pop("padding", "longest")
    if padding not in _PADDING:
        words = ", ".join(repr(word) for word in _PADDING)
        raise vonk.InvalidError(f"padding: {padding!r} is no choice: use one of {words}")
    tensors = given.pop("return_tensors", "pt")
    if tensors not in ("pt", None):
        raise vonk.InvalidError(f"return_tensors: is {tensors!r}: vonk runs models of PyTorch: leave it out, or 'pt'")
    longest = given.pop("max_target_length", MAX_TARGET_LENGTH)
    lengths = ("max_length", "max_new_tokens", "generation_config")
    if longest is not None and not any(given.get(name) is not None for name in lengths):
        given["max_new_tokens"] = longest
    return given
