"""PyTorch models, packed: the opened bundle predicts what the module itself predicts in PyTorch.

Whatever the source (a module, an exported program, TorchScript, a checkpoint, a compiled package) and whatever the
module returns; and a source that would run code is not run.
"""

import copy
import dataclasses
import io
import json
import pickle
import struct
import sys
import types
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import vonk  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.export import Dim  # noqa: E402
from vonk.packing import PackError, onnx_file, torch_export, torch_files, torch_module, torch_program  # noqa: E402

torch.set_num_threads(1)
HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "frameworks"))
X = "x:f32[-1,4]"


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        return torch.softmax(self.out(torch.relu(self.layer(x))), -1)


def rows(n=50, width=4, seed=1):
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def says(module, *arrays):
    """What PyTorch says, in eval mode."""
    was = module.training
    module.eval()
    with torch.inference_mode():
        found = module(*(torch.from_numpy(a) for a in arrays))
    module.train(was)
    return found


def packed(source, tmp_path, **options):
    """The report and the opened bundle."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = vonk.pack(source, tmp_path / "m.vonk", **options)
    return report, vonk.open(tmp_path / "m.vonk", **report.options)


def refused(source, tmp_path, **options):
    """The message; and nothing was written."""
    with warnings.catch_warnings(), pytest.raises(PackError) as caught:
        warnings.simplefilter("ignore")
        vonk.pack(source, tmp_path / "m.vonk", **options)
    assert not (tmp_path / "m.vonk").exists()
    message = str(caught.value)
    assert "\n" not in message, message
    return message


def close(found, expected, tolerance=1e-5):
    expected = expected.numpy() if isinstance(expected, Tensor) else expected
    assert found.shape == expected.shape, (found.shape, expected.shape)
    assert found.dtype == expected.dtype, (found.dtype, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


# --- modules ---


@pytest.mark.parametrize("to", [None, "torchscript"])
def test_a_module_predicts_as_in_pytorch_for_any_number_of_rows(to, tmp_path):
    module = Dense()
    report, model = packed(module, tmp_path, inputs=[X], to=to)
    assert report.format == (to or "onnx")
    assert [str(port) for port in model.inputs] == ["x: float32[N, 4]" if to is None else "x: float32[?, 4]"]
    assert [(port.name, port.dtype) for port in model.outputs] == [("output", "float32")]
    for n in (1, 2, 7, 1000):
        close(model.predict(rows(n)), says(module, rows(n)))


class Pair(NamedTuple):
    low: Tensor
    high: Tensor


@dataclasses.dataclass
class Scores:
    logits: Tensor
    hidden: Tensor | None = None
    parts: tuple[Tensor, ...] = ()


RESULTS = {
    "tensor": (lambda x: x * 2, {"output": 0}),
    "tuple": (lambda x: (x, -x), {"output_0": 0, "output_1": 1}),
    "namedtuple": (lambda x: Pair(x, -x), {"low": 0, "high": 1}),
    "dict": (lambda x: {"b": x, "a": -x}, {"b": 0, "a": 1}),
    "dataclass": (lambda x: Scores(x, None, (-x, x + 1)), {"logits": 0, "parts_0": 1, "parts_1": 2}),
    "nested": (
        lambda x: ({"a": x, "b": [-x, x + 1]}, 5, None),
        {"output_0_a": 0, "output_0_b_0": 1, "output_0_b_1": 2},
    ),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_outputs_have_the_names_that_the_result_has(kind, tmp_path):
    function, names = RESULTS[kind]

    class Result(nn.Module):
        def forward(self, x):
            return function(x)

    _, model = packed(Result(), tmp_path, inputs=["x:f32[-1,2]"])
    assert [port.name for port in model.outputs] == list(names)
    x = rows(5, 2)
    found = model.predict({"x": x})
    for name, i in names.items():
        close(found[name], (x * 2 if kind == "tensor" else (x, -x, x + 1)[i]))


class Many(nn.Module):
    """Ids and a mask of free length, halves, doubles; an argument with a default, one that is no tensor."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 4)
        self.register_buffer("shift", torch.tensor([1.0, 2.0, 3.0, 4.0]))

    def forward(self, ids, mask, weight, half, scale=None, power: int = 2):
        mean = (self.table(ids) * mask.unsqueeze(-1)).sum(1) + self.shift
        if scale is not None:
            mean = mean * scale
        return {"mean": mean**power, "wide": weight * 2, "half": half + 1, "next": ids + 1, "any": mask.any(1)}


