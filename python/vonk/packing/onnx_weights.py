"""Which files hold the weights of an ONNX model, read from its bytes without the package onnx.

How it works: a protobuf message is a sequence of fields, each with a number, and those that are messages again have a
length, so that all others are stepped over. Only the fields that lead to tensors are followed (onnx.proto has the
numbers). Files are mapped: weights that lie in the model are not read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

#: Message -> field number -> message, along the ways from a model to its tensors.
_WAYS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}
_KEY, _VALUE = 1, 2
_DEEPEST = 100


def locations(path: Path) -> list[str]:
    """The files that tensors of a model name as theirs, relative to its folder, sorted; empty for other files.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return sorted(set(_follow(content, 0, len(content), "Model", 0)))
            except ValueError:
                return []


def _follow(content: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    ways = _WAYS[message]
    for number, begin, stop in _fields(content, start, end):
        inner = ways.get(number)
        if inner == "Entry":
            entry = {field: content[first:last] for field, first, last in _fields(content, begin, stop)}
            if entry.get(_KEY) == b"location":
                yield entry.get(_VALUE, b"").decode()
        elif inner is not None:
            yield from _follow(content, begin, stop, inner, depth + 1)


def _fields(content: mmap.mmap, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of every field that has a length."""
    while place < end:
        tag, place = _varint(content, place, end)
        kind = tag & 7
        if kind == 2:
            size, place = _varint(content, place, end)
            if size > end - place:
                raise ValueError("a field is longer than what it lies in")
            yield tag >> 3, place, place + size
            place += size
        elif kind == 0:
            _, place = _varint(content, place, end)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise ValueError("no protobuf")


def _varint(content: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    number = shift = 0
    while place < end and shift < 64:
        byte = content[place]
        number |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return number, place
        shift += 7
    raise ValueError("a number does not end")
