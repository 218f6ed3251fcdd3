"""Manifests that are wrong: each is refused for its own reason.

Every case is the same good bundle of the mock model with one thing changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from library import INVALID, MODEL, OK, UNSUPPORTED, open_model
from mock_bundle import FILES, expect, good, listed, opened, write
from zips import Archive, Entry

# --- the manifest ---

Change = Callable[[dict[str, Any]], Any]


def put(*path: Any) -> Change:
    """put("inputs", 0, "dtype", "float33") sets one value."""

    def change(m: dict[str, Any]) -> None:
        *way, key, value = path
        at: Any = m
        for step in way:
            at = at[step]
        at[key] = value

    return change


def drop(*path: Any) -> Change:
    def change(m: dict[str, Any]) -> None:
        *way, key = path
        at: Any = m
        for step in way:
            at = at[step]
        del at[key]

    return change


def x_of(**more: Any) -> Change:
    return lambda m: m["inputs"][0].update(more)


def step(**more: Any) -> Change:
    return put("preprocess", [{"op": "normalize", "input": "X", "mean": 0, "std": 1} | more])


def option(key: str, value: Any = "1") -> Change:
    return put("model", "options", {key: value})


def many(m: dict[str, Any]) -> None:
    m["inputs"] = [{"name": f"x{i}", "tensor": f"x{i}", "dtype": "int8", "shape": [-1]} for i in range(257)]


NOT_YOURS = "is not a bundle's to decide"
MANIFESTS: dict[str, tuple[Change, str]] = {
    "no version": (drop("vonk_bundle"), "has no 'vonk_bundle'"),
    "version 0": (put("vonk_bundle", 0), "'vonk_bundle' is no version"),
    "version 1.0": (put("vonk_bundle", 1.0), "'vonk_bundle' is no version"),
    "version -1": (put("vonk_bundle", -1), "'vonk_bundle' is no version"),
    "a version in words": (put("vonk_bundle", "1"), "'vonk_bundle' is a text"),
    "a name that is a number": (put("name", 3), "'name' is a number: expected a text"),
    "a licence that is a list": (put("licence", []), "'licence' is a list"),
    "a name with a NUL": (put("name", "a\0b"), "'name' has a NUL"),
    "a key with a NUL": (put("a\0b", 1), "key 'a?b' has a NUL"),
    "no model": (drop("model"), "'model' is missing: expected an object"),
    "a model that is a text": (put("model", "model/net.mock"), "'model' is a text"),
    "no format": (drop("model", "format"), "model: 'format' is missing"),
    "another format": (put("model", "format", "onnx"), "format is 'onnx', plug-in"),
    "no path": (drop("model", "path"), "model: 'path' is missing"),
    "a path that climbs out": (put("model", "path", "../net.mock"), "path '../net.mock' has '..'"),
    "an absolute path": (put("model", "path", "/etc/passwd"), "path '/etc/passwd' is absolute"),
    "a path to nothing": (put("model", "path", "model/other.mock"), "there is no such file or folder"),
    "a path to half a name": (put("model", "path", "mod"), "there is no such file or folder"),
    "a model beside the manifest": (put("model", "path", "labels.txt"), "a model has a folder of its own"),
    "a plug-in by its path": (put("model", "plugin", "/tmp/evil.so"), "plugin '/tmp/evil.so' is no plug-in's name"),
    "a plug-in above": (put("model", "plugin", "../evil"), "plugin '../evil' is no plug-in's name"),
    "a plug-in without a name": (put("model", "plugin", ""), "plugin '' is no plug-in's name"),
    "options that are a list": (put("model", "options", ["a"]), "model: 'options' is a list"),
    "an option that is a number": (option("a", 1), "model.options: 'a' is a number: expected a text"),
    "an option that is unknown": (option("no_such"), "model.options: option no_such: is not known to plug-in"),
    "native code": (option("allow_native_code"), f"'allow_native_code' {NOT_YOURS}"),
    "a device": (option("device", "cuda"), f"'device' {NOT_YOURS}"),
    "a plug-in as an option": (option("plugin", "/tmp/evil.so"), f"'plugin' {NOT_YOURS}"),
    "threads": (option("threads_per_run", "64"), f"'threads_per_run' {NOT_YOURS}"),
    "no files": (put("files", None), "'files' is missing"),
    "files in a list": (put("files", []), "'files' is a list"),
    "a file that is a number": (put("files", "labels.txt", 3), "files: 'labels.txt': 'size' is nothing"),
    "a negative size": (put("files", "labels.txt", "size", -1), "'size' is no size"),
    "a size of 1.5": (put("files", "labels.txt", "size", 1.5), "'size' is no size"),
    "a size of 2^64": (put("files", "labels.txt", "size", 1 << 64), "'size' is no size"),
    "a size of 2^63": (put("files", "labels.txt", "size", 1 << 63), "the manifest says 9223372036854775808"),
    "no digest": (drop("files", "labels.txt", "sha256"), "'sha256' is nothing: expected 64 hex digits"),
    "a short digest": (put("files", "labels.txt", "sha256", "ab"), "'sha256' is another text"),
    "a digest of other digits": (put("files", "labels.txt", "sha256", "g" * 64), "'sha256' is another text"),
    "a wrong digest": (put("files", "labels.txt", "sha256", "a" * 64), f"the manifest says {'a' * 64}"),
    "a listed file that is missing": (
        put("files", "more", {"size": 0, "sha256": "0" * 64}), "file 'more' is missing, which the manifest lists"),
    "a listed file outside": (
        put("files", "../more", {"size": 0, "sha256": "0" * 64}), "files: '../more' has '..'"),
    "a manifest that lists itself": (
        put("files", "manifest.json", {"size": 0, "sha256": "0" * 64}), "'manifest.json' cannot list itself"),
    "no inputs": (put("inputs", []), "inputs: has 0 entries: expected 1 to 256"),
    "no outputs": (drop("outputs"), "'outputs' is missing: expected a list"),
    "257 inputs": (many, "inputs: has 257 entries"),
    "inputs in an object": (put("inputs", {}), "'inputs' is an object"),
    "an input that is null": (put("inputs", 0, None), "inputs[0]: is null"),
    "no tensor": (drop("inputs", 0, "tensor"), "inputs[0]: 'tensor' is missing"),
    "an empty name": (x_of(name=""), "inputs[0]: 'name' has 0 bytes"),
    "a name of 5000 bytes": (x_of(name="n" * 5000), "'name' has 5000 bytes: expected 1 to 4096"),
    "one name twice": (x_of(name="N"), "inputs[2]: name 'N' stands there twice"),
    "one tensor twice": (x_of(tensor="w"), "inputs[1]: tensor 'w' stands there twice"),
    "a tensor that the model does not have": (x_of(tensor="z"), "it is tensor 'z', the model has x, n, w"),
    "an input that is missing": (
        lambda m: [m["inputs"].pop(2), m["selftest"]["inputs"].pop("N")], "has 2 inputs, the model 3"),
    "a dtype that is none": (x_of(dtype="float33"), "inputs[0]: dtype 'float33' is not known"),
    "a dtype that is a number": (x_of(dtype=3), "inputs[0]: 'dtype' is a number"),
    "another dtype": (
        lambda m: [x_of(dtype="int32")(m), drop("preprocess")(m)],
        "input 'X': the manifest says int32[-1, 3], the model has float32[-1, 3]"),
    "another shape": (
        lambda m: [put("outputs", 1, "shape", [-1, -1])(m)],
        "output 'Y': the manifest says float32[-1, -1], the model has float32[-1, 3]"),
    "no shape": (drop("inputs", 0, "shape"), "inputs[0]: 'shape' is missing"),
    "a shape that is null": (
        put("inputs", 1, "shape", None),
        "input 'W': the manifest says string of any shape, the model has string[-1]"),
    "a shape that is a number": (x_of(shape=3), "inputs[0]: 'shape' is a number"),
    "9 dimensions": (x_of(shape=[1] * 9), "'shape' has 9 dimensions: expected at most 8"),
    "100,000 dimensions": (x_of(shape=[1] * 100_000), "'shape' has 100000 dimensions"),
    "a dimension of 2^31": (x_of(shape=[-1, 1 << 31]), "'shape': dimension 1 is out of range"),
    "a dimension of 2^64 - 1": (x_of(shape=[-1, (1 << 64) - 1]), "'shape': dimension 1 is"),
    "a dimension of -2": (x_of(shape=[-2, 3]), "'shape': dimension 0 is out of range"),
    "a dimension of 3.0": (x_of(shape=[-1, 3.0]), "'shape': dimension 1 is a number"),
    "a dimension in words": (x_of(shape=[-1, "3"]), "'shape': dimension 1 is a text"),
    "fewer names than dimensions": (x_of(dim_names=["N"]), "'dim_names' has 1 entries, 'shape' has 2"),
    "a name that is true": (x_of(dim_names=["N", True]), "'dim_names': entry 1 is true or false"),
    "labels that are missing": (put("outputs", 1, "labels", "no.txt"), "labels 'no.txt': there is no such file"),
    "labels that are a list": (put("outputs", 1, "labels", ["a", "b", "c"]), "'labels' is a list"),
    "labels of rows": (put("outputs", 0, "labels", "labels.txt"), "outputs[0]: has labels, but no dimension"),
    "labels that are no text": (put("outputs", 1, "labels", "selftest/x.bin"), "is no text in UTF-8"),
    "labels that do not match": (
        put("outputs", 1, "labels", "model/net.mock"),
        "labels 'model/net.mock': has 5 lines, the last dimension of output 'Y' has 3"),
    "steps in an object": (put("preprocess", {}), "'preprocess' is an object"),
    "a step that is a text": (put("preprocess", ["rescale"]), "preprocess[0]: is a text"),
    "a step without a name": (put("preprocess", [{"input": "X"}]), "preprocess[0]: 'op' is missing"),
    "257 steps": (put("preprocess", [{}] * 257), "has 257 steps"),
    "a step of no input": (step(input="Z"), "input 'Z' is none of the bundle's inputs"),
    "a step of whole numbers": (step(input="N"), "input 'N' is int64: a step works on float32 or float64"),
    "a step without numbers": (put("preprocess", [{"op": "rescale", "input": "X"}]), "'scale' is missing"),
    "a step without std": (put("preprocess", [{"op": "normalize", "input": "X", "mean": 1}]), "'std' is missing"),
    "a std of 0": (step(std=0), "'std' is 0 as float32: expected a finite number other than 0"),
    "a std that float32 does not have": (step(std=1e-60), "'std' is 0 as float32"),
    "a scale that float32 does not have": (
        put("preprocess", [{"op": "rescale", "input": "X", "scale": 1e200}]), "'scale' is inf as float32"),
    "a number in words": (step(mean="0.5"), "'mean' is a text: expected a number"),
    "a number in words in a list": (step(mean=[1, "2", 3]), "'mean' is a text: expected a number"),
    "fewer numbers than there are": (step(mean=[1, 2]), "'mean' has 2 numbers, but dimension 1 of input 'X' has 3"),
    "an axis of rows": (step(axis=0), "'axis' is out of range"),
    "an axis beyond": (step(axis=2), "'axis' is out of range"),
    "an axis before": (step(axis=-3), "'axis' is out of range"),
    "an axis of 1.5": (step(axis=1.5), "'axis' is a number"),
    "a test that is a list": (put("selftest", []), "'selftest' is a list"),
    "no rows": (put("selftest", "rows", 0), "'rows' is out of range"),
    "negative rows": (put("selftest", "rows", -2), "'rows' is out of range"),
    "2^31 rows": (put("selftest", "rows", 1 << 31), "'rows' is out of range"),
    "a negative tolerance": (put("selftest", "tolerance", -1e-5), "'tolerance' is out of range"),
    "a tolerance in words": (put("selftest", "tolerance", "NaN"), "'tolerance' is a text"),
    "no tolerance": (drop("selftest", "tolerance"), "'tolerance' is nothing"),
    "a test without an input": (drop("selftest", "inputs", "X"), "selftest.inputs.X: is missing"),
    "a test of another input": (put("selftest", "inputs", "Z", {}), "'Z' is none of the bundle's inputs"),
    "a test of another output": (put("selftest", "outputs", "Z", {}), "'Z' is none of the bundle's outputs"),
    "a test of no output": (put("selftest", "outputs", {}), "selftest.outputs: is empty: it tests nothing"),
    "a test of other rows": (put("selftest", "inputs", "X", "shape", [3, 3]), "dimension 0 is 3: expected 2"),
    "a test of another shape": (put("selftest", "inputs", "X", "shape", [2, 4]), "dimension 1 is 4: expected 3"),
    "a test of another rank": (put("selftest", "inputs", "X", "shape", [6]), "'shape' has 1 dimensions"),
    "a test with a free dimension": (put("selftest", "inputs", "N", "shape", [-1]), "dimension 0 is -1: expected 2"),
    "a test's file that is missing": (
        put("selftest", "inputs", "X", "file", "no.bin"), "selftest.inputs.X: file 'no.bin': there is no such file"),
    "a test's file of another size": (
        put("selftest", "inputs", "X", "file", "labels.txt"),
        "file 'labels.txt' has 16 bytes, a float32 tensor of this shape has 24"),
    "a test's file for texts": (put("selftest", "inputs", "W", {"shape": [2], "file": "labels.txt"}),
                                "selftest.inputs.W: 'values' is missing"),
    "a test with fewer texts": (put("selftest", "inputs", "W", "values", ["a"]), "'values' has 1 entries"),
    "a test with a number for a text": (put("selftest", "inputs", "W", "values", ["a", 1]), "a value is a number"),
    "provenance in a list": (put("provenance", ["a"]), "'provenance' is a list"),
    "provenance in numbers": (put("provenance", {"created": 2026}), "provenance: 'created' is a number"),
}  # fmt: skip


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_is_refused_with(case: str, tmp_path: Path) -> None:
    change, text = MANIFESTS[case]
    described = good() | {"files": listed(FILES)}
    change(described)
    expect(write(tmp_path / "case.vonk", described), MODEL, text)


def test_what_only_a_newer_vonk_knows_is_unsupported(tmp_path: Path) -> None:
    newer = write(tmp_path / "newer.vonk", good() | {"vonk_bundle": 2})
    expect(newer, UNSUPPORTED, "has version 2 of the format, this vonk reads up to 1: update vonk")
    described = good() | {"preprocess": [{"op": "resize", "input": "X", "size": 3}]}
    expect(write(tmp_path / "step.vonk", described), UNSUPPORTED, "step 'resize' is not known to this vonk")
    known = good() | {"tokenizer": {"any": ["thing"]}}
    known["inputs"][0]["colour"] = "red"
    assert opened(write(tmp_path / "known.vonk", known)) == (OK, "")


TEXTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is not JSON"),
    "another language": (b"name: colours\n", "is not JSON: line 1, column 1"),
    "a list": (b"[1]", "is a list: expected an object"),
    "half": (b'{"vonk_bundle": 1,', "is not JSON"),
    "more after it": (b"{} {}", "is not JSON: line 1"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "is not JSON"),
    "UTF-16": ("{}".encode("utf-16"), "is not JSON"),
    "bytes that are not UTF-8": (b'{"name": "\xff"}', "is not JSON"),
    "half a surrogate": (b'{"name": "\\ud800"}', "is not JSON"),
    "a NaN": (b'{"vonk_bundle": 1,\n"selftest": {"rows": 1, "tolerance": NaN}}', "is not JSON: line 2"),
    "an infinity": (b'{"tolerance": 1e999}', "is not JSON"),
    "a comment": (b'{"vonk_bundle": 1} // one', "is not JSON"),
    "a key twice": (b'{"vonk_bundle": 1, "vonk_bundle": 1}', "key 'vonk_bundle' stands twice in one object"),
    "a key twice inside": (b'{"a": [1, {"x": 1, "y": {}, "x": 2}]}', "key 'x' stands twice in one object"),
    "a key twice, escaped": (b'{"files": 1, "f\\u0069les": 2}', "key 'files' stands twice in one object"),
    "33 lists in each other": (b"[" * 33 + b"]" * 33, "lists and objects are nested more than 32 deep"),
    "a million lists in each other": (b"[" * 1_000_000, "lists and objects are nested more than 32 deep"),
    "a million objects in each other": (b'{"a":' * 500_000, "lists and objects are nested more than 32 deep"),
    "a text of 3 MiB": (b'{"vonk_bundle": "' + b"x" * (3 << 20) + b'"}', "'vonk_bundle' is a text"),
    "a million numbers": (b'{"vonk_bundle": [' + b"1," * 1_000_000 + b"1]}", "'vonk_bundle' is a list"),
    "300,000 keys": (
        b"{" + b",".join(b'"%d":1' % i for i in range(300_000)) + b"}", "has no 'vonk_bundle'"),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXTS)
def test_json_is_refused_that_is(case: str, tmp_path: Path) -> None:
    text, reason = TEXTS[case]
    path = tmp_path / "case.vonk"
    path.write_bytes(Archive([Entry(b"manifest.json", text)]).bytes())
    expect(path, MODEL, "manifest.json: " + reason)


def test_labels_are_refused_that_are_no_lines_of_text(tmp_path: Path) -> None:
    cases = {b"": "is empty", b"a\0b\nc\nd\n": "is no text in UTF-8", b"a\nb\n\xff\n": "is no text in UTF-8",
             b"a\nb\n": "has 2 lines", b"a\nb\nc\n\n": "has 4 lines",
             b"\n" * (1 << 21): "has more than 1048576 lines"}  # fmt: skip
    for data, text in cases.items():
        expect(write(tmp_path / "l.vonk", good(), FILES | {"labels.txt": data}), MODEL, f"labels 'labels.txt': {text}")
    for data in (b"a\nb\nc", b"a\r\nb\r\nc\r\n", b"\n\n\n"):
        assert opened(write(tmp_path / "good.vonk", good(), FILES | {"labels.txt": data})) == (OK, "")


def test_a_self_test_of_bools_holds_bools(tmp_path: Path) -> None:
    files = FILES | {"model/net.mock": b"input x bool -1 3\noutput y = copy x\n", "x.bin": b"\0\1\2"}
    port = {"dtype": "bool", "shape": [-1, 3]}
    described = good() | {
        "inputs": [{"name": "x", "tensor": "x"} | port],
        "outputs": [{"name": "y", "tensor": "y"} | port],
        "preprocess": [],
        "selftest": {"rows": 1, "tolerance": 0, "inputs": {"x": {"shape": [1, 3], "file": "x.bin"}},
                     "outputs": {"y": {"shape": [1, 3], "file": "x.bin"}}},
    }  # fmt: skip
    path = write(tmp_path / "bools.vonk", described, files)
    expect(path, MODEL, "self-test 'x.bin': byte 2 is 2: a bool is 0 or 1")
    assert opened(write(path, described, files | {"x.bin": b"\0\1\1"})) == (OK, "")


# --- what the one who opens may say ---


def test_the_one_who_opens_cannot_change_what_the_manifest_is_about(tmp_path: Path) -> None:
    path = write(tmp_path / "m.vonk", good())
    for key in ("signature", "inputs", "outputs"):
        status, message = opened(path, **{key: "x"})
        assert status == INVALID, message
        assert message.startswith(f"option {key}: '{path}' is a bundle, whose manifest has it"), message
    status, message = opened(path, no_such="1")
    assert status == INVALID and message.startswith("option no_such: is not known to plug-in"), message


def test_a_plugin_or_format_that_is_not_there_is_named(tmp_path: Path) -> None:
    described = good()
    described["model"]["plugin"] = "no_such_plugin"
    status, message, _ = open_model(write(tmp_path / "p.vonk", described))
    assert status == UNSUPPORTED and "plug-in 'no_such_plugin': no file 'vonk_no_such_plugin.so'" in message, message
    del described["model"]["plugin"]
    path = write(tmp_path / "f.vonk", described)
    status, message, _ = open_model(path)
    assert status == UNSUPPORTED, message
    assert message.startswith(f"bundle '{path}': no plug-in opens format 'mock'; installed: "), message
