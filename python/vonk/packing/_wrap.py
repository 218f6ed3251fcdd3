"""A model as one file, as it is: no conversion, no framework, no self-test.

How it works: what the plug-in says of the model is the manifest, so that the bundle has the model's own names, and its
files are stored beside it. Equal content and options give equal bytes: there is no date in it. This is how engines
bring a folder, or a file with others beside it, to machines that see one file.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vonk
from vonk.packing import _bundle, _manifest, onnx, tensorflow

#: Options of whoever opens a bundle; the others say what the model is, and stand in its manifest.
_OF_OPENING = (
    "device", "plugin", "threads_per_run", "threads", "batch", "allow_native_code", "graph_optimization",
    "shared_weights",
)  # fmt: skip


def wrap(source: str | os.PathLike[str], target: str | os.PathLike[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a bundle of a model that is several files; of one that is a single file nothing is written.

    Parameters
    ----------
    source
        What ``vonk.open`` takes.
    target
        ``NAME.vonk``; an existing one is replaced.
    options
        As for ``vonk.open``.

    Returns
    -------
    dict
        The options that are left for who opens the bundle; the manifest has the others. Of a single file, all.

    Raises
    ------
    vonk.Error
        The model cannot be opened, or the bundle cannot be written.
    """
    path, target = Path(source), Path(target)
    if path.name == "saved_model.pb":
        path = path.parent
    if (path / _bundle.MANIFEST).is_file():
        _zip_folder(path, target, options)
        return dict(options)
    with vonk.open(path, **options) as model, tempfile.TemporaryDirectory(prefix="vonk-wrap-") as work:
        summary = model.summary()
        parts = _parts(path, summary.format, Path(work))
        if parts is None:
            return dict(options)
        content = _bundle.collect({f"model/{name}": file for name, file in parts.items()})
        main = "model" if path.is_dir() else f"model/{next(iter(parts))}"
        form = _form(summary, main, path.name, model.sha256, options)
        _write(target, content, {**form, "files": content.files()})
    return {key: value for key, value in options.items() if key in _OF_OPENING}


def _parts(path: Path, format_: str, work: Path) -> dict[str, Path] | None:
    """The model's files by their names in it, the one that is opened first; None if that is the only one."""
    if format_ == "onnx" and path.is_file():
        found = onnx.files_of(path, format_)
        return found if len(found) > 1 else None
    if format_ == "checkpoint":
        main = tensorflow.keep_checkpoint(path, work / "model")
        return {main.name: main} | {file.name: file for file in sorted(main.parent.iterdir())}
    if path.is_file():
        return None
    top = tensorflow.keep_folder(path, work / "model") if format_ == "savedmodel" else path
    return {file.relative_to(top).as_posix(): file for file in sorted(top.rglob("*")) if file.is_file()}


def _form(summary: vonk.Summary, path: str, name: str, digest: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest but its files."""
    said = {key: _text(value) for key, value in options.items() if key not in _OF_OPENING}
    entry = {"format": summary.format, "plugin": summary.plugin, "path": path}
    framework = {"framework": summary.producer} if summary.producer else {}
    return {
        "vonk_bundle": _manifest.VERSION,
        "name": name,
        "model": entry | ({"options": dict(sorted(said.items()))} if said else {}),
        "inputs": [_port(tensor) for tensor in summary.inputs],
        "outputs": [_port(tensor) for tensor in summary.outputs],
        "provenance": {
            "source": name,
            "source_sha256": digest,
            **framework,
            "packed_by": f"vonk {vonk.__version__}",
        },
    }


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _port(tensor: vonk.Tensor) -> dict[str, Any]:
    form: dict[str, Any] = {"name": tensor.name, "tensor": tensor.name, "dtype": tensor.dtype, "shape": None}
    if tensor.shape is not None:
        form["shape"] = [dim if isinstance(dim, int) else -1 for dim in tensor.shape]
        names = [dim if isinstance(dim, str) else None for dim in tensor.shape]
        if any(names):
            form["dim_names"] = names
    return form


def _zip_folder(folder: Path, target: Path, options: Mapping[str, Any]) -> None:
    """A bundle that is a folder, as a zip file: the same manifest, the same files."""
    with vonk.open(folder, **options):  # it checks all of them, and where links lead to
        form = json.loads((folder / _bundle.MANIFEST).read_bytes())
        content = _bundle.collect({name: folder / name for name in form["files"]})
        _write(target, content, form)


def _write(target: Path, content: _bundle.Content, form: Mapping[str, Any]) -> None:
    with _bundle.draft(target, content, lambda _: form, is_folder=False) as draft:
        draft.finish()
