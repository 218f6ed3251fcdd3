"""What the old library did wrong, and does right now: one test for each."""

import os

import linear_torch
import numpy as np
import pytest
from onnx import TensorProto
from pyspark.sql.functions import col, struct
from small_onnx import batch_counter, identity, save, weighted

torch = pytest.importorskip("torch", reason="make setup EXTRAS=torch")
import sparkext.onnx  # noqa: E402
import sparkext.torch  # noqa: E402

ROWS = 10


def loads(log):
    """Process ids, one for each call of the loader."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []


@pytest.fixture
def ten(spark):
    """The numbers 0 to 9 in one partition."""
    return spark.createDataFrame([([float(i), 1.0],) for i in range(ROWS)], "data array<float>").coalesce(1)


@pytest.mark.parametrize(
    ("size", "parts"), [(-2, [10]), (-1, [10]), (0, [10]), (1, [1] * 10), (4, [4, 4, 2]), (10, [10]), (1000, [10])]
)
def test_batches_are_of_the_size_asked_for_and_none_is_lost(ten, tmp_path, size, parts):
    """With a batch size, torch gave the last batch only."""
    count = sparkext.onnx.model_udf(save(batch_counter(), tmp_path / "count.onnx"), batch_size=size)
    found = [list(row.p) for row in ten.select(count("data").alias("p")).collect()]
    expected = [[float(i), float(n)] for i, n in enumerate(n for n in parts for _ in range(n))]
    print(found, expected)
    assert found == expected


def test_torch_with_a_batch_size_gives_all_rows(ten):
    linear = sparkext.torch.model_udf(linear_torch.trained(), batch_size=4)
    found = [row.p[0] for row in ten.select(linear("data").alias("p")).collect()]
    expected = [3.14 * i + 1.618 for i in range(ROWS)]
    print(found, expected)
    assert np.abs(np.subtract(found, expected)).max() < 1e-5


def test_a_remainder_of_one_row(spark):
    """A batch of one row lost its dimension."""
    frame = spark.createDataFrame([([float(i), 0.0],) for i in range(11)], "data array<float>").coalesce(1)
    linear = sparkext.torch.model_udf(linear_torch.trained(), batch_size=10)
    found = [row.p for row in frame.select(linear("data").alias("p")).collect()]
    assert np.abs(np.array(found)[:, 0] - 3.14 * np.arange(11)).max() < 1e-5


def test_torch_predicts_in_eval_mode_and_the_module_stays_as_it_was(ten):
    """The old one left Dropout on."""
    model = linear_torch.dropping()
    assert model.training
    dropping = sparkext.torch.model_udf(model)
    first, second = ([row.p[0] for row in ten.select(dropping("data").alias("p")).collect()] for _ in range(2))
    assert model.training
    with torch.no_grad():
        expected = model.eval()(torch.tensor([[float(i), 1.0] for i in range(ROWS)]))[:, 0]
    print(first, second, expected)
    assert first == second
    assert np.abs(np.array(first) - expected.numpy()).max() < 1e-5


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).standard_normal((5, 36)).astype("f4")


def test_a_convolution_first(spark, images):
    """Its shape was taken from the first weights, which say nothing of it."""
    model = linear_torch.convolution()
    frame = spark.createDataFrame([(row.tolist(),) for row in images], "data array<float>").coalesce(1)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(images).reshape(-1, 1, 6, 6)).numpy()
    function = sparkext.torch.model_udf(model, input_shape=[1, 6, 6])
    found = np.array([row.p for row in frame.select(function("data").alias("p")).collect()])
    assert found.shape == expected.shape == (5, 3)
    assert np.abs(found - expected).max() < 1e-5
    stage = sparkext.torch.Model(model).setInputShape([-1, 1, 6, 6]).setInputCol("data").setOutputCol("p")
    found = np.array([row.p for row in stage.transform(frame).collect()])
    assert np.abs(found - expected).max() < 1e-5
    summary = sparkext.torch.model_summary(model, input_shape=[1, 6, 6])
    assert (summary.inputs[0].shape, summary.inputs[0].dtype) == ([-1, 1, 6, 6], "array<array<array<float>>>")
    assert summary.num_params == sum(one.numel() for one in model.parameters())


def test_a_shape_that_nobody_said_is_asked_for():
    with pytest.raises(ValueError, match=r"input_shape=, such as \[1, 28, 28\], or setInputShape"):
        sparkext.torch.model_udf(linear_torch.convolution())


def test_a_model_of_sequences_is_not_taken_for_one_of_rows(spark):
    """It begins with a linear layer, and takes rows of two features: as the steps of one sequence."""
    model = linear_torch.Steps().eval()
    with pytest.raises(ValueError, match=r"another beside other rows\): give input_shape=, such as \[10, 2\]"):
        sparkext.torch.model_udf(model)
    steps = np.random.default_rng(5).standard_normal((4, 3, 2)).astype("f4")
    with torch.no_grad():
        expected = model(torch.from_numpy(steps)).numpy()
    frame = spark.createDataFrame([(one.tolist(),) for one in steps], "x array<array<float>>").coalesce(1)
    function = sparkext.torch.model_udf(model, input_shape=[3, 2])
    found = np.array([row.p for row in frame.select(function("x").alias("p")).collect()])
    print(found, expected)
    assert found.shape == expected.shape == (4, 1)
    assert np.abs(found - expected).max() < 1e-5


def test_several_arguments_of_numbers(spark):
    """Each column is one number per row, as the old notebook `regression` had it."""
    model = linear_torch.housing()
    values = np.random.default_rng(4).standard_normal((6, 3)).astype("f4")
    frame = spark.createDataFrame(values.tolist(), "a float, b float, c float").coalesce(1)
    with torch.no_grad():
        expected = model(*torch.from_numpy(values).T).numpy()
    function = sparkext.torch.model_udf(model, input_columns=["a", "b", "c"])
    for column in (function("a", "b", "c"), function(struct("a", "b", "c"))):
        found = np.array([row.p for row in frame.select(column.alias("p")).collect()])
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-5


def test_two_models_in_a_worker_stay_both_open(spark, tmp_path):
    """There was room for one: each switch loaded again. The old suite saw by the clock whether a loader ran again."""
    frame = spark.range(0, 8, 1, 2).selectExpr("array(float(id), float(1)) AS data")
    path = save(weighted([1.0, 2.0]), tmp_path / "model.onnx")
    logs = [tmp_path / "first", tmp_path / "second"]
    one, two = (
        sparkext.onnx.model_udf(str(path), model_loader=logging_loader(log), return_type="array<float>") for log in logs
    )
    for _ in range(3):
        frame.select(one("data")).collect()
        frame.select(two("data")).collect()
    for log in logs:
        found = loads(log)
        print(found)
        assert 0 < len(found) == len(set(found)) <= 2, "once in each worker process"


def logging_loader(log):
    """A loader that notes in which process it runs."""

    def load(path):
        with open(log, "a") as file:  # noqa: PTH123
            file.write(f"{os.getpid()}\n")
        return path

    return load


def test_the_driver_does_not_load_with_a_loader(spark, tmp_path):
    log = tmp_path / "log"
    path = save(weighted([1.0, 2.0]), tmp_path / "model.onnx")
    function = sparkext.onnx.model_udf(str(path), model_loader=logging_loader(log))
    frame = spark.createDataFrame([([3.0, 4.0],)], "data array<float>")
    assert [row.p for row in frame.select(function("data").alias("p")).collect()] == [[11.0]]
    sparkext.onnx.model_summary(str(path), model_loader=logging_loader(log))
    assert loads(log)
    assert os.getpid() not in loads(log)


def test_fewer_rows_in_a_batch_than_columns(spark, tmp_path):
    """With plain columns and a batch size below their number, it was the columns that were cut."""
    frame = spark.createDataFrame(
        [tuple(map(float, range(i, i + 4))) for i in range(5)], "a float, b float, c float, d float"
    )
    path = save(weighted([1.0, 10.0, 100.0, 1000.0]), tmp_path / "wide.onnx")
    function = sparkext.onnx.model_udf(path, batch_size=2)
    found = [row.p[0] for row in frame.coalesce(1).select(function("a", "b", "c", "d").alias("p")).collect()]
    assert found == [i + 10 * (i + 1) + 100 * (i + 2) + 1000 * (i + 3) for i in range(5)]


def test_a_null_gives_null_and_other_rows_their_predictions(spark, tmp_path):
    frame = spark.createDataFrame([(0, [1.0, 2.0]), (1, None), (2, [3.0, 4.0])], "id int, data array<float>")
    function = sparkext.onnx.model_udf(save(weighted([1.0, 2.0]), tmp_path / "model.onnx"))
    found = {row.id: row.p for row in frame.select("id", function("data").alias("p")).collect()}
    assert found == {0: [5.0], 1: None, 2: [11.0]}


@pytest.mark.parametrize(
    ("element", "column", "value", "kind"),
    [
        (TensorProto.UINT8, "smallint", 200, "smallint"), (TensorProto.FLOAT16, "float", 0.5, "float"),
        (TensorProto.STRING, "string", "déjà", "string"), (TensorProto.BOOL, "boolean", True, "boolean"),
        (TensorProto.UINT32, "bigint", 2**32 - 1, "bigint"), (TensorProto.BFLOAT16, "float", 1.5, "float"),
    ],
)  # fmt: skip
def test_dtypes_that_were_missing(spark, tmp_path, element, column, value, kind):
    function = sparkext.onnx.model_udf(save(identity(element), tmp_path / "same.onnx"))
    assert function.returnType.simpleString() == f"array<{kind}>"
    (row,) = (
        spark.createDataFrame([([value, value],)], f"data array<{column}>")
        .select(function("data").alias("p"))
        .collect()
    )
    assert row.p == [value, value]


def test_several_outputs_are_a_struct(spark, tmp_path):
    function = sparkext.onnx.model_udf(save(weighted([1.0, 2.0], twice=True), tmp_path / "two.onnx"))
    (row,) = (
        spark.createDataFrame([([1.0, 1.0],)], "data array<float>").select(function(col("data")).alias("p")).collect()
    )
    assert row.p.asDict() == {"y": [3.0], "twice": [6.0]}


def test_a_loader_may_do_without_a_model(spark, tmp_path):
    """It got what stood in its place, None."""
    path = save(weighted([1.0, 2.0]), tmp_path / "model.onnx")
    frame = spark.createDataFrame([([3.0, 4.0],)], "data array<float>")
    for load in (lambda given: given or str(path), lambda: str(path)):
        function = sparkext.onnx.model_udf(None, model_loader=load, return_type="array<float>")
        assert frame.select(function("data").alias("p")).first().p == [11.0]
