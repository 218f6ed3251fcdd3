"""The same MLP and CNN in every format give equal predictions through the program, SQL and Python, and they are those
of each framework's own Python."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import networks as nets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zoo

TOLERANCE = 1e-5
NETS = {"mlp": nets.MLP(), "cnn": nets.CNN()}
MLP_SPEC = {"inputs": "pixels:f32[-1,784]", "outputs": "probabilities:f32[-1,10]"}
CNN_SPEC = {"inputs": "image:f32[-1,12,12,3]", "outputs": "scores:f32[-1,5]"}
NATIVE = {"allow_native_code": "1"}


class Format(NamedTuple):
    maker: str
    net: str
    path: str
    options: dict[str, str]
    result: str  # in results.npz: what the framework says in Python
    output: str = ""  # of several


FORMATS = [
    Format("onnx", "mlp", "mlp.onnx", {}, "mlp"),
    Format("tensorflow", "mlp", "mlp", {}, "mlp"),
    Format("tensorflow", "mlp", "mlp_v1", {}, "mlp_v1"),
    Format("tensorflow", "mlp", "mlp.pb", {}, "mlp_v1"),
    Format("tensorflow", "mlp", "mlp_checkpoint/model.meta", {}, "mlp_v1"),
    Format("torchscript", "mlp", "mlp.pt", MLP_SPEC, "mlp"),
    Format("torchscript", "mlp", "mlp_trace.pt", MLP_SPEC, "mlp"),
    Format("aoti", "mlp", "mlp.pt2", NATIVE, "mlp"),
    Format("onnx", "cnn", "cnn.onnx", {}, "cnn"),
    Format("tensorflow", "cnn", "cnn", {}, "cnn"),
    Format("tensorflow", "cnn", "cnn_v1", {}, "cnn_v1"),
    Format("tensorflow", "cnn", "cnn.pb", {}, "cnn_v1"),
    Format("tensorflow", "cnn", "cnn_checkpoint/model.meta", {}, "cnn_v1"),
    Format("torchscript", "cnn", "cnn.pt", CNN_SPEC, "cnn"),
    Format("torchscript", "cnn", "cnn_trace.pt", CNN_SPEC, "cnn"),
    Format("aoti", "cnn", "cnn.pt2", NATIVE, "cnn"),
    # bundles of vonk.pack
    Format("packed_keras", "mlp", "mlp.vonk", {}, "mlp"),
    Format("packed_keras", "mlp", "mlp_onnx.vonk", {}, "mlp"),
    Format("packed_keras", "mlp", "mlp_folder.vonk", {}, "mlp"),
    Format("packed_keras", "cnn", "cnn.vonk", {}, "cnn"),
    Format("packed_keras", "cnn", "cnn_onnx.vonk", {}, "cnn"),
    Format("packed_torch", "mlp", "mlp.vonk", {}, "mlp"),
    Format("packed_torch", "mlp", "mlp_script.vonk", {}, "mlp"),
    Format("packed_torch", "cnn", "cnn.vonk", {}, "cnn"),
    Format("packed_torch", "cnn", "cnn_script.vonk", {}, "cnn"),
    Format("packed_torch", "cnn", "cnn_native.vonk", NATIVE, "cnn"),
    Format("packed_sklearn", "mlp", "mlp.vonk", {}, "mlp", "probabilities"),
]
every_format = pytest.mark.parametrize(
    "model",
    [
        pytest.param(
            model,
            id=f"{model.maker}-{model.path}",
            marks=pytest.mark.skipif(not zoo.is_here(model.maker), reason=f"{model.maker}: not installed"),
        )
        for model in FORMATS
    ],
)


def installed(variable: str, name: str) -> Path:
    """A part of the build tree that ctest names, else of the installed wheel."""
    if variable in os.environ:
        return Path(os.environ[variable])
    import vonk  # noqa: PLC0415 - only there where a wheel or a build tree's package is

    return Path(getattr(vonk.installation(), name))


@functools.cache
def rows(net: str) -> Any:
    return NETS[net].rows()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Parquet files with one column of flat lists."""
    folder = tmp_path_factory.mktemp("rows")
    for net in NETS:
        flat = rows(net).reshape(len(rows(net)), -1)
        offsets = np.arange(len(flat) + 1, dtype=np.int32) * np.int32(flat.shape[1])
        column = pa.ListArray.from_arrays(offsets, pa.array(flat.reshape(-1)))
        pq.write_table(pa.table({"x": column}), folder / f"{net}.parquet")
    return {net: folder / f"{net}.parquet" for net in NETS}


