"""vonk: trained deep-learning models as columns of predictions.

>>> import vonk, numpy
>>> model = vonk.open("examples/iris/iris.onnx")
>>> model
<vonk.Model 'iris.onnx': measurements float32[N, 4] -> probabilities float32[N, 3], species string[N]>
>>> model.predict(numpy.array([[6.7, 3.0, 5.2, 2.3]], dtype="float32"))["species"]
array(['virginica'], dtype=object)

Rows come from pyarrow, polars, pandas, DuckDB, NumPy or anything else that speaks the Arrow PyCapsule protocol;
predictions come back in the same kind. The data path is in C; none of these libraries is a dependency.
"""

from typing import TYPE_CHECKING, Any

try:
    from vonk._core import VERSION as _LIBRARY_VERSION
except ImportError as error:
    raise ImportError(
        f"{error}: vonk is not fully installed: install its wheel into a virtual environment "
        "(a source tree holds no libraries, and pip's --target leaves them out)",
        name=error.name,
        path=error.path,
    ) from error

from vonk._errors import (
    BackendError,
    CancelledError,
    DeviceError,
    Error,
    FileError,
    ForkedError,
    InvalidError,
    ModelError,
    OutOfMemoryError,
    PluginError,
    UnsupportedError,
)
from vonk._model import Model, open
from vonk._paths import Installation, installation
from vonk._predictor import Predictor
from vonk._process import Plugin, get_threads, plugins, set_log, set_model_memory, set_threads
from vonk._stats import Stats
from vonk._summary import Bundle, Summary, Tensor
from vonk._table import PredictionStream, Table

if TYPE_CHECKING:
    from vonk.packing import PackError, Report, pack

__version__ = "0.1.0"
if __version__ != _LIBRARY_VERSION:
    raise ImportError(f"vonk: this is {__version__}, but libvonk.so is {_LIBRARY_VERSION}: install the wheel again")
__all__ = [
    "BackendError",
    "Bundle",
    "CancelledError",
    "DeviceError",
    "Error",
    "FileError",
    "ForkedError",
    "Installation",
    "InvalidError",
    "Model",
    "ModelError",
    "OutOfMemoryError",
    "PackError",
    "Plugin",
    "PluginError",
    "PredictionStream",
    "Predictor",
    "Report",
    "Stats",
    "Summary",
    "Table",
    "Tensor",
    "UnsupportedError",
    "__version__",
    "get_threads",
    "installation",
    "open",
    "pack",
    "plugins",
    "set_log",
    "set_model_memory",
    "set_threads",
]

#: Of packing, which needs NumPy and is imported when it is first asked for.
_PACKING = ("PackError", "Report", "pack")


def __getattr__(name: str) -> Any:
    if name not in _PACKING:
        raise AttributeError(f"module 'vonk' has no attribute '{name}'")
    from vonk import packing  # noqa: PLC0415 - on first use

    for known in _PACKING:
        globals()[known] = getattr(packing, known)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_PACKING})
