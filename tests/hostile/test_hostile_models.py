"""Every model of the corpus, opened by C: one specific error, nothing run, nothing touched outside its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

import made  # noqa: E402
import tracing  # noqa: E402
from corpus import Case  # noqa: E402

SANITIZED = os.environ.get("VONK_TEST_SANITIZE", "")
needs_trace = pytest.mark.skipif(
    bool(SANITIZED) or tracing.why_not() is not None, reason=tracing.why_not() or "a sanitizer traces by itself"
)
#: cases of the plug-ins' own corpora, tried one by one in a process; each of the others has one of its own, too
PLAIN = ("onnx_", "torch_", "tensorflow_", "tf_op_")


def program() -> str:
    return os.environ["VONK_PROGRAM"]


def is_here(case: Case) -> bool:
    """Without PyTorch its files are refused for that reason alone, once their structure is."""
    return made.is_pytorch_here() or not (case.name.startswith("torch_") and case.path.endswith(".pt2"))


def opened() -> list[Case]:
    return [case for case in made.cases() if case.opened is not None and is_here(case)]


def fault(case: Case, code: str, message: str) -> str | None:
    """What is wrong with what was said; None: nothing."""
    assert case.opened is not None
    if code not in ("VONK_MODEL", "VONK_IO", "VONK_UNSUPPORTED", "VONK_INVALID"):
        return f"{case.name}: {code} {message}"
    if case.opened.lower() not in message.lower():
        return f"{case.name}: expected '{case.opened}', found: {message}"
    if "\n" in message or "\x1b" in message or len(message) > 900:
        return f"{case.name}: not one line for a reader: {message!r}"
    if Path(case.path.partition("#")[0]).name not in message:
        return f"{case.name}: does not name the model: {message}"
    return None


def tell(wrong: list[str]) -> str:
    return f"{len(wrong)} cases:\n" + "\n".join(wrong[:20])


@pytest.fixture(scope="module")
def answers() -> tuple[dict[str, dict[str, str]], list[tracing.Section]]:
    """What one process answered to every model, and what it did meanwhile where that can be seen."""
    asked = "".join(
        json.dumps({"name": case.name, "path": case.path, "options": dict(case.options)}) + "\n" for case in opened()
    )
    command = [sys.executable, str(HERE / "open_all.py")]
    if SANITIZED or tracing.why_not() is not None:
        done: Any = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=500, check=False)
        status, sections = done.returncode, []
    else:
        done = tracing.run(command, dict(os.environ), asked)
        status, sections = done.status, done.sections
    found = {entry["name"]: entry for entry in map(json.loads, done.stdout.splitlines())}
    missing = [case.name for case in opened() if case.name not in found]
    assert status == 0, f"ended with {status} at {missing[:1]}: {done.stderr[-3000:]}"
    assert not missing
    return found, sections


def test_the_corpus_is_large_and_would_do_harm() -> None:
    assert len(made.cases()) >= 400
    armed = {case.name for case in made.cases() if case.fires}
    fired = set(json.loads((made.folder() / "fired.json").read_text()))
    assert len(armed) >= 20
    assert fired == armed, f"these payloads did not run when they were set off: {sorted(armed - fired)}"


def test_every_hostile_model_gives_one_specific_error(answers: Any) -> None:
    found, _ = answers
    wrong = [fault(case, found[case.name]["code"], found[case.name]["message"]) for case in opened()]
    assert not any(wrong), tell([text for text in wrong if text])


def test_no_canary_is_there() -> None:
    """After the models have been opened; whatever the trace says."""
    assert [path.name for path in (made.corpus() / "canaries").iterdir()] == ["secret"]


@needs_trace
def test_opening_starts_no_process_and_opens_nothing_outside_the_models_folder(answers: Any) -> None:
    _, sections = answers
    cases = {case.name: case for case in opened()}
    wrong = []
    for section in sections:
        case = cases.pop(section.name, None)
        if case is None:
            continue
        strays = tracing.stray(section, made.corpus(), Path(case.home))
        if section.processes or section.sockets or strays or section.written:
            wrong.append(f"{case.name}: {section.processes} {section.sockets} {strays} {sorted(section.written)}")
    assert not cases, f"without a section in the trace: {sorted(cases)[:5]}"
    assert not wrong, tell(wrong)


@needs_trace
def test_the_trace_sees_what_it_must_not_find(tmp_path: Path) -> None:
    """The tracer itself: a process, a file of the corpus, a written file, a socket, a link that leads out."""
    secret = made.corpus() / "canaries" / "secret"
    (tmp_path / "link").symlink_to(secret)
    code = f"""
