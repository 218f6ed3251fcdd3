"""Bundles with one thing wrong each: in the zip file, the manifest, a folder. docs/bundle.md says what is right."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus import Corpus

Manifest = dict[str, Any]
Edit = Callable[[Manifest], object]


class Zip:
    """A zip file, stored as a bundle is, whose every field can be wrong."""

    def __init__(self) -> None:
        self.body, self.central, self.entries = b"", b"", 0

    def add(self, name: str | bytes, data: bytes, **wrong: Any) -> Zip:
        """wrong: method, flags, crc, size, packed, offset, local_name, mode (of Unix), content (bytes in the file)."""
        raw = name.encode() if isinstance(name, str) else name
        content = wrong.get("content", data)
        if wrong.get("method") == 8 and "content" not in wrong:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            content = packer.compress(data) + packer.flush()
        flags = wrong.get("flags", 0 if raw.isascii() else 0x800)  # the name is UTF-8
        method = wrong.get("method", 0)
        size, packed = wrong.get("size", len(data)), wrong.get("packed", len(content))
        local = wrong.get("local_name", raw)
        common = struct.pack("<HHHHIII", flags, method, 0, 33, wrong.get("crc", zlib.crc32(data)), packed, size)
        offset = wrong.get("offset", len(self.body))
        self.central += b"PK\1\2" + struct.pack("<HH", 3 << 8 | 20, 20) + common
        self.central += struct.pack("<HHHHHII", len(raw), 0, 0, 0, 0, wrong.get("mode", 0o644) << 16, offset) + raw
        self.body += b"PK\3\4" + struct.pack("<H", 20) + common + struct.pack("<HH", len(local), 0) + local + content
        self.entries += 1
        return self

    def end(self, **wrong: Any) -> bytes:
        """wrong: count, offset, size, comment."""
        count, comment = wrong.get("count", self.entries), wrong.get("comment", b"")
        offset, size = wrong.get("offset", len(self.body)), wrong.get("size", len(self.central))
        last = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, size, offset, len(comment)) + comment
        return self.body + self.central + last


def listed(files: dict[str, bytes]) -> dict[str, Any]:
    return {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()}


class Maker:
    """Makes bundles of one small ONNX model x [n, 4] -> y [n, 3]."""

    def __init__(self, corpus: Corpus, model: bytes) -> None:
        self.corpus = corpus
        rows = struct.pack("<8f", *range(8))
        self.files = {
            "model/m.onnx": model, "labels.txt": b"cat\ndog\nowl\n",
            "selftest/x.bin": rows, "selftest/y.bin": bytes(24),
        }  # fmt: skip

    def manifest(self, files: dict[str, bytes] | None = None) -> Manifest:
        tensor = {"shape": [2, 4], "file": "selftest/x.bin"}
        return {
            "vonk_bundle": 1,
            "name": "animals",
            "licence": "Apache-2.0",
            "model": {"format": "onnx", "plugin": "onnx", "path": "model/m.onnx", "options": {}},
            "inputs": [{"name": "x", "tensor": "x", "dtype": "float32", "shape": [-1, 4], "dim_names": ["n", None]}],
            "outputs": [
                {"name": "y", "tensor": "y", "dtype": "float32", "shape": [-1, 3], "labels": "labels.txt",
                 "dim_names": ["n", None]}
            ],
            "preprocess": [{"op": "rescale", "input": "x", "scale": 0.5}],
            "selftest": {
                "rows": 2, "tolerance": 1e-5, "inputs": {"x": tensor},
                "outputs": {"y": {"shape": [2, 3], "file": "selftest/y.bin"}},
            },
            "provenance": {"source": "animals.onnx"},
            "files": listed(self.files if files is None else files),
        }  # fmt: skip

    def zip(self, manifest: Manifest | bytes | None = None, files: dict[str, bytes] | None = None) -> Zip:
        if manifest is None:
            manifest = self.manifest(files)
        text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        archive = Zip().add("manifest.json", text)
        for name, data in (self.files if files is None else files).items():
            archive.add(name, data)
        return archive

    # --- cases ------------------------------------------------------------------------------------------------------

    def raw(self, name: str, content: bytes, expected: str, **more: Any) -> Path:
        return self.corpus.file(f"bundle_{name}", content, f"{name}.vonk", opened=expected, **more)

    def edited(self, name: str, expected: str, edit: Edit, **more: Any) -> None:
        """The manifest changed by `edit`."""
        manifest = self.manifest()
        edit(manifest)
        self.raw(name, self.zip(manifest).end(), expected, **more)

    def entry(self, name: str, expected: str, entry: str | bytes, data: bytes = b"x", **wrong: Any) -> None:
        """One more entry in the zip file, which the manifest lists if its name is text."""
        files = {**self.files, entry: data} if isinstance(entry, str) else self.files
        archive = self.zip(self.manifest(files), self.files)  # type: ignore[arg-type]
        self.raw(name, archive.add(entry, data, **wrong).end(), expected, fires="zip_slip" if "slip" in name else "")

    def folder(self, name: str, expected: str, manifest: Manifest | None = None) -> Path:
        """A bundle that is a folder, to be changed."""
        home = self.corpus.home(f"bundle_{name}")
        path = home / "bundle.vonk"
        for file, data in self.files.items():
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_bytes(data)
        (path / "manifest.json").write_text(json.dumps(manifest or self.manifest()))
        self.corpus.add(f"bundle_{name}", path, home, opened=expected)
        return path


def structure(maker: Maker) -> None:
    good = maker.zip().end()
    size = len(good)
    for i, end in enumerate((1, 4, 29, 30, 43, 200, 1000, size // 2, size - 400, size - 60, size - 22, size - 1)):
        maker.raw(f"truncated_{i}", good[:end], "'")
    maker.raw("empty", b"", "'")
    maker.raw("zeros", bytes(4096), "'")
    maker.raw("text", b"hello\n" * 100, "'")
    maker.raw("trailing", good + b"\0" * 50, "'")
    maker.raw("prefix", b"#!/bin/sh\nexit 1\n" + good, "'")
    maker.raw("comment", maker.zip().end(comment=b"PK\5\6" + bytes(18)), "'")
    maker.raw("count_more", maker.zip().end(count=6), "'")
    maker.raw("count_less", maker.zip().end(count=4), "'")
    maker.raw("directory_beyond", maker.zip().end(offset=1 << 31), "'")
    maker.raw("directory_inside", maker.zip().end(offset=4), "'")
    maker.raw("directory_size", maker.zip().end(size=7), "'")
    maker.raw("no_entries", Zip().end(), "'")
    maker.raw("zip64_nowhere", maker.zip().end(count=0xFFFF, offset=0xFFFFFFFF, size=0xFFFFFFFF), "'")
    huge = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1 << 62, 1 << 62, 1 << 62, 1 << 62)
    body = maker.zip().body
    locator = b"PK\6\7" + struct.pack("<IQI", 0, len(body), 1)
    last = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    maker.raw("zip64_huge", body + huge + locator + last, "'")
    model = maker.files["model/m.onnx"]
    manifest = json.dumps(maker.manifest()).encode()
    rest = [item for item in maker.files.items() if item[0] != "model/m.onnx"]

    def with_model(name: str, expected: str, **wrong: Any) -> None:
        archive = Zip().add("manifest.json", manifest).add("model/m.onnx", model, **wrong)
        for file, data in rest:
            archive.add(file, data)
        maker.raw(name, archive.end(), expected)

    with_model("compressed", "'", method=8)
    with_model("unknown_method", "'", method=93)
    with_model("encrypted", "'", flags=1)
    with_model("strongly_encrypted", "'", flags=0x41)
    with_model("size_later", "'", flags=8)
    with_model("size_more", "'", size=len(model) + 1)
    with_model("size_2_31", "'", size=1 << 31, packed=1 << 31)
    with_model("size_4_gib", "'", size=0xFFFFFFFE, packed=0xFFFFFFFE)
    with_model("size_zip64_without", "'", size=0xFFFFFFFF, packed=0xFFFFFFFF)
    with_model("overlapping", "'", offset=0)
    with_model("offset_beyond", "'", offset=1 << 31)
    with_model("other_local_name", "'", local_name=b"model/n.onnx")
    with_model("symlink", "'", mode=stat.S_IFLNK | 0o777)
    with_model("device", "'", mode=stat.S_IFBLK | 0o777)
    archive = maker.zip()
    archive.add("model/m.onnx", model)
    maker.raw("twice", archive.end(), "twice")
    archive = maker.zip()
    archive.add("manifest.json", manifest)
    maker.raw("two_manifests", archive.end(), "twice")
    archive = Zip()
    for file, data in maker.files.items():
        archive.add(file, data)
    maker.raw("no_manifest", archive.end(), "'")
    maker.raw("manifest_last", archive.add("manifest.json", manifest).end(), "'")
    archive = Zip().add("manifest.json", manifest, method=8)
    maker.raw("manifest_compressed", archive.end(), "'")
    bomb = b"{" + b" " * (64 << 20) + b"}"
    maker.raw("manifest_bomb", Zip().add("manifest.json", bomb, method=8).end(), "'")
    maker.raw("manifest_large", Zip().add("manifest.json", b"{" + b" " * (5 << 20) + b"}").end(), "'")


def names(maker: Maker) -> None:
    secret = str(maker.corpus.secret)
    maker.entry("slip", "'", "../../../canaries/bundle_slip")
    maker.entry("slip_inside", "'", "model/../../../../canaries/bundle_slip_inside")
    maker.entry("slip_absolute", "'", str(maker.corpus.canary("bundle_slip_absolute")))
    maker.entry("backslash", "'", "model\\..\\..\\evil")
    maker.entry("nul", "'", b"model/a\0b")
    maker.entry("dot", "'", "./labels.txt")
    maker.entry("double_slash", "'", "model//m2.onnx")
    maker.entry("no_name", "'", "")
    maker.entry("long_name", "'", "m" * 5000)
    maker.entry("bad_utf8", "'", b"model/\xff\xfe")
    maker.entry("control", "'", "model/a\x1b[31mb\n")
    maker.entry("drive", "'", "C:/evil")
    maker.entry("file_in_file", "'", "labels.txt/evil")
    maker.edited("unlisted", "'", lambda m: m["files"].pop("labels.txt"))
    maker.edited("not_there", "'", lambda m: m["files"].update({"model/n.onnx": {"sha256": "0" * 64, "size": 1}}))
    maker.edited("wrong_digest", "'", lambda m: m["files"]["model/m.onnx"].update(sha256="0" * 64))
    maker.edited("wrong_label_digest", "'", lambda m: m["files"]["labels.txt"].update(sha256="1" * 64))
    maker.edited("digest_words", "'", lambda m: m["files"]["model/m.onnx"].update(sha256="no digest at all"))
    maker.edited("digest_null", "'", lambda m: m["files"]["model/m.onnx"].update(sha256=None))
    maker.edited("wrong_size", "'", lambda m: m["files"]["model/m.onnx"].update(size=7))
    maker.edited("size_2_64", "'", lambda m: m["files"]["model/m.onnx"].update(size=1 << 64))
    maker.edited("model_outside", "'", lambda m: m["model"].update(path="../../canaries/secret"))
    maker.edited("model_absolute", "'", lambda m: m["model"].update(path=secret))
    maker.edited("model_missing", "'", lambda m: m["model"].update(path="model/other.onnx"))
    maker.edited("model_elsewhere", "'", lambda m: m["model"].update(path="labels.txt"))
    maker.edited("model_empty", "'", lambda m: m["model"].update(path=""))
    maker.edited("labels_outside", "'", lambda m: m["outputs"][0].update(labels=secret))
    maker.edited("labels_up", "'", lambda m: m["outputs"][0].update(labels="../../canaries/secret"))
    maker.edited("selftest_outside", "'", lambda m: m["selftest"]["inputs"]["x"].update(file="../../canaries/secret"))


def contents(maker: Maker) -> None:
    def port(side: str, **more: Any) -> Edit:
        return lambda m: m[side][0].update(more)

    def drop(*keys: str) -> Edit:
        def edit(manifest: Manifest) -> None:
            inner = manifest
            for key in keys[:-1]:
                inner = inner[key]
            del inner[keys[-1]]

        return edit

    def step(**more: Any) -> Edit:
        return lambda m: m.update(preprocess=[more])

    def option(key: str, value: Any) -> Edit:
        return lambda m: m["model"].update(options={key: value})

    maker.edited("version_2", "'", lambda m: m.update(vonk_bundle=2))
    maker.edited("version_text", "'", lambda m: m.update(vonk_bundle="1"))
    maker.edited("version_huge", "'", lambda m: m.update(vonk_bundle=1 << 70))
    for key in ("vonk_bundle", "model", "inputs", "outputs", "files"):
        maker.edited(f"without_{key}", "'", drop(key))
    maker.edited("without_tensor", "'", lambda m: m["inputs"][0].pop("tensor"))
    maker.edited("without_path", "'", drop("model", "path"))
    maker.edited("allow_native_code", "allow_native_code", option("allow_native_code", "1"))
    maker.edited("option_device", "'", option("device", "cuda"))
    maker.edited("option_plugin", "'", option("plugin", "torch"))
    maker.edited("option_threads", "'", option("threads_per_run", "1000000"))
    maker.edited("option_unknown", "'", option("custom_ops", "/tmp/evil.so"))
    maker.edited("option_number", "'", option("signature", 7))
    maker.edited("plugin_path", "'", lambda m: m["model"].update(plugin=str(maker.corpus.canary("evil.so"))))
    maker.edited("plugin_up", "'", lambda m: m["model"].update(plugin="../../../evil"))
    maker.edited("plugin_unknown", "'", lambda m: m["model"].update(plugin="pickle"))
    maker.edited("plugin_other", "'", lambda m: m["model"].update(plugin="torch", format="torchscript"))
    maker.edited("format_other", "'", lambda m: m["model"].update(format="savedmodel"))
    maker.edited("dim_2_31", "'", port("inputs", shape=[-1, 1 << 31]))
    maker.edited("dim_2_62", "'", port("inputs", shape=[-1, 1 << 62]))
    maker.edited("dim_negative", "'", port("inputs", shape=[-1, -5]))
    maker.edited("dim_text", "'", port("inputs", shape=[-1, "n"]))
    maker.edited("dim_other", "'", port("outputs", shape=[-1, 4]))
    maker.edited("dim_known", "'", port("inputs", shape=[8, 4]))
    maker.edited("rank_0", "'", port("inputs", shape=[]))
    maker.edited("rank_100", "'", port("inputs", shape=[-1] * 100))
    maker.edited("dtype_unknown", "'", port("inputs", dtype="complex64"))
    maker.edited("dtype_other", "'", port("inputs", dtype="int64"))
    maker.edited("tensor_unknown", "'", port("inputs", tensor="z"))
    maker.edited("name_nul", "'", port("inputs", name="a\0b"))
    maker.edited("name_empty", "'", port("outputs", name=""))
    maker.edited("name_long", "'", port("outputs", name="y" * 5000))
    maker.edited("name_surrogate", "'", port("outputs", name="\ud800"))
    maker.edited("no_inputs", "'", lambda m: m.update(inputs=[], preprocess=[]))
    maker.edited("no_outputs", "'", lambda m: m.update(outputs=[]))
    maker.edited("300_inputs", "'", lambda m: m.update(inputs=m["inputs"] * 300))
    maker.edited("input_twice", "'", lambda m: m.update(inputs=m["inputs"] * 2))
    maker.edited("output_twice", "'", lambda m: m.update(outputs=m["outputs"] * 2))
    maker.edited("input_an_object", "'", lambda m: m.update(inputs={"x": 1}))
    maker.edited("step_unknown", "'", step(op="python", code="import os"))
    maker.edited("step_without_op", "'", step(input="x"))
    maker.edited("step_other_input", "'", step(op="rescale", input="z", scale=2))
    maker.edited("step_no_number", "'", step(op="rescale", input="x", scale="2"))
    maker.edited("step_lengths", "'", step(op="normalize", input="x", mean=[0, 1], std=[1, 1]))
    maker.edited("step_no_std", "'", step(op="normalize", input="x", mean=0))
    maker.edited("step_std_0", "'", step(op="normalize", input="x", mean=0, std=0))
    maker.edited("step_axis", "'", step(op="normalize", input="x", mean=0, std=1, axis=7))
    maker.edited("step_a_million", "'", step(op="normalize", input="x", mean=[0] * 100_000, std=[1] * 100_000))
    maker.edited("selftest_rows_2_62", "'", lambda m: m["selftest"].update(rows=1 << 62))
    maker.edited("selftest_shape", "'", lambda m: m["selftest"]["inputs"]["x"].update(shape=[2, 1 << 31]))
    maker.edited("selftest_overflow", "'", lambda m: m["selftest"]["inputs"]["x"].update(shape=[1 << 32, 1 << 32]))
    maker.edited("selftest_unknown", "'", lambda m: m["selftest"]["outputs"].update(z={"shape": [2], "values": ["a"]}))
    maker.edited("selftest_tolerance", "'", lambda m: m["selftest"].update(tolerance=-1))
    manifest = maker.manifest(files={**maker.files, "labels.txt": b"one\ntwo\n"})
    short = {**maker.files, "labels.txt": b"one\ntwo\n"}
    maker.raw("labels_too_few", maker.zip(manifest, short).end(), "'")
    text = json.dumps(maker.manifest()).encode()
    for name, content in {
        "json_cut": text[:-2], "json_nothing": b"", "json_list": b"[1]", "json_text": b"hello",
        "json_nul": b"\0" + text,
        "json_bom": b"\xef\xbb\xbf" + text, "json_utf16": text.decode().encode("utf-16"),
        "json_latin1": text.replace(b"animals", b"anim\xe4ls"), "json_deep": b"[" * 100_000 + b"]" * 100_000,
        "json_two": text + text, "json_comment": b"/* */" + text, "json_nan": text.replace(b"1e-05", b"NaN"),
        "json_infinite": text.replace(b"1e-05", b"1e999"),
        "json_key_twice": text.replace(b'"name": "animals"', b'"name": "a", "name": "b"'),
        "json_model_twice": text[:-1] + b', "model": {"format": "onnx", "plugin": "onnx", "path": "labels.txt"}}',
    }.items():  # fmt: skip
        assert content != text, name
        maker.raw(name, maker.zip(content).end(), "'")


def folders(maker: Maker) -> None:
    secret = maker.corpus.secret
    path = maker.folder("folder_link", "'")
    (path / "labels.txt").unlink()
    (path / "labels.txt").symlink_to(secret)
    path = maker.folder("folder_model_link", "'")
    (path / "model/m.onnx").unlink()
    (path / "model/m.onnx").symlink_to(secret)
    path = maker.folder("folder_folder_link", "'")
    (path / "model/m.onnx").unlink()
    (path / "model").rmdir()
    (path / "model").symlink_to(secret.parent)
    path = maker.folder("folder_manifest_link", "'")
    (path / "manifest.json").unlink()
    (path / "manifest.json").symlink_to(secret)
    path = maker.folder("folder_fifo", "'")
    (path / "labels.txt").unlink()
    os.mkfifo(path / "labels.txt")
    path = maker.folder("folder_unlisted", "'")
    (path / "model/evil.onnx").write_bytes(b"x")
    path = maker.folder("folder_unlisted_link", "'")
    (path / "model/more").symlink_to(secret.parent)
    path = maker.folder("folder_missing", "'")
    (path / "selftest/x.bin").unlink()
    path = maker.folder("folder_digest", "'")
    (path / "labels.txt").write_bytes(b"cat\ndog\nfox\n")
    path = maker.folder("folder_grown", "'")
    (path / "labels.txt").write_bytes(b"cat\ndog\nowl\ncow\n")
    manifest = maker.manifest()
    manifest["model"]["path"] = "../../../canaries/secret"
    maker.folder("folder_model_outside", "'", manifest)
    path = maker.folder("folder_no_manifest", "'")
    (path / "manifest.json").unlink()


def pinned(maker: Maker) -> None:
    """A good bundle, asked for by the digest of another."""
    path = maker.raw("pinned", maker.zip().end(), "'")
    last = maker.corpus.cases.pop()
    maker.corpus.add(last.name, f"{path}#sha256={'0' * 64}", opened="sha256")


def wrapped(maker: Maker, hostile: dict[str, tuple[str, str, dict[str, bytes], str]]) -> None:
    """Good bundles of bad models. hostile: name -> plugin, format, files below model/, part of the message."""
    for name, (plugin, form, content, expected) in hostile.items():
        files = {f"model/{file}": data for file, data in content.items()}
        manifest = maker.manifest(files)
        del manifest["selftest"], manifest["outputs"][0]["labels"]
        first = next(iter(files))
        manifest["model"] |= {"plugin": plugin, "format": form, "path": first if len(files) == 1 else "model"}
        maker.raw(f"of_{name}", maker.zip(manifest, files).end(), expected)


def make(corpus: Corpus, model: bytes) -> Maker:
    maker = Maker(corpus, model)
    structure(maker)
    names(maker)
    contents(maker)
    folders(maker)
    pinned(maker)
    return maker
