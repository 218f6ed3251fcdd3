"""How far a stream of predictions has come, on standard error."""

from __future__ import annotations

import sys
import time


class Progress:
    """Called with the rows done so far: a line that is rewritten on a terminal, one line at the end elsewhere."""

    def __init__(self, total: int | None = None) -> None:
        self._total = total
        self._began = time.monotonic()
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, rows: int, is_finished: bool) -> None:
        if sys.stderr is None or not (is_finished or self._is_terminal):
            return
        seconds = max(time.monotonic() - self._began, 1e-9)
        text = f"{rows:,} rows, {rows / seconds:,.0f} rows/s"
        if is_finished:
            text += f", {seconds:.1f} s"
        elif self._total and rows:
            share = min(rows / self._total, 1.0)
            text = f"[{'#' * int(20 * share):<20}] {text}, {seconds / share - seconds:.0f} s left"
        start = "\r\033[K" if self._is_terminal else ""
        sys.stderr.write(f"{start}{text}{chr(10) if is_finished else ''}")
        sys.stderr.flush()
