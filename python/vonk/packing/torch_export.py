"""From a PyTorch module or exported program to ONNX, TorchScript or an AOTInductor package.

How it works: ``torch.export`` follows the module once with rows that stand for any number of rows, and what it wrote
down becomes ONNX operators or machine code. Where ``forward`` decides by the values of a tensor it cannot follow;
TorchScript keeps such decisions, if it can compile the code ("script"), and is traced with an example otherwise.
What the exporter writes about the author's machine (paths, lines of code) is taken out.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from vonk.packing import _opened, onnx_file
from vonk.packing._plan import PackError, Port
from vonk.packing.torch_module import Ready, first_line

#: of the operators; ONNX Runtime 1.16 reads up to 19
OPSET = 18
#: packages for any processor with AVX2, weights rearranged when they are compiled; headers that are compiled once would
#: pay for the second package
AOTI = {
    "freezing": True,
    "cpp.simdlen": 256,
    "cpp_cache_precompile_headers": False,
    "aot_inductor.precompile_headers": False,
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say about themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._inductor", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


# --- torch.export ---


def exported(ready: Ready) -> ExportedProgram:
    """The module as a graph, its free dimensions kept free.

    Raises
    ------
    PackError
        ``torch.export`` cannot follow it; says why in a sentence and names the other way.
    """
    dims = tuple({i: Dim.DYNAMIC for i, dim in enumerate(port.shape) if dim < 0} for port in ready.inputs)
    name = type(ready.module.module).__name__
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(ready.module, ready.example, dynamic_shapes=(dims,), strict=False)
    except Exception as error:
        raise PackError(f"{name}: {_why_not(error, ready)}") from error


def _why_not(error: Exception, ready: Ready) -> str:
    text = str(error)
    if "data-dependent" in text or "Dynamic control flow" in text:
        return (
            f"its forward decides by the values of a tensor{_where(text)}, which torch.export cannot follow: "
            "pack it with --to torchscript, which keeps such decisions"
        )
    if "specialized" in text or "Constraints violated" in text:
        return (
            f"its forward works only {_specialised(text, ready)}, which --input leaves free: write the number instead "
            "of -1, or change forward"
        )
    return f"torch.export cannot follow its forward: {first_line(error)}: pack it with --to torchscript"


def _where(text: str) -> str:
    """``(model.py:12, in forward)``, if PyTorch says where."""
    found = [
        m for m in re.finditer(r'File "([^"]+)", line (\d+), in (\w+)', text) if f"{os.sep}torch{os.sep}" not in m[1]
    ]
    if not found:
        found = list(re.finditer(r"\(([\w./-]+\.py):(\d+) in (\w+)\)", text))
        found = [m for m in found if "torch/" not in m[1]]
    return f" ({Path(found[-1][1]).name}:{found[-1][2]}, in {found[-1][3]})" if found else ""


def _specialised(text: str, ready: Ready) -> str:
    """``with 3 along dimension 0 of 'x'``."""
    found = re.search(r"\['tensors'\]\[(\d+)\]\.(?:size\(\)|shape)\[(\d+)\].*constant \((\d+)\)", text)
    if found is None:
        return "with one size of a dimension"
    return f"with {found[3]} along dimension {found[2]} of '{ready.inputs[int(found[1])].name}'"


# --- ONNX ---


def to_onnx(
    program: ExportedProgram, inputs: Sequence[Port], outputs: Sequence[Port], path: Path
) -> tuple[list[Port], list[Port]]:
    """Writes an ONNX file (and its external data if it is large); the ports as ONNX Runtime sees them.

    Raises
    ------
    PackError
        There is no ONNX operator for something in the program, or ONNX Runtime refuses the result.
    """
    _opened.need("onnxscript", "torch", "the conversion of PyTorch models to ONNX")
    ways = "--to torchscript or --to aotinductor"
    try:
        with torch.no_grad(), quiet():
            made = torch.onnx.export(
                program,
                input_names=[f"vonk_in_{i}" for i in range(len(inputs))],
                output_names=[f"vonk_out_{i}" for i in range(len(outputs))],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        assert made is not None
        proto = made.model_proto
    except Exception as error:
        missing = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", _chain(error))
        what = (
            f"ONNX has no operator for '{missing[1]}'" if missing else f"the ONNX exporter fails: {first_line(error)}"
        )
        raise PackError(f"{what}: pack it with {ways}") from error
    onnx_file.clean(proto)
    tensors = onnx_file.rename_values(
        proto,
        {f"vonk_in_{i}": port.name for i, port in enumerate(inputs)}
        | {f"vonk_out_{i}": port.name for i, port in enumerate(outputs)},
    )
    names = [tensors[f"vonk_in_{i}"] for i in range(len(inputs))]
    onnx_file.name_dimensions(proto, names)
    onnx_file.save(proto, path)
    try:
        found_in, found_out = _opened.ports(path)
    except PackError as error:
        raise PackError(f"{error}: or pack it with {ways}") from error
    by_name = {port.name: port for port in found_in}
    if unused := [port.name for port, name in zip(inputs, names, strict=True) if name not in by_name]:
        raise PackError(
            f"input '{unused[0]}' has no part in the result: leave it out of forward, or pack it with {ways}"
        )
    found_in = [replace(by_name[name], name=port.name) for port, name in zip(inputs, names, strict=True)]
    return found_in, [replace(port, name=want.name) for port, want in zip(found_out, outputs, strict=True)]


def _chain(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def renamed(found: Sequence[Port], wanted: Sequence[Port]) -> list[Port]:
    """What the plug-in found, under the original's names, in its order; by name where they agree, else by position."""
    by_name = {port.name: port for port in found}
    if len(found) != len(wanted):
        raise PackError(f"the converted model has {len(found)} outputs, the original {len(wanted)}: please report this")
    if {port.name for port in wanted} == set(by_name):
        return [by_name[port.name] for port in wanted]
    return [replace(port, name=want.name) for port, want in zip(found, wanted, strict=True)]


