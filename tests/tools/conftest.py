"""Lets the tests import the scripts in tools/ and examples/mnist/."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "examples" / "mnist")]
