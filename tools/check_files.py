"""Checks all files of the repository: size, machine paths, package hosts, length, white space.

How it works: the files are those that git tracks or would track. Text is searched for paths of the machine it was
written on (the root of this checkout, home folders) and for hosts of package registries, which users choose, not we.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 5 * 1024 * 1024
MAX_LINES = 700
SOURCE_SUFFIXES = {".c", ".h", ".cc", ".py", ".sh", ".cmake"}
#: Home folders. Written in pieces, so that this file does not find itself.
MACHINE_PATHS = re.compile(r"(?<![\w.}-])/(?:" + "ro" + "ot|home/" + r"\w+)(?:/|\b)")
HOSTS = re.compile(
    r"\b(?:"
    + "|".join(["pypi" + r"\.org", "files.python" + "hosted", "registry.npm" + "js", "npm" + r"js\.com"])
    + r"\b)"
)


def repository_files(root: Path) -> list[Path]:
    command = [
        "git",
        "-C",
        str(root),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    names = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
    return [root / name for name in sorted(set(names)) if name and (root / name).is_file()]


def line_faults(line: str, own_root: str) -> list[str]:
    """What is wrong with one line of text."""
    faults = []
    if MACHINE_PATHS.search(line) or own_root in line:
        faults.append("names a path of one machine")
    if HOSTS.search(line):
        faults.append("names a package registry's host: users choose theirs")
    return faults


def check_file(path: Path, root: Path) -> list[str]:
    """The faults of one file, as 'file:line: what'."""
    name = path.relative_to(root)
    size = path.stat().st_size
    if size > MAX_BYTES:
        return [f"{name}: {size:,} bytes: larger than {MAX_BYTES:,}: bring it at set-up instead"]
    data = path.read_bytes()
    if b"\0" in data[:8192]:
        return [f"{name}: holds the path of this checkout"] if str(root).encode() + b"/" in data else []
    lines = data.decode("utf-8", errors="replace").splitlines()
    faults = [f"{name}:{i}: {fault}" for i, line in enumerate(lines, 1) for fault in line_faults(line, f"{root}/")]
    if path.suffix in SOURCE_SUFFIXES:
        if len(lines) > MAX_LINES:
            faults.append(f"{name}: {len(lines)} lines: split it, {MAX_LINES} is the most")
        faults += [f"{name}:{i}: white space at the end" for i, line in enumerate(lines, 1) if line != line.rstrip()]
    return faults


def main() -> int:
    files = repository_files(ROOT)
    faults = [fault for path in files for fault in check_file(path, ROOT)]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"files: {len(files)} files, {len(faults)} faults")
    return 1 if faults or not files else 0


if __name__ == "__main__":
    sys.exit(main())
