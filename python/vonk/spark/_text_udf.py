"""A model over text as a function of columns, and how its weights become one file.

How it works: a folder, wherever it came from, is wrapped into one zip that is staged and sent like any other model. The
driver opens nothing: what a function must know, the type of its result, is declared, or told by the kind of the model.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyspark import cloudpickle
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.types import DataType, StringType, StructField, StructType

import vonk
from vonk.huggingface import _archive, _folder, model_summary
from vonk.spark import _calls, _compat, _fetch, _loader, _session, _staging
from vonk.spark._metrics import Meter, make_meter
from vonk.spark._shipment import Shipment, memory_of
from vonk.spark._spec import Options, Source
from vonk.spark._text_summary import TextSummary, of_facts
from vonk.spark._text_worker import TextCall, make_function

#: Writes a live object into a folder.
Save = Callable[[Any, Path], None]


@dataclass(frozen=True)
class Wanted:
    """Which model, and how workers open it.

    Attributes
    ----------
    kind
        Of :class:`vonk.spark._spec.Source`.
    options
        Of the class that opens it.
    save
        For live objects.
    revision, allow_pickle
        Of the hub's model; take weights that are pickles.
    """

    kind: str
    options: Options
    save: Save | None = None
    revision: str | None = None
    allow_pickle: bool = False


def ship(spark: SparkSession, model: Any, wanted: Wanted, loader: Callable[..., Any] | None) -> Shipment:
    """Makes one file of a model, for :meth:`Shipment.send`.

    Parameters
    ----------
    spark
        The session.
    model
        A folder, the name of a model of the hub, an address that Spark reads, or a live object; a loader's argument.
    wanted
        How workers open it.
    loader
        Called on the workers instead.

    Raises
    ------
    vonk.Error
        There is no such model, it is none that vonk takes, or there is no room for the copy.
    """
    memory = memory_of(spark)
    if loader is not None:
        source = _loader.describe(loader, model, wanted.options, None, memory)
        return Shipment(replace(source, kind=wanted.kind), None)
    if isinstance(model, Shipment):
        return replace(model, source=replace(model.source, options=wanted.options, memory=memory, kind=wanted.kind))
    if isinstance(model, str | os.PathLike):
        text = os.fspath(model)
        scheme = None if Path(text).exists() else _fetch.scheme_of(text)
        if scheme == "local":
            return _everywhere(_fetch.path_of(text), wanted, memory)
        if scheme not in (None, "file"):
            with tempfile.TemporaryDirectory(dir=_staging.folder(), prefix=".fetched-") as work:
                return _stage(_fetch.fetch(spark, text, Path(work)), wanted, memory)
        return _stage(folder_of(_fetch.path_of(text) if scheme else Path(text), wanted), wanted, memory)
    title = type(model).__name__
    if model is None or isinstance(model, bytes | type):
        raise vonk.InvalidError(
            f"model: {model if isinstance(model, type) else title} is none: pass a folder, the name of a model of the"
            " hub, a live object, or model_loader="
        )
    staged = _staging.stage_made(title, lambda work: _zip_live(model, wanted, work), {})
    return _shipment(staged, wanted, memory)


def as_file(shipment: Shipment) -> Shipment:
    """A model as one file, a zip, also where it is a folder that every node has.

    Raises
    ------
    vonk.Error
        The folder has changed into none that vonk takes, or there is no room for the copy.
    """
    if shipment.path is None or not shipment.path.is_dir():
        return shipment
    source = shipment.source
    has_pickles = bool(dict(source.options).get("allow_pickle"))
    wanted = Wanted(source.kind or "", source.options, allow_pickle=has_pickles)
    return _stage(shipment.path, wanted, source.memory)


def from_file(spark: SparkSession, path: Path) -> Shipment:
    """What :func:`as_file` gave and was copied, as a model for :func:`ship`."""
    staged = _staging.stage_as(path, "zip", lambda path, work: (path, {}))
    return Shipment(Source(staged.title, staged.path.name, staged.sha256, memory=memory_of(spark)), staged.path)


def folder_of(path: Path, wanted: Wanted) -> Path:
    """The folder of a path, or of the name of a model of the hub.

    Raises
    ------
    vonk.Error
        The hub's model cannot be fetched.
    """
    if path.exists() or not _folder.is_id(os.fspath(path)):
        return path
    return _folder.fetch(os.fspath(path), wanted.kind, revision=wanted.revision, allow_pickle=wanted.allow_pickle)


def _stage(path: Path, wanted: Wanted, memory: int | None) -> Shipment:
    def make(folder: Path, work: Path) -> tuple[Path, Mapping[str, Any]]:
        return _zip(folder, wanted, work / "model.zip"), {}

    staged = _staging.stage_as(path, ("zip", wanted.allow_pickle), make, _folder.title_of(path))
    return _shipment(staged, wanted, memory)


def _zip(folder: Path, wanted: Wanted, target: Path) -> Path:
    _archive.pack(folder, _folder.files_of(folder, allow_pickle=wanted.allow_pickle), target)
    return target


def _zip_live(model: Any, wanted: Wanted, work: Path) -> Path:
    folder = work / type(model).__name__
    folder.mkdir()
    assert wanted.save is not None
    wanted.save(model, folder)
    return _zip(folder, wanted, work / "model.zip")


def _shipment(staged: _staging.Staged, wanted: Wanted, memory: int | None) -> Shipment:
    source = Source(
        staged.title, staged.path.name, staged.sha256, options=wanted.options, memory=memory, kind=wanted.kind
    )
    return Shipment(source, staged.path)


def _everywhere(path: Path, wanted: Wanted, memory: int | None) -> Shipment:
    """A folder that is not sent; the workers' must be the one that is here."""
    absolute = os.path.abspath(path)  # noqa: PTH100 - links stay: they may lead elsewhere on another node
    digest = _folder.digest(Path(absolute), allow_pickle=wanted.allow_pickle)
    source = Source(path.name, absolute, digest, options=wanted.options, memory=memory, kind=wanted.kind)
    return Shipment(source, Path(absolute))


