"""What was packed, as an object and as the text that ``vonk pack`` prints."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vonk._summary import _bytes
from vonk.packing._plan import Port
from vonk.packing._spec import type_text


@dataclass(frozen=True)
class Report:
    """A packed model.

    Attributes
    ----------
    path
        The bundle.
    format, plugin
        What the model inside is, and the plug-in that opens it.
    inputs, outputs
        As users see them.
    size
        In bytes.
    largest_difference
        Between the bundle's and the original's predictions: |found - expected| / max(1, |expected|).
    tolerance
        Up to which it would have been accepted.
    rows
        How many rows were compared.
    notes
        What was changed or chosen, and why.
    options
        With which alone the bundle can be opened, such as ``allow_native_code``.
    seconds
        How long it took.
    """

    path: Path
    format: str
    plugin: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    size: int
    largest_difference: float
    tolerance: float
    rows: int
    notes: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [f"{self.path.name}: {self.format}, {_bytes(self.size)}, packed in {self.seconds:.1f} s"]
        for title, ports in (("input", self.inputs), ("output", self.outputs)):
            lines += [
                f"  {title + ('s' if len(ports) > 1 else '') if i == 0 else '':<10} {port.name}: {type_text(port)}"
                for i, port in enumerate(ports)
            ]
        lines.append(
            f"  checked    {self.rows} rows: largest difference from the original {self.largest_difference:.1e}, "
            f"tolerance {self.tolerance:.0e}"
        )
        lines += [f"  {'note' if i == 0 else '':<10} {note}" for i, note in enumerate(self.notes)]
        options = "".join(f" --option {key}={value}" for key, value in self.options.items())
        shown = shlex.quote(str(self.path))
        lines.append(f"Next: vonk inspect {shown}{options}")
        lines.append(f"      vonk run {shown} rows.parquet -o predictions.parquet{options}")
        return "\n".join(lines)

    def json(self) -> str:
        """The same as one JSON object."""
        form = {
            "path": str(self.path),
            "format": self.format,
            "plugin": self.plugin,
            "inputs": [_port(port) for port in self.inputs],
            "outputs": [_port(port) for port in self.outputs],
            "size": self.size,
            "largest_difference": self.largest_difference,
            "tolerance": self.tolerance,
            "rows": self.rows,
            "notes": list(self.notes),
            "options": dict(self.options),
            "seconds": round(self.seconds, 3),
        }
        return json.dumps(form, indent=2, ensure_ascii=False)


def _port(port: Port) -> dict[str, object]:
    return {"name": port.name, "dtype": port.dtype, "shape": list(port.shape)}
