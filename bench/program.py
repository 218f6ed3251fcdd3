"""Which vonk program the benchmarks run: VONK_PROGRAM, else the installed one."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("VONK_PROGRAM", str(ROOT / ".venv" / "bin" / "vonk"))
