"""``vonk.spark.Model`` as a stage of Spark ML, against what onnxruntime gives."""

import subprocess
import sys
import textwrap

import numpy
import pytest
import vonk
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.ml.linalg import DenseVector, VectorUDT
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder, TrainValidationSplit
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.types import ArrayType, FloatType, StringType
from udf_models import FLOWERS, IRIS, MNIST, run
from vonk.spark import Model, _compat, _persist, model_udf, stats

COLUMNS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def flowers(spark):
    """60 flowers as an array, as columns and with a label that depends on the petals."""
    rng = numpy.random.default_rng(7)
    measured = rng.uniform([4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5], (60, 4)).astype("f4")
    label = (measured[:, 2] + rng.normal(0, 0.5, 60) > 4).astype("f8")
    rows = [(i, row.tolist(), *row.tolist(), float(label[i])) for i, row in enumerate(measured)]
    schema = "id int, x array<float>, a float, b float, c float, d float, label double"
    frame = spark.createDataFrame(rows, schema).coalesce(2).cache()
    frame.measured, frame.labels = measured, label
    return frame


def probabilities(rows):
    return run(IRIS, measurements=rows)["probabilities"]


def column(frame, name):
    return [row[name] for row in frame.orderBy("id").select(name).collect()]


# --- parameters ---


def test_each_parameter_has_a_getter_a_setter_and_a_text():
    stage = Model("model.onnx")
    given = {
        "inputCol": "x", "inputCols": ["x", "y"], "outputCol": "p", "outputCols": ["p", "q"], "batchSize": 7,
        "nulls": "error", "onError": "report", "outputAs": "top5", "squeeze": True, "outputs": {"y": "z"},
        "inputs": {"t": ["x", "y"]}, "returnType": "array<float>", "options": {"threads_per_run": 2},
    }  # fmt: skip
    assert {param.name for param in stage.params} == set(given)
    for name, value in given.items():
        word = name[0].upper() + name[1:]
        assert getattr(stage, f"set{word}")(value) is stage
        assert getattr(stage, f"get{word}")() == value
    assert all(len(param.doc) > 15 for param in stage.params)
    assert "batchSize: rows in one run of the model; 0 chooses. (default: 0, current: 7)" in stage.explainParams()
    same = Model("model.onnx", **given)
    assert {param.name: value for param, value in same.extractParamMap().items()} == given


def test_a_copy_has_its_own_parameters_and_the_same_model():
    stage = Model("model.onnx", inputCol="x", batchSize=3)
    copy = stage.copy({stage.batchSize: 9})
    assert (stage.getBatchSize(), copy.getBatchSize(), copy.uid) == (3, 9, stage.uid)
    assert copy._given is stage._given


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: Model("m", "x"), TypeError),
        (lambda: Model(batchSize="many"), TypeError),
        (lambda: Model(inputCols="x"), TypeError),
        (lambda: Model(inputs=["x"]), TypeError),
        (lambda: Model(options={"a": [1]}), TypeError),
        (lambda: Model(onError="ignore"), vonk.InvalidError),
        (lambda: Model().setParams(batch=3), vonk.InvalidError),
    ],
)
def test_a_parameter_of_another_kind_is_refused_when_it_is_set(wrong, error):
    with pytest.raises(error):
        wrong()


# --- predicting ---


def test_the_calls_of_sparkext_give_what_the_framework_gives(spark, flowers):
    stage = Model(IRIS).setInputCol("x").setOutputCol("preds").setBatchSize(16)
    found = stage.transform(flowers)
    assert found.columns == [*flowers.columns, "preds"]
    assert found.schema == stage.transformSchema(flowers.schema)
    rows = found.orderBy("id").collect()
    assert [row.preds.probabilities for row in rows] == probabilities(flowers.measured).tolist()
    assert [row.preds.species for row in rows] == run(IRIS, measurements=flowers.measured)["species"].tolist()


