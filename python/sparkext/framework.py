"""What a plug-in is: an implementation of :class:`Plugin` for one deep-learning framework.

A plug-in is a module with a function ``plugin()`` that gives an object of such a class. :func:`sparkext.load` finds the
module, in a zip file or installed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sparkext.model import ExternalModel as Model

__all__ = ["Model", "ModelSummary", "Plugin", "TensorSummary"]


@dataclass(frozen=True)
class TensorSummary:
    """An input or output of a model.

    Attributes
    ----------
    shape
        Dimensions, the first of which counts rows; -1 is free. None if the model does not say.
    dtype
        The type of a column for it, in Spark's words: ``"array<float>"``.
    name
        As the model has it.
    """

    shape: list[int] | None
    dtype: str
    name: str | None = None


@dataclass(frozen=True)
class ModelSummary:
    """What a model is, whatever its framework.

    Attributes
    ----------
    num_params
        Trained numbers; None if they are not known.
    inputs, outputs
        In the model's order.
    return_type
        Of a function over the model, as DDL: ``"array<float>"``, or a struct of several outputs.
    """

    num_params: int | None
    inputs: list[TensorSummary]
    outputs: list[TensorSummary]
    return_type: str

    def get_return_type(self, names: bool = False, return_names: bool = False) -> str:
        """The types of the outputs, with a comma between them.

        Parameters
        ----------
        names, return_names
            With their names, as the fields of a DataFrame's schema: ``"probabilities array<float>, species string"``.
            The two mean the same.
        """
        has_names = names or return_names
        return ", ".join(f"{_quoted(one.name)} {one.dtype}" if has_names else one.dtype for one in self.outputs)


def _quoted(name: str | None) -> str:
    return name if name and name.isidentifier() else f"`{name}`"


class Plugin(ABC):
    """What a framework's plug-in can do."""

    @abstractmethod
    def model_summary(self, model: Any) -> ModelSummary:
        """What a model is."""

    @abstractmethod
    def model_udf(
        self,
        model: Any,
        model_loader: Callable[[Any], Any] | None = None,
        input_columns: Sequence[str] | None = None,
        batch_size: int = -1,
        **kwargs: Any,
    ) -> Callable[..., Any]:
        """A model as a function of columns.

        Parameters
        ----------
        model
            A path, or a live model of the framework; with a loader, its argument.
        model_loader
            Called on the workers, with `model`: gives the live model.
        input_columns
            Names of the model's inputs, in the order of a call's columns.
        batch_size
            Rows in one run of the model; below 1, the plug-in chooses.
        """

    @abstractmethod
    def model(
        self,
        model: Any,
        model_loader: Callable[[Any], Any] | None = None,
        input_columns: Sequence[str] | None = None,
        batch_size: int = -1,
        **kwargs: Any,
    ) -> Model:
        """A model as a stage of Spark ML; parameters as for :meth:`model_udf`."""
