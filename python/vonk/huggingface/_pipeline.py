"""Pipelines of transformers over text: a mapping, or a list of mappings, for each row.

How it works: a table says of each task which class loads its model, what a row of several texts is called, and what a
result has. The rows of a run go in as a generator, for a list of one row is given back in another form by some
pipelines.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow

from vonk._errors import InvalidError
from vonk.huggingface import _folder, _generator, _opened, _results
from vonk.huggingface._packages import require

_TEXT, _REAL, _INT = pyarrow.string(), pyarrow.float32(), pyarrow.int32()
_LABEL = pyarrow.struct({"label": _TEXT, "score": _REAL})
_TOKEN = pyarrow.struct({"entity": _TEXT, "score": _REAL, "index": _INT, "word": _TEXT, "start": _INT, "end": _INT})
_GROUP = pyarrow.struct({"entity_group": _TEXT, "score": _REAL, "word": _TEXT, "start": _INT, "end": _INT})
_FILLED = pyarrow.struct({"score": _REAL, "token": _INT, "token_str": _TEXT, "sequence": _TEXT})
_ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}
#: Where a live pipeline keeps the arguments that it was made with.
_PARAMETERS = ("_preprocess_params", "_forward_params", "_postprocess_params", "_generate_kwargs")
#: Key of those among the arguments of a call.
PRESET = "vonk preset"


@dataclass(frozen=True)
class _Task:
    """A row of the table.

    Attributes
    ----------
    loader
        The class of transformers that loads its model.
    returns
        The type of a result.
    names
        What a row of several texts is called.
    truncate
        The argument of a call that shortens a long text; None where the pipeline does so by itself.
    shows_padding
        A result has something for each token of the run, padding too: only rows of one length share one.
    """

    loader: str
    returns: pyarrow.DataType
    names: tuple[str, ...] = ("text",)
    truncate: str | None = None
    shows_padding: bool = False


_TASKS = {
    "text-classification": _Task(
        "AutoModelForSequenceClassification", _LABEL, ("text", "text_pair"), truncate="truncation=True"
    ),
    "token-classification": _Task("AutoModelForTokenClassification", pyarrow.list_(_TOKEN)),
    "fill-mask": _Task(
        "AutoModelForMaskedLM", pyarrow.list_(_FILLED), truncate="tokenizer_kwargs={'truncation': True}"
    ),
    "zero-shot-classification": _Task(
        "AutoModelForSequenceClassification",
        pyarrow.struct({"sequence": _TEXT, "labels": pyarrow.list_(_TEXT), "scores": pyarrow.list_(_REAL)}),
    ),
    "text-generation": _Task(
        "AutoModelForCausalLM", pyarrow.struct({"generated_text": _TEXT}), truncate="truncation=True"
    ),
    "feature-extraction": _Task(
        "AutoModel", pyarrow.list_(pyarrow.list_(_REAL)), truncate="truncation=True", shows_padding=True
    ),
}


def task_named(task: str) -> str:
    """The task of a name, which may be an alias.

    Raises
    ------
    vonk.InvalidError
        There is no such task over text.
    """
    name = _ALIASES.get(task, task)
    if name not in _TASKS:
        raise InvalidError(f"task: '{task}' is none that vonk knows over text: use one of {', '.join(_TASKS)}")
    return name


def returns(task: str, arguments: Mapping[str, Any]) -> pyarrow.DataType:
    """The type of a result of a task's pipeline.

    Parameters
    ----------
    task
        Of the table.
    arguments
        Of its calls, those that it was made with among them.
    """
    preset = arguments.get(PRESET) or {}
    given = {**preset.get("_generate_kwargs", {}), **preset.get("_postprocess_params", {}), **arguments}
    kind = _TASKS[task].returns
    if task == "text-classification" and "top_k" in arguments:
        return pyarrow.list_(kind)
    if task == "text-classification" and given.get("top_k", 1) != 1:
        return pyarrow.list_(kind)
    how = given.get("aggregation_strategy", "none")
    if task == "token-classification" and str(getattr(how, "value", how)).lower() != "none":
        return pyarrow.list_(_GROUP)
    if task == "text-generation" and (given.get("num_return_sequences") or 1) != 1:
        return pyarrow.list_(kind)
    return kind


def preset_of(pipeline: Any) -> dict[str, Any] | None:
    """The arguments that a live pipeline was made with; None if there are none."""
    found = {name: dict(getattr(pipeline, name, None) or {}) for name in _PARAMETERS}
    return found if any(found.values()) else None


class Pipeline(_opened.Opened):
    """A pipeline that is open.

    Parameters
    ----------
    model
        A folder, the name of a model of the hub, or a live ``transformers.Pipeline``.
    task
        Of the pipeline; None is what the model's architecture tells.
    device, dtype, revision, allow_pickle
        As for :class:`SentenceEncoder`.

    Raises
    ------
    vonk.Error
        It cannot be opened, or its task is not known.
    MissingPackageError
        transformers is not installed.

    Examples
    --------
    >>> from vonk.huggingface import Pipeline
    >>> Pipeline("models/sentiment").predict(pyarrow.array(["Great!"]))  # doctest: +SKIP
    """

    kind = "pipeline"
    task: str

    def _load(self, folder: Path) -> Any:
        transformers = require("transformers")
        self.task = task_named(self._task or _folder.task_of(folder))
        loader = getattr(transformers, _TASKS[self.task].loader)
        model = loader.from_pretrained(str(folder), **self._how())
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        return self._adopt(transformers.pipeline(self.task, model=model, tokenizer=tokenizer, device=self._device))

    def _adopt(self, model: Any) -> Any:
        if not hasattr(model, "task") or not hasattr(model, "tokenizer"):
            raise InvalidError(
                f"model: {type(model).__name__} is no pipeline over text: pass transformers.pipeline(task, ...)"
            )
        self.task = task_named(model.task)
        model.model.eval()
        tokenizer = model.tokenizer
        if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
            tokenizer.pad_token = tokenizer.eos_token  # else there are no runs of several rows
        if self.task == "text-generation":
            tokenizer.padding_side = "left"
        return model

    def _module(self) -> Any:
        return self.live.model

    def bind(self, arguments: Mapping[str, Any]) -> _Bound:
        """With arguments of its calls: top_k, truncation, candidate_labels, ..."""
        return _Bound(self.live, self.task, arguments)

    def returns(self, arguments: Mapping[str, Any]) -> pyarrow.DataType:
        """The type of a result."""
        return returns(self.task, {PRESET: preset_of(self.live), **arguments})


class _Bound:
    def __init__(self, pipeline: Any, task: str, arguments: Mapping[str, Any]) -> None:
        given = dict(arguments)
        preset = given.pop(PRESET, None)
        self._pipe = pipeline
        if preset:  # of the live pipeline that was saved; the one that is open is shared with other functions
            self._pipe = copy.copy(pipeline)
            for name, value in preset.items():
                setattr(self._pipe, name, value)
        if "batch_size" in given or "num_workers" in given:
            raise InvalidError("arguments: batch_size is vonk's own, and num_workers is not taken")
        self._arguments = given
        self._task = _TASKS[task]
        self.names = self._task.names
        self._pads = self._pipe.tokenizer.pad_token_id is not None and not self._task.shows_padding
        if task == "text-generation":
            of_pipe = {**(getattr(self._pipe, "_generate_kwargs", None) or {}), **self._pipe._forward_params}
            of_generate = {**of_pipe, **given, **(given.get("generate_kwargs") or {})}
            config = _generator.settings(self._pipe.model.generation_config, of_generate)
            self._pads = self._pads and not _generator.sees_padding(config, is_decoder=True)

    def tokens(self, rows: Sequence[Any]) -> Sequence[int]:
        return _results.count_tokens(self._pipe.tokenizer, rows)

    def joins(self, longer: int, shorter: int) -> bool:
        return self._pads or longer == shorter

    def run(self, rows: Sequence[Any]) -> Sequence[Any]:
        return list(self._pipe((row for row in rows), batch_size=len(rows), **self._arguments))

    def hint(self, tokens: int) -> str:
        return _results.too_long(self._pipe.model.config, tokens, self._task.truncate)
