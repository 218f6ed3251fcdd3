"""Writes the corpus of hostile models: `make_corpus.py FOLDER`, which must not exist. Of a framework that is not
installed there are fewer.

Only file formats of the frameworks are used; no payload is run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
sys.path[:0] = [str(HERE), str(TESTS / "onnx")]

import make_bundles  # noqa: E402
import make_pickles  # noqa: E402
import models as onnx_models  # noqa: E402 - tests/onnx/models.py
from corpus import Corpus, maker  # noqa: E402
from payloads import CONSTRUCTOR  # noqa: E402

#: cases of tests/*/make_hostile.py that `vonk pack` is given as well, with a part of its message
PACKED_ONNX = {
    "external_up_initializer", "external_up_subgraph", "external_absolute", "external_link", "external_device",
    "cycle", "unknown_domain", "truncated_5", "dim_2_31", "dims_overflow", "functions_in_a_ring", "deep_graphs",
    "external_fifo", "external_memory_tag", "empty", "gzip",
}  # fmt: skip
PACKED_TORCH = {
    "code_save.pt", "code_setstate.pt", "code_save_getattr.pt", "pickle_reduce.pt", "pickle_eval.pt", "zip_slip.pt",
    "zip_bomb.pt", "zip_twice.pt", "zip_cut.pt", "no_elf.pt2", "legacy_bomb.pt", "pickle_beyond.pt",
}  # fmt: skip
PACKED_TENSORFLOW = {
    "python", "reads", "reads_in_branch", "prints", "asset_up", "asset_absolute", "asset_link", "table_of_a_constant",
    "variables_link", "truncated_3", "cycle", "functions_in_a_ring", "giant_variables", "pickle.pb", "no_data",
    "unknown_operation",
}  # fmt: skip


def onnx(corpus: Corpus) -> None:
    """As they stand, in one folder of models that share what lies beside them."""
    home = corpus.home("onnx")
    for case in maker("onnx").make_all(home):
        packed = "'" if case.name in PACKED_ONNX else None
        corpus.add(f"onnx_{case.name}", case.path, home / "models", opened=case.expected, packed=packed)


def torch(corpus: Corpus) -> None:
    for name, content, expected in maker("torch").hostile(str(corpus.canary("torch"))):
        packed = "'" if name in PACKED_TORCH else None
        corpus.file(f"torch_{name}", content, name, opened=expected, packed=packed,
                    options={"allow_native_code": "1"} if name.endswith(".pt2") else {})  # fmt: skip


def tensorflow(corpus: Corpus) -> None:
    """The good models have to be made for that: by a child process, since it takes TensorFlow for it."""
    good = corpus.folder / "models" / "tensorflow"
    script = TESTS / "tensorflow" / "make_models.py"
    subprocess.run([sys.executable, str(script), str(good)], check=True, stdout=subprocess.DEVNULL)
    for name, path, expected in json.loads((good / "hostile/cases.json").read_text()):
        where = Path(path)
        home = where if where.is_dir() else where.parent
        packed = "'" if name in PACKED_TENSORFLOW else None
        signature = {"signature": "text"} if name.startswith(("asset_", "table_")) else {}
        corpus.add(f"tensorflow_{name}", path, home, opened=expected, packed=packed, options=signature,
                   request=signature)  # fmt: skip


def native(corpus: Corpus) -> bytes | None:
    """An AOTInductor package whose library writes a canary when it is loaded."""
    home = corpus.home("native")
    source, library = home / "evil.c", home / "evil.so"
    source.write_text(CONSTRUCTOR.format(canary=corpus.canary("native")))
    done = subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=False)
    if done.returncode != 0:
        return None
    metadata = {"AOTI_DEVICE_KEY": "cpu", "AOTI_PLATFORM": "linux", "AOTI_CPU_ISA": "INVALID_VEC_ISA"}
    top = "m/data/aotinductor/model/"
    package: bytes = (
        maker("torch")
        .Zip()
        .add(top + "x.wrapper_metadata.json", json.dumps(metadata).encode())
        .add(top + "x.wrapper.so", library.read_bytes())
        .end()
    )
    corpus.file("native", package, "model.pt2", opened="allow_native_code", packed="'", fires="library",
                trigger=str(library))  # fmt: skip
    return package


def in_bundles(corpus: Corpus, makers: make_bundles.Maker, package: bytes | None) -> None:
    """Good bundles of bad models."""
    models = {case.name: case for case in corpus.cases}

    def single(name: str) -> bytes:
        return Path(models[name].path).read_bytes()

    wrapped = {
        "external_up": ("onnx", "onnx", {"m.onnx": single("onnx_external_up_initializer")}, "leaves the model"),
        "external_absolute": ("onnx", "onnx", {"m.onnx": single("onnx_external_absolute")}, "absolute path"),
        "external_missing": ("onnx", "onnx", {"m.onnx": single("onnx_external_missing")}, "'"),
        "external_link": ("onnx", "onnx", {"m.onnx": single("onnx_external_link")}, "'"),
        "memory_tag": ("onnx", "onnx", {"m.onnx": single("onnx_external_memory_tag")}, "address in memory"),
        "cycle": ("onnx", "onnx", {"m.onnx": single("onnx_cycle")}, "'"),
        "pickle": ("onnx", "onnx", {"m.onnx": single("pickle_system")}, "pickle"),
        "torch_save": ("torch", "torchscript", {"m.pt": single("torch_code_save.pt")}, "writes files"),
        "torch_reduce": ("torch", "torchscript", {"m.pt": single("torch_pickle_reduce.pt")}, "name 'open' of"),
        "keras": ("tensorflow", "savedmodel", {"m.keras": b"PK\3\4"}, "'"),
    }  # fmt: skip
    if package is not None:
        wrapped["native"] = ("torch", "aotinductor", {"m.pt2": package}, "allow_native_code")
    folder = corpus.folder / "models" / "tf_saved_writes_at_load" / "model"
    if folder.is_dir():
        files = {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }
        wrapped["writes_at_load"] = ("tensorflow", "savedmodel", files, "writes files")
        wrapped["read_file"] = ("tensorflow", "graphdef", {"m.pb": single("tf_read_file")}, "reads files")
    make_bundles.wrapped(makers, wrapped)


def make(folder: Path) -> Path:
    corpus = Corpus(folder)
    corpus.start()
    model = onnx_models.mlp().SerializeToString(deterministic=True)
    make_pickles.make(corpus, model)
    makers = make_bundles.make(corpus, model)
    onnx(corpus)
    torch(corpus)
    package = native(corpus)
    if importlib.util.find_spec("tensorflow") is not None:
        import make_keras  # noqa: PLC0415 - these two need the framework
        import make_saved_models  # noqa: PLC0415

        make_keras.make(corpus)
        make_saved_models.make(corpus)
        if folder.name != "fired":
            tensorflow(corpus)
    in_bundles(corpus, makers, package)
    corpus.save(folder / "cases.json")
    print(f"{len(corpus.cases)} cases")
    return folder / "cases.json"


def main(folder: Path) -> None:
    """Makes it twice: the payloads of the first are set off, to see that they would do harm."""
    os.umask(0o077)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(HERE / "fire.py"), str(make(folder / "fired"))]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    (folder / "fired.json").write_bytes(done.stdout)
    make(folder / "corpus")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
