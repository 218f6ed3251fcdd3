"""The README's tour does what it says: every command is run as written, and prints what is written below it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Step:
    command: str
    expected: list[str] = field(default_factory=list)


def tour() -> list[Step]:
    """The commands of the console blocks: `$` starts one, `>` continues it, other lines are what it prints."""
    steps: list[Step] = []
    for block in re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append(Step(line[2:]))
            elif line.startswith("> "):
                steps[-1].command += "\n" + line[2:]
            else:
                steps[-1].expected.append(line)
    return steps


def test_the_tour_prints_what_the_readme_says():
    if not (ROOT / "build" / "mnist" / "test.parquet").is_file():
        pytest.fail("build/mnist/test.parquet is missing: 'make demo' makes it")
    steps = tour()
    assert len(steps) >= 8
    # a reader has not activated .venv
    paths = [path for path in os.environ["PATH"].split(os.pathsep) if Path(path) != ROOT / ".venv" / "bin"]
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYSPARK_PYTHON")}
    for step in steps:
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=ROOT,
            env={**environment, "PATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.stdout.splitlines() == step.expected, step.command


def test_every_link_leads_to_a_file():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
