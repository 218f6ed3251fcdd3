"""The 784-512-10 digit network as a PyTorch module: the class whose weights digit_torch.pt holds.

vonk pack examples/mnist/digit_torch.pt --module examples/mnist/digit_torch.py:Digit -o digit.vonk
"""

from __future__ import annotations

import torch
from torch import nn


class Digit(nn.Module):
    """Handwritten digits: 28 x 28 pixels, row by row, 0 = paper, 1 = ink."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(784, 512)
        self.digit = nn.Linear(512, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The probabilities of the ten digits.

        Parameters
        ----------
        pixels
            float32, [rows, 784].

        Returns
        -------
        torch.Tensor
            float32, [rows, 10], each row sums to 1.
        """
        return torch.softmax(self.digit(torch.relu(self.hidden(pixels))), dim=-1)
