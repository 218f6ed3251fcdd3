"""manifest.json and the small files of a bundle: labels and self-test. docs/bundle.md describes them."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from vonk.packing._plan import Array, PackError, Port
from vonk.packing._samples import Samples
from vonk.packing._spec import FLOATS

VERSION = 1
MAX_BYTES = 4 << 20
_SELFTEST_ROWS = 4
_MAX_LABEL_BYTES = 16 << 20  # all of them
#: A list of numbers over several lines; inside a text there is no bare line break.
_SCALARS = re.compile(r"\[\n\s*((?:[-+0-9.eE]+|null)(?:,\n\s*(?:[-+0-9.eE]+|null))*)\n\s*\]")
_SELFTEST_BYTES = 1 << 20
_epoch: ContextVar[str | None] = ContextVar("epoch", default=None)


@dataclass(frozen=True)
class Labels:
    """The classes of an output's last dimension."""

    output: str
    file: str
    texts: tuple[str, ...]

    def content(self) -> bytes:
        return "".join(f"{text}\n" for text in self.texts).encode()


# --- labels ---


def read_labels(given: Any, ports: Sequence[Port]) -> list[Labels]:
    """Labels as users give them: a file, a list of texts, or a mapping of either by output."""
    if given is None:
        return []
    by_output = dict(given) if isinstance(given, Mapping) else {None: given}
    found = []
    for i, (name, source) in enumerate(by_output.items()):
        texts = _label_texts(source)
        port = _labelled(name, len(texts), ports)
        found.append(Labels(port.name, "labels.txt" if i == 0 else f"labels-{i + 1}.txt", texts))
    return found


def _label_texts(source: Any) -> tuple[str, ...]:
    if not isinstance(source, str | os.PathLike):
        texts = [str(text) for text in source]
        what = "--labels"
    else:
        what = f"--labels: {os.fspath(source)}"
        try:
            if (size := Path(source).stat().st_size) > _MAX_LABEL_BYTES:
                raise PackError(f"{what}: has {size:,} bytes: labels have at most {_MAX_LABEL_BYTES:,}", "VONK_INVALID")
            texts = Path(source).read_text("utf-8-sig").splitlines()
        except OSError as error:
            raise PackError(f"{what}: {error.strerror}", "VONK_IO") from None
        except UnicodeDecodeError:
            raise PackError(f"{what}: is not text in UTF-8: one class a line", "VONK_INVALID") from None
    for i, text in enumerate(texts):
        if not text.strip() or len(text.splitlines()) != 1 or "\0" in text:
            raise PackError(f"{what}: line {i + 1}: {text!r} is no label: one class a line", "VONK_INVALID")
    if not texts:
        raise PackError(f"{what}: has no label: one class a line", "VONK_INVALID")
    return tuple(texts)


def _labelled(name: str | None, n: int, ports: Sequence[Port]) -> Port:
    if name is not None:
        for port in ports:
            if port.name == name:
                if port.shape[-1] != n:
                    raise PackError(
                        f"--labels: {n} labels for the last dimension of '{name}', which is {port.shape[-1]}",
                        "VONK_INVALID",
                    )
                return port
        known = ", ".join(port.name for port in ports)
        raise PackError(f"--labels: '{name}' is no output: {known}", "VONK_INVALID")
    fitting = [port for port in ports if port.dtype in FLOATS and len(port.shape) >= 2 and port.shape[-1] == n]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        known = ", ".join(f"{port.name} {port.dtype}{list(port.shape)}" for port in ports)
        raise PackError(f"--labels: {n} labels fit no output's last dimension: {known}", "VONK_INVALID")
    names = ", ".join(port.name for port in fitting)
    raise PackError(f"--labels: which output? {names}: write --labels NAME=FILE", "VONK_INVALID")


# --- the self-test ---


def selftest(
    samples: Samples, inputs: Sequence[Port], outputs: Sequence[Port], tolerance: float
) -> tuple[dict[str, Any] | None, dict[str, bytes]]:
    """The manifest's entry and the files it names; None if even one row would be large, or is no text."""
    rows = min(_SELFTEST_ROWS, samples.rows)
    while rows > 0:
        files: dict[str, bytes] = {}
        try:
            sides = [
                {port.name: _tensor(port, values[port.name][:rows], files) for port in ports}
                for ports, values in ((inputs, samples.inputs), (outputs, samples.outputs))
            ]
        except UnicodeDecodeError:
            return None, {}
        texts = len(json.dumps(sides))
        if texts + sum(map(len, files.values())) <= _SELFTEST_BYTES:
            return {"rows": rows, "tolerance": tolerance, "inputs": sides[0], "outputs": sides[1]}, files
        rows //= 2
    return None, {}


def _tensor(port: Port, values: Array, files: dict[str, bytes]) -> dict[str, Any]:
    shape = list(values.shape)
    if port.dtype == "string":
        texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values.reshape(-1).tolist()]
        return {"shape": shape, "values": texts}
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", port.name)[:60].strip("_") or "tensor"
    name, i = f"selftest/{stem}.bin", 1
    while name in files:
        i += 1
        name = f"selftest/{stem}-{i}.bin"
    files[name] = _little_endian(port, values)
    return {"shape": shape, "file": name}


def _little_endian(port: Port, values: Array) -> bytes:
    if port.dtype == "bfloat16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        return (bits >> 16).astype("<u2").tobytes()
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()


# --- the manifest ---


def ports(side: Iterable[Port], labels: Iterable[Labels] = ()) -> list[dict[str, Any]]:
    files = {label.output: label.file for label in labels}
    forms = []
    for port in side:
        form: dict[str, Any] = {
            "name": port.name,
            "tensor": port.tensor or port.name,
            "dtype": port.dtype,
            "shape": list(port.shape),
        }
        if any(port.dim_names):
            form["dim_names"] = list(port.dim_names)
        if port.name in files:
            form["labels"] = files[port.name]
        forms.append(form)
    return forms


def rename(outputs: Sequence[Port], renames: Mapping[str, str]) -> list[Port]:
    """``--output``: the new names, each tensor staying what it is."""
    known = {port.name for port in outputs}
    for old in renames:
        if old not in known:
            raise PackError(f"--output: '{old}' is no output: {', '.join(sorted(known))}", "VONK_INVALID")
    return [replace(port, name=renames.get(port.name, port.name), tensor=port.tensor or port.name) for port in outputs]


@contextlib.contextmanager
def dated(epoch: int) -> Iterator[None]:
    """Bundles of this thread are from that second, for equal bytes from equal input."""
    token = _epoch.set(str(epoch))
    try:
        yield
    finally:
        _epoch.reset(token)


def created() -> str:
    """Now, or the time that SOURCE_DATE_EPOCH says, for equal bytes from equal input."""
    epoch = _epoch.get() or os.environ.get("SOURCE_DATE_EPOCH")
    try:
        when = datetime.now(timezone.utc) if epoch is None else datetime.fromtimestamp(int(epoch), timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise PackError(f"SOURCE_DATE_EPOCH: '{epoch}' is no number of seconds", "VONK_INVALID") from None
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def encode(manifest: Mapping[str, Any]) -> bytes:
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    text = _SCALARS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)  # shapes on one line
    content = text.encode() + b"\n"
    if len(content) > MAX_BYTES:
        raise PackError(f"the manifest would be {len(content):,} bytes: at most {MAX_BYTES:,}: fewer or shorter names?")
    return content
