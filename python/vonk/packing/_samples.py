"""Rows for the comparison, and what the original says for them.

How it works: nobody but the original knows which rows it takes, so it is tried. Random rows come from a fixed seed:
floats from N(0, 1), then from U(0, 1) (a square root would give NaN), whole numbers below 128, then below smaller
bounds (ids of an embedding), free dimensions of several sizes. The first that the original accepts, with results that
are not all NaN, are taken. Rows of the user's own come first, and a converter may know rows that suit its model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vonk.packing import _steps
from vonk.packing._plan import Array, Conversion, PackError, Port
from vonk.packing._spec import FLOATS, NUMPY, type_text

SEED = 20240614
ROWS = 32
#: Of free dimensions. Convolutions may need many, a table of positions allows few.
_SIZES = (12, 5, 1, 33, 64, 224)
_ENOUGH_SIZES = 3
_BOUNDS = (128, 16, 4, 2, 1)
_WORDS = ("spark", "", "The quick brown fox", "naïve café", "a b c", "12.5", "yes", "no", "UNKNOWN", "x" * 40)


@dataclass(frozen=True)
class Samples:
    """Rows as users give them, and the original's predictions."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    @property
    def rows(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True)
class Original:
    """The original model behind the steps of preprocessing, fed in the batches that it takes."""

    conversion: Conversion
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    steps: Sequence[_steps.Step] = ()

    @property
    def batch(self) -> int:
        """Rows that it takes at a time; 0 = any number."""
        fixed = {port.shape[0] for port in self.inputs if port.shape and port.shape[0] > 0}
        return max(fixed, default=0)

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Predictions under the names users see.

        Raises
        ------
        Exception
            Whatever the framework raises for rows that it does not take.
        """
        values = _steps.apply(self.steps, inputs, self.inputs)
        rows = len(next(iter(values.values())))
        size = self.batch or rows
        parts = [self._run(values, start, size, rows) for start in range(0, rows, size)]
        return {port.name: np.concatenate([part[port.name] for part in parts]) for port in self.outputs}

    def _run(self, values: Mapping[str, Array], start: int, size: int, rows: int) -> dict[str, Array]:
        places = np.minimum(np.arange(start, start + size), rows - 1)  # the last row fills up the last batch
        found = self.conversion.reference({name: array[places] for name, array in values.items()})
        results = {}
        for port, described in zip(self.outputs, self.conversion.outputs, strict=True):
            array = np.asarray(found[described.name])
            if array.shape[:1] != (size,):
                raise PackError(
                    f"output '{port.name}': is {list(array.shape)} for {size} rows: its first dimension has to count "
                    "them"
                )
            kept = array[: min(size, rows - start)]
            results[port.name] = kept.astype(np.float32) if port.dtype == "bfloat16" else kept
        return results


def make(original: Original, given: Mapping[str, Array]) -> list[Samples]:
    """All samples to compare on; those of the user first.

    Raises
    ------
    PackError
        The rows given do not fit, or the original takes no random row.
    """
    samples = [_given(original, given)] if given else []
    drawn = list(itertools.islice(_drawn(original), _ENOUGH_SIZES))
    if not drawn and not samples:
        raise PackError(
            f"the original refuses every random row that was tried: {_first_line(_refusal(original))}: give rows that "
            "it takes with --samples FILE.npz"
        )
    return samples + drawn


# --- the user's ---


def _given(original: Original, given: Mapping[str, Array]) -> Samples:
    inputs = {}
    unknown = set(given) - {port.name for port in original.inputs}
    if unknown:
        names = ", ".join(port.name for port in original.inputs)
        raise PackError(f"--samples: '{min(unknown)}': the model has no such input: {names}", "VONK_INVALID")
    for port in original.inputs:
        if port.name not in given:
            raise PackError(f"--samples: no rows for input '{port.name}'", "VONK_INVALID")
        inputs[port.name] = _fit(port, given[port.name])
    if len({len(array) for array in inputs.values()}) != 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in inputs.items())
        raise PackError(f"--samples: inputs have different numbers of rows: {lengths}", "VONK_INVALID")
    try:
        return Samples(inputs, original.predict(inputs))
    except PackError:
        raise
    except Exception as error:  # of any framework
        raise PackError(f"--samples: the original refuses these rows: {_first_line(error)}", "VONK_INVALID") from error


def _fit(port: Port, given: Array) -> Array:
    array = np.asarray(given)
    shape = port.shape[1:]
    fits = array.ndim == len(port.shape) and all(
        want in (-1, have) for want, have in zip(shape, array.shape[1:], strict=True)
    )
    if not fits or len(array) == 0:
        raise PackError(
            f"--samples: '{port.name}': is {array.dtype}{list(array.shape)} where the model wants {type_text(port)}",
            "VONK_INVALID",
        )
    wanted = np.dtype(NUMPY[port.dtype])
    both_float = array.dtype.kind == "f" and wanted.kind == "f"
    if port.dtype == "string":
        return _texts(array)
    if not (both_float or np.can_cast(array.dtype, wanted) or _keeps(array, wanted)):
        raise PackError(
            f"--samples: '{port.name}': is {array.dtype} where the model wants {port.dtype}", "VONK_INVALID"
        )
    return _rounded(port, array.astype(wanted))


def _keeps(array: Array, wanted: np.dtype[Any]) -> bool:
    return array.dtype.kind in "biu" and wanted.kind in "biuf" and bool((array.astype(wanted) == array).all())


def _texts(array: Array) -> Array:
    flat = [value.decode() if isinstance(value, bytes) else str(value) for value in array.reshape(-1).tolist()]
    texts = np.empty(len(flat), object)
    texts[:] = flat
    return texts.reshape(array.shape)


# --- random ones ---


def _drawn(original: Original) -> Iterator[Samples]:
    rng = np.random.default_rng(SEED)
    rows = ROWS if not original.batch else original.batch * -(-8 // original.batch)
    if original.conversion.samples is not None:
        inputs = {
            port.name: np.asarray(original.conversion.samples(rows, rng)[described.name])
            for port, described in zip(original.inputs, original.conversion.inputs, strict=True)
        }
        yield Samples(inputs, original.predict(inputs))
        return
    is_free = any(dim < 0 for port in original.inputs for dim in port.shape[1:])
    for i, (size, step) in enumerate(_sizes(is_free)):
        found = _try(original, max(8, rows // (1 if i == 0 else 4)), size, step)
        if found is not None:
            yield found


def _sizes(is_free: bool) -> list[tuple[int, int]]:
    """(size, how much the next free dimension is larger)"""
    if not is_free:
        return [(1, 0)]
    return [(_SIZES[0], 0), *((size, 1) for size in _SIZES[:2]), *((size, 0) for size in _SIZES[1:])]


def _try(original: Original, rows: int, size: int, step: int) -> Samples | None:
    """The rows of one size that the original takes, None if none."""
    if original.batch:
        rows = original.batch * -(-rows // original.batch)
    second_best = None
    for bound, is_uniform in _ways(original.inputs):
        rng = np.random.default_rng(SEED)
        inputs = draw(original.inputs, rows, rng, size=size, step=step, bound=bound, is_uniform=is_uniform)
        try:
            samples = Samples(inputs, original.predict(inputs))
        except PackError:
            raise
        except Exception:  # what it refuses is what is to be found out
            continue
        if _is_telling(samples):
            return samples
        second_best = second_best or samples
    return second_best


def _ways(ports: Sequence[Port]) -> Iterator[tuple[int, bool]]:
    has_whole = any(port.dtype not in (*FLOATS, "string", "bool") for port in ports)
    has_float = any(port.dtype in FLOATS for port in ports)
    return itertools.product(_BOUNDS if has_whole else _BOUNDS[:1], (False, True) if has_float else (False,))


def _is_telling(samples: Samples) -> bool:
    floats = [array for array in samples.outputs.values() if array.dtype.kind == "f" and array.size > 0]
    return not floats or any(bool(np.isfinite(array).any()) for array in floats)


def draw(  # noqa: PLR0913 - all by name
    ports: Sequence[Port],
    rows: int,
    rng: np.random.Generator,
    *,
    size: int = 12,
    step: int = 0,
    bound: int = 128,
    is_uniform: bool = False,
) -> dict[str, Array]:
    """Random rows. Free dimensions of one name are of one size."""
    sizes: dict[str, int] = {}
    inputs = {}
    for port in ports:
        names = port.dim_names or (None,) * len(port.shape)
        shape = [rows]
        for place, (dim, name) in enumerate(zip(port.shape[1:], names[1:], strict=True)):
            free = size + step * place
            shape.append(dim if dim >= 0 else sizes.setdefault(name, free) if name else free)
        inputs[port.name] = _values(port, tuple(shape), rng, bound, is_uniform)
    return inputs


def _values(port: Port, shape: tuple[int, ...], rng: np.random.Generator, bound: int, is_uniform: bool) -> Array:
    if port.dtype == "string":
        texts = np.empty(shape, object)
        texts.reshape(-1)[:] = [_WORDS[i] for i in rng.integers(0, len(_WORDS), texts.size)]
        return texts
    if port.dtype == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if port.dtype in FLOATS:
        values = rng.random(shape) if is_uniform else rng.standard_normal(shape)
        return _rounded(port, values.astype(NUMPY[port.dtype]))
    return rng.integers(0, bound, shape).astype(NUMPY[port.dtype])


def _rounded(port: Port, values: Array) -> Array:
    """To a number that bfloat16 has, where that is the dtype."""
    if port.dtype != "bfloat16":
        return values
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def _refusal(original: Original) -> BaseException:
    """Why the last resort was refused."""
    rng = np.random.default_rng(SEED)
    try:
        original.predict(draw(original.inputs, original.batch or 1, rng, bound=2, is_uniform=True))
    except Exception as error:  # of any framework
        return error
    return PackError("it takes them now")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
