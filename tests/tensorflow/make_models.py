"""Writes models of TensorFlow, and what TensorFlow itself makes of some rows.

`python make_models.py FOLDER`: needs TensorFlow and takes some seconds, so the tests run it once per build folder. For
each model NAME that is to be run, FOLDER/NAME.npz holds arrays `in_<input>` and `out_<output>`; strings are there as
arrays of dtype object (bytes), bfloat16 as uint16.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import make_hostile
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
FOLDER = Path(sys.argv[1]).resolve()

#: our name of each dtype: TensorFlow's, and values at its edges
DTYPES: dict[str, tuple[Any, list[Any]]] = {
    "f16": (tf.float16, [1.0, -0.0, 65504.0, 6e-8, np.inf, 0.1]),
    "bf16": (tf.bfloat16, [1.0, -0.0, 3e38, 1e-38, np.inf, 0.1]),
    "f32": (tf.float32, [1.5, -0.0, 3.4e38, 1e-38, np.inf, np.nan]),
    "f64": (tf.float64, [1.5, -0.0, 1.7e308, 1e-308, np.inf, np.nan]),
    "i8": (tf.int8, [-128, 127, 0, -1, 1, 5]),
    "i16": (tf.int16, [-32768, 32767, 0, -1, 1, 5]),
    "i32": (tf.int32, [-(2**31), 2**31 - 1, 0, -1, 1, 5]),
    "i64": (tf.int64, [-(2**63), 2**63 - 1, 2**53 + 1, -1, 1, 5]),
    "u8": (tf.uint8, [0, 255, 1, 2, 3, 4]),
    "u16": (tf.uint16, [0, 65535, 1, 2, 3, 4]),
    "u32": (tf.uint32, [0, 2**32 - 1, 1, 2, 3, 4]),
    "u64": (tf.uint64, [0, 2**64 - 1, 2**53 + 1, 2, 3, 4]),
    "bool": (tf.bool, [True, False, True, True, False, False]),
    "string": (tf.string, [b"", b"spark", "naïve".encode(), "火花".encode(), b"x" * 1000, b"a\0b"]),
}


def plain(tensor: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor)
    return array.view(np.uint16) if array.dtype == tf.bfloat16.as_numpy_dtype else array


def record(name: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    arrays = {f"in_{key}": plain(value) for key, value in inputs.items()}
    arrays |= {f"out_{key}": plain(value) for key, value in outputs.items()}
    np.savez(FOLDER / f"{name}.npz", **arrays)


def signature(function: Callable[..., Any], **inputs: tuple[Any, Any]) -> Any:
    """A traced function of inputs given by (shape, dtype)."""
    specs = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in inputs.items()]
    return tf.function(function, input_signature=specs)


def save(name: str, module: Any, **signatures: Any) -> None:
    for key, value in signatures.items():
        setattr(module, f"keep_{key}", value)
    tf.saved_model.save(module, str(FOLDER / name), signatures=signatures)


def make_keras() -> None:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    mlp = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(8, activation="relu"),
                            layers.BatchNormalization(), layers.Dense(3, activation="softmax")])  # fmt: skip
    x = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
    mlp.export(str(FOLDER / "mlp"), verbose=False)
    mlp.save(FOLDER / "mlp.keras")
    record("mlp", {"x": x}, {"output_0": mlp(x, training=False)})
    image = keras.Input((8, 8, 3), name="image")
    hidden = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, activation="relu")(image))
    cnn = keras.Model(image, [layers.Dense(2, name="small")(hidden), layers.Dense(5, name="large")(hidden)])
    pixels = np.random.default_rng(1).random((3, 8, 8, 3), np.float32)
    cnn.export(str(FOLDER / "cnn"), verbose=False)
    small, large = cnn(pixels)
    record("cnn", {"image": pixels}, {"output_0": small, "output_1": large})


def make_dtypes() -> None:
    signatures = {}
    module = tf.Module()
    for name, (dtype, values) in DTYPES.items():
        signatures[name] = signature(lambda x: {"same": tf.identity(x), "twice": tf.concat([x, x], 1)},
                                     x=([None, 3], dtype))  # fmt: skip
        x = tf.reshape(tf.constant(values, dtype), [2, 3])
        record(f"dtypes.{name}", {"x": x}, signatures[name](x))
    for rank in (1, 3, 8):
        signatures[f"rank{rank}"] = signature(lambda x: {"y": x * 2.0}, x=([None] + [2] * (rank - 1), tf.float32))
    signatures["scalar"] = signature(lambda a, x: {"y": x * a}, a=([], tf.float32), x=([None], tf.float32))
    save("dtypes", module, **signatures)


def make_text() -> None:
    (FOLDER / "vocab.txt").write_text("a\nb\nspark\n")
    module = tf.Module()
    lines = tf.lookup.TextFileInitializer(str(FOLDER / "vocab.txt"), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
                                          tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER)  # fmt: skip
    module.words = tf.lookup.StaticVocabularyTable(lines, 1)
    module.pairs = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.5, 2.5]), -1.0)
    module.weight = tf.Variable([[1.0], [2.0]])
    module.unused = tf.Variable(tf.zeros([100]))
    text = signature(
        lambda text: {"length": tf.strings.length(text), "upper": tf.strings.upper(text),
                      "id": module.words.lookup(text), "value": module.pairs.lookup(text)},
        text=([None], tf.string))  # fmt: skip
    mix = signature(lambda a, k: {"score": tf.matmul(a, module.weight)[:, 0], "plus": k + 1},
                    a=([None, 2], tf.float32), k=([None], tf.int64))  # fmt: skip
    save("text", module, text=text, mix=mix)
    words = np.array([b"spark", b"nothing", b"a", b""], dtype=object)
    record("text.text", {"text": words}, text(tf.constant(words)))
    a, k = tf.constant([[1.0, 2.0], [3.0, -4.0]]), tf.constant([2**60, -1], tf.int64)
    record("text.mix", {"a": a, "k": k}, mix(a, k))


def make_shapes() -> None:
    module = tf.Module()
    many = signature(lambda x: {f"output_{i}": x + float(i) for i in range(12)}, x=([None, 2], tf.float32))
    loose = signature(lambda x: {"y": tf.reduce_sum(x, axis=-1, keepdims=True)}, x=(None, tf.float32))
    fixed = signature(lambda x: {"y": x + 1.0}, x=([4, 3], tf.float32))
    inputs = {f"x{i}": ([None], tf.float32) for i in range(40)}
    wide = signature(lambda *x: {"total": tf.add_n(list(x)), "first": x[0] * 1.0}, **inputs)
    nine = signature(lambda x: {"y": x}, x=([None] + [1] * 8, tf.float32))
    constant = signature(lambda x: {"y": x * 1.0, "k": tf.constant([1.0, 2.0])}, x=([None], tf.float32))
    module.remembered = tf.Variable(tf.zeros([3]))

    def remember(x: Any) -> Any:
        before = module.remembered * 1.0
        module.remembered.assign(x)
        return {"before": before}

    keep = signature(remember, x=([3], tf.float32))
    save("shapes", module, many=many, loose=loose, fixed=fixed, wide=wide, nine=nine, constant=constant, keep=keep)


def make_failing() -> None:
    module = tf.Module()
    reshape = signature(lambda x: {"y": tf.reshape(x, [3, 4])}, x=([None, 2], tf.float32))
    number = signature(lambda text: {"y": tf.strings.to_number(text)}, text=([None], tf.string))
    gather = signature(lambda i: {"y": tf.gather(tf.constant([1.0, 2.0]), i)}, i=([None], tf.int32))

    def check(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_positive(x, message="x must be positive")]):
            return {"y": x + 0.0}

    save("failing", module, reshape=reshape, number=number, gather=gather,
         check=signature(check, x=([None], tf.float32)))  # fmt: skip


def make_refused() -> None:
    module = tf.Module()
    save("python", module, serving_default=signature(
        lambda x: {"y": tf.numpy_function(lambda v: v + 1, [x], tf.float32)}, x=([None], tf.float32)))  # fmt: skip
    save("reads", module, serving_default=signature(
        lambda x: {"y": tf.io.read_file(x[0])}, x=([None], tf.string)))  # fmt: skip

    def branch(x: Any) -> Any:
        return {"y": tf.cond(tf.size(x) > 3, lambda: tf.io.matching_files("/*"), lambda: tf.constant(["a"]))}

    save("reads_in_branch", module, serving_default=signature(branch, x=([None], tf.float32)))

    def talk(x: Any) -> Any:
        tf.print(x)
        return {"y": x}

    save("prints", module, serving_default=signature(talk, x=([None], tf.float32)))
    save("complex", module, serving_default=signature(lambda x: {"y": tf.math.abs(x)}, x=([None], tf.complex64)))
    save("quantised", module, serving_default=signature(
        lambda x: {"y": tf.quantization.quantize(x, 0.0, 1.0, tf.quint8).output}, x=([None], tf.float32)))  # fmt: skip
    save("no_output", module, serving_default=signature(lambda x: {}, x=([None], tf.float32)))
    save("no_signature", module)
    sparse = tf.function(lambda x: {"y": tf.sparse.to_dense(x)},
                         input_signature=[tf.SparseTensorSpec([None, 3], tf.float32)])  # fmt: skip
    module.sparse = sparse
    save("sparse", module, serving_default=sparse)


def make_v1() -> None:
    """A network of TensorFlow 1 as checkpoint, frozen graph and SavedModel."""
    with tf.Graph().as_default():
        v1.set_random_seed(3)
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        rate = v1.placeholder_with_default(0.0, [], name="rate")
        w = v1.get_variable("w", [4, 3], use_resource=False)
        b = v1.get_variable("b", [3], use_resource=True)
        y = tf.nn.softmax(x @ w * (1.0 - rate) + b, name="y")
        labels = v1.placeholder(tf.int64, [None], name="labels")
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=y), name="loss")
        train = v1.train.GradientDescentOptimizer(0.1).minimize(loss)
        v1.summary.scalar("loss", loss)
        saver = v1.train.Saver()
        rows = np.random.default_rng(4).standard_normal((6, 4)).astype(np.float32)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            session.run(train, {x: rows, labels: [0, 1, 2, 0, 1, 2]})
            (FOLDER / "checkpoint").mkdir()
            saver.save(session, str(FOLDER / "checkpoint/model"))
            saver.save(session, str(FOLDER / "checkpoint/step"), global_step=7)
            record("v1", {"x": rows}, {"y": session.run(y, {x: rows})})
            record("v1_half", {"x": rows, "rate": np.float32(0.5)}, {"y": session.run(y, {x: rows, rate: 0.5})})
            frozen = v1.graph_util.convert_variables_to_constants(session, v1.get_default_graph().as_graph_def(), ["y"])
            (FOLDER / "frozen.pb").write_bytes(frozen.SerializeToString())
            (FOLDER / "unfrozen.pb").write_bytes(v1.get_default_graph().as_graph_def().SerializeToString())
            v1.saved_model.simple_save(session, str(FOLDER / "v1"), {"x": x}, {"y": y})


def make_v1_tables() -> None:
    """A .meta file with a table, and a SavedModel with two graphs that reads a vocabulary."""
    with tf.Graph().as_default(), v1.Session() as session:
        words = v1.placeholder(tf.string, [None], name="words")
        pairs = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], [10, 20]), -1)
        tf.identity(pairs.lookup(words), name="found")
        v1.get_variable("unused", [2])
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        v1.train.Saver().save(session, str(FOLDER / "checkpoint/table"))
    builder = v1.saved_model.Builder(str(FOLDER / "v1_tables"))
    for first, tags in ((True, ["serve"]), (False, ["serve", "double"])):
        with tf.Graph().as_default(), v1.Session() as session:
            words = v1.placeholder(tf.string, [None], name="words")
            path = tf.constant(str(FOLDER / "vocab.txt"))
            v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, path)
            lines = tf.lookup.TextFileInitializer(path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64,
                                                  tf.lookup.TextFileIndex.LINE_NUMBER)  # fmt: skip
            table = tf.lookup.StaticHashTable(lines, -1)
            scale = v1.get_variable("scale", initializer=np.float32(3))
            found = tf.cast(table.lookup(words), tf.float32) * scale * (1 if first else 2)
            session.run([v1.global_variables_initializer(), v1.tables_initializer()])
            built = v1.saved_model.predict_signature_def({"words": words}, {"found": found})
            both: dict[str, Any] = {"signature_def_map": {"serving_default": built},
                                    "assets_collection": v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
                                    "main_op": v1.tables_initializer()}  # fmt: skip
            if first:
                builder.add_meta_graph_and_variables(session, tags, **both)
            else:
                builder.add_meta_graph(tags, **both)
    builder.save()


def main() -> None:
    FOLDER.mkdir(parents=True)
    make_keras()
    make_dtypes()
    make_text()
    make_shapes()
    make_failing()
    make_refused()
    make_v1()
    make_v1_tables()
    (FOLDER / "hostile").mkdir()
    make_hostile.make_all(FOLDER, FOLDER / "hostile")


if __name__ == "__main__":
    main()
