"""Runs a command under strace and tells what it touched: processes, files, sockets.

Tests allow by prefix; what is inside the corpus is allowed for the case alone that it belongs to. `mark(name)` in a
traced process divides the trace, so that one process can try many models.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "execve,execveat,clone,clone3,fork,vfork,open,openat,openat2,creat,unlink,unlinkat,rename,renameat,renameat2,"
    "mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,truncate,mknod,mknodat,connect,socket,bind"
)
MARK = "/vonk-hostile-mark/"
LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>)?(.*)$")
STRING = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
RESULT = re.compile(r"= \d+<([^>]*)>$")
THREAD_NAME = re.compile(r"/proc/(self|\d+)/task/\d+/comm|/dev/null")
PROCESS_CALLS = {"execve", "execveat", "clone", "clone3", "fork", "vfork"}
SOCKET_CALLS = {"socket", "connect", "bind"}


@dataclass
class Section:
    """What happened after one mark: every path that a call named or reached, and what else a model must not do."""

    name: str
    paths: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    processes: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)


@dataclass
class Run:
    status: int
    stdout: str
    stderr: str
    sections: list[Section]

    def section(self, name: str) -> Section:
        return next(section for section in self.sections if section.name == name)


def mark(name: str) -> None:
    """Begins a section, from inside the traced process."""
    with contextlib.suppress(OSError):
        os.close(os.open(f"{MARK}{name}", os.O_RDONLY))


def why_not() -> str | None:
    """Why nothing can be traced here; None where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed: make deps"
    done = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return f"ptrace is not permitted here: {done.stderr.strip()}" if done.returncode != 0 else None


def unescape(text: str) -> str:
    return (
        text.encode("latin-1", "replace").decode("unicode_escape").encode("latin-1", "replace").decode(errors="replace")
    )


def is_write(call: str, rest: str) -> bool:
    if call in ("open", "openat", "openat2"):
        return any(flag in rest for flag in ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"))
    return call not in PROCESS_CALLS | SOCKET_CALLS


def paths_of(rest: str) -> Iterator[str]:
    """Of one line: what it names, made absolute, and what a link in it led to."""
    for folder, text in STRING.findall(rest):
        yield os.path.normpath(os.path.join(folder, unescape(text)))  # noqa: PTH118 - text, not files
    if reached := RESULT.search(rest):
        yield reached[1].removesuffix("(deleted)").removesuffix(" ")


def read(trace: Path) -> list[Section]:
    sections = [Section("start")]
    first_exec = True
    for line in trace.read_text(errors="replace").splitlines():
        match = LINE.match(line)
        if match is None or line.endswith("+++") or " --- " in line:
            continue
        call, rest = match[2], match[3]
        if MARK in rest:
            sections.append(Section(rest.partition(MARK)[2].partition('"')[0]))
            continue
        here = sections[-1]
        if call in PROCESS_CALLS:
            if call == "execve" and first_exec:
                first_exec = False
            elif "CLONE_THREAD" not in rest and not rest.startswith(" "):
                here.processes.append(line)
            continue
        if call in SOCKET_CALLS:
            if "AF_UNIX" not in line or (call != "socket" and "/nscd/" not in line):  # who the user is, by libc
                here.sockets.append(line)
            continue
        found = {path for path in paths_of(rest) if path.startswith("/")}
        here.paths |= found
        if is_write(call, rest) and "= -1" not in rest:
            here.written |= {path for path in found if not THREAD_NAME.fullmatch(path)}
    return sections


def run(command: Sequence[object], environment: Mapping[str, str] | None = None, text: str | None = None) -> Run:
    """`text` is given as standard input; the trace is written aside and removed."""
    with tempfile.TemporaryDirectory(prefix="vonk-trace-") as folder:
        trace = Path(folder) / "trace"
        words = [
            "strace",
            "--seccomp-bpf",
            "-f",
            "-qq",
            "-y",
            "-s",
            "8192",
            "-e",
            f"trace={CALLS}",
            "-o",
            trace,
            *command,
        ]
        done = subprocess.run([str(word) for word in words], input=text, env=environment, capture_output=True,
                              text=True, timeout=300, check=False, errors="replace")  # fmt: skip
        return Run(done.returncode, done.stdout, done.stderr, read(trace))


def allowed() -> tuple[str, ...]:
    """What any process may open: system libraries, devices that are no devices, the interpreter, the build tree."""
    python = {sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}
    root = Path(__file__).resolve().parent.parent.parent
    build = {
        os.environ.get("VONK_BUILD_DIR", ""),
        str(root / "python"),
        str(root / ".venv"),
        str(root / "tests"),
        str(root / "build/deps"),
    }
    system = ("/lib", "/usr/lib", "/lib64", "/usr/share", "/usr/local/lib", "/etc/ld.so", "/etc/localtime",
              "/etc/nsswitch.conf", "/etc/passwd", "/proc/self",
              "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys", "/proc/filesystems", "/proc/mounts",
              "/sys/devices/", "/sys/bus/pci", "/sys/fs/cgroup", "/dev/null", "/dev/urandom", "/dev/tty")  # fmt: skip
    own = {part for part in python | build if part}
    return (*system, *sorted(own | {str(Path(part).resolve()) for part in own}))  # any of them may be a link


def stray(section: Section, corpus: Path, home: Path, more: Sequence[str] = ()) -> list[str]:
    """The paths of a section that are neither the case's own nor allowed to all."""
    good = (*allowed(), *more)
    wrong = []
    for path in sorted(section.paths):
        place = re.sub(r"^/proc/\d+/", "/proc/self/", path)
        is_own = Path(path).is_relative_to(home)
        is_common = not Path(path).is_relative_to(corpus) and place.startswith(good)
        if not (is_own or is_common) or "/canaries" in path or "/outside" in path:
            wrong.append(path)
    return wrong
