"""What a PyTorch source is, and the way each takes to a conversion."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree

from vonk.packing import _opened, torch_export, torch_files, torch_module, torch_program
from vonk.packing._plan import Array, Conversion, PackError, Port, Request
from vonk.packing.torch_module import NAMES, Ready, first_line, leaves, to_array, to_tensor

TARGETS = ("onnx", "torchscript", "aotinductor")


def convert(request: Request, folder: Path) -> Conversion:
    """Of any PyTorch source."""
    if request.to is not None and request.to not in TARGETS:
        raise PackError(f"--to {request.to}: a PyTorch model becomes one of {', '.join(TARGETS)}", "VONK_INVALID")
    source = request.source
    provenance = {"framework": _opened.version("torch").replace("torch", "pytorch", 1)}
    if isinstance(source, (str, Path)):
        path = Path(source)
        kind = torch_files.kind_of(path)
        if request.module is not None and kind != "state_dict":
            raise PackError(
                f"--module: only a state_dict needs it, and {path} is {torch_files.KINDS[kind]}", "VONK_INVALID"
            )
        made = _of_file(path, kind, request, folder)
    else:
        made = _of_object(source, request, folder)
    return replace(made, provenance={**provenance, **made.provenance})


def _of_object(source: Any, request: Request, folder: Path) -> Conversion:
    if isinstance(source, ExportedProgram):
        return _program(source, request, folder, "model")
    if isinstance(source, torch.jit.ScriptModule):
        path = folder / "model.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(source, str(path))
        return _torchscript(path, path, request)
    if isinstance(source, nn.Module):
        return _module(source, request, folder, "model")
    raise PackError(
        f"an object of {type(source).__module__}.{type(source).__qualname__}: is no PyTorch model: pass a module, an "
        "exported program, or a file"
    )


def _of_file(path: Path, kind: str, request: Request, folder: Path) -> Conversion:
    name = torch_files.safe_stem(path)
    if kind == "torchscript":
        return _torchscript(path, folder / f"{name}.pt", request)
    if kind == "aotinductor":
        return _package(path, Path(shutil.copyfile(path, folder / f"{name}.pt2")), request)
    if kind == "exported":
        request.progress("loading the exported program")
        return _program(torch_program.load(path, trust=request.trust), request, folder, name)
    if kind == "state_dict" and request.module is not None:
        module, notes = torch_files.module_with_state(path, request.module)
    else:
        module, notes = torch_files.pickled_module(path, trust=request.trust), []
        if not isinstance(module, nn.Module):
            raise PackError(
                f"{path}: holds weights without their network: say which class they belong to: --module FILE.py:CLASS"
            )
    made = _module(module, request, folder, name)
    return replace(made, notes=(*notes, *made.notes))


# --- modules ---


def _module(module: nn.Module, request: Request, folder: Path, name: str) -> Conversion:
    if isinstance(module, torch.jit.ScriptModule):
        return _of_object(module, request, folder)
    ready = torch_module.ready(module, request)
    to = request.to or "onnx"
    request.progress(f"converting {type(ready.module.module).__name__} to {WORDS[to]}")
    made = _converted(ready, to, folder, name)
    return replace(
        made,
        reference=torch_module.reference(ready),
        notes=(*ready.notes, *made.notes),
    )


WORDS = {
    "onnx": "ONNX",
    "torchscript": "TorchScript",
    "aotinductor": "a package of AOTInductor (compiling takes a while)",
}


def _converted(ready: Ready, to: str, folder: Path, name: str) -> Conversion:
    if to != "torchscript":
        return _compiled(torch_export.exported(ready), ready.inputs, ready.outputs, to, folder / name)
    path = folder / f"{name}.pt"
    inputs, outputs, options, note = torch_export.to_torchscript(ready, path)
    return Conversion("torchscript", "torch", path, inputs, outputs, _none, options, _made_by("torch.jit"), (note,))


def _none(rows: Mapping[str, Array]) -> Mapping[str, Array]:
    raise AssertionError("the reference is the module's, set by the caller")


def _made_by(part: str) -> dict[str, str]:
    return {"converter": f"{part} {torch.__version__}"}


def _compiled(
    program: ExportedProgram, inputs: Sequence[Port], outputs: Sequence[Port], to: str, stem: Path
) -> Conversion:
    """An exported program as ONNX or as a package."""
    if to == "onnx":
        path = stem.with_name(f"{stem.name}.onnx")
        found_in, found_out = torch_export.to_onnx(program, inputs, outputs, path)
        return Conversion("onnx", "onnx", path, found_in, found_out, _none, {}, _made_by("torch.onnx"))
    path = stem.with_name(f"{stem.name}.pt2")
    found_in, found_out = torch_export.to_package(program, inputs, outputs, path)
    note = "a compiled package is machine code: it is opened with allow_native_code=1 only, on processors with AVX2"
    return Conversion("aotinductor", "torch", path, found_in, found_out, _none, {}, _made_by("AOTInductor"), (note,))


# --- exported programs ---


def _program(program: ExportedProgram, request: Request, folder: Path, name: str) -> Conversion:
    """An ExportedProgram knows its inputs: --input may only rename them."""
    if request.to == "torchscript":
        raise PackError(
            "--to torchscript: an exported program has no TorchScript form: pack its module", "VONK_INVALID"
        )
    inputs = torch_program.inputs(program)
    if request.inputs:
        if len(request.inputs) != len(inputs):
            raise PackError(f"--input: the exported program has {len(inputs)} inputs, not {len(request.inputs)}")
        inputs = [replace(port, name=given.name) for port, given in zip(inputs, request.inputs, strict=True)]
    module = torch_program.Flat(program)
    ids = torch_program.highest_id(program)
    example = torch_program.example(inputs, request, ids)
    with torch.no_grad():
        try:
            result = module.call(example)
        except Exception as error:
            raise PackError(f"{name}: the exported program fails on its own inputs: {first_line(error)}") from error
    outputs = [
        Port(n, NAMES[tensor.dtype], tuple(tensor.shape), n)
        for n, (_, tensor) in zip(torch_module.output_names(result), leaves(result), strict=True)
    ]
    ready = Ready(module, tuple(inputs), tuple(outputs), example, ())
    to = request.to or "onnx"
    request.progress(f"converting the exported program to {WORDS[to]}")
    made = _compiled(program, inputs, outputs, to, folder / name)
    fixed = [port for port in inputs if port.shape[0] >= 0]
    notes = [f"it was exported for {fixed[0].shape[0]} rows at a time: Dim.DYNAMIC makes them free"] if fixed else []
    return replace(
        made,
        reference=torch_module.reference(ready),
        notes=(*notes, *made.notes),
    )


# --- what stays as it is ---


def _torchscript(source: Path, path: Path, request: Request) -> Conversion:
    """Opened by our plug-in first, which looks through it before PyTorch runs any of it."""
    if request.to not in (None, "torchscript"):
        raise PackError(f"--to {request.to}: TorchScript stays as it is: pack the module that it was made of instead")
    described = request.inputs or tuple(
        Port(name, str(rows.dtype), (-1, *rows.shape[1:])) for name, rows in request.samples.items() if name
    )
    options = {"inputs": _opened.describe(described)} if described else {}
    try:
        found_in, found_out = _opened.ports(source, **options)
    except PackError as error:
        unknown = re.search(r"does not say of what dtype and shape its inputs are \(([^,)]*)", str(error))
        if unknown is None:
            raise
        raise PackError(
            f"{source}: TorchScript does not say what its inputs are: describe them, such as --input "
            f"{unknown[1] or 'x'}:f32[-1,784]"
        ) from None
    if path != source:
        shutil.copyfile(source, path)
    options = {"inputs": _opened.describe(found_in), "outputs": _opened.describe(found_out)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jit: Any = torch.jit  # it has no types
        module = jit.load(str(path), map_location="cpu").eval()
    return Conversion(
        "torchscript", "torch", path, found_in, found_out, _called_by_name(module, found_in, found_out), options
    )


def _called_by_name(
    module: Any, inputs: Sequence[Port], outputs: Sequence[Port]
) -> Callable[[Mapping[str, Array]], Mapping[str, Array]]:
    def predict(rows: Mapping[str, Array]) -> Mapping[str, Array]:
        with torch.inference_mode():
            result = module(**{port.tensor: to_tensor(port, rows[port.name]) for port in inputs})
        return _named(result, outputs)

    return predict


def _named(result: Any, outputs: Sequence[Port]) -> Mapping[str, Array]:
    """By the plug-in's names where the result has them, else by position."""
    found: dict[str, Tensor] = dict(zip(torch_module.output_names(result), (t for _, t in leaves(result)), strict=True))
    if {port.name for port in outputs} <= set(found):
        return {port.name: to_array(found[port.name]) for port in outputs}
    return {port.name: to_array(tensor) for port, tensor in zip(outputs, found.values(), strict=True)}


