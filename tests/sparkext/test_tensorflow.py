"""sparkext.tensorflow: the old library's cases with their values, named inputs, and what it could not do."""

import linear_keras
import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="make setup EXTRAS=tensorflow")
pytest.importorskip("tensorflow", reason="make setup EXTRAS=tensorflow")
from pyspark.sql.functions import col, struct  # noqa: E402
from sparkext.tensorflow import Model, model_summary, model_udf  # noqa: E402

TWO = 4.758
PLACES = 0.005


@pytest.fixture(scope="module")
def linear():
    return linear_keras.trained()


@pytest.fixture(scope="module")
def files(tmp_path_factory, linear):
    """The linear model in every form that Keras writes."""
    folder = tmp_path_factory.mktemp("linear")
    linear.save(folder / "model.keras")
    linear.save(folder / "model.h5")
    linear.export(folder / "model", verbose=False)
    return folder


def predicted(frame, function, column="data"):
    """The only prediction; it is an array of one, as of old."""
    (row,) = frame.select(function(column).alias("preds")).collect()
    print(row.preds, TWO)
    (value,) = row.preds
    return value


def test_a_live_model(ones, linear):
    function = model_udf(linear)
    assert function.returnType.simpleString() == "array<float>"
    assert abs(predicted(ones, function) - TWO) < PLACES


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model"])
def test_a_path(ones, files, linear, name):
    found = predicted(ones, model_udf(str(files / name)))
    assert abs(found - TWO) < PLACES
    assert abs(found - linear.predict(np.ones((1, 2), "f4"), verbose=0)[0, 0]) < 1e-6


def test_a_loader(ones, files):
    found = predicted(ones, model_udf(str(files / "model.keras"), model_loader=linear_keras.load))
    assert abs(found - TWO) < PLACES


def test_a_column_in_a_struct(ones, linear):
    """As the branch model_udf wanted it."""
    assert abs(predicted(ones, model_udf(linear), struct(col("data"))) - TWO) < PLACES


def test_a_stage(ones, linear):
    stage = Model(linear).setInputCol("data").setOutputCol("preds")
    (row,) = stage.transform(ones).collect()
    print(row.preds, TWO)
    assert abs(row.preds[0] - TWO) < PLACES


# --- several named inputs, of text and numbers, each [rows, 1], as in the old notebook feature_columns ---


@pytest.fixture(scope="module")
def pets():
    return linear_keras.pets()


@pytest.fixture(scope="module")
def pet_rows():
    rng = np.random.default_rng(3)
    return {
        "Type": rng.choice(["Cat", "Dog"], 20).tolist(),
        "Age": rng.integers(0, 50, 20).tolist(),
        "Fee": rng.integers(0, 400, 20).tolist(),
    }


@pytest.fixture
def pet_frame(spark, pet_rows):
    rows = list(zip(*pet_rows.values(), strict=True))
    return spark.createDataFrame(rows, "Type string, Age long, Fee long").coalesce(1)


def expected(pets, rows):
    feeds = {
        "Type": keras.ops.convert_to_tensor(np.array(rows["Type"], object)[:, None]),
        "Age": np.array(rows["Age"])[:, None],
        "Fee": np.array(rows["Fee"])[:, None],
    }
    return pets.predict(feeds, verbose=0)[:, 0]


def test_columns_meet_inputs_by_name(pet_frame, pet_rows, pets):
    score = model_udf(pets)
    found = [row.p[0] for row in pet_frame.select(score("Fee", "Age", "Type").alias("p")).collect()]
    assert np.abs(found - expected(pets, pet_rows)).max() < 1e-5


@pytest.mark.parametrize("call", ["columns", "struct"])
def test_input_columns_name_the_inputs_by_position(pet_frame, pet_rows, pets, call):
    renamed = pet_frame.select(col("Fee").alias("c"), col("Type").alias("a"), col("Age").alias("b"))
    score = model_udf(pets, input_columns=["Type", "Age", "Fee"])
    column = score("a", "b", "c") if call == "columns" else score(struct("a", "b", "c"))
    found = [row.p[0] for row in renamed.select(column.alias("p")).collect()]
    assert np.abs(found - expected(pets, pet_rows)).max() < 1e-5


def test_a_stage_of_several_columns(pet_frame, pet_rows, pets):
    renamed = pet_frame.toDF("a", "b", "c")
    stage = Model(pets, input_columns=["Type", "Age", "Fee"]).setInputCols(["a", "b", "c"]).setOutputCol("p")
    found = [row.p[0] for row in stage.transform(renamed).collect()]
    assert np.abs(found - expected(pets, pet_rows)).max() < 1e-5


def test_the_summary(linear, pets):
    summary = model_summary(linear)
    print(summary)
    assert summary.num_params == 3 == linear.count_params()
    (x,) = summary.inputs
    assert (x.shape, x.dtype) == ([-1, 2], "array<float>")
    assert summary.return_type == summary.get_return_type() == "array<float>"
    kinds = {one.name: (one.shape, one.dtype) for one in model_summary(pets).inputs}
    assert kinds == {
        "Type": ([-1, 1], "array<string>"),
        "Age": ([-1, 1], "array<bigint>"),
        "Fee": ([-1, 1], "array<bigint>"),
    }


@pytest.mark.parametrize("loader", [None, linear_keras.load_sides])
def test_a_model_that_does_not_know_its_shapes(spark, loader):
    """The old parameter input_shape was read by nothing."""
    stage = Model(linear_keras.sides() if loader is None else "nowhere", model_loader=loader)
    stage.setInputShape([[1], [-1, 1]]).setInputCols(["a", "b"]).setOutputCol("preds")
    (row,) = stage.transform(spark.createDataFrame([(2.0, 1.0)], "b float, a float")).collect()
    print(row.preds, 3.14 + 2 * 1.618)
    assert abs(row.preds[0] - (3.14 + 2 * 1.618)) < PLACES
