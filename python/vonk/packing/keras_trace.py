"""A Keras model as one traced function: to a SavedModel, to ONNX, and the original's predictions."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vonk.packing import _opened, keras_names
from vonk.packing._plan import Array, PackError, Port, Request

_OPSET = 18


@dataclass(frozen=True)
class Traced:
    """A model, and the function of flat, named tensors that it became.

    Attributes
    ----------
    model
        Kept alive: the function uses its variables.
    called
        Its inputs, and how it is run.
    function
        Inputs and outputs under the names of ``tensors_in`` and ``tensors_out``, which are identifiers.
    """

    model: Any
    called: keras_names.Called
    function: Any
    specs: list[Any]
    tensors_in: dict[str, str]
    tensors_out: dict[str, str]


def check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        kind = type(model).__name__
        raise PackError(f"{kind}: is no model: put it into one, keras.Sequential([keras.Input(...), layer])")
    if not model.built:
        raise PackError(
            "the model is not built, so it has no weights yet: call it once, or build it with its input's shape"
        )


def trace(model: Any, request: Request) -> Traced:
    """Traces the model's call, for inference.

    Raises
    ------
    PackError
        The model cannot be traced, or returns what is no tensor.
    """
    request.progress("tracing the Keras model")
    called = keras_names.called(model, request)
    tensors_in = _identifiers([port.name for port in called.inputs])
    specs = [
        tf.TensorSpec([None if dim < 0 else dim for dim in port.shape], port.dtype, tensors_in[port.name])
        for port in called.inputs
    ]
    names: list[str] = []

    def serve(*tensors: Any) -> dict[str, Any]:
        found = called.run(tensors)
        names[:] = found
        return dict(zip(_identifiers(list(found), tensors_in).values(), found.values(), strict=True))

    function = tf.function(serve, input_signature=specs, autograph=False)
    try:
        concrete = function.get_concrete_function()
    except PackError:
        raise
    except Exception as error:
        raise PackError(f"the model cannot be traced: {_reason(error)}") from error
    return Traced(model, called, concrete, specs, tensors_in, _identifiers(names, tensors_in))


def _identifiers(names: list[str], taken: Mapping[str, str] | None = None) -> dict[str, str]:
    """Names that TensorFlow leaves as they are, and that tf2onnx does not mix up with others."""
    found: dict[str, str] = {}
    others = {name.lower() for name in (taken or {}).values()}
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "t"
        plain = plain if plain[0].isalpha() else f"t_{plain}"
        unique, i = plain, 1
        while unique.lower() in others:
            i += 1
            unique = f"{plain}_{i}"
        found[name] = unique
        others.add(unique.lower())
    return found


def _reason(error: BaseException) -> str:
    """Of what Keras raised, the line that says what: it wraps errors in its own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


# --- to a SavedModel ---


def save_savedmodel(traced: Traced, folder: Path) -> tuple[Path, list[Port], list[Port], str]:
    """Writes it; the folder, the ports as the plug-in has them, and what wrote it."""
    holder = tf.Module()
    holder.trained = _in_order(traced)
    holder.tables = _tables(traced.model)
    tf.saved_model.save(holder, str(folder), signatures={"serving_default": traced.function})
    (folder / "fingerprint.pb").unlink(missing_ok=True)  # random, and read by nobody
    inputs, outputs = _opened.ports(folder)
    return folder, *_both(traced, inputs, outputs), f"tensorflow {tf.__version__}"


def _in_order(traced: Traced) -> list[Any]:
    """The function's variables in the model's order: its own is another in each process, and equal models shall give
    equal bytes."""
    places = {id(variable.value): i for i, variable in enumerate(traced.model.variables)}
    return sorted(
        traced.function.variables, key=lambda variable: (places.get(id(variable), len(places)), variable.name)
    )