def test_types_several_inputs_buffers_and_free_lengths(tmp_path):
    module = Many()
    inputs = ["ids:i64[-1,-1]", "mask:bool[-1,-1]", "weight:f64[-1]", "half:f16[-1,2]"]
    _, model = packed(module, tmp_path, inputs=inputs)
    assert [(p.name, p.dtype) for p in model.inputs] == [
        ("ids", "int64"), ("mask", "bool"), ("weight", "float64"), ("half", "float16"),
    ]  # fmt: skip
    rng = np.random.default_rng(3)
    for n, length in ((1, 1), (6, 5), (3, 40)):
        given = {
            "ids": rng.integers(0, 11, (n, length)), "mask": rng.random((n, length)) < 0.5,
            "weight": rng.standard_normal(n), "half": rng.standard_normal((n, 2)).astype(np.float16),
        }  # fmt: skip
        found, expected = model.predict(given), says(module, *given.values())
        for name, tensor in expected.items():
            close(found[name], tensor, 1e-4 if name == "mean" else 1e-3 if name == "half" else 0)


def test_an_optional_argument_is_an_input_if_it_is_described(tmp_path):
    class Scaled(nn.Module):
        def forward(self, x, shift=None, scale=None):
            x = x if shift is None else x + shift
            return x if scale is None else x * scale

    _, model = packed(Scaled(), tmp_path, inputs=["scale:f32[-1,2]", "x:f32[-1,2]"])
    assert [port.name for port in model.inputs] == ["x", "scale"]  # forward's order
    x, scale = rows(5, 2), rows(5, 2, seed=2)
    close(model.predict({"x": x, "scale": scale})["output"], x * scale)


def test_packing_leaves_the_module_as_it_was(tmp_path):
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    module[0].weight.requires_grad_(False)
    module[1].eval()
    module(torch.randn(9, 4)).sum().backward()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    flags = [(m.training, sorted(vars(m)), len(m._forward_hooks)) for m in module.modules()]
    grads = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in module.parameters()]
    for to in (None, "torchscript"):
        report, model = packed(module, tmp_path, inputs=["input:f32[-1,4]"], to=to)
        assert any("eval mode" in note for note in report.notes), report.notes
        close(model.predict(rows()), says(copy.deepcopy(module), rows()))
    assert flags == [(m.training, sorted(vars(m)), len(m._forward_hooks)) for m in module.modules()]
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for parameter, (needed, grad) in zip(module.parameters(), grads, strict=True):
        assert parameter.requires_grad == needed
        assert (parameter.grad is None) == (grad is None) and (grad is None or torch.equal(parameter.grad, grad))


def test_a_copy_shares_nothing_but_what_was_shared():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    twin = torch_module.copied(module)
    assert twin[1].weight is twin[0].weight and twin[0].weight is not module[0].weight
    assert twin[0].weight.data_ptr() != module[0].weight.data_ptr()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        computed = nn.utils.weight_norm(nn.Linear(4, 4))  # holds a tensor that deepcopy refuses
    computed(torch.zeros(1, 4))
    assert torch.equal(torch_module.copied(computed)(torch.ones(1, 4)), computed(torch.ones(1, 4)))


