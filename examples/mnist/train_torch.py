"""Trains digit_torch.Digit on the 60,000 MNIST training digits and writes its weights to digit_torch.pt.

    make train        (about half a minute on two cores)

The trained weights are committed, as float16: half the size, and the accuracy is the same. Seeds are fixed; the last
bits depend on the machine.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from digit_torch import Digit
from digits import read_digits, tell

SEED = 20261122
WEIGHTS = Path(__file__).resolve().parent / "digit_torch.pt"
EPOCHS, BATCH_ROWS = 14, 200


def train() -> Digit:
    """Adam on the cross entropy of the log of the probabilities."""
    torch.manual_seed(SEED)
    pixels, labels = (torch.from_numpy(array) for array in read_digits("train"))
    network = Digit()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5)
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in torch.split(torch.randperm(len(pixels)), BATCH_ROWS):
            optimizer.zero_grad()
            loss = torch.nn.functional.nll_loss(torch.log(network(pixels[rows]) + 1e-9), labels[rows])
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch + 1}: loss {total / len(pixels):.4f}", flush=True)
    network.eval()
    return network


def accuracy() -> float:
    """Share of the 10,000 test digits that PyTorch gets right with the written weights."""
    network = Digit().eval()
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    pixels, labels = (torch.from_numpy(array) for array in read_digits("t10k"))
    with torch.inference_mode():
        return float((network(pixels).argmax(dim=-1) == labels).double().mean())


def main() -> int:
    began = time.monotonic()
    network = train()
    torch.save({name: tensor.half() for name, tensor in network.state_dict().items()}, WEIGHTS)
    return tell(WEIGHTS, accuracy(), began)


if __name__ == "__main__":
    sys.exit(main())