def expect_equal(found: Any, model: Format) -> None:
    """What the framework says for the same model, what onnxruntime says, and what NumPy says in double precision."""
    width = NETS[model.net].output_shape[0]
    found = np.asarray(found, np.float32).reshape(-1, width)
    for who, expected in (
        ("its framework in Python", zoo.results(model.maker)[model.result]),
        ("onnxruntime", zoo.results("onnx")[model.net]),
        ("NumPy", NETS[model.net](rows(model.net))),
    ):
        assert found.shape == expected.shape, f"{who}: shape {found.shape}, expected {expected.shape}"
        row, column = np.unravel_index(np.argmax(np.abs(found - expected)), found.shape)
        difference = abs(found[row, column] - expected[row, column])
        assert difference <= TOLERANCE, f"{who}: row {row} is {found[row]}, expected {expected[row]}"
    assert len(np.unique(found.argmax(axis=1))) > 1, "the rows are not all of one class"


def values(column: Any) -> Any:
    """A column of lists of one length."""
    return np.array(column.to_pylist(), np.float32)


@every_format
def test_the_program(model: Format, tables: dict[str, Path], tmp_path: Path) -> None:
    words = [installed("VONK_PROGRAM", "program"), "run", zoo.models(model.maker) / model.path, tables[model.net]]
    for key, text in model.options.items():
        words += ["--option", f"{key}={text}"]
    words += ["--output", f"{model.output}={model.output}"] if model.output else []
    output = tmp_path / "predictions.parquet"
    done = subprocess.run(
        [*map(str, words), "-o", str(output), "--select", ""], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    table = pq.read_table(output)
    assert table.num_columns == 1
    expect_equal(values(table.column(0)), model)


@pytest.fixture(scope="module")
def duckdb() -> Any:
    """One connection for all models: frameworks share a process."""
    import duckdb  # noqa: PLC0415 - of the tests' requirements

    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD '{installed('VONK_EXTENSION', 'extension')}'")
    return connection


@every_format
def test_sql(model: Format, tables: dict[str, Path], duckdb: Any) -> None:
    name = f"m{FORMATS.index(model)}"
    options = ", ".join(f"'{key}': '{text}'" for key, text in model.options.items())
    more = f", options := MAP {{{options}}}" if options else ""
    duckdb.execute(f"FROM vonk_load('{name}', '{zoo.models(model.maker) / model.path}'{more})")
    calls = [f"({name}(x)).{model.output}"] if model.output else [f"{name}(x)", f"vonk_predict('{name}', x)"]
    for call in calls:
        table = duckdb.execute(f"SELECT {call} AS y FROM '{tables[model.net]}'").to_arrow_table()
        expect_equal(values(table.column("y")), model)


@every_format
def test_python(model: Format) -> None:
    import vonk  # noqa: PLC0415 - only there where a wheel or a build tree's package is

    opened = vonk.open(zoo.models(model.maker) / model.path, **model.options)
    assert len(opened.inputs) == 1
    assert len(opened.outputs) == 1 or model.output
    found = opened.predict(rows(model.net), outputs=[model.output] if model.output else None)
    expect_equal(found[model.output] if isinstance(found, dict) else found, model)
    assert opened.inputs[0].shape[1:] == NETS[model.net].input_shape
    output = next(tensor for tensor in opened.outputs if model.output in ("", tensor.name))
    if output.shape is not None:
        assert output.shape[1:] == NETS[model.net].output_shape
