"""Writes models of PyTorch, and what PyTorch itself makes of some rows: `make_models.py FOLDER`.

Needs PyTorch and, for the packages, g++; takes a minute, so the tests run it once per build folder. For each model
NAME, FOLDER/NAME.npz holds arrays `in_<i>` and `out_<i>` in order; bfloat16 is there as uint16.
"""

from __future__ import annotations

import sys
import warnings
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
FOLDER = Path()
AOTI = {"cpp.simdlen": 256, "aot_inductor.compile_wrapper_opt_level": "O0"}

#: vonk's name of each dtype: PyTorch's, and values at its edges
DTYPES: dict[str, tuple[torch.dtype, list[Any]]] = {
    "f16": (torch.float16, [1.0, -0.0, 65504.0, 6e-8, np.inf, 0.1]),
    "bf16": (torch.bfloat16, [1.0, -0.0, 3e38, 1e-38, np.inf, 0.1]),
    "f32": (torch.float32, [1.5, -0.0, 3.4e38, 1e-38, np.inf, np.nan]),
    "f64": (torch.float64, [1.5, -0.0, 1.7e308, 1e-308, np.inf, np.nan]),
    "i8": (torch.int8, [-128, 127, 0, -1, 1, 5]),
    "i16": (torch.int16, [-32768, 32767, 0, -1, 1, 5]),
    "i32": (torch.int32, [-(2**31), 2**31 - 1, 0, -1, 1, 5]),
    "i64": (torch.int64, [-(2**63), 2**63 - 1, 2**53 + 1, -1, 1, 5]),
    "u8": (torch.uint8, [0, 255, 1, 2, 3, 4]),
    "u16": (torch.uint16, [0, 65535, 1, 2, 3, 4]),
    "u32": (torch.uint32, [0, 2**32 - 1, 1, 2, 3, 4]),
    "u64": (torch.uint64, [0, 2**64 - 1, 2**53 + 1, 2, 3, 4]),
    "bool": (torch.bool, [True, False, True, True, False, False]),
}


def plain(tensor: Tensor) -> np.ndarray[Any, Any]:
    tensor = tensor.detach().contiguous()
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def record(name: str, inputs: tuple[Tensor, ...], outputs: Any) -> None:
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    arrays = {f"in_{i}": plain(value) for i, value in enumerate(inputs)}
    np.savez(FOLDER / f"{name}.npz", **arrays, **{f"out_{i}": plain(value) for i, value in enumerate(outputs)})


def script(name: str, module: nn.Module, *inputs: Tensor, **extra: str) -> None:
    """A scripted module, which knows no shapes, and its outputs (keys of a dictionary sorted)."""
    scripted = torch.jit.script(module.eval())
    scripted.save(str(FOLDER / f"{name}.pt"), _extra_files=extra)
    outputs = scripted(*[tensor.clone() for tensor in inputs])
    record(name, inputs, [outputs[key] for key in sorted(outputs)] if isinstance(outputs, dict) else outputs)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3), nn.Softmax(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image)


class Attention(nn.Module):
    """Optional arguments, one of which is a tensor, and several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 4)

    def forward(self, ids: Tensor, mask: Tensor | None = None, scale: float = 2.0) -> tuple[Tensor, Tensor]:
        words = self.embed(ids)
        if mask is not None:
            words = words * mask.unsqueeze(-1)
        return words.mean(1) * scale, words


Pair = namedtuple("Pair", ["score", "label"])


class Named(nn.Module):
    def forward(self, x: Tensor) -> Pair:
        return Pair(x.sum(1), x.argmax(1))


class Dictionary(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"sum": x.sum(1), "big": x > 1, "also": x}


class Row(nn.Module):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, x.t().contiguous().t(), x[:, 1:]]


class Writer(nn.Module):
    """Writes into its input, prints, warns and forks; branches on its data."""

    def forward(self, x: Tensor) -> Tensor:
        print("hello from the model")
        x.add_(1)
        later = torch.jit.fork(torch.neg, x)
        if bool(x.sum() > 0):
            x = x * 2
        return torch.jit.wait(later) + x


class Counter(nn.Module):
    """Changes itself, so it cannot be frozen, and returns its own state."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.calls += 1
        return x * self.weight, self.calls, self.weight


class Identity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


class Narrow(nn.Module):
    """Fails in the middle of a run if a value is negative."""

    def forward(self, x: Tensor) -> Tensor:
        if bool((x < 0).any()):
            raise ValueError("x has negative numbers")
        return x


