"""Where models come from: files, folders, bundles, addresses, live objects, loaders; and what becomes of them."""

import functools
import hashlib
import http.server
import os
import pickle
import resource
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy
import onnx
import pytest
import vonk
from conftest import ROOT
from onnx import TensorProto, helper, numpy_helper
from pyspark import SparkFiles
from vonk.spark import _staging, model_udf

IRIS = ROOT / "examples" / "iris" / "iris.onnx"
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
X = [1.5, -2.0, 8.0]


def scale(factor, size=1):
    """y = factor x, with a weight of 4 * size bytes that does not change it."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["w"], ["f"], keepdims=0),
            helper.make_node("Mul", ["x", "f"], ["y"]),
        ],
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(numpy.full(size, factor, "f4"), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def save(path, factor, size=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(scale(factor, size).SerializeToString())
    return path


def scaled(spark, predict):
    """What a function of one number gives for X, in one partition."""
    rows = spark.createDataFrame([(x,) for x in X], "x float").coalesce(1)
    return [row[0] for row in rows.select(predict("x")).collect()]


def times(factor):
    return [factor * x for x in X]


def files(spark):
    return {Path(name).name for name in spark.sparkContext.listFiles}


# --- files ---


def test_a_file_is_sent_once_however_many_functions_use_it(spark, tmp_path):
    before = files(spark)
    path = save(tmp_path / "twice.onnx", 2)
    (tmp_path / "other name.onnx").write_bytes(path.read_bytes())
    for source in (
        path,
        os.fspath(path),
        f"file:{path}",
        f"file://{path}",
        tmp_path / "other name.onnx",
        vonk.open(path),
    ):
        assert scaled(spark, model_udf(source)) == times(2)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert files(spark) - before == {f"{digest[:16]}-twice.onnx"}


def test_models_of_one_name_do_not_collide(spark, tmp_path):
    first = model_udf(save(tmp_path / "a" / "model.onnx", 3))
    second = model_udf(save(tmp_path / "b" / "model.onnx", 4))
    rows = spark.createDataFrame([(x,) for x in X], "x float")
    found = rows.select(first("x"), second("x"), first("x")).collect()
    assert [tuple(row) for row in found] == [(3 * x, 4 * x, 3 * x) for x in X]


def test_a_file_that_changes_afterwards_is_the_one_that_was_given(spark, tmp_path):
    path = save(tmp_path / "model.onnx", 5)
    before = model_udf(path)
    save(path, 6)
    after = model_udf(path)
    path.unlink()
    assert (scaled(spark, before), scaled(spark, after)) == (times(5), times(6))


def test_names_may_have_any_characters(spark, tmp_path):
    assert scaled(spark, model_udf(save(tmp_path / "ä b" / "model #1, 100%.onnx", 7))) == times(7)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(vonk.FileError, match=r"model '/nowhere/m\.onnx': no such file or folder on the driver"):
        model_udf("/nowhere/m.onnx")
    (tmp_path / "text.onnx").write_text("nothing of the kind")
    with pytest.raises(vonk.Error) as caught:
        model_udf(tmp_path / "text.onnx")
    assert "text.onnx" in str(caught.value)
    assert "vonk-spark-" not in str(caught.value)  # the user's name, not that of the copy
    for wrong in (None, b"bytes", int):
        with pytest.raises(vonk.InvalidError, match="pass the path or URI of a model"):
            model_udf(wrong)


def test_a_pinned_model_must_be_the_pinned_one(spark, tmp_path):
    path = save(tmp_path / "model.onnx", 8)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert scaled(spark, model_udf(f"{path}#sha256={digest}")) == times(8)
    with pytest.raises(vonk.ModelError, match=f"{digest}, expected {'0' * 64}"):
        model_udf(f"{path}#sha256={'0' * 64}")


# --- models of several files ---


def test_weights_beside_the_model_come_along(spark, tmp_path):
    path = tmp_path / "model.onnx"
    (tmp_path / "w").mkdir()
    onnx.save_model(scale(9, 64), str(path), save_as_external_data=True, location="w/data.bin", size_threshold=0)
    predict = model_udf(path)
    assert scaled(spark, predict) == times(9)
    weights = numpy.full(64, 10, "f4")
    (tmp_path / "w" / "data.bin").write_bytes(weights.tobytes())  # the model's file stays as it is
    assert scaled(spark, model_udf(path)) == times(10)
    assert scaled(spark, predict) == times(9)


def test_a_bundle_that_is_a_folder(spark, tmp_path):
    vonk.pack(IRIS, tmp_path / "iris.vonk", folder=True, labels=["setosa", "versicolor", "virginica"])
    predict = model_udf(tmp_path / "iris.vonk", outputs=["probabilities"], as_="label")
    rows = spark.createDataFrame([(row,) for row in FLOWERS], "x array<float>")
    assert [row[0] for row in rows.select(predict("x")).collect()] == ["setosa", "virginica"]


# --- addresses ---


@pytest.fixture
def server(tmp_path):
    """Hadoop reads http: as it reads s3a: and hdfs:."""
    handler = functools.partial(_Quiet, directory=os.fspath(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_addresses_that_hadoop_reads(spark, server, tmp_path):
    save(tmp_path / "model.onnx", 11)
    assert scaled(spark, model_udf(f"{server}/model.onnx")) == times(11)
    save(tmp_path / "model.onnx", 12)
    assert scaled(spark, model_udf(f"{server}/model.onnx")) == times(12)
    path = tmp_path / "external.onnx"
    onnx.save_model(scale(13, 64), str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    assert scaled(spark, model_udf(f"{server}/external.onnx")) == times(13)


def test_addresses_that_hadoop_cannot_read(spark, server):
    with pytest.raises(vonk.FileError, match=r"nothing\.onnx': Spark cannot read it: FileNotFoundException"):
        model_udf(f"{server}/nothing.onnx")
    with pytest.raises(vonk.FileError, match='No FileSystem for scheme "nosuch"'):
        model_udf("nosuch://host/m.onnx")
    with pytest.raises(vonk.InvalidError, match="names the host 'elsewhere'"):
        model_udf("file://elsewhere/m.onnx")


def test_a_model_that_every_node_has_is_not_sent(spark, tmp_path):
    before = files(spark)
    path = save(tmp_path / "model.onnx", 14)
    predict = model_udf(f"local:{path}")
    assert scaled(spark, predict) == times(14)
    assert files(spark) == before


def test_a_local_model_that_changed_is_an_error_with_both_digests(spark, tmp_path):
    path = save(tmp_path / "model.onnx", 15)
    predict = model_udf(f"local:{path}")
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    save(path, 16)
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(Exception, match=f"sha256 is {new}, expected {old}"):
        scaled(spark, predict)
    path.unlink()
    with pytest.raises(Exception, match="'local:' says that every node has it, but there is no"):
        scaled(spark, predict)
    with pytest.raises(vonk.FileError, match="wants it on the driver too"):
        model_udf(f"local:{path}")


def test_a_copy_that_is_damaged_on_an_executor_is_an_error_with_both_digests(spark, tmp_path):
    path = save(tmp_path / "model.onnx", 17)
    predict = model_udf(path)
    predict("x")  # sends it
    name = predict._shipment.source.file

    def damage(_):
        copy = SparkFiles.get(name)
        with open(copy, "r+b") as file:  # noqa: PTH123
            file.seek(20)
            file.write(b"!")
        with open(copy, "rb") as file:  # noqa: PTH123
            return [hashlib.sha256(file.read()).hexdigest()]

    context = spark.sparkContext
    found = set(context.parallelize(range(8), 8).mapPartitions(damage).collect())
    assert len(found) == 1
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(Exception, match=f"sha256 is {found.pop()}, expected {right}"):
        rows = spark.range(0, 8, 1, 8).selectExpr("float(id) AS x")
        rows.select(predict("x")).collect()


# --- live models, and files that have to be packed ---


@pytest.fixture(scope="module")
def classifier():
    datasets = pytest.importorskip("sklearn.datasets", reason="make setup EXTRAS=sklearn")
    pytest.importorskip("skl2onnx", reason="make setup EXTRAS=sklearn")
    linear_model = pytest.importorskip("sklearn.linear_model")
    return linear_model.LogisticRegression(max_iter=500).fit(*datasets.load_iris(return_X_y=True))


def test_a_live_model_is_packed_once_and_said(spark, classifier, capfd):
    rows = spark.createDataFrame([(row,) for row in FLOWERS], "x array<float>")
    expected = classifier.predict_proba(FLOWERS)
    before = files(spark)
    for _ in range(2):  # equal content is not sent again
        predict = model_udf(classifier, outputs=["probabilities"])
        found = numpy.array([row[0] for row in rows.select(predict("x")).collect()])
        numpy.testing.assert_allclose(found, expected, atol=1e-4)
    assert len(files(spark) - before) == 1
    said = capfd.readouterr().err
    assert "vonk: packing 'LogisticRegression' for Spark's workers: onnx, " in said


def test_what_packing_needs_to_know_is_passed_on(spark, classifier):
    names = ["setosa", "versicolor", "virginica"]
    predict = model_udf(classifier, outputs=["probabilities"], as_="label", pack={"labels": names})
    rows = spark.createDataFrame([(row,) for row in FLOWERS], "x array<float>")
    assert [row[0] for row in rows.select(predict("x")).collect()] == ["setosa", "virginica"]
    with pytest.raises(vonk.InvalidError, match=r"takes the arguments of vonk\.pack"):
        model_udf(classifier, pack={"lables": names})
    with pytest.raises(vonk.Error, match=r"builtins\.object: is no model that vonk knows"):
        model_udf(object())


def test_a_torch_module_wants_its_inputs(spark):
    torch = pytest.importorskip("torch", reason="make setup EXTRAS=torch")
    module = torch.nn.Linear(4, 3)
    with pytest.raises(vonk.Error, match=r"does not say what its inputs are.*pack={'inputs'"):
        model_udf(module)
    predict = model_udf(module, pack={"inputs": ["x:f32[-1,4]"]})
    rows = spark.createDataFrame([(row,) for row in FLOWERS], "x array<float>")
    found = numpy.array([row[0] for row in rows.select(predict("x")).collect()])
    expected = module(torch.tensor(FLOWERS)).detach().numpy()
    numpy.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_pickle_is_not_run_unless_it_is_trusted(spark, classifier, tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(classifier))
    with pytest.raises(
        vonk.Error, match=r"'model.pkl': cannot be packed.*loading a pickle runs the code in it.*'trust'"
    ):
        model_udf(tmp_path / "model.pkl")
    predict = model_udf(tmp_path / "model.pkl", outputs=["label"], pack={"trust": True})
    rows = spark.createDataFrame([(row,) for row in FLOWERS], "x array<float>")
    assert [row[0] for row in rows.select(predict("x")).collect()] == classifier.predict(FLOWERS).tolist()


# --- the staging folder ---


def test_the_staging_folder_is_private(spark, tmp_path):
    model_udf(save(tmp_path / "model.onnx", 18))
    folder = _staging.folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir() if file.is_file()} == {0o600}


def test_a_disk_without_room_is_one_error_and_leaves_nothing(spark, tmp_path):
    path = save(tmp_path / "large.onnx", 19, 1 << 18)
    before = sorted(_staging.folder().iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, hard))  # as a full disk: writing ends in the middle
    try:
        with pytest.raises(vonk.FileError, match=r"model 'large.onnx': cannot be copied to .*: set TMPDIR to a folder"):
            model_udf(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(_staging.folder().iterdir()) == before
    assert scaled(spark, model_udf(path)) == times(19)


def run_child(text, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_staging_folder_goes_with_the_process_and_not_with_its_children(tmp_path):
    folder, is_there = run_child(
        """
        import os, sys
        from pathlib import Path
        from vonk.spark import _staging
        staged = _staging.stage(Path(sys.argv[1]), {})
        print(staged.path.parent)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            sys.exit(0)
        os.waitpid(child, 0)
        print(staged.path.exists())
        """,
        IRIS,
    )
    assert is_there == "True"
    assert not Path(folder).exists()


def test_a_session_that_is_started_again_gets_the_model_again(tmp_path):
    """A function that was made before works on; it says so when there is no session."""
    path = save(tmp_path / "model.onnx", 20)
    assert run_child(
        """
        import os, sys
        import vonk
        from pyspark.sql import SparkSession
        from vonk.spark import model_udf

        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        os.environ["PYSPARK_PYTHON"] = sys.executable

        def start():
            builder = SparkSession.builder.master("local[1]").config("spark.driver.memory", "512m")
            return builder.config("spark.ui.enabled", "false").getOrCreate()

        def show(spark):
            row = spark.createDataFrame([(1.5,)], "x float").select(predict("x")).first()
            print(row[0], len(list(spark.sparkContext.listFiles)))

        spark = start()
        predict = model_udf(sys.argv[1])
        show(spark)
        show(spark)
        spark.stop()
        try:
            predict("x")
        except vonk.InvalidError as error:
            print("stopped" if "was stopped" in str(error) else error)
        spark = start()
        show(spark)
        spark.stop()
        """,
        path,
    ) == ["30.0", "1", "30.0", "1", "stopped", "30.0", "1"]


def test_a_session_with_artifacts_of_its_own_finds_the_model(spark, tmp_path):
    (tmp_path / "helper_of_a_session.py").write_text("FACTOR = 21\n")
    session = spark.newSession()
    session.addArtifact(os.fspath(tmp_path / "helper_of_a_session.py"), pyfile=True)
    assert scaled(session, model_udf(save(tmp_path / "model.onnx", 21), spark=session)) == times(21)
