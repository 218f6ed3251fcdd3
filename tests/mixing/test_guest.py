"""What each framework does, because of vonk, to the process that it is a guest in: nothing."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import mixing
import pytest

each_framework = pytest.mark.parametrize("framework", mixing.FRAMEWORKS)
#: what has nothing to do with our use of memory
plain_only = pytest.mark.skipif(bool(mixing.SANITIZED), reason="a sanitizer has nothing to find there")
each_format = pytest.mark.parametrize("name", [*mixing.FRAMEWORKS, "aoti"])

#: what vonk has to put into the environment: ONNX Runtime would phone home
ENVIRONMENT = {"onnx": {"ORT_DISABLE_TELEMETRY=1"}}


def guest(look: str, name: str, **env: str) -> str:
    mixing.need(name)
    return mixing.run([mixing.PROGRAMS / "guest", look, *mixing.files(), *specs(name)], **env)


def specs(name: str) -> list[str]:
    """The network, and the embedding of the same framework."""
    return [mixing.spec(name), mixing.embedding(name if name in mixing.FRAMEWORKS else "torch")]


@each_framework
def test_the_process_stays_as_it_was(framework):
    """Signal handlers, floating-point mode, locale, folder, umask, limits, cores, environment: at each step."""
    changes = set(guest("state", framework, ORT_DISABLE_TELEMETRY=None).splitlines())
    changes = {re.sub(r"^.*?: \+ environment: ", "", line) for line in changes}
    assert changes == ENVIRONMENT.get(framework, set())


@each_format
def test_a_forked_child_is_told_and_ends(name):
    assert guest("fork", name) == ""


@plain_only
@pytest.mark.parametrize("look", ["exit-open", "exit-thread", "outlive"])
@each_framework
def test_the_process_ends_well(framework, look):
    """With open models, from another thread than the one that used them, and after that one has ended."""
    assert guest(look, framework) == ""


@plain_only
@each_framework
def test_it_can_be_loaded_late(framework):
    """300 threads are there already, and memory is never zero by chance."""
    assert guest("late", framework, MALLOC_PERTURB_="165") == ""


@plain_only
@each_format
def test_the_current_folder_may_be_deleted(name):
    """PyTorch's MKL would end the process at its first use: that is an error."""
    assert guest("lose-folder", name) == ""
    found = guest("no-folder", name)
    if name in ("torch", "aoti"):
        assert "current folder" in found and "change to a folder" in found
    else:
        assert found == "works\n"


@pytest.mark.skipif(bool(mixing.SANITIZED), reason="a sanitizer keeps freed memory")
@pytest.mark.parametrize("name", [*mixing.FRAMEWORKS, "aoti", "checkpoint"])
def test_opening_again_and_again_keeps_no_memory(name):
    growth = re.fullmatch(r"open, run and close: (-?[0-9.]+) KB a round\n", guest("open-often", name))
    assert growth is not None
    assert float(growth[1]) < 160, "a model has 1.6 MB; allocators take and give back some MB in between"


BAD_MODELS = {
    "onnx": ("bad.onnx", b"\x08\x09noise" * 100),
    "tensorflow": ("saved_model.pb", b"\x08\x01\x12\x07noise" * 100),
    "torch": ("bad.pt", b"PK\x03\x04noise" * 100),
}


@pytest.mark.skipif(bool(mixing.SANITIZED), reason="a sanitizer keeps freed memory")
@each_framework
def test_failing_again_and_again_keeps_nothing(framework, tmp_path):
    """No memory, no open file, no temporary file."""
    mixing.need(framework)
    name, content = BAD_MODELS[framework]
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / name).write_bytes(content)
    bad = folder if framework == "tensorflow" else folder / name
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [mixing.PROGRAMS / "guest", "fail-often", *mixing.files(), bad, specs(framework)[1]]
    found = mixing.run([*command[:-2], f"{bad};plugin={framework}", command[-1]], TMPDIR=temporary)
    growth = re.fullmatch(r"fail to open and to run: (-?[0-9.]+) KB a round\n", found)
    assert growth is not None, found
    assert float(growth[1]) < 40, "allocators take and give back some MB in between"
    assert list(temporary.iterdir()) == []


# --- what it asks of the system ---------------------------------------------------------------------

#: system calls by which a process leaves a trace, or talks to somebody
FORBIDDEN = ("socket", "connect", "bind", "mkdir", "mkdirat", "unlink", "unlinkat", "rename", "renameat", "renameat2",
             "symlink", "symlinkat", "link", "linkat", "truncate", "creat", "chmod", "fchmodat", "execve")  # fmt: skip
CALL = re.compile(r'^\d+ +(\w+)\((?:AT_FDCWD, )?(?:"([^"]*)")?(.*?)\) += (-?\d+)')


def allowed_folders(framework: str) -> list[str]:
    """Where a process with this framework may read."""
    recorded = [line.split("=", 1) for line in (mixing.BUILD / "lib/vonk/paths.conf").read_text().splitlines()]
    libraries = [Path(path[0]).resolve().parent for _, *path in recorded if path]
    models = [Path(text.split(";")[0]).parent for text in specs(framework)]
    places = [mixing.BUILD.resolve(), Path(mixing.files()[0]).parent, *libraries, *models]
    return [f"{place}/" for place in places] + ["/lib/", "/usr/lib/", "/etc/ld.so.", "/proc/", "/sys/", "/dev/urandom"]


@pytest.mark.skipif(bool(mixing.SANITIZED), reason="strace and the leak check do not get along")
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@each_framework
def test_only_the_model_and_the_framework_are_read_and_nothing_is_written(framework, tmp_path):
    mixing.need(framework)
    home = tmp_path / "home"
    home.mkdir()
    log = tmp_path / "calls"
    program = [mixing.PROGRAMS / "guest", "state", *mixing.files(), *specs(framework)]
    strace = ["strace", "-f", "-qq", "-e", "trace=%file,%network", "-o", log]
    mixing.run([*strace, *program], HOME=home, XDG_CACHE_HOME=None, TMPDIR=home)
    allowed = allowed_folders(framework)
    odd = []
    for line in log.read_text().splitlines():
        call = CALL.match(line)
        if call is None or int(call[4]) < 0:
            continue
        name, path, rest = call[1], call[2] or "", call[3]
        if name in FORBIDDEN and not (name == "execve" and path.endswith("guest")):
            odd.append(line)
        if name in ("open", "openat", "openat2"):
            writes = re.search(r"O_(WRONLY|RDWR|CREAT)", rest) is not None
            if path.startswith("/proc/self/task/") and path.endswith("/comm"):
                continue  # a thread gets its name
            if writes or not any(f"{os.path.realpath(path)}/".startswith(folder) for folder in allowed):
                odd.append(line)
    assert odd == [], "\n".join(odd)
    assert list(home.iterdir()) == []
