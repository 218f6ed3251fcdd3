"""`vonk pack` and hostile sources: one specific error, nothing run, nothing read outside the model's folder, no bundle.

The frameworks are loaded into one traced process, which packs a good model with each first; what is looked at are the
hostile ones after them, each alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE)]

import made  # noqa: E402
import tracing  # noqa: E402
from corpus import Case  # noqa: E402

MNIST = ROOT / "examples/mnist"
pytestmark = [
    pytest.mark.skipif(not (made.zoo.is_here("tensorflow") and made.is_pytorch_here()), reason="needs all frameworks"),
    pytest.mark.skipif(bool(os.environ.get("VONK_TEST_SANITIZE")), reason="vonk pack is Python"),
]
needs_trace = pytest.mark.skipif(tracing.why_not() is not None, reason=tracing.why_not() or "")


def packed() -> list[Case]:
    return [case for case in made.cases() if case.packed is not None]


def good_models() -> list[dict[str, Any]]:
    """One for each way through the packing code, so that all of it is imported."""
    weights = {"module": f"{MNIST / 'digit_torch.py'}:Digit", "inputs": ["pixels:f32[-1,784]"]}
    models = [
        ("good_onnx", MNIST / "mnist.onnx", {}), ("good_keras", MNIST / "digit.keras", {}),
        ("good_h5", made.corpus() / "models/keras_scratch/good.h5", {}),
        ("good_saved_model", made.corpus() / "models/tensorflow/mlp", {}),
        ("good_pt2", made.corpus() / "models/pt2_scratch/good.pt2", {}),
        ("good_torch", MNIST / "digit_torch.pt", {**weights, "to": "torchscript"}),
    ]  # fmt: skip
    return [{"name": name, "path": str(path), "request": more, "warm": True} for name, path, more in models]


class Packing:
    """What one process answered, and what it did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        asked = good_models()
        asked += [
            {"name": case.name, "path": case.path, "request": dict(case.request), "warm": False} for case in packed()
        ]
        for name in ("out", "tmp", "cwd", "home"):
            (folder / name).mkdir()
        environment = {
            **os.environ,
            "TMPDIR": str(folder / "tmp"),
            "HOME": str(folder / "home"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONDONTWRITEBYTECODE": "1",  # a cache beside a module that is imported is Python's, not vonk's
        }
        command = [sys.executable, HERE / "pack_all.py", folder / "out"]
        text = "".join(json.dumps(entry) + "\n" for entry in asked)
        os.chdir(folder / "cwd")
        if tracing.why_not() is None:
            run = tracing.run(command, environment, text)
            status, output, errors, self.sections = run.status, run.stdout, run.stderr, run.sections
        else:
            done = subprocess.run(list(map(str, command)), env=environment, input=text, capture_output=True, text=True,
                                  check=False)  # fmt: skip
            status, output, errors, self.sections = done.returncode, done.stdout, done.stderr, []
        self.answers = {entry["name"]: entry for entry in map(json.loads, output.splitlines())}
        missing = [entry["name"] for entry in asked if entry["name"] not in self.answers]
        assert status == 0 and not missing, f"ended with {status} at {missing[:1]}: {errors[-3000:]}"


@pytest.fixture(scope="module")
def packing(tmp_path_factory: pytest.TempPathFactory) -> Packing:
    return Packing(tmp_path_factory.mktemp("packing"))


def tell(wrong: list[str]) -> str:
    return f"{len(wrong)} cases:\n" + "\n".join(wrong[:20])


def test_good_models_are_packed(packing: Packing) -> None:
    for model in good_models():
        answer = packing.answers[model["name"]]
        assert answer["code"] == "OK", answer
        assert (packing.folder / "out" / f"{model['name']}.vonk").is_file()


def test_every_hostile_source_gives_one_specific_error_and_no_bundle(packing: Packing) -> None:
    wrong = []
    for case in packed():
        answer = packing.answers[case.name]
        assert case.packed is not None
        if answer["code"] == "OK" and case.packed == "":
            continue
        if answer["code"] != "PackError" or case.packed.lower() not in answer["message"].lower():
            wrong.append(f"{case.name}: expected '{case.packed}', found {answer['code']}: {answer['message']}")
        elif "\n" in answer["message"] or "\x1b" in answer["message"] or "Traceback" in answer["message"]:
            wrong.append(f"{case.name}: not one line for a reader: {answer['message']!r}")
    assert not wrong, tell(wrong)
    fine = {f"{model['name']}.vonk" for model in good_models()}
    fine |= {f"{case.name}.vonk" for case in packed() if case.packed == ""}
    left = {path.name for path in (packing.folder / "out").iterdir()} - fine
    assert not left, f"left behind: {sorted(left)}"
    assert not list((packing.folder / "tmp").glob("vonk-*")), "temporary folders are left"


def test_no_canary_is_there_after_packing(packing: Packing) -> None:
    assert [path.name for path in (made.corpus() / "canaries").iterdir()] == ["secret"]


@needs_trace
def test_packing_starts_no_process_and_opens_nothing_outside_the_models_folder(packing: Packing) -> None:
    cases = {case.name: case for case in packed()}
    # HDF5 looks for its plug-ins in a folder of this name, which is how h5py switches them off
    more = [
        str(packing.folder / "tmp"),
        str(packing.folder / "out"),
        str(packing.folder / "cwd" / "disable"),
        str(ROOT),
        "/dev/",
    ]
    wrong = []
    for section in packing.sections:
        case = cases.pop(section.name, None)
        if case is None:
            continue
        own = [path for path in case.request.values() if path.startswith("/")]
        strays = tracing.stray(section, made.corpus(), Path(case.home), [*more, *own])
        fine = (str(packing.folder / "tmp"), *([str(packing.folder / "out")] if case.packed == "" else []))
        written = {path for path in section.written if not path.startswith(fine)}
        if section.processes or section.sockets or strays or written:
            wrong.append(f"{case.name}: {section.processes} {section.sockets} {strays} {sorted(written)}")
    assert not cases, f"without a section in the trace: {sorted(cases)[:5]}"
    assert not wrong, tell(wrong)


@pytest.mark.parametrize(("name", "options"), [
    ("pickle_system", []), ("onnx_external_up_initializer", []),
    ("labels_system_file", ["--labels", "labels.txt"]), ("samples_npy", ["--samples", "rows.npy"]),
])  # fmt: skip
def test_the_command_ends_with_one_line_and_a_status(name: str, options: list[str], tmp_path: Path) -> None:
    """`vonk pack` itself: what it calls is tried above."""
    case = next(case for case in packed() if case.name == name)
    target = tmp_path / "model.vonk"
    target.write_bytes(b"was there before")
    words = [os.environ["VONK_PROGRAM"], "pack", case.path, "-o", target, *options]
    done = subprocess.run(list(map(str, words)), cwd=case.home, env={**os.environ, "VONK_PYTHON": sys.executable},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode not in (0, -11, -6), done
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("vonk pack: "), done.stderr
    assert done.stdout == ""
    assert target.read_bytes() == b"was there before"
    assert [path.name for path in tmp_path.iterdir()] == ["model.vonk"]
    assert shutil.which("strace") is None or not list((made.corpus() / "canaries").glob("[!s]*"))
