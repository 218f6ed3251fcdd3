"""`vonk pack` of Keras and TensorFlow: real models, with Keras itself as the reference; and what is refused.

TensorFlow is imported once for all of it. Hostile files here are one for each refusal; tests/hostile has the corpus.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import vonk

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "frameworks"))

import zoo  # noqa: E402

if not zoo.is_here("tensorflow"):
    pytest.skip("TensorFlow is not installed", allow_module_level=True)

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import h5py  # noqa: E402
import keras  # noqa: E402
from keras import layers  # noqa: E402

RNG = np.random.default_rng(7)
TEXTS = ["the quick brown fox", "a spark", "", "jumps over", "naïve café the"]


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype("f4")


@pytest.fixture(autouse=True, scope="module")
def seeded():
    keras.utils.set_random_seed(3)


# --- models ---


def mlp():
    x = keras.Input((20,), name="pixels")
    hidden = layers.Dropout(0.5)(layers.Dense(32, activation="relu")(x))
    return keras.Model(x, layers.Dense(5, activation="softmax", name="probabilities")(hidden))


def cnn():
    return keras.Sequential(
        [
            keras.Input((12, 12, 3), name="image"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(4, activation="softmax", name="scores"),
        ]
    )


def no_input():
    model = keras.Sequential([layers.Dense(3, name="y")])
    model.build((None, 6))
    return model


def mixed():
    """Two inputs, three outputs of two dtypes; the outputs not in alphabetical order."""
    wide, ids = keras.Input((4,), name="wide"), keras.Input((2,), dtype="int32", name="ids")
    both = layers.Concatenate()([wide, layers.Flatten()(layers.Embedding(6, 3)(ids))])
    head = layers.Dense(3, name="zeta")(both)
    return keras.Model(
        [wide, ids], [head, layers.Dense(1, name="alpha")(both), layers.Discretization([0.0], name="sign")(head)]
    )


def two():
    a, b = keras.Input((4,), name="b"), keras.Input((3,), name="a")
    both = layers.Concatenate()([a, b])
    return keras.Model([a, b], [layers.Dense(3, name="zeta")(both), layers.Dense(1, name="alpha")(both)])


def keyed():
    """Mappings in and out."""
    a, b = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    return keras.Model({"left": a, "right": b}, {"sum": layers.Add()([a, b]), "dense": layers.Dense(2)(a)})


def vectorized():
    text = keras.Input((), dtype="string", name="review")
    vectors = layers.TextVectorization(output_mode="int", output_sequence_length=6)
    vectors.adapt(TEXTS)
    mean = layers.GlobalAveragePooling1D()(layers.Embedding(30, 4)(vectors(text)))
    return keras.Model(text, layers.Dense(2, activation="softmax", name="sentiment")(mean))


def looked_up():
    city = keras.Input((1,), dtype="string", name="city")
    size = keras.Input((1,), name="size")
    normal = layers.Normalization(axis=-1)
    normal.adapt(floats(50, 1))
    one_hot = layers.StringLookup(vocabulary=["Delft", "Gent", "Köln"], output_mode="one_hot")(city)
    price = layers.Dense(1, name="price")(layers.Concatenate()([one_hot, normal(size)]))
    return keras.Model([city, size], price)


def tokens():
    x = keras.Input((None,), dtype="int64", name="tokens")
    return keras.Model(x, layers.Dense(2, name="y")(layers.LSTM(5)(layers.Embedding(11, 4)(x))))


def recurrent():
    x = keras.Input((7, 3), name="series")
    return keras.Model(
        x, layers.TimeDistributed(layers.Dense(2), name="steps")(layers.GRU(4, return_sequences=True)(x))
    )


def nested():
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="relu")])
    x = keras.Input((3,), name="x")
    return keras.Model(x, layers.Dense(2, name="y")(inner(x)))


class Own(keras.Model):
    """A class of the user's own, with two outputs by name."""

    def __init__(self, **more):
        super().__init__(**more)
        self.dense = layers.Dense(3)

    def call(self, features, training=False):
        y = self.dense(features)
        return {"logits": y, "scores": keras.ops.softmax(y)}


def own():
    model = Own()
    model(np.zeros((2, 5), "f4"))
    return model


