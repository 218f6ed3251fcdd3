"""Good bundles with bytes changed, and good models beside the hostile ones: never a crash, and no false alarm."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "onnx")]

import make_bundles  # noqa: E402
import models as onnx_models  # noqa: E402 - tests/onnx/models.py
from corpus import Corpus, maker  # noqa: E402

ROUNDS = 600


def open_all(paths: list[Path], options: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """What one process said to each; it must have lived to the end."""
    asked = [{"name": str(path), "path": str(path), "options": options or {}} for path in paths]
    text = "".join(f"{json.dumps(entry)}\n" for entry in asked)
    done = subprocess.run([sys.executable, str(HERE / "open_all.py")], input=text, capture_output=True, text=True,
                          timeout=500, check=False)  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"ended with {done.returncode} at {paths[len(answers) :][:1]}: {done.stderr[-3000:]}"
    assert len(answers) == len(paths)
    return answers


@pytest.fixture
def makers(tmp_path: Path) -> make_bundles.Maker:
    return make_bundles.Maker(Corpus(tmp_path), onnx_models.mlp().SerializeToString(deterministic=True))


def changed(content: bytes, rng: random.Random) -> bytes:
    """One to three bytes are others, or a piece is cut out, doubled, or put elsewhere."""
    found = bytearray(content)
    kind, at, size = rng.randrange(4), rng.randrange(len(content)), rng.randrange(1, 60)
    if kind < 2:
        for _ in range(rng.randint(1, 3)):
            found[rng.randrange(len(found))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    elif kind == 2:
        del found[at : at + size]
    else:
        found[at:at] = found[rng.randrange(len(found)) :][:size]
    return bytes(found)


def variants(makers: make_bundles.Maker) -> Iterator[tuple[str, bytes]]:
    """Changed bundles; and good ones of a changed manifest, or of a changed model with the digest that fits it."""
    rng = random.Random(20261122)
    whole = makers.zip().end()
    text = json.dumps(makers.manifest()).encode()
    for i in range(ROUNDS):
        yield f"whole_{i}", changed(whole, rng)
        yield f"manifest_{i}", makers.zip(changed(text, rng)).end()
        files = {**makers.files, "model/m.onnx": changed(makers.files["model/m.onnx"], rng)}
        yield f"model_{i}", makers.zip(makers.manifest(files), files).end()
    for end in range(0, len(whole), 23):
        yield f"cut_{end}", whole[:end]


def test_changed_bundles_never_crash(makers: make_bundles.Maker, tmp_path: Path) -> None:
    paths = []
    for name, content in variants(makers):
        paths.append(tmp_path / f"{name}.vonk")
        paths[-1].write_bytes(content)
    answers = open_all(paths)
    refused = 0
    for answer in answers:
        assert answer["code"] in ("OK", "VONK_MODEL", "VONK_UNSUPPORTED", "VONK_INVALID", "VONK_IO"), answer
        assert "\n" not in answer["message"] and "\x1b" not in answer["message"], answer
        refused += answer["code"] != "OK"
        if "/cut_" in answer["name"]:
            assert answer["code"] != "OK", answer
    assert refused > len(answers) * 3 // 4, f"{refused} of {len(answers)}"


def test_good_bundles_near_the_refused_ones_open(makers: make_bundles.Maker, tmp_path: Path) -> None:
    good = {"plain": makers.zip().end()}

    def add(name: str, **more: Any) -> None:
        good[name] = makers.zip(makers.manifest() | more).end()

    add("other_keys", later={"anything": [1, {"x": None}]}, description="Kleine Tiere: Katze, Hund, Eule 🦉")
    add("no_steps", preprocess=[])
    files = {**makers.files, "model/weights/a..b.bin": b"x", "README..md": b"", "model/zwölf": b"12"}
    good["dots_in_names"] = makers.zip(makers.manifest(files), files).end()
    manifest = makers.manifest()
    del manifest["selftest"], manifest["provenance"], manifest["licence"], manifest["name"], manifest["preprocess"]
    good["least"] = makers.zip(manifest).end()
    paths = []
    for name, content in good.items():
        paths.append(tmp_path / f"{name}.vonk")
        paths[-1].write_bytes(content)
    corpus_folder = makers.folder("good_folder", "")
    (corpus_folder / "copy.txt").write_bytes((corpus_folder / "labels.txt").read_bytes())
    files = {**makers.files, "copy.txt": makers.files["labels.txt"]}
    (corpus_folder / "manifest.json").write_text(json.dumps(makers.manifest(files)))
    paths.append(corpus_folder)
    (tmp_path / "linked").symlink_to(corpus_folder)  # a link to a bundle is not one in a bundle
    paths.append(tmp_path / "linked")
    for answer in open_all(paths):
        assert answer["code"] == "OK", answer


def test_good_models_near_the_refused_ones_open(tmp_path: Path) -> None:
    """External data beside the model, in folders below it, and behind a link that stays there."""
    files = maker("onnx")
    paths = []
    for location in ("w.bin", "sub/w.bin", "sub/deep/w.bin", "a b/ü.bin"):
        target = tmp_path / location
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bytes(16))
        for place in ("initializer", "constant", "subgraph"):
            path = tmp_path / f"{place}_{len(paths)}.onnx"
            path.write_bytes(files.data(files.PLACES[place](files.external(location))))
            paths.append(path)
    (tmp_path / "link.bin").symlink_to("sub/w.bin")
    path = tmp_path / "link.onnx"
    path.write_bytes(files.data(files.PLACES["initializer"](files.external("link.bin"))))
    answers = open_all([*paths, path])
    wrong = [answer for answer in answers if answer["code"] != "OK"]
    assert not wrong, wrong


@pytest.mark.skipif(bool(os.environ.get("VONK_TEST_SANITIZE")), reason="they are opened there by tests/frameworks")
def test_the_zoo_of_good_models_opens() -> None:
    """Every model that tests/frameworks makes: hundreds of dtypes, shapes and formats."""
    sys.path.append(str(HERE.parent / "frameworks"))
    import zoo  # noqa: PLC0415

    n = 0
    for name, pattern, options in (("onnx", "*.onnx", {}), ("tensorflow", "*.pb", {})):
        if zoo.is_here(name):
            folder = zoo.models(name)
            paths = sorted(folder.glob(pattern))
            paths += [path for path in sorted(folder.glob("*/saved_model.pb")) if path.parent.name != "dtypes"]
            wrong = [answer for answer in open_all(paths, options) if answer["code"] != "OK"]
            assert not wrong, wrong
            n += len(paths)
    assert n >= 60
