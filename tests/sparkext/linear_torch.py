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
