"""What all models of Hugging Face have in common once they are open: where they came from, their size, their end."""

from __future__ import annotations

import gc
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow

from vonk._errors import Error, ModelError
from vonk._stats import Stats
from vonk.huggingface import _folder, _results, _rows
from vonk.huggingface._packages import no_progress


class Opened(ABC):
    """A model that is open. Subclasses load it and bind it to the arguments of its calls.

    Attributes
    ----------
    live
        The object of the framework: a SentenceTransformer, a Pipeline, a pair of model and tokenizer.
    title
        What messages call it.
    """

    kind: str

    def __init__(
        self,
        model: Any,
        *,
        device: str = "cpu",
        dtype: str | None = None,
        task: str | None = None,
        revision: str | None = None,
        allow_pickle: bool = False,
    ) -> None:
        self._device = device
        self._dtype = dtype
        self._allow_pickle = allow_pickle
        self._task = task
        self.stats = Stats()
        if isinstance(model, str | os.PathLike):
            folder = Path(model)
            if not folder.exists() and _folder.is_id(os.fspath(model)):
                folder = _folder.fetch(os.fspath(model), self.kind, revision=revision, allow_pickle=allow_pickle)
            self.title = _folder.title_of(folder)
            self.live = self._open(folder)
        else:
            self.title = type(model).__name__
            self.live = self._adopt(model)

    def _open(self, folder: Path) -> Any:
        _folder.check(folder, allow_pickle=self._allow_pickle)
        try:
            with no_progress():
                return self._load(folder)
        except (Error, MemoryError):
            raise
        except Exception as error:
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
            raise ModelError(
                f"model '{self.title}': cannot be opened as a {self.kind}: {type(error).__name__}: {reason}",
                "VONK_MODEL",
            ) from error

    @abstractmethod
    def _load(self, folder: Path) -> Any:
        """Opens a folder that was looked into."""

    def _adopt(self, model: Any) -> Any:
        """Takes a live object."""
        return model

    @abstractmethod
    def bind(self, arguments: Mapping[str, Any]) -> _rows.Model:
        """With the arguments of its calls."""

    def _how(self) -> dict[str, Any]:
        """Keywords of ``from_pretrained``: nothing from the network, no pickles, no code."""
        safe: dict[str, Any] = {} if self._allow_pickle else {"use_safetensors": True}
        return {"local_files_only": True, "trust_remote_code": False, "dtype": self._dtype or "auto", **safe}

    @property
    def nbytes(self) -> int:
        """Of its parameters and buffers."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors())

    def _tensors(self) -> list[Any]:
        module = self._module()
        return [*module.parameters(), *module.buffers()]

    def _module(self) -> Any:
        return self.live

    def close(self) -> None:
        """Frees its memory."""
        self.live = None
        gc.collect()

    def predict(
        self,
        *columns: pyarrow.Array,
        returns: pyarrow.DataType | None = None,
        nulls: str = "null",
        on_error: str = "raise",
        batch_size: int | None = None,
        **arguments: Any,
    ) -> pyarrow.Array:
        """The results for rows of text.

        Parameters
        ----------
        *columns
            Arrow arrays of text, of one length; or a struct of those, whose fields have the names that the model knows.
        returns
            The type of a result; None is the model's own.
        nulls, on_error
            As everywhere in vonk: ``"null"``, ``"error"``; ``"raise"``, ``"null"``, ``"report"``.
        batch_size
            Rows of one run; None chooses.
        **arguments
            Of the model's calls.

        Raises
        ------
        vonk.Error
            A row failed; its ``row`` counts from the first.
        """
        bound = self.bind(arguments)
        kind = returns if returns is not None else self.returns(arguments)
        plan = _rows.Plan(_results.builder(kind), kind, nulls, on_error, batch_size)
        names: Sequence[str] = bound.names[: len(columns)]
        found, counted = _rows.predict(bound, columns, names, plan)
        self.stats = self.stats.plus(counted)
        return found

    @abstractmethod
    def returns(self, arguments: Mapping[str, Any]) -> pyarrow.DataType:
        """The type of a result."""
