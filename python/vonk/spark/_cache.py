"""Models that are open in this worker process.

How it works: a worker lives as long as Spark reuses it, and models are kept in it by :attr:`Source.key`: tasks, jobs
and reruns of a cell share them. What was used least recently is closed when the weights of all would exceed the bound,
but never while a thread predicts with it. A failure is not kept: the next task tries again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from types import TracebackType
from typing import Any

import vonk
from vonk.spark import _memory, _opening
from vonk.spark._metrics import note_opened
from vonk.spark._spec import Source
from vonk.spark._threads import Threads


class Entry:
    """An open model on loan: ``with lease(source) as entry``; it stays open until the block ends.

    Attributes
    ----------
    model
        The model.
    kept
        Whatever belongs to the model and should go with it, such as its predictors.
    nbytes
        Of its weights.
    """

    __slots__ = ("_cache", "_error", "_is_ready", "_users", "kept", "key", "model", "nbytes")

    def __init__(self, cache: Cache, key: Hashable) -> None:
        self._cache = cache
        self.key = key
        self.nbytes = 0
        self.model: Any = None  # a vonk.Model, or one of vonk.huggingface; nobody sees it before it is there
        self.kept: dict[Hashable, Any] = {}
        self._users = 0
        self._is_ready = threading.Event()
        self._error: BaseException | None = None

    def __enter__(self) -> Entry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cache.give_back(self)


class Cache:
    """Open models by key, least recently used first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._lock = threading.Lock()
        self.opens = 0
        self.closes = 0

    def lease(self, source: Source) -> Entry:
        """The model of a source, opened if it is not open yet.

        Raises
        ------
        vonk.Error
            It is missing here, not the one that the driver saw, larger than the bound, or cannot be opened.
        """
        with self._lock:
            entry = self._entries.get(source.key)
            is_new = entry is None
            if entry is None:
                entry = self._entries[source.key] = Entry(self, source.key)
            self._entries.move_to_end(source.key)
            entry._users += 1
        if is_new:
            self._open(entry, source)
        elif entry.model is None:
            entry._is_ready.wait()
            if entry._error is not None:
                raise entry._error
        return entry

    def give_back(self, entry: Entry) -> None:
        """The end of a lease."""
        with self._lock:
            entry._users -= 1

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Of all weights that are open."""
        with self._lock:
            return sum(entry.nbytes for entry in self._entries.values())

    def _open(self, entry: Entry, source: Source) -> None:
        bound = _memory.bound(source.memory)
        try:
            with _opening.opening(source) as opening:
                self._reserve(entry, opening.nbytes, bound, source.title)
                began = time.perf_counter_ns()
                model = opening.open()
            try:
                self._reserve(entry, opening.weight_bytes(model), bound, source.title)
            except vonk.Error:
                model.close()
                raise
        except BaseException as error:
            with self._lock:
                del self._entries[entry.key]
            entry._error = error
            raise
        else:
            self.opens += 1
            note_opened(time.perf_counter_ns() - began)
            entry.model = model
        finally:
            entry._is_ready.set()

    def _reserve(self, entry: Entry, nbytes: int, bound: _memory.Bound, title: str) -> None:
        """Notes how large a model is, and closes idle ones until it fits."""
        bound.check(nbytes, title)
        with self._lock:
            entry.nbytes = nbytes
            excess = sum(other.nbytes for other in self._entries.values()) - bound.nbytes
            idle = [other for other in self._entries.values() if other._users == 0]
            closing = []
            for other in idle:
                if excess <= 0:
                    break
                closing.append(self._entries.pop(other.key))
                excess -= other.nbytes
        for other in closing:
            other.kept.clear()
            other.model.close()
            self.closes += 1


_cache = Cache()
_threads = Threads(vonk.set_threads)


def lease(source: Source) -> Entry:
    """The model of a source, opened once per process, with the task's number of threads set.

    Raises
    ------
    vonk.Error
        As for :meth:`Cache.lease`.
    """
    _threads.follow_task()
    return _cache.lease(source)


def open_source(source: Source) -> vonk.Model:
    """The model alone; whoever predicts for longer than a moment uses :func:`lease`."""
    with lease(source) as entry:
        model: vonk.Model = entry.model
        return model


def counts() -> dict[str, int]:
    """Of this process: models opened and closed so far, models and bytes of weights that are open."""
    return {"opens": _cache.opens, "closes": _cache.closes, "models": len(_cache), "bytes": _cache.nbytes}
