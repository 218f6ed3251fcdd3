"""Trains the 784-512-10 digit network in Keras on the 60,000 MNIST training digits and writes digit.keras.

    make train        (about half a minute on two cores)

The trained model is committed. Seeds are fixed; the last bits depend on the machine.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import keras
import numpy as np
from digits import read_digits, tell

SEED = 20261123
MODEL = Path(__file__).resolve().parent / "digit.keras"
EPOCHS, BATCH_ROWS = 14, 200


def build() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((784,), name="pixels"),
            keras.layers.Dense(512, activation="relu", name="hidden"),
            keras.layers.Dense(10, activation="softmax", name="probabilities"),
        ],
        name="digit",
    )


def train() -> keras.Model:
    keras.utils.set_random_seed(SEED)
    pixels, labels = read_digits("train")
    network = build()
    network.compile(keras.optimizers.Adam(1e-3, weight_decay=1e-4), "sparse_categorical_crossentropy")
    network.fit(pixels, labels, batch_size=BATCH_ROWS, epochs=EPOCHS, verbose=2)
    return network


def accuracy() -> float:
    """Share of the 10,000 test digits that Keras gets right with the written file."""
    pixels, labels = read_digits("t10k")
    probabilities = keras.models.load_model(MODEL).predict(pixels, batch_size=1000, verbose=0)
    return float(np.mean(np.argmax(probabilities, axis=1) == labels))


def main() -> int:
    began = time.monotonic()
    trained = train()
    network = build()  # without the optimizer's state, which is twice the size of the weights
    network.set_weights(trained.get_weights())
    network.save(MODEL)
    return tell(MODEL, accuracy(), began)


if __name__ == "__main__":
    sys.exit(main())
