"""Steps of preprocessing: what users write, the manifest's form, and the same arithmetic in NumPy."""

from __future__ import annotations

import ast
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vonk.packing._plan import Array, PackError, Port
from vonk.packing._spec import NUMPY

#: Operation -> its numbers, and what they are if they are not given.
_OPERATIONS: dict[str, dict[str, float | None]] = {
    "rescale": {"scale": None, "offset": 0.0},
    "normalize": {"mean": None, "std": None},
}
_WRITE = "write rescale:scale=1/255 or normalize:mean=0.1307,std=0.3081"


@dataclass(frozen=True)
class Step:
    """One step on one input; ``a`` and ``b`` are scale and offset, or mean and std."""

    op: str
    input: str
    axis: int
    a: tuple[float, ...]
    b: tuple[float, ...]
    is_list: bool

    def manifest(self) -> dict[str, Any]:
        first, second = _OPERATIONS[self.op]
        numbers = {first: self.a, second: self.b}
        form: dict[str, Any] = {"op": self.op, "input": self.input}
        form |= {key: list(value) if self.is_list else value[0] for key, value in numbers.items()}
        return form | ({"axis": self.axis} if self.is_list else {})

    def apply(self, values: Array) -> Array:
        """In the dtype of the values, as the C library does it."""
        a, b = (self._along(np.asarray(numbers, values.dtype), values.ndim) for numbers in (self.a, self.b))
        result = values * a + b if self.op == "rescale" else (values - a) / b
        return np.asarray(result, values.dtype)

    def _along(self, numbers: Array, rank: int) -> Array:
        if not self.is_list:
            return numbers
        shape = [1] * rank
        shape[self.axis] = len(numbers)
        return numbers.reshape(shape)

    def __str__(self) -> str:
        numbers = ", ".join(
            f"{key} {value if isinstance(value, list) else f'{value:g}'}"
            for key, value in self.manifest().items()
            if key in _OPERATIONS[self.op]
        )
        return f"{self.op} {self.input}: {numbers}"


def read(given: Any, ports: Sequence[Port]) -> tuple[Step, ...]:
    """Steps as users give them: texts, objects as in the manifest, a JSON file of them, or a list of any of these."""
    return tuple(_step(form, ports) for form in _forms(given))


def apply(steps: Iterable[Step], inputs: Mapping[str, Array], ports: Sequence[Port]) -> dict[str, Array]:
    """What the model gets for what users give."""
    dtypes = {port.name: NUMPY[port.dtype] for port in ports}
    values = dict(inputs)
    for step in steps:
        values[step.input] = step.apply(np.asarray(values[step.input], dtypes[step.input]))
    return values


def _forms(given: Any) -> Iterable[Mapping[str, Any]]:
    if given is None:
        return
    if isinstance(given, Mapping):
        yield given
    elif isinstance(given, str | os.PathLike):
        text = os.fspath(given)
        if text.endswith(".json") or text.partition(":")[0] not in _OPERATIONS:
            yield from _forms(_read_json(Path(text)))
        else:
            yield _parse(text)
    elif isinstance(given, Iterable):
        for entry in given:
            yield from _forms(entry)
    else:
        raise PackError(f"--preprocess: {given!r} is no step: {_WRITE}", "VONK_INVALID")


def _read_json(path: Path) -> Any:
    if path.suffix != ".json":
        op = os.fspath(path).partition(":")[0]
        raise PackError(f"--preprocess: '{op}' is no step: {_WRITE}, or a file of steps, .json", "VONK_INVALID")
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PackError(f"--preprocess: {path}: {error.strerror}", "VONK_IO") from None
    except ValueError as error:
        raise PackError(f"--preprocess: {path}: is not JSON: {error}", "VONK_INVALID") from None
    if not isinstance(found, list | dict):
        raise PackError(f"--preprocess: {path}: is not a list of steps", "VONK_INVALID")
    return found


def _parse(text: str) -> dict[str, Any]:
    """``normalize:mean=[0.485,0.456,0.406],std=0.225,input=image,axis=1``"""
    op, _, rest = text.partition(":")
    form: dict[str, Any] = {"op": op}
    for part in _split(rest):
        key, equals, value = part.partition("=")
        if not equals:
            raise PackError(f"--preprocess: '{text}': '{part}' is not KEY=VALUE: {_WRITE}", "VONK_INVALID")
        form[key.strip()] = value.strip() if key.strip() == "input" else _number(text, value.strip())
    return form


