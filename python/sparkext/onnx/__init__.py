"""ONNX models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vonk.spark import ModelUDF

from sparkext._given import Given
from sparkext._vonk import Framework, FrameworkModel
from sparkext.framework import ModelSummary

__all__ = ["Model", "model_summary", "model_udf"]

_FRAMEWORK = Framework("sparkext.onnx", "onnxruntime")


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
        The path of an ONNX model, with external data or without; or an ``onnx.ModelProto``.
    model_loader
        Called on the workers only, with `model`: gives a path there, or an ``onnx.ModelProto``.
    input_columns
        Names of the model's inputs, in the order of a call's columns.
    batch_size
        Rows in one run of the model; below 1 chooses.
    **kwargs
        Of :func:`vonk.spark.model_udf`; others are left out, with a warning.
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
