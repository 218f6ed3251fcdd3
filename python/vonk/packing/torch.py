"""PyTorch: modules, exported programs, TorchScript, state_dicts with their class, compiled packages.

How it works: what the source is, is seen from its content (torch_files.py). A module, whether it came live, from a
state_dict or out of an exported program, is copied and flattened (torch_module.py) and converted (torch_export.py); by
default to ONNX, which runs everywhere and is among the fastest. TorchScript and compiled packages stay as they are.
"""

from __future__ import annotations

from pathlib import Path

from vonk.packing._opened import need
from vonk.packing._plan import Conversion, Request


def convert(request: Request, folder: Path) -> Conversion:
    """Converts a PyTorch model.

    Parameters
    ----------
    request
        ``source`` is a ``torch.nn.Module``, a ``torch.export.ExportedProgram`` or a file.
    folder
        An empty folder for the result.

    Raises
    ------
    PackError
        It cannot be converted, or needs something that was not given.
    """
    need("torch", "torch", "packing a PyTorch model")
    from vonk.packing import torch_sources  # noqa: PLC0415 - imports torch

    return torch_sources.convert(request, folder)
