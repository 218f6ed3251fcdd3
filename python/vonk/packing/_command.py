"""The command ``vonk pack``.

How it works: the options are a table, word for word the one in cli/commands.c (a test compares what both print), and
are read as the program reads them. The program checks a command line first and then becomes this; ``python -m vonk
pack`` comes here directly.
"""

from __future__ import annotations

import difflib
import os
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn, TextIO

from vonk import packing
from vonk.packing._plan import PackError

#: Exit codes, as the program has them.
_OK, _FAILED, _USAGE, _MODEL, _FILES, _INTERRUPTED, _TERMINATED = 0, 1, 2, 3, 5, 130, 143
_CODES = {
    "VONK_INVALID": _USAGE,
    "VONK_IO": _FILES,
    "VONK_MODEL": _MODEL,
    "VONK_UNSUPPORTED": _MODEL,
    "VONK_DEVICE": _MODEL,
}


@dataclass(frozen=True)
class Option:
    """One option: its name or letter, what stands for its value (None: a flag), and what it does."""

    name: str
    value: str | None
    help: str
    is_repeatable: bool = False

    @property
    def title(self) -> str:
        word = {"quiet": "-q, --quiet", "o": "-o"}.get(self.name, f"--{self.name}")
        return f"{word} {self.value}" if self.value else word


OPTIONS = (
    Option(
        "o", "NAME.vonk",
        "the bundle to write. An existing one is replaced, at the very end and only if all went well",
    ),
    Option(
        "to", "FORMAT",
        "the format of the model in the bundle: savedmodel or onnx for Keras; onnx, torchscript or aotinductor for "
        "PyTorch. Default: what keeps the numbers and runs fast; formats that vonk runs are kept as they are",
    ),
    Option(
        "input", "NAME:DTYPE[DIMS]",
        "an input, such as image:f32[-1,3,224,224]; -1 is free, the first dimension counts rows. Needed where the "
        "source does not say its inputs, as PyTorch's modules; may be repeated, in the order of the model",
        is_repeatable=True,
    ),
    Option(
        "output", "OLD=NEW",
        "give an output another name; NAME alone chooses it, of a graph that does not say its outputs; may be repeated",
        is_repeatable=True,
    ),
    Option(
        "labels", "[OUTPUT=]FILE",
        "the classes of an output's last dimension, one a line; OUTPUT may be left out if only one fits",
        is_repeatable=True,
    ),
    Option(
        "preprocess", "STEP",
        "a step before the model: rescale:scale=1/255 or normalize:mean=[0.485,0.456,0.406],std=0.225,axis=1; with "
        "several inputs of numbers, also input=NAME. Or a .json file of steps; may be repeated, in order",
        is_repeatable=True,
    ),
    Option("name", "TEXT", "the model's name; default: that of the file"),
    Option("description", "TEXT", "what it does, in a sentence"),
    Option("licence", "TEXT", "its licence, as an SPDX identifier such as Apache-2.0"),
    Option("signature", "KEY", "the signature to take of a SavedModel that has several"),
    Option(
        "tolerance", "X",
        "the largest difference from the original to accept, |found - expected| / max(1, |expected|); default 1e-5, "
        "or 1e-3 for a model with float16 or bfloat16 tensors",
    ),
    Option(
        "samples", "FILE",
        "rows to compare on besides random ones, and for the self-test: an .npz with an array for each input, or an "
        ".npy for a single input",
    ),
    Option(
        "module", "FILE.py:CLASS",
        "the class whose weights a file of weights holds, or a function that makes the module; also "
        "package.module:CLASS. FILE.py alone is run for the Keras classes that it registers",
    ),
    Option(
        "trust", None,
        "let code in the source run: pickles, Keras' Lambda. Only for files whose author you trust",
    ),
    Option("folder", None, "write a folder instead of a file"),
    Option("json", None, "print what was done as one JSON object"),
    Option("verbose", None, "let through what the frameworks print"),
    Option("quiet", None, "print nothing but errors"),
)  # fmt: skip
_LETTERS = {"o": "o", "q": "quiet"}

