"""Packs the Keras models of tests/frameworks with `vonk.pack`, with what Keras says: `make_packed_keras.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import make_tensorflow as made
import networks as nets
import numpy as np
import tensorflow as tf
import vonk


def main(folder: Path) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    results: dict[str, Any] = {}
    for name, net, make in (
        ("mlp", nets.MLP(), made.mlp), ("cnn", nets.CNN(), made.cnn), ("dense", nets.Dense(), made.dense),
        ("embedding", nets.Embedding(), made.embedding),
    ):  # fmt: skip
        model = make(net)
        source: Any = model
        if name == "mlp":  # as a file
            source = folder / "mlp.keras"
            model.save(source)
        vonk.pack(source, folder / f"{name}.vonk")
        if name in ("mlp", "cnn"):
            vonk.pack(source, folder / f"{name}_onnx.vonk", to="onnx")
        results[f"params.{name}"] = np.array(model.count_params())
        if name != "embedding":
            results[name] = model(net.rows(), training=False).numpy()
    vonk.pack(made.mlp(nets.MLP()), folder / "mlp_folder.vonk", folder=True)
    np.savez(folder / "results.npz", **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
