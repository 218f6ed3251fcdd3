"""The symbol check sees an extra export, a missing one, a framework symbol and a foreign library."""

import shutil
import subprocess
from pathlib import Path

import check_symbols
import pytest

CC = shutil.which("cc")
pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler")


def build(folder: Path, code: str, *flags: str) -> Path:
    source = folder / "x.c"
    source.write_text(code)
    library = folder / "libx.so"
    subprocess.run([CC, "-shared", "-fPIC", "-nostartfiles", "-o", library, source, *flags], check=True)
    return library


def test_declarations_are_read_over_several_lines_and_comments_are_not():
    header = (
        "/* VONK_API int vonk_in_comment(void); */\n"
        "VONK_API const char *vonk_version(void);\n"
        "VONK_API vonk_status vonk_open(const char *path,\n    vonk_model **out);\n"
        "#define VONK_API x\nint vonk_not_exported(void);\n"
    )
    assert check_symbols.declared_functions(header) == {"vonk_version", "vonk_open"}


def test_a_declaration_that_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match="1 lines start with VONK_API but 0"):
        check_symbols.declared_functions("VONK_API extern int other_name(void);\n")


def test_exact_exports_pass(tmp_path):
    library = build(tmp_path, "int vonk_a(void); int vonk_a(void) { return 1; }")
    assert check_symbols.faults_of(library, {"vonk_a"}) == []


def test_extra_and_missing_exports_are_found(tmp_path):
    library = build(tmp_path, "int vonk_a(void); int vonk_a(void) { return 1; }")
    assert check_symbols.faults_of(library, {"vonk_b"}) == [
        "libx.so: exports 'vonk_a', which no public header declares",
        "libx.so: does not export 'vonk_b'",
    ]


def test_an_exported_variable_is_found(tmp_path):
    library = build(tmp_path, "int leaked = 3;")
    assert check_symbols.faults_of(library, set()) == ["libx.so: exports 'leaked', which no public header declares"]


def test_a_framework_symbol_is_found(tmp_path):
    library = build(
        tmp_path,
        "void *OrtGetApiBase(void); int vonk_a(void);\nint vonk_a(void) { return OrtGetApiBase() != 0; }",
    )
    assert check_symbols.faults_of(library, {"vonk_a"}) == [
        "libx.so: needs 'OrtGetApiBase', a symbol that must be found at run time"
    ]


def test_a_foreign_library_is_found(tmp_path):
    other = build(tmp_path, "int other(void); int other(void) { return 1; }", "-Wl,-soname,libother.so.1")
    library = other.rename(tmp_path / "libother.so")
    code = "int other(void); int vonk_a(void);\nint vonk_a(void) { return other(); }"
    found = check_symbols.faults_of(build(tmp_path, code, str(library)), {"vonk_a"})
    assert found == ["libx.so: is linked with libother.so.1"]


def test_a_footer_that_duckdb_would_refuse_is_found(tmp_path):
    extension = tmp_path / "x.duckdb_extension"
    extension.write_bytes(b"code")
    script = check_symbols.ROOT / "cmake" / "append_footer.sh"
    subprocess.run([script, extension, "linux_amd64", "0.1.0"], check=True)
    assert extension.stat().st_size == 4 + 512
    assert check_symbols.footer_faults(extension) == []
    extension.write_bytes(extension.read_bytes().replace(b"C_STRUCT", b"CPP\0\0\0\0\0"))
    assert check_symbols.footer_faults(extension) == [
        "x.duckdb_extension: field 3 of its footer is 'CPP', expected 'C_STRUCT'"
    ]
    extension.write_bytes(b"\0" * 600)  # stripped: the footer is gone
    assert len(check_symbols.footer_faults(extension)) == 3
