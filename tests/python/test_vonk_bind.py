"""Models bound to columns: batches in Arrow memory in, batches out."""

import os
import threading

import numpy as np
import onnx
import pyarrow as pa
import pytest
import vonk

IRIS = "examples/iris/iris.onnx"
COLUMNS = pa.schema({"id": pa.int64(), "x": pa.list_(pa.float32())})
ROWS = [{"id": 1, "x": [5.1, 3.5, 1.4, 0.2]}, {"id": 2, "x": None}, {"id": 3, "x": [6.7, 3.0, 5.2, 2.3]}]


@pytest.fixture(scope="module")
def model():
    return vonk.open(IRIS)


def batch(rows=ROWS, schema=COLUMNS):
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def test_a_bound_model_predicts_what_the_model_predicts(model):
    options = {"inputs": {"measurements": "x"}, "outputs": ["species", "probabilities"]}
    predictor = model.bind(COLUMNS, **options)
    for rows in (batch(), batch().slice(1), batch([])):
        found = pa.record_batch(predictor.predict(rows))
        found.validate(full=True)
        assert found.equals(model.predict(rows, **options))
        assert found.schema == pa.schema(predictor.schema)


def test_binding_needs_no_rows_and_says_what_will_be_read(model):
    predictor = model.bind(COLUMNS, inputs={"measurements": "x"}, on_error="report", batch=7)
    assert predictor.columns == (1,)
    assert predictor.batch_rows == 7
    assert pa.schema(predictor.schema).names == ["probabilities", "species", "error"]
    assert predictor.stats == vonk.Stats()


def test_columns_that_do_not_fit_are_told_when_binding(model):
    with pytest.raises(vonk.InvalidError, match="column 'a': is int32"):
        model.bind(pa.schema({"a": pa.int32()}))
    with pytest.raises(TypeError, match="int has no Arrow schema: pass a "):
        model.bind(5)
    with pytest.raises(vonk.InvalidError, match="nulls: 'maybe' is no choice"):
        model.bind(COLUMNS, nulls="maybe")


def test_one_type_is_one_column(model):
    kind = pa.list_(pa.float32())
    found = model.bind(kind, outputs=["species"]).predict(pa.array([[5.1, 3.5, 1.4, 0.2]], kind))
    assert found.to_numpy()["species"].tolist() == ["setosa"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            {"id": [1], "x": pa.array([[1.0] * 4])},
            "column 'x' is list<float64>, the predictor was bound to list<float32>",
        ),
        ({"x": pa.array([[1.0] * 4], pa.list_(pa.float32())), "id": [1]}, "column 1 is 'x', .* bound to 'id' there"),
        ({"id": [1]}, "have 1 columns, the predictor was bound to 2"),
        ({"id": [1], "x": ["text"]}, "column 'x' is string"),
    ],
)
def test_a_batch_of_another_schema_is_refused(model, rows, said):
    predictor = model.bind(COLUMNS, inputs={"measurements": "x"})
    with pytest.raises(vonk.InvalidError, match=said):
        predictor.predict(pa.record_batch(rows))
    assert predictor.stats.rows == 0


def test_fields_of_structs_are_told_apart_by_name_and_elements_of_lists_are_not(model):
    def columns(*names, element="item"):
        kinds = [pa.struct([pa.field(name, pa.float32()) for name in names]), pa.list_(pa.field(element, pa.float32()))]
        return pa.schema({"s": kinds[0], "x": kinds[1]})

    predictor = model.bind(columns("a", "b"), inputs={"measurements": "x"}, outputs=["species"])
    row = [{"s": None, "x": [5.1, 3.5, 1.4, 0.2]}]
    for element in ("item", "element", "$data$", ""):
        rows = batch(row, columns("a", "b", element=element))
        assert predictor.predict(rows).to_numpy()["species"].tolist() == ["setosa"], element
    with pytest.raises(vonk.InvalidError, match="column 's' is struct of another form"):
        predictor.predict(batch(row, columns("b", "a")))


def test_what_is_not_one_batch_is_refused(model):
    with pytest.raises(TypeError, match="Table is not one batch in Arrow memory"):
        model.bind(COLUMNS, inputs={"measurements": "x"}).predict(pa.table({"id": [1]}))


def test_variable_lists_have_offsets_and_elements_named_as_sparks(model):
    predictor = model.bind(COLUMNS, inputs={"measurements": "x"}, variable_lists=True)
    found = pa.record_batch(predictor.predict(batch()))
    found.validate(full=True)
    kind = found.schema.field("probabilities").type
    assert kind == pa.list_(pa.field("element", pa.float32()))
    assert kind.value_field.name == "element"
    assert kind.value_field.nullable
    expected = model.predict(batch(), inputs={"measurements": "x"})["probabilities"]
    assert found["probabilities"].to_pylist() == expected.to_pylist()
    assert found["probabilities"].to_pylist()[1] is None


def test_one_predictor_serves_many_threads(model):
    predictor = model.bind(COLUMNS, inputs={"measurements": "x"})
    rng = np.random.default_rng(3)
    values = rng.normal(size=(8, 500, 4)).astype("f4")
    parts = [batch([{"id": i, "x": x.tolist()} for x in values[i]]) for i in range(8)]
    expected = [model.predict(part, inputs={"measurements": "x"}) for part in parts]
    found = [None] * 8

    def run(i):
        for _ in range(5):
            found[i] = pa.record_batch(predictor.predict(parts[i]))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(a.equals(b) for a, b in zip(found, expected, strict=True))
    assert predictor.stats.rows == 8 * 5 * 500


def test_a_predictor_outlives_its_model_and_ends_when_cancelled():
    with vonk.open(IRIS) as model:
        predictor = model.bind(COLUMNS, inputs={"measurements": "x"})
    assert predictor.predict(batch()).num_rows == 3
    predictor.cancel()
    with pytest.raises(vonk.CancelledError):
        predictor.predict(batch())


def test_signed_integers_and_variable_lists_are_options_of_predict_too(tmp_path):
    path = tmp_path / "bytes.onnx"
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, ["n", 2]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "bytes", value[:1], value[1:])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(made.SerializeToString())
    model = vonk.open(path)
    rows = pa.table({"x": pa.array([[1, 255], [256, 0], [-1, 2]], pa.list_(pa.int64()))})
    with pytest.raises(vonk.InvalidError, match="conversion could change values"):
        model.predict(rows)
    options = {"signed_integers": True, "variable_lists": True, "on_error": "null"}
    found = model.predict(rows, **options)
    assert found.schema.field("y").type == pa.list_(pa.field("element", pa.int16()))
    assert found["y"].to_pylist() == [[1, 255], None, None]
    assert pa.table(model.predict_stream(rows, **options)).equals(found)
    with pytest.raises(vonk.InvalidError, match="element 0 is 256, out of uint8's range from 0 to 255") as caught:
        model.predict(rows, signed_integers=True)
    assert caught.value.row == 1


def test_a_forked_child_is_told_that_it_cannot_predict(model):
    predictor = model.bind(COLUMNS, inputs={"measurements": "x"})
    predictor.predict(batch())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            predictor.predict(batch())
        except vonk.ForkedError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    said = os.read(reader, 1000).decode()
    os.close(reader)
    assert said.startswith("fork: this process was forked after the model had been opened"), said
