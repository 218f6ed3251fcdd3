"""Every function of DuckDB that our C code calls is in the table that is filled when the library is opened."""

import re

from program import ROOT

CALL = re.compile(r"\b(duckdb_[a-z0-9_]+)\s*\(")


def test_every_duckdb_function_called_is_looked_up():
    called = set()
    for folder in ("cli", "engines/duckdb"):
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            if path.parent.name == "extension":  # DuckDB fills its table, and it is no part of the program
                continue
            called |= set(CALL.findall(re.sub(r"/\*.*?\*/|\"[^\"\n]*\"", "", path.read_text(), flags=re.DOTALL)))
    called = {name for name in called if not name.startswith("duckdb_ext_api")}
    table = (ROOT / "engines/duckdb/duckdb_api.h").read_text()
    listed = {f"duckdb_{name}" for name in re.findall(r"X\((\w+)\)", table)}
    assert called - listed == set(), "called but not looked up"
    assert listed - called == set(), "looked up but not called"
