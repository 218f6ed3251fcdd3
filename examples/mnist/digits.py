"""Reads the MNIST digits (IDX files, as set-up downloads them)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "build" / "deps" / "mnist"
LOWEST_ACCURACY = 0.97


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes.

    Parameters
    ----------
    path
        File: two zero bytes, the type (8 = unsigned byte), the number of dimensions, the
        dimensions as big-endian 32-bit integers, the values.

    Returns
    -------
    numpy.ndarray
        uint8, in the file's own shape.

    Raises
    ------
    ValueError
        The header or the length is not that of an IDX file of bytes.
    """
    data = path.read_bytes()
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an IDX file of unsigned bytes: starts with {data[:4]!r}")
    rank = data[3]
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", rank, 4))
    values = np.frombuffer(data, np.uint8, -1, 4 + 4 * rank)
    if values.size != int(np.prod(shape)):
        raise ValueError(f"{path}: shape {shape} needs {np.prod(shape)} bytes, found {values.size}")
    return values.reshape(shape)


def read_digits(part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The digits as a network wants them.

    Parameters
    ----------
    part
        ``"train"`` (60,000 digits) or ``"t10k"`` (the 10,000 test digits).

    Returns
    -------
    pixels : numpy.ndarray
        float32, [rows, 784], 0 (paper) to 1 (ink).
    labels : numpy.ndarray
        int64, [rows], 0 to 9.
    """
    images = read_idx(FOLDER / f"{part}-images-idx3-ubyte")
    labels = read_idx(FOLDER / f"{part}-labels-idx1-ubyte")
    pixels = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
    return pixels, labels.astype(np.int64)


def tell(result: Path, accuracy: float, began: float) -> int:
    """Says what training made; the exit status, 1 if it is not worth a commit.

    Parameters
    ----------
    result
        The file that was written.
    accuracy
        On the 10,000 test digits, 0 to 1.
    began
        When training did, by time.monotonic().
    """
    print(
        f"{result.name}: {result.stat().st_size:,} bytes, accuracy on the 10,000 test digits {accuracy:.4f}, "
        f"{time.monotonic() - began:.0f} s"
    )
    if accuracy < LOWEST_ACCURACY:
        print(f"the accuracy is below {LOWEST_ACCURACY}: do not commit this file", file=sys.stderr)
        return 1
    return 0
