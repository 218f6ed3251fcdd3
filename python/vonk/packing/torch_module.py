"""A PyTorch module made ready for conversion: a copy on the CPU in eval mode, its inputs by name, its outputs flat.

How it works: the user's module is never touched. Its copy is put behind ``Flat``, which takes tensors by position and
returns a flat tuple of tensors, whatever dictionaries, dataclasses or nested tuples the module returns; so every target
format sees one plain function, and the names live beside it, in the ports.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from vonk.packing._opened import SHORT
from vonk.packing._plan import Array, PackError, Port, Request

#: vonk's dtypes and PyTorch's
DTYPES = {
    "bool": torch.bool, "int8": torch.int8, "int16": torch.int16, "int32": torch.int32, "int64": torch.int64,
    "uint8": torch.uint8, "uint16": torch.uint16, "uint32": torch.uint32, "uint64": torch.uint64,
    "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}
#: rows of the example that a module is traced with: neither 0 nor 1, which compilers take for special
EXAMPLE_ROWS = 3
#: sizes tried for other free dimensions, until the module runs
EXAMPLE_SIZES = (8, 16, 32, 64, 128, 224, 4, 2)
SEED = 20


@dataclass(frozen=True)
class Ready:
    """What a conversion starts from.

    Attributes
    ----------
    module
        A copy of the user's, in eval mode on the CPU, with ``Flat`` around it.
    inputs, outputs
        In order. ``tensor`` of an input is forward's argument; shapes of outputs are those of the example.
    example
        One tensor per input, some rows.
    notes
        For the user.
    """

    module: Flat
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    example: tuple[Tensor, ...]
    notes: tuple[str, ...]


class Flat(nn.Module):
    """A module that takes tensors by position and returns its result's tensors, one alone or a flat tuple.

    Parameters
    ----------
    module
        Any module.
    keywords
        The names its arguments are passed by, in order; None: by position.
    """

    def __init__(self, module: nn.Module, keywords: tuple[str, ...] | None) -> None:
        super().__init__()
        self.module = module
        self.keywords = keywords

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = tuple(tensor for _, tensor in leaves(self.call(tensors)))
        return found[0] if len(found) == 1 else found

    def call(self, tensors: tuple[Tensor, ...]) -> Any:
        """The module's own result."""
        if self.keywords is None:
            return self.module(*tensors)
        return self.module(**dict(zip(self.keywords, tensors, strict=True)))


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """The tensors of a module's result, with the way to each: fields, keys, positions. Nothing else is taken."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, (*path, str(key)))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for field, item in zip(value._fields, value, strict=True):
            yield from leaves(item, (*path, field))
    elif isinstance(value, (tuple, list)):
        for i, item in enumerate(value):
            yield from leaves(item, (*path, str(i)))
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name), (*path, field.name))


def output_names(result: Any) -> list[str]:
    """``output``, ``output_0`` and ``output_1``, or the result's own keys and fields; ``scores_0`` within them."""
    names: list[str] = []
    for path, _ in leaves(result):
        name = "_".join(path) or "output"
        name = f"output_{name}" if name[0].isdigit() else name
        while name in names:
            name += "_"
        names.append(name)
    return names


# --- the module ---


