"""TensorFlow models with one operation each that touches files, runs Python or reaches the network. Needs TensorFlow.

Every graph here is built and written, never run: the makers of tests/tensorflow have more, made of good models.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from corpus import Corpus
from tensorflow.core.framework import graph_pb2, op_def_pb2
from tensorflow.python.client import pywrap_tf_session

v1 = tf.compat.v1
PORT = 9  # nobody listens there
raw = tf.raw_ops


def after(operation: Any) -> Any:
    """A number that cannot be had without running the operation."""
    with tf.control_dependencies([operation]):
        return tf.constant(0.0)


#: those whose payload is a file named as the case is
FIRES = {"write_file", "save", "print_to_file"}


def operations(canary: Callable[[str], Path], secret: str) -> dict[str, tuple[str, Callable[[], Any]]]:
    """name -> (part of the message, what builds the operation and gives a number that depends on it)."""

    def write_file(name: str) -> Any:
        return after(raw.WriteFile(filename=str(canary(name)), contents="x"))

    def python(v: Any) -> Any:
        return v

    return {
        "write_file": ("writes files", lambda: write_file("tf_write_file")),
        "read_file": ("reads files", lambda: after(raw.ReadFile(filename=secret))),
        "matching_files": ("reads files", lambda: after(raw.MatchingFiles(pattern="/*"))),
        "save_v2": ("writes files", lambda: after(
            raw.SaveV2(prefix=str(canary("tf_save_v2")), tensor_names=["x"], shape_and_slices=[""],
                       tensors=[tf.zeros(2)]))),
        "save": ("writes files", lambda: after(
            raw.Save(filename=str(canary("tf_save")), tensor_names=["x"], data=[tf.zeros(2)]))),
        "merge_checkpoints": ("files", lambda: after(
            raw.MergeV2Checkpoints(checkpoint_prefixes=[secret], destination_prefix=str(canary("tf_merge"))))),
        "restore_v2": ("'", lambda: after(
            raw.RestoreV2(prefix=secret, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32])[0])),
        "restore": ("'", lambda: after(
            raw.Restore(file_pattern=secret, tensor_name="x", dt=tf.float32))),
        "print_to_file": ("prints", lambda: after(
            raw.PrintV2(input="x", output_stream=f"file://{canary('tf_print_to_file')}"))),
        "print": ("prints", lambda: after(raw.Print(input=tf.zeros(1), data=[tf.zeros(1)]))),
        "immutable_const": ("files", lambda: after(
            raw.ImmutableConst(dtype=tf.float32, shape=[4], memory_region_name=secret))),
        "debug_identity": ("'", lambda: raw.DebugIdentityV2(
            input=tf.constant(0.0), debug_urls=[f"file://{canary('tf_debug')}"])),
        "text_line_dataset": ("files", lambda: after(raw.TextLineDataset(
            filenames=[secret], compression_type="", buffer_size=np.int64(0)))),
        "tf_record_dataset": ("files", lambda: after(raw.TFRecordDataset(
            filenames=[secret], compression_type="", buffer_size=np.int64(0)))),
        "whole_file_reader": ("files", lambda: after(raw.WholeFileReaderV2())),
        "summary_writer": ("'", lambda: after(raw.CreateSummaryFileWriter(
            writer=raw.SummaryWriter(), logdir=str(canary("tf_summary")), max_queue=1, flush_millis=1,
            filename_suffix="x"))),
        "sampler_of_a_file": ("'", lambda: after(raw.FixedUnigramCandidateSampler(
            true_classes=np.zeros((1, 1), np.int64), num_true=1, num_sampled=1, unique=False, range_max=2,
            vocab_file=secret)[0])),
        "remap_a_file": ("files", lambda: after(raw.LoadAndRemapMatrix(
            ckpt_path=secret, old_tensor_name="x", row_remapping=np.zeros(1, np.int64),
            col_remapping=np.zeros(0, np.int64), initializing_values=[], num_rows=1, num_cols=1))),
        "py_func": ("runs python", lambda: v1.py_func(python, [tf.zeros(1)], tf.float32)),
        "py_func_stateless": ("runs python", lambda: v1.py_func(python, [tf.zeros(1)], tf.float32, stateful=False)),
        "eager_py_func": ("runs python", lambda: tf.py_function(python, [tf.zeros(1)], tf.float32)),
        "data_service": ("'", lambda: after(raw.DataServiceDatasetV2(
            dataset_id=np.int64(0), processing_mode="x", address=f"localhost:{PORT}", protocol="grpc", job_name="x",
            consumer_index=np.int64(0), num_consumers=np.int64(1), max_outstanding_requests=np.int64(1),
            iteration_counter=raw.DummyIterationCounter(), output_types=[tf.float32], output_shapes=[[1]]))),
    }  # fmt: skip


def frozen(corpus: Corpus) -> None:
    """Each operation in a frozen graph, y = x + 0 * it."""
    for name, (expected, build) in operations(corpus.canary, str(corpus.secret)).items():
        with tf.Graph().as_default() as graph:
            x = v1.placeholder(tf.float32, [None, 4], "x")
            tf.identity(x + 0.0 * tf.reshape(build(), [-1])[:1], name="y")
            content = graph.as_graph_def().SerializeToString(deterministic=True)
        fires = "graph" if name in FIRES else ""
        corpus.file(f"tf_{name}", content, "model.pb", opened=expected, packed=expected, fires=fires)


#: an argument or attribute of that name says where something is
PLACE = re.compile(r"file|path|region|url|address|dir$|prefix|pattern|target")
#: ... but not of these: patterns of texts, classes, parts of graphs, switches, what only a TPU has
NO_PLACE = re.compile(
    r"Regex|InTopK|Quantized|Conv2D|Xla|TPU|Cudnn|TopK|CTCBeam|TensorSliceDataset|StatsAggregator|.*Grad"
)


def every_operation_with_a_place(corpus: Corpus) -> None:
    """Of all operations that this TensorFlow has, those that are told a file or an address: y = x after it."""
    listed = op_def_pb2.OpList()
    listed.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    for op in listed.op:
        words = [part.name for part in (*op.attr, *op.input_arg)]
        if not any(PLACE.search(word) for word in words) or NO_PLACE.search(op.name):
            continue
        graph = graph_pb2.GraphDef()
        x = graph.node.add(name="x", op="Placeholder")
        x.attr["dtype"].type = tf.float32.as_datatype_enum
        graph.node.add(name="evil", op=op.name)
        y = graph.node.add(name="y", op="Identity", input=["x", "^evil"])
        y.attr["T"].type = tf.float32.as_datatype_enum
        content = graph.SerializeToString(deterministic=True)
        corpus.file(f"tf_op_{op.name}", content, "model.pb", opened=f"its operation {op.name.lower()} ")


def saved(corpus: Corpus) -> None:
    """SavedModels: at the call, while loading (main_op), and in a function that nothing seems to call."""

    def add(name: str, expected: str, fires: str = "") -> str:
        home = corpus.home(f"tf_saved_{name}")
        corpus.add(f"tf_saved_{name}", home / "model", home, opened=expected, packed=expected, fires=fires)
        return str(home / "model")

    specs = [tf.TensorSpec([None, 4], tf.float32, "x")]
    write = str(corpus.canary("tf_saved_writes"))

    def writes(x: Any) -> Any:
        tf.io.write_file(write, "x")
        return {"y": x}

    def reads_in_a_loop(x: Any) -> Any:
        texts = tf.map_fn(lambda row: tf.strings.length(tf.io.read_file(str(corpus.secret))), x, dtype=tf.int32)
        return {"y": texts}

    def prints(x: Any) -> Any:
        tf.print(x, output_stream=f"file://{corpus.canary('tf_saved_prints')}")
        return {"y": x}

    for name, function, expected in (
        ("writes", writes, "writes files"), ("reads_in_a_loop", reads_in_a_loop, "reads files"),
        ("prints", prints, "prints"),
    ):  # fmt: skip
        module = tf.Module()
        module.f = tf.function(function, input_signature=specs)
        fires = "savedmodel" if name in ("writes", "prints") else ""
        tf.saved_model.save(module, add(name, expected, fires), signatures={"serving_default": module.f})
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], "x")
        y = tf.identity(x, name="y")
        start = raw.WriteFile(filename=str(corpus.canary("tf_saved_writes_at_load")), contents="x")
        builder = v1.saved_model.Builder(add("writes_at_load", "writes files", "savedmodel_v1"))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(
            session, ["serve"], signature_def_map={"serving_default": signature}, main_op=start
        )
        builder.save()


def make(corpus: Corpus) -> None:
    frozen(corpus)
    every_operation_with_a_place(corpus)
    saved(corpus)
