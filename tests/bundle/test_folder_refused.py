"""Bundles that are folders, with what a bundle cannot have in it: each is refused for its own reason."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from library import INVALID, IO, MODEL, NAMES, OK
from mock_bundle import FILES, MODEL_TEXT, folder, good, manifest_of, opened


def link(inside: str, target: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        (path / inside).unlink(missing_ok=True)
        (path / inside).symlink_to(target)

    return change


def pipe(path: Path) -> None:
    os.mkfifo(path / "model" / "pipe")


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path / "model")  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("sock")
    os.chdir(here)


def unlisted(path: Path) -> None:
    (path / "model" / "more").write_bytes(b"")


OTHER_LABELS = "rot\ngrün\r\nBLAU\n".encode()
FOLDERS: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "a link to a file outside": (link("labels.txt", "/etc/hostname"), MODEL, "'labels.txt': is a link that leaves"),
    "a link to the folder above": (link("model/up", "../model"), INVALID, "links in a circle?"),
    "a link to a folder outside": (link("model/up", "/etc"), MODEL, "'model/up': is a link that leaves the bundle"),
    "a link to a folder inside": (link("model/two", "../selftest"), MODEL, "'model/two': is a link to something else"),
    "a link to nothing": (link("model/no", "nothing"), IO, "'model/no': is a link that leads nowhere"),
    "a manifest elsewhere": (link("manifest.json", "../manifest.json"), MODEL, "is a link that leaves the bundle"),
    "a pipe": (pipe, MODEL, "'model/pipe': is a pipe, socket or device"),
    "a socket": (unix_socket, MODEL, "'model/sock': is a pipe, socket or device"),
    "a file that is not listed": (unlisted, MODEL, "a file 'model/more' that its manifest does not list"),
    "a file that is missing": (lambda p: (p / "labels.txt").unlink(), MODEL, "file 'labels.txt' is missing"),
    "another size": (lambda p: (p / "labels.txt").write_bytes(b"a"), MODEL, "has 1 bytes, the manifest says 16"),
    "other labels": (
        lambda p: (p / "labels.txt").write_bytes(OTHER_LABELS), MODEL,
        f"file 'labels.txt': sha256 is {hashlib.sha256(OTHER_LABELS).hexdigest()}"),
    "another model": (
        lambda p: (p / "model/net.mock").write_bytes(MODEL_TEXT.upper()), MODEL, "file 'model/net.mock': sha256 is"),
    "no manifest": (lambda p: (p / "manifest.json").unlink(), IO, "manifest.json"),
    "a manifest that is a folder": (
        lambda p: [(p / "manifest.json").unlink(), (p / "manifest.json").mkdir()], MODEL, "manifest.json is a folder"),
    "a manifest of 5 MiB": (
        lambda p: (p / "manifest.json").write_bytes(b" " * (5 << 20)), MODEL, "manifest.json is larger than 4 MiB"),
    "a backslash": (lambda p: (p / "a\\b").write_bytes(b""), MODEL, "has a backslash"),
    "folders without end": (
        lambda p: (p / "/".join("d" * 1 for _ in range(40))).mkdir(parents=True), INVALID, "more than 32 folders deep"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_is_refused_with(case: str, tmp_path: Path) -> None:
    change, status, text = FOLDERS[case]
    (tmp_path / "manifest.json").write_bytes(manifest_of(good(), FILES))
    path = folder(tmp_path / "case.vonk")
    assert opened(path) == (OK, "")
    change(path)
    found, message = opened(path)
    print(message)
    assert (found, text in message) == (status, True), f"{NAMES[found]}: {message}\nexpected {NAMES[status]}: {text}"


def test_a_link_that_stays_in_the_folder_is_a_file(tmp_path: Path) -> None:
    path = folder(tmp_path / "good")
    (path / "selftest/y.bin").unlink()
    (path / "selftest/y.bin").symlink_to("x.bin")
    assert opened(path) == (OK, "")


@pytest.mark.skipif(os.getuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "b.vonk")
    (path / "model/words.bin").chmod(0)
    status, message = opened(path)
    assert status == IO and "model/words.bin: cannot be opened: Permission denied" in message, message
