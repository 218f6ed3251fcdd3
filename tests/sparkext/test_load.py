"""sparkext.load: plug-ins in zip files and installed ones, our own and others'."""

import importlib
import subprocess
import sys
import textwrap
import warnings
import zipfile

import numpy as np
import onnxruntime
import pytest
import sparkext
from conftest import ROOT
from sparkext import ModelSummary, Plugin, TensorSummary

IRIS = ROOT / "examples" / "iris" / "iris.onnx"
FLOWERS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]], "f4")

#: A plug-in as somebody else may have written it for the old library: a pandas function, helpers beside it.
STRANGER = """
    import pandas as pd
    from pyspark.sql.functions import pandas_udf

    import sparkext.framework
    from sparkext.framework import ModelSummary, TensorSummary
    from NAME.scale import scaled

    class ScalePlugin(sparkext.framework.Plugin):
        def model_summary(self, model):
            x = TensorSummary([-1], "float", "x")
            return ModelSummary(1, [x], [x], "float")

        def model_udf(self, model, model_loader=None, input_columns=None, batch_size=-1, **kwargs):
            def predict(x: pd.Series) -> pd.Series:
                return scaled(x, model)

            return pandas_udf(predict, "float")

        def model(self, model, model_loader=None, input_columns=None, batch_size=-1, **kwargs):
            return ScaleModel(self.model_udf(model))

    class ScaleModel(sparkext.framework.Model):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def _transform(self, dataset):
            return dataset.withColumn(self.getOutputCol(), self.function(self.getInputCol()))

    def plugin():
        return ScalePlugin()
"""
HELPER = """
    def scaled(x, model):
        if ".zip/" not in __file__:
            raise RuntimeError(f"not from the zip file: {__file__}")
        return x * model
"""


@pytest.fixture(scope="session")
def zips(tmp_path_factory):
    """A folder with what `make plugin-zips` writes."""
    folder = tmp_path_factory.mktemp("zips")
    write_zips(folder)
    return folder


def write_zips(folder):
    subprocess.run([sys.executable, ROOT / "tools" / "plugin_zips.py", folder], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def imports(monkeypatch):
    """What a test imports and binds is gone after it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    yield
    for name in {*sys.modules} - before:
        if name.startswith(("sparkext_", "stranger_")):
            del sys.modules[name]
    for name in [name for name in globals() if name.startswith(("sparkext_", "stranger_"))]:
        del globals()[name]


def zipped(path, **files):
    """A zip file of modules; `a__b` is a/b.py."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name.replace('__', '/', 1)}.py", textwrap.dedent(text))
    return path


def stranger(path, name):
    return zipped(path, **{f"{name}____init__": STRANGER.replace("NAME", name), f"{name}__scale": HELPER})


@pytest.fixture
def flowers(spark):
    return spark.createDataFrame([(row.tolist(),) for row in FLOWERS], "data array<float>").coalesce(1)


def expected():
    session = onnxruntime.InferenceSession(IRIS, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"measurements": FLOWERS})[0]


def probabilities(frame, function):
    return np.array([row.p for row in frame.select(function("data").alias("p")).collect()])


# --- ours ---


def test_a_plug_in_of_a_zip_file_predicts(flowers, zips):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # what zipimport had up to Python 3.11 is gone
        plugin = sparkext.load("sparkext_onnx", zips / "sparkext_onnx.zip")
    assert isinstance(plugin, Plugin)
    assert sys.modules["sparkext_onnx"].__file__.startswith(str(zips))
    found = probabilities(flowers, plugin.model_udf(IRIS, outputs=["probabilities"]))
    print(found, expected())
    assert np.abs(found - expected()).max() < 1e-6


def test_the_name_of_the_module_is_bound_where_load_is_called(flowers, zips):
    sparkext.load("sparkext_onnx", zips / "sparkext_onnx.zip")
    found = probabilities(flowers, sparkext_onnx.model_udf(str(IRIS), outputs=["probabilities"]))  # noqa: F821
    assert np.abs(found - expected()).max() < 1e-6


def test_what_load_gives_and_the_module_have_the_same_functions(zips):
    plugin = sparkext.load("sparkext_onnx", zips / "sparkext_onnx.zip")
    import sparkext_onnx  # noqa: PLC0415 - the one that was loaded

    assert sparkext_onnx.plugin() is plugin
    stage = plugin.model(IRIS, input_columns=["measurements"], batch_size=3)
    assert isinstance(stage, sparkext.Model)
    assert (stage.getInputColumns(), stage.getBatchSize()) == (["measurements"], 3)
    assert sparkext_onnx.model_summary(IRIS) == plugin.model_summary(IRIS)


def test_a_cell_that_runs_again_loads_the_same_module(spark, zips):
    sparkext.load("sparkext_onnx", zips / "sparkext_onnx.zip")
    first = sys.modules["sparkext_onnx"]
    sparkext.load("sparkext_onnx", zips / "sparkext_onnx.zip")
    assert sys.modules["sparkext_onnx"] is first


def test_equal_sources_give_equal_bytes(zips, tmp_path):
    write_zips(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert {"sparkext_onnx.zip", "sparkext_tf.zip", "sparkext_torch.zip"} <= {*names}
    for name in names:
        assert (tmp_path / name).read_bytes() == (zips / name).read_bytes()


# --- others' ---


def test_a_strangers_plug_in_runs_on_the_executors(spark, tmp_path):
    """Its helper is unpickled by name on the executors, from the zip file that Spark brought."""
    plugin = sparkext.load("stranger_one", stranger(tmp_path / "stranger_one.zip", "stranger_one"))
    frame = spark.range(0, 6, 1, 2).selectExpr("float(id) AS x")
    found = sorted(row.p for row in frame.select(plugin.model_udf(2.5)("x").alias("p")).collect())
    assert found == [0.0, 2.5, 5.0, 7.5, 10.0, 12.5]
    stage = plugin.model(2.0).setInputCol("x").setOutputCol("p")
    assert sorted(row.p for row in stage.transform(frame).collect()) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]


