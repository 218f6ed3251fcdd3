"""What a conversion is asked for, and what it yields: the interface between the frame and the converters.

A converter is a module of this package with ``convert(request, folder) -> Conversion``; ``_recognise`` chooses it. The
frame (``__init__``) does the rest: samples, the comparison with the original, the self-test, the manifest, the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import numpy.typing

from vonk._errors import Error

Array = numpy.typing.NDArray[Any]


class PackError(Error, ValueError):
    """A model that cannot be packed. The message says what, why and what to do.

    The code, of the C interface, decides how ``vonk pack`` ends: ``VONK_INVALID`` what was asked for is wrong (exit
    status 2), ``VONK_MODEL`` the source, ``VONK_IO`` a file cannot be read or written, ``VONK_BACKEND`` the predictions
    differ from the original's.
    """

    def __init__(
        self, message: str = "", code: str = "VONK_MODEL", row: int | None = None, native_code: int = 0
    ) -> None:
        super().__init__(message, code, row, native_code)
        self.printed = ""  # the end of what the framework printed meanwhile


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes
    ----------
    name
        What users see.
    dtype
        vonk's name: "float32", "int64", "string", ...
    shape
        With the rows first; -1 is free. For an input that the user described this may be all that is known.
    tensor
        What the plug-in calls it; the name where it is empty.
    dim_names
        One per dimension, None for those without a name; empty: no names.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    tensor: str = ""
    dim_names: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes
    ----------
    source
        A path, or a live object of a framework.
    to
        The target format, None for the converter's best.
    inputs
        As described with ``--input``, in order; empty: the model says.
    outputs
        The original's names of the outputs that the user named: of a graph that does not say its outputs, these are
        they.
    signature
        Of a SavedModel; None: the default.
    module
        The class (or a function that makes the module) whose state a state_dict is; None otherwise.
    trust
        Code in the source (Keras' Lambda, pickles) may be run.
    samples
        Rows given by the user, by input name: examples for tracing and for the comparison. May be empty.
    progress
        Told in a few words what is going on.
    """

    source: Any
    to: str | None = None
    inputs: tuple[Port, ...] = ()
    outputs: tuple[str, ...] = ()
    signature: str | None = None
    module: Callable[[], Any] | None = None
    trust: bool = False
    samples: Mapping[str, Array] = field(default_factory=dict)
    progress: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Conversion:
    """A model in a format that a plug-in opens.

    Attributes
    ----------
    format
        "onnx", "savedmodel", "torchscript", "aotinductor", ...
    plugin
        "onnx", "tensorflow" or "torch".
    model
        The file, or the folder, that is the model, inside the folder that ``convert`` was given. A file's companions
        (external data) lie beside it.
    inputs, outputs
        In the order the original has them, under the names its users know. Outputs that stand not here are hidden.
    options
        For the plug-in, as text.
    reference
        The original's own predictions: inputs by name (all rows at once) -> outputs by name.
    provenance
        "source", "source_sha256", "framework", "converter", as docs/bundle.md has them.
    notes
        Sentences for the user: what was changed, left out, or chosen, and why.
    samples
        Rows that suit the model (number of rows, generator -> inputs by name) where random ones may not: ids within a
        table, the words an encoder knows. None: random ones will do.
    labels
        The classes that the original itself knows, by output (scikit-learn's ``classes_``). What the user says with
        ``--labels`` goes before.
    tolerance
        What rounding alone may cost where the original computes in double precision and the model does not; None: the
        frame's own default.
    """

    format: str
    plugin: str
    model: Path
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    reference: Callable[[Mapping[str, Array]], Mapping[str, Array]]
    options: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    samples: Callable[[int, numpy.random.Generator], Mapping[str, Array]] | None = None
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tolerance: float | None = None
