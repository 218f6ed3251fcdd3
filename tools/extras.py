"""What vonk works with beyond ONNX Runtime and DuckDB, to run models of, to pack them, to run models in: which of it is
wanted, which is there, and pip that says what it downloads.

How it works: `make setup EXTRAS=tensorflow,torch` adds to what .venv/.extras remembers, so that a later `make` without
EXTRAS keeps them; EXTRAS=none takes them away. What pip installed for an extra is kept in .venv/.extra-NAME, since pip
itself does not know what nobody needs any more.
"""

from __future__ import annotations

import queue
import re
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Extra(NamedTuple):
    """What an extra is called, and a file below site-packages that is there once it is installed."""

    title: str
    file: str
    is_library: bool  # paths.conf records the file under the extra's name
    from_source: bool = False  # a package of it comes as source alone


EXTRAS = {
    "tensorflow": Extra("TensorFlow and Keras", "tensorflow/libtensorflow_cc.so.2", is_library=True),
    "torch": Extra("PyTorch", "torch/lib/libtorch_cpu.so", is_library=True),
    "sklearn": Extra("scikit-learn, for vonk pack", "skl2onnx/__init__.py", is_library=False),
    "huggingface": Extra("Hugging Face transformers", "transformers/__init__.py", is_library=False),
    "spark": Extra("Apache Spark", "pyspark/bin/spark-class", is_library=False, from_source=True),
}
#: What pip says of a file it gets; those of 20 MB and more are worth a line.
FILE = re.compile(
    r"(Downloading|Using cached) (?:\S*/)?([^/\s]+)(?:\.whl|\.tar\.gz)(?:\.metadata)? \(([\d.]+) ([kMG]B)\)"
)
BUILDING = re.compile(r"\s*Building wheel for (\S+) .*: started")
LARGE_MB = 20.0
#: Seconds of silence after which we say that work goes on.
SILENCE = 20.0


class ExtrasError(Exception):
    """The value of EXTRAS is none; the message says what is."""


def choices() -> str:
    return f"{', '.join(EXTRAS)}, all or none"


def parse(text: str) -> list[str] | None:
    """The extras that a value of EXTRAS names, in our order; [] for "none", None where nothing was said.

    Raises
    ------
    ExtrasError
        A name that is none of ours, or "none" beside another.
    """
    names = [name for name in re.split(r"[,\s]+", text.strip().lower()) if name]
    if not names:
        return None
    for name in names:
        if name not in {*EXTRAS, "all", "none"}:
            raise ExtrasError(f"EXTRAS={text}: '{name}' is no extra: choose from {choices()}, separated by commas")
    if "none" in names:
        if len(names) > 1:
            raise ExtrasError(f"EXTRAS={text}: 'none' stands alone: choose from {choices()}")
        return []
    return [name for name in EXTRAS if name in names or "all" in names]


def remembered(venv: Path) -> list[str]:
    """What former set-ups were asked for."""
    file = venv / ".extras"
    names = file.read_text().split() if file.is_file() else []
    return [name for name in EXTRAS if name in names]


def remember(venv: Path, names: Iterable[str]) -> None:
    (venv / ".extras").write_text("".join(f"{name}\n" for name in names))


def installed(venv: Path, name: str) -> Path | None:
    """An extra's file in a virtual environment; None if it is not installed."""
    found = sorted(venv.glob(f"lib/python3*/site-packages/{EXTRAS[name].file}"))
    return found[-1] if found else None


def library(venv: Path, name: str) -> Path | None:
    """The library of a framework; None if it has none, or is not installed."""
    return installed(venv, name) if EXTRAS[name].is_library else None


def distributions(venv: Path) -> set[str]:
    """The names of what pip installed."""
    found = venv.glob("lib/python3*/site-packages/*.dist-info")
    return {folder.name.partition("-")[0].lower().replace("_", "-") for folder in found}


def note(venv: Path, name: str, before: set[str]) -> None:
    """Keeps what was installed for an extra, beside what an earlier version of it needed."""
    file = venv / f".extra-{name}"
    known = set(file.read_text().split()) if file.is_file() else set()
    file.write_text("".join(f"{package}\n" for package in sorted(known | (distributions(venv) - before))))


def noted(venv: Path, name: str, requirements: Path) -> set[str]:
    """What goes when an extra goes: what it brought, and what its requirement file names."""
    file = venv / f".extra-{name}"
    lines = requirements.read_text().splitlines()
    named = {re.split(r"[=<>!~;\[ ]", line)[0].lower() for line in lines if line and line[0] != "#"}
    return named | (set(file.read_text().split()) if file.is_file() else set())


# --- pip that says what it does -------------------------------------------------------------------------------------


def describe(line: str) -> str | None:
    """What a line of pip's output means to somebody who waits; None: nothing."""
    if match := FILE.search(line):
        if float(match[3]) * {"kB": 0.001, "MB": 1.0, "GB": 1000.0}[match[4]] < LARGE_MB:
            return None
        doing = "downloading" if match[1] == "Downloading" else "taking from the cache"
        return f"{doing}: {' '.join(match[2].split('-')[:2])} ({match[3]} {match[4]})"
    if match := BUILDING.match(line):
        return f"building {match[1]}"
    if line.startswith("Installing collected packages:"):
        return f"installing {line.count(',') + 1} packages"
    return None


def run_shown(command: list[str], env: dict[str, str], cwd: Path, silence: float = SILENCE) -> tuple[int, str]:
    """Runs a command and prints what it is doing, at least every `silence` seconds: its status and whole output."""
    lines: queue.Queue[str | None] = queue.Queue()
    kept: list[str] = []
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as child:

        def read() -> None:
            assert child.stdout is not None
            for line in child.stdout:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        began, doing = time.monotonic(), "working"
        while True:
            try:
                line = lines.get(timeout=silence)
            except queue.Empty:
                print(f"setup:   still {doing}, {time.monotonic() - began:.0f} s so far", flush=True)
                continue
            if line is None:
                break
            kept.append(line)
            if (said := describe(line)) is not None:
                doing = said
                print(f"setup:   {said}", flush=True)
    return child.returncode, "".join(kept)
