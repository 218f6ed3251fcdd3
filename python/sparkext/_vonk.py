"""What the frameworks' modules are made of: a function, a stage and a summary, all over ``vonk.spark``.

How it works: a framework's module says how its models are prepared (:class:`Framework`); everything else is the same.
Preparing turns what users give into what ``vonk.spark`` takes: mostly nothing is to be done.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import vonk
import vonk.spark
from pyspark.sql.types import _parse_datatype_string
from vonk.spark import _session
from vonk.spark._advice import advise
from vonk.spark._ml import Given as VonkGiven
from vonk.spark._ml import Model as VonkModel
from vonk.spark._shipment import Shipment, ship
from vonk.spark._spec import Binding, make_binding, make_options
from vonk.spark._udf import ModelUDF, make_udf

from sparkext._given import Given
from sparkext.framework import Model, ModelSummary, Plugin, TensorSummary
from sparkext.model import ExternalModel
from sparkext.util import chosen, needs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType

#: Keywords that say how columns meet the model.
_BINDING = ("outputs", "nulls", "on_error", "as_", "squeeze")
#: Keywords and the parameters of a stage that they set.
_PARAMS = {
    "outputs": "outputs", "nulls": "nulls", "on_error": "onError", "as_": "outputAs", "squeeze": "squeeze",
    "return_type": "returnType",
}  # fmt: skip


@dataclass(frozen=True)
class Framework:
    """A deep-learning framework.

    Attributes
    ----------
    module
        Of ours: ``"sparkext.torch"``.
    package
        Of the framework: ``"torch"``.
    prepare
        Makes what ``vonk.spark`` takes of what the user gave.
    """

    module: str
    package: str
    prepare: Callable[[Given], Given] = lambda given: given

    def ready(self, given: Given) -> Given:
        """What ``vonk.spark`` takes. A loader is called with the model, as of old, also where that is None."""
        loader = given.loader
        if loader is not None and given.model is None and _takes_one(loader):
            loader = partial(loader, None)
        return self.prepare(replace(given, loader=loader))

    def ship(self, spark: SparkSession, given: Given, options: Mapping[str, Any]) -> Shipment:
        """The model on its way to the workers.

        Raises
        ------
        vonk.Error
            It cannot be opened, or packed.
        ImportError
            The framework is not installed, and needed.
        """
        with needs(self.package, self.module):
            ready = self.ready(given)
            return ship(spark, ready.model, make_options(options), loader=ready.loader, pack=ready.pack)

    def udf(self, given: Given, batch_size: int, keywords: Mapping[str, Any]) -> ModelUDF:
        """A model as a function of columns."""
        known = chosen(keywords, f"{self.module}.model_udf")
        given = _said(given, known)
        session = known.pop("spark", None) or _session.active()
        declared = known.pop("return_type", None)
        choices = {name: known.pop(name) for name in _BINDING if name in known}
        if not isinstance(batch_size, int | None):
            raise vonk.InvalidError(f"batch_size: is {batch_size!r}: give a number of rows; below 1, vonk chooses")
        columns = [given.columns] if isinstance(given.columns, str) else given.columns
        binding = make_binding(columns, choices.pop("outputs", None), batch=max(0, batch_size or 0) or None, **choices)
        shipment = self.ship(session, given, known)
        advise(session, stacklevel=4)
        kind = _parse_datatype_string(declared) if isinstance(declared, str) else declared
        with needs(self.package, self.module):
            return make_udf(session, shipment, replace(binding, by_position=columns is not None), kind)

    def summary(self, given: Given, keywords: Mapping[str, Any]) -> ModelSummary:
        """What a model is."""
        known = chosen(keywords, f"{self.module}.model_summary")
        said = _said(given, known)
        options = {name: value for name, value in known.items() if name not in (*_BINDING, "return_type")}
        with needs(self.package, self.module):
            ready = self.ready(said)
            found = vonk.spark.model_summary(ready.model, model_loader=ready.loader, pack=ready.pack, **options)
        if isinstance(found, vonk.spark.TextSummary):
            raise vonk.UnsupportedError(
                f"model '{found.title}': is one of Hugging Face's: use sparkext.huggingface.model_summary",
                "VONK_UNSUPPORTED",
            )
        return _in_short(found)


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    return True


def _said(given: Given, keywords: dict[str, Any]) -> Given:
    """With what keywords say of how to read the model; they are taken out."""
    shape = keywords.pop("input_shape", None)
    pack = dict(keywords.pop("pack", None) or {})
    if keywords.pop("trust", False):
        pack["trust"] = True
    return replace(given, pack=pack or None, shape=shape)


def _in_short(found: vonk.spark.ModelSummary) -> ModelSummary:
    returns = found.return_type
    kinds = [returns] if len(found.outputs) == 1 else [field.dataType for field in returns]
    inputs = [
        _tensor(tensor, _whole(tensor, one.types)) for tensor, one in zip(found.inputs, found.columns, strict=True)
    ]
    outputs = [_tensor(tensor, kind) for tensor, kind in zip(found.outputs, kinds, strict=True)]
    return ModelSummary(found.num_params, inputs, outputs, found.ddl())


def _whole(tensor: vonk.Tensor, kinds: Sequence[DataType]) -> DataType:
    """The first type that has a level for each dimension: a single value may stand for an array of one."""
    levels = len(tensor.shape or (0,)) - 1
    return next((kind for kind in kinds if kind.simpleString().count("array<") == levels), kinds[0])


def _tensor(tensor: vonk.Tensor, kind: DataType) -> TensorSummary:
    shape = None if tensor.shape is None else [dim if isinstance(dim, int) else -1 for dim in tensor.shape]
    return TensorSummary(shape, kind.simpleString(), tensor.name)


class _Prepared(VonkGiven):
    """What a stage and its copies predict with, for each thing that they say of the inputs."""

    def __init__(self, said: Given) -> None:
        super().__init__(said.model, said.loader, said.pack)
        self._said = said
        self._ready: dict[str, VonkGiven] = {}

    def ready(self, framework: Framework, shape: Sequence[Any] | None, columns: Sequence[str] | None) -> VonkGiven:
        key = repr((shape, columns))
        if key not in self._ready:
            ready = framework.ready(replace(self._said, shape=shape, columns=columns))
            self._ready[key] = VonkGiven(ready.model, ready.loader, ready.pack)
        return self._ready[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return _Prepared, (self._said,)


class FrameworkModel(VonkModel, ExternalModel):
    """A model of some framework as a stage of Spark ML. A framework's own class says which."""

    _framework: Framework

    def __init__(
        self,
        model: Any = None,
        model_loader: Callable[[Any], Any] | None = None,
        input_columns: Sequence[str] | None = None,
        batch_size: int = -1,
        **kwargs: Any,
    ) -> None:
        known = chosen(kwargs, f"{self._framework.module}.Model")
        known.pop("spark", None)
        said = _said(Given(model, model_loader), known)
        named = {_PARAMS[name]: known.pop(name) for name in _PARAMS if name in known}
        super().__init__(model, model_loader=model_loader, options=known or None, **named)
        self._given = _Prepared(said)
        self._setDefault(batchSize=-1)
        self.setParams(inputColumns=input_columns, inputShape=said.shape)
        if batch_size != -1:
            self.setBatchSize(batch_size)

    def _ship(self, spark: SparkSession) -> Shipment:
        given = self._given
        if not isinstance(given, _Prepared) and given.loader is not None:  # a stage that was loaded
            given = self._given = _Prepared(Given(given.model, given.loader, given.pack))
        with needs(self._framework.package, self._framework.module):
            if isinstance(given, _Prepared):  # else it is the one file that was saved
                columns = self.getInputCols() if self.isSet(self.inputCols) else None
                given = given.ready(self._framework, self.getInputShape(), self.getInputColumns() or columns)
            return given.ship(spark, make_options(self.getOptions()))

    def _named_binding(self) -> Binding:
        binding = super()._named_binding()
        names = self.getInputColumns()
        if names is None:
            return binding
        if len(names) != len(binding.columns):
            raise vonk.InvalidError(
                f"inputColumns: names {len(names)} inputs ({', '.join(names)}), there are {len(binding.columns)} input"
                f" columns ({', '.join(binding.columns)}): name one for each"
            )
        return replace(binding, columns=tuple(names))


class ModulePlugin(Plugin):
    """The plug-in of a module with the three functions."""

    def __init__(self, module: Any) -> None:
        self._module = module
        vars(self)["model_udf"] = module.model_udf  # itself: a warning names the line of whoever calls it

    def model_summary(self, model: Any, **kwargs: Any) -> ModelSummary:
        """What a model is."""
        found: ModelSummary = self._module.model_summary(model, **kwargs)
        return found

    def model_udf(
        self,
        model: Any,
        model_loader: Callable[[Any], Any] | None = None,
        input_columns: Sequence[str] | None = None,
        batch_size: int = -1,
        **kwargs: Any,
    ) -> ModelUDF:
        """A model as a function of columns."""
        made: ModelUDF = self._module.model_udf(model, model_loader, input_columns, batch_size, **kwargs)
        return made

    def model(
        self,
        model: Any,
        model_loader: Callable[[Any], Any] | None = None,
        input_columns: Sequence[str] | None = None,
        batch_size: int = -1,
        **kwargs: Any,
    ) -> Model:
        """A model as a stage of Spark ML."""
        made: Model = self._module.Model(model, model_loader, input_columns, batch_size, **kwargs)
        return made
