"""``sentence_transformer_udf``, ``pipeline_udf``, ``generate_udf``: models of Hugging Face as functions of columns."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import DataType, StringType, _parse_datatype_string

import vonk
from vonk.huggingface import _encoder, _folder, _generator, _pipeline
from vonk.spark import _session
from vonk.spark._shipment import Shipment
from vonk.spark._spec import make_options
from vonk.spark._text_udf import TextUDF, Wanted, folder_of, pickle_arguments, ship, task_of
from vonk.spark._text_worker import TextCall


def sentence_transformer_udf(  # noqa: PLR0913 - all but the first few by name
    model: Any,
    return_type: DataType | str = "array<float>",
    model_loader: Callable[..., Any] | None = None,
    batch_size: int | None = None,
    *,
    normalize: bool | None = None,
    prompt: str | None = None,
    prompt_name: str | None = None,
    nulls: str = "null",
    on_error: str = "raise",
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    allow_pickle: bool = False,
    spark: SparkSession | None = None,
    **arguments: Any,
) -> TextUDF:
    """A sentence encoder as a function of a column of text.

    Parameters
    ----------
    model
        A folder that ``save_pretrained`` wrote, the name of a model of the hub, an address that Spark reads, or a live
        ``SentenceTransformer``.
    return_type
        The type of a vector, a DataType or DDL.
    model_loader
        Called on the workers only, with `model`: gives a folder there, or a live ``SentenceTransformer``.
    batch_size
        Rows in one run of the model. None chooses; it is not the size of Spark's batches.
    normalize
        Vectors of length 1.
    prompt, prompt_name
        Text to put before each row; the name of one that the model has.
    nulls
        ``"null"``: a NULL gives NULL; ``"error"``: it is a bad row.
    on_error
        What a bad row does: ``"raise"`` fails the job; ``"null"`` gives NULL; ``"report"`` makes the result a
        ``struct<value, error>``.
    device
        Of PyTorch, on the workers; None is the CPU.
    dtype
        Of the weights, ``"bfloat16"``; None is what they were saved in.
    revision
        Of the hub's model.
    allow_pickle
        Take weights that are pickles, which can run code.
    spark
        The session; None is the one of this process.
    **arguments
        Of ``SentenceTransformer.encode``: truncate_dim, precision, ...

    Returns
    -------
    TextUDF
        To be called with a column.

    Raises
    ------
    vonk.InvalidError
        An argument is wrong.
    vonk.FileError, vonk.ModelError, vonk.UnsupportedError
        There is no such model, or none that vonk takes.

    Examples
    --------
    >>> from vonk.spark import sentence_transformer_udf  # doctest: +SKIP
    >>> embed = sentence_transformer_udf("models/all-MiniLM-L6-v2", normalize=True)  # doctest: +SKIP
    >>> reviews.select(embed("text"))  # doctest: +SKIP
    """
    of_encode = {"normalize_embeddings": normalize, "prompt": prompt, "prompt_name": prompt_name}
    arguments.update({name: value for name, value in of_encode.items() if value is not None})
    _encoder.check(arguments)
    options = make_options({"device": device, "dtype": dtype, "allow_pickle": allow_pickle or None})
    wanted = Wanted("encoder", options, _save_encoder, revision, allow_pickle)
    session = spark or _session.active()
    shipment = ship(session, model, wanted, model_loader)
    value = _declared(return_type)
    call = _call(value, arguments, nulls, on_error, batch_size)
    return TextUDF(session, shipment, call, value)


def pipeline_udf(  # noqa: PLR0913 - all but the first few by name
    model: Any,
    return_type: DataType | str | None = None,
    model_loader: Callable[..., Any] | None = None,
    batch_size: int | None = None,
    *,
    task: str | None = None,
    nulls: str = "null",
    on_error: str = "raise",
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    allow_pickle: bool = False,
    spark: SparkSession | None = None,
    **arguments: Any,
) -> TextUDF:
    """A pipeline of transformers as a function of a column of text.

    Parameters
    ----------
    model
        A folder that ``save_pretrained`` wrote, the name of a model of the hub, an address that Spark reads, or a live
        ``transformers.Pipeline``.
    return_type
        The type of a result, a DataType or DDL: a struct is filled by name from what the pipeline gives,
        ``"label string, score float"``, an array of structs from a list; a single field may be declared bare,
        ``"string"``. None is the task's own.
    model_loader
        Called on the workers only, with `model`: gives a folder there, or a live pipeline.
    batch_size
        Rows in one run of the model. None chooses; it is not the size of Spark's batches.
    task
        ``"text-classification"``, ``"token-classification"``, ...; None is what the model's architecture tells.
    nulls, on_error, device, dtype, revision, allow_pickle, spark
        As for :func:`sentence_transformer_udf`.
    **arguments
        Of the pipeline's calls: top_k, truncation, candidate_labels, aggregation_strategy, ...

    Returns
    -------
    TextUDF
        To be called with a column; with two where the pipeline takes pairs of texts.

    Raises
    ------
    vonk.InvalidError
        An argument is wrong, or nothing tells the task.
    vonk.FileError, vonk.ModelError, vonk.UnsupportedError
        There is no such model, or none that vonk takes.

    Examples
    --------
    >>> from vonk.spark import pipeline_udf  # doctest: +SKIP
    >>> sentiment = pipeline_udf("models/sentiment", "label string, score float")  # doctest: +SKIP
    >>> reviews.select(sentiment("text").label)  # doctest: +SKIP
    """
    session = spark or _session.active()
    if model_loader is None and not isinstance(model, str | os.PathLike):
        task = getattr(model, "task", None) or task
        preset = _pipeline.preset_of(model)
        arguments = {_pipeline.PRESET: preset, **arguments} if preset else arguments
    task = None if task is None else _pipeline.task_named(task)
    given = {"device": device, "dtype": dtype, "allow_pickle": allow_pickle or None}
    wanted = Wanted("pipeline", make_options({**given, "task": task}), _save_pipeline, revision, allow_pickle)
    shipment = ship(session, model, wanted, model_loader)
    if task is None and model_loader is None:
        task = task_of(shipment)
        shipment = replace(shipment, source=replace(shipment.source, options=make_options({**given, "task": task})))
    if return_type is not None:
        value = _declared(return_type)
    elif task is not None:
        value = from_arrow_type(_pipeline.returns(task, arguments))
    else:
        value = from_arrow_type(shipment.ask(session, partial(_returns, arguments=arguments)))
    call = _call(value, arguments, nulls, on_error, batch_size)
    return TextUDF(session, shipment, call, value, most=2)


def _returns(model: Any, arguments: dict[str, Any]) -> Any:
    """On a worker: the type of a result of a loader's pipeline."""
    return model.returns(arguments)


