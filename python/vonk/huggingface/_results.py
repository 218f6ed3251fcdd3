"""Results of models as Arrow memory: vectors, texts, and mappings whose fields are found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy
import pyarrow

from vonk._errors import InvalidError
from vonk.huggingface._rows import DeclarationError

Builder = Callable[[Sequence[Any]], pyarrow.Array]


def builder(kind: pyarrow.DataType) -> Builder:
    """A function that makes an Arrow array of results.

    What the model gives for a row meets the type like this: a mapping fills a struct by name, or gives its only value,
    or the only one that fits, to a type that is no struct; a list of mappings fills a list of those; a list of one may
    stand for what is in it.
    """
    return lambda results: _array([_shape(_plain(result), kind, "result") for result in results], kind)


def _array(values: list[Any], kind: Any) -> pyarrow.Array:
    try:
        if pyarrow.types.is_list(kind) and values and all(isinstance(value, numpy.ndarray) for value in values):
            return _vectors(values, kind)
        return pyarrow.array(values, kind)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, TypeError, ValueError, OverflowError) as error:
        raise InvalidError(f"result: does not fit {kind}: {error}") from error


def _vectors(values: list[Any], kind: Any) -> pyarrow.Array:
    offsets = numpy.cumsum([0, *map(len, values)], dtype="i4")
    return pyarrow.ListArray.from_arrays(
        pyarrow.array(offsets), pyarrow.array(numpy.concatenate(values), kind.value_type), type=kind
    )


def _plain(value: Any) -> Any:
    """Numbers of NumPy and PyTorch as Python's; vectors as NumPy's."""
    if isinstance(value, str | bytes | bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, numpy.ndarray):
        return value if value.ndim == 1 else value.tolist()
    return value.item() if isinstance(value, numpy.generic) else value


def _shape(value: Any, kind: Any, at: str) -> Any:
    """The value as the type wants it."""
    types = pyarrow.types
    if types.is_struct(kind):
        return _fields(_only(value), kind, at)
    if types.is_list(kind):
        if isinstance(value, numpy.ndarray):
            return value if types.is_primitive(kind.value_type) else value.tolist()
        values = value if isinstance(value, list) else [value]
        while len(values) == 1 and isinstance(values[0], list) and _levels(values) > _levels_of(kind):
            values = values[0]
        return [_shape(one, kind.value_type, at) for one in values]
    value = _only(value)
    return _bare(value, kind, at) if isinstance(value, Mapping) else value


def _levels(value: Any) -> int:
    """Lists in lists, as deep as the first elements go."""
    levels = 0
    while isinstance(value, list):
        levels, value = levels + 1, value[0] if value else None
    return levels


def _levels_of(kind: Any) -> int:
    levels = 0
    while pyarrow.types.is_list(kind):
        levels, kind = levels + 1, kind.value_type
    return levels


def _only(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _fields(value: Any, kind: Any, at: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        what = f"a list of {len(value)}" if isinstance(value, list) else type(value).__name__
        raise DeclarationError(f"return_type: wants a struct, the {at} is {what}: {_sketch(value)}")
    missing = [part.name for part in kind if part.name not in value]
    if missing:
        raise DeclarationError(
            f"return_type: names '{missing[0]}', which the {at} lacks: it has {', '.join(value) or 'no names'}"
        )
    return {part.name: _shape(value[part.name], part.type, f"{at}'s '{part.name}'") for part in kind}


def _bare(value: Mapping[str, Any], kind: Any, at: str) -> Any:
    """The value that a type without names means: the only one, or the only one of that type."""
    if len(value) == 1:
        return next(iter(value.values()))
    fitting = [name for name, one in value.items() if _fits(one, kind)]
    if len(fitting) != 1:
        which = ", ".join(value)
        raise DeclarationError(
            f"return_type: is {kind}, the {at} has {which}: name what you want: 'struct<{next(iter(value), 'name')}:"
            " ...>'"
        )
    return value[fitting[0]]


def _fits(value: Any, kind: Any) -> bool:
    types = pyarrow.types
    if types.is_string(kind) or types.is_large_string(kind):
        return isinstance(value, str)
    if types.is_floating(kind):
        return isinstance(value, float)
    if types.is_boolean(kind):
        return isinstance(value, bool)
    return types.is_integer(kind) and isinstance(value, int) and not isinstance(value, bool)


def _sketch(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def count_tokens(tokenizer: Any, rows: Sequence[Any]) -> Sequence[int]:
    """Number of tokens of each row; of characters, where there is no tokenizer that tells."""
    texts = [" ".join(map(str, row.values())) if isinstance(row, Mapping) else row for row in rows]
    if tokenizer is None or not callable(tokenizer):
        return [len(text) for text in texts]
    try:
        return [len(ids) for ids in tokenizer(texts, verbose=False)["input_ids"]]
    except Exception:  # sorting is worth no error: a bad row shows when it is run
        return [len(text) for text in texts]


def too_long(config: Any, tokens: int, cure: str | None) -> str:
    """What to add to the failure of a row with more tokens than the model has places for; nothing if it has not."""
    most = places(config)
    if most is None or tokens <= most:
        return ""
    advice = f": pass {cure} to shorten such texts" if cure else ""
    return f" (the text has {tokens:,} tokens, the model takes {most:,}{advice})"


def places(config: Any) -> int | None:
    """The most tokens that a model can tell apart; None if there is no such number."""
    found = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return found if isinstance(found, int) else None
