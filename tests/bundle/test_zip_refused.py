"""Zip files that are damaged or doctored: each is refused for its own reason, and a good one opens.

Every case is the same good bundle of the mock model with one thing changed. (Under the address sanitizer all of this
runs inside an instrumented library.)
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from library import MODEL, OK
from mock_bundle import archive, expect, good, opened, write
from zips import FULL, Archive, Entry


def test_a_good_bundle_opens(tmp_path: Path) -> None:
    for zip64 in (False, True):
        made = archive()
        made.zip64 = zip64
        for entry in made.entries:
            entry.zip64 = zip64
        path = tmp_path / f"{zip64}.vonk"
        path.write_bytes(made.bytes())
        assert opened(path) == (OK, "")
    path.write_bytes(Archive([*archive().entries], zip64=True).bytes())  # only the end record
    assert opened(path) == (OK, "")


# --- the zip file ---


def set_entry(i: int, **changes: Any) -> Callable[[Archive], None]:
    def change(made: Archive) -> None:
        for key, value in changes.items():
            setattr(made.entries[i], key, value)

    return change


def set_all(**changes: Any) -> Callable[[Archive], None]:
    def change(made: Archive) -> None:
        for key, value in changes.items():
            setattr(made, key, value)

    return change


def add(*more: Entry) -> Callable[[Archive], None]:
    return lambda made: made.entries.extend(more)


def named(name: bytes) -> Callable[[Archive], None]:
    return add(Entry(name, b"evil"))


def swap(made: Archive) -> None:
    made.entries[0], made.entries[1] = made.entries[1], made.entries[0]


def overlap(made: Archive) -> None:
    """The last entry's header is the data of a file: two entries share bytes."""
    inner = Entry(b"inner", b"12345")
    made.entries[2].data = inner.header() + inner.data
    start = len(Archive(made.entries[:2]).bytes()) - 22 - sum(46 + len(e.name) for e in made.entries[:2])
    inner.offset = start + 30 + len(made.entries[2].name)
    made.entries.append(inner)


def same_place(made: Archive) -> None:
    twin = Entry(b"twin", made.entries[1].data, offset=len(made.entries[0].header() + made.entries[0].data))
    made.entries.append(twin)


