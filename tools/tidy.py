"""Runs clang-tidy over our C files, skipping those that were clean and have not changed.

How it works: the files and their flags come from compile_commands.json. A file's key is the digest of its text, of
every header of ours it includes (followed through), of its flags, of .clang-tidy and of clang-tidy's version; the keys
of clean files are kept under build/tidy/. Two files run at a time.

usage: tidy.py BUILD-FOLDER [FILE...]
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "tidy"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.MULTILINE)
FOLDERS = ("src", "plugins", "cli", "engines", "python", "tests", "bench", "fuzz", "examples")
#: gcc's own flags, which clang refuses or warns about.
GCC_ONLY = re.compile(r" (?:-fno-gnu-unique|-Wduplicated-cond|-Wlogical-op)(?= )")
#: The analyser looks at one function at a time: it cannot know that vonk_fail, in another file, never returns VONK_OK,
#: and would report every output left unset there.
EXTRA = (
    "--extra-arg=-Xclang",
    "--extra-arg=-analyzer-config",
    "--extra-arg=-Xclang",
    "--extra-arg=ipa=none",
)


def followed_headers(file: Path, seen: set[Path]) -> None:
    """Adds a file and every file of ours it includes to `seen`."""
    if file in seen:
        return
    seen.add(file)
    for name in INCLUDE.findall(file.read_text(encoding="utf-8", errors="replace")):
        for folder in (file.parent, ROOT / "include", ROOT / "src", ROOT / "tests", ROOT):
            target = (folder / name).resolve()
            if target.is_file() and target.is_relative_to(ROOT):
                followed_headers(target, seen)
                break


def key_of(file: Path, command: str, version: str) -> str:
    headers: set[Path] = set()
    followed_headers(file, headers)
    digest = hashlib.sha256(f"{command}\0{version}\0{EXTRA}".encode())
    for config in (ROOT / ".clang-tidy", ROOT / "tests" / ".clang-tidy"):
        digest.update(config.read_bytes())
    for header in sorted(headers):
        digest.update(f"\0{header.relative_to(ROOT)}\0".encode() + header.read_bytes())
    return digest.hexdigest()


def tidy(file: Path, key: str) -> str:
    """Runs clang-tidy on one file and remembers it when clean. Returns what there is to say."""
    command = [
        "clang-tidy",
        "-p",
        str(CACHE),
        "--quiet",
        "--warnings-as-errors=*",
        *EXTRA,
        str(file),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        (CACHE / key).touch()
        return ""
    return done.stdout + done.stderr


def read_commands(build: Path) -> dict[Path, str]:
    """The compile commands of our files, as clang can take them; also written to CACHE for clang-tidy."""
    entries = [e for e in json.loads((build / "compile_commands.json").read_text()) if ours(Path(e["file"]).resolve())]
    for entry in entries:
        entry["command"] = GCC_ONLY.sub("", entry["command"])
    (CACHE / "compile_commands.json").write_text(json.dumps(entries))
    return {Path(entry["file"]).resolve(): entry["command"] for entry in entries}


def ours(file: Path) -> bool:
    return file.is_relative_to(ROOT) and file.relative_to(ROOT).parts[0] in FOLDERS and file.exists()


def main() -> int:
    build = Path(sys.argv[1]).resolve()
    only = {Path(name).resolve() for name in sys.argv[2:]}
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, text=True, check=True).stdout
    CACHE.mkdir(parents=True, exist_ok=True)
    commands = read_commands(build)
    files = sorted(file for file in commands if not only or file in only)
    keys = {file: key_of(file, commands[file], version) for file in files}
    changed = [file for file in files if not (CACHE / keys[file]).exists()]
    with ThreadPoolExecutor(2) as pool:
        outputs = [text for text in pool.map(lambda file: tidy(file, keys[file]), changed) if text]
    for text in outputs:
        print(text, file=sys.stderr)
    print(f"clang-tidy: {len(files)} files, {len(changed)} changed, {len(outputs)} with faults")
    return 1 if outputs or not files else 0


if __name__ == "__main__":
    sys.exit(main())
