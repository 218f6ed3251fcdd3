"""Sessions, classic and Connect: the few things that are done differently in the two."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from pyspark import SparkContext
from pyspark.sql import SparkSession

import vonk


def active() -> SparkSession:
    """The session of this process, classic or Connect; a new one if there is none."""
    return SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()


def is_connect(spark: SparkSession) -> bool:
    """Whether the session is a client of Spark Connect: there is no JVM to call."""
    return any(base.__module__.startswith("pyspark.sql.connect") for base in type(spark).__mro__)


def living(spark: SparkSession) -> SparkSession:
    """The session itself, or the one that there is now if it was stopped.

    Raises
    ------
    vonk.InvalidError
        There is none.
    """
    session: Any = spark
    if is_connect(spark):
        is_alone = session.is_stopped and SparkSession.getActiveSession() is None
    else:
        is_alone = SparkContext._active_spark_context is None
    if is_alone:
        raise vonk.InvalidError("the Spark session was stopped: start another one, and call the function again")
    is_stopped = session.is_stopped if is_connect(spark) else session.sparkContext._jsc is None
    return active() if is_stopped else spark


def files_key(spark: SparkSession) -> Hashable:
    """Names what a session's files belong to: a SparkContext, or a session of Connect. A restart gives another."""
    session: Any = spark
    return str(session.session_id if is_connect(spark) else session.sparkContext.applicationId)


def add_file(spark: SparkSession, path: Path) -> None:
    """Adds a local file, under its own name, to those that Spark copies to each executor."""
    if is_connect(spark):
        spark.addArtifact(os.fspath(path), file=True)
    else:
        spark.sparkContext.addFile(os.fspath(path))


def setting(spark: SparkSession, name: str) -> str | None:
    """A setting of the session; None if it is not set."""
    value: str | None = spark.conf.get(name, None)
    return value