def test_shared_weights_are_stored_once(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    report, model = packed(Tied(), tmp_path, inputs=["x:f32[-1,64]"])
    assert model.summary().parameters == 64 * 64
    assert report.size < 2 * 64 * 64 * 4


class Decides(nn.Module):
    """Decides by all rows, though each row's result is its own: vonk may cut them anywhere."""

    def forward(self, x):
        if x.min() < 0:
            x = x.abs()
        return x * 2


def test_decisions_by_value_are_refused_with_the_way_out_and_kept_by_torchscript(tmp_path):
    message = refused(Decides(), tmp_path, inputs=["x:f32[-1,2]"])
    assert "decides by the values of a tensor" in message and "--to torchscript" in message, message
    assert HERE.name in message, message  # where
    report, model = packed(Decides(), tmp_path, inputs=["x:f32[-1,2]"], to="torchscript")
    assert any("torch.jit.script" in note for note in report.notes), report.notes
    up, down = np.ones((3, 2), np.float32), -np.ones((3, 2), np.float32)
    close(model.predict(up), 2 * up)
    close(model.predict(down), 2 * up)


def test_what_cannot_be_compiled_is_traced_but_never_if_that_fixes_a_decision(tmp_path):
    class Unscriptable(nn.Module):
        def forward(self, *xs):
            return sum(x * 2 for x in xs)

    report, model = packed(Unscriptable(), tmp_path, inputs=["a:f32[-1,2]", "b:f32[-1,2]"], to="torchscript")
    assert any("traced" in note for note in report.notes), report.notes
    a, b = rows(5, 2), rows(5, 2, seed=2)
    close(model.predict({"a": a, "b": b})["output"], 2 * a + 2 * b)

    class Both(nn.Module):
        def forward(self, *xs):
            return xs[0].abs() if xs[0].min() < 0 else xs[0]

    (tmp_path / "m.vonk").unlink()
    message = refused(Both(), tmp_path, inputs=["a:f32[-1,2]"], to="torchscript")
    assert "would fix" in message, message


def test_a_fixed_dimension_is_named(tmp_path):
    class Three(nn.Module):
        def forward(self, x):
            return x + torch.arange(3, dtype=torch.float32).unsqueeze(1)

    message = refused(Three(), tmp_path, inputs=["x:f32[-1,2]"])
    assert "3 along dimension 0 of 'x'" in message, message
    _, model = packed(Three(), tmp_path, inputs=["x:f32[3,2]"])
    close(
        model.predict(np.zeros((7, 2), np.float32)),
        np.repeat([[0], [1], [2]], 2, 1).astype(np.float32)[[0, 1, 2] * 2 + [0]],
    )


# --- inputs ---


def test_inputs_come_from_samples_or_the_module_s_own_example(tmp_path):
    report, model = packed(Dense(), tmp_path, samples={"x": np.random.default_rng(1).random((9, 4))})
    assert str(model.inputs[0]) == "x: float32[N, 4]" and report.rows > 9  # float64 as NumPy makes it
    module = Dense()
    module.example_input_array = torch.zeros(2, 4)
    assert str(packed(module, tmp_path)[1].inputs[0]) == "x: float32[N, 4]"


def test_inputs_may_be_renamed_by_position(tmp_path):
    module = Dense()
    _, model = packed(module, tmp_path, inputs=["measurements:f32[-1,4]"], outputs={"output": "species"})
    assert (model.inputs[0].name, model.outputs[0].name) == ("measurements", "species")
    close(model.predict(rows()), says(module, rows()))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], ["--input x:f32[-1,4]"]),
        ([X, "y:f32[-1]"], ["--input y", "x"]),
        (["a:f32[-1,4]", "b:f32[-1]"], ["takes x", "2 inputs"]),
        (["x:f32[-1,5]"], ["forward fails on x:f32[-1,5]", "5"]),
        (["x:string[-1,4]"], ["x", "string"]),
    ],
)
def test_inputs_that_do_not_fit_are_named(inputs, words, tmp_path):
    message = refused(Dense(), tmp_path, inputs=inputs)
    assert all(word in message for word in words), message


def test_a_module_that_gives_no_tensor_is_refused(tmp_path):
    class Nothing(nn.Module):
        def forward(self, x):
            return types.SimpleNamespace(y=x)

    assert "SimpleNamespace" in refused(Nothing(), tmp_path, inputs=[X])


# --- checkpoints ---


@pytest.mark.parametrize("form", ["bare", "old", "lightning", "parallel", "safetensors"])
def test_a_state_dict_needs_its_class(form, tmp_path):
    module = Dense()
    state = module.state_dict()
    path = tmp_path / "weights.pt"
    if form == "old":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif form == "lightning":
        torch.save({"epoch": 3, "state_dict": {f"model.{k}": v for k, v in state.items()}}, path)
    elif form == "parallel":
        torch.save({f"module.{k}": v for k, v in state.items()}, path)
    elif form == "safetensors":
        path = tmp_path / "weights.safetensors"
        path.write_bytes(safetensors(state))
    else:
        torch.save(state, path)
    message = refused(path, tmp_path, inputs=[X])
    assert "--module FILE.py:CLASS" in message, message
    if form == "lightning":
        _, model = packed(path, tmp_path, inputs=[X], module=Dense)
        close(model.predict(rows()), says(module, rows()))
    made, notes = torch_files.module_with_state(path, Dense)
    assert bool(notes) == (form in ("lightning", "parallel")), notes
    assert torch.equal(made(torch.ones(2, 4)), module(torch.ones(2, 4)))