def test_columns_vectors_and_mappings_give_the_same(spark, flowers):
    expected = probabilities(flowers.measured).tolist()
    vectors = VectorAssembler(inputCols=COLUMNS, outputCol="v").transform(flowers)
    for frame, options in (
        (flowers, {"inputCols": COLUMNS}),
        (flowers, {"inputs": {"measurements": COLUMNS}}),
        (flowers, {"inputs": {"measurements": "x"}, "inputCols": ["id", "x"]}),
        (flowers.select("id", F.struct("x").alias("s")), {"inputCol": "s.x"}),
        (flowers.select("id", F.col("x").alias("a.b")), {"inputCol": "a.b"}),
        (vectors, {"inputCol": "v"}),
    ):
        stage = Model(IRIS, outputCols=["p"], outputs=["probabilities"], **options)
        assert column(stage.transform(frame), "p") == expected, options


def test_several_outputs_become_columns(spark, flowers):
    stage = Model(IRIS, inputCol="x", outputCols=["p", "kind"])
    found = stage.transform(flowers)
    assert found.columns == [*flowers.columns, "p", "kind"]
    assert [field.dataType for field in found.schema[-2:]] == [ArrayType(FloatType()), StringType()]
    assert column(found, "kind") == run(IRIS, measurements=flowers.measured)["species"].tolist()


def test_arrays_become_vectors_for_other_stages(spark):
    rows = [(i, row.tolist()) for i, row in enumerate(FLOWERS)]
    frame = spark.createDataFrame([*rows, (4, None)], "id int, x array<float>")
    stage = Model(IRIS, inputCol="x", outputCols=["p", "kind"], outputAs="vector")
    found = stage.transform(frame)
    assert found.schema == stage.transformSchema(frame.schema)
    assert isinstance(found.schema["p"].dataType, VectorUDT)
    expected = [DenseVector(row) for row in probabilities(FLOWERS)]
    assert column(found, "p") == [*expected, None]
    with pytest.raises(vonk.InvalidError, match="'vector' wants an array of numbers, the model gives string"):
        Model(IRIS, inputCol="x", outputs=["species"], outputAs="vector").transform(frame)


def test_broken_rows_are_reported_beside_the_outputs(spark):
    rows = [(i, row.tolist()) for i, row in enumerate(FLOWERS)]
    rows[1] = (1, [1.0, 2.0])
    rows[2] = (2, None)
    frame = spark.createDataFrame(rows, "id int, x array<float>")
    stage = Model(IRIS, inputCol="x", outputCols=["p", "kind", "why"], onError="report")
    found = stage.transform(frame).orderBy("id").collect()
    species = run(IRIS, measurements=FLOWERS)["species"].tolist()
    assert [row.kind for row in found] == [species[0], None, None, species[3]]
    assert [row.p is None for row in found] == [False, True, True, False]
    assert (found[0].why, found[2].why) == (None, "column 'x': is NULL")
    assert "2" in found[1].why and "4" in found[1].why, found[1].why


def test_what_does_not_fit_is_said_before_there_is_a_job(spark, flowers):
    cases = {
        "column 'y': the DataFrame has none": {"inputCol": "y"},
        "column 'LABEL': is there already": {"inputCol": "x", "outputCol": "LABEL"},
        "column 'p': is there already": {"inputCol": "x", "outputCols": ["p", "p"]},
        "inputCol: is not set": {},
        "inputCol, inputCols: both": {"inputCol": "x", "inputCols": ["x"]},
        "outputCol, outputCols: both": {"inputCol": "x", "outputCol": "p", "outputCols": ["p", "q"]},
        "outputCols: names 1 columns (p), the model gives 2 (probabilities, species)": {
            "inputCol": "x", "outputCols": ["p"],
        },
        "column 'when'": {"inputCol": "when"},
        "return_type: is string": {"inputCol": "x", "returnType": "string"},
    }  # fmt: skip
    frame = flowers.withColumn("when", F.current_timestamp())
    spark.sparkContext.setJobGroup("checks", "no job may run")
    try:
        for message, options in cases.items():
            with pytest.raises(vonk.Error) as error:
                Model(IRIS, **options).transform(frame)
            assert message in str(error.value), (message, str(error.value))
        with pytest.raises(vonk.InvalidError, match="the stage has none"):
            Model(inputCol="x").transform(frame)
        with pytest.raises(vonk.FileError):
            Model("nothing.onnx", inputCol="x").transform(frame)
        assert list(spark.sparkContext.statusTracker().getJobIdsForGroup("checks")) == []
    finally:
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)


