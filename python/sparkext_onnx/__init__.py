"""The plug-in for ONNX models: ``sparkext.load("sparkext_onnx", zip)``; installed, ``sparkext.load("onnx")``."""

from __future__ import annotations

from sparkext import onnx
from sparkext._vonk import ModulePlugin
from sparkext.framework import Plugin

__all__ = ["model", "model_summary", "model_udf", "plugin"]

_PLUGIN = ModulePlugin(onnx)
model = _PLUGIN.model
model_udf = onnx.model_udf
model_summary = onnx.model_summary


def plugin() -> Plugin:
    """An object with the three functions."""
    return _PLUGIN
