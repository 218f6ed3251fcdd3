"""What users write of inputs and outputs: ``image:f32[-1,3,12,12]``, ``output_0=probabilities``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vonk.packing._plan import PackError, Port

#: vonk's names, and NumPy's type that holds the values. NumPy has no bfloat16: float32 holds every value of it.
NUMPY: dict[str, Any] = {
    "float16": np.float16, "bfloat16": np.float32, "float32": np.float32, "float64": np.float64,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "bool": np.bool_, "string": np.object_,
}  # fmt: skip
_SHORT = {
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64", "i8": "int8", "i16": "int16",
    "i32": "int32", "i64": "int64", "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
    "str": "string", "bytes": "string",
}  # fmt: skip
FLOATS = ("float16", "bfloat16", "float32", "float64")
MAX_RANK = 8
_INPUT = re.compile(r"(?P<name>.+):(?P<dtype>\w+)\s*\[(?P<dims>[^\]]*)\]\s*", re.DOTALL)
_WANTED = "write NAME:DTYPE[DIMS], such as image:f32[-1,3,224,224], -1 for a free dimension and for the rows"


def parse_input(text: str) -> Port:
    """One ``--input``.

    Raises
    ------
    PackError
        It is not of the form ``name:dtype[dims]``.
    """
    match = _INPUT.fullmatch(text.strip())
    if match is None:
        raise PackError(f"--input: '{text}' is not an input: {_WANTED}", "VONK_INVALID")
    dtype = _SHORT.get(match["dtype"], match["dtype"])
    if dtype not in NUMPY:
        raise PackError(
            f"--input: '{text}': unknown dtype '{match['dtype']}': one of {', '.join(NUMPY)}", "VONK_INVALID"
        )
    shape = []
    for part in match["dims"].split(",") if match["dims"].strip() else []:
        dim = part.strip()
        if dim in ("-1", "?", "None"):
            shape.append(-1)
        elif dim.isascii() and dim.isdigit() and 0 < int(dim) < 1 << 31:
            shape.append(int(dim))
        else:
            raise PackError(
                f"--input: '{text}': '{dim}' is no dimension: a whole number above 0, or -1", "VONK_INVALID"
            )
    if not 1 <= len(shape) <= MAX_RANK:
        raise PackError(
            f"--input: '{text}': has {len(shape)} dimensions: from 1 to {MAX_RANK}, the first counts rows",
            "VONK_INVALID",
        )
    return Port(match["name"].strip(), dtype, tuple(shape))


def parse_inputs(given: str | Iterable[str | Port]) -> tuple[Port, ...]:
    """All inputs; a text may hold several, as the plug-ins' options write them: ``x:f32[-1,2],ids:i64[-1]``."""
    if isinstance(given, str):
        given = re.split(r",(?![^\[]*\])", given)
    ports = tuple(entry if isinstance(entry, Port) else parse_input(entry) for entry in given)
    check_names("--input", [port.name for port in ports])
    return ports


def parse_renames(given: Mapping[str, str] | Iterable[str] | None) -> dict[str, str]:
    """``--output old=new``, as texts or as a mapping."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    renames: dict[str, str] = {}
    for text in given:
        old, equals, new = text.rpartition("=")
        old, new = (old, new) if equals else (text, text)
        if not (old and new):
            raise PackError(f"--output: '{text}' is no renaming: write OLD=NEW", "VONK_INVALID")
        if old in renames:
            raise PackError(f"--output: '{old}' is renamed twice", "VONK_INVALID")
        renames[old] = new
    return renames


def check_names(what: str, names: Iterable[str]) -> None:
    """What the manifest's reader would refuse."""
    seen = set()
    for name in names:
        if not name or "\0" in name or len(name.encode()) > 4096:
            raise PackError(f"{what}: {name[:40]!r} cannot be a name: 1 to 4,096 bytes, and no NUL", "VONK_INVALID")
        if name in seen:
            raise PackError(f"{what}: two are called '{name}': rename one with --output OLD=NEW", "VONK_INVALID")
        seen.add(name)


def type_text(port: Port) -> str:
    """``float32[N, 10]``, as everywhere in vonk."""
    names = port.dim_names or (None,) * len(port.shape)
    dims = [str(dim) if dim >= 0 else name or "?" for dim, name in zip(port.shape, names, strict=True)]
    dims[:1] = ["N" if dim == "?" else dim for dim in dims[:1]]
    return f"{port.dtype}[{', '.join(dims)}]"