def test_the_model_runs_once_for_a_row_however_its_column_is_used(spark, flowers):
    stage = Model(IRIS, inputCol="x", outputCol="p", outputs=["probabilities"])
    scored = stage.transform(flowers)
    used = scored.filter("p[0] >= 0 AND p[1] >= 0 AND label = 1").selectExpr("p[0] + p[1] AS s", "p[2] AS t")
    plan = used._jdf.queryExecution().optimizedPlan().toString()
    assert plan.count("ArrowEvalPython") == 1, plan
    below = plan[plan.index("Generate") :]
    assert "label" in below[below.index("Filter") :].split("\n")[0], plan  # it moved below the model
    before = stats().rows
    assert used.count() == int(flowers.labels.sum())
    assert stats().rows - before == int(flowers.labels.sum())


def test_the_model_is_what_it_was_when_it_was_first_used(spark, flowers, tmp_path):
    file = tmp_path / "iris.onnx"
    file.write_bytes(IRIS.read_bytes())
    stage = Model(file, inputCol="x", outputCols=["p"], outputs=["probabilities"])
    assert column(stage.transform(flowers), "p") == probabilities(flowers.measured).tolist()
    file.write_bytes(MNIST.read_bytes())
    assert column(stage.copy({stage.batchSize: 5}).transform(flowers), "p") == probabilities(flowers.measured).tolist()
    file.unlink()
    stage.save(f"{tmp_path}/saved")
    assert Model.load(f"{tmp_path}/saved").summary().num_params == 15


# --- in Pipelines ---


def expected_labels(classifier, features):
    """What a binary LogisticRegression says of features, from its coefficients."""
    return (features @ classifier.coefficients.toArray() + classifier.intercept > 0).astype("f8")


def test_a_pipeline_learns_from_the_models_features(spark, flowers, tmp_path):
    pipeline = Pipeline(
        stages=[
            VectorAssembler(inputCols=COLUMNS, outputCol="v"),
            Model(IRIS, inputCol="v", outputCols=["f", "kind"], outputAs="vector"),
            LogisticRegression(featuresCol="f", maxIter=8),
        ]
    )
    fitted = pipeline.fit(flowers)
    expected = expected_labels(fitted.stages[-1], probabilities(flowers.measured).astype("f8"))
    found = fitted.transform(flowers)
    assert column(found, "prediction") == expected.tolist()
    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(found)
    assert accuracy == pytest.approx((expected == flowers.labels).mean(), abs=1e-12)
    assert accuracy > 0.7, accuracy

    fitted.write().overwrite().save(f"{tmp_path}/fitted")
    loaded = PipelineModel.load(f"{tmp_path}/fitted")
    assert [stage.uid for stage in loaded.stages] == [stage.uid for stage in fitted.stages]
    assert loaded.transform(flowers).orderBy("id").collect() == found.orderBy("id").collect()


def test_a_cross_validator_around_a_pipeline_finds_what_it_finds_on_the_models_features(spark, flowers, tmp_path):
    classifier = LogisticRegression(featuresCol="f", maxIter=2)
    model = Model(IRIS, inputCol="x", outputCol="f", outputs=["probabilities"], outputAs="vector")
    settings = {"evaluator": MulticlassClassificationEvaluator(metricName="logLoss"), "seed": 3}
    grid = ParamGridBuilder().addGrid(classifier.regParam, [0.0, 5.0]).build()
    stages = Pipeline(stages=[model, classifier])
    validator = CrossValidator(estimator=stages, estimatorParamMaps=grid, numFolds=2, parallelism=2, **settings)
    found = validator.fit(flowers)
    known = [(i, DenseVector(row)) for i, row in enumerate(probabilities(flowers.measured))]
    features = spark.createDataFrame(known, ["id", "f"])
    scored = flowers.join(features, "id").orderBy("id").coalesce(1).cache()
    assert scored.count() == 60
    split = TrainValidationSplit(estimator=stages, estimatorParamMaps=grid[:1], trainRatio=0.7, **settings)
    assert min(found.avgMetrics) < max(found.avgMetrics)
    best = found.bestModel.stages[-1]
    assert best.getRegParam() == 0.0
    whole = classifier.fit(scored)
    assert best.coefficients.toArray() == pytest.approx(whole.coefficients.toArray(), abs=1e-6)
    found.write().overwrite().save(f"{tmp_path}/validated")
    loaded = CrossValidatorModel.load(f"{tmp_path}/validated")
    assert column(loaded.transform(flowers), "prediction") == column(found.transform(flowers), "prediction")
    assert split.fit(flowers).bestModel.stages[-1].coefficients == best.coefficients


