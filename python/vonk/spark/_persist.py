"""Saving a stage with its model, and loading it again: classic and Connect, to any file system that Spark writes.

How it works: a saved stage is laid out as Spark ML's own are. ``metadata`` holds the parameters as JSON, and the file's
name and digest; ``data`` holds the model's file in pieces, as Parquet. A worker, which has the file anyway, writes it
in one job, so nothing is sent through tasks and there is no JVM to call. ``metadata`` is written last: a save that did
not finish left none, and what has none is not loaded. What is to be replaced stays until the new folder, beside it, is
whole; only on Spark Connect, where nothing can be renamed, it goes first.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow
from pyspark import cloudpickle
from pyspark.errors import AnalysisException, PySparkException
from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, MLReader, MLWriter
from pyspark.sql import SparkSession

import vonk
from vonk.spark import _session, _staging
from vonk.spark._byname import by_name
from vonk.spark._shipment import Shipment, ship
from vonk.spark._spec import Source, make_options

if TYPE_CHECKING:
    from vonk.spark._ml import Given, Model

#: Of the layout; a reader takes what is not newer.
_FORMAT = 1
#: Columns of the rows that a file is cut into.
_PIECES = "start long, content binary"
#: Bytes of a row: a worker and a message of Spark Connect hold a few.
_PIECE = 2 << 20
#: Bytes after which Spark begins a new group of rows: it reads one at a time.
_GROUP = 16 << 20


@dataclass(frozen=True)
class Saved:
    """What the metadata say of the model besides Spark's own fields: its file, or its loader.

    Attributes
    ----------
    pack
        ``pack`` of what a loader gives.
    arguments
        Of a stage that is made with more than its parameters say.
    """

    format: int
    title: str
    sha256: str | None = None
    bytes: int | None = None
    options: tuple[tuple[str, Any], ...] = ()
    loader: str | None = None
    argument: Any = None
    pack: dict[str, Any] | None = None
    arguments: dict[str, Any] | None = None


# --- saving ---


class StageWriter(MLWriter):
    """Saves a stage with its model; ``Model.write()`` makes one.

    ``session`` and ``overwrite`` are Spark ML's. Where something is already, nothing is changed without ``overwrite``.
    """

    def __init__(self, stage: Any) -> None:
        super().__init__()
        self._stage = stage

    def _describe(self, spark: SparkSession) -> tuple[Shipment | None, Saved]:
        return _describe(spark, self._stage)

    def save(self, path: str) -> None:
        """Saves to a new folder: a path or URI of any file system that Spark writes.

        Raises
        ------
        vonk.FileError
            There is something already.
        vonk.InvalidError
            The stage's loader is a function that no import finds.
        vonk.Error
            The model cannot be read.
        """
        path = os.fspath(path)
        spark = self._sparkSession or _session.active()
        shipment, saved = self._describe(spark)  # before anything is changed: the model may lie at the path
        if not self.shouldOverwrite and _exists(spark, path):
            raise vonk.FileError(
                f"{path}: there is something already: save to another path, or write().overwrite().save(path)",
                "VONK_IO",
            )
        with _replacing(spark, path) if self.shouldOverwrite else nullcontext(path) as target:
            if shipment is not None:
                _write_pieces(spark, shipment, f"{target}/data")
            DefaultParamsWriter.saveMetadata(self._stage, target, spark, extraMetadata={"vonk": asdict(saved)})


def _describe(spark: SparkSession, stage: Model) -> tuple[Shipment | None, Saved]:
    given = stage._given
    if given.loader is not None:
        return None, replace(loader_saved(given.loader, given.model), pack=_pack_saved(given.pack))
    shipment = stage._ship(spark)
    if shipment.path is not None and Path(shipment.source.file or "").is_absolute():  # local: of every node
        shipment = ship(spark, shipment.path, shipment.source.options)
    return shipment, file_saved(shipment)


def loader_saved(loader: Callable[..., Any], model: Any) -> Saved:
    """A loader, by its name, and its argument.

    Raises
    ------
    vonk.InvalidError
        It is a function that no import finds, or the argument is no text or number.
    """
    name = _name_of(loader)
    argument = os.fspath(model) if isinstance(model, os.PathLike) else model
    if not isinstance(argument, str | int | float | bool | None):
        raise vonk.InvalidError(
            f"model_loader {name}: its argument, a {type(argument).__name__}, cannot be saved: give it a text or a"
            " number"
        )
    return Saved(_FORMAT, name, loader=name, argument=argument)


def file_saved(shipment: Shipment) -> Saved:
    """A model that is one file."""
    source = shipment.source
    assert shipment.path is not None
    return Saved(_FORMAT, source.title, source.sha256, shipment.path.stat().st_size, source.options)


def _pack_saved(pack: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The arguments of ``vonk.pack``; a class or function by its name, which it takes, too."""
    if pack is None:
        return None
    named = {name: _name_of(value, name) if callable(value) else value for name, value in pack.items()}
    return as_json(named, "pack")