TEXT = (
    "Packs a model of any framework into a bundle: one file with the model in a format that vonk runs, its names, "
    "labels, preprocessing, licence and a self-test. SRC is a Keras model (.keras, .h5), a SavedModel's folder, a "
    "frozen graph (.pb) or a .meta file of TensorFlow, an ONNX model, a file of PyTorch's (.pt2, .pt, .pth), or a "
    "pickled scikit-learn estimator.",
    "The bundle is opened, and its predictions for random rows, and for those of --samples, are compared with the "
    "original's. The largest difference is printed; above --tolerance nothing is written. Code in the source is not "
    "run, with the exception of --module and --trust.",
    "Packing runs in Python, where the model's framework has to be installed: VONK_PYTHON, else the one beside this "
    "program. docs/pack.md is the guide.",
)
EXAMPLES = (
    ("A Keras model with the names of its classes:", "vonk pack digit.keras -o digit.vonk --labels classes.txt"),
    (
        "The weights of a PyTorch module, whose class is in net.py:",
        "vonk pack weights.pt -o net.vonk --module net.py:Net --input 'image:f32[-1,3,224,224]' --output "
        "output=probabilities",
    ),
    (
        "Pixels from 0 to 255 as the model was trained on them:",
        "vonk pack digit.onnx -o digit.vonk --preprocess rescale:scale=1/255",
    ),
)


@dataclass
class _Given:
    values: dict[str, list[str]] = field(default_factory=dict)
    operands: list[str] = field(default_factory=list)

    def last(self, name: str) -> str | None:
        return self.values[name][-1] if name in self.values else None

    def all(self, name: str) -> list[str]:
        return self.values.get(name, [])

    def flag(self, name: str) -> bool:
        return name in self.values


