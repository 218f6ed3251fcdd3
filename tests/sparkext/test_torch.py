"""sparkext.torch: the old library's cases with their values, and the defects that it had."""

import linear_torch
import pytest

torch = pytest.importorskip("torch", reason="make setup EXTRAS=torch")
from sparkext.torch import Model, model_udf  # noqa: E402

TWO = 4.758
PLACES = 0.005


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The linear model in every form that the old tests had, and as an exported program."""
    folder = tmp_path_factory.mktemp("linear")
    model = linear_torch.trained()
    torch.save(model, folder / "model.pt")
    torch.save(model.state_dict(), folder / "model_state.pt")
    torch.jit.script(model).save(folder / "model.ts")
    rows = torch.export.Dim("rows", max=10_000)
    torch.export.save(
        torch.export.export(model.eval(), (torch.ones(2, 2),), dynamic_shapes={"x": {0: rows}}), folder / "model.pt2"
    )
    return folder


def predicted(frame, function, column="data"):
    """The only prediction; it is an array of one, as of old."""
    (row,) = frame.select(function(column).alias("preds")).collect()
    print(row.preds, TWO)
    (value,) = row.preds
    return value


def test_a_module(ones):
    linear = model_udf(linear_torch.trained())
    assert linear.returnType.simpleString() == "array<float>"
    assert abs(predicted(ones, linear) - TWO) < PLACES


def test_a_pickled_module(ones, files):
    assert abs(predicted(ones, model_udf(str(files / "model.pt"), trust=True)) - TWO) < PLACES


def test_a_pickled_module_is_not_run_without_a_word(files):
    with pytest.raises(ValueError, match="trust=True"):
        model_udf(str(files / "model.pt"))


def test_a_state_dict_alone_is_refused(files):
    with pytest.raises(ValueError, match="model_loader"):
        model_udf(str(files / "model_state.pt"))
    with pytest.raises(ValueError, match="model: is a state_dict, weights without their network: give model_loader="):
        model_udf(linear_torch.trained().state_dict())


def test_a_state_dict_with_a_loader(ones, files):
    linear = model_udf(str(files / "model_state.pt"), model_loader=linear_torch.load_state)
    assert abs(predicted(ones, linear) - TWO) < PLACES


def test_torchscript_of_a_path(ones, files):
    """The old one refused it: pickling TorchScript failed."""
    assert abs(predicted(ones, model_udf(str(files / "model.ts"))) - TWO) < PLACES


def test_torchscript_with_a_loader(ones, files):
    assert abs(predicted(ones, model_udf(str(files / "model.ts"), model_loader=torch.jit.load)) - TWO) < PLACES


def test_an_exported_program(ones, files):
    assert abs(predicted(ones, model_udf(str(files / "model.pt2"))) - TWO) < PLACES


def test_a_stage(ones, files):
    stage = Model(linear_torch.trained()).setInputCol("data").setOutputCol("preds")
    (row,) = stage.transform(ones).collect()
    assert abs(row.preds[0] - TWO) < PLACES


def test_a_state_dict_with_its_class(ones, files):
    linear = model_udf(str(files / "model_state.pt"), pack={"module": linear_torch.LinearModel})
    assert abs(predicted(ones, linear) - TWO) < PLACES


def test_torchscript_of_a_convolution(spark, tmp_path):
    model = linear_torch.convolution().eval()
    torch.jit.script(model).save(tmp_path / "images.ts")
    with pytest.raises(ValueError, match="input_shape="):
        model_udf(str(tmp_path / "images.ts"))
    images = torch.rand(3, 1, 6, 6)
    frame = spark.createDataFrame([(one.flatten().tolist(),) for one in images], "data array<float>").coalesce(1)
    function = model_udf(str(tmp_path / "images.ts"), input_shape=[1, 6, 6])
    found = torch.tensor([row.p for row in frame.select(function("data").alias("p")).collect()])
    with torch.no_grad():
        expected = model(images)
    print(found, expected)
    assert (found - expected).abs().max() < 1e-5
