"""Sessions, classic and Connect: the few things that are done differently in the two."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession


def active() -> SparkSession:
    """The session of this process, classic or Connect; a new one if there is none."""
    return SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()


def is_connect(spark: SparkSession) -> bool:
    """Whether the session is a client of Spark Connect: there is no JVM to call."""
    return any(base.__module__.startswith("pyspark.sql.connect") for base in type(spark).__mro__)


def files_key(spark: SparkSession) -> Hashable:
    """Names what a session's files belong to: a SparkContext, or a session of Connect. A restart gives another."""
    connected: Any = spark
    return connected.session_id if is_connect(spark) else spark.sparkContext.applicationId


def add_file(spark: SparkSession, path: Path) -> None:
    """Adds a local file, under its own name, to those that Spark copies to each executor."""
    if is_connect(spark):
        spark.addArtifact(os.fspath(path), file=True)
    else:
        spark.sparkContext.addFile(os.fspath(path))


def setting(spark: SparkSession, name: str) -> str | None:
    """A setting of the session; None if it is not set."""
    return spark.conf.get(name, None)
