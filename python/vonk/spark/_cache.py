"""Models that are open in this worker process.

How it works: a worker lives as long as Spark reuses it, and models are kept in it by :attr:`Source.key`: tasks, jobs
and reruns of a cell share them. What was used least recently is closed when the weights of all would exceed the bound,
but never while a thread predicts with it. A failure is not kept: the next task tries again.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path
from types import TracebackType
from typing import Any

import vonk
from vonk.spark import _memory, _open
from vonk.spark._spec import Source


class Entry:
    """An open model on loan: ``with lease(source) as entry``; it stays open until the block ends.

    Attributes
    ----------
    model
        The model.
    kept
        Whatever belongs to the model and should go with it, such as its predictors.
    """

    __slots__ = ("_cache", "error", "kept", "key", "model", "nbytes", "ready", "users")

    def __init__(self, cache: Cache, key: Hashable, nbytes: int) -> None:
        self._cache = cache
        self.key = key
        self.nbytes = nbytes
        self.model: vonk.Model = None  # type: ignore[assignment]  # nobody gets it before it is there
        self.kept: dict[Hashable, Any] = {}
        self.users = 1
        self.ready = threading.Event()
        self.error: BaseException | None = None

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
        key = source.key
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.users += 1
                self._entries.move_to_end(key)
        if entry is None:
            return self._open(source)
        entry.ready.wait()
        if entry.error is not None:
            raise entry.error
        return entry

    def give_back(self, entry: Entry) -> None:
        with self._lock:
            entry.users -= 1

    def _open(self, source: Source) -> Entry:
        bound = _memory.bound(source.memory)
        entry = Entry(self, source.key, 0)
        with self._lock:
            known = self._entries.setdefault(source.key, entry)
            if known is not entry:
                known.users += 1
        if known is not entry:
            known.ready.wait()
            if known.error is not None:
                raise known.error
            return known
        try:
            with _open.Opening(source) as opening:
                bound.check(opening.nbytes, source.title)
                self._make_room(entry, opening.nbytes, bound.nbytes)
                entry.model = opening.open()
                entry.nbytes = _open.weight_bytes(entry.model)
            bound.check(entry.nbytes, source.title)
            self._make_room(entry, entry.nbytes, bound.nbytes)
        except BaseException as error:
            with self._lock:
                del self._entries[source.key]
            if entry.model is not None:
                entry.model.close()
            entry.error = error
            raise
        finally:
            entry.ready.set()
        self.opens += 1
        return entry
