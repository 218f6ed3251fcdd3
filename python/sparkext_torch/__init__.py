"""The plug-in for PyTorch: ``sparkext.load("sparkext_torch", zip)``; installed, ``sparkext.load("torch")``."""

from __future__ import annotations

from sparkext import torch
from sparkext._vonk import ModulePlugin
from sparkext.framework import Plugin

__all__ = ["model", "model_summary", "model_udf", "plugin"]

_PLUGIN = ModulePlugin(torch)
model = _PLUGIN.model
model_udf = torch.model_udf
model_summary = torch.model_summary


def plugin() -> Plugin:
    """An object with the three functions."""
    return _PLUGIN
