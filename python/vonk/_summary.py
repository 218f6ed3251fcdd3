"""What a model says about itself."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """One input or output of a model.

    Attributes
    ----------
    name
        As the model file has it.
    dtype
        ``"float32"``, ``"int64"``, ``"string"``, ...
    shape
        Dimensions, the first of which counts rows: a number, the name of a free dimension, or None for a free one
        without a name. None when the model does not say.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    @property
    def type(self) -> str:
        """``float32[N, 784]``."""
        if self.shape is None:
            return f"{self.dtype} of any shape"
        dims = ", ".join("?" if dim is None else str(dim) for dim in self.shape)
        return f"{self.dtype}[{dims}]" if self.shape else self.dtype

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


def _bytes(n: int) -> str:
    value, unit = float(n), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 99.95 else f"{value:.1f} {unit}"


@dataclass(frozen=True)
class Bundle:
    """What a bundle says besides the model in it; docs/bundle.md describes the format.

    Attributes
    ----------
    name, description, licence
        Texts; None where it does not say. The licence is an SPDX identifier, or a text.
    provenance
        Where the model came from: ``"source"``, ``"framework"``, ``"converter"``, ``"created"``, ...
    labels
        Of the classes of its labelled output, the ones that ``as_="label"`` gives; empty if it has none.
    steps
        Preprocessing, in order, one readable line each. They are part of every prediction.
    selftest_rows, selftest_tolerance
        What :meth:`Model.selftest` compares; 0 rows if there is no self-test.
    """

    name: str | None
    description: str | None
    licence: str | None
    provenance: Mapping[str, str]
    labels: tuple[str, ...]
    steps: tuple[str, ...]
    selftest_rows: int
    selftest_tolerance: float

    def _rows(self) -> list[tuple[str, str]]:
        texts = (("name", self.name), ("about", self.description), ("licence", self.licence))
        rows = [(title, text) for title, text in texts if text is not None]
        if self.labels:
            few = ", ".join(self.labels[:5]) + (", ..." if len(self.labels) > 5 else "")
            rows.append(("labels", f"{len(self.labels):,}: {few}"))
        rows += [("" if i else "steps", step) for i, step in enumerate(self.steps)]
        if self.selftest_rows:
            n = self.selftest_rows
            rows.append(("self-test", f"{n:,} row{'s' if n > 1 else ''}, tolerance {self.selftest_tolerance:g}"))
        rows += [("" if i else "origin", f"{key}: {value}") for i, (key, value) in enumerate(self.provenance.items())]
        return rows


@dataclass(frozen=True, repr=False)
class Summary:
    """What a model is and who runs it; shown as ``vonk inspect`` shows it, and as a table in a notebook.

    Attributes
    ----------
    path
        Of the model file, absolute, links resolved.
    format, producer
        ``"onnx"``; what wrote the file, None when it does not say.
    plugin, runtime_version, runtime_path
        The plug-in that opened the model, and the framework library that it loaded.
    device
        ``"cpu"``, ``"cuda:0"``.
    parameters, weight_bytes
        Trained numbers and their size; None when the format does not say.
    file_bytes
        Size of the file; 0 for a folder.
    inputs, outputs
        The signature.
    metadata
        What the author wrote into the file.
    bundle
        What the bundle says, None for a model file of its own.
    """

    path: str
    format: str
    producer: str | None
    plugin: str
    runtime_version: str
    runtime_path: str
    device: str
    parameters: int | None
    weight_bytes: int | None
    file_bytes: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metadata: Mapping[str, str]
    bundle: Bundle | None = None

    def _rows(self) -> list[tuple[str, str]]:
        size = [f"{self.parameters:,} parameters"] if self.parameters is not None else []
        size += [f"{_bytes(self.weight_bytes)} of weights"] if self.weight_bytes is not None else []
        size += [f"{_bytes(self.file_bytes)} file"]
        rows = [
            ("format", self.format + (f", written by {self.producer}" if self.producer else "")),
            ("opened by", f"plug-in {self.plugin}, runtime {self.runtime_version} ({self.runtime_path})"),
            ("device", self.device),
            ("size", ", ".join(size)),
        ]
        for title, tensors in (("input", self.inputs), ("output", self.outputs)):
            titles = [title + ("s" if len(tensors) > 1 else "")] + [""] * len(tensors)
            rows += [(titles[i], str(tensor)) for i, tensor in enumerate(tensors)]
        for i, (key, value) in enumerate(self.metadata.items()):
            cut = value if len(value) <= 100 else value[:100] + "..."
            rows.append(("" if i else "metadata", f"{key}: {cut}"))
        return rows if self.bundle is None else rows + self.bundle._rows()

    def __repr__(self) -> str:
        lines = [f"  {title:<10} {_printable(text)}" for title, text in self._rows()]
        return "\n".join([self.path, *lines])

    def _repr_html_(self) -> str:
        return html_table(self.path, self._rows())


def html_table(caption: str, rows: Iterable[tuple[str, str]]) -> str:
    """A table of titles and texts for a notebook."""
    cells = "".join(
        f'<tr><th style="text-align:left">{html.escape(title)}</th>'
        f'<td style="text-align:left"><code>{html.escape(_printable(text))}</code></td></tr>'
        for title, text in rows
    )
    return f"<table><caption>{html.escape(caption)}</caption><tbody>{cells}</tbody></table>"


def _printable(text: str) -> str:
    """Text of a model file, without what would move the cursor."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
