"""Checks what our shared objects export, import and need.

- libvonk.so exports exactly the functions declared with VONK_API in include/vonk/vonk.h.
- A plug-in exports exactly vonk_plugin_init_v1.
- The TorchScript part, where it was built, exports exactly its table, needs PyTorch by name and has no search path.
- vonk.duckdb_extension exports exactly vonk_init_c_api, and ends with the footer that DuckDB looks for.
- Nothing refers to a symbol of a framework or of DuckDB: those are found at run time.
- Nothing needs a shared library beyond the C library (C++ plug-ins: and the C++ run-time library).

usage: check_symbols.py BUILD-FOLDER
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DECLARATION = re.compile(r"^VONK_API\b[^;(]*?\b(vonk_\w+)\s*\(", re.MULTILINE | re.DOTALL)
ENTRY = "vonk_plugin_init_v1"
SCRIPT_ENTRY = "vonk_torchscript_v1"
SCRIPT_LIBRARIES = {"libtorch_cpu.so", "libc10.so", "libstdc++.so.6", "libgcc_s.so.1"}
EXTENSION_ENTRY = "vonk_init_c_api"
FOREIGN = re.compile(r"^(Ort|duckdb_|TF_|aoti_|json_)")
LIBRARIES = re.compile(r"^(libc|libm|libdl|libpthread|librt|ld-linux[\w-]*)\.so\.\d+$")


def declared_functions(header: str) -> set[str]:
    """Names of the functions that a header declares with VONK_API."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    marks = len(re.findall(r"^VONK_API\b", text, re.MULTILINE))
    names = DECLARATION.findall(text)
    if len(names) != marks:
        raise ValueError(f"vonk.h: {marks} lines start with VONK_API but {len(names)} declarations could be read")
    return set(names)


def lines_of(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def symbols(library: Path, which: str) -> set[str]:
    """Dynamic symbols without their versions; which is "defined" or "undefined"."""
    names = (line.split() for line in lines_of("nm", "-D", "--format=posix", f"--{which}-only", str(library)))
    return {words[0].partition("@")[0] for words in names if len(words) > 1 and words[1] != "A"}


def needed(library: Path) -> set[str]:
    found = (re.search(r"\(NEEDED\).*\[(.+)\]", line) for line in lines_of("readelf", "-dW", str(library)))
    return {match[1] for match in found if match}


def faults_of(library: Path, exports: set[str] | None) -> list[str]:
    """What is wrong with one shared object or program; exports None means that it is not compared."""
    faults = []
    if exports is not None:
        found = symbols(library, "defined")
        faults += [f"exports '{name}', which no public header declares" for name in sorted(found - exports)]
        faults += [f"does not export '{name}'" for name in sorted(exports - found)]
    foreign = sorted(name for name in symbols(library, "undefined") if FOREIGN.match(name))
    faults += [f"needs '{name}', a symbol that must be found at run time" for name in foreign]
    faults += [f"is linked with {name}" for name in sorted(needed(library)) if not LIBRARIES.match(name)]
    return [f"{library.name}: {fault}" for fault in faults]


def footer_faults(extension: Path) -> list[str]:
    """What DuckDB would refuse: the last 512 bytes are fields of 32 bytes, then room for a signature."""
    footer = extension.read_bytes()[-512:-256]
    fields = [footer[at : at + 32].rstrip(b"\0").decode(errors="replace") for at in range(0, len(footer), 32)]
    wanted = {3: "C_STRUCT", 5: "v1.2.0", 7: "4"}
    return [
        f"{extension.name}: field {at} of its footer is '{fields[at]}', expected '{value}'"
        for at, value in wanted.items()
        if len(fields) != 8 or fields[at] != value
    ]


def script_faults(library: Path) -> list[str]:
    """What is wrong with the one file of ours that is linked with a framework, by the framework's SONAMEs."""
    found = symbols(library, "defined")
    faults = [f"exports {sorted(found)}, expected {SCRIPT_ENTRY}"] if found != {SCRIPT_ENTRY} else []
    faults += [f"is linked with {name}" for name in needed(library) - SCRIPT_LIBRARIES if not LIBRARIES.match(name)]
    paths = [line for line in lines_of("readelf", "-dW", str(library)) if "RPATH" in line or "RUNPATH" in line]
    faults += [f"has a search path: {line.strip()}" for line in paths]
    return [f"{library.name}: {fault}" for fault in faults]


def check(build: Path) -> tuple[int, list[str]]:
    faults: list[str] = []
    api = declared_functions((ROOT / "include" / "vonk" / "vonk.h").read_text())
    plugins = sorted((build / "lib" / "vonk" / "plugins").glob("vonk_*.so"))
    wanted: list[tuple[Path, set[str] | None]] = [(build / "lib" / "libvonk.so", api)]
    wanted += [(plugin, {ENTRY}) for plugin in plugins]
    wanted.append((build / "bin" / "vonk", None))
    extension = build / "lib" / "vonk.duckdb_extension"
    wanted.append((extension, {EXTENSION_ENTRY}))
    for library, exports in wanted:
        if library.exists():
            faults += faults_of(library, exports)
        else:
            faults.append(f"{library.name}: not built: expected at {library}")
    scripts = sorted((build / "lib" / "vonk" / "plugins" / "torch").glob("*.so"))
    for script in scripts:
        faults += script_faults(script)
    if extension.exists():
        faults += footer_faults(extension)
    if not plugins:
        faults.append("no plug-in was built")
    return len(wanted) + len(scripts), faults


def main() -> int:
    count, faults = check(Path(sys.argv[1]).resolve())
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"symbols: {count} files, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
