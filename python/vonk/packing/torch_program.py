"""Exported programs (``torch.export``): loading one without running what is pickled in it, and its inputs.

How it works: ``torch.export.load`` unpickles the sample inputs that were saved, custom constants and old weights, and
hands texts of the file to SymPy, which evaluates them. So a file is first copied without its sample inputs (they are
the author's data, and of no use here) and without notes about lines of code, and refused if it holds any other pickle,
an operator that is none of PyTorch's own, or an expression that is more than arithmetic. ``trust`` skips that.
"""

from __future__ import annotations

import ast
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.utils import _pytree

from vonk.packing import torch_module
from vonk.packing._plan import PackError, Port, Request
from vonk.packing.torch_module import EXAMPLE_ROWS, NAMES, SEED, first_line, random_rows, to_tensor, wrapped

JSON_BYTES = 256 << 20
#: operators that a graph may name; aten's that touch files are taken out below
OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed|torchvision)\.\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.(cond|map|map_impl|scan|while_loop|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_|xor|abs)"
    r"|torch\.(sym_\w+|_sym_\w+)|math\.\w+"
)
FILES = re.compile(r"\b(from_file|save|load|_save|_load)\b")
#: what SymPy may be asked to make
FUNCTIONS = frozenset(
    "Symbol Integer Rational Float Add Mul Pow Mod Max Min Abs floor ceiling Eq Ne Lt Le Gt Ge Equality Unequality "
    "StrictLessThan LessThan StrictGreaterThan GreaterThan And Or Not Piecewise ExprCondPair FloorDiv CleanDiv CeilDiv "
    "ModularIndexing Where PythonMod IntTrueDiv FloatTrueDiv PowByNatural FloatPow ToFloat TruncToInt TruncToFloat "
    "RoundToInt RoundDecimal FloorToInt CeilToInt Identity LShift RShift BitwiseFn_bitwise_and "
    "BitwiseFn_bitwise_or".split()
)
EXPRESSION_LENGTH = 4096


class Flat(torch_module.Flat):
    """A program that takes its tensors by position, whatever nested arguments it was exported with."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__(program.module(), None)
        self.program = program

    def call(self, tensors: tuple[Tensor, ...]) -> Any:
        left = iter(tensors)
        flat = [
            spec.arg.value if isinstance(spec.arg, ConstantArgument) else next(left)
            for spec in _user_inputs(self.program)
        ]
        args, kwargs = _pytree.tree_unflatten(flat, self.program.call_spec.in_spec)
        return self.module(*args, **kwargs)


def _user_inputs(program: ExportedProgram) -> list[Any]:
    return [spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]


def inputs(program: ExportedProgram) -> list[Port]:
    """The tensors that a program takes, under forward's names."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    found = []
    for spec in _user_inputs(program):
        if isinstance(spec.arg, ConstantArgument):
            continue
        name, value = spec.arg.name, values.get(spec.arg.name)
        if not isinstance(value, Tensor) or value.dtype not in NAMES or value.dim() == 0:
            raise PackError(
                f"input '{name}' of the exported program is no tensor with rows: export one that takes tensors"
            )
        shape = tuple(dim if isinstance(dim, int) else -1 for dim in value.shape)
        found.append(Port(name, NAMES[value.dtype], shape, name))
    return found


def example(ports: Sequence[Port], request: Request, ids: int) -> tuple[Tensor, ...]:
    """Some rows that it can be run with: the user's, else random ones."""
    rng = numpy.random.default_rng(SEED)
    tensors = []
    for port in ports:
        rows = EXAMPLE_ROWS if port.shape[0] < 0 else port.shape[0]
        given = request.samples.get(port.name, request.samples.get(""))
        shape = (rows, *(8 if dim < 0 else dim for dim in port.shape[1:]))
        tensors.append(to_tensor(port, wrapped(given, rows, random_rows(port, shape, rng, ids))))
    return tuple(tensors)


def highest_id(program: ExportedProgram) -> int:
    """Whole numbers below this one are within every table that the program looks them up in."""
    sizes = []
    for node in program.graph.nodes:
        if node.op == "call_function" and "embedding" in str(node.target):
            table = node.args[0].meta.get("val")
            sizes += [int(table.shape[0])] if isinstance(table, Tensor) else []
    return min(sizes, default=2)


# --- loading ---


