"""PyTorch's files: what they are, told by their content, and the weights in them, read without running a pickle."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vonk.packing._plan import PackError
from vonk.packing.torch_module import DTYPES, first_line

KINDS = {
    "torchscript": "a TorchScript file",
    "aotinductor": "a package of AOTInductor",
    "exported": "an exported program",
    "state_dict": "a checkpoint",
}
#: what training loops wrap a state_dict in
NESTED = ("state_dict", "model_state_dict", "model", "net", "module")
#: what wrappers put before every name: DataParallel, torch.compile, Lightning
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
HEADER_BYTES = 100 << 20
SAFE_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32",
    "I64": "int64", "U64": "uint64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
}  # fmt: skip


def kind_of(path: Path) -> str:
    """A key of ``KINDS``; an old pickle and safetensors are checkpoints.

    Raises
    ------
    PackError
        The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\3\4"
        if not is_zip:
            return "state_dict"
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except OSError as error:
        raise PackError(f"{path}: {error.strerror}", "VONK_IO") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise PackError(f"{path}: is a damaged zip file: {error}") from None
    if any(name.startswith("data/aotinductor/") for name in names):
        return "aotinductor"
    if any(name.startswith("models/") and name.endswith(".json") for name in names):
        return "exported"
    return "torchscript" if "constants.pkl" in names else "state_dict"


def safe_stem(path: Path) -> str:
    """The file's name as one in a bundle: plain characters, no ending."""
    return re.sub(r"[^\w.-]+", "_", path.name.split(".")[0]).strip("._") or "model"


# --- weights ---


def module_with_state(path: Path, make: Callable[[], Any]) -> tuple[nn.Module, list[str]]:
    """The user's class with the weights of a file.

    Raises
    ------
    PackError
        The class makes no module, the file is no state_dict, or they do not belong together.
    """
    try:
        module = make()
    except Exception as error:
        raise PackError(
            f"--module: it cannot be made without arguments: {first_line(error)}: name a function that returns one"
        ) from error
    if not isinstance(module, nn.Module):
        raise PackError(f"--module: gives {type(module).__name__}, not a torch.nn.Module")
    state, notes = _fitting(state_dict(path), set(module.state_dict()))
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        raise PackError(f"{path}: does not fit {type(module).__name__}: {lines[0] if lines else error}") from None
    if missing or unexpected:
        what = [f"{name} is missing" for name in missing[:3]] + [f"{name} is unknown to it" for name in unexpected[:3]]
        raise PackError(f"{path}: does not fit {type(module).__name__}: {', '.join(what)}: name the right class")
    return module.eval(), notes


def _fitting(state: dict[str, Tensor], wanted: set[str]) -> tuple[dict[str, Tensor], list[str]]:
    """Without a prefix that a wrapper put before every name."""
    for prefix in PREFIXES:
        if state and not wanted & set(state) and all(name.startswith(prefix) for name in state):
            cut = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
            if wanted & set(cut):
                return cut, [f"names in the file begin with '{prefix}', which is left out"]
    return state, []


def state_dict(path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint, wherever the training loop put them."""
    if path.suffix == ".safetensors" or _is_safetensors(path):
        return _safetensors(path)
    found = _load(path)
    for key in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not found:
        raise PackError(f"{path}: holds {type(found).__name__}, not a state_dict: save module.state_dict()")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if len(tensors) != len(found):
        other = next(name for name, value in found.items() if not isinstance(value, Tensor))
        raise PackError(f"{path}: '{other}' in it is no tensor: save module.state_dict() alone")
    return tensors


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise PackError(_refusal(path, str(error))) from None


def _refusal(path: Path, text: str) -> str:
    """What torch.load(weights_only=True) refused, and the way out."""
    what = re.search(r"Unsupported (?:global|class|operand)[^\w]*(?:GLOBAL )?([\w.]+)", text)
    if what is None and "GLOBAL" not in text and "unpickl" not in text.lower():
        return f"{path}: cannot be read as a PyTorch checkpoint: {text.splitlines()[0] if text else 'unknown'}"
    names = f" of {what[1]}" if what else ""
    return (
        f"{path}: holds pickled objects{names} besides tensors, and loading those runs code: save module.state_dict() "
        "and pack it with --module FILE.py:CLASS, or pass the module to vonk.pack, or --trust, if you made the file"
    )


def pickled_module(path: Path, *, trust: bool) -> Any:
    """A whole module out of a pickle, which is code: only if the user trusts the file. Else what tensors there are."""
    if path.suffix == ".safetensors" or _is_safetensors(path) or not trust:
        return state_dict(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (ModuleNotFoundError, AttributeError) as error:
        raise PackError(
            f"{path}: the module's class cannot be imported: {first_line(error)}: run where it can, or save "
            "module.state_dict() and name the class with --module"
        ) from None
    except Exception as error:
        raise PackError(f"{path}: cannot be loaded: {first_line(error)}") from None


# --- safetensors: a header in JSON, then the tensors' bytes ---


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= HEADER_BYTES


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        if len(data) < 8 or size > min(HEADER_BYTES, len(data) - 8):
            raise ValueError("its header is longer than the file")
        header = json.loads(data[8 : 8 + size])
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        header.pop("__metadata__", None)
        return {str(name): _safe_tensor(data, 8 + size, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
        raise PackError(f"{path}: is no safetensors file, or a damaged one: {first_line(error)}") from None


def _safe_tensor(data: bytes, base: int, entry: Any) -> Tensor:
    dtype = DTYPES[SAFE_DTYPES[entry["dtype"]]]
    shape = [int(dim) for dim in entry["shape"]]
    start, end = (int(offset) for offset in entry["data_offsets"])
    count = math.prod(shape)
    if (
        not 0 <= start <= end <= len(data) - base
        or any(dim < 0 for dim in shape)
        or end - start != count * dtype.itemsize
    ):
        raise ValueError("a tensor lies outside of it, or has another size than its shape says")
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data[base + start : base + end]), dtype=dtype).reshape(shape)