# --- saving ---


def test_a_saved_stage_gives_the_same_bits_in_another_process(spark, tmp_path):
    rng = numpy.random.default_rng(3)
    images = rng.random((5, 784)).astype("f4")
    path = f"file://{tmp_path}/stage"
    stage = Model(MNIST, inputCol="x", outputCol="p", batchSize=2)
    stage.save(path)
    script = """
        import sys, numpy
        from pyspark.sql import SparkSession
        from vonk.spark import Model
        spark = (SparkSession.builder.master("local[1]").config("spark.driver.memory", "1g")
                 .config("spark.ui.enabled", "false").getOrCreate())
        images = numpy.random.default_rng(3).random((5, 784)).astype("f4")
        frame = spark.createDataFrame([(i, row.tolist()) for i, row in enumerate(images)], "id int, x array<float>")
        stage = Model.load(sys.argv[1])
        found = [row.p for row in stage.transform(frame).orderBy("id").collect()]
        print("FOUND", stage.uid, stage.getBatchSize(), numpy.array(found, "f4").tobytes().hex())
        spark.stop()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), path], capture_output=True, text=True, check=False, timeout=300
    )
    said = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("FOUND")]
    frame = spark.createDataFrame([(i, row.tolist()) for i, row in enumerate(images)], "id int, x array<float>")
    here = numpy.array(column(stage.transform(frame), "p"), "f4")
    numpy.testing.assert_allclose(here, run(MNIST, pixels=images)["probabilities"], rtol=1e-5)
    assert said == [[stage.uid, "2", here.tobytes().hex()]], done.stderr[-3000:]


def full(*given, **named):
    raise OSError("the disk is full")


def test_where_something_is_already_nothing_changes_without_overwrite(spark, flowers, tmp_path, monkeypatch):
    path = tmp_path / "stage"
    Model(MNIST, inputCol="x").save(path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    other = Model(IRIS, inputCol="x", outputCols=["p", "kind"])
    with pytest.raises(vonk.FileError, match="something already"):
        other.save(path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    with monkeypatch.context() as patched, pytest.raises(OSError, match="full"):
        patched.setattr(_persist.DefaultParamsWriter, "saveMetadata", full)
        other.write().overwrite().save(path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert list(tmp_path.iterdir()) == [path]
    other.write().overwrite().save(path)
    loaded = Model.load(path)
    assert (loaded.uid, loaded.getOutputCols()) == (other.uid, ["p", "kind"])
    loaded.write().overwrite().save(path)  # over the folder that it came from
    assert list(tmp_path.iterdir()) == [path]
    species = run(IRIS, measurements=flowers.measured)["species"].tolist()
    assert column(Model.load(path).transform(flowers), "kind") == species


def test_a_damaged_or_unfinished_stage_is_not_loaded(spark, tmp_path):
    path = tmp_path / "stage"
    Model(MNIST, inputCol="x").save(path)
    part = next((path / "data").glob("part-*"))
    sums = part.with_name(f".{part.name}.crc")
    whole, sum_ = part.read_bytes(), sums.read_bytes()
    sums.unlink()  # without Hadoop's own sums it is our digest that tells
    changed = bytearray(whole)
    changed[whole.index(MNIST.read_bytes()[:4096]) + 1000] ^= 1
    part.write_bytes(changed)
    with pytest.raises(vonk.ModelError, match=r"'mnist\.onnx' in it is damaged"):
        Model.load(path)
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(vonk.ModelError, match=r"data cannot be read: \[.*: save the stage again"):
        Model.load(path)
    part.write_bytes(whole)
    sums.write_bytes(sum_)
    assert Model.load(path).getInputCol() == "x"
    (path / "data").rename(tmp_path / "data")
    with pytest.raises(vonk.FileError, match="data is missing"):
        Model.load(path)
    (tmp_path / "data").rename(path / "data")
    for file in (path / "metadata").iterdir():
        file.unlink()
    (path / "metadata").rmdir()
    with pytest.raises(vonk.FileError, match="metadata is missing"):
        Model.load(path)


def test_a_save_that_fails_does_not_look_complete(spark, tmp_path, monkeypatch):
    stage = Model(IRIS, inputCol="x")
    shipment = stage._ship(spark)
    stage._given.keep((), type(shipment)(vonk_source(shipment, sha256="0" * 64), shipment.path))
    with pytest.raises(Exception, match="copy is damaged"):
        stage.save(tmp_path / "stage")
    with pytest.raises(vonk.FileError, match="holds no complete stage"):
        Model.load(tmp_path / "stage")


def vonk_source(shipment, **changes):
    return type(shipment.source)(**{**vars(shipment.source), **changes})


def test_another_class_is_not_loaded_as_a_model(spark, tmp_path):
    SQLTransformer(statement="SELECT 1 FROM __THIS__").save(f"{tmp_path}/sql")
    with pytest.raises(vonk.InvalidError, match=r"holds a org.apache.spark.ml.feature.SQLTransformer"):
        Model.load(f"{tmp_path}/sql")


def load_iris():
    """A model_loader: what it names is on every node here."""
    return str(IRIS)


def test_a_loader_is_saved_by_its_name(spark, flowers, tmp_path):
    stage = Model(model_loader=load_iris, inputCol="x", outputCols=["p", "kind"])
    expected = run(IRIS, measurements=flowers.measured)["species"].tolist()
    assert column(stage.transform(flowers), "kind") == expected
    stage.save(tmp_path / "stage")
    loaded = Model.load(tmp_path / "stage")
    assert loaded._given.loader is load_iris
    assert column(loaded.transform(flowers), "kind") == expected
    for loader in (lambda: str(IRIS), test_a_loader_is_saved_by_its_name.__get__(1)):
        with pytest.raises(vonk.InvalidError, match="cannot be saved: it is no function that an import finds"):
            Model(model_loader=loader, inputCol="x").save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


# --- Spark 4.0 ---


def test_without_arrow_functions_results_are_the_same(spark, flowers, monkeypatch):
    """As on Spark 4.0: a function row by row, a stage in whole batches."""
    monkeypatch.setattr(_compat, "has_arrow_udf", lambda: False)
    _compat._warn_once.cache_clear()
    species = run(IRIS, measurements=flowers.measured)["species"].tolist()
    stage = Model(IRIS, inputCols=COLUMNS, outputCols=["p", "kind", "why"], onError="report")
    found = stage.transform(flowers.withColumn("b", F.expr("if(id = 1, NULL, b)")))
    assert "MapInArrow" in found._jdf.queryExecution().executedPlan().toString()
    assert column(found, "kind") == [None if i == 1 else name for i, name in enumerate(species)]
    assert found.columns == [*flowers.columns, "p", "kind", "why"]
    with pytest.warns(UserWarning, match="row by row") as said:
        function = model_udf(IRIS)
        for argument in ("x", F.struct("x"), F.struct(*COLUMNS)):
            rows = flowers.select("id", function(argument).alias("p"))
            assert [row.species for row in column(rows, "p")] == species, argument
    assert sum("row by row" in str(one.message) for one in said) == 1
    plan = rows._jdf.queryExecution().executedPlan().toString()
    assert "BatchEvalPython" in plan, plan
