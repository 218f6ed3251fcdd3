"""Fixtures of the tests of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reference import models, save


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """identity(dtype, shape): the path of an ONNX model that returns what it is given."""
    folder = tmp_path_factory.mktemp("identity")

    def make(dtype: str, shape: list[Any]) -> Path:
        path = folder / f"{dtype}_{'x'.join(map(str, shape))}.onnx"
        if not path.exists():
            save(models.identity(models.ELEMENT_TYPES[dtype], shape), path)
        return path

    return make
