"""Models that write text: T5 and the like, which read a text and write another, and GPT and the like, which go on.

How it works: rows of a run are padded to the longest and the mask tells the model what is padding, on the left for
models that go on, so that each row gives what it would give alone. Where an option counts padding as text, such as
``max_length`` of a model that goes on, only rows of one length share a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow

from vonk._errors import InvalidError
from vonk.huggingface import _opened, _results
from vonk.huggingface._packages import require

#: What generate() gets from vonk.
_OWN = (
    "inputs", "input_ids", "attention_mask", "inputs_embeds", "decoder_input_ids", "return_dict_in_generate",
    "streamer",
)  # fmt: skip
#: Options that look at the prompt of a model that goes on, and so at its padding.
_OF_PROMPT = (
    "repetition_penalty", "no_repeat_ngram_size", "prompt_lookup_num_tokens", "diversity_penalty", "sequence_bias",
    "bad_words_ids", "guidance_scale", "penalty_alpha", "watermarking_config", "forced_bos_token_id",
    "logits_processor", "stopping_criteria",
)  # fmt: skip
#: Options that look at the text that is read; for a model that goes on, that is the prompt.
_OF_SOURCE = ("encoder_repetition_penalty", "encoder_no_repeat_ngram_size")
#: Those that do nothing at 1; all of them do nothing at 0.
_FACTORS = ("repetition_penalty", "encoder_repetition_penalty", "guidance_scale")
#: Tokens that generate() writes if nothing says how many; fewer, where the model has no more places.
_DEFAULT = 20
_MOST = 1 << 24  # lengths above it mean that a tokenizer has none


class Generator(_opened.Opened):
    """A model that writes text, with its tokenizer.

    Parameters
    ----------
    model
        A folder, the name of a model of the hub, or a pair ``(model, tokenizer)`` of live objects.
    device, dtype, revision, allow_pickle
        As for :class:`SentenceEncoder`.

    Raises
    ------
    vonk.Error
        It cannot be opened.
    MissingPackageError
        transformers is not installed.

    Examples
    --------
    >>> from vonk.huggingface import Generator
    >>> Generator("models/t5").predict(pyarrow.array(["Hello."]), prefix="translate English to German: ",
    ...                                max_new_tokens=40)  # doctest: +SKIP
    """

    kind = "generator"

    def _load(self, folder: Path) -> Any:
        transformers = require("transformers")
        config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        name = "AutoModelForSeq2SeqLM" if config.is_encoder_decoder else "AutoModelForCausalLM"
        model = getattr(transformers, name).from_pretrained(str(folder), **self._how())
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        return self._adopt((model.to(self._device), tokenizer))

    def _adopt(self, model: Any) -> Any:
        if hasattr(model, "model") and hasattr(model, "tokenizer"):
            model = (model.model, model.tokenizer)  # a pipeline
        if not isinstance(model, tuple | list) or len(model) != 2 or not hasattr(model[0], "generate"):
            raise InvalidError(
                f"model: {type(model).__name__} is no pair of a model that generates and its tokenizer: pass"
                " (model, tokenizer)"
            )
        model[0].eval()
        return tuple(model)

    def _module(self) -> Any:
        return self.live[0]

    def bind(self, arguments: Mapping[str, Any]) -> _Bound:
        """With arguments of the tokenizer and of ``generate``; see :func:`vonk.spark.generate_udf`."""
        model, tokenizer = self.live
        return _Bound(model, tokenizer, arguments)

    def returns(self, arguments: Mapping[str, Any]) -> pyarrow.DataType:
        """The type of a result: text, or texts where several are asked for."""
        copies = settings(self.live[0].generation_config, arguments).get("num_return_sequences") or 1
        return pyarrow.list_(pyarrow.string()) if copies > 1 else pyarrow.string()


class _Bound:
    names: tuple[str, ...] = ("text",)

    def __init__(self, model: Any, tokenizer: Any, arguments: Mapping[str, Any]) -> None:
        given = dict(arguments)
        self._model = model
        self._tokenizer = tokenizer
        self._prefix = given.pop("prefix", "")
        self._skip_special = given.pop("skip_special_tokens", True)
        self._full_text = given.pop("full_text", False)
        self._is_decoder = not model.config.is_encoder_decoder
        self._how = self._tokenizing(given.pop("truncation", True), given.pop("max_input_tokens", None))
        self._generate = given
        self._check()
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        config = settings(model.generation_config, given)
        self._ends = config.get("eos_token_id")
        self._copies = int(config.get("num_return_sequences") or 1)
        self._sees_padding = sees_padding(config, is_decoder=self._is_decoder)
        self._new = int(config.get("max_new_tokens") or _DEFAULT)
        is_said = config.get("max_new_tokens") or config.get("max_length")
        places = _results.places(model.config)
        self._longest = places - _DEFAULT if self._is_decoder and not is_said and places else _MOST
        if self._pad is not None:
            self._generate.setdefault("pad_token_id", self._pad)
        if config.get("stop_strings"):
            self._generate["tokenizer"] = tokenizer

    def _tokenizing(self, truncation: bool | str, most: int | None) -> dict[str, Any]:
        limit = most or self._tokenizer.model_max_length
        if not truncation or limit is None or limit > _MOST:
            return {"truncation": False}
        return {"truncation": truncation, "max_length": int(limit)}

    def _check(self) -> None:
        known = vars(require("transformers").GenerationConfig())
        check(self._generate)
        if not isinstance(self._prefix, str):
            raise InvalidError(f"prefix: {self._prefix!r} is no text")
        for name in self._generate:
            if name not in known and name not in ("generation_config", "stopping_criteria", "logits_processor"):
                raise InvalidError(f"argument '{name}': generate() of transformers knows none of that name")

    def tokens(self, rows: Sequence[str]) -> Sequence[int]:
        texts = [self._prefix + text for text in rows]
        return [len(ids) for ids in self._tokenizer(texts, verbose=False, **self._how)["input_ids"]]

    def joins(self, longer: int, shorter: int) -> bool:
        is_free = self._pad is not None and not self._sees_padding and longer <= self._longest
        return longer == shorter or is_free

    def run(self, rows: Sequence[str]) -> Sequence[Any]:
        import torch  # noqa: PLC0415 - it is there once a model is open

        prompts = self._prompts(rows)
        with torch.inference_mode():
            found = self._model.generate(**prompts, **self._generate)
        found = getattr(found, "sequences", found)
        texts = self._texts(found.tolist(), prompts)
        if self._copies == 1:
            return texts
        return [texts[i : i + self._copies] for i in range(0, len(texts), self._copies)]

    def _prompts(self, rows: Sequence[str]) -> dict[str, Any]:
        """Tensors of the tokens, and of the mask that tells padding from text."""
        import torch  # noqa: PLC0415 - as above

        found = self._tokenizer([self._prefix + text for text in rows], **self._how)["input_ids"]
        width = max(map(len, found))
        if min(map(len, found)) == 0:
            raise InvalidError("text: has no tokens, so that there is nothing to go on from")
        ids = torch.full((len(found), width), self._pad if self._pad is not None else 0)
        mask = torch.zeros((len(found), width), dtype=torch.long)
        for row, own in enumerate(found):
            at = slice(width - len(own), None) if self._is_decoder else slice(0, len(own))
            ids[row, at] = torch.tensor(own)
            mask[row, at] = 1
        device = self._model.device
        return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}

    def _texts(self, found: list[list[int]], prompts: Mapping[str, Any]) -> list[str]:
        """What was written, without what fills up those that ended before others."""
        ends = {self._ends} if isinstance(self._ends, int) else set(self._ends or ())
        width = prompts["input_ids"].shape[1] if self._is_decoder else 1  # or the token that starts a text
        written = []
        for place, ids in enumerate(found):
            new = ids[width:]
            while new and new[-1] == self._pad and self._pad not in ends:
                new.pop()  # it ended at a stop string
            stop = next((i + 1 for i, token in enumerate(new) if token in ends), len(new))
            before = [] if self._is_decoder else ids[:width]
            if self._is_decoder and self._full_text:
                row = place // self._copies
                before = prompts["input_ids"][row][prompts["attention_mask"][row] == 1].tolist()
            written.append(before + new[:stop])
        texts: list[str] = self._tokenizer.batch_decode(written, skip_special_tokens=self._skip_special)
        return texts

    def hint(self, tokens: int) -> str:
        most = _results.places(self._model.config)
        if self._is_decoder and most is not None and most - self._new < tokens <= most:
            return (
                f" (the text has {tokens:,} tokens, and the model has {most:,} places for it and for what it writes:"
                f" pass max_input_tokens={max(1, most - self._new)} to shorten such texts)"
            )
        return _results.too_long(self._model.config, tokens, "truncation=True, max_input_tokens=...")


def check(arguments: Mapping[str, Any]) -> None:
    """Refuses arguments of ``generate`` that cannot be given here.

    Raises
    ------
    vonk.InvalidError
        There is one.
    """
    for name in _OWN:
        if name in arguments:
            raise InvalidError(f"argument '{name}': vonk sets it: leave it out")


def settings(config: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What holds for a call: the model's own GenerationConfig, over it the one that was given, and the arguments."""
    other = given.get("generation_config")
    return {**_set(config), **({} if other is None else _set(other)), **given}


def _set(config: Any) -> dict[str, Any]:
    """Of a GenerationConfig, what somebody has set."""
    found: dict[str, Any] = config.to_diff_dict()
    return {name: value for name, value in found.items() if value is not None}


def sees_padding(config: Mapping[str, Any], *, is_decoder: bool) -> bool:
    """Whether a row's text depends on how much padding stands before it."""
    if not is_decoder:
        return any(_is_on(config, name) for name in _OF_SOURCE)
    by_length = [("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")]
    if any(config.get(name) and not config.get(other) for name, other in by_length):
        return True
    return any(_is_on(config, name) for name in (*_OF_PROMPT, *_OF_SOURCE))


def _is_on(config: Mapping[str, Any], name: str) -> bool:
    value = config.get(name)
    return value not in (None, 0, [], {}) and not (value == 1 and name in _FACTORS)
