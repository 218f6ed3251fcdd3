"""All benchmarks, one after the other: `make bench`.

Nothing passes or fails. Figures are medians of runs that take turns in one go; ratios hold where absolute times do not.
"""

import subprocess
import sys

from program import ROOT

MODEL = ROOT / "examples" / "mnist" / "mnist.onnx"
BENCHMARKS = (
    ("the library against the bare ONNX Runtime loop", [ROOT / "build/release/bench/bench_library", MODEL]),
    (
        "every framework: vonk against its own best loop, and the first row",
        [sys.executable, ROOT / "bench/frameworks.py"],
    ),
    ("vonk pack's choices against Keras and PyTorch", [sys.executable, ROOT / "bench/pack.py"]),
    ("SQL against the bare loop", [sys.executable, ROOT / "bench/sql.py"]),
    ("Model.predict against the bare loop", [sys.executable, ROOT / "bench/python_api.py"]),
    ("vonk run from end to end", [sys.executable, ROOT / "bench/end_to_end.py"]),
    ("broken rows", [sys.executable, ROOT / "bench/broken_rows.py"]),
)


def main() -> int:
    failed = 0
    for title, command in BENCHMARKS:
        print(f"== {title}", flush=True)
        failed |= subprocess.run(list(map(str, command)), check=False).returncode
        print(flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
