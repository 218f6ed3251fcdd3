"""Compares plugins/onnx/ort_api.h with the C header of a released ONNX Runtime.

For developers, before a release: `python tools/check_ort_slots.py [HEADER]`. Without HEADER it fetches Debian's
libonnxruntime-dev (suite `trixie` unless `--suite` says otherwise) into a temporary folder through apt with its own
lists and state, from the Debian mirror this machine's apt is configured with; nothing on the system changes.

Every row of VONK_ORT_ENTRIES must name the entry that the header has at that slot, with as many parameters and the same
kind of result, and no row may be younger than VONK_ORT_API_VERSION; those of VONK_ORT_LATER_ENTRIES may be as young as
VONK_ORT_LATER_VERSION.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "libonnxruntime-dev"


@dataclass(frozen=True)
class Entry:
    """One entry of the table."""

    slot: int
    name: str
    result: str  # "status", "void" or the C type
    n_parameters: int
    since: int  # minor version that brought it; 0 = the header does not say


def count_parameters(text: str) -> int:
    """Commas at the outermost level of a parameter list, plus one; 0 for none or `void`."""
    depth, commas = 0, 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        commas += character == "," and depth == 0
    return 0 if text.strip() in ("", "void") else commas + 1


def our_entries(text: str, table: str, version_name: str) -> tuple[list[Entry], int, int]:
    """Rows of a table, the version that has them, and the number of entries the oldest version is said to have."""
    text = text.replace("\\\n", " ")
    rows = re.search(rf"#define {table}\(X\)(.*)", text)
    version = re.search(rf"#define {version_name} (\d+)", text)
    count = re.search(r"#define VONK_ORT_ENTRY_COUNT (\d+)", text)
    if not (rows and version and count):
        raise SystemExit(f"ort_api.h: {table}, {version_name} or VONK_ORT_ENTRY_COUNT not found")
    entries = []
    for match in re.finditer(r"X\((\d+), ([^,]+), (\w+),\s*\(", rows.group(1)):
        end, depth = match.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(rows.group(1)[end], 0)
            end += 1
        result = match.group(2).strip()
        entries.append(
            Entry(
                slot=int(match.group(1)),
                name=match.group(3),
                result="status" if result == "ort_status *" else result,
                n_parameters=count_parameters(rows.group(1)[match.end() : end - 1]),
                since=0,
            )
        )
    return entries, int(version.group(1)), int(count.group(1))


def strip_comments(text: str) -> str:
    """The text with comments blanked out, so that positions stay the same."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group(0))

    return re.sub(r"//[^\n]*|/\*.*?\*/", blank, text, flags=re.S)


def header_entries(text: str) -> dict[int, Entry]:
    """All entries of `struct OrtApi`, by slot."""
    start = text.index("struct OrtApi {")
    body = text[start : text.index("\n};", start)]
    code = strip_comments(body)
    pattern = re.compile(
        r"ORT_API2_STATUS\(\s*(?P<status>\w+)\s*,?|ORT_CLASS_RELEASE\((?P<release>\w+)\)"
        r"|(?P<result>[\w ]+[*]?)\s*\(\s*ORT_API_CALL\s*\*\s*(?P<other>\w+)\)\("
    )
    entries: dict[int, Entry] = {}
    previous_end, since = 0, 0
    for slot, match in enumerate(pattern.finditer(code)):
        for found in re.finditer(r"since Version 1\.(\d+)", body[previous_end : match.start()]):
            since = max(since, int(found.group(1)))
        end = code.index(";", match.start())
        previous_end = end
        rest = code[match.end() : end]
        if match.group("release"):
            name, result, n_parameters = "Release" + match.group("release"), "void", 1
        else:
            name = match.group("status") or match.group("other")
            result = "status" if match.group("status") else match.group("result").strip()
            n_parameters = count_parameters(rest[: rest.rindex(")")])
        entries[slot] = Entry(slot, name, result, n_parameters, since)
    return entries


