"""Sentence encoders of sentence-transformers: text in, a vector out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow

from vonk._errors import InvalidError
from vonk.huggingface import _opened, _results
from vonk.huggingface._packages import require

#: Arguments of encode that belong to whoever calls it: where results go, how many rows.
_OWN = (
    "inputs",
    "sentences",
    "batch_size",
    "show_progress_bar",
    "convert_to_numpy",
    "convert_to_tensor",
    "output_value",
)
#: Precisions whose scale comes from the rows of a call: results would depend on who stands beside whom.
_CALIBRATED = ("int8", "uint8")


class SentenceEncoder(_opened.Opened):
    """A sentence encoder that is open.

    Parameters
    ----------
    model
        A folder, the name of a model of the hub, or a live ``SentenceTransformer``.
    device
        Of PyTorch: ``"cpu"``, ``"cuda:0"``.
    dtype
        Of the weights, ``"bfloat16"``; None is what they were saved in.
    revision, allow_pickle
        Of the hub's model; take weights that are pickles.

    Raises
    ------
    vonk.Error
        It cannot be opened.
    MissingPackageError
        sentence-transformers is not installed.

    Examples
    --------
    >>> from vonk.huggingface import SentenceEncoder
    >>> encoder = SentenceEncoder("all-MiniLM-L6-v2")  # doctest: +SKIP
    >>> encoder.predict(pyarrow.array(["The cat sat.", None]))  # doctest: +SKIP
    """

    kind = "encoder"

    def _load(self, folder: Path) -> Any:
        package = require("sentence_transformers")
        of_model = {name: value for name, value in self._how().items() if name in ("use_safetensors", "dtype")}
        return package.SentenceTransformer(
            str(folder), device=self._device, local_files_only=True, trust_remote_code=False, model_kwargs=of_model
        )

    def _adopt(self, model: Any) -> Any:
        if not hasattr(model, "encode"):
            raise InvalidError(f"model: {type(model).__name__} is no SentenceTransformer: it has no encode()")
        return model

    def bind(self, arguments: Mapping[str, Any]) -> _Bound:
        """With arguments of its ``encode``: prompt, prompt_name, normalize_embeddings, truncate_dim, ..."""
        return _Bound(self.live, arguments)

    @staticmethod
    def returns(arguments: Mapping[str, Any]) -> pyarrow.DataType:
        """The type of a result."""
        of = {"binary": pyarrow.int8(), "ubinary": pyarrow.uint8()}.get(arguments.get("precision", ""))
        return pyarrow.list_(of or pyarrow.float32())


class _Bound:
    names: tuple[str, ...] = ("text",)

    def __init__(self, encoder: Any, arguments: Mapping[str, Any]) -> None:
        self._encoder = encoder
        self._arguments = dict(arguments)
        check(self._arguments)

    def tokens(self, rows: Sequence[str]) -> Sequence[int]:
        return _results.count_tokens(getattr(self._encoder, "tokenizer", None), rows)

    def joins(self, longer: int, shorter: int) -> bool:
        return True

    def run(self, rows: Sequence[str]) -> Sequence[Any]:
        found: Sequence[Any] = self._encoder.encode(
            list(rows), batch_size=len(rows), show_progress_bar=False, convert_to_numpy=True, **self._arguments
        )
        return found

    def hint(self, tokens: int) -> str:
        return ""


def check(arguments: Mapping[str, Any]) -> None:
    """Refuses arguments of ``encode`` that cannot be given here.

    Raises
    ------
    vonk.InvalidError
        There is one.
    """
    for name in _OWN:
        if name in arguments:
            raise InvalidError(f"argument '{name}': vonk sets it: leave it out (batch_size= is an argument of its own)")
    if arguments.get("precision") in _CALIBRATED:
        raise InvalidError(
            f"precision: '{arguments['precision']}' takes its scale from the rows of a batch, so that a row's result"
            " depends on its neighbours: use 'float32', 'binary' or 'ubinary'"
        )