ZIPS: dict[str, tuple[Callable[[Archive], None], str]] = {
    "a name that climbs out": (named(b"../evil"), "'../evil': has '..', which leaves its folder"),
    "a name that climbs out later": (named(b"model/../../evil"), "has '..'"),
    "an absolute name": (named(b"/etc/evil"), "'/etc/evil': is absolute"),
    "a backslash": (named(b"model\\..\\evil"), "has a backslash"),
    "a NUL": (named(b"evil.txt\0.onnx"), "'evil.txt?.onnx': has a NUL"),
    "a drive": (named(b"C:evil"), "names a drive"),
    "a control character": (named(b"ev\x1b[31mil"), "'ev?[31mil': has a control character"),
    "a part of one dot": (named(b"model/./evil"), "has '.' as a part"),
    "an empty part": (named(b"model//evil"), "has an empty part"),
    "an empty name": (named(b""), "'': is empty"),
    "a name of 5000 bytes": (named(b"a" * 5000), "is longer than 4096 bytes"),
    "a name that is not UTF-8": (named(b"\xff\xfe"), "is not UTF-8"),
    "a name with an overlong slash": (named(b"a\xc0\xafb"), "is not UTF-8"),
    "a surrogate": (named(b"a\xed\xa0\x80"), "is not UTF-8"),
    "a name in no encoding": (add(Entry("ü".encode(), b"", flags=0)), "not said to be UTF-8"),
    "a folder": (named(b"empty/"), "is that of a folder"),
    "a folder without a slash": (add(Entry(b"empty", attributes=0o040755 << 16)), "is a link, a folder or a device"),
    "a folder of DOS": (add(Entry(b"empty", attributes=0x10)), "is a link, a folder or a device"),
    "a symbolic link": (add(Entry(b"link", b"/etc/passwd", attributes=0o120777 << 16)), "is a link, a folder"),
    "a symbolic link, made elsewhere": (
        add(Entry(b"link", b"/etc", attributes=0o120777 << 16, made_by=20)), "is a link, a folder or a device"),
    "a pipe": (add(Entry(b"pipe", attributes=0o010644 << 16)), "is a link, a folder or a device"),
    "two of one name": (add(Entry(b"labels.txt", b"other")), "'labels.txt': is there twice"),
    "two manifests": (add(Entry(b"manifest.json", b"{}")), "'manifest.json': is there twice"),
    "a file that is a folder": (add(Entry(b"labels.txt/more", b"")), "lies in a folder that is a file"),
    "an encrypted entry": (set_entry(1, flags=0x801), "is encrypted"),
    "a strongly encrypted entry": (set_entry(1, flags=0x841), "is encrypted"),
    "a masked header": (set_entry(1, flags=0x2800), "is encrypted"),
    "a compressed entry": (set_entry(1, method=8), "is compressed"),
    "an entry of a strange method": (set_entry(1, method=99), "is compressed"),
    "sizes after the data": (set_entry(1, flags=0x808), "has its sizes after its data"),
    "a patch": (set_entry(1, flags=0x820), "has flags that vonk does not know"),
    "another name in the header": (set_entry(1, name_local=b"model/net.evil"), "disagree"),
    "a longer name in the header": (set_entry(1, name_local=b"model/net.mock2"), "disagree"),
    "another size in the header": (set_entry(1, size_local=3), "disagree"),
    "another checksum in the header": (set_entry(1, crc_local=3), "disagree"),
    "other flags in the header": (set_entry(1, flags_local=0), "disagree"),
    "compressed in the header": (set_entry(1, method_local=8), "disagree"),
    "two sizes": (set_entry(1, packed=3), "has two sizes"),
    "another file": (set_entry(1, disk=1), "lies in another file"),
    "another name in the extra field": (
        set_entry(1, extra=struct.pack("<HHBL", 0x7075, 9, 1, 0) + b"evil"), "it has two names"),
    "another name in the header's extra field": (
        set_entry(1, extra_local=struct.pack("<HHBL", 0x7075, 9, 1, 0) + b"evil"), "it has two names"),
    "an extra field that is cut": (set_entry(1, extra=struct.pack("<HH", 9, 9)), "extra fields are damaged"),
    "an extra field of three bytes": (set_entry(1, extra_local=b"\0\0\0"), "extra fields are damaged"),
    "64-bit sizes twice": (
        set_entry(1, zip64=True, extra=struct.pack("<HHQQQ", 1, 24, 1, 1, 0)), "64-bit sizes stand twice"),
    "64-bit sizes that are missing": (set_entry(1, size=FULL, packed=FULL, extra=struct.pack("<HH", 1, 0)),
                                      "64-bit sizes are cut off"),
    "a size of 4 GiB": (set_entry(1, size=FULL), "'model/net.mock': is larger than the file"),
    "a size of 2^63": (set_entry(1, size=1 << 63, packed=1 << 63, zip64=True), "is larger than the file"),
    "a size of 2^64 - 1": (set_entry(1, size=(1 << 64) - 1, zip64=True), "is larger than the file"),
    "a place of 2^64 - 1": (set_entry(1, offset=(1 << 64) - 1, zip64=True), "is not where the directory says"),
    "a place beyond the directory": (set_entry(1, offset=10 << 20), "is not where the directory says"),
    "a place in the middle of an entry": (set_entry(1, offset=5), "is not where the directory says"),
    "a header that is cut off": (set_entry(6, n_name_local=60000), "its header is cut off"),
    "two entries at one place": (same_place, "its header and the directory disagree"),
    "an entry inside another": (overlap, "overlaps with the entry before it"),
    "bytes between entries": (set_entry(2, before=b"hidden"), "'model/words.bin': does not follow"),
    "bytes before the directory": (set_all(gap=b"hidden"), "there are bytes before its directory"),
    "bytes at the start": (set_all(first=b"#!/bin/sh\n"), "is no zip file"),
    "another manifest at the start": (
        set_all(first=Entry(b"manifest.json").header()), "there are bytes before its first entry"),
    "an archive at the start": (set_all(first=b"PK\3\4" + bytes(40)), "its first entry is not manifest.json"),
    "bytes at the end": (set_all(last=b"hidden"), "does not end with its end record"),
    "a comment": (set_all(comment=b"PK\5\6"), "does not end with its end record"),
    "several disks": (set_all(disk=1), "one part of several files"),
    "more entries than there are": (set_all(count=9), "fewer entries than it says"),
    "fewer entries than there are": (set_all(count=3), "more entries than it says"),
    "65535 entries": (set_all(count=65535), "fewer entries than it says"),
    "4 billion entries": (set_all(zip64=True, end64={"count": 1 << 32}), "has 4294967296 entries: a bundle has"),
    "a directory somewhere else": (set_all(directory=4), "its directory is not where its end record says"),
    "a directory of another size": (set_all(directory_size=4), "its directory is not where its end record says"),
    "a 64-bit directory at 2^64 - 1": (
        set_all(zip64=True, end64={"offset": (1 << 64) - 1}), "its directory is not where its end record says"),
    "a 64-bit directory of another size": (
        set_all(zip64=True, end64={"size": 1 << 63}), "its directory is not where its end record says"),
    "a 64-bit end record elsewhere": (set_all(zip64=True, end64={"at": 0}), "64-bit end record is not where"),
    "a 64-bit end record of several disks": (set_all(zip64=True, end64={"disks": 2}), "64-bit end record is not"),
    "a long 64-bit end record": (set_all(zip64=True, end64={"bytes": 45}), "its 64-bit end record is wrong"),
    "no entry": (lambda made: made.entries.clear(), "its first entry is not manifest.json"),
    "a manifest that is not first": (swap, "its first entry is not manifest.json"),
    "no manifest": (lambda made: made.entries.pop(0) and None, "its first entry is not manifest.json"),
    "a manifest of 5 MiB": (set_entry(0, data=b" " * (5 << 20)), "manifest.json has 5242880 bytes"),
    "a manifest with another checksum": (set_entry(0, crc=1), "manifest.json does not have its checksum"),
    "a file that is not listed": (add(Entry(b"model/more.bin", b"evil")), "a file 'model/more.bin' that its manifest"),
    "an empty file that is not listed": (add(Entry(b".hidden")), "a file '.hidden' that its manifest does not list"),
    "a file that is missing": (lambda made: made.entries.pop(2) and None, "file 'model/words.bin' is missing"),
    "another size than listed": (set_entry(2, data=b"beside"), "has 6 bytes, the manifest says 16"),
    "other bytes than listed": (
        set_entry(2, data=b"beside the modeL"),
        f"file 'model/words.bin': sha256 is {hashlib.sha256(b'beside the modeL').hexdigest()}, the manifest says "
        + hashlib.sha256(b"beside the model").hexdigest()),
}  # fmt: skip