def _split(text: str) -> list[str]:
    """At the commas that stand outside brackets."""
    parts, depth = [""], 0
    for c in text:
        depth += (c == "[") - (c == "]")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return [part for part in parts if part.strip()]


def _number(text: str, value: str) -> Any:
    """A number, a fraction such as 1/255, or a list of them."""
    if value.startswith("[") and value.endswith("]"):
        return [_number(text, part.strip()) for part in value[1:-1].split(",")]
    above, slash, below = value.partition("/")
    try:
        numbers = [ast.literal_eval(part.strip()) for part in ((above, below) if slash else (above,))]
        result = numbers[0] / numbers[1] if slash else numbers[0]
    except (ValueError, SyntaxError, TypeError, ZeroDivisionError):
        result = None
    if not isinstance(result, int | float) or isinstance(result, bool):
        raise PackError(f"--preprocess: '{text}': '{value}' is no number", "VONK_INVALID")
    return result


def _step(form: Mapping[str, Any], ports: Sequence[Port]) -> Step:
    op = form.get("op")
    if op not in _OPERATIONS:
        raise PackError(f"--preprocess: {op!r} is no operation: one of {', '.join(_OPERATIONS)}", "VONK_INVALID")
    unknown = set(form) - {"op", "input", "axis", *_OPERATIONS[op]}
    if unknown:
        raise PackError(f"--preprocess: {op}: does not know '{min(unknown)}': {_WRITE}", "VONK_INVALID")
    port = _port(op, form.get("input"), ports)
    columns = [_numbers(op, key, form.get(key, default)) for key, default in _OPERATIONS[op].items()]
    is_list = any(is_list for _, is_list in columns)
    n = max(len(numbers) for numbers, _ in columns)
    a, b = (numbers * n if len(numbers) == 1 else numbers for numbers, _ in columns)
    axis = _axis(op, form.get("axis", -1), port, n) if is_list else -1
    if len(a) != len(b):
        raise PackError(f"--preprocess: {op}: lists of {len(a)} and {len(b)} numbers: one length", "VONK_INVALID")
    if op == "normalize" and 0.0 in b:
        raise PackError("--preprocess: normalize: std is 0: divides by zero", "VONK_INVALID")
    return Step(op, port.name, axis, a, b, is_list)


def _port(op: str, name: Any, ports: Sequence[Port]) -> Port:
    floats = [port for port in ports if port.dtype in ("float32", "float64")]
    if name is None:
        if len(floats) == 1:
            return floats[0]
        known = ", ".join(port.name for port in floats) or "none"
        raise PackError(
            f"--preprocess: {op}: which input? say input=NAME; of floats there are: {known}", "VONK_INVALID"
        )
    for port in floats:
        if port.name == name:
            return port
    known = ", ".join(port.name for port in floats) or "none"
    raise PackError(
        f"--preprocess: {op}: '{name}' is no input of float32 or float64: of these there are: {known}", "VONK_INVALID"
    )


def _numbers(op: str, key: str, value: Any) -> tuple[tuple[float, ...], bool]:
    if value is None:
        raise PackError(f"--preprocess: {op}: {key} is missing: {_WRITE}", "VONK_INVALID")
    if isinstance(value, str):
        value = _number(f"{op}:{key}={value}", value)
    is_list = isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim == 1)
    try:
        numbers = tuple(float(number) for number in (value if is_list else [value]))
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise PackError(f"--preprocess: {op}: {key}={value!r} is no number, and no list of them", "VONK_INVALID")
    return numbers, is_list


def _axis(op: str, axis: Any, port: Port, n: int) -> int:
    rank = len(port.shape)
    if not isinstance(axis, int) or isinstance(axis, bool) or not (-rank < axis < rank) or axis == 0:
        raise PackError(
            f"--preprocess: {op}: axis={axis} is no dimension of '{port.name}' behind the rows, which are 0: it has "
            f"{rank}",
            "VONK_INVALID",
        )
    size = port.shape[axis]
    if size != n:
        shown = "free" if size < 0 else str(size)
        raise PackError(
            f"--preprocess: {op}: {n} numbers for dimension {axis} of '{port.name}', which is {shown}: another axis=?",
            "VONK_INVALID",
        )
    return axis
