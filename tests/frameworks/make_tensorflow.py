"""Writes the TensorFlow models of tests/frameworks and what TensorFlow says for them: `make_tensorflow.py FOLDER`.

SavedModel folders of TensorFlow 2 (Keras' model.export, tf.saved_model.save) and 1, a frozen GraphDef (.pb), and
TensorFlow 1's .meta with its checkpoint.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import networks as nets
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
TF_DTYPES = {
    "bool": tf.bool, "i8": tf.int8, "i16": tf.int16, "i32": tf.int32, "i64": tf.int64,
    "u8": tf.uint8, "u16": tf.uint16, "u32": tf.uint32, "u64": tf.uint64,
    "f16": tf.float16, "bf16": tf.bfloat16, "f32": tf.float32, "f64": tf.float64, "string": tf.string,
}  # fmt: skip


# --- Keras ----------------------------------------------------------------------------------------


def mlp(net: nets.MLP) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((784,), name="pixels"),
            keras.layers.Dense(512, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.set_weights(net.arrays())
    return model


def cnn(net: nets.CNN) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3), name="image"),
            keras.layers.Conv2D(8, 3, padding="same"),
            keras.layers.BatchNormalization(epsilon=net.epsilon),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="softmax"),
        ]
    )
    model.set_weights(net.arrays())
    return model


def embedding(net: nets.Embedding) -> keras.Model:
    tokens = keras.Input((None,), dtype="int64", name="tokens")
    mean = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(net.n_tokens, 8)(tokens))
    hidden = keras.layers.Dense(16, activation="relu", use_bias=False)(mean)
    model = keras.Model(tokens, keras.layers.Dense(4, use_bias=False, name="y")(hidden))
    model.set_weights(net.arrays())
    return model


def dense(net: nets.Dense) -> keras.Model:
    model = keras.Sequential(
        [keras.Input((16,), name="x"), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(4)]
    )
    model.set_weights(net.arrays())
    return model


# --- SavedModels of tf.Module ---------------------------------------------------------------------


def save_two(folder: Path) -> dict[str, Any]:
    module = tf.Module()
    module.w = tf.Variable(nets.TWO_WEIGHT)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "a"),
            tf.TensorSpec([None, 3], tf.float32, "b"),
            tf.TensorSpec([None], tf.int64, "id"),
        ]
    )
    def serve(a: Any, b: Any, id: Any) -> dict[str, Any]:
        return {"total": a + b @ module.w, "next": id + tf.constant(1, tf.int64)}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    rows = {name: tf.constant(values) for name, values in nets.two_rows().items()}
    return {f"two.{name}": found.numpy() for name, found in serve(**rows).items()}


def save_text(folder: Path) -> None:
    """Strings in and out, in batches of four."""
    spec = tf.TensorSpec([nets.FIXED_ROWS, 2], tf.string, "text")
    serve = tf.function(
        lambda text: {"same": tf.identity(text), "length": tf.strings.length(text)}, input_signature=[spec]
    )
    tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": serve})


def save_gather(folder: Path) -> None:
    module = tf.Module()
    module.table = tf.Variable(nets.GATHER_TABLE)
    spec = tf.TensorSpec([nets.GATHER_ROWS], tf.int64, "index")
    serve = tf.function(lambda index: {"y": tf.gather(module.table, index)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})


def save_plain(folder: Path) -> None:
    """No variable at all: y = softmax(x)."""
    module = tf.Module()
    serve = tf.function(lambda x: {"y": tf.nn.softmax(x)}, input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})


def save_dtypes(folder: Path) -> dict[str, Any]:
    """The identity, one signature for each dtype and shape: i16_vector, f32_fixed, ..."""
    functions = {}
    for dtype, tf_dtype in TF_DTYPES.items():
        for shape, dims in nets.SHAPES.items():
            spec = tf.TensorSpec([None if d < 0 else d for d in dims], tf_dtype, "x")
            functions[f"{dtype}_{shape}"] = tf.function(lambda x: {"y": tf.identity(x)}, input_signature=[spec])
    tf.saved_model.save(tf.Module(), str(folder), signatures=functions)
    signatures = tf.saved_model.load(str(folder)).signatures
    results = {}
    for dtype, tf_dtype in TF_DTYPES.items():
        for shape in ("scalar", "vector", "rank3"):
            values = nets.sample(dtype, shape)
            x = tf.cast(values, tf_dtype) if dtype == "bf16" else tf.constant(values, tf_dtype)
            y = signatures[f"{dtype}_{shape}"](x=x)["y"]
            if dtype == "string":
                texts = [text.decode() for text in y.numpy().reshape(-1)]
                results[f"{dtype}_{shape}"] = np.array(texts).reshape(y.shape)
            else:
                results[f"{dtype}_{shape}"] = tf.cast(y, tf.float32).numpy() if dtype == "bf16" else y.numpy()
    return results


# --- TensorFlow 1 ---------------------------------------------------------------------------------


def mlp_v1(net: nets.MLP) -> tuple[Any, Any]:
    x = v1.placeholder(tf.float32, [None, 784], "pixels")
    w0, b0, w1, b1 = [v1.get_variable(f"v{i}", initializer=array) for i, array in enumerate(net.arrays())]
    return x, tf.nn.softmax(tf.nn.relu(x @ w0 + b0) @ w1 + b1, name="probabilities")


def cnn_v1(net: nets.CNN) -> tuple[Any, Any]:
    x = v1.placeholder(tf.float32, [None, 12, 12, 3], "image")
    arrays = [v1.get_variable(f"v{i}", initializer=array) for i, array in enumerate(net.arrays())]
    kernel, kernel_bias, gamma, beta, mean, variance, w, b = arrays
    y = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), kernel_bias)
    y, *_ = v1.nn.fused_batch_norm(y, gamma, beta, mean, variance, net.epsilon, is_training=False)
    y = tf.nn.max_pool2d(tf.nn.relu(y), 2, 2, "VALID")
    return x, tf.nn.softmax(tf.reshape(y, [-1, 6 * 6 * 8]) @ w + b, name="scores")


def save_v1(folder: Path, name: str, make: Any, net: Any) -> Any:
    """The network as TF 1 SavedModel, frozen GraphDef and .meta with checkpoint; what its session says."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x, y = make(net)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder / f"{name}_v1"), {net.input: x}, {net.output: y})
        v1.train.Saver().save(session, str(folder / f"{name}_checkpoint" / "model"))
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [y.op.name])
        (folder / f"{name}.pb").write_bytes(frozen.SerializeToString(deterministic=True))
        return session.run(y, {x: net.rows()})


def main(folder: Path) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    mlp_net, cnn_net = nets.MLP(), nets.CNN()
    results: dict[str, Any] = {}
    counts = {}
    for name, net, make in (
        ("mlp", mlp_net, mlp), ("cnn", cnn_net, cnn), ("embedding", nets.Embedding(), embedding),
        ("dense", nets.Dense(), dense),
    ):  # fmt: skip
        model = make(net)
        model.export(folder / name, verbose=False)
        counts[f"params.{name}"] = np.array(model.count_params())
        if name != "embedding":
            results[name] = model(net.rows(), training=False).numpy()
    results |= save_two(folder / "two")
    save_plain(folder / "plain")
    save_gather(folder / "gather")
    save_text(folder / "text")
    results |= save_dtypes(folder / "dtypes")
    results["mlp_v1"] = save_v1(folder, "mlp", mlp_v1, mlp_net)
    results["cnn_v1"] = save_v1(folder, "cnn", cnn_v1, cnn_net)
    np.savez(folder / "results.npz", **results, **counts)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
