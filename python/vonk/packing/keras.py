"""Keras models: live objects, .keras files, whole models in .h5 files.

How it works: the model is called with flat, named tensors and traced into one function, which is saved as a
SavedModel with nothing else in it: no optimizer, no second signature. That is exact, and keeps what only TensorFlow
has: strings, lookup tables, text vectorization. ``--to onnx`` gives the same function to tf2onnx.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from vonk.packing import _opened, keras_config
from vonk.packing._plan import Conversion, PackError, Request

_TARGETS = ("savedmodel", "onnx")


def convert(request: Request, folder: Path) -> Conversion:
    """A Conversion of a Keras model.

    Raises
    ------
    PackError
        It is refused, or Keras cannot load or trace it.
    """
    if request.to not in (None, *_TARGETS):
        raise PackError(f"--to {request.to}: a Keras model becomes one of {', '.join(_TARGETS)}", "VONK_INVALID")
    if request.signature is not None:
        raise PackError("--signature: is for SavedModels: a Keras model has one", "VONK_INVALID")
    _need_tensorflow_backend()
    is_path = isinstance(request.source, Path)
    model = _load(request, folder) if is_path else request.source
    from vonk.packing import keras_trace  # noqa: PLC0415 - imports TensorFlow

    keras_trace.check_model(model)
    traced = keras_trace.trace(model, request)
    notes = [*traced.called.notes]
    if request.to == "onnx":
        path, inputs, outputs, converter = keras_trace.save_onnx(traced, folder / "model")
        format_, plugin = "onnx", "onnx"
    else:
        path, inputs, outputs, converter = keras_trace.save_savedmodel(traced, folder / "model")
        format_, plugin = "savedmodel", "tensorflow"
    return Conversion(
        format=format_, plugin=plugin, model=path, inputs=inputs, outputs=outputs,
        reference=keras_trace.reference(traced),
        provenance={**_source(request.source), "framework": keras_trace.framework(), "converter": converter},
        notes=notes,
    )  # fmt: skip


def _need_tensorflow_backend() -> None:
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    for module in ("tensorflow", "keras"):
        _opened.need(module, "tensorflow", "a Keras model")
    import keras  # noqa: PLC0415

    if keras.backend.backend() != "tensorflow":
        raise PackError(
            f"Keras runs on {keras.backend.backend()} in this process, and only TensorFlow can write the model: save "
            "it, model.save('NAME.keras'), and pack that file with 'vonk pack'"
        )


def _load(request: Request, folder: Path) -> Any:
    import keras  # noqa: PLC0415

    path = Path(request.source)
    request.progress("loading the Keras model")
    if not request.trust:
        keras_config.check(path)
    with path.open("rb") as file:
        ending = ".keras" if file.read(2) == b"PK" else ".h5"
    if path.suffix.lower() != ending:  # Keras goes by the ending
        named = folder / f"source{ending}"
        named.symlink_to(path.resolve())
        path = named
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not request.trust)
    except Exception as error:
        raise PackError(f"{request.source}: Keras cannot load it: {_first_line(error)}") from error


def _source(source: Any) -> dict[str, str]:
    if not isinstance(source, Path):
        return {"source": f"{type(source).__module__}.{type(source).__qualname__}"}
    return {"source": source.name}


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
