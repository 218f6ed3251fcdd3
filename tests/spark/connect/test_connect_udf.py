"""``model_udf`` on Spark Connect: the same calls, the same answers, without a JVM in this process."""

import hashlib
import os

import numpy
import onnx
import onnxruntime
import pytest
import vonk
from conftest import ROOT
from pyspark.sql import functions as sql
from test_shipping import save, scale, times
from vonk.spark import _fetch, _session, model_udf, register

IRIS = ROOT / "examples" / "iris" / "iris.onnx"
FLOWERS = numpy.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]], "f4")
X = [1.5, -2.0, 8.0]


@pytest.fixture(scope="module")
def flowers(spark):
    rows = [(i, row.tolist(), *row.tolist()) for i, row in enumerate(FLOWERS)]
    return spark.createDataFrame(rows, "id int, x array<float>, a float, b float, c float, d float").coalesce(1)


@pytest.fixture(scope="module")
def expected():
    names = ["probabilities", "species"]
    return dict(zip(names, onnxruntime.InferenceSession(IRIS).run(names, {"measurements": FLOWERS}), strict=True))


def scaled(spark, predict):
    rows = spark.createDataFrame([(x,) for x in X], "x float").coalesce(1)
    return [row[0] for row in rows.select(predict("x")).collect()]


# --- calls ---


def test_there_is_no_jvm_here(spark):
    assert type(spark).__module__.startswith("pyspark.sql.connect")
    with pytest.raises(Exception, match="sparkContext"):
        _ = spark.sparkContext


@pytest.mark.parametrize(
    "columns",
    [
        lambda: ["x"],
        lambda: [sql.col("x")],
        lambda: ["a", "b", "c", "d"],
        lambda: [sql.col("a"), "b", sql.col("c"), sql.col("d")],
        lambda: [sql.array("a", "b", "c", "d")],
        lambda: [sql.struct("x")],
        lambda: [sql.expr("transform(x, v -> v * 1)")],
    ],
    ids=["name", "column", "names", "columns", "array", "struct", "expression"],
)
def test_call_styles(flowers, expected, columns):
    predict = model_udf(IRIS, outputs=["probabilities"])
    found = numpy.array([row[0] for row in flowers.select(predict(*columns())).collect()], "f4")
    assert found.tolist() == expected["probabilities"].tolist()


