"""What travels from the driver to the workers with a model's function: which model, and how columns meet it.

How it works: both classes are pickled by reference into the closure of a UDF, so they hold names and options only; the
model itself travels as one of Spark's files (``_shipment``) and is opened, once per worker process, by ``_cache``.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import vonk

#: Of vonk.open: device, plugin, signature, threads_per_run, and what the plug-ins know.
Options = tuple[tuple[str, "str | int | float | bool"], ...]


@dataclass(frozen=True)
class Source:
    """Where a worker finds the model.

    Attributes
    ----------
    title
        What messages call it: ``"digit.vonk"``, ``"load_model()"``.
    file
        Name among Spark's files (``SparkFiles.get``), or an absolute path that every node has; None with a loader.
    sha256
        Of the file, 64 hex digits; the worker's copy must have it. None with a loader.
    loader
        A pickled function that is called on the workers only: gives a path, or a live model. None with a file.
    identity
        With a loader: what it is, for the cache; a rerun of the same cell gives the same.
    options
        For ``vonk.open``.
    memory
        Bound of a worker's models in bytes, as the session's ``spark.vonk.modelMemory`` says; None: the worker's own.
    kind
        Of Hugging Face's models, ``"encoder"``, ``"pipeline"`` or ``"generator"``; None: ``vonk.open`` opens it.
    """

    title: str
    file: str | None
    sha256: str | None
    loader: bytes | None = None
    identity: str | None = None
    options: Options = ()
    memory: int | None = field(default=None, compare=False)
    kind: str | None = None

    @property
    def key(self) -> Hashable:
        """Equal for the same model with the same options: a worker keeps one."""
        return self.sha256 or self.identity, self.kind, self.options


@dataclass(frozen=True)
class Binding:
    """How columns meet the model: the names of a call's arguments, and the options of :meth:`vonk.Model.bind`.

    Attributes
    ----------
    columns
        Names of the function's arguments, in order: the worker gets columns without names. With one argument, a
        struct, and more names: the fields to take from it.
    packed
        Those of them that are arrays of what were several columns.
    by_position
        The names are given to the fields of a struct in their order, whatever those are called.
    inputs, outputs, nulls, on_error, as_, squeeze, batch
        As for :meth:`vonk.Model.bind`; mappings as pairs.
    """

    columns: tuple[str, ...] = ()
    packed: tuple[str, ...] = ()
    inputs: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    outputs: tuple[tuple[str, str], ...] | None = None
    nulls: str = "null"
    on_error: str = "raise"
    as_: str | None = None
    squeeze: bool = False
    batch: int | None = None
    by_position: bool = False

    def options(self) -> dict[str, Any]:
        """The keywords of :meth:`vonk.Model.bind`."""
        return {
            "inputs": None if self.inputs is None else {name: list(columns) for name, columns in self.inputs},
            "outputs": None if self.outputs is None else dict(self.outputs),
            "nulls": self.nulls,
            "on_error": self.on_error,
            "as_": self.as_,
            "squeeze": self.squeeze,
            "batch": self.batch,
            "half_as_float": True,  # Spark has no float16, no lists of a fixed length, no unsigned integers
            "variable_lists": True,
            "signed_integers": True,
            "sql_casts": True,
        }


def make_options(options: Mapping[str, Any]) -> Options:
    """Options of ``vonk.open`` in one order, those that were given."""
    return tuple(sorted((name, value) for name, value in options.items() if value is not None))


def make_identity(*parts: Any) -> str:
    """A text that is equal for equal parts."""
    return json.dumps(parts, sort_keys=True, default=repr)


def make_binding(inputs: Any, outputs: Any, **options: Any) -> Binding:
    """A binding of what users give: ``inputs`` is a mapping, or a list of the arguments' names.

    Raises
    ------
    vonk.InvalidError
        A word that is no choice.
    """
    for name, choices in (("nulls", ("null", "error")), ("on_error", ("raise", "null", "report"))):
        if options.get(name, choices[0]) not in choices:
            words = ", ".join(f"'{choice}'" for choice in choices)
            raise vonk.InvalidError(f"{name}: {options[name]!r} is no choice: use one of {words}")
    is_map = inputs is None or isinstance(inputs, Mapping)
    names = () if is_map else (inputs,) if isinstance(inputs, str) else tuple(inputs)
    pairs = make_inputs(inputs) if is_map else None
    return Binding(columns=names, inputs=pairs, outputs=make_outputs(outputs), **options)


def make_inputs(
    inputs: Mapping[str, str | Sequence[str]] | None,
) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
    """``{tensor: column or columns}`` as pairs."""
    if inputs is None:
        return None
    return tuple((name, (given,) if isinstance(given, str) else tuple(given)) for name, given in inputs.items())


def make_outputs(outputs: Mapping[str, str] | Iterable[str] | None) -> tuple[tuple[str, str], ...] | None:
    """``{tensor: name}``, or a list of tensors, as pairs."""
    if outputs is None:
        return None
    if isinstance(outputs, Mapping):
        return tuple(outputs.items())
    return tuple((name, name) for name in ((outputs,) if isinstance(outputs, str) else outputs))
