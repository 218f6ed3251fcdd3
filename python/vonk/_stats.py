"""Counts of what predicting did."""

from __future__ import annotations

from typing import NamedTuple


class Stats(NamedTuple):
    """Counts since the model was opened; times are nanoseconds summed over threads."""

    #: most threads that worked on one call
    max_threads: int = 0
    #: rows taken in
    rows: int = 0
    #: of these, with a NULL input
    null_rows: int = 0
    #: of these, that failed
    error_rows: int = 0
    #: runs of the model
    micro_batches: int = 0
    #: bytes of input values read
    bytes_in: int = 0
    #: of these and of the outputs, copied or converted on the way
    bytes_copied: int = 0
    #: checking and converting columns to tensors
    convert_ns: int = 0
    #: inside the framework
    infer_ns: int = 0
    #: building the result
    emit_ns: int = 0
    #: a caller waiting for its helpers
    wait_ns: int = 0

    def plus(self, other: Stats) -> Stats:
        """The counts of both."""
        most = max(self.max_threads, other.max_threads)
        return Stats(most, *(a + b for a, b in zip(self[1:], other[1:], strict=True)))
