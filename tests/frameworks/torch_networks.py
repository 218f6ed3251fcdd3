"""networks.py as PyTorch modules: for make_torchscript.py and make_aoti.py."""

from __future__ import annotations

from typing import Any

import networks as nets
import numpy as np
import torch
from torch import Tensor, nn

TORCH_DTYPES = {
    "bool": torch.bool, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
    "u8": torch.uint8, "u16": torch.uint16, "u32": torch.uint32, "u64": torch.uint64,
    "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64,
}  # fmt: skip


def linear(weight: Any, bias: Any = None) -> nn.Linear:
    layer = nn.Linear(*weight.shape, bias=bias is not None)
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(weight.T))
    if bias is not None:
        layer.bias.data = torch.from_numpy(bias.copy())
    return layer


class MLP(nn.Module):
    def __init__(self, net: nets.MLP) -> None:
        super().__init__()
        self.hidden, self.digit = linear(net.w0, net.b0), linear(net.w1, net.b1)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.softmax(self.digit(torch.relu(self.hidden(pixels))), -1)


class CNN(nn.Module):
    def __init__(self, net: nets.CNN) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8, eps=net.epsilon)
        self.conv.weight.data = torch.from_numpy(np.ascontiguousarray(net.kernel.transpose(3, 2, 0, 1)))
        self.conv.bias.data = torch.from_numpy(net.kernel_bias)
        self.norm.weight.data, self.norm.bias.data = torch.from_numpy(net.gamma), torch.from_numpy(net.beta)
        self.norm.running_mean, self.norm.running_var = torch.from_numpy(net.mean), torch.from_numpy(net.variance)
        self.dense = linear(net.w, net.b)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(image.permute(0, 3, 1, 2))))
        x = torch.max_pool2d(x, 2).permute(0, 2, 3, 1).flatten(1)
        return torch.softmax(self.dense(x), -1)


class Embedding(nn.Module):
    def __init__(self, net: nets.Embedding) -> None:
        super().__init__()
        self.table = nn.Embedding(net.n_tokens, 8, _weight=torch.from_numpy(net.table))
        self.hidden, self.out = linear(net.w), linear(net.v)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(self.table(tokens).mean(1))))


class Dense(nn.Module):
    def __init__(self, net: nets.Dense) -> None:
        super().__init__()
        self.hidden, self.out = linear(net.w0, net.b0), linear(net.w1, net.b1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(x)))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.from_numpy(nets.TWO_WEIGHT))

    def forward(self, a: Tensor, b: Tensor, id: Tensor) -> tuple[Tensor, Tensor]:
        return a + b @ self.w, id + 1


class Gather(nn.Module):
    """y[i] = table[index[i]]: fails on an index outside."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.from_numpy(nets.GATHER_TABLE))

    def forward(self, index: Tensor) -> Tensor:
        return torch.nn.functional.embedding(index, self.table.unsqueeze(1)).squeeze(1)


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x, -1)


class Identity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


class Alias(nn.Module):
    """Its outputs are its inputs, and one of them twice."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x, x, x[:, 1:]


def count(model: nn.Module) -> Any:
    """Trained and other stored numbers; BatchNorm's counter of batches is not one."""
    tensors = [*model.parameters(), *model.buffers()]
    return np.array(sum(t.numel() for t in tensors if t.is_floating_point()))


def to_torch(dtype: str, values: Any) -> Tensor:
    values = np.ascontiguousarray(values)
    if dtype != "bf16":
        return torch.from_numpy(values)
    halves = (values.view(np.uint32) >> 16).astype(np.uint16)  # exact: PyTorch's own conversion changes NaNs
    return torch.from_numpy(halves).view(torch.bfloat16)


def to_numpy(tensor: Tensor) -> Any:
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy()
    return (tensor.view(torch.uint16).numpy().astype(np.uint32) << 16).view(np.float32)


def identity_results(model: Any) -> dict[str, Any]:
    results = {}
    for dtype, torch_dtype in TORCH_DTYPES.items():
        for shape in ("scalar", "vector", "rank3"):
            found = model(to_torch(dtype, nets.sample(dtype, shape)))
            assert found.dtype == torch_dtype
            results[f"{dtype}_{shape}"] = to_numpy(found)
    return results
