"""A model as users give it, and as ``vonk.spark`` takes it. Workers import this module, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Given:
    """A model, and what is said of it.

    Attributes
    ----------
    model, loader, pack
        ``model``, ``model_loader`` and ``pack`` of ``vonk.spark.model_udf``. With a loader, ``pack`` may be a function
        of the live model.
    shape, columns
        ``input_shape`` and ``input_columns``, if they are said.
    """

    model: Any
    loader: Callable[..., Any] | None = None
    pack: Any = None
    shape: Sequence[Any] | None = None
    columns: Sequence[str] | None = None
