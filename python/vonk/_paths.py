"""Where the parts of this installation are."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Installation:
    """Absolute paths of one installation.

    Attributes
    ----------
    program
        The ``vonk`` program.
    library
        ``libvonk.so``, the library to embed.
    extension
        ``vonk.duckdb_extension``, which DuckDB loads: ``LOAD '<this path>'``.
    plugins
        The folder of framework plug-ins.
    include
        The folder to pass to a compiler with ``-I``.
    frameworks
        Framework name (``"onnxruntime"``, ``"tensorflow"``, ``"torch"``, ``"duckdb"``) to the library recorded by
        set-up; empty when none was recorded.
    """

    program: Path
    library: Path
    extension: Path
    plugins: Path
    include: Path
    frameworks: dict[str, Path] = field(default_factory=dict)


def installation() -> Installation:
    """Finds the parts of the installed wheel.

    Returns
    -------
    Installation
        Paths taken from the wheel's own list of installed files.

    Raises
    ------
    FileNotFoundError
        The package is imported from a source tree, or files of the wheel were removed.
    """
    program = Path(sysconfig.get_path("scripts")) / "vonk"
    prefix = Path(sysconfig.get_path("data"))
    for file in metadata.files("vonk") or []:
        if file.name == "libvonk.so":
            prefix = Path(str(file.locate())).resolve().parent.parent
        elif file.name == "vonk" and file.parent.name == "bin":
            program = Path(str(file.locate())).resolve()
    library = prefix / "lib" / "libvonk.so"
    extension = prefix / "lib" / "vonk.duckdb_extension"
    for path in (program, library, extension):
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: missing: the wheel is not fully installed: run 'pip install --force-reinstall vonk'"
            )
    plugins = prefix / "lib" / "vonk" / "plugins"
    return Installation(program, library, extension, plugins, prefix / "include", _frameworks(prefix))


def _frameworks(prefix: Path) -> dict[str, Path]:
    file = prefix / "lib" / "vonk" / "paths.conf"
    if not file.is_file():
        return {}
    pairs = (line.partition("=") for line in file.read_text().splitlines() if "=" in line)
    return {name.strip(): Path(path.strip()) for name, _, path in pairs if name[:1] != "#"}
