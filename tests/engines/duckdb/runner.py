"""Runs one file of SQL tests: `python runner.py FILE NAME=VALUE...`, with the DuckDB that PYTHONPATH names.

The files have the form of sqllogictest, as DuckDB's own tests do. Records are separated by empty lines:

    statement ok                    these lines of SQL succeed
    statement error                 they fail, with the message below "----" ("..." stands for any text)
    query IRT [rowsort]             their result is what is below "----": a row per line, values separated by tabs.
                                    A type per column: I and T, compared as text; R, numbers within 1e-5 of the expected
                                    ones wherever they stand, in a list too. rowsort: the order of the rows is free

and these lines, which stand alone or before a record:

    # ...                           a comment
    require vonk                    LOAD the extension now, and into every database that this file opens
    require duckdb>=1.5.6           the rest of the file is for such releases
    skipif duckdb<1.5.6             the next record is not for such releases
    onlyif duckdb<1.5.6             the next record is for such releases alone
    load PATH                       close everything, open this database file
    restart                         close everything, open the same database again
    connection NAME                 what follows is said on this connection, which is made if it is new
    close NAME                      the connection is closed
    env NAME VALUE                  sets an environment variable

${NAME} is replaced by a value of the command line. A failure is printed with its place, what was expected and what
came, and the rest of the file is run: the exit status is the number of failures (100 at most).
"""

from __future__ import annotations

import math
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

NUMBER = re.compile(r"-?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)\b")
CONDITION = re.compile(r"duckdb(<|<=|>|>=|=)(\d+(?:\.\d+)*)$")
TOLERANCE = 1e-5


class MalformedError(Exception):
    """The file, not what it tests, is wrong."""


@dataclass
class Record:
    """One statement, query or directive."""

    line: int  # of its first line in the file, from 1
    words: list[str]
    sql: str = ""
    expected: list[str] = field(default_factory=list)
    has_result: bool = False
    conditions: list[tuple[bool, str]] = field(default_factory=list)


def parse(text: str) -> list[Record]:
    """The records of a file."""
    lines = text.split("\n")
    records: list[Record] = []
    conditions: list[tuple[bool, str]] = []
    at = 0
    while at < len(lines):
        words = lines[at].split()
        if not words or words[0].startswith("#"):
            at += 1
            continue
        if words[0] in ("skipif", "onlyif"):
            conditions.append((words[0] == "onlyif", " ".join(words[1:])))
            at += 1
            continue
        record = Record(at + 1, words, conditions=conditions)
        conditions = []
        at += 1
        if words[0] in ("statement", "query"):
            at = parse_body(record, lines, at)
        records.append(record)
    if conditions:
        raise MalformedError(f"line {len(lines)}: a condition, and nothing after it")
    return records


def parse_body(record: Record, lines: list[str], at: int) -> int:
    """Reads SQL and expectation up to the empty line after them; returns the line after that."""
    end = at
    while end < len(lines) and lines[end].strip():
        end += 1
    body = lines[at:end]
    if "----" in body:
        cut = body.index("----")
        record.has_result = True
        record.sql, record.expected = "\n".join(body[:cut]), body[cut + 1 :]
    else:
        record.sql = "\n".join(body)
    kind = record.words[0]
    wants_result = kind == "query" or record.words[1:2] == ["error"]
    if not record.sql or wants_result != record.has_result:
        raise MalformedError(f"line {record.line}: '{kind}' wants SQL and {'' if wants_result else 'no '}'----'")
    return end


def version_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def holds(condition: str, version: str) -> bool:
    """Whether "duckdb<1.5.6" is true of a release."""
    match = CONDITION.match(condition)
    if match is None:
        raise MalformedError(f"condition '{condition}': expected something like duckdb>=1.5.6")
    ours, theirs = version_numbers(version), version_numbers(match[2])
    return {"<": ours < theirs, "<=": ours <= theirs, ">": ours > theirs, ">=": ours >= theirs, "=": ours == theirs}[
        match[1]
    ]