import os, socket, subprocess, sys, threading
sys.path[:0] = [{str(HERE)!r}]
from tracing import mark
mark("thread"); t = threading.Thread(target=int); t.start(); t.join()
mark("process"); subprocess.run(["true"])
mark("file"); open({str(secret)!r}).close()
mark("link"); open({str(tmp_path / "link")!r}).close()
mark("written"); open({str(tmp_path / "new")!r}, "w").close()
mark("socket"); socket.socket().close()
mark("relative"); os.chdir({str(secret.parent)!r}); open("secret").close()
"""
    run = tracing.run([sys.executable, "-c", code], dict(os.environ))
    assert run.status == 0, run.stderr

    def strays(name: str) -> list[str]:
        return tracing.stray(run.section(name), made.corpus(), tmp_path)

    assert not run.section("thread").processes and not strays("thread")
    assert run.section("process").processes
    assert strays("file") == strays("link") == strays("relative") == [str(secret)]
    assert str(tmp_path / "new") in run.section("written").written
    assert run.section("socket").sockets


@needs_trace
def test_inspect_ends_with_one_line_and_status_3() -> None:
    wrong = []
    for case in opened():
        if case.name.startswith(PLAIN):
            continue
        options = [word for key, text in case.options.items() for word in ("--option", f"{key}={text}")]
        run = tracing.run([program(), "inspect", case.path, *options], dict(os.environ))
        lines = run.stderr.splitlines()
        if run.status not in (3, 5) or run.stdout or len(lines) != 1 or not lines[0].startswith("vonk inspect: "):
            wrong.append(f"{case.name}: exit {run.status}: {run.stdout[:200]}{run.stderr[:500]}")
            continue
        strays = tracing.stray(run.sections[0], made.corpus(), Path(case.home))
        if run.sections[0].processes or run.sections[0].sockets or strays or run.sections[0].written:
            wrong.append(f"{case.name}: {run.sections[0].processes} {strays} {sorted(run.sections[0].written)}")
    assert not wrong, tell(wrong)


@needs_trace
def test_run_and_sql_end_with_one_line_and_write_nothing(tmp_path: Path) -> None:
    """A sample of the corpus, given as models to predict with."""
    chosen = [
        "keras_lambda", "h5_cve_2025_9905", "pickle_system", "pt_legacy", "pt2_sample_inputs", "tf_write_file",
        "native", "onnx_external_up_initializer", "torch_code_save.pt", "bundle_slip", "bundle_wrong_digest",
        "bundle_of_native", "bundle_allow_native_code", "bundle_of_writes_at_load", "bundle_folder_link",
    ]  # fmt: skip
    (tmp_path / "rows.csv").write_text("x\n1\n")
    for case in opened():
        if case.name not in chosen:
            continue
        for words in (
            ["run", case.path, tmp_path / "rows.csv", "-o", tmp_path / "out.csv"],
            ["sql", "-m", f"m={case.path}", "SELECT m([1.0, 2.0, 3.0, 4.0])"],
        ):
            run = tracing.run([program(), *words], dict(os.environ))
            assert run.status in (3, 4, 5), f"{case.name} {words[0]}: exit {run.status}: {run.stderr}"
            assert len(run.stderr.splitlines()) == 1, f"{case.name} {words[0]}: {run.stderr}"
            assert not run.sections[0].processes, (case.name, run.sections[0].processes)
            strays = tracing.stray(run.sections[0], made.corpus(), Path(case.home), [str(tmp_path), "/dev/"])
            assert not strays, (case.name, strays)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv"]