def safetensors(state):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in state.items():
        content = tensor.contiguous().numpy().tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"\x10\0\0\0\0\0\0\0{\"a\":1}", struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 1 << 20) + b"{}",
        struct.pack("<Q", 59) + b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,999999]}}',
        struct.pack("<Q", 58) + b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}  ' + b"\0" * 8,
    ],
)  # fmt: skip
def test_a_damaged_safetensors_file_is_refused(content, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(PackError, match="safetensors"):
        torch_files.state_dict(path)


def test_another_class_is_refused_by_the_names_of_its_weights(tmp_path):
    torch.save(nn.Linear(4, 3).state_dict(), tmp_path / "weights.pt")
    message = refused(tmp_path / "weights.pt", tmp_path, inputs=[X], module=Dense)
    assert "does not fit Dense" in message and "layer.weight" in message, message
    state = {k: v[..., :2] for k, v in Dense().state_dict().items()}
    torch.save(state, tmp_path / "weights.pt")
    assert "size mismatch" in refused(tmp_path / "weights.pt", tmp_path, inputs=[X], module=Dense)


class Touch:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("module", [None, Dense])
def test_a_pickle_is_never_run_unless_trusted(module, tmp_path):
    torch.save({"state": Touch(tmp_path / "ran")}, tmp_path / "evil.pt")
    message = refused(tmp_path / "evil.pt", tmp_path, inputs=[X], module=module)
    assert "--trust" in message and not (tmp_path / "ran").exists(), message


def test_a_whole_module_is_loaded_with_trust_only(tmp_path):
    module = Dense()
    torch.save(module, tmp_path / "whole.pt")
    message = refused(tmp_path / "whole.pt", tmp_path, inputs=[X])
    assert "--trust" in message and "--module" in message and "Dense" in message, message
    _, model = packed(tmp_path / "whole.pt", tmp_path, inputs=[X], trust=True)
    close(model.predict(rows()), says(module, rows()))


# --- exported programs ---


@pytest.fixture
def program():
    example = torch.full((5, 4), 1234.5678)
    return torch.export.export(Dense().eval(), (example,), dynamic_shapes=({0: Dim("n")},))


def test_an_exported_program_knows_its_inputs_and_loses_its_samples(program, tmp_path):
    path = tmp_path / "net.pt2"
    torch.export.save(program, path)
    secret = struct.pack("<f", 1234.5678) * 4
    assert any(secret in zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist())
    for source in (path, program):
        _, model = packed(source, tmp_path)
        assert str(model.inputs[0]) == "x: float32[N, 4]"
        for n in (1, 9):
            close(model.predict(rows(n)), says(Runs(program), rows(n)))
        assert secret not in (tmp_path / "m.vonk").read_bytes()
    assert "TorchScript" in refused_again(path, tmp_path, to="torchscript")


class Runs(nn.Module):
    def __init__(self, program):
        super().__init__()
        self.run = [program.module()]

    def forward(self, x):
        return self.run[0](x)


def refused_again(source, tmp_path, **options):
    (tmp_path / "m.vonk").unlink(missing_ok=True)
    return refused(source, tmp_path, **options)


def rewritten(program, path, change):
    """The program's file with some entries changed: {end of the name: function of the content}."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            for end, function in change.items():
                content = function(content) if name.endswith(end) else content
            new.writestr(name, content)
    return path


def evil_pickle(path):
    return lambda content: pickle.dumps(Touch(path))


def replaced(old, new):
    def change(content):
        assert old.encode() in content, old
        return content.replace(old.encode(), new.encode())

    return change


def test_a_hostile_exported_program_is_refused_and_nothing_runs(program, tmp_path):
    """Each of these runs code in torch.export.load of PyTorch 2.13."""
    ran = tmp_path / "ran"
    symbol = next(str(s) for s in program.range_constraints)
    call = f"__import__('pathlib').Path('{ran}').touch()"
    pickled = replaced('"use_pickle": false', '"use_pickle": true')
    hostile = {
        "an expression": {"models/model.json": replaced(f"Symbol('{symbol}', positive=True, integer=True)", call)},
        "an operator": {"models/model.json": replaced("torch.ops.aten.relu.default", "torch.hub.load")},
        "a file": {"models/model.json": replaced("torch.ops.aten.relu.default", "torch.ops.aten.from_file.default")},
        "a pickled weight": {"weights_config.json": pickled, "weights/weight_0": evil_pickle(ran)},
    }
    for what, change in hostile.items():
        path = rewritten(program, tmp_path / "evil.pt2", change)
        message = refused(path, tmp_path)
        assert not ran.exists(), what
        assert "--trust" in message, (what, message)
    # sample inputs are left out, whatever they are
    path = rewritten(program, tmp_path / "evil.pt2", {"sample_inputs/model.pt": evil_pickle(ran)})
    packed(path, tmp_path)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("text", "is_safe"),
    [
        ("Symbol('s23', positive=True, integer=True)", True), ("Mul(Integer(2), Symbol('s0', integer=True))", True),
        ("2*s0 + 1", True), ("Pow(Symbol('u0'), Integer(-1))", True), ("exec('x')", False), ("s0.__class__", False),
        ("(lambda: 1)()", False), ("Symbol('a b')", False), ("Add('__import__(1)')", False), ("[s for s in s1]", False),
        ("Integer(__import__('os'))", False), ("f'{s0}'", False), ("S('x')", False), ("sympify('x')", False),
        ("(" * 3000, False), ("1+" * 5000 + "1", False), (7, False),
    ],
)  # fmt: skip
def test_only_arithmetic_reaches_sympy(text, is_safe):
    assert torch_program.is_arithmetic(text) == is_safe


# --- what stays as it is ---


def test_torchscript_stays_as_it_is(tmp_path):
    module = Dense().eval()
    path = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(module)
        torch.jit.save(scripted, str(path))
    assert "--input x:" in refused(path, tmp_path)
    for source in (path, scripted):
        _, model = packed(source, tmp_path, inputs=[X])
        close(model.predict(rows()), says(module, rows()))
    packed(path, tmp_path, inputs=[X])
    with zipfile.ZipFile(tmp_path / "m.vonk") as bundle:
        assert bundle.read("model/net.pt") == path.read_bytes()
    assert "stays as it is" in refused_again(path, tmp_path, inputs=[X], to="onnx")


def test_a_hostile_torchscript_file_is_refused_before_pytorch_loads_it(tmp_path, monkeypatch):
    path = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Dense().eval()), str(path))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "evil.pt", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(
                name, content.replace(b"def forward", b"def __setstate__") if name.endswith(".py") else content
            )
    monkeypatch.setattr(torch.jit, "load", lambda *args, **more: pytest.fail("PyTorch was asked to load it"))
    refused(tmp_path / "evil.pt", tmp_path, inputs=[X])


def test_aotinductor_on_request_and_a_package_with_trust_only(tmp_path, monkeypatch):
    monkeypatch.setitem(torch_export.AOTI, "aot_inductor.compile_wrapper_opt_level", "O0")  # compiles faster
    module = Dense()
    report, model = packed(module, tmp_path, inputs=[X], to="aotinductor")
    assert report.options == {"allow_native_code": "1"}
    assert any("machine code" in note for note in report.notes), report.notes
    for n in (1, 50):
        close(model.predict(rows(n)), says(module, rows(n)))
    with pytest.raises(vonk.Error, match="allow_native_code"):
        vonk.open(tmp_path / "m.vonk")
    with zipfile.ZipFile(tmp_path / "m.vonk") as bundle:
        assert [name for name in bundle.namelist() if name.startswith("model/")] == ["model/model.pt2"]
        (tmp_path / "package.pt2").write_bytes(bundle.read("model/model.pt2"))
    assert "--trust" in refused_again(tmp_path / "package.pt2", tmp_path)
    _, model = packed(tmp_path / "package.pt2", tmp_path, trust=True, inputs=["pixels:f32[-1,4]"])
    assert model.inputs[0].name == "pixels"
    close(model.predict(rows()), says(module, rows()))


# --- the file ---


def test_the_bundle_tells_nothing_of_the_author_s_machine(tmp_path):
    packed(Dense(), tmp_path, inputs=[X])
    content = (tmp_path / "m.vonk").read_bytes()
    for trace in (str(HERE.parent), HERE.name, "site-packages", "stack_trace", str(tmp_path)):
        assert trace.encode() not in content, trace


def test_old_onnx_runtimes_can_read_it(tmp_path):
    onnx = pytest.importorskip("onnx")
    packed(Dense(), tmp_path, inputs=[X])
    with zipfile.ZipFile(tmp_path / "m.vonk") as bundle:
        model = onnx.load_from_string(bundle.read("model/model.onnx"))
    assert model.ir_version <= 9 and [entry.version for entry in model.opset_import] == [18]


def test_large_weights_lie_beside_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGE", 1000)
    module = nn.Linear(64, 64)
    _, model = packed(module, tmp_path, inputs=["input:f32[-1,64]"])
    with zipfile.ZipFile(tmp_path / "m.vonk") as bundle:
        sizes = {entry.filename: entry.file_size for entry in bundle.infolist()}
    assert sizes["model/model.onnx.data"] >= 64 * 64 * 4 > sizes["model/model.onnx"]
    close(model.predict(rows(20, 64)), says(module, rows(20, 64)))


def test_a_wrong_target_is_answered_with_the_choices(tmp_path):
    assert "onnx, torchscript, aotinductor" in refused(Dense(), tmp_path, inputs=[X], to="savedmodel")
