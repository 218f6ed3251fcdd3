"""Help, manual page and wrong command lines of the program."""

import re
import shutil
import subprocess

import pytest
from program import FILES, MODEL, OK, ROOT, USAGE, complaint, vonk

COMMANDS = ["inspect", "run", "sql", "plugins", "bench", "help"]


def text(*args, code=OK):
    return vonk(*args, check=code).stdout.decode()


def test_help_lists_every_command():
    page = text("help")
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\S", page, re.MULTILINE), f"{command} is not in:\n{page}"


def test_nothing_at_all_shows_the_help_and_is_an_error():
    assert text(code=USAGE) == text("help")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_in_two_ways(command):
    page = text("help", command)
    assert page == text(command, "--help")
    assert page.startswith(f"Usage: vonk {command}")
    assert "Options:" in page and "Exit codes:" in page


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal(command):
    options = text("help", command).split("Options:")[1].split("Examples:")[0]
    too_long = [line for line in options.splitlines() if len(line) > 90]
    assert too_long == []


def test_help_of_run_has_examples_to_copy():
    examples = text("help", "run").split("Examples:")[1]
    assert examples.count("\n  vonk run ") >= 4


def test_version_is_the_name_and_a_number():
    assert re.fullmatch(r"vonk \d+\.\d+\.\d+\n", text("--version"))


def test_the_manual_page_says_what_the_help_says():
    page = text("help", "--man").replace("\\-", "-").replace("\\(aq", "'")
    for command in COMMANDS:
        for option in re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text("help", command), re.MULTILINE):
            if option != "--help":
                assert f".B {option}" in page or f", {option}" in page, f"{command} {option}"


@pytest.mark.skipif(shutil.which("man") is None or shutil.which("groff") is None, reason="needs man and groff")
def test_the_manual_page_is_good_troff(tmp_path):
    page = tmp_path / "vonk.1"
    page.write_text(text("help", "--man"))
    done = subprocess.run(["man", "--warnings", "-l", str(page)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "EXIT STATUS" in done.stdout


def test_the_page_on_the_program_lists_the_same_exit_codes():
    page = (ROOT / "docs" / "cli.md").read_text().split("## Exit codes")[1]
    documented = re.findall(r"^\| (\d+) \| (.*) \|$", page, re.MULTILINE)
    printed = re.findall(r"^ +(\d+)  (.*)$", text("help", "run").split("Exit codes:")[1], re.MULTILINE)
    assert documented == printed


HINT_RUN = "\n'vonk help run' explains the command and its options."


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["rnu"], "vonk: rnu: unknown command: did you mean 'run'?\n'vonk help' lists the commands."),
        (["frobnicate"], "vonk: frobnicate: unknown command\n'vonk help' lists the commands."),
        (["run"], "vonk run: nothing to work on: MODEL INPUT... -o OUTPUT" + HINT_RUN),
        (
            ["run", "m.onnx", "x.csv"],
            "vonk run: no output: say where to write with -o FILE, or -o - for the standard output" + HINT_RUN,
        ),
        (
            ["run", "m.onnx", "-o", "x.csv"],
            "vonk run: no input: name a file with rows after the model, or - for the standard input" + HINT_RUN,
        ),
        (["run", "m.onnx", "x.csv", "-o"], "vonk run: -o: needs a value: OUTPUT" + HINT_RUN),
        (
            ["run", "m.onnx", "x.csv", "-o", "y.csv", "--selct", "a"],
            "vonk run: --selct: unknown option: did you mean --select?" + HINT_RUN,
        ),
        (["run", "m.onnx", "x.csv", "-o", "y.csv", "-z"], "vonk run: -z: unknown option" + HINT_RUN),
        (
            ["run", "m.onnx", "x.csv", "-o", "y.csv", "--quiet=1"],
            "vonk run: --quiet: takes no value, got '1'" + HINT_RUN,
        ),
        (
            ["run", "m.onnx", "x.csv", "-o", "y.csv", "--input", "pixels"],
            "vonk run: --input: 'pixels' is not TENSOR=COLUMN" + HINT_RUN,
        ),
        (
            ["run", "m.onnx", "x.csv", "-o", "y.csv", "--output", "out.parquet"],
            "vonk run: --output: 'out.parquet' is not TENSOR=COLUMN (the file to write is named with -o)" + HINT_RUN,
        ),
        (
            ["run", "m.onnx", "x.csv", "-o", "y.csv", "--nulls", "skip"],
            "vonk run: --nulls: 'skip' is not null or error" + HINT_RUN,
        ),
        (
            ["run", "m.onnx", "x.csv", "-o", "y.csv", "--on-error", "ignore"],
            "vonk run: --on-error: 'ignore' is not raise, null or report" + HINT_RUN,
        ),
        (
            ["run", "m.onnx", "x.csv", "-o", "y.csv", "--as", "best"],
            "vonk run: --as: 'best' is not argmax, label or topN, as in top5 (N up to 1000)" + HINT_RUN,
        ),
        (
            ["run", "m.onnx", "x.csv", "-o", "y.csv", "--threads", "0"],
            "vonk run: --threads: '0' is not a whole number from 1 to 256" + HINT_RUN,
        ),
        (
            ["run", "m.onnx", "x.csv", "-o", "y.csv", "--batch", "many"],
            "vonk run: --batch: 'many' is not a whole number from 1 to 2147483647" + HINT_RUN,
        ),
        (
            ["run", "m.onnx", "x.csv", "-o", "y.csv", "--format", "xml"],
            "vonk run: --format: 'xml' is not parquet, csv, tsv, json or jsonl" + HINT_RUN,
        ),
        (
            ["run", "m.onnx", "x.csv", "-o", "y.csv", "--option", "fast"],
            "vonk run: --option: 'fast' is not KEY=VALUE" + HINT_RUN,
        ),
        (
            ["inspect", "a", "b"],
            "vonk inspect: 'b': one argument too many: takes MODEL\n"
            "'vonk help inspect' explains the command and its options.",
        ),
        (
            ["plugins", "--model", "m.onnx"],
            "vonk plugins: --model: only goes with --conformance\n"
            "'vonk help plugins' explains the command and its options.",
        ),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(args, message, tmp_path):
    assert complaint(*args, code=USAGE, cwd=tmp_path) == message


def test_a_missing_model_has_its_own_exit_code(tmp_path):
    assert complaint("inspect", "no.onnx", code=MODEL, cwd=tmp_path).startswith("vonk inspect: no.onnx: ")


def test_a_full_standard_output_is_an_error():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        from program import program  # noqa: PLC0415

        done = subprocess.run([program(), "help", "run"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (FILES, "vonk: the standard output: cannot be written to\n")
