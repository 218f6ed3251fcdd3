"""What the tools without an engine for models share: an ONNX Runtime session and its call."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray


def flat(column: Any) -> Any:
    """The numbers of an Arrow list column as one NumPy array, without a copy where the column is in one piece."""
    chunks = getattr(column, "chunks", [column])
    array = chunks[0] if len(chunks) == 1 else column.combine_chunks()
    return array.flatten().to_numpy(zero_copy_only=True)


class Classifier:
    """A session, and the index of the largest output for rows of numbers.

    Parameters
    ----------
    model
        Path of an ONNX file with one float32 input [N, width].
    intra
        Threads inside one run.
    cut
        Rows that one run gets; 0 = all that come at once.
    """

    def __init__(self, model: str, intra: int, cut: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = intra
        options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name
        self.width = self.session.get_inputs()[0].shape[1]
        self.cut = cut

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class of each row; `values` is flat, row after row."""
        rows = values.reshape(-1, self.width)
        step = self.cut or max(len(rows), 1)
        parts = [self._run(rows[i : i + step]) for i in range(0, len(rows), step)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, rows: Any) -> NDArray[np.int64]:
        scores: NDArray[np.float32] = self.session.run(None, {self.name: rows})[0]
        digits: NDArray[np.int64] = scores.argmax(axis=1)
        return digits