def _save_pipeline(model: Any, folder: Path) -> None:
    if not hasattr(model, "task") or getattr(model, "tokenizer", None) is None:
        raise vonk.InvalidError(
            f"model: {type(model).__name__} is no pipeline over text: pass transformers.pipeline(task, ...), a folder,"
            " or a model_loader"
        )
    model.save_pretrained(str(folder))


def generate_udf(  # noqa: PLR0913 - all but the first few by name
    model: Any,
    tokenizer: Any = None,
    return_type: DataType | str = "string",
    model_loader: Callable[..., Any] | None = None,
    batch_size: int | None = None,
    *,
    prefix: str = "",
    truncation: bool = True,
    max_input_tokens: int | None = None,
    skip_special_tokens: bool = True,
    full_text: bool = False,
    nulls: str = "null",
    on_error: str = "raise",
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    allow_pickle: bool = False,
    spark: SparkSession | None = None,
    **arguments: Any,
) -> TextUDF:
    """A model that writes text as a function of a column of text.

    Parameters
    ----------
    model
        A folder that ``save_pretrained`` wrote, of model and tokenizer; the name of a model of the hub; an address that
        Spark reads; or a live model, whose tokenizer is the next argument.
    tokenizer
        Of a live model; or for a folder, in place of its own: a live tokenizer.
    return_type
        ``"string"``; ``"array<string>"`` with ``num_return_sequences``.
    model_loader
        Called on the workers only, with `model`: gives a folder there, or a pair ``(model, tokenizer)``.
    batch_size
        Rows in one run of the model. None chooses; it is not the size of Spark's batches.
    prefix
        Text to put before each row: ``"translate English to German: "``.
    truncation, max_input_tokens
        Shorten a longer text to so many tokens; None is the tokenizer's own length, if it has one.
    skip_special_tokens
        Leave tokens such as ``</s>`` out of the result.
    full_text
        Of a model that goes on: the text before what it wrote, too.
    nulls, on_error, device, dtype, revision, allow_pickle, spark
        As for :func:`sentence_transformer_udf`.
    **arguments
        Of ``generate``: max_new_tokens, num_beams, do_sample, ...

    Returns
    -------
    TextUDF
        To be called with a column.

    Raises
    ------
    vonk.InvalidError
        An argument is wrong.
    vonk.FileError, vonk.ModelError, vonk.UnsupportedError
        There is no such model, or none that vonk takes.

    Examples
    --------
    >>> from vonk.spark import generate_udf  # doctest: +SKIP
    >>> german = generate_udf("models/t5", prefix="translate English to German: ", max_new_tokens=60)  # doctest: +SKIP
    >>> reviews.select(german("text"))  # doctest: +SKIP
    """
    session = spark or _session.active()
    of_tokenizer = {
        "prefix": (prefix, ""), "truncation": (truncation, True), "max_input_tokens": (max_input_tokens, None),
        "skip_special_tokens": (skip_special_tokens, True), "full_text": (full_text, False),
    }  # fmt: skip
    given = {name: value for name, (value, default) in of_tokenizer.items() if value != default}
    arguments = {**given, **arguments}
    _generator.check(arguments)
    value = _declared(return_type)
    if (arguments.get("num_return_sequences") or 1) > 1 and isinstance(value, StringType):
        raise vonk.InvalidError("return_type: is string, num_return_sequences gives several: use 'array<string>'")
    options = make_options({"device": device, "dtype": dtype, "allow_pickle": allow_pickle or None})
    wanted = Wanted("generator", options, partial(_save_generator, tokenizer), revision, allow_pickle)
    if tokenizer is not None and model_loader is None and isinstance(model, str | os.PathLike):
        shipment = _with_tokenizer(session, model, tokenizer, wanted)
    else:
        shipment = ship(session, model, wanted, model_loader)
    call = _call(value, arguments, nulls, on_error, batch_size)
    return TextUDF(session, shipment, call, value)