def render(value: Any) -> str:
    """A value as DuckDB's shell shows it; floats with nine digits, which tell every FLOAT from its neighbours."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(render, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"'{key}': {render(item)}" for key, item in value.items()) + "}"
    return str(value).replace("\t", "\\t").replace("\n", "\\n")


def matches(expected: str, actual: str) -> bool:
    """Equal, where "..." in expected is any text."""
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, actual, re.DOTALL) is not None


def close(expected: str, actual: str) -> bool:
    """Equal text around numbers that differ by rounding at most."""
    if NUMBER.sub("#", expected) != NUMBER.sub("#", actual):
        return False
    pairs = zip(map(float, NUMBER.findall(expected)), map(float, NUMBER.findall(actual)), strict=True)
    return all(
        math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (math.isnan(a) and math.isnan(b)) for a, b in pairs
    )


def row_matches(types: str, expected: str, actual: list[str]) -> bool:
    wanted = expected.split("\t")
    if len(wanted) != len(actual):
        return False
    return all((close if kind == "R" else matches)(a, b) for kind, a, b in zip(types, wanted, actual, strict=True))


class Runner:
    """The state of a file being run: the database, its connections, the variables."""

    def __init__(self, name: str, variables: dict[str, str]) -> None:
        self.name = name
        self.variables = variables
        self.failures = 0
        self.path = ":memory:"
        self.extension = False
        self.connections: dict[str, Any] = {}
        self.current = "main"
        self.open()

    def substitute(self, text: str) -> str:
        for key, value in self.variables.items():
            text = text.replace("${" + key + "}", value)
        if "${" in text:
            raise MalformedError(f"unknown variable in: {text}")
        return text

    def open(self) -> None:
        for connection in self.connections.values():
            connection.close()
        self.connections = {"main": duckdb.connect(self.path, config={"allow_unsigned_extensions": "true"})}
        self.current = "main"
        if self.extension:
            self.load_extension()

    def load_extension(self) -> None:
        self.extension = True
        self.connections["main"].execute(self.substitute("LOAD '${EXTENSION}'"))

    def fail(self, record: Record, what: str, expected: str, actual: str) -> None:
        self.failures += 1
        sql = self.substitute(record.sql)
        print(f"{self.name}:{record.line}: {what}\n{sql}\n-- expected:\n{expected}\n-- actual:\n{actual}\n", flush=True)

    def run(self, records: list[Record]) -> None:
        for record in records:
            if all(holds(text, duckdb.__version__) == wanted for wanted, text in record.conditions):
                if record.words[0] == "require" and record.words[1] != "vonk":
                    if not holds(" ".join(record.words[1:]), duckdb.__version__):
                        return
                    continue
                self.run_one(record)

    def run_one(self, record: Record) -> None:
        words = [self.substitute(word) for word in record.words]
        match words:
            case ["statement", "ok"]:
                self.statement(record, None)
            case ["statement", "error"]:
                self.statement(record, self.substitute("\n".join(record.expected)))
            case ["query", types] | ["query", types, "rowsort"]:
                self.query(record, types, len(words) == 3)
            case ["require", "vonk"]:
                self.load_extension()
            case ["load", path]:
                self.path = path
                self.open()
            case ["restart"]:
                self.open()
            case ["connection", name]:
                if name not in self.connections:
                    self.connections[name] = next(iter(self.connections.values())).cursor()
                self.current = name
            case ["close", name]:
                self.connections.pop(name).close()
                self.current = next(iter(self.connections), "")
            case ["env", name, *value]:
                os.environ[name] = " ".join(value)
            case _:
                raise MalformedError(f"line {record.line}: '{' '.join(record.words)}': not known")

    def execute(self, record: Record) -> Any:
        return self.connections[self.current].execute(self.substitute(record.sql))

    def statement(self, record: Record, message: str | None) -> None:
        """message: of the error that is expected; NULL: none is."""
        try:
            rows = self.execute(record).fetchall()
        except duckdb.Error as error:
            # What stands behind an empty line is the statement again, with a caret.
            actual = str(error).split("\n\nLINE ")[0].rstrip()
            if message is None:
                self.fail(record, "an error", "success", actual)
            elif not matches(message, actual):
                self.fail(record, "another error", message, actual)
            return
        if message is not None:
            self.fail(record, "no error", message, f"{len(rows)} rows: {rows[:3]}")

    def query(self, record: Record, types: str, sort: bool) -> None:
        expected = [self.substitute(line) for line in record.expected]
        try:
            result = self.execute(record)
            rows = [[render(value) for value in row] for row in result.fetchall()]
        except duckdb.Error as error:
            self.fail(record, "an error", "\n".join(expected), str(error))
            return
        columns = len(result.description)
        if columns != len(types):
            self.fail(record, "another number of columns", f"{len(types)} columns", f"{columns} columns: {rows[:3]}")
            return
        if sort:
            rows, expected = sorted(rows), sorted(expected, key=lambda line: line.split("\t"))
        same = len(rows) == len(expected) and all(row_matches(types, a, b) for a, b in zip(expected, rows, strict=True))
        if not same:
            self.fail(record, "another result", "\n".join(expected), "\n".join("\t".join(row) for row in rows))


def main(arguments: list[str]) -> int:
    path = Path(arguments[0])
    runner = Runner(path.name, dict(argument.split("=", 1) for argument in arguments[1:]))
    records = parse(path.read_text())
    runner.run(records)
    return min(runner.failures, 100)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
