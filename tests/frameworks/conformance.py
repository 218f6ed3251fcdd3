"""Runs the conformance suite on a plug-in with models of tests/frameworks: `conformance.py MAKER PROGRAM PLUGIN`.

The models are chosen for the checks: several outputs, outputs that are inputs, text, a fixed batch, folders and files.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import zoo

#: maker -> models, each with its options; under a sanitizer the first alone, since each check loads the framework anew
MODELS: dict[str, list[tuple[str, dict[str, str]]]] = {
    "tensorflow": [
        ("two", {}),
        ("text", {}),
        ("mlp_checkpoint/model.meta", {"outputs": "probabilities"}),
    ],
    "torchscript": [
        ("two.pt", {"inputs": "a:f32[-1,2],b:f32[-1,3],id:i64[-1]", "outputs": "total:f32[-1,2],next:i64[-1]"}),
        ("alias.pt", {"inputs": "x:f32[-1,3]", "outputs": "p:f32[-1,3],q:f32[-1,3],r:f32[-1,2]"}),
    ],
    "aoti": [
        ("dense.pt2", {"allow_native_code": "1"}),
        ("fixed.pt2", {"allow_native_code": "1"}),
    ],
}


def run(program: str, plugin: str, model: str, options: dict[str, str]) -> bool:
    """Prints the suite's lines; whether all checks were passed."""
    words: list[Any] = [program, "plugins", "--conformance", plugin, "--model", model]
    for key, text in options.items():
        words += ["--option", f"{key}={text}"]
    print(f"$ {' '.join(words)}", flush=True)
    return subprocess.run(words, check=False).returncode == 0


def main(maker: str, program: str, plugin: str) -> int:
    os.environ.setdefault("VONK_CONFORMANCE_SECONDS", "300")
    models = MODELS[maker][:1] if os.environ.get("VONK_TEST_SANITIZE") else MODELS[maker]
    passed = [run(program, plugin, str(zoo.models(maker) / name), options) for name, options in models]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
