"""Writes the TorchScript models of tests/frameworks and what PyTorch says for them: `make_torchscript.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import networks as nets
import numpy as np
import torch
import torch_networks as modules

torch.set_num_threads(1)


def main(folder: Path) -> None:
    results: dict[str, Any] = {}
    with torch.inference_mode(False), torch.no_grad():
        for name, net, module in (
            ("mlp", nets.MLP(), modules.MLP), ("cnn", nets.CNN(), modules.CNN), ("dense", nets.Dense(), modules.Dense),
            ("embedding", nets.Embedding(), modules.Embedding),
        ):  # fmt: skip
            model = module(net).eval()
            torch.jit.script(model).save(str(folder / f"{name}.pt"))
            results[f"params.{name}"] = modules.count(model)
            if name != "embedding":
                rows = torch.from_numpy(net.rows())
                torch.jit.trace(model, rows[:3]).save(str(folder / f"{name}_trace.pt"))
                results[name] = model(rows).numpy()
        two, rows = modules.Two().eval(), {k: torch.from_numpy(v) for k, v in nets.two_rows().items()}
        torch.jit.script(two).save(str(folder / "two.pt"))
        results |= {f"two.{name}": found.numpy() for name, found in zip(("total", "next"), two(**rows), strict=True)}
        results["params.two"] = modules.count(two)
        torch.jit.script(modules.Gather().eval()).save(str(folder / "gather.pt"))
        torch.jit.script(modules.Plain()).save(str(folder / "plain.pt"))
        identity = torch.jit.script(modules.Identity())
        identity.save(str(folder / "identity.pt"))
        torch.jit.script(modules.Alias()).save(str(folder / "alias.pt"))
        results |= modules.identity_results(identity)
    np.savez(folder / "results.npz", **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