def _package(source: Path, path: Path, request: Request) -> Conversion:
    """A compiled package: nothing can look through machine code, so it needs the user's word."""
    if not request.trust:
        raise PackError(
            f"{source}: is a package of AOTInductor, machine code that packing has to run: --trust, if you made it"
        )
    if request.to not in (None, "aotinductor"):
        raise PackError(f"--to {request.to}: a compiled package stays as it is: pack the module that it was made of")
    found_in, found_out = _opened.ports(path, allow_native_code=True)
    if request.inputs:
        if len(request.inputs) != len(found_in):
            raise PackError(f"--input: the package has {len(found_in)} inputs, not {len(request.inputs)}")
        found_in = [replace(port, name=given.name) for port, given in zip(found_in, request.inputs, strict=True)]
    package = torch._inductor.aoti_load_package(str(path))

    def predict(rows: Mapping[str, Array]) -> Mapping[str, Array]:
        args, kwargs = _arguments(package, [to_tensor(port, rows[port.name]) for port in found_in])
        with torch.inference_mode():
            return _named(package(*args, **kwargs), found_out)

    note = "it is machine code: the bundle is opened with allow_native_code=1 only"
    return Conversion("aotinductor", "torch", path, found_in, found_out, predict, notes=(note,))


def _arguments(package: Any, tensors: list[Tensor]) -> tuple[Any, Any]:
    """Flat tensors as the package's call wants them."""
    spec = _pytree.treespec_loads(package.loader.get_call_spec()[0])
    args, kwargs = _pytree.tree_unflatten(tensors, spec)
    return args, kwargs
