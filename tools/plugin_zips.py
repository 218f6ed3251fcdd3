"""Writes the zip files of the sparkext plug-ins: one per package python/sparkext_*, for sparkext.load(name, zip).

How it works: a zip file holds the .py files of one package under its name, sorted, with a fixed date and mode, so that
equal sources give equal bytes. It is written beside its name and then renamed.
"""

from __future__ import annotations

import argparse
import os
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "python"
DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can say


def write(package: Path, target: Path) -> None:
    """The zip file of one package, a folder with modules."""
    part = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        with zipfile.ZipFile(part, "x", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(package.rglob("*.py")):
                entry = zipfile.ZipInfo(path.relative_to(package.parent).as_posix(), DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                entry.create_system = 3  # the mode is one of Unix
                archive.writestr(entry, path.read_bytes())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes the zip files of the sparkext plug-ins.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "plugin-zips", help="where to write")
    folder: Path = parser.parse_args().folder
    packages = sorted(path.parent for path in PACKAGES.glob("sparkext_*/__init__.py"))
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        target = folder / f"{package.name}.zip"
        write(package, target)
        print(f"{os.path.relpath(target)}: {target.stat().st_size:,} bytes")
    return 0 if packages else 1


if __name__ == "__main__":
    sys.exit(main())
