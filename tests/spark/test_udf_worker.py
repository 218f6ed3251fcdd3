"""What Spark pickles for a model's function, and what a worker that cannot run it says."""

import subprocess
import sys
import textwrap

import pytest
import vonk
from pyspark import cloudpickle
from udf_models import MNIST
from vonk.spark import model_udf
from vonk.spark._calls import pack, read


def pickled(model, *columns):
    """The function of a call, as Spark sends it."""
    call = pack(read(columns, {}, model._binding), model._inputs)
    function = model._function(call.binding)
    return cloudpickle.dumps((function.func, function.returnType))


@pytest.fixture(scope="module")
def digit(spark):
    return model_udf(MNIST, as_="argmax", spark=spark)


def test_a_closure_has_less_than_4_kb(digit, spark):
    names = [f"pixel_{i // 28:02d}_{i % 28:02d}" for i in range(784)]
    mapped = model_udf(MNIST, inputs={digit._inputs[0].name: names}, spark=spark)
    listed = model_udf(MNIST, inputs=names, spark=spark)
    sizes = {
        "one": len(pickled(digit, "pixels")),
        "784": len(pickled(digit, *names)),
        "784 mapped": len(pickled(mapped, *names)),
        "784 listed": len(pickled(listed, *names)),
        "784 of a struct": len(pickled(listed, "s")),
    }
    assert max(sizes.values()) < 4096, sizes


def run(program, data, tmp_path):
    path = tmp_path / "closure"
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), path], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("missing", ["vonk", "vonk.spark"])
def test_a_worker_without_vonk_says_what_is_missing_and_where(digit, tmp_path, missing):
    program = f"""
        import pickle, sys
        sys.modules["{missing}"] = None  # as if it were not installed
        function, kind = pickle.loads(open(sys.argv[1], "rb").read())
        function("a column")
    """
    said = run(program, pickled(digit, "pixels"), tmp_path)
    assert f"mnist.onnx: vonk is not installed in the Python of this worker ({sys.executable}" in said, said
    assert "--archives" in said and "docs/spark.md" in said, said


def test_a_worker_with_another_vonk_says_so(digit, tmp_path):
    program = """
        import pickle, sys, types
        sys.modules["vonk"] = types.SimpleNamespace(__version__="0.0.1")
        function, kind = pickle.loads(open(sys.argv[1], "rb").read())
        function("a column")
    """
    said = run(program, pickled(digit, "pixels"), tmp_path)
    assert "has vonk 0.0.1, the driver " + vonk.__version__ in said, said


def test_a_worker_imports_no_more_than_it_needs(digit, tmp_path):
    program = """
        import pickle, sys
        function, kind = pickle.loads(open(sys.argv[1], "rb").read())
        try:
            function()
        except Exception:
            pass
        print(sorted(name for name in sys.modules if name.startswith(("vonk.", "pandas", "pyspark.ml"))))
    """
    said = run(program, pickled(digit, "pixels"), tmp_path)
    assert "vonk.spark._worker" in said, said
    for name in ("vonk.packing", "vonk.spark._udf", "vonk.spark._shipment", "pandas", "pyspark.ml"):
        assert f"'{name}'" not in said, said