class Scalars(nn.Module):
    """Dimensions that follow no rows, a scalar among them."""

    def forward(self, x: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        return x * factor, x.new_ones(3)


class WithName(nn.Module):
    """One argument given by name, a dictionary of outputs, one of which is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, a: Tensor, *, mask: Tensor) -> dict[str, Tensor]:
        return {"score": self.linear(a) * mask.unsqueeze(1), "same": a, "total": a.sum(1)}


class InPlace(nn.Module):
    def forward(self, a: Tensor) -> Tensor:
        a.add_(1)
        return a * 2


class ByCpp(nn.Module):
    """An operator that PyTorch's C functions lack."""

    def forward(self, a: Tensor) -> Tensor:
        return torch.linalg.svdvals(a)


def package(name: str, module: nn.Module, args: Any, kwargs: Any, dims: Any, **more: Any) -> None:
    exported = torch.export.export(module.eval(), args, kwargs, dynamic_shapes=dims)
    path = str(FOLDER / f"{name}.pt2")
    torch._inductor.aoti_compile_and_package(exported, package_path=path, inductor_configs={**AOTI, **more})


def make_scripts() -> None:
    torch.manual_seed(0)
    mlp, cnn = Mlp().eval(), Cnn().eval()
    with torch.no_grad():
        cnn.net[1].running_mean.normal_()
        cnn.net[1].running_var.uniform_(0.5, 2)
    script("mlp", mlp, torch.randn(7, 6), **{"labels.txt": "cat,dog,bird", "big.txt": "x" * 5000})
    script("cnn", cnn, torch.randn(5, 3, 12, 12))
    traced = torch.jit.trace(cnn, torch.randn(2, 3, 12, 12))
    traced.save(str(FOLDER / "traced.pt"))
    record("traced", (x := torch.randn(3, 3, 12, 12),), traced(x))
    ids, mask = torch.randint(0, 50, (4, 6)), torch.rand(4, 6)
    script("attention", Attention(), ids, mask)
    script("attention_plain", Attention(), ids)
    script("named", Named(), torch.randn(4, 3))
    script("dictionary", Dictionary(), torch.randn(4, 3))
    script("row", Row(), torch.randn(4, 3))
    script("writer", Writer(), torch.randn(4, 3))
    script("counter", Counter(), torch.randn(4, 2))
    script("narrow", Narrow(), torch.rand(4, 2))
    script("scalars", Scalars(), torch.randn(4, 3), torch.tensor(2.5))
    torch.jit.script(Identity()).save(str(FOLDER / "identity.pt"))
    for dtype, (kind, values) in DTYPES.items():
        tensor = torch.tensor(values, dtype=kind).reshape(3, 2)
        record(f"identity_{dtype}", (tensor,), tensor)


def make_others() -> None:
    """Files that do not run as they are."""
    mlp = Mlp().eval()
    torch.save(mlp.state_dict(), FOLDER / "state_dict.pt")
    torch.save(mlp, FOLDER / "pickled.pth")
    torch.save(mlp, FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": mlp.state_dict(), "epoch": 3, "pytorch-lightning_version": "2.5"}, FOLDER / "last.ckpt")
    exported = torch.export.export(mlp, (torch.randn(2, 6),), dynamic_shapes=({0: Dim("n")},))
    torch.export.save(exported, FOLDER / "exported.pt2")
    quantized = torch.ao.quantization.quantize_dynamic(mlp, {nn.Linear}, dtype=torch.qint8)
    torch.jit.script(quantized).save(str(FOLDER / "quantized.pt"))


def make_packages() -> None:
    torch.manual_seed(0)
    rows = Dim("n")
    mlp, x = Mlp().eval(), torch.randn(7, 6)
    package("mlp", mlp, (x,), None, {"x": {0: rows}}, freezing=True)
    record("package_mlp", (x,), mlp(x))
    both = WithName().eval()
    a, mask = torch.randn(5, 4), torch.rand(5)
    dims = {"a": {0: rows}, "mask": {0: rows}}
    outside = {"aot_inductor.package_constants_in_so": False,
               "aot_inductor.package_constants_on_disk_format": "binary_blob"}  # fmt: skip
    package("named", both, (a,), {"mask": mask}, dims, **outside)
    record("package_named", (a, mask), both(a, mask=mask).values())
    package("in_place", InPlace(), (a.clone(),), None, {"a": {0: rows}})
    record("package_in_place", (a,), InPlace()(a.clone()))
    package("by_cpp", ByCpp(), (torch.randn(3, 4),), None, None)


def main() -> None:
    global FOLDER  # noqa: PLW0603 - the one thing that all of these functions need
    FOLDER = Path(sys.argv[1])
    make_others()
    make_scripts()
    make_packages()


if __name__ == "__main__":
    with torch.no_grad():
        main()
