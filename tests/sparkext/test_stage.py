"""The stages: the old setters, in a Pipeline, saved and loaded."""

import linear_torch
import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from small_onnx import save, weighted

torch = pytest.importorskip("torch", reason="make setup EXTRAS=torch")
import sparkext.onnx  # noqa: E402
import sparkext.torch  # noqa: E402
from sparkext.model import ExternalModel  # noqa: E402
from vonk.spark import _staging  # noqa: E402


@pytest.fixture
def path(tmp_path):
    return save(weighted([1.0, 10.0]), tmp_path / "model.onnx")


@pytest.fixture
def frame(spark):
    return spark.createDataFrame(
        [([float(i), 1.0], float(i), 1.0) for i in range(5)], "data array<float>, a float, b float"
    )


def values(frame, column="p"):
    return sorted(row[column][0] for row in frame.collect())


def test_the_old_setters(frame, path):
    stage = sparkext.onnx.Model(path).setInputCol("data").setOutputCol("p").setBatchSize(2).setInputShape([2])
    assert isinstance(stage, ExternalModel)
    assert values(stage.transform(frame)) == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert stage.getOrDefault(stage.batch_size) == 2
    assert stage.getOrDefault(stage.input_shape) == [2]
    assert sparkext.onnx.Model(path).getBatchSize() == -1


def test_several_input_columns_and_output_columns(frame, tmp_path):
    path = save(weighted([1.0, 10.0], twice=True), tmp_path / "two.onnx")
    stage = sparkext.onnx.Model(path).setInputCols(["a", "b"]).setOutputCols(["y", "twice"])
    found = stage.transform(frame)
    assert values(found, "y") == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert values(found, "twice") == [20.0, 22.0, 24.0, 26.0, 28.0]


def test_without_input_columns_it_says_so(frame, path):
    with pytest.raises(ValueError, match="inputCol"):
        sparkext.onnx.Model(path).transform(frame)


def test_as_many_names_as_input_columns(frame, path):
    stage = sparkext.onnx.Model(path, input_columns=["x", "y", "z"]).setInputCols(["a", "b"])
    with pytest.raises(ValueError, match="inputColumns: names 3 inputs"):
        stage.transform(frame)


def test_in_a_pipeline_saved_and_loaded(frame, path, tmp_path):
    stage = sparkext.onnx.Model(path, batch_size=3).setInputCol("data").setOutputCol("p")
    fitted = Pipeline(stages=[stage]).fit(frame)
    expected = values(fitted.transform(frame))
    fitted.write().overwrite().save((tmp_path / "saved").as_uri())
    path.unlink()
    (loaded,) = PipelineModel.load((tmp_path / "saved").as_uri()).stages
    assert type(loaded) is sparkext.onnx.Model
    assert (loaded.uid, loaded.getBatchSize(), loaded.getOutputCol()) == (stage.uid, 3, "p")
    assert values(loaded.transform(frame)) == expected == [10.0, 11.0, 12.0, 13.0, 14.0]


def test_a_saved_title_leads_nowhere_else(frame, path, tmp_path):
    """It is the name of a file that loading writes."""
    sparkext.onnx.Model(path).setInputCol("data").setOutputCol("p").save((tmp_path / "saved").as_uri())
    (metadata,) = (tmp_path / "saved" / "metadata").glob("part-*")
    text = metadata.read_text().replace('"title":"model.onnx"', '"title":"../../escaped.onnx"')
    assert "escaped" in text
    metadata.with_name(f".{metadata.name}.crc").unlink()
    metadata.write_text(text)
    loaded = sparkext.onnx.Model.load((tmp_path / "saved").as_uri())
    assert values(loaded.transform(frame)) == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert not (_staging.folder().parent / "escaped.onnx").exists()


def test_a_convolution_is_saved_with_its_shape(spark, tmp_path):
    stage = sparkext.torch.Model(linear_torch.convolution()).setInputShape([1, 6, 6]).setInputCol("x").setOutputCol("p")
    frame = spark.createDataFrame([(np.arange(36.0).tolist(),)], "x array<float>")
    expected = stage.transform(frame).collect()
    stage.save((tmp_path / "saved").as_uri())
    loaded = sparkext.torch.Model.load((tmp_path / "saved").as_uri())
    assert loaded.getInputShape() == [1, 6, 6]
    assert loaded.transform(frame).collect() == expected


def test_a_loader_is_saved_by_name_with_what_is_said_of_its_model(spark, ones, tmp_path):
    """Of a pickled module on the workers: that it may be run, and what it takes."""
    torch.save(linear_torch.trained(), tmp_path / "model.pt")
    said = {"trust": True, "pack": {"inputs": ["x:f32[-1,2]"]}}
    stage = sparkext.torch.Model(str(tmp_path / "model.pt"), model_loader=linear_torch.path_of, **said)
    stage.setInputCol("data").setOutputCol("p").save((tmp_path / "saved").as_uri())
    loaded = sparkext.torch.Model.load((tmp_path / "saved").as_uri())
    (row,) = loaded.transform(ones).collect()
    assert abs(row.p[0] - 4.758) < 0.005
    unsaid = sparkext.torch.Model("nowhere", model_loader=linear_torch.path_of, pack={"samples": np.ones((1, 2))})
    with pytest.raises(ValueError, match="pack: 'samples', a ndarray, cannot be saved"):
        unsaid.save((tmp_path / "other").as_uri())