def unwrapped(module: nn.Module) -> nn.Module:
    """Without what ``torch.compile`` and ``DataParallel`` put around it."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def copied(module: nn.Module) -> nn.Module:
    """A copy on the CPU in eval mode that shares no memory with the original.

    Tensors are copied here, not by ``deepcopy``, which refuses those that were computed (as ``weight_norm`` keeps one).
    """
    memo: dict[int, Any] = {}
    for part in module.modules():
        for held in (vars(part), part._parameters, part._buffers):
            for value in list(held.values()):
                if isinstance(value, Tensor) and id(value) not in memo:
                    memo[id(value)] = _copied_tensor(value)
    try:
        return copy.deepcopy(module, memo).eval()
    except Exception as error:
        raise PackError(
            f"{type(module).__name__}: it cannot be copied: {first_line(error)}: pack its state_dict with --module"
        ) from error


def _copied_tensor(value: Tensor) -> Tensor:
    tensor = value.detach().to("cpu", copy=True)
    return nn.Parameter(tensor, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else tensor


def ready(module: nn.Module, request: Request) -> Ready:
    """Copies a module and finds out its inputs and outputs.

    Raises
    ------
    PackError
        The inputs are unknown, do not fit ``forward``, or it fails on them.
    """
    original = unwrapped(module)
    name = type(original).__name__
    notes = []
    if original.training:
        notes.append(f"{name} was in training mode: it is packed in eval mode")
    if any(p.device.type != "cpu" for p in original.parameters()):
        notes.append(f"{name} was on another device: a copy on the CPU is packed")
    twin = copied(original)
    inputs, keywords = _inputs(twin, request)
    flat = Flat(twin, keywords)
    example, result = _example(flat, inputs, request)
    names = output_names(result)
    tensors = [tensor for _, tensor in leaves(result)]
    if not tensors:
        raise PackError(
            f"{name}: forward returns {type(result).__name__}, in which there is no tensor: return a tensor, or a "
            "tuple, dict or dataclass of tensors"
        )
    outputs = tuple(Port(n, _dtype_name(t), tuple(t.shape), n) for n, t in zip(names, tensors, strict=True))
    return Ready(flat.eval(), inputs, outputs, example, tuple(notes))


def _dtype_name(tensor: Tensor) -> str:
    try:
        return NAMES[tensor.dtype]
    except KeyError:
        raise PackError(f"an output is {tensor.dtype}: vonk has no such type: return it in another one") from None


# --- inputs ---


def _inputs(module: nn.Module, request: Request) -> tuple[tuple[Port, ...], tuple[str, ...] | None]:
    """The inputs in forward's order, and the names they are passed by (None: by position)."""
    name = type(module).__name__
    described = request.inputs or _from_samples(module, request) or _from_attribute(module)
    parameters = inspect.signature(module.forward).parameters
    takes = [p for p in parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    names = [p.name for p in takes]
    required = [p.name for p in takes if p.default is p.empty]
    if not described:
        raise PackError(
            f"{name}: a module does not say what its inputs are: describe them, such as --input {_hint(module, names)}"
        )
    for port in described:
        if port.dtype not in DTYPES:
            raise PackError(f"--input {port.name}: PyTorch has no {port.dtype} tensors")
    given = {port.name: port for port in described}
    named = [n for n in names if n in given]
    if len(named) == len(given) == len(described):
        if missing := [n for n in required if n not in given]:
            raise PackError(f"{name}: forward needs '{missing[0]}': describe it, too, with --input")
        keywords = tuple(named)
        return tuple(dataclasses.replace(given[n], tensor=n) for n in named), keywords
    if named:
        wrong = next(n for n in given if n not in names)
        raise PackError(f"--input {wrong}: {name}'s forward takes {', '.join(names)}: use these names")
    is_open = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    if len(described) < len(required) or (len(described) > len(names) and not is_open):
        raise PackError(
            f"--input: {name}'s forward takes {', '.join(names) or 'nothing'}, and {len(described)} inputs are "
            "described: describe each that it needs"
        )
    tensors = [*names, *(f"args_{i}" for i in range(len(described)))]
    return tuple(dataclasses.replace(p, tensor=t) for p, t in zip(described, tensors, strict=False)), None


def _from_samples(module: nn.Module, request: Request) -> tuple[Port, ...]:
    """Inputs as the samples have them; numbers of NumPy's own float64 for a module that has none are float32."""
    names = list(inspect.signature(module.forward).parameters)
    return tuple(
        Port(name or names[0], _described_dtype(module, str(rows.dtype)), (-1, *rows.shape[1:]))
        for name, rows in request.samples.items()
    )


def _described_dtype(module: nn.Module, dtype: str) -> str:
    if dtype != "float64":
        return dtype
    floats = {p.dtype for p in module.parameters() if p.is_floating_point()}
    return "float64" if torch.float64 in floats else NAMES[next(iter(floats))] if len(floats) == 1 else "float32"


def _from_attribute(module: nn.Module) -> tuple[Port, ...]:
    """Inputs as the module's own ``example_inputs`` (or Lightning's ``example_input_array``) has them."""
    found = getattr(module, "example_inputs", None)
    found = getattr(module, "example_input_array", None) if found is None else found
    names = list(inspect.signature(module.forward).parameters)
    if isinstance(found, Tensor):
        found = (found,)
    if isinstance(found, (tuple, list)):
        found = dict(zip(names, found, strict=False))
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) and v.dim() > 0 for v in found.values()):
        return ()
    return tuple(Port(name, _dtype_name(value), (-1, *value.shape[1:])) for name, value in found.items())