MODELS = {
    mlp: (["pixels"], ["probabilities"], lambda: [floats(9, 20)]),
    cnn: (["image"], ["scores"], lambda: [floats(9, 12, 12, 3) * 255]),
    no_input: (["input"], ["y"], lambda: [floats(9, 6)]),
    mixed: (["wide", "ids"], ["zeta", "alpha", "sign"], lambda: [floats(9, 4), RNG.integers(0, 6, (9, 2), "i4")]),
    two: (["b", "a"], ["zeta", "alpha"], lambda: [floats(9, 4), floats(9, 3)]),
    keyed: (["left", "right"], ["dense", "sum"], lambda: [floats(9, 2), floats(9, 2)]),
    vectorized: (["review"], ["sentiment"], lambda: [np.array(TEXTS, object)]),
    looked_up: (
        ["city", "size"], ["price"], lambda: [np.array([["Gent"], ["Köln"], ["Paris"]], object), floats(3, 1)],
    ),
    tokens: (["tokens"], ["y"], lambda: [RNG.integers(0, 11, (9, 17))]),
    recurrent: (["series"], ["steps"], lambda: [floats(9, 7, 3)]),
    nested: (["x"], ["y"], lambda: [floats(9, 3)]),
    own: (["features"], ["logits", "scores"], lambda: [floats(9, 5)]),
}  # fmt: skip


def said(model, names: list[str], rows: list[np.ndarray]) -> list[np.ndarray]:
    """What Keras says, in the order of `names`, a mapping's sorted."""
    tensors = [keras.ops.convert_to_tensor(r.tolist() if r.dtype == object else r) for r in rows]
    if isinstance(getattr(model, "_inputs_struct", None), dict):
        arguments = dict(zip(model._inputs_struct, tensors, strict=True))
    else:
        arguments = tensors if len(tensors) > 1 else tensors[0]
    result = model(arguments, training=False)
    if isinstance(result, dict):
        return [np.asarray(result[name]) for name in names]
    return [np.asarray(value) for value in (result if isinstance(result, list) else [result])]


