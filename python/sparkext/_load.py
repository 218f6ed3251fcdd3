"""``load``: finds a framework's plug-in, in a zip file or installed, and gives it to the driver and the executors.

How it works: a module in a zip file is imported as Python imports any from there; the file also goes to the executors,
where functions of a plug-in are unpickled by name. Spark does not replace a file, so each content goes under a name of
its own, and functions are told of the last one alone. A worker that has imported the former one would keep it:
functions that are made after a change run in new workers, which Spark starts for another environment. Installed
plug-ins are found by the entry points of the group ``sparkext.plugins``. A script that ignores what ``load`` gives uses
the module's name all the same: the globals of the code that calls ``load`` get it, as if it had been imported there.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import shutil
import sys
import warnings
import zipfile
from collections.abc import Hashable
from pathlib import Path
from types import ModuleType

from pyspark import SparkContext
from pyspark.sql import SparkSession
from vonk.spark import _session, _staging

from sparkext.framework import Plugin
from sparkext.util import is_installed

GROUP = "sparkext.plugins"
#: Those that come with this library, so that they are found also where it is not installed as a distribution.
_OURS = {"huggingface": "sparkext_huggingface", "onnx": "sparkext_onnx", "tf": "sparkext_tf", "torch": "sparkext_torch"}
_METHODS = ("model_summary", "model_udf", "model")

#: Module -> digest of the zip file it came from.
_loaded: dict[str, str] = {}
#: What a worker of classic Spark is told of: it counts the changes of modules. Workers of one environment are shared.
_CHANGES = "SPARKEXT_CHANGES"
#: Names of the files that sessions have for a module: the last one.
_sent: dict[tuple[Hashable, str], str] = {}


def plugins() -> dict[str, str]:
    """The plug-ins that are installed: name, as :func:`load` takes it, to module."""
    ours = {name: module for name, module in _OURS.items() if is_installed(module)}
    others = {point.name: point.value.partition(":")[0] for point in importlib.metadata.entry_points(group=GROUP)}
    return dict(sorted({**ours, **others}.items()))


def load(module_name: str, zip_path: str | os.PathLike[str] | None = None) -> Plugin:
    """Loads a plug-in.

    The name of its module is bound where ``load`` is called: after ``sparkext.load("sparkext_tf", zip)``,
    ``sparkext_tf.model_udf`` is there, as after ``import sparkext_tf``.

    Parameters
    ----------
    module_name
        A module with a function ``plugin()``; or, without a zip file, the name of an installed plug-in
        (:func:`plugins`).
    zip_path
        A zip file with the module. It goes to the executors, too.

    Returns
    -------
    Plugin
        What ``plugin()`` gives.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ImportError
        The module is not there, cannot be imported, or is no plug-in.
    """
    if not isinstance(module_name, str):
        raise TypeError(f"sparkext.load: module_name: is {module_name!r}: give the name of a plug-in's module")
    if zip_path is None:
        module = _installed(module_name)
        found = _plugin_of(module)
    else:
        path = Path(zip_path).absolute()
        was_there = module_name in sys.modules
        module, found = _from_zip(module_name, path)
        _send(_session.active(), module_name, path, was_there)
    for method in _METHODS:
        if not hasattr(module, method):
            setattr(module, method, getattr(found, method))
    top = module.__name__.partition(".")[0]
    sys._getframe(1).f_globals[top] = sys.modules[top]
    return found


def _installed(name: str) -> ModuleType:
    known = plugins()
    module = known.get(name, name)
    if not is_installed(module):
        listed = ", ".join(f"{short} ({full})" for short, full in known.items()) or "none"
        raise ImportError(
            f"sparkext.load: no plug-in '{name}': installed are {listed}: give one of these, or the zip file it is in",
            name=name,
        )
    return importlib.import_module(module)


def _from_zip(name: str, path: Path) -> tuple[ModuleType, Plugin]:
    """The module in a zip file, and its plug-in; the one that is loaded, if it came from a file of the same content."""
    digest = _check(name, path)
    if _loaded.get(name) == digest and name in sys.modules:
        return sys.modules[name], _plugin_of(sys.modules[name])
    _refuse_taken(name, path)
    former = _forget(name)
    sys.path.insert(0, os.fspath(path))  # it stays: modules beside this one may be imported later
    importlib.invalidate_caches()
    try:
        module = _imported(name, path)
        found = _plugin_of(module)
    except BaseException:
        sys.path.remove(os.fspath(path))
        _forget(name)
        sys.modules.update(former)
        raise
    _loaded[name] = digest
    return module, found


def _refuse_taken(name: str, path: Path) -> None:
    """A plug-in is replaced by another of its name, nothing else is."""
    there = sys.modules.get(name)
    is_other = there is not None and name not in _loaded and not callable(getattr(there, "plugin", None))
    if is_other or name.partition(".")[0] in sys.stdlib_module_names:
        where = getattr(there, "__file__", None) or "Python's own"
        raise ImportError(
            f"sparkext.load: {path}: its module '{name}' has the name of another ({where}): rename it", name=name
        )


def _forget(name: str) -> dict[str, ModuleType]:
    """Takes a module, and those in it, out of those that are imported."""
    names = [key for key in sys.modules if key == name or key.startswith(f"{name}.")]
    return {key: sys.modules.pop(key) for key in names}


def _imported(name: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ImportError(
            f"sparkext.load: {path}: its module '{name}' cannot be imported: {type(error).__name__}: {error}",
            name=getattr(error, "name", None) or name,
        ) from error


def _check(name: str, path: Path) -> str:
    """The digest of a zip file that has the module."""
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            files = archive.namelist()
    except OSError as error:
        raise FileNotFoundError(
            error.errno, f"sparkext.load: {error.strerror}: give the path of the plug-in's zip file", os.fspath(path)
        ) from None
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ImportError(
            f"sparkext.load: {path}: is no zip file: {error}: zip the module's folder", name=name
        ) from None
    stem = name.replace(".", "/")
    if not any(file in (f"{stem}.py", f"{stem}.pyc", f"{stem}/__init__.py", f"{stem}/__init__.pyc") for file in files):
        tops = sorted({file.partition("/")[0].removesuffix(".py") for file in files})
        has_library = any(file.startswith(stem) and file.endswith((".so", ".pyd")) for file in files)
        why = "Python cannot load libraries from a zip file: install it" if has_library else "give one of these"
        raise ImportError(
            f"sparkext.load: {path}: has no module '{name}'; at its top are {', '.join(tops[:8]) or 'no files'}: {why}",
            name=name,
        )
    return hashlib.sha256(content).hexdigest()


def _send(spark: SparkSession, name: str, path: Path, was_there: bool) -> None:
    """The zip file for the executors' Python, once for a content that follows another.

    Workers may know another module of the name if they were sent one, or if it was imported here before.
    """
    key = _session.files_key(spark), name
    copy = _staging.folder() / f"{path.stem}-{_loaded[name][:16]}.zip"
    former = _sent.get(key)
    if former == copy.name:
        return
    shutil.copyfile(path, copy)
    if _session.is_connect(spark):
        spark.addArtifact(os.fspath(copy), pyfile=True)
        if former or was_there:
            warnings.warn(
                f"sparkext.load: {path.name}: another module '{name}' was loaded before, and a worker that has used it"
                " keeps it while it lives, for Spark Connect ends none: restart the session to be sure",
                stacklevel=3,
            )
    else:
        _to_new_functions(spark.sparkContext, copy, former, is_change=former is not None or was_there)
    _sent[key] = copy.name


def _to_new_functions(context: SparkContext, file: Path, former: str | None, *, is_change: bool) -> None:
    """For functions that are made from now on: they do not see the former file, nor workers that have imported it."""
    context.addPyFile(os.fspath(file))
    if former is not None and former in context._python_includes:
        context._python_includes.remove(former)  # Spark keeps no order among them
    if is_change:
        context.environment[_CHANGES] = str(int(context.environment.get(_CHANGES, "0")) + 1)


def _plugin_of(module: ModuleType) -> Plugin:
    where = getattr(module, "__file__", None) or module.__name__
    make = getattr(module, "plugin", None)
    if not callable(make):
        raise ImportError(
            f"sparkext.load: {where}: has no function plugin(): a plug-in's module gives its Plugin by it",
            name=module.__name__,
        )
    try:
        found: Plugin = make()
    except Exception as error:
        raise ImportError(
            f"sparkext.load: {where}: plugin() failed: {type(error).__name__}: {error}", name=module.__name__
        ) from error
    missing = [method for method in _METHODS if not callable(getattr(found, method, None))]
    if missing:
        raise ImportError(
            f"sparkext.load: {where}: plugin() gave {found!r}, which has no {', '.join(missing)}: return an object of"
            " a class derived from sparkext.framework.Plugin",
            name=module.__name__,
        )
    return found
