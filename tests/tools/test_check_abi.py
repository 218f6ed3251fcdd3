"""The ABI check accepts the header as it is and sees each kind of break."""

import shutil
import subprocess
from pathlib import Path

import abi_source
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HEADER = (ROOT / "include" / "vonk" / "plugin.h").read_text()
needs_abidiff = pytest.mark.skipif(shutil.which("abidiff") is None, reason="abidiff is installed by 'make check' only")


def check(tmp_path, header: str) -> subprocess.CompletedProcess[str]:
    folder = tmp_path / "vonk"
    folder.mkdir()
    (folder / "plugin.h").write_text(header)
    command = [str(ROOT / "tools" / "check_abi.sh"), str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def replaced(old: str, new: str) -> str:
    assert HEADER.count(old) == 1, f"{old!r} stands {HEADER.count(old)} times in plugin.h"
    return HEADER.replace(old, new)


@needs_abidiff
def test_the_header_as_it_is_passes(tmp_path):
    done = check(tmp_path, HEADER)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_abidiff
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  VONK_CANCELLED = 8,", "  VONK_CANCELLED = 80,"),
        ("  char message[1024];", "  char message[2048];"),
        ("  int64_t native_code;", "  int32_t native_code;"),
        ("#define VONK_ABI_MAJOR 1u", "#define VONK_ABI_MAJOR 2u"),
    ],
)
def test_a_break_is_found(tmp_path, old, new):
    done = check(tmp_path, replaced(old, new))
    assert done.returncode != 0, f"not seen: {old} -> {new}\n{done.stdout}"


def test_every_enumerator_and_struct_is_described():
    source = abi_source.source_of(HEADER)
    for name in ("VONK_OK", "VONK_FORKED", "VONK_F32", "VONK_ABI_MAJOR"):
        assert f"vonk_abi_value_{name}[" in source
    for name in ("vonk_error", "vonk_tensor", "vonk_plugin_v1", "vonk_host"):
        assert f"void vonk_abi_type_{name}({name} *)" in source


def test_a_header_without_types_is_an_error():
    with pytest.raises(ValueError, match="no structs or no constants"):
        abi_source.source_of("int x;\n")
