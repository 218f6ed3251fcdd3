"""PyTorch models as ``vonk.spark`` takes them: on the driver, or on the workers where there is a loader.

How it works: ``vonk.pack`` wants to be told what a module's inputs are. They are found here (``_inputs``) and passed on
as its argument ``inputs``; the model itself stays what it was. A loader runs on the workers, so there both are done by
objects that travel with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import vonk
from torch import nn
from vonk.packing import PackError, _recognise, torch_files

from sparkext._given import Describing, Given
from sparkext.torch import _inputs


def prepare(given: Given) -> Given:
    """What ``vonk.spark`` takes.

    Raises
    ------
    vonk.InvalidError
        The inputs of a module are not known, or a file holds no network that may be loaded.
    """
    assert not callable(given.pack)
    pack = dict(given.pack or {})
    describing = Describing(pack, given.shape, given.columns, _inputs.describe)
    if given.loader is not None:
        return replace(given, loader=Loading(given.loader, bool(pack.get("trust"))), pack=describing)
    model = given.model
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        model = module_of(path, pack) if path.is_file() else None
    if isinstance(model, Mapping) and all(isinstance(value, torch.Tensor) for value in model.values()):
        raise _weights_alone("model")
    return replace(given, pack=describing(model) or None)


@dataclass(frozen=True)
class Loading:
    """A loader whose files of PyTorch become live modules where they have to be described."""

    function: Callable[..., Any]
    trust: bool

    @property
    def __name__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, *arguments: Any) -> Any:
        given = self.function(*arguments)
        if isinstance(given, str | os.PathLike) and Path(given).is_file():
            module = module_of(Path(given), {"trust": self.trust})
            return given if module is None else module
        return given


def module_of(path: Path, pack: Mapping[str, Any]) -> nn.Module | None:
    """The module in a file, for its inputs; None if the file says them itself, or is another's.

    Raises
    ------
    vonk.InvalidError
        It holds weights without a network, or a pickle that is not trusted.
    vonk.Error
        It is refused.
    """
    if not _recognise.needs_packing(path):
        is_script = path.read_bytes()[:2] == b"PK" and torch_files.kind_of(path) == "torchscript"
        return _script(path) if is_script else None
    if torch_files.kind_of(path) == "exported":
        return None
    if "module" in pack:
        return _with_class(path, pack["module"])
    if not pack.get("trust"):
        raise _refusal(path)
    module = torch_files.pickled_module(path, trust=True)
    if not isinstance(module, nn.Module):
        raise _weights_alone(path)
    return module


def _script(path: Path) -> nn.Module | None:
    """TorchScript that does not say its inputs. vonk's plug-in looks through a file before PyTorch sees it."""
    try:
        vonk.open(path).close()
    except vonk.Error as error:
        if "of what dtype and shape its inputs are" not in error.message:
            raise
        jit: Any = torch.jit  # it has no types
        module: nn.Module = jit.load(os.fspath(path), map_location="cpu")
        return module
    return None


def _with_class(path: Path, made: Any) -> nn.Module | None:
    """None if the class is given by name: ``vonk.pack`` finds it, and says what is to be said."""
    return torch_files.module_with_state(path, made)[0] if callable(made) else None


def _refusal(path: Path) -> vonk.InvalidError:
    try:
        torch_files.state_dict(path)
    except PackError as error:
        if "pickled objects" not in error.message:
            return vonk.InvalidError(error.message)
        return vonk.InvalidError(
            f"{path}: holds a pickled module, and to load it is to run code: pass trust=True if you made it, save its"
            " state_dict() and give model_loader= a function that makes the module, or pass the live module"
        )
    return _weights_alone(path)


def _weights_alone(path: Path | str) -> vonk.InvalidError:
    return vonk.InvalidError(
        f"{path}: is a state_dict, weights without their network: give model_loader= a function that makes the"
        " module and loads them, or pack={'module': the class}"
    )
