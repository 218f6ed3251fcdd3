"""sparkext.util, and importing sparkext without any framework."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from sparkext.util import batched

TEN = [(-1, [10]), (0, [10]), (1, [1] * 10), (4, [4, 4, 2]), (10, [10]), (1000, [10])]


@pytest.mark.parametrize(("size", "lengths"), TEN)
@pytest.mark.parametrize("make", [pd.DataFrame, np.asarray, list])
def test_batched(make, size, lengths):
    """The old test's cases; the branch model_udf cut ten rows by four into 4, 3, 3."""
    parts = list(batched(make(np.arange(10)), size))
    assert [len(part) for part in parts] == lengths
    assert np.concatenate([np.ravel(part) for part in parts]).tolist() == list(range(10))


WITHOUT = """
import importlib, sys

MISSING = "tensorflow keras torch onnx onnxruntime transformers sentence_transformers".split()

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Missing())
for name in sys.argv[1:]:
    importlib.import_module(name)
print([name for name in MISSING if name in sys.modules])
try:
    sys.modules["sparkext.torch"].model_summary(object(), lambda model: model)
except ImportError as error:
    print(error)
"""
OURS = "framework tensorflow torch onnx".split()
PLUGINS = "sparkext_tf sparkext_torch sparkext_onnx".split()


def test_no_framework_is_needed_to_import_sparkext():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "sparkext", *[f"sparkext.{name}" for name in OURS], *PLUGINS],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "[]"
    assert "sparkext.torch: torch cannot be imported: pip install torch" in done.stdout
