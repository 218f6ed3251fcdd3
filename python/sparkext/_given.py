"""A model as users give it, and as ``vonk.spark`` takes it. Workers import this module, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True)
class Describing:
    """Arguments of ``vonk.pack`` for a live model: those given, and its inputs. It travels with a loader.

    Attributes
    ----------
    pack, shape, columns
        As in :class:`Given`.
    describe
        Of a module: gives the inputs of a model, from shape and columns, as ``vonk.pack`` takes them; none if the model
        says them itself.
    """

    pack: Mapping[str, Any]
    shape: Sequence[Any] | None
    columns: Sequence[str] | None
    describe: Callable[[Any, Sequence[Any] | None, Sequence[str] | None], list[str]]

    def __call__(self, model: Any) -> Mapping[str, Any]:
        if "inputs" in self.pack or "samples" in self.pack:
            return self.pack
        inputs = self.describe(model, self.shape, self.columns)
        return {**self.pack, "inputs": inputs} if inputs else self.pack


def shapes_of(shape: Sequence[Any]) -> list[list[int]]:
    """An ``input_shape`` as the shapes of rows, one for each input; -1 is free.

    The first -1 of a shape counts rows, and is left out.
    """
    shapes = shape if any(isinstance(one, Sequence) for one in shape) else [shape]
    every = [[-1 if dim is None else int(dim) for dim in one] for one in shapes]
    return [dims[1:] if dims[:1] == [-1] else dims for dims in every]


def written(name: str, dtype: str, row: Sequence[int]) -> str:
    """An input as ``vonk.pack`` takes it: ``"x:f32[-1,4]"``."""
    return f"{name}:{dtype}[{','.join(map(str, [-1, *row]))}]"
