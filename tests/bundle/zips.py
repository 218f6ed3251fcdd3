"""Zip files written byte by byte, so that every field can be a lie."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

FULL = 0xFFFFFFFF


@dataclass
class Entry:
    """One entry. A field with _local is the header's, where it is to differ from the directory's."""

    name: bytes
    data: bytes = b""
    flags: int = 0x0800
    method: int = 0
    crc: int | None = None
    size: int | None = None
    packed: int | None = None
    attributes: int = 0
    made_by: int = 3 << 8 | 20  # Unix
    extra: bytes = b""  # in the directory
    comment: bytes = b""
    disk: int = 0
    offset: int | None = None
    before: bytes = b""  # bytes between the entry before and this one
    extra_local: bytes | None = None
    name_local: bytes | None = None
    flags_local: int | None = None
    method_local: int | None = None
    crc_local: int | None = None
    size_local: int | None = None
    n_name_local: int | None = None  # as said, whatever it is
    zip64: bool = False

    def numbers(self) -> tuple[int, int, int]:
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        size = len(self.data) if self.size is None else self.size
        return crc, size if self.packed is None else self.packed, size

    def header(self) -> bytes:
        crc, packed, size = self.numbers()
        name = self.name if self.name_local is None else self.name_local
        extra = self.extra if self.extra_local is None else self.extra_local
        if self.size_local is not None:
            packed = size = self.size_local
        if self.zip64:
            extra = struct.pack("<HHQQ", 1, 16, size, packed) + extra
            packed = size = FULL
        return struct.pack(
            "<4s5H3L2H", b"PK\3\4", 20,
            self.flags if self.flags_local is None else self.flags_local,
            self.method if self.method_local is None else self.method_local,
            0, 0x21, crc if self.crc_local is None else self.crc_local, packed, size,
            len(name) if self.n_name_local is None else self.n_name_local, len(extra),
        ) + name + extra  # fmt: skip

    def central(self, offset: int) -> bytes:
        crc, packed, size = self.numbers()
        extra = self.extra
        offset = offset if self.offset is None else self.offset
        if self.zip64:
            extra = struct.pack("<HHQQQ", 1, 24, size, packed, offset) + extra
            packed = size = offset = FULL
        return struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", self.made_by, 20, self.flags, self.method, 0, 0x21, crc, packed, size,
            len(self.name), len(extra), len(self.comment), self.disk, 0, self.attributes, offset,
        ) + self.name + extra + self.comment  # fmt: skip


@dataclass
class Archive:
    entries: list[Entry]
    first: bytes = b""  # before everything
    gap: bytes = b""  # before the directory
    comment: bytes = b""
    last: bytes = b""  # after everything
    count: int | None = None
    directory_size: int | None = None
    directory: int | None = None
    disk: int = 0
    zip64: bool = False
    end64: dict[str, int] = field(default_factory=dict)

    def bytes(self) -> bytes:
        out, directory = bytearray(self.first), bytearray()
        for entry in self.entries:
            out += entry.before
            directory += entry.central(len(out))
            out += entry.header() + entry.data
        out += self.gap
        at = len(out) if self.directory is None else self.directory
        size = len(directory) if self.directory_size is None else self.directory_size
        count = len(self.entries) if self.count is None else self.count
        out += directory
        if self.zip64:
            e = {"count": count, "size": size, "offset": at, "at": len(out), "disks": 1, "bytes": 44} | self.end64
            out += struct.pack(
                "<4sQ2H2L4Q", b"PK\6\6", e["bytes"], 45, 45, 0, 0, e["count"], e["count"], e["size"], e["offset"]
            )
            out += struct.pack("<4sLQL", b"PK\6\7", 0, e["at"], e["disks"])
            count, size, at = 0xFFFF, FULL, FULL
        out += struct.pack(
            "<4s4H2LH", b"PK\5\6", self.disk, self.disk, count & 0xFFFF, count & 0xFFFF, size & FULL, at & FULL,
            len(self.comment),
        )  # fmt: skip
        return bytes(out + self.comment + self.last)