def test_columns_keep_their_names(spark, tmp_path):
    """A model with two inputs: the names of columns say which is which, whatever their order."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Sub", ["minuend", "subtrahend"], ["y"])],
        "difference",
        [onnx.helper.make_tensor_value_info(name, 1, ["N"]) for name in ("minuend", "subtrahend")],
        [onnx.helper.make_tensor_value_info("y", 1, ["N"])],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    (tmp_path / "m.onnx").write_bytes(
        onnx.helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    )
    subtract = model_udf(tmp_path / "m.onnx")
    rows = spark.createDataFrame([(10.0, 4.0)], "minuend float, subtrahend float")
    assert rows.select(subtract("subtrahend", "minuend")).first()[0] == 6.0
    assert rows.select(subtract(sql.col("subtrahend"), sql.col("minuend"))).first()[0] == 6.0
    assert rows.select(subtract(rows.subtrahend, rows["minuend"])).first()[0] == 6.0
    named = model_udf(tmp_path / "m.onnx", inputs=["subtrahend", "minuend"])
    assert rows.select(named(sql.lit(4.0), sql.lit(10.0))).first()[0] == 6.0


def test_everywhere_a_function_may_stand(spark, flowers, expected):
    species = model_udf(IRIS, outputs=["species"])
    both = model_udf(IRIS)
    right = expected["species"].tolist()
    assert [row.s for row in flowers.withColumn("s", species("x")).collect()] == right
    assert flowers.where(species("x") == "virginica").count() == right.count("virginica")
    counted = flowers.groupBy(species("x").alias("s")).agg(sql.count("*").alias("n")).collect()
    assert {row.s: row.n for row in counted} == {name: right.count(name) for name in set(right)}
    found = flowers.select(both("x").alias("p")).select("p.species", "p.probabilities").collect()
    assert [row.species for row in found] == right
    assert [row.probabilities for row in found] == expected["probabilities"].tolist()
    register(spark, "species_of", species)
    register(spark, "classify", IRIS, outputs=["species"], on_error="report")
    flowers.createOrReplaceTempView("flowers")
    assert [row.s for row in spark.sql("SELECT species_of(x) AS s FROM flowers ORDER BY id").collect()] == right
    assert [row.s for row in spark.sql("SELECT species_of(a, b, c, d) s FROM flowers ORDER BY id").collect()] == right
    found = spark.sql("SELECT classify(x).value AS v, classify(x).error AS e FROM flowers ORDER BY id").collect()
    assert [(row.v, row.e) for row in found] == [(name, None) for name in right]


def test_broken_rows_and_nulls(spark):
    rows = spark.createDataFrame([(1, FLOWERS[0].tolist()), (2, [1.0]), (3, None)], "id int, x array<float>").coalesce(
        1
    )
    report = model_udf(IRIS, outputs=["species"], on_error="report")
    found = [row[0] for row in rows.orderBy("id").select(report("x")).collect()]
    assert (found[0].value, found[0].error) == ("setosa", None)
    assert found[1].value is None and "4" in found[1].error
    assert found[2] is None or found[2].value is None
    with pytest.raises(Exception, match=r"row 1 of the batch.*\[VONK_INVALID\]"):
        rows.select(model_udf(IRIS, outputs=["species"])("x")).collect()


# --- where models come from ---


def test_files_are_sent_once_and_by_their_content(spark, tmp_path, monkeypatch):
    sent = []

    def add(session, file):
        sent.append(file.name)
        session.addArtifact(os.fspath(file), file=True)

    monkeypatch.setattr(_session, "add_file", add)
    path = save(tmp_path / "ä b" / "model.onnx", 31)
    other = save(tmp_path / "model.onnx", 32)
    first, second = model_udf(path), model_udf(other)
    for _ in range(2):
        assert (scaled(spark, first), scaled(spark, second)) == (times(31), times(32))
    digests = [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in (path, other)]
    assert sorted(sent) == sorted(f"{digest}-model.onnx" for digest in digests)
    save(path, 33)
    assert (scaled(spark, first), scaled(spark, model_udf(path))) == (times(31), times(33))


def test_a_file_of_another_session_is_not_seen_and_is_sent_again(spark, tmp_path):
    predict = model_udf(save(tmp_path / "model.onnx", 34))
    assert scaled(spark, predict) == times(34)
    another = spark.newSession()
    other = model_udf(tmp_path / "model.onnx", spark=another)
    assert scaled(another, other) == times(34)


def test_models_of_several_files_and_local_ones(spark, tmp_path):
    onnx.save_model(scale(35, 64), os.fspath(tmp_path / "e.onnx"), save_as_external_data=True, location="w.bin",
                    size_threshold=0)  # fmt: skip
    assert scaled(spark, model_udf(tmp_path / "e.onnx")) == times(35)
    path = save(tmp_path / "model.onnx", 36)
    assert scaled(spark, model_udf(f"local:{path}")) == times(36)
    save(path, 43)
    predict = model_udf(f"local:{path}")
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    save(path, 37)
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(Exception, match=f"sha256 is {new}, expected {old}"):
        scaled(spark, predict)


def test_what_the_server_reads_is_fetched_as_rows(spark, tmp_path, monkeypatch):
    """With file:, which server and client happen to share here; hdfs: and s3a: go the same way."""
    monkeypatch.setattr(_fetch, "_PIECE", 1000)
    (tmp_path / "here").mkdir()
    (tmp_path / "there [1]" / "w").mkdir(parents=True)
    path = save(tmp_path / "there [1]" / "large é %20.onnx", 38, 5000)
    found = _fetch.fetch(spark, f"file:{path}", tmp_path / "here")
    assert found == tmp_path / "here" / "large é %20.onnx"
    assert found.read_bytes() == path.read_bytes()
    external = tmp_path / "there [1]" / "e.onnx"
    onnx.save_model(scale(39, 600), os.fspath(external), save_as_external_data=True, location="w/data.bin",
                    size_threshold=0)  # fmt: skip
    _fetch.fetch(spark, f"file://{external}", tmp_path / "here")
    assert (tmp_path / "here" / "w" / "data.bin").read_bytes() == (external.parent / "w" / "data.bin").read_bytes()
    folder = _fetch.fetch(spark, f"file:{external.parent}/", tmp_path / "here")
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()) == [
        "e.onnx", "large é %20.onnx", "w/data.bin",
    ]  # fmt: skip
    (tmp_path / "there [1]" / "empty").touch()
    with pytest.raises(vonk.FileError, match=r"there \[1\]/empty': is empty"):
        _fetch.fetch(spark, f"file:{tmp_path}/there [1]/empty", tmp_path / "here")
    for stem, name in (("m", "m.meta"), ("m", "m.index"), ("m", "m.data-00000-of-00001"), ("m", "m2.index")):
        (tmp_path / "there [1]" / name).write_text(stem)
    _fetch.fetch(spark, f"file:{tmp_path}/there [1]/m.meta", tmp_path / "here")
    assert sorted(file.name for file in (tmp_path / "here").glob("m*")) == [
        "m.data-00000-of-00001",
        "m.index",
        "m.meta",
    ]
    with pytest.raises(vonk.FileError, match=r"nothing.onnx': Spark cannot read it: \[PATH_NOT_FOUND\]"):
        _fetch.fetch(spark, f"file://{tmp_path}/nothing.onnx", tmp_path / "here")
    with pytest.raises(vonk.FileError, match=r"Spark cannot read it: .*UnsupportedFileSystem"):
        model_udf("nosuch://host/m.onnx")


def test_live_models(spark, flowers):
    datasets = pytest.importorskip("sklearn.datasets", reason="make setup EXTRAS=sklearn")
    pytest.importorskip("skl2onnx", reason="make setup EXTRAS=sklearn")
    linear_model = pytest.importorskip("sklearn.linear_model")
    classifier = linear_model.LogisticRegression(max_iter=500).fit(*datasets.load_iris(return_X_y=True))
    predict = model_udf(classifier, outputs=["probabilities"])
    found = numpy.array([row[0] for row in flowers.select(predict("x")).collect()])
    numpy.testing.assert_allclose(found, classifier.predict_proba(FLOWERS), atol=1e-4)


def test_loaders(spark, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    path = os.fspath(save(tmp_path / "model.onnx", 40))

    def load(name):
        (marks / str(os.getpid())).touch(exist_ok=False)  # a second call in one process fails
        return name

    for _ in range(2):
        assert scaled(spark, model_udf(path, model_loader=load)) == times(40)
    assert scaled(spark, model_udf(path, model_loader=load, return_type="float")) == times(40)
    called = {int(mark.name) for mark in marks.iterdir()}
    assert called and os.getpid() not in called

    def broken(name):
        raise ValueError(f"no such run: {name}")

    with pytest.raises(vonk.ModelError, match=r"broken\('r1'\): failed on this worker: ValueError: no such run: r1"):
        model_udf("r1", model_loader=broken)
    with pytest.raises(Exception, match=r"broken\('r1'\) .*failed on this worker: ValueError: no such run: r1"):
        scaled(spark, model_udf("r1", model_loader=broken, return_type="float"))


def test_the_bound_is_a_setting_of_the_session(spark, tmp_path):
    another = spark.newSession()
    another.conf.set("spark.vonk.modelMemory", "10k")
    path = save(tmp_path / "model.onnx", 41, 1 << 18)
    with pytest.raises(Exception, match=r"spark.vonk.modelMemory allows a worker's models 10,240"):
        scaled(another, model_udf(path, spark=another))
    assert scaled(spark, model_udf(path)) == times(41)
