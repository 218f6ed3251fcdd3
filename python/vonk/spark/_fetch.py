"""Models that lie where Spark reads: fetched to the driver, from where they go the way of any other.

How it works: on a classic session Hadoop's own file systems copy the file or folder. A client of Spark Connect has no
JVM: there the server reads it as rows (``binaryFile``), cut so that a message holds one. With a file come those beside
it that belong to the model: the weights of an ONNX model, the checkpoint of a .meta file. Addresses are Hadoop's, in
which % is a character like others.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as sql

import vonk
from vonk.packing import onnx_weights
from vonk.spark import _session

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_LOCAL_URI = re.compile(r"(local|file):", re.IGNORECASE)
#: Bytes of one row, far below what a message of Spark Connect may have.
_PIECE = 4 << 20


def scheme_of(text: str) -> str | None:
    """The scheme of a URI in lower case; None for a path."""
    found = _URI.match(text) or _LOCAL_URI.match(text)
    return found[1].lower() if found else None


def path_of(uri: str) -> Path:
    """The path in a ``file:`` or ``local:`` URI.

    Raises
    ------
    vonk.InvalidError
        It names another host.
    """
    parts = urlparse(uri)
    if parts.netloc not in ("", "localhost"):
        raise vonk.InvalidError(f"model '{uri}': names the host '{parts.netloc}': write {parts.scheme}:///PATH")
    plain = Path(_path(uri))
    return plain if plain.exists() else Path(url2pathname(parts.path))


def fetch(spark: SparkSession, uri: str, folder: Path) -> Path:
    """Copies a file, with what belongs to it, or a folder, into a local one.

    Raises
    ------
    vonk.FileError
        Spark cannot read it; its own reason.
    """
    uri = uri.rstrip("/")
    name = _path(uri).rpartition("/")[2] or "model"
    target = folder / name
    try:
        reader = _Rows(spark) if _session.is_connect(spark) else _Hadoop(spark, uri)
        reader.copy(uri, target)
        if target.is_file():
            _fetch_others(reader, uri, target)
    except PySparkException as error:
        raise _failure(uri, str(error)) from error
    except vonk.Error:
        raise
    except Exception as error:  # of py4j, by name: a client of Connect may not have it
        java = getattr(error, "java_exception", None)
        if java is None:
            raise
        raise _failure(uri, f"{java.getClass().getSimpleName()}: {java.getMessage()}") from error
    return target


def _fetch_others(reader: _Hadoop | _Rows, uri: str, target: Path) -> None:
    base = uri.rpartition("/")[0]
    for location in onnx_weights.locations(target) if target.suffix == ".onnx" else ():
        if location.startswith("/") or ".." in location.split("/"):
            continue  # the plug-in refuses it, in its own words
        (target.parent / location).parent.mkdir(parents=True, exist_ok=True)
        reader.copy(f"{base}/{location}", target.parent / location)
    if target.suffix == ".meta":
        for other in reader.like(f"{_escaped(base)}/{_escaped(target.stem)}.*"):
            name = other.rpartition("/")[2]
            if name.startswith((f"{target.stem}.index", f"{target.stem}.data-")):
                reader.copy(other, target.parent / name)


def _failure(uri: str, reason: str) -> vonk.FileError:
    lines = [line.strip() for line in reason.splitlines() if line.strip()] or ["no reason given"]
    return vonk.FileError(
        f"model '{uri}': Spark cannot read it: {lines[0]}: is the address right, and has Spark the file system and the "
        "rights for it?",
        "VONK_IO",
    )


class _Hadoop:
    """Through the driver's JVM."""

    def __init__(self, spark: SparkSession, uri: str) -> None:
        context: Any = spark.sparkContext
        self._fs = context._jvm.org.apache.hadoop.fs
        self._system = self._fs.Path(uri).getFileSystem(context._jsc.hadoopConfiguration())

    def copy(self, uri: str, target: Path) -> None:
        is_raw = True  # no .crc files beside it
        self._system.copyToLocalFile(False, self._fs.Path(uri), self._fs.Path(target.as_uri()), is_raw)

    def like(self, pattern: str) -> list[str]:
        return [status.getPath().toString() for status in self._system.globStatus(self._fs.Path(pattern)) or ()]


class _Rows:
    """Through a query."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark

    def copy(self, uri: str, target: Path) -> None:
        files = self._spark.read.format("binaryFile").option("recursiveFileLookup", True).load(_escaped(uri))
        places = [row.path for row in files.select("path").collect()]
        if not places:
            raise vonk.FileError(f"model '{uri}': is empty", "VONK_IO")
        for place in places:
            inner = _path(place).removeprefix(_path(uri)).strip("/")
            self._write(files.where(sql.col("path") == place), target / inner if inner else target)

    def _write(self, one: Any, target: Path) -> None:
        """The file of one row, a piece at a time, in their order."""
        target.parent.mkdir(parents=True, exist_ok=True)
        starts = sql.explode(sql.sequence(sql.lit(0), sql.col("length"), sql.lit(_PIECE)))
        pieces = one.select(starts.alias("start"), "content").select(
            "start", sql.substring("content", sql.col("start") + 1, sql.lit(_PIECE)).alias("piece")
        )
        with target.open("wb") as file:
            for row in pieces.toLocalIterator():
                file.seek(row.start)
                file.write(row.piece)

    def like(self, pattern: str) -> list[str]:
        return [row.path for row in self._spark.read.format("binaryFile").load(pattern).select("path").collect()]


def _escaped(uri: str) -> str:
    """Without characters that stand for others in a pattern of Hadoop's."""
    return re.sub(r"([*?\[\]{}\\])", r"\\\1", uri)


def _path(uri: str) -> str:
    """Without scheme and host."""
    return re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*:(//[^/]*)?", "", uri)