def same_result(ours: str, theirs: str) -> bool:
    """Enumerations are int in our header; qualifiers' spacing does not matter."""
    if theirs == "OrtErrorCode":
        return ours == "int"
    return ours.replace(" ", "") == theirs.replace(" ", "").replace("OrtStatus*", "status")


def compare(ours: list[Entry], version: int, count: int, theirs: dict[int, Entry]) -> list[str]:
    """What differs, one line each."""
    faults = []
    for entry in ours:
        found = theirs.get(entry.slot)
        if found is None or found.name != entry.name:
            right = [slot for slot, other in theirs.items() if other.name == entry.name]
            faults.append(f"{entry.name}: slot {entry.slot} is {found and found.name}; right: {right}")
        elif found.n_parameters != entry.n_parameters:
            faults.append(f"{entry.name}: {entry.n_parameters} parameters, not {found.n_parameters}")
        elif not same_result(entry.result, found.result):
            faults.append(f"{entry.name}: returns {entry.result!r}, not {found.result!r}")
        elif found.since > version:
            faults.append(f"{entry.name}: needs version {found.since}, {version} is asked for")
    oldest = sum(entry.since <= version for entry in theirs.values())
    if count > oldest:
        faults.append(f"VONK_ORT_ENTRY_COUNT is {count}; version {version} has {oldest} entries")
    return faults


def debian_mirror() -> str:
    """The Debian mirror in this machine's apt sources."""
    shown = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Identifier: Packages"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for line in shown.splitlines():
        origin, _, uri = line.partition(" ")
        if origin == "Debian" and "security" not in uri:
            return uri.rstrip("/")
    for file in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
        if file.is_file():
            for uri in re.findall(r"\w+://\S+/debian(?=[/\s]|$)", file.read_text(), flags=re.M):
                return str(uri)
    raise SystemExit("no Debian mirror in this machine's apt sources: give a header's path instead")


def fetch_header(suite: str, folder: Path) -> Path:
    """Downloads and unpacks the package; returns the header's path."""
    for sub in (
        "etc/apt/preferences.d",
        "etc/apt/apt.conf.d",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "var/lib/dpkg",
    ):
        (folder / sub).mkdir(parents=True)
    (folder / "var/lib/dpkg/status").touch()
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "etc/apt/sources.list").write_text(f"deb [signed-by={keyring}] {debian_mirror()} {suite} main\n")
    config = folder / "apt.conf"
    config.write_text(
        f'Dir "{folder}";\nDir::State::status "{folder}/var/lib/dpkg/status";\n'
        'APT::Sandbox::User "root";\nAcquire::Languages "none";\n'
    )
    environment = {**os.environ, "APT_CONFIG": str(config)}
    for command in (["apt-get", "-q", "update"], ["apt-get", "-q", "download", PACKAGE]):
        subprocess.run(command, check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    archive = next(folder.glob(f"{PACKAGE}_*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(archive), str(folder / "x")], check=True)
    return next((folder / "x").rglob("onnxruntime_c_api.h"))


def main() -> int:
    """Prints what differs; 0 if nothing does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("header", nargs="?", type=Path, help="onnxruntime_c_api.h")
    parser.add_argument("--suite", default="trixie", help="Debian release to take the header from")
    arguments = parser.parse_args()
    text = (ROOT / "plugins/onnx/ort_api.h").read_text()
    ours, version, count = our_entries(text, "VONK_ORT_ENTRIES", "VONK_ORT_API_VERSION")
    later, later_version, _ = our_entries(text, "VONK_ORT_LATER_ENTRIES", "VONK_ORT_LATER_VERSION")
    with tempfile.TemporaryDirectory() as folder:
        header = arguments.header or fetch_header(arguments.suite, Path(folder))
        theirs = header_entries(header.read_text(encoding="utf-8"))
    faults = compare(ours, version, count, theirs) + compare(later, later_version, count, theirs)
    ours += later
    for fault in faults:
        print(fault)
    print(f"{len(ours)} entries compared with {len(theirs)} of the header: {len(faults)} differ")
    return 1 if faults or not ours else 0


if __name__ == "__main__":
    sys.exit(main())
