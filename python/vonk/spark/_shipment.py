"""Bringing a model to the workers: one file, named by its digest, that Spark copies once to each executor.

How it works: whatever the user gives becomes one local file on the driver (``_staging``, ``_fetch``), and is added to
the files of each session that uses it. A worker opens its copy with the digest pinned (``_cache``). A loader has no
file: it travels pickled, and what the driver wants to know of its model it asks a worker (``_probe``).
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyspark.sql import SparkSession

import vonk
from vonk.spark import _fetch, _loader, _memory, _probe, _session, _staging
from vonk.spark._spec import Options, Source, make_options

Answer = TypeVar("Answer")

_PIN = re.compile(r"#sha256=([0-9a-fA-F]{64})$")
_MOST_ANSWERS = 256

_lock = threading.Lock()
#: What was added to which session's files.
_sent: set[tuple[Hashable, str]] = set()
_answers: OrderedDict[Hashable, Any] = OrderedDict()


@dataclass(frozen=True)
class Shipment:
    """A model that workers can open. Nothing is sent, and the model is not opened, before it is asked for.

    Attributes
    ----------
    source
        What travels in a function: plain data.
    path
        The one file on the driver that is sent (or what ``local:`` names); None with a loader.
    """

    source: Source
    path: Path | None

    def send(self, spark: SparkSession) -> None:
        """Adds the file to the session's files, unless it is there: before each use, for the session may be new.

        A session that was stopped stands for the one that is there now.

        Raises
        ------
        vonk.FileError
            The file is gone.
        """
        name = self.source.file
        if name is None or self.path is None or Path(name).is_absolute():
            return
        spark = _session.living(spark)
        key = _session.files_key(spark), name
        with _lock:
            if key in _sent:
                return
            if not self.path.exists():
                raise vonk.FileError(
                    f"model '{self.source.title}': its copy '{self.path}', from where Spark takes it, was removed: "
                    "make the function again",
                    "VONK_IO",
                )
            _session.add_file(spark, self.path)
            _sent.add(key)

    def ask(self, spark: SparkSession, question: Callable[[vonk.Model], Answer]) -> Answer:
        """The answer of a function to the open model: here on the driver; with a loader in one small job. Asked once.

        Function and answer are pickled with a loader: a function of a module, or a partial of one.

        Raises
        ------
        vonk.Error
            The model cannot be opened, or what the function raised.
        """
        key = self.source.key, _loader.identity(question)
        with _lock:
            if key in _answers:
                _answers.move_to_end(key)
                known: Answer = _answers[key]
                return known
        if self.path is None:
            answer: Answer = _probe.ask(_session.living(spark), self.source, question)
        else:
            with self.open() as model:
                answer = question(model)
        with _lock:
            _answers[key] = answer
            if len(_answers) > _MOST_ANSWERS:
                _answers.popitem(last=False)
        return answer

    def open(self) -> vonk.Model:
        """Opens it here, on the driver.

        Raises
        ------
        vonk.Error
            It cannot be opened, or only a loader has it.
        """
        if self.path is None:
            raise vonk.InvalidError(f"model_loader {self.source.title}: the model is on the workers only")
        try:
            return vonk.open(self.path, **dict(self.source.options))  # type: ignore[arg-type]
        except vonk.Error as error:
            message = error.message.replace(os.fspath(self.path), self.source.title)
            raise type(error)(message, error.code, error.row, error.native_code) from None


def ship(
    spark: SparkSession,
    model: Any,
    options: Options,
    *,
    loader: Callable[..., Any] | None = None,
    pack: Mapping[str, Any] | None = None,
) -> Shipment:
    """Makes one file of a model, for :meth:`Shipment.send`.

    Parameters
    ----------
    spark
        The session.
    model
        A path or URI, with or without ``#sha256=``; an open :class:`vonk.Model`; or a live model, which is packed. With
        a loader, its argument, or None for a function without one.
    options
        Of ``vonk.open``.
    loader
        Called on the workers instead: gives a path there, or a live model.
    pack
        Arguments of ``vonk.pack``, for what has to be packed.

    Raises
    ------
    vonk.Error
        There is no such file, it cannot be packed, or there is no room for the copy.
    """
    memory = memory_of(spark)
    if loader is not None:
        return Shipment(_loader.describe(loader, model, options, pack, memory), None)
    if isinstance(model, Shipment):
        return model
    given = dict(options)
    if isinstance(model, vonk.Model):
        model, given = model.path, {**model._reopen[1], **given}
    if isinstance(model, str | os.PathLike):
        return _ship_path(spark, os.fspath(model), given, pack, memory)
    if model is None or isinstance(model, bytes | bytearray | type):
        kind = model.__name__ if isinstance(model, type) else type(model).__name__
        raise vonk.InvalidError(
            f"model: {kind} is none: pass the path or URI of a model, a live model, or model_loader=", "VONK_INVALID"
        )
    return _shipment(_staging.stage_object(model, given, pack), memory)


def _ship_path(
    spark: SparkSession, text: str, options: dict[str, Any], pack: Mapping[str, Any] | None, memory: int | None
) -> Shipment:
    pin = _PIN.search(text)
    text = text[: pin.start()] if pin else text
    scheme = None if Path(text).exists() else _fetch.scheme_of(text)
    if scheme == "local":
        return _everywhere(_fetch.path_of(text), options, pin, memory)
    if scheme in (None, "file"):
        path = _fetch.path_of(text) if scheme else Path(text)
        return _stage(path, options, pack, pin, memory)
    with tempfile.TemporaryDirectory(dir=_staging.folder(), prefix=".fetched-") as folder:
        return _stage(_fetch.fetch(spark, text, Path(folder)), options, pack, pin, memory)


def _stage(
    path: Path,
    options: dict[str, Any],
    pack: Mapping[str, Any] | None,
    pin: re.Match[str] | None,
    memory: int | None,
) -> Shipment:
    if pin:
        vonk.open(f"{path}{pin[0]}", **options).close()
    return _shipment(_staging.stage(path, options, pack), memory)


def _shipment(staged: _staging.Staged, memory: int | None) -> Shipment:
    left = make_options(staged.options)
    return Shipment(Source(staged.title, staged.path.name, staged.sha256, options=left, memory=memory), staged.path)


def _everywhere(path: Path, options: dict[str, Any], pin: re.Match[str] | None, memory: int | None) -> Shipment:
    """A model that is not sent; the workers' must be the one that is here."""
    try:
        with vonk.open(f"{path}{pin[0] if pin else ''}", **options) as model:
            digest = model.sha256
    except vonk.FileError as error:
        raise vonk.FileError(
            f"local:{path}: {error.message}: 'local:' wants it on the driver too, for its signature and digest: if "
            "only the workers have it, pass model_loader=lambda: 'PATH'",
            error.code,
        ) from None
    absolute = os.path.abspath(path)  # noqa: PTH100 - links stay: they may lead elsewhere on another node
    return Shipment(Source(path.name, absolute, digest, options=make_options(options), memory=memory), Path(absolute))


def memory_of(spark: SparkSession) -> int | None:
    """The bound of a worker's models that the session sets, in bytes; None: the worker's own."""
    text = _session.setting(spark, _memory.SETTING)
    return None if text is None else _memory.parse(text, _memory.SETTING)
