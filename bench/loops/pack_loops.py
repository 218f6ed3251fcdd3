"""The loops of bench/pack.py: one process for each framework, and one for each bundle.

    pack_loops.py make keras|torch FOLDER     makes the MLP and packs it in every way
    pack_loops.py keras|torch FOLDER          the framework's own loops, of the model as it was saved
    pack_loops.py vonk BUNDLE                 vonk's loop

The last two read lines `LOOP ROWS CALLS` and print the processor seconds of each, all threads.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Loops = dict[str, Callable[[Any], Any]]
N_ROWS = 10_000
WIDTH, HIDDEN, CLASSES = 784, 512, 10
#: framework -> what `vonk pack --to` makes of its model; None: the default
TARGETS: dict[str, tuple[str | None, ...]] = {
    "keras": (None, "onnx"),
    "torch": (None, "torchscript", "aotinductor"),
}


def bundle_of(framework: str, to: str | None) -> str:
    return f"{framework}-{to or 'default'}.vonk"


def torch_module() -> Any:
    import torch  # noqa: PLC0415 - each process imports its own framework
    from torch import nn  # noqa: PLC0415

    torch.manual_seed(1)
    torch.set_num_threads(1)
    layers = (nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES), nn.Softmax(-1))
    return nn.Sequential(*layers).eval()


def keras_model() -> Any:
    import keras  # noqa: PLC0415

    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((WIDTH,), name="pixels"),
            layers.Dense(HIDDEN, "relu", name="hidden"),
            layers.Dense(CLASSES, "softmax", name="digit"),
        ]
    )


def make(framework: str, folder: Path) -> None:
    import vonk  # noqa: PLC0415

    if framework == "torch":
        model, inputs = torch_module(), [f"input:f32[-1,{WIDTH}]"]
    else:
        model, inputs = keras_model(), []
        model.save(folder / "mlp.keras")
    for to in TARGETS[framework]:
        vonk.pack(model, folder / bundle_of(framework, to), to=to, inputs=inputs)


def keras_loops(folder: Path) -> Loops:
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = keras.models.load_model(folder / "mlp.keras")
    return {
        "predict": lambda rows: model.predict(rows, verbose=0),
        "predict-batch": lambda rows: model.predict(rows, batch_size=1000, verbose=0),
        "call": lambda rows: model(rows, training=False).numpy(),
    }


def torch_loops(folder: Path) -> Loops:
    import torch  # noqa: PLC0415

    module = torch_module()
    jit: Any = torch.jit  # it has no types
    traced = jit.freeze(jit.trace(module, torch.zeros(3, WIDTH)))

    def loop(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def work(rows: Any) -> Any:
            with torch.inference_mode():
                return run(torch.from_numpy(rows)).numpy()

        return work

    return {"eager": loop(module), "jit": loop(traced)}


def vonk_loops(bundle: Path) -> Loops:
    import vonk  # noqa: PLC0415

    vonk.set_threads(1)
    options = {"allow_native_code": True} if "aotinductor" in bundle.name else {}
    return {"predict": vonk.open(bundle, **options).predict}  # type: ignore[arg-type]


def main() -> None:
    what, place = sys.argv[1], Path(sys.argv[-1])
    if what == "make":
        make(sys.argv[2], place)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    loops = {"keras": keras_loops, "torch": torch_loops, "vonk": vonk_loops}[what](place)
    rows = np.random.default_rng(1).random((N_ROWS, WIDTH), dtype=np.float32)
    print("ready", flush=True)
    for line in sys.stdin:
        name, n, calls = line.split()
        part = rows[: int(n)]
        start = time.process_time()
        for _ in range(int(calls)):
            loops[name](part)
        print(time.process_time() - start, flush=True)


if __name__ == "__main__":
    main()