def main(arguments: Sequence[str]) -> int:
    """Packs as the arguments say; the exit code. Has printed its own message."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        given = _parse(arguments)
        if given is None:
            print(help_text())
            return _OK
        return _run(given)
    except _Misuse as error:
        return _complain(f"{error}\n'vonk help pack' explains the command and its options.", _USAGE)
    except KeyboardInterrupt:
        return _complain("interrupted", _INTERRUPTED)
    except _Terminated:
        return _complain("ended by a signal", _TERMINATED)


class _Misuse(Exception):  # noqa: N818 - as the program calls it
    pass


class _Terminated(BaseException):
    pass


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


def _complain(message: str, code: int) -> int:
    first, _, rest = message.partition("\n")
    print(f"vonk pack: {first}" + (f"\n{rest}" if rest else ""), file=sys.stderr)
    return code


# --- arguments ---


def _parse(arguments: Sequence[str]) -> _Given | None:
    """None if help is wanted."""
    given = _Given()
    words = list(arguments)
    only_operands = False
    while words:
        word = words.pop(0)
        if only_operands or word == "-" or not word.startswith("-"):
            given.operands.append(word)
        elif word == "--":
            only_operands = True
        elif word in ("-h", "--help"):
            return None
        else:
            _take(word, words, given)
    if len(given.operands) != 1:
        raise _Misuse(
            f"'{given.operands[1]}': one argument too many: takes SRC -o NAME.vonk"
            if given.operands
            else "nothing to work on: SRC -o NAME.vonk"
        )
    if not given.flag("o"):
        raise _Misuse("where to? say it with -o, such as -o digit.vonk")
    return given


def _take(word: str, words: list[str], given: _Given) -> None:
    known = {option.name: option for option in OPTIONS}
    if word.startswith("--"):
        name, equals, attached = word[2:].partition("=")
        option = known.get(name) if len(name) > 1 else None
        value = attached if equals else None
    else:
        option = known.get(_LETTERS.get(word[1], ""))
        value = word[2:] or None
    if option is None:
        close = difflib.get_close_matches(word[2:].partition("=")[0], [name for name in known if len(name) > 1], 1)
        raise _Misuse(f"{word}: unknown option" + (f": did you mean --{close[0]}?" if close else ""))
    if option.value is None:
        if value is not None:
            raise _Misuse(f"--{option.name}: takes no value, got '{value}'")
        value = ""
    elif value is None:
        if not words:
            raise _Misuse(f"{'-' if option.name == 'o' else '--'}{option.name}: needs a value: {option.value}")
        value = words.pop(0)
    given.values.setdefault(option.name, []).append(value)


def _labels(given: list[str]) -> dict[str, str] | str | None:
    """``FILE``, or ``OUTPUT=FILE`` for each output."""
    if not given:
        return None
    if len(given) == 1 and ("=" not in given[0] or os.path.exists(given[0])):  # noqa: PTH110 - a text
        return given[0]
    pairs = [text.rpartition("=") for text in given]
    for text, (name, _, file) in zip(given, pairs, strict=True):
        if not (name and file):
            raise PackError(f"--labels: '{text}': with several, write OUTPUT=FILE", "VONK_INVALID")
    return {name: file for name, _, file in pairs}


def _tolerance(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise PackError(f"--tolerance: '{text}' is no number from 0", "VONK_INVALID")
    return value


# --- running ---


class _Progress:
    """What is going on, rewritten in place on a terminal; elsewhere nothing."""

    def __init__(self, stream: TextIO | None, is_on: bool) -> None:
        self._stream = stream if is_on and stream is not None and stream.isatty() else None
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(f"\r\033[K{text} ... ({time.monotonic() - self._began:.0f} s)")
            self._stream.flush()

    def end(self) -> None:
        if self._stream is not None:
            self._stream.write("\r\033[K")
            self._stream.flush()


def _run(given: _Given) -> int:
    progress = _Progress(sys.stderr, not given.flag("quiet"))
    try:
        report = packing.pack(
            given.operands[0], given.last("o") or "", to=given.last("to"), inputs=given.all("input"),
            outputs=given.all("output"), labels=_labels(given.all("labels")), preprocess=given.all("preprocess"),
            name=given.last("name"), description=given.last("description"), licence=given.last("licence"),
            signature=given.last("signature"), tolerance=_tolerance(given.last("tolerance")),
            samples=given.last("samples"), module=given.last("module"), trust=given.flag("trust"),
            folder=given.flag("folder"), verbose=given.flag("verbose"), progress=progress,
        )  # fmt: skip
    except PackError as error:
        progress.end()
        hint = " (--verbose shows what was printed meanwhile)" if error.printed and not given.flag("verbose") else ""
        return _complain(_one_line(str(error)) + hint, _CODES.get(error.code, _FAILED))
    except MemoryError:
        progress.end()
        return _complain("memory ran out", _FAILED)
    finally:
        progress.end()
    if given.flag("json"):
        print(report.json())
    elif not given.flag("quiet"):
        print(report)
    return _OK


def _one_line(text: str) -> str:
    """Nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


# --- help ---


def help_text() -> str:
    """What ``vonk help pack`` prints, but the exit codes."""
    width = min(88, max(40, shutil.get_terminal_size((88, 24)).columns))
    lines = ["Usage: vonk pack SRC -o NAME.vonk [OPTION]...", ""]
    for paragraph in TEXT:
        lines += [textwrap.fill(paragraph, width, break_on_hyphens=False), ""]
    lines.append("Options:")
    for option in OPTIONS:
        lines.append(f"  {option.title}")
        lines.append(textwrap.indent(textwrap.fill(option.help, width - 6, break_on_hyphens=False), " " * 6))
    lines += ["  -h, --help", "      print this", "", "Examples:"]
    for what, command in EXAMPLES:
        lines += [f"  # {what}", f"  {command}", ""]
    return "\n".join(lines).rstrip()