def as_json(given: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Arguments as the metadata hold them.

    Raises
    ------
    vonk.InvalidError
        One would not be the same after loading.
    """
    for name, value in given.items():
        try:
            is_same = json.loads(json.dumps(value)) == (list(value) if isinstance(value, tuple) else value)
        except (TypeError, ValueError):
            is_same = False
        if not is_same:
            raise vonk.InvalidError(
                f"{what}: '{name}', a {type(value).__name__}, cannot be saved: a saved stage holds texts, numbers, and"
                " lists and mappings of them"
            )
    return dict(given)


def _name_of(loader: Callable[..., Any], what: str = "model_loader") -> str:
    """``module:function``, by which another process finds it."""
    module, name = getattr(loader, "__module__", None), getattr(loader, "__qualname__", "")
    if not module or module == "__main__" or _imported(module, name) is not loader:
        shown = getattr(loader, "__qualname__", repr(loader))
        raise vonk.InvalidError(
            f"{what} {shown}: cannot be saved: it is no function that an import finds, and only its name would be"
            " saved: put it into a module, or give the stage the model's file instead of a loader"
        )
    return f"{module}:{name}"


def _imported(module: str, name: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


@contextmanager
def _replacing(spark: SparkSession, path: str) -> Iterator[str]:
    """Where to write what shall be at a path, in place of what may be there."""
    if _session.is_connect(spark):
        _remove(spark, path)
        yield path
        return
    context: Any = spark.sparkContext
    to_path = context._jvm.org.apache.hadoop.fs.Path
    system = to_path(path).getFileSystem(context._jsc.hadoopConfiguration())
    if not system.exists(to_path(path)):
        yield path
        return
    beside = f"{path.rstrip('/')}.new-{secrets.token_hex(4)}"
    try:
        yield beside
    except BaseException:
        system.delete(to_path(beside), True)
        raise
    _remove(spark, path)
    if not system.rename(to_path(beside), to_path(path)):
        raise vonk.FileError(f"{path}: cannot be renamed from {beside}, where the stage is saved: rename it", "VONK_IO")


def _remove(spark: SparkSession, path: str) -> None:
    """What Spark ML's own writers do for overwrite()."""
    if _session.is_connect(spark):
        from pyspark.ml.connect.readwrite import RemoteMLWriter  # noqa: PLC0415 - needs the packages of Connect

        RemoteMLWriter.handleOverwrite(path, True)
    else:
        MLWriter().session(spark)._handleOverwrite(path)


def _exists(spark: SparkSession, path: str) -> bool:
    """Whether Spark finds a file or folder: it looks when it makes the query's plan."""
    try:
        return bool(spark.read.format("binaryFile").load(path).schema)
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            return False
        raise


def _write_pieces(spark: SparkSession, shipment: Shipment, path: str) -> None:
    shipment.send(spark)
    source = shipment.source
    read = by_name(source.title, "vonk.spark._persist", "reading", cloudpickle.dumps(asdict(source)))
    pieces = spark.range(0, 1, 1, 1).mapInArrow(read, _PIECES)
    writer = pieces.write.option("compression", "none").option("parquet.enable.dictionary", "false")
    writer.option("parquet.block.size", str(_GROUP)).parquet(path)


def reading(payload: bytes) -> Callable[[Iterator[pyarrow.RecordBatch]], Iterator[pyarrow.RecordBatch]]:
    """On a worker: the function that gives the model's file in pieces for the one row there is."""
    source = Source(**cloudpickle.loads(payload))

    def read(batches: Iterator[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                yield from _pieces(source)

    return read


def _pieces(source: Source) -> Iterator[pyarrow.RecordBatch]:
    """The model's file on this node, a row at a time.

    Raises
    ------
    vonk.ModelError
        It is not the file that the driver saw.
    """
    from vonk.spark._opening import locate  # noqa: PLC0415 - of workers

    digest, start = hashlib.sha256(), 0
    with Path(locate(source)).open("rb") as file:
        while content := file.read(_PIECE):
            digest.update(content)
            columns = [pyarrow.array([start], pyarrow.int64()), pyarrow.array([content], pyarrow.binary())]
            yield pyarrow.RecordBatch.from_arrays(columns, ["start", "content"])
            start += len(content)
    if digest.hexdigest() != source.sha256:
        raise vonk.ModelError(f"model '{source.title}': this worker's copy is damaged: nothing was saved")


# --- loading ---


class StageReader(MLReader[Any]):
    """Loads a saved stage; ``Model.read()`` makes one."""

    def __init__(self, kind: type[Any]) -> None:
        super().__init__()
        self._kind = kind

    def _restore(self, spark: SparkSession, path: str, saved: Saved, stage: Any) -> None:
        stage._given = _given(spark, path, saved, stage)

    def load(self, path: str) -> Any:
        """Loads a stage: its parameters, and its model, checked against the digest that was saved.

        Raises
        ------
        vonk.FileError
            There is no saved stage, or its model is missing.
        vonk.ModelError
            The model is damaged.
        vonk.InvalidError
            Another class was saved there, or by a newer vonk.
        """
        path = os.fspath(path)
        spark = self._sparkSession or _session.active()
        with _reported(path, "metadata"):
            metadata = DefaultParamsReader.loadMetadata(path, spark)
        saved = _read_saved(path, metadata, self._kind)
        stage = self._kind()
        stage._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(stage, metadata)
        self._restore(spark, path, saved, stage)
        return stage


def _read_saved(path: str, metadata: dict[str, Any], kind: type[Any]) -> Saved:
    wanted = f"{kind.__module__}.{kind.__name__}"
    saved = metadata.get("vonk")
    if metadata.get("class") != wanted or not isinstance(saved, dict):
        raise vonk.InvalidError(f"{path}: holds a {metadata.get('class')}, not a {wanted}: load it with its own class")
    if saved.get("format") != _FORMAT:
        raise vonk.InvalidError(
            f"{path}: was saved by a newer vonk (format {saved.get('format')}, this one reads {_FORMAT}): update vonk"
        )
    options = tuple((name, value) for name, value in saved.pop("options", ()))
    title = Path(str(saved.pop("title", ""))).name.lstrip(".") or "model"  # of a file: it must not lead elsewhere
    if saved.get("loader") is None and not re.fullmatch("[0-9a-f]{64}", str(saved.get("sha256"))):
        raise vonk.ModelError(f"{path}: metadata holds no digest of the model: save the stage again")
    return Saved(**{**saved, "title": title, "options": options})


def _given(spark: SparkSession, path: str, saved: Saved, stage: Model) -> Given:
    from vonk.spark._ml import Given  # noqa: PLC0415 - the two know of each other

    if saved.loader is not None:
        return Given(saved.argument, loader_named(path, saved.loader), saved.pack)
    file = read_file(spark, path, saved)
    given = Given(file, None)
    given.keep(make_options(stage.getOptions()), ship(spark, file, saved.options))
    return given


def loader_named(path: str, name: str) -> Callable[..., Any]:
    """The loader of a saved stage.

    Raises
    ------
    vonk.InvalidError
        It cannot be imported.
    """
    loader: Callable[..., Any] | None = _imported(*name.split(":", 1))
    if loader is None:
        raise vonk.InvalidError(
            f"{path}: its model_loader {name} cannot be imported here: put its module on PYTHONPATH"
        )
    return loader


def read_file(spark: SparkSession, path: str, saved: Saved) -> Path:
    """The model's file in the staging folder, checked.

    Raises
    ------
    vonk.FileError
        It is missing.
    vonk.ModelError
        It is damaged.
    """
    target = _staging.folder() / f"saved-{(saved.sha256 or '')[:16]}" / saved.title
    target.parent.mkdir(exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as file, _reported(path, "data"):
            for start, content in spark.read.schema(_PIECES).parquet(f"{path}/data").toLocalIterator():
                file.seek(start)
                file.write(content)
        if _digest(part) != saved.sha256:
            raise vonk.ModelError(
                f"{path}: the model '{saved.title}' in it is damaged: {part.stat().st_size:,} of {saved.bytes or 0:,}"
                " bytes, and not those that were saved: save the stage again"
            )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_PIECE):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _reported(path: str, part: str) -> Iterator[None]:
    try:
        yield
    except PySparkException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            raise vonk.FileError(
                f"{path}: holds no complete stage: {part} is missing: the path is another's, or a save did not finish",
                "VONK_IO",
            ) from error
        raise _unreadable(path, part, error) from error
    except Exception as error:  # of py4j, by name: a client of Connect may not have it
        if not hasattr(error, "java_exception"):
            raise
        raise _unreadable(path, part, error) from error


def _unreadable(path: str, part: str, error: Exception) -> vonk.ModelError:
    text = str(error).strip()
    named = re.search(r"\[[A-Z][A-Z_.]+\] [^\n]*", text)  # Spark's own name for what is wrong
    reason = (named[0] if named else text.partition("\n")[0]).rstrip(". ")
    return vonk.ModelError(f"{path}: {part} cannot be read: {reason}: save the stage again")
