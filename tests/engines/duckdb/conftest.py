"""What the tests of the DuckDB extension share: the data, and one child process per release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hosts
import make_data
import pytest


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that make_data.py fills."""
    folder = tmp_path_factory.mktemp("data")
    make_data.main(folder)
    return folder


@pytest.fixture(scope="module", params=hosts.versions())
def host(request: pytest.FixtureRequest) -> Iterator[hosts.Host]:
    """A child process with one of the releases."""
    child = hosts.Host(request.param)
    yield child
    child.close()
