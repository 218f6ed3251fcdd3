"""The network of the old library's tests, y = 3.14 a + 1.618 b, and others. Workers import this module."""

from __future__ import annotations

import torch
from torch import nn

WEIGHTS = (3.14, 1.618)


class LinearModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x):
        return self.linear(x)


def trained():
    """With the weights that training found in the old tests; 3.14 + 1.618 = 4.758."""
    model = LinearModel()
    with torch.no_grad():
        model.linear.weight.copy_(torch.tensor([WEIGHTS]))
        model.linear.bias.zero_()
    return model


def load_state(path):
    """A model_loader for the file of a state_dict."""
    model = LinearModel()
    model.load_state_dict(torch.load(path))
    return model


def dropping():
    """In training mode, Dropout sets half of the numbers to zero, others each time."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 64), nn.Dropout(0.5), nn.Linear(64, 1)).train()


def convolution():
    """Images [1, 6, 6] to three numbers."""
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


class Housing(nn.Module):
    """Several arguments, a number per row each."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.inner = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, a, b, c):
        return self.inner(torch.stack([a, b, c], dim=1))


def housing():
    return Housing().eval()


def path_of(path):
    """A model_loader that gives the path."""
    return path


class Steps(nn.Module):
    """A sequence [steps, 2] to one number, of its last step; it also takes one without a dimension for rows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.first = nn.Linear(2, 3)
        self.inner = nn.LSTM(3, 1, batch_first=True)

    def forward(self, x):
        return self.inner(self.first(x))[0][..., -1, :]
