"""As many threads as a task has processors."""

from __future__ import annotations

from collections.abc import Callable

from pyspark import TaskContext


class Threads:
    """A number of threads of this process, such as PyTorch's.

    Parameters
    ----------
    apply
        Sets it.
    """

    def __init__(self, apply: Callable[[int], None]) -> None:
        self._apply = apply
        self._set = 0

    def follow_task(self) -> None:
        """Sets it to the running task's processors; outside of a task it is left as it is."""
        context = TaskContext.get()
        cpus = max(1, context.cpus()) if context is not None else self._set
        if cpus != self._set:
            self._apply(cpus)
            self._set = cpus
