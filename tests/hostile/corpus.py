"""What a hostile model is, for all that makes and tries them: a path, how it is opened, and what must be said of it.

The corpus is a folder: `cases.json`, a folder for each case's files, and `canaries/`. A payload, if it ran, would write
the file `canaries/NAME`; `canaries/secret` is there from the start and must never be opened. Nothing of a framework is
imported here.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType

TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Case:
    """One hostile model.

    Attributes
    ----------
    name
        Unique; of the canary, too.
    path
        What is given as the model: a file, a folder, or either with `#sha256=...` behind it.
    home
        The folder that reading the model may touch.
    opened
        Part of the message when C opens it; None: C opens it gladly, or it is no model for C.
    packed
        Part of the message of `vonk pack`; "": it may be packed, without harm; None: it is not given to that.
    options
        For C.
    request
        More arguments of `vonk.pack`.
    fires
        How a careless reader would set the payload off (fire.py): "pickle", "keras", ...; "": there is none.
    trigger
        The file that such a reader is given, if it is not the path.
    """

    name: str
    path: str
    home: str
    opened: str | None = None
    packed: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    request: Mapping[str, str] = field(default_factory=dict)
    fires: str = ""
    trigger: str = ""


class Corpus:
    """Collects cases while their files are written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.canaries = folder / "canaries"
        self.cases: list[Case] = []

    def start(self) -> None:
        self.canaries.mkdir(parents=True)
        self.secret.write_bytes(bytes(range(256)) * 64)

    @property
    def secret(self) -> Path:
        """A file outside of every model's folder."""
        return self.canaries / "secret"

    def canary(self, name: str) -> Path:
        return self.canaries / name

    def home(self, name: str) -> Path:
        """The folder of a case, made if need be."""
        path = self.folder / "models" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def add(self, name: str, path: Path | str, home: Path | None = None, **more: object) -> None:
        home = home or self.folder / "models" / name
        self.cases.append(Case(name, str(path), str(home), **more))  # type: ignore[arg-type]

    def file(self, name: str, content: bytes, file_name: str, **more: object) -> Path:
        """A case that is one file."""
        path = self.home(name) / file_name
        path.write_bytes(content)
        self.add(name, path, **more)
        return path

    def save(self, path: Path) -> None:
        names = [case.name for case in self.cases]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"cases of one name: {twice}")
        path.write_text(json.dumps([asdict(case) for case in self.cases], indent=1))


def load(path: Path) -> Sequence[Case]:
    return [Case(**entry) for entry in json.loads(path.read_text())]


def maker(framework: str) -> ModuleType:
    """tests/FRAMEWORK/make_hostile.py: there are three of that name."""
    name = f"{framework}_hostile"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, TESTS / framework / "make_hostile.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
