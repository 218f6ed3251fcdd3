"""Fails when a C file includes what its layer must not know.

How it works: every #include line of every C and C++ file is read and resolved to a layer (a folder of ours), a system
header or an unknown one. A layer may include itself, the layers RULES names, and of those only their door
(src/<layer>/<layer>.h, the public headers under include/vonk/); system headers must stand in SYSTEM or in the layer's
own list. What cannot be read (an include of a macro) is an error: a rule must not pass because it saw nothing.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*(?:([<\"])([^>\"]+)[>\"]|(\S.*))", re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
SUFFIXES = {".c", ".h", ".cc"}

#: C, C++ and POSIX headers that any layer may use.
SYSTEM = set(
    "assert.h ctype.h dirent.h dlfcn.h errno.h execinfo.h fcntl.h fenv.h fnmatch.h float.h ftw.h getopt.h glob.h "
    "inttypes.h libgen.h limits.h link.h locale.h math.h poll.h pthread.h sched.h setjmp.h signal.h spawn.h stdalign.h "
    "stdarg.h stdatomic.h stdbool.h stddef.h stdint.h stdio.h stdlib.h stdnoreturn.h string.h strings.h termios.h "
    "threads.h time.h elf.h uchar.h unistd.h wchar.h wctype.h cstddef cstdint cstdlib cstring new stdexcept "
    "exception string vector memory xmmintrin.h pmmintrin.h immintrin.h cpuid.h".split()
)
SYSTEM_PREFIXES = ("sys/", "linux/")


@dataclass(frozen=True)
class Rule:
    """What the files of one layer may include besides themselves.

    Attributes
    ----------
    layers
        Other layers, through their door.
    public
        Names below include/vonk/; None means all of them.
    system
        Headers of libraries, besides SYSTEM.
    """

    layers: frozenset[str] = frozenset()
    public: frozenset[str] | None = None
    system: frozenset[str] = field(default_factory=frozenset)


def rule(layers: str = "", public: str | None = None, system: str = "") -> Rule:
    names = None if public is None else frozenset(public.split())
    return Rule(frozenset(layers.split()), names, frozenset(system.split()))


NO_ARROW = "plugin.h vonk.h"
CORE = "base arrow plugin bundle model predict"
TESTS = rule(
    CORE + " kit onnx tensorflow torch cli duckdb functions extension tests mock",
    system="cmocka.h yyjson.h duckdb.h duckdb_extension.h",
)

#: Layer -> rule, in the order of docs/architecture.md.
RULES = {
    "include/vonk": rule(),
    "src/base": rule(public=NO_ARROW),
    "src/arrow": rule("base"),
    "src/plugin": rule("base", public=NO_ARROW),
    "src/bundle": rule("base", public=NO_ARROW, system="yyjson.h"),
    "src/model": rule("base plugin bundle", public=NO_ARROW),
    "src/predict": rule("base arrow plugin model"),
    "src/image": rule("base"),
    "src/learn": rule("base"),
    "plugins/kit": rule(public="plugin.h"),
    "plugins/onnx": rule("kit", public="plugin.h"),
    "plugins/tensorflow": rule("kit", public="plugin.h"),
    "plugins/torch": rule("kit script", public="plugin.h", system="zlib.h"),
    "plugins/torch/script": rule(
        public="plugin.h",
        system="algorithm deque mutex optional set ATen/ATen.h c10/core/InferenceMode.h torch/version.h "
        "torch/csrc/jit/api/module.h torch/csrc/jit/ir/alias_analysis.h torch/csrc/jit/passes/inliner.h "
        "torch/csrc/jit/passes/dead_code_elimination.h torch/csrc/jit/passes/inline_fork_wait.h "
        "torch/csrc/jit/runtime/graph_executor.h torch/csrc/jit/serialization/import.h",
    ),
    "engines/duckdb": rule("base", system="duckdb.h duckdb_extension.h"),
    "engines/duckdb/functions": rule("base duckdb", system="duckdb.h duckdb_extension.h"),
    "engines/duckdb/extension": rule("base duckdb functions", system="duckdb.h duckdb_extension.h"),
    "cli": rule(CORE + " image learn duckdb functions", system="malloc.h yyjson.h duckdb.h duckdb_extension.h"),
    "examples/embed": rule(),
    "examples/plugin": rule(public="plugin.h"),
    "python/core": rule(system="Python.h"),
    "tests/mock": rule(public="plugin.h"),
    "tests": TESTS,
    "bench": TESTS,
    "bench/loops": rule(
        CORE + " kit onnx tensorflow torch",
        system="memory vector ATen/Parallel.h c10/core/InferenceMode.h torch/csrc/jit/api/module.h "
        "torch/csrc/jit/serialization/import.h torch/csrc/inductor/aoti_package/model_package_loader.h",
    ),
    "fuzz": TESTS,
}


def layer_of(path: Path) -> str | None:
    """The longest layer folder that holds a path given relative to the root."""
    names = [name for name in RULES if path.as_posix().startswith(name + "/")]
    return max(names, key=len, default=None)


def is_door(target: Path, layer: str) -> bool:
    return target.as_posix() == f"{layer}/{layer.rpartition('/')[2]}.h"


def resolve(root: Path, file: Path, name: str, quoted: bool) -> Path | None:
    """The file of ours that an include means, relative to the root; None if it is none of ours."""
    beside = [root / file.parent] if quoted else []
    for folder in (*beside, root / "include", root / "src", root / "plugins", root / "tests", root):
        candidate = (folder / name).resolve()
        if candidate.is_file() and candidate.is_relative_to(root):
            return candidate.relative_to(root)
    return None


def judge(root: Path, file: Path, name: str, quoted: bool) -> str | None:
    """Why `file` must not include `name`; None if it may."""
    layer = layer_of(file)
    if layer is None:
        return f"the folder {file.parent} belongs to no layer: add it to tools/check_layers.py"
    allowed = RULES[layer]
    target = resolve(root, file, name, quoted)
    if target is None:
        if name.startswith("vonk/"):
            return "there is no such public header"
        if name in SYSTEM or name in allowed.system or name.startswith(SYSTEM_PREFIXES):
            return None
        return f"{layer} may not use this library header (or the file does not exist)"
    other = layer_of(target)
    if other == layer:
        return None
    if other == "include/vonk":
        if allowed.public is None or target.name in allowed.public:
            return None
        return f"of include/vonk/, {layer} may include only {', '.join(sorted(allowed.public))}"
    if other is None or other.rpartition("/")[2] not in allowed.layers:
        return f"{layer} must not know {other or target.parent}"
    if not is_door(target, other) and not layer.startswith(("tests", "fuzz", "bench")):
        return f"{other} is entered by its own header {other.rpartition('/')[2]}.h only"
    return None


def check_file(root: Path, file: Path) -> list[str]:
    """The forbidden includes of one file, as 'file:line: what: why'."""
    keep_lines = COMMENT.sub(lambda m: "\n" * m.group().count("\n"), (root / file).read_text(encoding="utf-8"))
    faults = []
    for match in INCLUDE.finditer(keep_lines):
        line = keep_lines.count("\n", 0, match.start()) + 1
        if match[3] is not None:
            faults.append(f"{file}:{line}: #include {match[3]}: name the file itself, so that this check can read it")
            continue
        why = judge(root, file, match[2], match[1] == '"')
        if why is not None:
            faults.append(f"{file}:{line}: #include {match[1]}{match[2]}: {why}")
    return faults


def check(root: Path) -> tuple[int, list[str]]:
    """Checks every C file below the layers' folders: the number of files read, and the faults."""
    folders = sorted({name.partition("/")[0] for name in RULES} | {"examples"})
    files = sorted(
        path.relative_to(root)
        for folder in folders
        if (root / folder).is_dir()
        for path in (root / folder).rglob("*")
        if path.suffix in SUFFIXES and path.is_file()
    )
    return len(files), [fault for file in files for fault in check_file(root, file)]


def main() -> int:
    count, faults = check(ROOT)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"layers: {count} files, {len(faults)} forbidden includes")
    return 1 if faults or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
