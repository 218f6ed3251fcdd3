"""Models of TensorFlow and Keras."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from vonk.spark import ModelUDF

from sparkext._given import Describing, Given, shapes_of, written
from sparkext._vonk import Framework, FrameworkModel
from sparkext.framework import ModelSummary

__all__ = ["Model", "model_summary", "model_udf"]


def _describe(model: Any, shape: Sequence[Any] | None, columns: Sequence[str] | None) -> list[str]:
    """The inputs of a model of Keras that does not know them, of a class of one's own; named as in its ``call``."""
    if shape is None or getattr(model, "inputs", None):
        return []
    shapes = shapes_of(shape)
    takes = inspect.signature(model.call).parameters.values() if hasattr(model, "call") else ()
    named = [one.name for one in takes if one.default is one.empty and one.name not in ("training", "mask")]
    numbered = [f"input_{i}" for i in range(len(shapes))]
    names = next(known for known in (named, columns, numbered) if known is not None and len(known) == len(shapes))
    return [written(name, "f32", row) for name, row in zip(names, shapes, strict=True)]


def _prepare(given: Given) -> Given:
    describing = Describing(given.pack or {}, given.shape, given.columns, _describe)
    if given.loader is not None:
        return replace(given, pack=describing)
    return given if isinstance(given.model, str | os.PathLike) else replace(given, pack=describing(given.model) or None)


_FRAMEWORK = Framework("sparkext.tensorflow", "tensorflow", _prepare)


def model_udf(
    model: Any,
    model_loader: Callable[[Any], Any] | None = None,
    input_columns: Sequence[str] | None = None,
    batch_size: int = -1,
    **kwargs: Any,
) -> ModelUDF:
    """A model as a function of columns.

    Parameters
    ----------
    model
        The path of a SavedModel, of a ``.keras`` or ``.h5`` file; or a Keras model.
    model_loader
        Called on the workers only, with `model`: gives a path there, or a Keras model.
    input_columns
        Names of the model's inputs, in the order of a call's columns.
    batch_size
        Rows in one run of the model; below 1 chooses.
    input_shape : list, optional
        For a model that does not know the shapes of its inputs, of a class of one's own with several: of a row,
        ``[784]``, or of a batch, ``[-1, 784]``; of several inputs a list of shapes.
    **kwargs
        Of :func:`vonk.spark.model_udf`; others are left out, with a warning.

    Raises
    ------
    vonk.Error
        The model cannot be opened.
    ImportError
        TensorFlow is not installed, and needed here.
    """
    return _FRAMEWORK.udf(Given(model, model_loader, columns=input_columns), batch_size, kwargs)


def model_summary(model: Any, model_loader: Callable[[Any], Any] | None = None, **kwargs: Any) -> ModelSummary:
    """What a model is: the size of it, its inputs and outputs, the type of its predictions.

    Parameters
    ----------
    model, model_loader, **kwargs
        As for :func:`model_udf`.
    """
    return _FRAMEWORK.summary(Given(model, model_loader), kwargs)


class Model(FrameworkModel):
    """A model as a stage of Spark ML: ``Model(model).setInputCol("data").setOutputCol("preds")``.

    Parameters
    ----------
    model, model_loader, input_columns, batch_size, **kwargs
        As for :func:`model_udf`; each but the first two is also a parameter of the stage.
    """

    _framework = _FRAMEWORK
