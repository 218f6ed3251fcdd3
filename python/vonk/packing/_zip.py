"""A zip file of stored entries, as docs/bundle.md has it.

How it works: names, sizes and CRCs are known before the first byte is written, so that every header is final: no data
descriptors, no seeking back. Padding in an entry's extra field puts its content at a multiple of 64 bytes, at which
frameworks read mapped memory without copying it. Timestamps are 1980-01-01 and the order is the caller's, so that equal
content gives equal bytes. Zip64 fields stand only where a number does not fit into 32 bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ALIGNMENT = 64
BLOCK = 1 << 20
_MAX32 = 0xFFFFFFFF
_MAX16 = 0xFFFF
_LARGE = _MAX32  # sizes and places from here on stand in zip64 fields
_DATE = 1 << 5 | 1  # 1980-01-01
_UTF8 = 1 << 11
_UNIX = 3 << 8
_MODE = 0o100644 << 16
_ZIP64 = 0x0001
_PADDING = 0xD935  # the number that Android's zipalign uses for the same purpose


@dataclass(frozen=True)
class Entry:
    """A file to store: its content is in memory, or in another file."""

    name: str
    content: bytes | Path
    size: int
    crc: int

    def blocks(self) -> Iterator[bytes]:
        if isinstance(self.content, bytes):
            yield self.content
            return
        with self.content.open("rb") as file:
            while block := file.read(BLOCK):
                yield block


def entry(name: str, content: bytes) -> Entry:
    return Entry(name, content, len(content), zlib.crc32(content))


@dataclass(frozen=True)
class _Placed:
    entry: Entry
    offset: int


def write(out: BinaryIO, entries: list[Entry]) -> None:
    """Writes the whole file.

    Raises
    ------
    OSError
        The disk is full, or a source changed while it was read.
    """
    placed = []
    offset = 0
    for item in entries:
        header = _local_header(item, offset)
        out.write(header)
        written, crc = 0, 0
        for block in item.blocks():
            out.write(block)
            written, crc = written + len(block), zlib.crc32(block, crc)
        if (written, crc) != (item.size, item.crc):
            raise OSError(f"{item.content!s}: changed while it was being packed")
        placed.append(_Placed(item, offset))
        offset += len(header) + item.size
    directory = b"".join(map(_central_header, placed))
    out.write(directory + _end(len(placed), len(directory), offset))


def rewrite_first(out: BinaryIO, entries: list[Entry]) -> None:
    """Exchanges the first entry of a file that was written, for one of the same size."""
    offset = 0
    placed: list[_Placed] = []
    for item in entries:
        header = _local_header(item, offset)
        if not placed:
            out.seek(0)
            out.write(header)
            for block in item.blocks():
                out.write(block)
        placed.append(_Placed(item, offset))
        offset += len(header) + item.size
    directory = b"".join(map(_central_header, placed))
    out.seek(offset)
    out.write(directory + _end(len(placed), len(directory), offset))


def _sizes(item: Entry) -> tuple[int, bytes]:
    """The size as a 32-bit field has it, and the extra field for one that does not fit."""
    if item.size < _LARGE:
        return item.size, b""
    return _MAX32, struct.pack("<HHQQ", _ZIP64, 16, item.size, item.size)


def _local_header(item: Entry, offset: int) -> bytes:
    name = item.name.encode()
    size, extra = _sizes(item)
    end = offset + 30 + len(name) + len(extra) + 4
    padding = -end % ALIGNMENT
    extra += struct.pack("<HH", _PADDING, padding) + bytes(padding)
    version = 45 if item.size >= _LARGE else 20
    fields = (version, _UTF8, 0, 0, _DATE, item.crc, size, size, len(name), len(extra))
    return b"PK\3\4" + struct.pack("<HHHHHLLLHH", *fields) + name + extra


def _central_header(placed: _Placed) -> bytes:
    item = placed.entry
    name = item.name.encode()
    size, _ = _sizes(item)
    large = [item.size, item.size] if item.size >= _LARGE else []
    offset = placed.offset
    if offset >= _LARGE:
        large.append(offset)
        offset = _MAX32
    extra = struct.pack(f"<HH{len(large)}Q", _ZIP64, 8 * len(large), *large) if large else b""
    version = 45 if large else 20
    fields = (_UNIX | version, version, _UTF8, 0, 0, _DATE, item.crc, size, size)
    tail = (len(name), len(extra), 0, 0, 0, _MODE, offset)
    return b"PK\1\2" + struct.pack("<HHHHHHLLL", *fields) + struct.pack("<HHHHHLL", *tail) + name + extra


def _end(n: int, size: int, offset: int) -> bytes:
    fields = struct.pack("<HHHHLLH", 0, 0, min(n, _MAX16), min(n, _MAX16), _small(size), _small(offset), 0)
    if n < _MAX16 and size < _LARGE and offset < _LARGE:
        return b"PK\5\6" + fields
    large = struct.pack("<QHHLLQQQQ", 44, _UNIX | 45, 45, 0, 0, n, n, size, offset)
    locator = struct.pack("<LQL", 0, offset + size, 1)
    return b"PK\6\6" + large + b"PK\6\7" + locator + b"PK\5\6" + fields


def _small(number: int) -> int:
    return number if number < _LARGE else _MAX32
