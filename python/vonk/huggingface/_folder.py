"""Models as folders: what ``save_pretrained`` writes, found, checked and written.

How it works: a folder is taken in only with weights in safetensors, which are data; older formats are pickles, which
are programs. What is beside the weights of one framework, such as those of another, stays behind. Code in a folder, or
in the repository that it came from, is never run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vonk._errors import FileError, InvalidError, ModelError, UnsupportedError
from vonk.huggingface._packages import require

_BLOCK = 1 << 20
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
#: Weights of other frameworks, and what is no part of a model.
_OTHERS = (".h5", ".msgpack", ".ot", ".onnx", ".onnx_data", ".tflite", ".mlmodel", ".gguf", ".py", ".pyc", ".md")
_OTHER_FOLDERS = ("onnx", "openvino", "coreml", "runs", "__pycache__")
#: Names of pickled weights; other pickles, as of an optimizer, are no part of the model.
_WEIGHTS = re.compile(r"(pytorch_model|model)[\w.-]*\.(bin|pt|pth|ckpt)$")
#: Tasks of pipelines by the end of an architecture's name.
_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
}


def is_id(text: str) -> bool:
    """Whether it may be the name of a model on a hub: ``t5-small``, ``google/flan-t5-small``."""
    return _ID.match(text) is not None


def title_of(folder: Path) -> str:
    """What messages call it: its name; of a folder in the hub's cache, whose own name is a commit, the model's."""
    above = folder.parent.parent.name
    if folder.parent.name == "snapshots" and above.startswith("models--"):
        return above.removeprefix("models--").replace("--", "/")
    return folder.name


def fetch(name: str, kind: str, *, revision: str | None = None, allow_pickle: bool = False) -> Path:
    """The folder of a model of the hub, or of the hub's cache on this machine.

    Parameters
    ----------
    name
        Of the model; an encoder's without an owner is one of ``sentence-transformers``.
    kind
        Of the model.
    revision, allow_pickle
        Which one; with weights that are pickles.

    Raises
    ------
    vonk.FileError
        There is no such model, or no network and nothing in the cache.
    MissingPackageError
        huggingface_hub is not installed.
    """
    hub = require("huggingface_hub")
    known = f"sentence-transformers/{name}" if kind == "encoder" and "/" not in name else name
    left_out = [f"*{ending}" for ending in (*_OTHERS, *(() if allow_pickle else _PICKLES))]
    try:
        return Path(hub.snapshot_download(known, revision=revision, ignore_patterns=left_out))
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise FileError(
            f"model '{name}': is no folder here, and the hub does not give it: {type(error).__name__}: {reason}: is the"
            " name right, and is there a network? A folder that save_pretrained has written needs none",
            "VONK_IO",
        ) from error


def files_of(folder: Path, *, allow_pickle: bool = False) -> list[str]:
    """The files of a model, as paths relative to its folder.

    Raises
    ------
    vonk.ModelError
        The folder holds no model.
    vonk.UnsupportedError
        Its weights are pickles, it wants code of its own, or a folder in it is a link.
    """
    check(folder, allow_pickle=allow_pickle)
    pickles = () if allow_pickle else _PICKLES
    taken = []
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _OTHER_FOLDERS)
        inner = Path(top).relative_to(folder)
        linked = [name for name in folders if Path(top, name).is_symlink()]
        if linked:
            raise UnsupportedError(
                f"model '{title_of(folder)}': '{inner / linked[0]}' is a link to a folder, which vonk does not follow:"
                " put the folder itself there",
                "VONK_UNSUPPORTED",
            )
        taken += [
            (inner / name).as_posix()
            for name in names
            if not name.startswith(".") and not name.lower().endswith((*_OTHERS, *pickles))
        ]
    return sorted(taken)


def check(folder: Path, *, allow_pickle: bool = False) -> None:
    """Looks into a folder before anything of it is opened.

    Raises
    ------
    vonk.FileError
        There is none.
    vonk.ModelError
        It holds no model.
    vonk.UnsupportedError
        Its weights are pickles, or it wants code of its own.
    """
    if not folder.exists():
        raise FileError(f"model '{folder}': no such folder, and no name that a hub may know", "VONK_IO")
    if not folder.is_dir():
        raise ModelError(
            f"model '{title_of(folder)}': is a file: give the folder that save_pretrained wrote", "VONK_MODEL"
        )
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise ModelError(
            f"model '{title_of(folder)}': the folder has no config.json and no modules.json: give the one that"
            " save_pretrained wrote",
            "VONK_MODEL",
        )
    for file in folder.rglob("*.json"):
        if file.name in ("config.json", "tokenizer_config.json", "modules.json"):
            _check_code(file, title_of(folder))
    if not allow_pickle:
        _check_weights(folder)


def _check_code(file: Path, title: str) -> None:
    content = read_json(file, title)
    if isinstance(content, dict) and content.get("auto_map"):
        raise UnsupportedError(
            f"model '{title}': {file.name} wants code of its own (auto_map), which vonk does not run: load it in a"
            " model_loader, which is your code",
            "VONK_UNSUPPORTED",
        )
    modules = content if file.name == "modules.json" and isinstance(content, list) else []
    for module in modules:
        kind = module.get("type", "") if isinstance(module, dict) else ""
        if not str(kind).startswith("sentence_transformers."):
            raise UnsupportedError(
                f"model '{title}': modules.json wants '{kind}', which is not of sentence_transformers: vonk does not"
                " import it: load it in a model_loader, which is your code",
                "VONK_UNSUPPORTED",
            )


def _check_weights(folder: Path) -> None:
    for top, _, names in os.walk(folder):
        pickled = sorted(name for name in names if _WEIGHTS.match(name))
        if pickled and not any(name.endswith(".safetensors") for name in names):
            inner = Path(top).relative_to(folder) / pickled[0]
            raise UnsupportedError(
                f"model '{title_of(folder)}': the weights '{inner}' are a pickle, which can run code when it is read:"
                " save them as safetensors (save_pretrained does), or pass allow_pickle=True if you trust their author",
                "VONK_UNSUPPORTED",
            )


def read_json(file: Path, title: str) -> Any:
    """Content of a JSON file.

    Raises
    ------
    vonk.ModelError
        It is none.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"model '{title}': {file.name} is no JSON: {error}", "VONK_MODEL") from error


