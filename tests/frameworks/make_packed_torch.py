"""Packs PyTorch's models of tests/frameworks with `vonk.pack`, and writes what PyTorch says: `make_packed_torch.py
FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import networks as nets
import numpy as np
import torch
import torch_networks as modules
import vonk

torch.set_num_threads(1)


def main(folder: Path) -> None:
    results: dict[str, Any] = {}
    for name, net, module, described, output in (
        ("mlp", nets.MLP(), modules.MLP, "pixels:f32[-1,784]", "probabilities"),
        ("cnn", nets.CNN(), modules.CNN, "image:f32[-1,12,12,3]", "scores"),
        ("dense", nets.Dense(), modules.Dense, "x:f32[-1,16]", "y"),
        ("embedding", nets.Embedding(), modules.Embedding, "tokens:i64[-1,-1]", "y"),
    ):
        model = module(net).eval()
        more: dict[str, Any] = {"inputs": [described], "outputs": {"output": output}}
        if name == "embedding":
            more["samples"] = {"tokens": np.ones((5, 7), np.int64)}
        vonk.pack(model, folder / f"{name}.vonk", **more)
        if name != "embedding":
            vonk.pack(model, folder / f"{name}_script.vonk", to="torchscript", **more)
            with torch.no_grad():
                results[name] = model(torch.from_numpy(net.rows())).numpy()
        if name == "cnn":
            vonk.pack(model, folder / "cnn_native.vonk", to="aotinductor", **more)
        results[f"params.{name}"] = modules.count(model)
    np.savez(folder / "results.npz", **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
