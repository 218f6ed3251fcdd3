"""Code that hostile files carry. Each piece, if it ran, would write a canary: a file that must not appear.

Most of them start a process for it, as an attacker's would: a trace shows that even if the file were removed again.
"""

from __future__ import annotations

import base64
import builtins
import marshal
import os
import posix
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Call:
    """Pickled, it is a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def touch(canary: Path) -> str:
    """A command of the shell."""
    return f"touch '{canary}'"


#: what a pickle may call, by name
CALLS: dict[str, Callable[[Path], Call]] = {
    "system": lambda canary: Call(os.system, touch(canary)),
    "posix": lambda canary: Call(posix.system, touch(canary)),
    "popen": lambda canary: Call(os.popen, touch(canary)),
    "subprocess": lambda canary: Call(subprocess.call, ["touch", str(canary)]),
    "eval": lambda canary: Call(builtins.eval, f"open({str(canary)!r}, 'w').close()"),
    "exec": lambda canary: Call(builtins.exec, f"import os; os.mkdir({str(canary)!r})"),
    "open": lambda canary: Call(open, str(canary), "w"),
}


def lambda_config(canary: Path) -> dict[str, Any]:
    """A Python function as Keras 3 writes one into a config: the bytecode of this interpreter."""
    function: Any = eval(f"lambda x: (__import__('os').system({touch(canary)!r}), x)[1]")
    code = base64.b64encode(marshal.dumps(function.__code__)).decode()
    return {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}


def lambda_list(canary: Path) -> list[Any]:
    """The same as Keras 2 writes it into an HDF5 file."""
    return [lambda_config(canary)["config"]["code"], None, None]


#: a library whose loading alone writes the canary
CONSTRUCTOR = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void fire(void) {{
  int file = open("{canary}", O_CREAT | O_WRONLY, 0600);
  if (file >= 0) close(file);
}}
"""