@pytest.mark.parametrize("case", ZIPS)
def test_a_zip_file_is_refused_with(case: str, tmp_path: Path) -> None:
    change, text = ZIPS[case]
    made = archive()
    change(made)
    path = tmp_path / "case.vonk"
    path.write_bytes(made.bytes())
    expect(path, MODEL, text)


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = archive().bytes()
    path = tmp_path / "cut.vonk"
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        status, message = opened(path)
        assert status == MODEL and any(
            text in message for text in ("damaged", "is no zip file", "is another kind of zip file")
        ), (size, message)


def test_a_file_with_any_byte_changed_is_refused_or_the_same(tmp_path: Path) -> None:
    """Every byte counts but those that say when, and by which program, an entry was written."""
    whole = archive().bytes()
    path = tmp_path / "changed.vonk"
    unused = 0
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0x41
        path.write_bytes(changed)
        status, message = opened(path)
        unused += status == OK
        assert status in (OK, MODEL), message
    # version, time and date in a header; two versions, time, date and internal attributes in the directory, and the
    # external ones but the type of file
    most = len(archive().entries) * (2 + 2 + 2 + 2 + 2 + 2 + 2 + 2 + 4)
    assert unused <= most, f"{unused} bytes of {len(whole)} do not count, expected at most {most}"


def test_nothing_is_left_in_the_folder_for_temporary_files(tmp_path: Path) -> None:
    """The mock reads files only, so its models are unpacked; a refused bundle never is."""
    before = sorted(Path(tempfile.gettempdir()).glob("vonk-??????"))
    bad = archive()
    bad.entries[2].data = b"beside the modeL"
    (tmp_path / "bad.vonk").write_bytes(bad.bytes())
    assert opened(tmp_path / "bad.vonk")[0] == MODEL
    assert opened(write(tmp_path / "good.vonk", good())) == (OK, "")
    assert sorted(Path(tempfile.gettempdir()).glob("vonk-??????")) == before