def load(path: Path, *, trust: bool) -> ExportedProgram:
    """Reads a program that ``torch.export.save`` wrote.

    Raises
    ------
    PackError
        It holds something that would be run, or is damaged.
    """
    try:
        if trust:
            return torch.export.load(path)
        with tempfile.TemporaryDirectory(prefix="vonk-pack-") as folder:
            copy = Path(folder) / "model.pt2"
            _copy_checked(path, copy)
            return torch.export.load(copy)
    except PackError:
        raise
    except Exception as error:
        raise PackError(f"{path}: is no exported program, or a damaged one: {first_line(error)}") from error


def _copy_checked(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        names = old.namelist()
        if len(set(names)) != len(names) or any(entry.compress_type for entry in old.infolist()):
            raise PackError(f"{source}: its zip file has compressed entries, or two with one name: export it again")
        for name in names:
            inner = name.partition("/")[2]
            if inner.startswith("data/sample_inputs/"):
                content = b""
            elif inner.endswith(".json"):
                if old.getinfo(name).file_size > JSON_BYTES:
                    raise PackError(f"{source}: {inner} has more than {JSON_BYTES >> 20} MiB")
                content = _checked_json(source, inner, old.read(name))
            elif _is_pickle(inner):
                raise PackError(f"{source}: {inner} in it is pickled, and loading that runs code: {WAYS}")
            elif inner.startswith("data/aotinductor/"):
                raise PackError(f"{source}: holds machine code besides: save the exported program alone")
            else:
                with old.open(name) as reader, new.open(name, "w", force_zip64=True) as writer:
                    while block := reader.read(1 << 24):
                        writer.write(block)
                continue
            new.writestr(name, content)


WAYS = "save it again with this PyTorch's torch.export.save, or --trust, if you made the file"


def _is_pickle(inner: str) -> bool:
    """Weights and constants are bare numbers, weight_N and tensor_N; the old formats are pickles."""
    folder, _, name = inner.rpartition("/")
    if folder in ("data/weights", "data/constants"):
        return re.fullmatch(r"(weight|tensor)_\d+", name) is None
    return folder.startswith("data/") or name.endswith((".pt", ".pkl"))


def _checked_json(source: Path, name: str, content: bytes) -> bytes:
    parsed = json.loads(content)
    for key, value in _entries(parsed):
        if key == "use_pickle" and value is not False:
            raise PackError(f"{source}: {name}: a tensor in it is pickled, and loading that runs code: {WAYS}")
        if key == "expr_str" and not is_arithmetic(value):
            raise PackError(f"{source}: {name}: {str(value)[:80]!r} is no size of a dimension: {WAYS}")
        if key == "target" and not _is_target(value):
            raise PackError(f"{source}: {name}: '{str(value)[:80]}' is no operator of PyTorch's own: {WAYS}")
        if isinstance(value, str) and ("__enum__" in value or "default_factory" in value):
            raise PackError(f"{source}: {name}: its arguments have types that loading would import: {WAYS}")
    _without_metadata(parsed)
    return json.dumps(parsed).encode()


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys and values, at any depth."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield from part.items()
            left += part.values()
        elif isinstance(part, list):
            left += part


def _without_metadata(parsed: Any) -> None:
    """Nodes' notes: where in whose file each came from."""
    for key, value in list(_entries(parsed)):
        if key == "nodes" and isinstance(value, list):
            for node in value:
                if isinstance(node, dict) and "metadata" in node:
                    node["metadata"] = {}


def _is_target(value: Any) -> bool:
    """Of a node, an operator; of a signature's entry, the name of a weight, which is no dotted operator."""
    if value is None:
        return True
    if not isinstance(value, str):
        return False
    if value.startswith(("torch.", "_operator", "math.", "#", "builtins")):
        return OPERATORS.fullmatch(value) is not None and FILES.search(value) is None
    return True


def is_arithmetic(text: Any) -> bool:
    """Whether a text is an expression of symbols, numbers and SymPy's arithmetic, and nothing else."""
    if not isinstance(text, str) or len(text) > EXPRESSION_LENGTH:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_is_part(node) for node in ast.walk(tree))


def _is_part(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        if not (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
            return False
        symbol = node.func.id == "Symbol"
        texts = [arg for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        numbers = symbol or node.func.id in ("Float", "Integer")
        return numbers or not texts
    if isinstance(node, ast.Name):
        return node.id in FUNCTIONS or re.fullmatch(r"[a-z]{1,3}\d+", node.id) is not None
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return re.fullmatch(r"\w{1,64}|[\d.e+-]{1,64}", node.value) is not None
        return isinstance(node.value, (int, float, bool))
    kinds = (ast.Expression, ast.Load, ast.keyword, ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult)
    return isinstance(node, kinds)
