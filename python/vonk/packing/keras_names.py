"""What users call a Keras model's inputs and outputs, and the structure that the model wants and gives them in."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from vonk.packing._plan import PackError, Port, Request

#: Names that Keras makes up where there is none.
_MADE_UP_INPUT = re.compile(r"keras_tensor(_\d+)?")
_MADE_UP_LAYER = re.compile(r"[a-z0-9_]+_\d+|dense|activation|softmax|concatenate|add|multiply|flatten|reshape|lambda")


@dataclass(frozen=True)
class Called:
    """A model with flat inputs and outputs.

    Attributes
    ----------
    inputs
        Names, dtypes and shapes, in the model's order.
    run
        Tensors in that order -> outputs by name, in the model's order.
    outputs
        Names, filled when it was traced.
    notes
        What the user may want to know of the names.
    """

    inputs: tuple[Port, ...]
    run: Callable[[Sequence[Any]], dict[str, Any]]
    notes: list[str]


def called(model: Any, request: Request) -> Called:
    """How a model is called.

    Raises
    ------
    PackError
        It does not say its inputs.
    """
    notes: list[str] = []
    functional = _functional(model)
    if functional is not None:
        ports, pack = _declared(functional)
        ports = _described(ports, request.inputs)
    elif request.inputs:
        ports = list(request.inputs)
        pack = _packing(model, [port.name for port in ports])
    else:
        ports, pack = _seen(model)
    names = _output_names(model, functional, notes)

    def run(tensors: Sequence[Any]) -> dict[str, Any]:
        return names(model(*pack(tensors), training=False))

    return Called(tuple(ports), run, notes)


# --- inputs ---


def _functional(model: Any) -> Any:
    """The graph of layers inside a model that has one."""
    if isinstance(model, keras.Sequential):
        inner = getattr(model, "_functional", None)
        if inner is None and model.built:
            inner = keras.Model(model.inputs, model.outputs)
        return inner
    return model if hasattr(model, "_inputs_struct") else None


def _declared(model: Any) -> tuple[list[Port], Callable[[Sequence[Any]], tuple[Any, ...]]]:
    struct = model._inputs_struct
    flat = keras.tree.flatten(struct)
    names = [tensor.name for tensor in flat]
    if isinstance(struct, Mapping) and len(struct) == len(flat):
        keys = keras.tree.pack_sequence_as(struct, list(range(len(flat))))
        names = [key for key, _ in sorted(keys.items(), key=lambda pair: pair[1])]
    if len(flat) == 1 and _MADE_UP_INPUT.fullmatch(names[0]):
        names = ["input"]
    for tensor in flat:
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
            raise PackError(f"input '{tensor.name}' is sparse or ragged: vonk's tensors are dense")
    ports = [Port(str(name), str(t.dtype), _shape(t.shape)) for name, t in zip(names, flat, strict=True)]
    return ports, lambda tensors: (keras.tree.pack_sequence_as(struct, list(tensors)),)


def _shape(shape: Sequence[int | None]) -> tuple[int, ...]:
    return tuple(-1 if dim is None else int(dim) for dim in shape)


def _described(ports: list[Port], given: Sequence[Port]) -> list[Port]:
    """With the dtypes and shapes that the user said."""
    if not given:
        return ports
    by_name = {port.name: port for port in given}
    known = [port.name for port in ports]
    for port in given:
        if port.name not in known:
            raise PackError(f"--input: '{port.name}' is no input of the model: {', '.join(known)}", "VONK_INVALID")
    found = []
    for port in ports:
        wanted = by_name.get(port.name, port)
        if wanted.dtype != port.dtype or not _may_be(wanted.shape, port.shape):
            raise PackError(
                f"--input: '{port.name}' is {wanted.dtype}{list(wanted.shape)} where the model has "
                f"{port.dtype}{list(port.shape)}",
                "VONK_INVALID",
            )
        found.append(replace(port, shape=wanted.shape))
    return found


def _may_be(wanted: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(wanted) == len(shape) and all(b in (-1, a) for a, b in zip(wanted, shape, strict=True))


def _parameters(model: Any) -> list[str]:
    """Of the method ``call``, without those that Keras fills in."""
    return [
        name
        for name, parameter in inspect.signature(model.call).parameters.items()
        if name not in ("training", "mask", "self")
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    ]


def _packing(model: Any, names: list[str]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """As a model of the user's own class takes the described inputs: one by one, or as a mapping by name."""
    parameters = _parameters(model)
    if len(parameters) == len(names):
        order = [names.index(name) for name in parameters] if set(parameters) == set(names) else range(len(names))
        return lambda tensors: tuple(tensors[i] for i in order)
    if len(parameters) == 1:
        return lambda tensors: (dict(zip(names, tensors, strict=True)),)
    raise PackError(
        f"--input: {len(names)} inputs for a model whose call takes {', '.join(parameters)}: describe these",
        "VONK_INVALID",
    )


def _seen(model: Any) -> tuple[list[Port], Callable[[Sequence[Any]], tuple[Any, ...]]]:
    """Of a class of the user's own, from the shape that it was built with."""
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    parameters = _parameters(model)
    shape = next(iter(shapes.values()), None)
    is_one = isinstance(shape, list | tuple) and all(isinstance(dim, int | None) for dim in shape) and len(shape) > 0
    if shape is None or not (len(shapes) == 1 and len(parameters) == 1 and is_one):
        raise PackError(
            "the model does not say what its inputs are: describe each, in the order of its call: --input "
            f"'{parameters[0] if parameters else 'x'}:f32[-1,10]'"
        )
    port = Port(parameters[0], str(model.input_dtype), (-1, *_shape(shape[1:])))
    return [port], lambda tensors: (tensors[0],)


# --- outputs ---


def _output_names(model: Any, functional: Any, notes: list[str]) -> Callable[[Any], dict[str, Any]]:
    """From what the model returns to tensors by name: keys, else names of layers, else positions."""
    layers = _layers(model, functional)

    def named(result: Any) -> dict[str, Any]:
        pairs = keras.tree.flatten_with_path(result)
        for i, (path, value) in enumerate(pairs):
            if not isinstance(value, tf.Tensor):
                raise PackError(
                    f"output {'.'.join(map(str, path)) or i}: is a {type(value).__name__}: vonk's tensors are dense"
                )
        keys = [_path_name(path) for path, _ in pairs]
        names = [key for key in keys if key is not None]
        if len(names) < len(keys):
            names = layers if len(layers) == len(pairs) else _by_position(len(pairs))
            made_up = [name for name in names if _MADE_UP_LAYER.fullmatch(name)]
            if made_up and not notes:
                shown = made_up[0]
                notes.append(f"output '{shown}' is named by Keras: --output {shown}=NAME gives it another name")
        return dict(zip(_distinct(names), (value for _, value in pairs), strict=True))

    return named


def _layers(model: Any, functional: Any) -> list[str]:
    if isinstance(model, keras.Sequential) and model.layers:
        return [model.layers[-1].name]
    return [str(name) for name in getattr(functional, "output_names", None) or []]


def _path_name(path: tuple[Any, ...]) -> str | None:
    """``{"heads": {"age": ...}}`` is heads_age; None if there are positions only."""
    return "_".join(map(str, path)) if path and isinstance(path[0], str) else None


def _by_position(n: int) -> list[str]:
    return ["output"] if n == 1 else [f"output_{i + 1}" for i in range(n)]


def _distinct(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        unique, i = name, 1
        while unique in found:
            i += 1
            unique = f"{name}_{i}"
        found.append(unique)
    return found