def test_a_module_with_plugin_alone_gets_the_functions(spark, tmp_path):
    sparkext.load("stranger_two", stranger(tmp_path / "stranger_two.zip", "stranger_two"))
    assert stranger_two.model_summary(None) == ModelSummary(  # noqa: F821 - load binds it
        1, [TensorSummary([-1], "float", "x")], [TensorSummary([-1], "float", "x")], "float"
    )


def test_a_changed_zip_file_is_served_here_and_on_the_executors(spark, tmp_path, monkeypatch):
    """Workers are used again, and Spark does not replace a file of the same name."""
    context = spark.sparkContext
    monkeypatch.setattr(context, "environment", {**context.environment})  # later tests find the workers there are
    name, frame = "stranger_three", spark.range(0, 4, 1, 2).selectExpr("float(id) AS x")
    path = tmp_path / f"{name}.zip"
    for factor in (1, 10, 1):  # the first content comes back
        helper = HELPER.replace("return x * model", f"return x * model * {factor}")
        zipped(path, **{f"{name}____init__": STRANGER.replace("NAME", name), f"{name}__scale": helper})
        plugin = sparkext.load(name, path)
        assert sys.modules[name].scaled(2, 3) == 6 * factor
        found = frame.select(plugin.model_udf(2.0)("x").alias("p")).collect()
        assert sorted(row.p for row in found) == [2.0 * factor * i for i in range(4)]


# --- installed ones ---


def test_ours_are_installed():
    assert {
        "onnx": "sparkext_onnx",
        "tf": "sparkext_tf",
        "torch": "sparkext_torch",
    }.items() <= sparkext.plugins().items()


@pytest.mark.parametrize("name", ["onnx", "sparkext_onnx"])
def test_an_installed_one_needs_no_zip_file(flowers, name):
    found = probabilities(flowers, sparkext.load(name).model_udf(IRIS, outputs=["probabilities"]))
    assert np.abs(found - expected()).max() < 1e-6
    assert sparkext_onnx.plugin()  # noqa: F821 - load binds the module's name


def test_a_strangers_distribution_is_found_by_its_entry_point(tmp_path):
    (tmp_path / "stranger_four.py").write_text(textwrap.dedent(STRANGER.replace("from NAME.scale import scaled", "")))
    about = tmp_path / "stranger-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sparkext.plugins]\nscale = stranger_four\n")
    sys.path.insert(0, str(tmp_path))
    assert sparkext.plugins()["scale"] == "stranger_four"
    assert sparkext.load("scale").model_summary(None).num_params == 1


# --- what is wrong ---


def refused(tmp_path, expected, **files):
    """The error of loading a zip file with these modules."""
    path = zipped(tmp_path / "bad.zip", **files)
    with pytest.raises(ImportError, match=expected) as caught:
        sparkext.load("stranger_bad", path)
    assert "stranger_bad" not in sys.modules
    assert str(path) not in sys.path
    return str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="give the path of the plug-in's zip file"):
        sparkext.load("stranger_bad", tmp_path / "none.zip")


def test_no_zip_file(tmp_path):
    path = tmp_path / "bad.zip"
    path.write_text("no zip")
    with pytest.raises(ImportError, match="is no zip file"):
        sparkext.load("stranger_bad", path)


def test_no_such_module(tmp_path):
    refused(tmp_path, "has no module 'stranger_bad'; at its top are src: give one of these", src__stranger_bad="x = 1")


def test_a_module_without_plugin(spark, tmp_path):
    refused(tmp_path, r"has no function plugin\(\)", stranger_bad="def model_udf(model): ...")


@pytest.mark.parametrize("name", ["json", "small_onnx"])
def test_a_name_that_is_taken(tmp_path, name):
    import small_onnx  # noqa: PLC0415, F401 - a module that is no plug-in

    before = importlib.import_module(name)
    with pytest.raises(ImportError, match=f"its module '{name}' has the name of another .*: rename it"):
        sparkext.load(name, zipped(tmp_path / "taken.zip", **{name: "def plugin(): ..."}))
    assert sys.modules[name] is before


def test_a_module_that_fails(tmp_path):
    refused(tmp_path, "cannot be imported: ZeroDivisionError", stranger_bad="1 / 0")


def test_a_module_that_needs_what_is_not_here(tmp_path):
    refused(tmp_path, "No module named 'caffe2_of_old'", stranger_bad="import caffe2_of_old")


def test_an_abstract_method_left_out(spark, tmp_path):
    text = """
        from sparkext import Plugin

        class Half(Plugin):
            def model_udf(self, model): ...
            def model_summary(self, model): ...

        def plugin():
            return Half()
    """
    message = refused(tmp_path, r"plugin\(\) failed: TypeError: .*abstract.*model", stranger_bad=text)
    print(message)


def test_plugin_gives_something_else(spark, tmp_path):
    refused(tmp_path, "gave None, which has no model_summary, model_udf, model", stranger_bad="def plugin(): ...")


def test_a_shared_library_in_a_zip_file(tmp_path):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("stranger_bad.cpython-311-x86_64-linux-gnu.so", b"\x7fELF")
    with pytest.raises(ImportError, match="cannot load libraries from a zip file: install it"):
        sparkext.load("stranger_bad", path)


def test_a_plug_in_that_is_not_installed():
    with pytest.raises(ImportError, match=r"no plug-in 'jax': installed are .*onnx \(sparkext_onnx\)"):
        sparkext.load("jax")