def _with_tokenizer(spark: SparkSession, model: str | os.PathLike[str], tokenizer: Any, wanted: Wanted) -> Shipment:
    """A folder with another tokenizer."""
    folder = folder_of(Path(model), wanted)
    if not folder.is_dir():
        raise vonk.InvalidError(
            f"tokenizer: goes with a live model or a folder, and '{os.fspath(model)}' is none here: leave it out, or"
            " put it into the model's folder"
        )
    shipment = ship(spark, tokenizer, replace(wanted, save=partial(_save_beside, folder, wanted.allow_pickle)), None)
    return replace(shipment, source=replace(shipment.source, title=folder.name))


def _save_beside(source: Path, allow_pickle: bool, tokenizer: Any, folder: Path) -> None:
    """A tokenizer, and of a model's folder what it does not replace."""
    tokenizer.save_pretrained(str(folder))
    for name in _folder.files_of(source, allow_pickle=allow_pickle):
        target = folder / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to((source / name).resolve())


def _save_generator(tokenizer: Any, model: Any, folder: Path) -> None:
    if isinstance(model, tuple | list) and len(model) == 2 and tokenizer is None:
        model, tokenizer = model
    elif tokenizer is None and hasattr(model, "tokenizer") and hasattr(model, "model"):
        model, tokenizer = model.model, model.tokenizer  # a pipeline
    if not hasattr(model, "generate") or not hasattr(model, "save_pretrained"):
        raise vonk.InvalidError(
            f"model: {type(model).__name__} does not generate text: pass a model of transformers with a head for"
            " language, a folder, or a model_loader"
        )
    if tokenizer is None:
        raise vonk.InvalidError(f"tokenizer: is missing: a live {type(model).__name__} needs its own: pass tokenizer=")
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def _save_encoder(model: Any, folder: Path) -> None:
    if not hasattr(model, "encode") or not hasattr(model, "save_pretrained"):
        raise vonk.InvalidError(
            f"model: {type(model).__name__} is no SentenceTransformer: pass one, or a folder, or a model_loader"
        )
    model.save_pretrained(str(folder))


def _declared(return_type: DataType | str) -> DataType:
    return _parse_datatype_string(return_type) if isinstance(return_type, str) else return_type


def _call(value: DataType, arguments: Mapping[str, Any], nulls: str, on_error: str, batch_size: int | None) -> TextCall:
    """What travels of a function, checked.

    Raises
    ------
    vonk.InvalidError
        A word that is no choice, a batch without rows, an argument that cannot be pickled.
    """
    for name, word, choices in (
        ("nulls", nulls, ("null", "error")),
        ("on_error", on_error, ("raise", "null", "report")),
    ):
        if word not in choices:
            words = ", ".join(f"'{choice}'" for choice in choices)
            raise vonk.InvalidError(f"{name}: {word!r} is no choice: use one of {words}")
    if batch_size is not None and batch_size < 1:
        raise vonk.InvalidError(f"batch_size: is {batch_size}: give 1 or more, or None, which chooses")
    return TextCall(
        value.json(), nulls=nulls, on_error=on_error, batch=batch_size, arguments=pickle_arguments(arguments)
    )
