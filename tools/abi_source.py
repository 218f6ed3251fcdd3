"""Prints a C file that uses every type and constant of plugin.h, for abidw (see check_abi.sh).

usage: abi_source.py PLUGIN_H
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ENUM = re.compile(r"\benum\s*\w*\s*\{(.*?)\}", re.DOTALL)
STRUCT = re.compile(r"^typedef struct (vonk_\w+) \{", re.MULTILINE)
FUNCTION = re.compile(r"^typedef [^;{]*?\(\*(vonk_\w+)\)\(", re.MULTILINE)
CONSTANT = re.compile(r"^#define (VONK_\w+) \(?\d+[uU]?\)?\s*$", re.MULTILINE)
MINOR = "VONK_ABI_MINOR"  # counts appended fields, so it may change


def constants(header: str) -> list[str]:
    """Enumerators and number macros, in order."""
    names = [
        match[1]
        for body in ENUM.findall(header)
        for match in re.finditer(r"\b(VONK_\w+)\b(?=\s*(?:=[^,}]*)?(?:,|$))", body.strip())
    ]
    return [name for name in names + CONSTANT.findall(header) if name != MINOR]


def source_of(header: str) -> str:
    """The C file for a header's text.

    Raises
    ------
    ValueError
        Nothing was found, so that the comparison would prove nothing.
    """
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    types = STRUCT.findall(text) + FUNCTION.findall(text)
    values = constants(text)
    if not types or not values:
        raise ValueError("plugin.h: no structs or no constants found: has its layout changed?")
    lines = ["#include <vonk/plugin.h>"]
    lines += [f"extern char vonk_abi_value_{name}[(int)({name}) + 1000];" for name in values]
    lines += [f"char vonk_abi_value_{name}[(int)({name}) + 1000];" for name in values]
    for name in types:
        lines += [
            f"void vonk_abi_type_{name}({name} *);",
            f"void vonk_abi_type_{name}({name} *p) {{ (void)p; }}",
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    sys.stdout.write(source_of(Path(sys.argv[1]).read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