def digest(folder: Path, *, allow_pickle: bool = False) -> str:
    """SHA-256 over names, sizes and content of a model's files.

    Raises
    ------
    vonk.Error
        As for :func:`files_of`.
    """
    total = hashlib.sha256()
    for name in files_of(folder, allow_pickle=allow_pickle):
        with (folder / name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            total.update(f"{name}\0{size}\0".encode())
            while block := file.read(_BLOCK):
                total.update(block)
    return total.hexdigest()


def weight_bytes(folder: Path) -> int:
    """Bytes of the weights in a folder."""
    ends = (".safetensors", *_PICKLES)
    return sum(
        Path(top, name).stat().st_size for top, _, names in os.walk(folder) for name in names if name.endswith(ends)
    )


def task_of(folder: Path) -> str:
    """The task of a pipeline, told by the model's architecture.

    Raises
    ------
    vonk.InvalidError
        It does not tell.
    """
    config = read_json(folder / "config.json", title_of(folder)) if (folder / "config.json").is_file() else {}
    architectures = list(map(str, config.get("architectures") or [])) if isinstance(config, dict) else []
    return task_for(architectures, title_of(folder))


def task_for(architectures: Iterable[str], title: str) -> str:
    """The task of a pipeline over one of these architectures.

    Raises
    ------
    vonk.InvalidError
        None of them tells.
    """
    for name in architectures:
        for ending, task in _TASKS.items():
            if name.endswith(ending):
                return task
    known = ", ".join(architectures) or "none"
    raise InvalidError(
        f"model '{title}': its architecture ({known}) does not tell the task of the pipeline: pass task='...'"
    )