def _hint(module: nn.Module, names: list[str]) -> str:
    """What to type, as far as the first layer tells."""
    name = names[0] if names else "x"
    for part in module.modules():
        if isinstance(part, nn.Linear):
            return f"{name}:f32[-1,{part.in_features}]"
        if isinstance(part, nn.modules.conv._ConvNd):
            spatial = ",".join(("224", "224", "224")[: len(part.kernel_size)])
            return f"{name}:f32[-1,{part.in_channels},{spatial}]"
        if isinstance(part, nn.Embedding):
            return f"{name}:i64[-1,-1]"
    return f"{name}:f32[-1,3,224,224]"


# --- rows to try ---


def highest_id(module: nn.Module) -> int:
    """Whole numbers below this one are within every table that the module looks them up in."""
    sizes = [m.num_embeddings for m in module.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))]
    return min(sizes, default=2)


def random_rows(port: Port, shape: tuple[int, ...], rng: numpy.random.Generator, ids: int) -> Array:
    """Values that a model may get: whole numbers are ids, floats are normal."""
    if port.dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if "int" in port.dtype:
        return rng.integers(0, min(ids, 127), shape).astype(port.dtype)
    values = rng.standard_normal(shape)
    return values.astype("float32" if port.dtype == "bfloat16" else port.dtype)


def to_tensor(port: Port, values: Any) -> Tensor:
    """NumPy has no bfloat16: its values come as float32."""
    tensor = torch.from_numpy(numpy.array(values, order="C"))
    return tensor.to(DTYPES[port.dtype])


def to_array(tensor: Tensor) -> Array:
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    array: Array = tensor.contiguous().numpy()
    return array


def _example(flat: Flat, inputs: tuple[Port, ...], request: Request) -> tuple[tuple[Tensor, ...], Any]:
    """Tensors that the module runs on, and its result. The user's samples if there are, else random ones."""
    failure: Exception | None = None
    for example in _examples(flat, inputs, request):
        try:
            with torch.no_grad():
                return example, flat.call(example)
        except Exception as error:
            failure = failure or error
        if all(dim >= 0 for port in inputs for dim in port.shape[1:]):
            break
    assert failure is not None
    shapes = ", ".join(f"{p.name}:{SHORT[p.dtype]}[{','.join(map(str, p.shape))}]" for p in inputs)
    raise PackError(
        f"{type(flat.module).__name__}: forward fails on {shapes}: {first_line(failure)}: check --input"
    ) from failure


def _examples(flat: Flat, inputs: tuple[Port, ...], request: Request) -> Iterator[tuple[Tensor, ...]]:
    given = [_given(port, request) for port in inputs]
    ids = highest_id(flat)
    for size in EXAMPLE_SIZES:
        rng = numpy.random.default_rng(SEED)
        tensors = []
        for port, values in zip(inputs, given, strict=True):
            rows = EXAMPLE_ROWS if port.shape[0] < 0 else port.shape[0]
            shape = (rows, *(size if dim < 0 else dim for dim in port.shape[1:]))
            tensors.append(to_tensor(port, wrapped(values, rows, random_rows(port, shape, rng, ids))))
        yield tuple(tensors)


def wrapped(values: Array | None, rows: int, otherwise: Array) -> Array:
    """So many rows of those given, from the first on again where they end; if there are none, others."""
    if values is None or len(values) == 0:
        return otherwise
    taken: Array = numpy.take(values, range(rows), axis=0, mode="wrap")
    return taken


def _given(port: Port, request: Request) -> Array | None:
    samples = request.samples
    values = samples.get(port.name, samples.get(port.tensor, samples.get("")))
    return None if values is None else numpy.asarray(values)


def reference(ready_: Ready) -> Callable[[Mapping[str, Array]], Mapping[str, Array]]:
    """The module's own predictions."""

    def predict(rows: Mapping[str, Array]) -> Mapping[str, Array]:
        with torch.inference_mode():
            found = ready_.module(*(to_tensor(port, rows[port.name]) for port in ready_.inputs))
        tensors = found if isinstance(found, tuple) else (found,)
        return {port.name: to_array(tensor) for port, tensor in zip(ready_.outputs, tensors, strict=True)}

    return predict


def first_line(error: BaseException) -> str:
    """The cause in one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".:")