def _tables(model: Any) -> list[Any]:
    """Lookup tables and other resources of the model's layers, which a SavedModel keeps only if it is told of them."""
    known: dict[Any, Any] = {}

    class View(tf.train.TrackableView):  # type: ignore[misc]
        """What a SavedModel would see below an object."""

        @classmethod
        def children(cls, obj: Any, save_type: str = "savedmodel", **more: Any) -> Any:
            try:
                return super().children(obj, save_type, cache=known, **more)
            except TypeError:  # an object of Keras that cannot be asked
                return {}

    return [
        item for item in View(model).descendants() if isinstance(item, tf.saved_model.experimental.TrackableResource)
    ]


def _both(traced: Traced, inputs: Sequence[Port], outputs: Sequence[Port]) -> tuple[list[Port], list[Port]]:
    """TensorFlow sorts a function's outputs by name."""
    ins, outs = traced.tensors_in, traced.tensors_out
    return _users(inputs, ins, list(ins.values())), _users(outputs, outs, sorted(outs.values()))


def _users(ports: Sequence[Port], tensors: Mapping[str, str], order: Sequence[str]) -> list[Port]:
    """In the model's order, under the names users know."""
    by_tensor = {port.name: port for port in ports}
    if set(by_tensor) != set(tensors.values()):  # ONNX has no two tensors of one name, TensorFlow may
        by_tensor = dict(zip(order, ports, strict=True))
    return [_rows_called_n(replace(by_tensor[tensor], name=name)) for name, tensor in tensors.items()]


# --- to ONNX ---


def _rows_called_n(port: Port) -> Port:
    """tf2onnx calls free dimensions unk__8; the rows are N, as everywhere."""
    free = port.shape[:1] == (-1,)
    return replace(port, dim_names=("N", *[None] * (len(port.shape) - 1)) if free else ())


def save_onnx(traced: Traced, folder: Path) -> tuple[Path, list[Port], list[Port], str]:
    """The same through tf2onnx."""
    tf2onnx = _opened.need("tf2onnx", "tensorflow", "--to onnx of a Keras model")
    folder.mkdir()
    path = folder / "model.onnx"
    _patch()
    log = _Log()
    logging.getLogger("tf2onnx").addHandler(log)
    try:
        tf2onnx.convert.from_function(
            tf.function(traced.function), input_signature=traced.specs, opset=_OPSET, output_path=str(path)
        )
    except Exception as error:
        raise PackError(f"tf2onnx cannot convert the model: {_reason(error)}: leave out --to onnx") from error
    finally:
        logging.getLogger("tf2onnx").removeHandler(log)
    if log.unsupported:
        raise PackError(f"tf2onnx cannot convert the model: {log.unsupported}: leave out --to onnx")
    inputs, outputs = _opened.ports(path)
    if len(inputs) != len(traced.tensors_in) or len(outputs) != len(traced.tensors_out):
        raise PackError("tf2onnx left out inputs or outputs of the model that it found unused: leave out --to onnx")
    return path, *_both(traced, inputs, outputs), _opened.version("tf2onnx")


class _Log(logging.Handler):
    """tf2onnx writes operations that it does not know into the file, and only logs that."""

    unsupported = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().partition("\n")[0].partition(" (fct=")[0]
        if text.startswith(("Unsupported ops", "Failed to convert node")):
            self.unsupported = self.unsupported or text


def _patch() -> None:
    """tf2onnx 1.17 uses what NumPy 2 has no more; Keras brings the same places in order for its own export."""
    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module("keras.src.export.tf2onnx_lib").patch_tf2onnx()


# --- the original ---


def reference(traced: Traced) -> Callable[[Mapping[str, Array]], Mapping[str, Array]]:
    """The model's own call, not traced."""
    ports = traced.called.inputs

    def predict(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        tensors = [tf.constant(inputs[port.name], port.dtype) for port in ports]
        return {name: _values(value) for name, value in traced.called.run(tensors).items()}

    return predict


def _values(tensor: Any) -> Array:
    return np.asarray(tf.cast(tensor, tf.float32) if tensor.dtype == tf.bfloat16 else tensor)


def framework() -> str:
    return f"keras {keras.__version__}, tensorflow {tf.__version__}"
