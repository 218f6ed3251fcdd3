"""docs/pack.md: its programs run, each in a process of its own, and its table has every option."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from vonk.packing import _command

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "pack.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
NEEDS = {"keras": ("keras", "tensorflow"), "torch": ("torch", "onnxscript"), "sklearn": ("sklearn", "skl2onnx")}


def missing(block: str) -> list[str]:
    used = [package for package in NEEDS if re.search(rf"^(import|from) {package}\b", block, re.MULTILINE)]
    return [name for package in used for name in NEEDS[package] if importlib.util.find_spec(name) is None]


def test_there_is_an_example_for_each_framework():
    assert len(BLOCKS) == len(NEEDS) + 1


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split()[1])
def test_the_programs_of_the_guide_run(block):
    if missing(block):
        pytest.skip(f"not installed: {missing(block)}")
    (ROOT / "build" / "tour").mkdir(parents=True, exist_ok=True)
    done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_guide_has_every_option():
    table = PAGE.partition("## Options")[2].partition("## What is checked")[0]
    for option in _command.OPTIONS:
        word = "-o" if option.name == "o" else f"--{option.name}"
        assert f"`{word}" in table, word
