"""What a failure on a worker says to whoever reads it on the driver: which model, where, why, what to do.

How it works: Spark shows the text of the worker's exception as its last lines, and nothing else of it arrives. So the
text carries the model, the partition, the row and vonk's code; and where the library's advice is for a program of one
machine, such as to get a framework, it says what that means on a cluster.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

from pyspark import TaskContext

import vonk
from vonk.spark._spec import Source
from vonk.spark._types import in_words_of_spark


def explain(error: vonk.Error, source: Source, row: int | None = None, *, opening: bool = False) -> vonk.Error:
    """The same error, in words for the driver.

    Parameters
    ----------
    error
        What the library or the cache raised, on this worker.
    source
        The model.
    row
        At fault, counted from the batch's first; None when none is.
    opening
        The model could not be opened: the machine is named, too.
    """
    context = TaskContext.get()
    where = [] if context is None else [f"partition {context.partitionId()}"]
    where += [f"on {socket.gethostname()}"] if opening else []
    where += [] if row is None else [f"row {row} of the batch"]
    place = f" ({', '.join(where)})" if where else ""
    message = in_words_of_spark(_short(error.message, source))
    advice = _advice(error, source) if opening or isinstance(error, vonk.OutOfMemoryError) else ""
    return type(error)(f"{source.title}{place}: {message}{advice} [{error.code}]", error.code, row, error.native_code)


def _short(message: str, source: Source) -> str:
    """Without the path of Spark's copy, which is long and tells nothing, and without the title that comes first."""
    if source.file is not None and not Path(source.file).is_absolute():
        copy = rf"(?:[^\s']*{os.sep})?{re.escape(source.file)}"
        message = re.sub(rf"^(?:model )?(?:'{copy}'|{copy}): ", "", message)
    message = message.replace("; get the right file or a new pin", "")
    message = re.sub(r", then set VONK_\w+_LIBRARY to its \S+ or run vonk's set-up", "", message)
    return re.sub(rf"^(?:model|model_loader) '?{re.escape(source.title)}'?: ", "", message)


def _advice(error: vonk.Error, source: Source) -> str:
    if isinstance(error, vonk.OutOfMemoryError):
        if "modelMemory" in error.message or "VONK_SPARK_MODEL_MEMORY" in error.message:
            return ""  # says so itself
        return (
            ": take a smaller batch_size, or give the Python workers more: spark.executor.memoryOverhead, and"
            " spark.executor.pyspark.memory if it is set"
        )
    if isinstance(error, vonk.UnsupportedError) and "not found" in error.message:
        return (
            f": on a cluster, in the Python of every node (here {sys.executable}), or in the environment that travels"
            " with --archives"
        )
    if isinstance(error, vonk.ModelError) and "pinned" in error.message and source.file is not None:
        if Path(source.file).is_absolute():
            return ": copy the driver's file to this node, or make the function again for the new one"
        return ": Spark's copy on this node was damaged: start the session anew, and check the node's disk"
    return ""
