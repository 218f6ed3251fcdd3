"""``model_summary``: what a model's folder says of it, without opening the model.

How it works: configurations are JSON, and a file in safetensors begins with a list of its tensors; both are read, the
weights are not. A folder and the zip that one became are read alike. Neither PyTorch nor transformers is imported.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow

from vonk._errors import InvalidError, ModelError
from vonk._summary import _bytes, _printable, html_table
from vonk.huggingface import _folder, _pipeline

#: What a kind of model is called.
_KINDS = {"encoder": "sentence encoder", "pipeline": "pipeline", "generator": "generator"}
#: Of the tensors in safetensors: what the file calls a dtype, and what everybody else does.
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
    "BOOL": "bool",
}  # fmt: skip
#: Of tensors that nobody trained: positions, masks.
_NO_NUMBERS = ("I64", "BOOL")
_LONGEST = 100 << 20  # bytes of a JSON text
_MOST = 1 << 24  # lengths above it mean that a tokenizer has none
#: What the pooling of a sentence encoder was called, before it had a list of modes.
_MODES = "pooling_mode_"


@dataclass(frozen=True, repr=False)
class ModelSummary:
    """What a model of Hugging Face is; :func:`model_summary` makes one.

    Attributes
    ----------
    title
        The model's folder.
    kind
        ``"encoder"``, ``"pipeline"`` or ``"generator"``.
    task
        Of a pipeline; None for the others, and where nothing tells it.
    architecture
        The class of transformers that the model is of; None where the configuration does not say.
    num_params
        Trained numbers; None when the weights are not in safetensors.
    dtypes
        Of the weights: from a name, ``"float32"``, to the tensors of it, the most frequent one first.
    weight_bytes
        Size of the weights' files, or of the tensors in them.
    layers
        A number, or two: of a model that reads and writes, those that read and those that write.
    vocabulary
        Tokens that it knows.
    max_tokens
        Of the longest text that it reads whole; None where nothing bounds it.
    dimension
        Length of a vector, of an encoder.
    labels
        Of a classifier.
    returns
        The type of a result; None where the task is not known.
    """

    title: str
    kind: str
    task: str | None
    architecture: str | None
    num_params: int | None
    dtypes: Mapping[str, int]
    weight_bytes: int
    layers: tuple[int, ...]
    vocabulary: int | None
    max_tokens: int | None
    dimension: int | None
    labels: tuple[str, ...]
    returns: pyarrow.DataType | None

    def _returns(self) -> str:
        return "not known: pass task=" if self.returns is None else str(self.returns)

    def _rows(self) -> list[tuple[str, str]]:
        kind = _KINDS[self.kind] + (f", {self.task}" if self.task else "")
        size = "not known" if self.num_params is None else f"{self.num_params:,}"
        weights = ", ".join([*self.dtypes, _bytes(self.weight_bytes)])
        rows = [("kind", kind), ("architecture", self.architecture or "not known")]
        rows += [("parameters", size), ("weights", weights)]
        if len(self.layers) == 2:
            rows.append(("layers", f"{self.layers[0]:,} that read, {self.layers[1]:,} that write"))
        elif self.layers:
            rows.append(("layers", f"{self.layers[0]:,}"))
        if self.vocabulary is not None:
            rows.append(("vocabulary", f"{self.vocabulary:,} tokens"))
        rows.append(("longest text", "no limit" if self.max_tokens is None else f"{self.max_tokens:,} tokens"))
        if self.labels:
            few = ", ".join(self.labels[:5]) + (", ..." if len(self.labels) > 5 else "")
            rows.append(("labels", f"{len(self.labels):,}: {few}"))
        if self.dimension is not None:
            rows.append(("vector", f"{self.dimension:,} numbers"))
        return [*rows, ("returns", self._returns())]

    def __repr__(self) -> str:
        return "\n".join([self.title, *(f"  {title:<12} {_printable(text)}" for title, text in self._rows())])

    def _repr_html_(self) -> str:
        return html_table(self.title, self._rows())


def is_model(path: Path) -> bool:
    """Whether it is a folder that ``save_pretrained`` wrote; a Keras model, for one, has a config.json, too."""
    others = ("saved_model.pb", "model.weights.h5", "manifest.json")
    if not path.is_dir() or any((path / name).exists() for name in others):
        return False
    return (path / "modules.json").is_file() or (path / "config.json").is_file()


def model_summary(
    model: str | os.PathLike[str],
    *,
    kind: str | None = None,
    task: str | None = None,
    title: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    allow_pickle: bool = False,
) -> ModelSummary:
    """What a model is, by its folder alone.

    Parameters
    ----------
    model
        A folder that ``save_pretrained`` wrote, or the zip that one became.
    kind
        ``"encoder"``, ``"pipeline"`` or ``"generator"``; None is what the folder tells.
    task
        Of a pipeline; None is what the architecture tells.
    title
        What to call it; None is the folder's name.
    arguments
        Of the model's calls: ``top_k`` and others change what it gives.
    allow_pickle
        Take a folder whose weights are pickles. They are not read.

    Returns
    -------
    ModelSummary
        Shown as text, and as a table in a notebook.

    Raises
    ------
    vonk.FileError, vonk.ModelError, vonk.UnsupportedError
        There is no such folder, it holds no model, or none that vonk takes.
    vonk.InvalidError
        There is no such kind or task.

    Examples
    --------
    >>> from vonk.huggingface import model_summary
    >>> model_summary("models/all-MiniLM-L6-v2").dimension  # doctest: +SKIP
    384
    """
    path = Path(model)
    if kind is not None and kind not in _KINDS:
        raise InvalidError(f"kind: '{kind}' is none: use one of {', '.join(_KINDS)}")
    called = title or _folder.title_of(path)
    if path.is_dir() or not zipfile.is_zipfile(path):
        _folder.check(path, allow_pickle=allow_pickle)
        names = _folder.files_of(path, allow_pickle=allow_pickle)
        return _Facts(path, None, names, called).summary(kind, task, arguments or {})
    try:
        with zipfile.ZipFile(path) as archive:
            return _Facts(path, archive, archive.namelist(), called).summary(kind, task, arguments or {})
    except zipfile.BadZipFile as error:
        raise ModelError(f"model '{called}': is no whole zip file: {error}", "VONK_MODEL") from error


class _Facts:
    """The files of a model, and what they say."""

    def __init__(self, path: Path, archive: zipfile.ZipFile | None, names: list[str], title: str) -> None:
        self._path = path
        self._archive = archive
        self._names = names
        self._title = title
        modules = self._json("modules.json", list)
        self._modules = [one for one in modules or [] if isinstance(one, dict)]
        self._is_encoder = modules is not None
        self._config: dict[str, Any] = self._json(self._beside("config.json"), dict) or {}
        inner = self._config.get("text_config")  # of models that read more than text
        self._text: dict[str, Any] = {**self._config, **inner} if isinstance(inner, dict) else self._config
        self._tokenizer: dict[str, Any] = self._json(self._beside("tokenizer_config.json"), dict) or {}

    def summary(self, kind: str | None, task: str | None, arguments: Mapping[str, Any]) -> ModelSummary:
        architecture = self._architecture()
        kind = kind or self._kind(architecture, task)
        if kind == "pipeline":
            task = _pipeline.task_named(task) if task is not None else self._task(architecture)
        else:
            task = None
        count, nbytes, dtypes = self._weights()
        layers = self._layers()
        labels = self._config.get("id2label") if task in ("text-classification", "token-classification") else None
        return ModelSummary(
            title=self._title,
            kind=kind,
            task=task,
            architecture=architecture,
            num_params=count,
            dtypes=dtypes,
            weight_bytes=nbytes,
            layers=layers if self._config.get("is_encoder_decoder") else layers[:1],
            vocabulary=_whole(self._text.get("vocab_size")),
            max_tokens=self._max_tokens(kind),
            dimension=self._dimension(arguments) if kind == "encoder" else None,
            labels=tuple(map(str, labels.values())) if isinstance(labels, dict) else (),
            returns=_returns(kind, task, arguments),
        )

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        stream = (self._path / name).open("rb") if self._archive is None else self._archive.open(name)
        with stream as file:
            yield file

    def _json(self, name: str, kind: type[Any]) -> Any:
        """Content of a file; None if there is none of that name.

        Raises
        ------
        vonk.ModelError
            It is no JSON, or none of that kind.
        """
        if name not in self._names:
            return None
        try:
            with self._open(name) as file:
                content = json.loads(file.read(_LONGEST))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"model '{self._title}': {name} is no JSON: {error}", "VONK_MODEL") from error
        if not isinstance(content, kind):
            wanted = "object" if kind is dict else "list"
            found = type(content).__name__
            raise ModelError(f"model '{self._title}': {name} holds a {found}, not an {wanted}", "VONK_MODEL")
        return content

    def _beside(self, name: str) -> str:
        """Where a file of the network is: in an encoder, the folder of its first module may have it."""
        first = str(self._modules[0].get("path") or "") if self._modules else ""
        inner = f"{first}/{name}" if first else name
        return inner if inner in self._names else name

    def _architecture(self) -> str | None:
        found = self._config.get("architectures")
        return str(found[0]) if isinstance(found, list) and found else None

    def _kind(self, architecture: str | None, task: str | None) -> str:
        """What a folder is meant for, where nobody says."""
        if self._is_encoder:
            return "encoder"
        if task is not None:
            return "pipeline"
        if self._config.get("is_encoder_decoder") or self._task(architecture) == "text-generation":
            return "generator"
        return "encoder" if architecture is not None and architecture.endswith("Model") else "pipeline"

    def _task(self, architecture: str | None) -> str | None:
        try:
            return _folder.task_for([architecture or ""], self._title)
        except InvalidError:
            return None

    def _weights(self) -> tuple[int | None, int, dict[str, int]]:
        """Trained numbers, bytes, and dtypes of the tensors, the most frequent first."""
        files = [name for name in self._names if name.endswith(".safetensors")]
        if not files:
            size = _folder.weight_bytes(self._path) if self._archive is None else 0
            return None, size, {}
        count, nbytes, dtypes = 0, 0, Counter[str]()
        for name in files:
            for dtype, numbers, size in self._tensors(name):
                nbytes += size
                if dtype not in _NO_NUMBERS:
                    count += numbers
                    dtypes[_DTYPES.get(dtype, dtype.lower())] += 1
        return count, nbytes, dict(dtypes.most_common())

    def _tensors(self, name: str) -> list[tuple[str, int, int]]:
        """Of the tensors in a file: dtype, numbers, bytes.

        Raises
        ------
        vonk.ModelError
            It is no file in safetensors.
        """
        try:
            with self._open(name) as file:
                size = int.from_bytes(file.read(8), "little")
                head = json.loads(file.read(min(size, _LONGEST)))
            head.pop("__metadata__", None)
            found = []
            for tensor in head.values():
                first, last = tensor["data_offsets"]
                found.append((str(tensor["dtype"]), math.prod(map(int, tensor["shape"])), int(last) - int(first)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"model '{self._title}': {name} is no safetensors file", "VONK_MODEL") from error
        return found

    def _layers(self) -> tuple[int, ...]:
        """Those that read; and those that write, where a configuration has both."""
        one = self._first("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
        other = self._first("num_decoder_layers", "decoder_layers")
        if one is None:
            return ()
        return (one, one if other is None else other)

    def _first(self, *names: str) -> int | None:
        return next((found for name in names if (found := _whole(self._text.get(name))) is not None), None)

    def _max_tokens(self, kind: str) -> int | None:
        """The least of what the encoder, the tokenizer and the places of the network allow."""
        encoder = self._json(self._beside("sentence_bert_config.json"), dict) or {}
        if kind == "encoder" and (said := _whole(encoder.get("max_seq_length"))) is not None:
            return said
        # T5 keeps n_positions in old configurations, and has no places
        is_relative = "relative_attention_num_buckets" in self._text
        places = None if is_relative else self._first("max_position_embeddings", "n_positions")
        bounds = [bound for bound in (places, _whole(self._tokenizer.get("model_max_length"))) if bound is not None]
        least = min(bounds, default=_MOST)
        return least if least < _MOST else None

    def _dimension(self, arguments: Mapping[str, Any]) -> int | None:
        """Length of a vector, after the last module that changes it."""
        length = self._first("hidden_size", "d_model", "n_embd", "dim")
        for module in self._modules[1:]:
            config = self._json(f"{module.get('path')}/config.json", dict) or {}
            kind = str(module.get("type", "")).rpartition(".")[2]
            if kind == "Pooling":
                length = _pooled(config, length)
            elif kind == "Dense":
                length = _whole(config.get("out_features")) or length
        own = self._json("config_sentence_transformers.json", dict) or {}
        cut = _whole(arguments.get("truncate_dim", own.get("truncate_dim")))
        return length if cut is None or length is None else min(cut, length)


def _pooled(config: Mapping[str, Any], length: int | None) -> int | None:
    """Vectors of several modes of pooling stand beside each other."""
    length = _whole(config.get("embedding_dimension", config.get("word_embedding_dimension"))) or length
    mode = config.get("pooling_mode")
    modes = len(mode) if isinstance(mode, list) else sum(v is True for k, v in config.items() if k.startswith(_MODES))
    return None if length is None else length * max(modes, 1)


def _returns(kind: str, task: str | None, arguments: Mapping[str, Any]) -> pyarrow.DataType | None:
    if kind == "pipeline":
        return None if task is None else _pipeline.returns(task, arguments)
    if kind == "generator":
        return pyarrow.list_(pyarrow.string()) if arguments.get("num_return_sequences", 1) > 1 else pyarrow.string()
    packed = {"binary": pyarrow.int8(), "ubinary": pyarrow.uint8()}.get(arguments.get("precision", ""))
    return pyarrow.list_(packed or pyarrow.float32())


def _whole(value: Any) -> int | None:
    """A number of a configuration; None if it is none."""
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return int(value) if is_whole and value > 0 else None
