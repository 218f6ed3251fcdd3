"""PyTorch models: modules, TorchScript, exported programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vonk.spark import ModelUDF

from sparkext._given import Given
from sparkext._vonk import Framework, FrameworkModel
from sparkext.framework import ModelSummary

__all__ = ["Model", "model_summary", "model_udf"]


def _prepare(given: Given) -> Given:
    from sparkext.torch._prepare import prepare  # noqa: PLC0415 - imports torch

    return prepare(given)


_FRAMEWORK = Framework("sparkext.torch", "torch", _prepare)


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
        A module; or the path of TorchScript (``.ts``, ``.pt``), of an exported program (``.pt2``), or of a pickled
        module (``.pt``, ``.pth``), which needs ``trust=True``. With a loader, its argument.
    model_loader
        Called on the workers only, with `model`: gives a module, or a path there.
    input_columns
        Names of forward's arguments, in the order of a call's columns. Without ``input_shape``, each is one number
        per row.
    batch_size
        Rows in one run of the model; below 1 chooses.
    input_shape : list, optional
        The shape of a row, ``[1, 28, 28]``, or of a batch, ``[-1, 1, 28, 28]``; of several inputs a list of shapes. A
        module that begins with a linear layer, and a file that says it, do not need it.
    trust : bool, optional
        Code in a pickled module may be run. Only for files whose author you trust.
    **kwargs
        Of :func:`vonk.spark.model_udf`; others are left out, with a warning.

    Raises
    ------
    vonk.InvalidError
        The shape of the inputs is not known, or the file holds a state_dict alone. It is a ``ValueError``.
    ImportError
        PyTorch is not installed, and needed here.
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
