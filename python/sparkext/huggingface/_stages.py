"""Stages of Spark ML over the three functions.

How it works: a stage makes its function when it first transforms, and again after a parameter has changed; copies, as a
Pipeline makes them, share it, so that weights are staged once. The column goes into the result through
``explode(array(f))``, for Spark's optimizer would otherwise run the model again for a filter on it.
"""

# ruff: noqa: N802 - names are Spark ML's
from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import vonk
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.util import MLReadable, MLWritable
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it

from sparkext.huggingface import _udf
from sparkext.model import ExternalModel

if TYPE_CHECKING:
    from typing import Self

    from pyspark.sql import DataFrame
    from vonk.spark import TextUDF

    from sparkext.huggingface._persist import TextStageReader, TextStageWriter


class _Shared:
    """What a stage and its copies have in common: the function that was made last, and for which parameters."""

    def __init__(self) -> None:
        self.key: Hashable = None
        self.function: TextUDF | None = None


class _TextStage(ExternalModel, MLReadable[Any], MLWritable):
    """A stage over one of the functions."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self._arguments = arguments
        self._shared = _Shared()

    def _make(self, **arguments: Any) -> TextUDF:
        raise NotImplementedError

    def _chosen(self) -> dict[str, Any]:
        """Arguments that parameters say."""
        return {"batch_size": self.getBatchSize()}

    def _function(self) -> TextUDF:
        """The one for the parameters as they are."""
        chosen = self._chosen()
        key = repr(sorted(chosen.items()))
        if self._arguments.get("model") is None and self._arguments.get("model_loader") is None:
            name = type(self).__name__
            raise vonk.InvalidError(f"model: the stage has none: make it with one, {name}('folder')")
        if self._shared.function is None or self._shared.key != key:
            self._shared.function = self._make(**{**self._arguments, **chosen})
            self._shared.key = key
        return self._shared.function

    def _transform(self, dataset: DataFrame) -> DataFrame:
        names = self._input_names()
        function = self._function()
        function.check(dataset, *names)
        return dataset.withColumn(self.getOutputCol(), F.explode(F.array(function(*names))))

    def write(self) -> TextStageWriter:
        """What saves the stage with its model: ``write().overwrite().save(path)``."""
        from sparkext.huggingface._persist import TextStageWriter  # noqa: PLC0415 - needed for this alone

        return TextStageWriter(self)

    @classmethod
    def read(cls) -> TextStageReader:
        """What loads a saved stage: ``read().load(path)``."""
        from sparkext.huggingface._persist import TextStageReader  # noqa: PLC0415 - needed for this alone

        return TextStageReader(cls)

    def _input_names(self) -> list[str]:
        if self.isSet(self.inputCol):
            return [self.getInputCol()]
        if self.isSet(self.inputCols):
            return list(self.getInputCols())
        raise ValueError("Please set input column(s): setInputCol('text')")


class TokenizerParams(Params):
    """Parameters of models that write text."""

    max_target_length: Param[int] = Param(
        Params._dummy(),
        "max_target_length",
        "tokens to write, unless an argument of generate says.",
        TypeConverters.toInt,
    )
    padding: Param[str] = Param(Params._dummy(), "padding", "of the tokenizer.", TypeConverters.toString)
    return_tensors: Param[str] = Param(Params._dummy(), "return_tensors", "'pt'.", TypeConverters.toString)
    skip_special_tokens: Param[bool] = Param(
        Params._dummy(), "skip_special_tokens", "leave tokens such as </s> out.", TypeConverters.toBoolean
    )
    truncation: Param[bool] = Param(Params._dummy(), "truncation", "shorten long texts.", TypeConverters.toBoolean)

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            max_target_length=_udf.MAX_TARGET_LENGTH, padding="longest", return_tensors="pt", skip_special_tokens=True,
            truncation=True,
        )  # fmt: skip

    def setMaxTargetLength(self, value: int) -> Self:
        """Sets :attr:`max_target_length`."""
        return self._set(max_target_length=value)

    def setPadding(self, value: str) -> Self:
        """Sets :attr:`padding`."""
        return self._set(padding=value)

    def setSkipSpecialTokens(self, value: bool) -> Self:
        """Sets :attr:`skip_special_tokens`."""
        return self._set(skip_special_tokens=value)

    def setTruncation(self, value: bool) -> Self:
        """Sets :attr:`truncation`."""
        return self._set(truncation=value)


_TOKENIZER = ("max_target_length", "padding", "return_tensors", "skip_special_tokens", "truncation")


class Model(_TextStage, TokenizerParams):
    """A model that writes text as a stage: ``Model(model, tokenizer).setInputCol("text").setOutputCol("german")``.

    Parameters
    ----------
    model, tokenizer, model_loader, return_type, **kwargs
        As for :func:`model_udf`. Those of :class:`TokenizerParams` are parameters of the stage, too.
    """

    def __init__(
        self,
        model: Any = None,
        tokenizer: Any = None,
        model_loader: Callable[[Any], Any] | None = None,
        return_type: str = "string",
        **kwargs: Any,
    ) -> None:
        params = {name: kwargs.pop(name) for name in _TOKENIZER if name in kwargs}
        batch_size = kwargs.pop("batch_size", -1)
        super().__init__(model=model, tokenizer=tokenizer, model_loader=model_loader, return_type=return_type, **kwargs)
        self._set(**params)
        self.setBatchSize(batch_size)

    def _chosen(self) -> dict[str, Any]:
        return {**super()._chosen(), **{name: self.getOrDefault(name) for name in _TOKENIZER}}

    def _make(self, **arguments: Any) -> TextUDF:
        return _udf.model_udf(**arguments)


class PipelineModel(_TextStage):
    """A pipeline as a stage.

    Parameters
    ----------
    model, model_loader, return_type, **kwargs
        As for :func:`pipeline_udf`.
    """

    def __init__(
        self,
        model: Any = None,
        model_loader: Callable[[Any], Any] | None = None,
        return_type: str | None = "string",
        **kwargs: Any,
    ) -> None:
        batch_size = kwargs.pop("batch_size", -1)
        super().__init__(model=model, model_loader=model_loader, return_type=return_type, **kwargs)
        self.setBatchSize(batch_size)

    def _make(self, **arguments: Any) -> TextUDF:
        return _udf.pipeline_udf(**arguments)


class SentenceTransformerModel(_TextStage):
    """A sentence encoder as a stage.

    Parameters
    ----------
    model, model_loader, return_type, **kwargs
        As for :func:`sentence_transformer_udf`.
    """

    def __init__(
        self,
        model: Any = None,
        model_loader: Callable[[Any], Any] | None = None,
        return_type: str = "array<float>",
        **kwargs: Any,
    ) -> None:
        batch_size = kwargs.pop("batch_size", -1)
        super().__init__(model=model, model_loader=model_loader, return_type=return_type, **kwargs)
        self.setBatchSize(batch_size)

    def _make(self, **arguments: Any) -> TextUDF:
        return _udf.sentence_transformer_udf(**arguments)


# A saved stage names its class: by this name it can be loaded, whichever file it is in.
Model.__module__ = PipelineModel.__module__ = SentenceTransformerModel.__module__ = "sparkext.huggingface"