# --- AOTInductor ---


def to_package(
    program: ExportedProgram, inputs: Sequence[Port], outputs: Sequence[Port], path: Path
) -> tuple[list[Port], list[Port]]:
    """Compiles a package for processors with AVX2; takes from some seconds to a minute, and a C++ compiler."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        raise PackError("--to aotinductor: needs a C++ compiler: install g++, or set CXX, or pack it as ONNX")
    old = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    with tempfile.TemporaryDirectory(prefix="vonk-pack-") as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        try:
            with torch.no_grad(), quiet():
                torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=AOTI)
        except Exception as error:
            raise PackError(
                f"AOTInductor cannot compile it: {first_line(error)}: pack it as ONNX or with --to torchscript"
            ) from error
        finally:
            if old is None:
                del os.environ["TORCHINDUCTOR_CACHE_DIR"]
            else:
                os.environ["TORCHINDUCTOR_CACHE_DIR"] = old
    found_in, found_out = _opened.ports(path, allow_native_code=True)
    return renamed(found_in, inputs), renamed(found_out, outputs)


# --- TorchScript ---


def to_torchscript(ready: Ready, path: Path) -> tuple[list[Port], list[Port], dict[str, str], str]:
    """Writes a TorchScript file; the ports, the plug-in's options, and a sentence about how it was made."""
    name = type(ready.module.module).__name__
    try:
        scripted = _scripted(ready, path)
        return (*scripted, f"{name} was compiled by torch.jit.script, which keeps decisions by value")
    except Exception as error:
        reason = first_line(error)
    jit: Any = torch.jit  # it has no types
    with warnings.catch_warnings(record=True) as warned, torch.no_grad():
        warnings.simplefilter("always")
        try:
            traced = jit.trace(_with_names(ready), ready.example, check_trace=False)
        except Exception as error:
            raise PackError(
                f"{name}: neither torch.jit.script ({reason}) nor torch.jit.trace ({first_line(error)}) can make "
                "TorchScript of it: change its forward"
            ) from error
    if fixed := [w for w in warned if issubclass(w.category, jit.TracerWarning)]:
        raise PackError(
            f"{name}: torch.jit.script cannot compile it ({reason}), and torch.jit.trace would fix what depends on the "
            f"rows ({Path(fixed[0].filename).name}:{fixed[0].lineno}): change its forward"
        )
    described = [replace(port, name=f"x{i}") for i, port in enumerate(ready.inputs)]
    found = _saved(traced, path, described, ready)
    note = f"{name} was traced with {len(ready.example[0])} rows, since torch.jit.script does not do: {reason}"
    return (*found, note)


def _scripted(ready: Ready, path: Path) -> tuple[list[Port], list[Port], dict[str, str]]:
    if ready.module.keywords is None and any(port.tensor.startswith("args_") for port in ready.inputs):
        raise PackError("it takes any number of arguments")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.script(ready.module.module)
    return _saved(module, path, [replace(port, name=port.tensor) for port in ready.inputs], ready)


def _with_names(ready: Ready) -> torch.nn.Module:
    """For tracing, which takes the names of its arguments from forward's signature: x0, x1, ..."""

    def forward(self: Any, *tensors: torch.Tensor) -> Any:
        return self.flat(*tensors)

    names = ("self", *(f"x{i}" for i in range(len(ready.inputs))))
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    forward.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])  # type: ignore[attr-defined]
    module: torch.nn.Module = type("Traced", (torch.nn.Module,), {"forward": forward})()
    module.flat = ready.module
    return module.eval()


def _saved(
    module: Any, path: Path, described: list[Port], ready: Ready
) -> tuple[list[Port], list[Port], dict[str, str]]:
    """Saves a module whose arguments are called as ``described``, and asks the plug-in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(module, str(path))
    options = {"inputs": _opened.describe(described)}
    found_in, found_out = _opened.ports(path, **options)
    options["outputs"] = _opened.describe(found_out)
    by_name = {port.name: port for port in found_in}
    inputs = [replace(by_name[d.name], name=port.name) for d, port in zip(described, ready.inputs, strict=True)]
    return inputs, renamed(found_out, ready.outputs), options
