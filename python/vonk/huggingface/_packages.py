"""The packages of Hugging Face, which may be missing: imported where they are needed, or one message says what is."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vonk._errors import UnsupportedError

_INSTALL = {
    "transformers": "transformers torch",
    "sentence_transformers": "sentence-transformers",
    "huggingface_hub": "huggingface_hub",
}


class MissingPackageError(UnsupportedError, ImportError):
    """A package that a model needs is not installed."""


MissingPackageError.__module__ = "vonk.huggingface"


def require(package: str) -> Any:
    """A package of Hugging Face, or ``torch``.

    Raises
    ------
    MissingPackageError
        It cannot be imported.
    """
    if package in ("transformers", "sentence_transformers"):
        _import("torch")
    return _import(package)


def _import(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"vonk.huggingface: {package} not found: {error}: pip install {_INSTALL.get(package, package)}, or make"
            " setup EXTRAS=huggingface",
            "VONK_UNSUPPORTED",
        ) from error


def limit_threads(threads: int) -> None:
    """Lets PyTorch and the tokenizers use so many threads; the tokenizers only if nobody has used them yet."""
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
    _import("torch").set_num_threads(threads)


@contextmanager
def no_progress() -> Iterator[None]:
    """Opening a model draws no progress bar: on a worker it would go into a log."""
    try:
        logging = require("transformers").utils.logging
    except MissingPackageError:
        yield  # whoever opens the model says what is missing for that
        return
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()