def check(path: Path, model, case) -> None:
    inputs, outputs, make = case
    rows = make()
    with vonk.open(path) as opened:
        assert [t.name for t in opened.inputs] == inputs
        assert [t.name for t in opened.outputs] == outputs
        found = opened.predict(dict(zip(inputs, rows, strict=True)))
        assert opened.selftest() <= 1e-5
    for name, expected in zip(outputs, said(model, outputs, rows), strict=True):
        print(name, found[name][:2], expected[:2])
        np.testing.assert_allclose(found[name], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_a_live_model_is_packed_under_the_names_its_users_know(tmp_path, make):
    model = make()
    report = vonk.pack(model, tmp_path / "m.vonk")
    print(report)
    assert report.format == "savedmodel"
    check(tmp_path / "m.vonk", model, MODELS[make])


@pytest.mark.parametrize("make", [mlp, mixed, keyed, vectorized, looked_up, recurrent], ids=lambda make: make.__name__)
def test_a_keras_file_is_packed_as_the_model_in_it(tmp_path, make):
    model = make()
    model.save(tmp_path / "m.keras")
    vonk.pack(tmp_path / "m.keras", tmp_path / "m.vonk")
    check(tmp_path / "m.vonk", model, MODELS[make])


@pytest.mark.parametrize("make", [mlp, cnn, mixed], ids=lambda make: make.__name__)
def test_an_h5_file_is_packed_as_the_model_in_it(tmp_path, make):
    model = make()
    model.compile("adam", "mse")
    model.save(tmp_path / "m.h5")
    (tmp_path / "m.h5").rename(tmp_path / "m.weights")  # told by its content
    vonk.pack(tmp_path / "m.weights", tmp_path / "m.vonk")
    check(tmp_path / "m.vonk", model, MODELS[make])


@pytest.mark.parametrize("make", [mlp, cnn, two, tokens], ids=lambda make: make.__name__)
def test_keras_becomes_onnx_on_request(tmp_path, make):
    model = make()
    report = vonk.pack(model, tmp_path / "m.vonk", to="onnx")
    print(report)
    assert (report.format, report.plugin) == ("onnx", "onnx")
    assert {tensor.shape[0] for tensor in (*vonk.open(report.path).inputs, *vonk.open(report.path).outputs)} == {"N"}
    check(tmp_path / "m.vonk", model, MODELS[make])


def test_operations_that_onnx_has_not_are_named(tmp_path):
    with pytest.raises(vonk.PackError) as caught:
        vonk.pack(looked_up(), tmp_path / "m.vonk", to="onnx")
    print(caught.value)
    assert "leave out --to onnx" in str(caught.value)


def test_a_bundle_holds_the_weights_once_and_no_optimizer(tmp_path):
    model = keras.Sequential([keras.Input((500,)), layers.Dense(500)])
    model.compile("adam", "mse")
    model.fit(floats(4, 500), floats(4, 500), verbose=0)
    size = vonk.pack(model, tmp_path / "m.vonk").size
    weights = 4 * model.count_params()
    print(size, weights)
    assert weights < size < weights * 1.1


def test_an_output_named_by_keras_can_be_given_a_name(tmp_path):
    x = keras.Input((3,), name="x")
    model = keras.Model(x, layers.Dense(2, name="dense_17")(x))
    report = vonk.pack(model, tmp_path / "m.vonk")
    assert any("--output dense_17=NAME" in note for note in report.notes)
    report = vonk.pack(model, tmp_path / "m.vonk", outputs={"dense_17": "y"})
    assert [port.name for port in report.outputs] == ["y"]


def test_a_model_of_an_own_class_may_need_its_inputs_described(tmp_path):
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.table, self.dense = layers.Embedding(9, 3), layers.Dense(2)

        def call(self, ids, features):
            return self.dense(self.table(ids)[:, 0] + features)

    model = Two()
    ids, features = RNG.integers(0, 9, (5, 1)), floats(5, 3)
    expected = np.asarray(model(ids, features))
    with pytest.raises(vonk.PackError, match="describe each"):
        vonk.pack(model, tmp_path / "m.vonk")
    vonk.pack(model, tmp_path / "m.vonk", inputs=["ids:i64[-1,1]", "features:f32[-1,3]"])
    with vonk.open(tmp_path / "m.vonk") as opened:
        found = opened.predict({"features": features, "ids": ids})
    np.testing.assert_allclose(found["output"] if isinstance(found, dict) else found, expected, atol=1e-6)


def test_shapes_that_the_model_leaves_open_can_be_said(tmp_path):
    report = vonk.pack(tokens(), tmp_path / "m.vonk", inputs=["tokens:i64[-1,8]"])
    assert report.inputs[0].shape == (-1, 8)
    for wrong in ("tokens:i32[-1,8]", "tokens:i64[-1]", "ids:i64[-1,8]"):
        with pytest.raises(vonk.PackError) as caught:
            vonk.pack(tokens(), tmp_path / "x.vonk", inputs=[wrong])
        assert caught.value.code == "VONK_INVALID"


def test_models_without_weights_and_layers_are_refused(tmp_path):
    with pytest.raises(vonk.PackError, match="not built"):
        vonk.pack(keras.Sequential([layers.Dense(2)]), tmp_path / "m.vonk")
    with pytest.raises(vonk.PackError, match="is no model"):
        vonk.pack(layers.Dense(2), tmp_path / "m.vonk")
    with pytest.raises(vonk.PackError, match="--to tflite"):
        vonk.pack(mlp(), tmp_path / "m.vonk", to="tflite")


def test_a_file_of_weights_is_no_model(tmp_path):
    mlp().save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(vonk.PackError, match="holds weights only"):
        vonk.pack(tmp_path / "m.weights.h5", tmp_path / "m.vonk")


# --- what is refused ---


def saved(tmp_path: Path, change=None, **more: bytes) -> Path:
    """A .keras file, its configuration changed."""
    plain = tmp_path / "plain.keras"
    mlp().save(plain)
    path = tmp_path / "hostile.keras"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json" and change is not None:
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            target.writestr(name, content)
        for name, content in more.items():
            target.writestr(name, content)
    return path


def refused(path: Path, why: str) -> str:
    target = path.with_name("refused.vonk")
    with pytest.raises(vonk.PackError) as caught:
        vonk.pack(path, target)
    print(caught.value)
    assert why in str(caught.value) and caught.value.code == "VONK_MODEL"
    assert not target.exists()
    return str(caught.value)


def put(**entry):
    """Exchanges the third layer, the dropout, for an object."""

    def change(config):
        layer = config["config"]["layers"][2]
        entry.setdefault("config", {"name": layer["name"]})
        layer.update(entry)

    return change


def with_lambda() -> keras.Model:
    x = keras.Input((3,), name="x")
    return keras.Model(x, layers.Lambda(lambda t: t * 2, name="twice")(x))


@pytest.mark.parametrize("ending", ["keras", "h5"])  # CVE-2025-9905: .h5 files ignored safe_mode
def test_a_lambda_is_refused_and_runs_with_trust(tmp_path, ending):
    with_lambda().save(tmp_path / f"m.{ending}")
    message = refused(tmp_path / f"m.{ending}", "layer 'twice': a Lambda is Python code inside the file")
    assert "--trust" in message
    vonk.pack(tmp_path / f"m.{ending}", tmp_path / "m.vonk", trust=True)
    with vonk.open(tmp_path / "m.vonk") as model:
        found = model.predict(floats(2, 3))
    assert np.asarray(found["twice"] if isinstance(found, dict) else found).shape == (2, 3)


@pytest.mark.parametrize(
    ("cve", "entry", "why"),
    [
        # a function of any module, found by its name
        ("CVE-2025-1550", {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
         "the function 'os.system'"),
        ("CVE-2025-1550", {"module": "subprocess", "class_name": "Popen"}, "'subprocess.Popen', which is not one"),
        ("CVE-2025-1550", {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "exec"},
         "the function 'builtins.exec'"),
        # functions of Keras' own that fetch and write files
        ("CVE-2025-8747", {"module": "keras.utils", "class_name": "function", "config": "get_file",
                           "registered_name": "get_file"}, "the function 'keras.utils.get_file'"),
        ("CVE-2025-8747", {"module": "keras.src.utils.file_utils", "class_name": "get_file"},
         "'keras.src.utils.file_utils.get_file'"),
        # a configuration that switches safe mode off
        ("CVE-2025-9906", {"module": "keras.config", "class_name": "enable_unsafe_deserialization"},
         "'keras.config.enable_unsafe_deserialization'"),
        ("CVE-2025-9906", {"module": "keras.config", "class_name": "function",
                           "config": "enable_unsafe_deserialization",
                           "registered_name": "enable_unsafe_deserialization"}, "the function 'keras.config"),
        # a vocabulary that is a path
        ("CVE-2025-12058", {"module": "keras.layers", "class_name": "StringLookup",
                            "config": {"name": "s", "vocabulary": "/etc/passwd"}}, "its vocabulary is a path"),
        ("lambda", {"class_name": "__lambda__", "config": {"value": ["4wAAAA==", None, None]}}, "a Lambda is Python"),
        ("path", {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/tmp/x"}},
         "loads another model"),
        ("pickle", {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}}, "holds a pickle"),
        ("custom", {"module": None, "class_name": "Mine", "registered_name": "my>Mine"}, "the class 'my>Mine'"),
        ("custom", {"module": "my.code", "class_name": "Mine", "registered_name": "Mine"}, "'my.code.Mine'"),
        ("size", {"module": "keras.layers", "class_name": "Dense", "config": {"name": "d", "units": 1 << 31}},
         "2147483648 is no size"),
        ("tampered", {"module": 7, "class_name": "Dense"}, "is no text"),
    ],
)  # fmt: skip
def test_a_configuration_that_is_more_than_layers_is_refused(tmp_path, cve, entry, why):
    refused(saved(tmp_path, put(**entry)), why)


def test_what_hides_deep_in_a_configuration_is_found(tmp_path):
    def change(config):
        hidden = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
        config["config"]["layers"][1]["config"]["kernel_initializer"]["config"]["seed"] = [{"a": [hidden]}]

    refused(saved(tmp_path, change), "the function 'os.system'")

    def deep(config):
        value = []
        for _ in range(400):
            value = [value]
        config["config"]["trainable"] = value

    refused(saved(tmp_path, deep), "nested deeper than 256")


def test_entries_that_keras_does_not_write_are_refused(tmp_path):
    refused(saved(tmp_path, **{"payload.py": b"import os"}), "holds 'payload.py'")
    refused(saved(tmp_path, **{"assets/../../x": b""}), "holds 'assets/../../x'")
    with pytest.warns(UserWarning, match="Duplicate"):
        path = saved(tmp_path, **{"config.json": b"{}"})
    refused(path, "'config.json' twice")
    with zipfile.ZipFile(tmp_path / "none.keras", "w") as file:
        file.writestr("metadata.json", "{}")
    refused(tmp_path / "none.keras", "")


def test_weights_that_lie_in_another_file_are_refused(tmp_path):
    plain = tmp_path / "plain.keras"
    mlp().save(plain)
    for kind, why in (("link", "is a link to another file"), ("external", "keeps its values in another file")):
        with zipfile.ZipFile(plain) as source:
            weights = io.BytesIO(source.read("model.weights.h5"))
            config = source.read("config.json")
        with h5py.File(weights, "r+") as file:
            if kind == "link":
                file["away"] = h5py.ExternalLink("/etc/passwd", "/")
            else:
                file.create_dataset("away", (8,), "u1", external=[("/etc/passwd", 0, 8)])
        path = tmp_path / f"{kind}.keras"
        with zipfile.ZipFile(path, "w") as target:
            target.writestr("config.json", config)
            target.writestr("model.weights.h5", weights.getvalue())
        refused(path, why)


def test_classes_that_the_users_module_registers_are_packed_without_trust(tmp_path):
    module = tmp_path / "mine.py"
    module.write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('vonk_test')\n"
        "class Double(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x * 2\n"
    )
    found = {}
    exec(module.read_text(), found)
    x = keras.Input((3,), name="x")
    keras.Model(x, found["Double"](name="y")(x)).save(tmp_path / "m.keras")
    keras.saving.get_custom_objects().pop("vonk_test>Double")  # as in the process of somebody else
    assert "--module FILE.py" in refused(tmp_path / "m.keras", "vonk_test>Double")
    vonk.pack(tmp_path / "m.keras", tmp_path / "m.vonk", module=os.fspath(module))
    rows = floats(4, 3)
    with vonk.open(tmp_path / "m.vonk") as model:
        doubled = model.predict(rows)
    np.testing.assert_array_equal(doubled["y"] if isinstance(doubled, dict) else doubled, rows * 2)


# --- TensorFlow's own formats ---


@pytest.mark.parametrize(
    ("source", "result", "rows", "options"),
    [
        ("mlp", "mlp", "MLP", {"outputs": {"output_0": "probabilities"}}),
        ("mlp_v1", "mlp_v1", "MLP", {}),
        ("mlp.pb", "mlp_v1", "MLP", {}),
        ("cnn.pb", "cnn_v1", "CNN", {"outputs": ["scores"]}),
        ("cnn_checkpoint/model.meta", "cnn_v1", "CNN", {"outputs": ["scores"]}),
    ],
)
def test_tensorflow_models_are_kept_as_they_are(tmp_path, source, result, rows, options):
    import networks  # noqa: PLC0415

    report = vonk.pack(zoo.models("tensorflow") / source, tmp_path / "m.vonk", **options)
    net = getattr(networks, rows)()
    expected = zoo.results("tensorflow")[result]
    with vonk.open(tmp_path / "m.vonk") as model:
        found = model.predict(net.rows())
    name = report.outputs[0].name
    found = found[name] if isinstance(found, dict) else found
    print(report, abs(found - expected).max())
    assert name in ("probabilities", "scores")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_signature_is_chosen_and_kept(tmp_path):
    folder = zoo.models("tensorflow") / "dtypes"
    report = vonk.pack(folder, tmp_path / "m.vonk", signature="i64_vector")
    assert report.inputs[0].dtype == "int64"
    with vonk.open(tmp_path / "m.vonk") as model:
        rows = np.array([[1, 2, 3]])
        found = model.predict(rows)
    np.testing.assert_array_equal(found["y"] if isinstance(found, dict) else found, rows)
    with pytest.raises(vonk.PackError, match="has no signature 'serving_default'"):
        vonk.pack(folder, tmp_path / "x.vonk")


def test_a_graph_that_runs_python_is_refused_before_tensorflow_loads_it(tmp_path, monkeypatch):
    import tensorflow as tf  # noqa: PLC0415

    module = tf.Module()
    spec = [tf.TensorSpec([None], tf.float32, "x")]
    serve = tf.function(lambda x: {"y": tf.io.matching_files("/etc/*")[:1]}, input_signature=spec)
    tf.saved_model.save(module, os.fspath(tmp_path / "m"), signatures={"serving_default": serve})
    monkeypatch.setattr(tf.compat.v1.saved_model, "load", lambda *more: pytest.fail("TensorFlow loaded it"))
    with pytest.raises(vonk.PackError, match="MatchingFiles"):
        vonk.pack(tmp_path / "m", tmp_path / "m.vonk")


def test_a_link_that_leaves_a_savedmodels_folder_is_refused(tmp_path):
    import shutil  # noqa: PLC0415

    shutil.copytree(zoo.models("tensorflow") / "mlp", tmp_path / "m")
    (tmp_path / "m" / "assets").mkdir(exist_ok=True)
    (tmp_path / "m" / "assets" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(vonk.PackError, match="leaves the model's folder"):
        vonk.pack(tmp_path / "m", tmp_path / "m.vonk")


def test_equal_files_give_equal_bundles(tmp_path):
    """In two processes, as users pack."""
    mlp().save(tmp_path / "m.keras")
    packing = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-m", "vonk", "pack", tmp_path / "m.keras", "-q", "-o", tmp_path / name / "m.vonk"]
        packing.append(subprocess.Popen(command, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}))
    assert [process.wait() for process in packing] == [0, 0]
    assert (tmp_path / "a" / "m.vonk").read_bytes() == (tmp_path / "b" / "m.vonk").read_bytes()
