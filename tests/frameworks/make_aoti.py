"""Writes the AOTInductor packages of tests/frameworks and what PyTorch says for them: `make_aoti.py FOLDER`.

Each package is C++ that is compiled here, so there are few, and the compiler is asked for little.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import networks as nets
import numpy as np
import torch
import torch_networks as modules
from torch import nn
from torch.export import Dim

torch.set_num_threads(1)
#: simdlen 256: the package runs on any processor with AVX2; no wrapper optimisation: faster to compile
CONFIG = {"cpp.simdlen": 256, "aot_inductor.compile_wrapper_opt_level": "O0"}


class Identities(nn.Module):
    """One input and one output for each dtype and shape, in this order."""

    def forward(self, *x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(t.clone() for t in x)


def identity_names(*, fixed: bool) -> list[str]:
    """The inputs of identities.pt2 and fixed.pt2, in their order."""
    return [
        f"{dtype}_{shape}" for dtype in modules.TORCH_DTYPES for shape in nets.SHAPES if (shape == "fixed") == fixed
    ]


def pack(model: nn.Module, args: tuple[Any, ...], dims: Any, path: Path, **more: Any) -> Any:
    """Compiles to path; returns the loaded package."""
    start = time.perf_counter()
    exported = torch.export.export(model.eval(), args, dynamic_shapes=dims)
    torch._inductor.aoti_compile_and_package(exported, package_path=str(path), inductor_configs={**CONFIG, **more})
    print(f"{path.name}: {time.perf_counter() - start:.1f} s")
    return torch._inductor.aoti_load_package(str(path))


def identities(folder: Path) -> dict[str, Any]:
    """Two packages: one with the shapes whose rows are free, one of a fixed batch."""

    def tensors(names: list[str], rows: int) -> tuple[Any, ...]:
        parts = [name.split("_") for name in names]
        return tuple(modules.to_torch(dtype, nets.sample(dtype, shape, rows)) for dtype, shape in parts)

    names = identity_names(fixed=False)
    dims = tuple({0: Dim("n")} for _ in names)
    package = pack(Identities(), tensors(names, 5), (dims,), folder / "identities.pt2")
    found = zip(names, package(*tensors(names, nets.ROWS)), strict=True)
    fixed = tensors(identity_names(fixed=True), nets.FIXED_ROWS)
    pack(Identities(), fixed, None, folder / "fixed.pt2")
    return {name: modules.to_numpy(tensor) for name, tensor in found}


def main(folder: Path) -> None:
    n = Dim("n")
    results: dict[str, Any] = {}
    tokens, x = torch.ones(5, 7, dtype=torch.int64), torch.zeros(5, 16)
    with torch.no_grad():
        for name, net, module in (("mlp", nets.MLP(), modules.MLP), ("cnn", nets.CNN(), modules.CNN)):
            rows = torch.from_numpy(net.rows())
            model = module(net)
            results[f"params.{name}"] = modules.count(model)
            results[name] = pack(model, (rows,), ({0: n},), folder / f"{name}.pt2")(rows).numpy()
        embedding, dense = modules.Embedding(nets.Embedding()), modules.Dense(nets.Dense())
        pack(embedding, (tokens,), ({0: n, 1: Dim("t")},), folder / "embedding.pt2")
        package = pack(dense, (x,), ({0: n},), folder / "dense.pt2", freezing=True)
        results["dense"] = package(torch.from_numpy(nets.Dense().rows())).numpy()
        results["params.embedding"], results["params.dense"] = modules.count(embedding), modules.count(dense)
        results |= identities(folder)
    np.savez(folder / "results.npz", **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