def task_of(shipment: Shipment) -> str:
    """The task of the pipeline over a model that is shipped, as its architecture tells.

    Raises
    ------
    vonk.InvalidError
        It does not tell.
    """
    path = shipment.path
    assert path is not None
    if path.is_dir():
        return _folder.task_of(path)
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (KeyError, ValueError):
        config = {}
    architectures = config.get("architectures") if isinstance(config, dict) else None
    return _folder.task_for(list(map(str, architectures or [])), shipment.source.title)


class TextUDF(_compat.Registrable):
    """A model over text as a function of columns; ``sentence_transformer_udf``, ``pipeline_udf`` and ``generate_udf``
    make them.

    Call it with a column of text, by name or as an expression. Where the model takes several texts, give them by its
    names, ``f(text="a", text_pair="b")``, in its order, or as a struct.

    Attributes
    ----------
    returnType
        Of the result.
    """

    def __init__(self, spark: SparkSession, shipment: Shipment, call: TextCall, value: DataType, most: int = 1) -> None:
        is_report = call.on_error == "report"
        fields = [StructField("value", value), StructField("error", StringType())]
        self.returnType: DataType = StructType(fields) if is_report else value
        self._spark = spark
        self._shipment = shipment
        self._call = call
        self._most = most
        self._functions: dict[tuple[tuple[str, ...], Hashable], Callable[..., Column]] = {}
        self.meter: Meter | None = make_meter(spark, shipment.source, call)

    def __call__(self, *columns: str | Column, **named: str | Column) -> Column:
        given = self._read(columns, named)
        return self._function(tuple(named))(*given)

    def check(self, rows: DataFrame | StructType, *columns: str | Column, **named: str | Column) -> DataType:
        """Checks, before there is a job, whether a call fits.

        Parameters
        ----------
        rows
            What the columns are of: a DataFrame, or its schema.
        *columns, **named
            As for a call.

        Returns
        -------
        DataType
            Of the result.

        Raises
        ------
        vonk.InvalidError
            A column is no text.
        """
        given = self._read(columns, named)
        for i, kind in enumerate(_calls.types_of(rows, given)):
            texts = [field.dataType for field in kind] if isinstance(kind, StructType) else [kind]
            if not all(text.simpleString().startswith(("string", "char", "varchar", "void")) for text in texts):
                name = _calls.name_of(given[i], i)
                raise vonk.InvalidError(
                    f"column '{name}': is {kind.simpleString()}, the model wants text: write"
                    f" F.col('{name}').cast('string')"
                )
        return self.returnType

    def summary(self) -> TextSummary:
        """What the model is, and what the function gives: what ``model_summary`` gives, by the staged file.

        Raises
        ------
        vonk.UnsupportedError
            A loader makes the model, on the workers.
        """
        source = self._shipment.source
        path = self._shipment.path
        if path is None:
            raise vonk.UnsupportedError(
                f"model_loader {source.title}: gives the model on the workers, so there is nothing to look at here:"
                " call model_summary with the model's folder",
                "VONK_UNSUPPORTED",
            )
        options: dict[str, Any] = dict(source.options)
        arguments = cloudpickle.loads(self._call.arguments) if self._call.arguments else {}
        about = model_summary(
            path, kind=source.kind, task=options.get("task"), title=source.title, arguments=arguments,
            allow_pickle=bool(options.get("allow_pickle")),
        )  # fmt: skip
        return of_facts(about, self.returnType)

    def __repr__(self) -> str:
        source = self._shipment.source
        return f"<TextUDF {source.title}, {source.kind}: text -> {self.returnType.simpleString()}>"

    def _read(self, columns: Sequence[str | Column], named: Mapping[str, str | Column]) -> tuple[str | Column, ...]:
        given = (*columns, *named.values())
        if not given:
            raise vonk.InvalidError("arguments: there are none: give a column of text, f('column')")
        for column in given:
            if not isinstance(column, str | Column):
                raise TypeError(f"arguments: {column!r} is no column: give names of columns, or columns (F.col, F.lit)")
        if len(given) > self._most:
            takes = "one column" if self._most == 1 else f"{self._most} columns"
            raise vonk.InvalidError(
                f"arguments: {len(given)} were given, {self._shipment.source.title} takes {takes} of text"
            )
        return given

    def _function(self, names: tuple[str, ...] = ()) -> Callable[..., Column]:
        """One for all calls that are alike, so that Spark sees that they are and evaluates them once."""
        key = names, _session.files_key(_session.living(self._spark))
        self._shipment.send(self._spark)
        if key not in self._functions:
            call = replace(self._call, names=names)
            function = make_function(self._shipment.source, call, self.meter)
            self._functions[key] = _compat.column_function(function, self.returnType)
        return self._functions[key]

    @property
    def sql_function(self) -> Callable[..., Column]:
        """What ``spark.udf.register`` takes."""
        return self._function()


def pickle_arguments(arguments: Mapping[str, Any]) -> bytes:
    """Arguments of the model's calls, as they travel.

    Raises
    ------
    vonk.InvalidError
        One cannot be pickled.
    """
    try:
        return cloudpickle.dumps(dict(arguments)) if arguments else b""
    except Exception as error:
        names = ", ".join(arguments)
        raise vonk.InvalidError(
            f"arguments ({names}): cannot be sent to the workers: {type(error).__name__}: {error}"
        ) from error
