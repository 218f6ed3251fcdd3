"""The soak of bench/soak.py, for a short while: loads, unloads, errors and cancellations leave nothing behind."""

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench"


def test_a_short_soak_leaves_no_memory_descriptor_or_thread_behind():
    command = [sys.executable, str(BENCH / "soak.py"), "--queries", "256", "--rounds", "16", "--warm-up", "0.4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "256 queries" in done.stdout, done.stdout


def test_the_soak_sees_growth():
    """Its judge, given samples that grow; the figures are bytes, descriptors and threads."""
    code = (
        "import soak; S = soak.Sample; flat = [S(10**8, 9, 12)] * 20;"
        "memory = [S(10**8 + i * 2 * 10**6, 9, 12) for i in range(20)];"
        "late = flat[:19] + [S(10**8, 10, 13)];"
        "runs = (flat, flat[0]), (memory, flat[0]), (late, S(1, 10, 13));"
        "print([soak.judge(samples, 40, (flat[0], after), 0.1) for samples, after in runs])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCH, capture_output=True, text=True, check=False)
    found = done.stdout.splitlines()[-1] if done.returncode == 0 else done.stderr
    left = "descriptors grow', 'descriptors are left after close', 'threads grow', 'threads are left after close"
    assert found == f"[[], ['memory grows'], ['{left}']]"
