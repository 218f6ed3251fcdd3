"""TensorFlow models are kept as they are: SavedModels, checkpoints with their .meta, frozen graphs.

How it works: the plug-in opens the source first. It refuses graphs that run Python or touch files, and says which
inputs and outputs there are. Only then TensorFlow's own loader sees the model, for the original's predictions; a
graph is fed by the plug-in's names, which are nodes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from vonk.packing import _opened
from vonk.packing._plan import Array, Conversion, PackError, Port, Request

#: What of a SavedModel's folder belongs to the model; fingerprint.pb is made anew each time and nobody reads it.
_PARTS = ("saved_model.pb", "variables", "assets", "assets.extra")


def convert(request: Request, folder: Path) -> Conversion:
    """A Conversion of a SavedModel's folder, a frozen graph or a .meta file."""
    source = Path(request.source)
    if source.name == "saved_model.pb":
        source = source.parent
    kind = "savedmodel" if source.is_dir() else "metagraph" if source.suffix == ".meta" else "graphdef"
    if request.to not in (None, kind, "savedmodel" if kind == "savedmodel" else kind):
        raise PackError(f"--to {request.to}: {source}: a TensorFlow model is kept as it is, {kind}", "VONK_INVALID")
    return _savedmodel(request, source, folder)


def _savedmodel(request: Request, source: Path, folder: Path) -> Conversion:
    options = {"signature": request.signature} if request.signature else {}
    if request.inputs:
        options["inputs"] = _opened.describe(request.inputs)
    inputs, outputs = _opened.ports(source, **options)
    model = folder / "model"
    copy_savedmodel(source, model)
    return Conversion(
        format="savedmodel", plugin="tensorflow", model=model, inputs=inputs, outputs=outputs, options=options,
        reference=_signature(source, request.signature or "serving_default", inputs),
        provenance={"source": source.name, "source_sha256": "", "framework": _version()},
    )  # fmt: skip


def copy_savedmodel(source: Path, model: Path) -> None:
    """Links to the model's files, none of which may lie outside its folder."""
    real = Path(os.path.realpath(source / "saved_model.pb")).parent
    model.mkdir()
    for part in _PARTS:
        for path in [source / part, *sorted((source / part).rglob("*"))]:
            if path.is_file():
                place = model / path.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                found = Path(os.path.realpath(path))
                if not (found.is_relative_to(real) or found.is_relative_to(os.path.realpath(source))):
                    raise PackError(f"{path}: is a link that leaves the model's folder: {found}")
                place.symlink_to(found)


def _version() -> str:
    import tensorflow as tf  # noqa: PLC0415

    return f"tensorflow {tf.__version__}"


def _signature(source: Path, key: str, inputs: list[Port]) -> Callable[[Mapping[str, Array]], Mapping[str, Array]]:
    import tensorflow as tf  # noqa: PLC0415 - takes seconds

    loaded = tf.saved_model.load(os.fspath(source))
    run = loaded.signatures[key]

    def reference(values: Mapping[str, Array]) -> Mapping[str, Array]:
        tensors = {name: tf.constant(array) for name, array in values.items()}
        return {name: value.numpy() for name, value in run(**tensors).items()}

    reference.keep = loaded  # type: ignore[attr-defined]
    return reference
