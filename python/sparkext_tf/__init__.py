"""The plug-in for TensorFlow and Keras: ``sparkext.load("sparkext_tf", zip)``; installed, ``sparkext.load("tf")``."""

from __future__ import annotations

from sparkext import tensorflow
from sparkext._vonk import ModulePlugin
from sparkext.framework import Plugin

__all__ = ["model", "model_summary", "model_udf", "plugin"]

_PLUGIN = ModulePlugin(tensorflow)
model = _PLUGIN.model
model_udf = tensorflow.model_udf
model_summary = tensorflow.model_summary


def plugin() -> Plugin:
    """An object with the three functions."""
    return _PLUGIN
