"""Packs a scikit-learn pipeline of the digit network with `vonk.pack`, and writes what scikit-learn says:
`make_packed_sklearn.py FOLDER`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import networks as nets
import numpy as np
import vonk
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main(folder: Path) -> None:
    """The pixels are moved by 1 and scaled by 2, which the network's first layer takes back."""
    net, rows = nets.MLP(), nets.MLP().rows()
    scaler = StandardScaler().fit(rows)
    scaler.mean_, scaler.scale_ = np.full(784, 1.0), np.full(784, 0.5)
    classifier = MLPClassifier(hidden_layer_sizes=(512,), max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(scaler.transform(rows), np.arange(len(rows)) % 10)
    classifier.coefs_ = [net.w0 / 2, net.w1]
    classifier.intercepts_ = [net.b0 + net.w0.sum(axis=0), net.b1]
    pipeline = make_pipeline(scaler, classifier)
    vonk.pack(pipeline, folder / "mlp.vonk", inputs=["pixels:f32[-1,784]"])
    np.savez(folder / "results.npz", mlp=pipeline.predict_proba(rows).astype(np.float32))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
