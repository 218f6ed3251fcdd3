"""What a PyTorch model takes: said by the user, by the model itself, or found out.

How it works: a module does not say the shapes of its inputs. With names of several columns and nothing else, each is
one number per row. Of a module whose first layer is linear, the number of features is known; whether ``forward`` takes
such rows is tried on a copy. A model of sequences may take them, too, as the steps of one sequence: then a row's result
depends on the others, and the shape has to be said, as everywhere else.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from vonk import InvalidError
from vonk.packing import torch_module
from vonk.packing._opened import SHORT

from sparkext._given import shapes_of, written

_HINTS = {"Conv1d": "[{0}, 100]", "Conv2d": "[{0}, 28, 28]", "Conv3d": "[{0}, 16, 28, 28]", "Linear": "[10, {0}]"}
_LOOKUPS = ("Embedding", "EmbeddingBag")


def describe(model: Any, shape: Sequence[Any] | None, columns: Sequence[str] | None) -> list[str]:
    """The inputs as ``vonk.pack`` takes them: ``["x:f32[-1,4]"]``; none if the model describes them itself.

    Parameters
    ----------
    model
        A module of Python or of TorchScript; anything else describes itself.
    shape, columns
        ``input_shape``, ``input_columns``.

    Raises
    ------
    vonk.InvalidError
        They are not known, or do not fit ``forward``.
    """
    if not isinstance(model, nn.Module):
        return []
    module = torch_module.unwrapped(model)
    needed, optional = _arguments(module)
    if shape is not None:
        shapes = shapes_of(shape)
    elif any(getattr(module, name, None) is not None for name in ("example_inputs", "example_input_array")):
        return []
    elif columns is not None and len(needed) > 1:
        shapes = [[]] * len(columns)
    else:
        shapes = [_found(module, needed)]
    names = [*needed, *optional][: len(shapes)]
    if not len(needed) <= len(shapes) <= len(names):
        raise InvalidError(
            f"{_name(module)}: forward takes {', '.join([*needed, *optional]) or 'nothing'}, {len(shapes)} inputs are"
            " described: give input_shape= a shape for each, and input_columns= a name for each"
        )
    dtype = SHORT[torch_module.NAMES[_dtype(module)]]
    return [written(name, dtype, row) for name, row in zip(names, shapes, strict=True)]


def _name(module: nn.Module) -> str:
    return str(getattr(module, "original_name", type(module).__name__))


def _arguments(module: nn.Module) -> tuple[list[str], list[str]]:
    """Of forward: those without a default, and those with one."""
    if isinstance(module, torch.jit.ScriptModule):
        given: Any = module.forward
        takes = [(one.name, one.has_default_value()) for one in given.schema.arguments[1:]]
    else:
        parameters = inspect.signature(module.forward).parameters.values()
        named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        takes = [(one.name, one.default is not one.empty) for one in named]
    return [name for name, has_default in takes if not has_default], [name for name, has in takes if has]


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Those with weights of their own, in the order in which they were made."""
    return (part for part in module.modules() if any(True for _ in part.parameters(recurse=False)))


def _dtype(module: nn.Module) -> torch.dtype:
    """Of the first layer's weights; ids are int64."""
    first = next(_layers(module), None)
    if first is None:
        return torch.float32
    if _name(first) in _LOOKUPS:
        return torch.int64
    return next(iter(first.parameters(recurse=False))).dtype


def _found(module: nn.Module, needed: Sequence[str]) -> list[int]:
    """The shape of a row, if the first layer is linear and forward takes rows of so many features."""
    first = next(_layers(module), None)
    failure = ""
    if first is not None and _name(first) == "Linear" and len(needed) <= 1:
        features = next(iter(first.parameters(recurse=False))).shape[1]
        twin = copy.deepcopy(module) if isinstance(module, torch.jit.ScriptModule) else torch_module.copied(module)
        try:
            mixes = _mixes_rows(
                twin.eval(), torch.linspace(-1, 1, 3 * features).reshape(3, features).to(_dtype(module))
            )
        except Exception as error:
            failure = f" (rows of {features} are not it: {torch_module.first_line(error)})"
        else:
            if not mixes:
                return [int(features)]
            failure = f" (rows of {features} are not it: a row's result is another beside other rows)"
    raise InvalidError(
        f"{_name(module)}: a module of PyTorch does not say the shape of its inputs{failure}: give input_shape=, such"
        f" as {_hint(first, needed)}, or setInputShape of a stage"
    )


def _mixes_rows(model: nn.Module, rows: torch.Tensor) -> bool:
    """Whether a row gives something else alone than among others, or rows do not give one result each."""
    with torch.inference_mode():
        together, again = _tensors(model(rows)), _tensors(model(rows))
        if any(len(one) != len(rows) for one in together):
            return True
        if any(not torch.equal(one, other) for one, other in zip(together, again, strict=True)):
            return False  # it draws at random
        try:
            alone = [_tensors(model(rows[i : i + 1])) for i in range(len(rows))]
        except Exception:
            return False  # it wants more than one row, or lost a dimension; packing says what is wrong
    for i, row in enumerate(alone):
        if any(not _is_close(one[i], other) for one, other in zip(together, row, strict=True)):
            return True
    return False


def _is_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Of two results for a row, the second of which may have a dimension for the one row there was."""
    return one.numel() == other.numel() and torch.allclose(
        one.double().flatten(), other.double().flatten(), rtol=1e-3, atol=1e-4
    )


def _tensors(found: Any) -> list[torch.Tensor]:
    """Those of a result: one, or several in a list or mapping."""
    if isinstance(found, torch.Tensor):
        return [found]
    values = found.values() if isinstance(found, Mapping) else found if isinstance(found, list | tuple) else ()
    return [tensor for value in values for tensor in _tensors(value)]


def _hint(first: nn.Module | None, needed: Sequence[str]) -> str:
    if len(needed) > 1:
        return f"{[[4]] * len(needed)} for {', '.join(needed)}, or input_columns= if each is one number per row"
    name = "" if first is None else _name(first)
    if first is not None and name in _HINTS:
        return _HINTS[name].format(next(iter(first.parameters(recurse=False))).shape[1])
    return "[16]" if name in _LOOKUPS else "[3, 224, 224]"
