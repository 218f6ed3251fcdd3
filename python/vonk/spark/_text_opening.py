"""Opening a model of Hugging Face on a worker: the zip that Spark brought, a folder that every node has, or a loader's.

How it works: the zip is compared with the digest that the driver saw, and unpacked beside Spark's copy by the first of
an executor's workers; from the folder each worker opens the model for itself, once.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import vonk
from vonk.huggingface import Generator, Pipeline, SentenceEncoder
from vonk.huggingface._archive import unpack
from vonk.huggingface._folder import digest, weight_bytes
from vonk.huggingface._opened import Opened
from vonk.huggingface._packages import limit_threads
from vonk.spark import _loader
from vonk.spark._opening import locate
from vonk.spark._spec import Source
from vonk.spark._threads import Threads

KINDS: dict[str, type[Opened]] = {"encoder": SentenceEncoder, "pipeline": Pipeline, "generator": Generator}
#: Of PyTorch and the tokenizers.
threads = Threads(limit_threads)


class TextOpening:
    """A model about to be opened: the size of its weights is known first, so that room can be made for it.

    Attributes
    ----------
    nbytes
        Of its weights on disk; of a live object, 0.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._given = self._load() if source.loader is not None else _find(source)
        self.nbytes = weight_bytes(self._given) if isinstance(self._given, Path) else 0

    def __enter__(self) -> TextOpening:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given = None

    def open(self) -> Opened:
        """Opens it.

        Raises
        ------
        vonk.Error
            It cannot be opened here.
        """
        assert self._source.kind is not None
        threads.follow_task()
        try:
            options: dict[str, Any] = dict(self._source.options)
            return KINDS[self._source.kind](self._given, **options)
        except vonk.Error as error:
            message = error.message
            if isinstance(self._given, Path):
                message = message.replace(self._given.name, self._source.title)  # not the name of Spark's copy
            if self._source.loader is not None:
                message = f"model_loader {self._source.title}: {message}"
            raise type(error)(message, error.code, error.row, error.native_code) from None

    def weight_bytes(self, model: Any) -> int:
        """Of what it opened."""
        return int(model.nbytes)

    def _load(self) -> Any:
        found, _ = _loader.call(self._source)
        if isinstance(found, str | os.PathLike):
            path = Path(found)
            if not path.exists():
                raise vonk.FileError(
                    f"model_loader {self._source.title}: gave '{path}', which is not on this node", "VONK_IO"
                )
            return path
        if found is None:
            raise vonk.InvalidError(
                f"model_loader {self._source.title}: gave nothing: return a folder on the worker, or a model"
            )
        return found


def _find(source: Source) -> Path:
    assert source.file is not None and source.sha256 is not None
    path = Path(locate(source))
    if path.is_absolute() and os.fspath(path) == source.file:
        return _everywhere(path, source)
    folder = path.with_name(f"{path.name}.folder")
    if not folder.is_dir() and not path.exists():
        raise vonk.FileError(f"model '{source.title}': Spark's copy of it was removed: '{path}'", "VONK_IO")
    return unpack(path, folder, source.sha256)


def _everywhere(path: Path, source: Source) -> Path:
    if not path.is_dir():
        raise vonk.FileError(
            f"model '{source.title}': 'local:' says that every node has it, but there is no folder '{path}' here",
            "VONK_IO",
        )
    found = digest(path, allow_pickle=bool(dict(source.options).get("allow_pickle")))
    if found != source.sha256:
        raise vonk.ModelError(
            f"model '{source.title}': has sha256 {found} on this node, pinned is {source.sha256}", "VONK_MODEL"
        )
    return path
