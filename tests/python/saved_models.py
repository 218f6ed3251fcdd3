"""Models of TensorFlow and PyTorch for the tests of the installed wheel, made once and kept in build/.

Making them imports the frameworks, which takes seconds, so a process of its own does it, and again only when this file
changes. It also keeps what the frameworks themselves say about ROWS.

usage: saved_models.py FOLDER
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def folder() -> Path:
    """The folder with saved/ (signatures serving_default and twice), script.pt and the expected *.npy."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode()).hexdigest()[:16]
    done = ROOT / "build" / "test_models" / digest
    if not done.is_dir():
        making = done.with_name(f"{digest}.{os.getpid()}")
        making.mkdir(parents=True)
        run = subprocess.run([sys.executable, __file__, making], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        making.rename(done)
    return done


def make_saved(out: Path, factor: float = 1.0) -> None:
    import tensorflow as tf  # noqa: PLC0415 - only where a model is made

    class Scorer(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(factor * tf.constant([[1.0], [2.0], [3.0]]))

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def score(self, x):
            return {"score": tf.squeeze(tf.matmul(x, self.w), 1)}

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def twice(self, x):
            return {"doubled": 2.0 * x}

    model = Scorer()
    signatures = {"serving_default": model.score, "twice": model.twice}
    tf.saved_model.save(model, str(out), signatures=signatures)
    np.save(out.parent / "score.npy", model.score(ROWS)["score"].numpy())
    np.save(out.parent / "doubled.npy", model.twice(ROWS)["doubled"].numpy())


def make_script(out: Path) -> None:
    import torch  # noqa: PLC0415 - only where a model is made

    linear = torch.nn.Linear(3, 2).eval()
    torch.jit.trace(linear, torch.from_numpy(ROWS)).save(str(out))
    np.save(out.parent / "linear.npy", linear(torch.from_numpy(ROWS)).detach().numpy())


if __name__ == "__main__":
    make_saved(Path(sys.argv[1]) / "saved")
    make_script(Path(sys.argv[1]) / "script.pt")
