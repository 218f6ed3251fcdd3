"""Saving a stage over text with its model, and loading it again, as :mod:`vonk.spark` does it.

How it works: the folder of a model is one zip by the time it goes to the workers; that is what is saved. Arguments that
are no parameters of the stage are saved as JSON. What a live pipeline was made with is saved as arguments, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

from pyspark.sql import SparkSession
from vonk.huggingface import _pipeline
from vonk.spark._persist import (
    Saved,
    StageReader,
    StageWriter,
    as_json,
    file_saved,
    loader_named,
    loader_saved,
    read_file,
)
from vonk.spark._shipment import Shipment
from vonk.spark._text_udf import as_file, from_file

#: Arguments that are saved otherwise, or belong to a session.
_LEFT_OUT = ("model", "tokenizer", "model_loader", "spark")


class TextStageWriter(StageWriter):
    """Saves a stage over text; ``write()`` makes one."""

    def _describe(self, spark: SparkSession) -> tuple[Shipment | None, Saved]:
        given: dict[str, Any] = self._stage._arguments
        arguments = {name: value for name, value in given.items() if name not in _LEFT_OUT}
        loader, model = given.get("model_loader"), given.get("model")
        if loader is not None:
            return None, replace(loader_saved(loader, model), arguments=as_json(arguments, "arguments"))
        shipment = as_file(self._stage._function()._shipment)
        if hasattr(model, "task"):
            arguments = {**_made_with(model), **arguments}
        return shipment, replace(file_saved(shipment), arguments=as_json(arguments, "arguments"))


def _made_with(pipeline: Any) -> dict[str, Any]:
    """The task of a live pipeline, and its arguments; a choice by its word, which a call takes."""
    preset: Mapping[str, Mapping[str, Any]] = _pipeline.preset_of(pipeline) or {}
    chosen = {name: value for given in preset.values() for name, value in given.items() if isinstance(value, Enum)}
    others = {
        key: {name: value for name, value in given.items() if name not in chosen} for key, given in preset.items()
    }
    for given in others.values():
        as_json(given, "pipeline")
    words = {name: value.value for name, value in chosen.items()}
    return {"task": pipeline.task, **({_pipeline.PRESET: others} if any(others.values()) else {}), **words}


class TextStageReader(StageReader):
    """Loads a saved stage over text; ``read()`` makes one."""

    def _restore(self, spark: SparkSession, path: str, saved: Saved, stage: Any) -> None:
        if saved.loader is not None:
            made = {"model": saved.argument, "model_loader": loader_named(path, saved.loader)}
        else:
            made = {"model": from_file(spark, read_file(spark, path, saved))}
        stage._arguments = {**stage._arguments, **(saved.arguments or {}), **made}
