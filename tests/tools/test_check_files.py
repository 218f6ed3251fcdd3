"""The file check sees machine paths, registry hosts, large files, long files and trailing blanks."""

import check_files
import pytest


def faults(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    return check_files.check_file(file, tmp_path)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("include /" + "home/ada/x.h", "a path of one machine"),
        ("HOME=/" + "root", "a path of one machine"),
        ("see https://pypi" + ".org/simple", "package registry"),
        ("registry.npm" + "js is there", "package registry"),
    ],
)
def test_a_planted_line_is_found(tmp_path, line, what):
    found = faults(tmp_path, "notes.md", f"fine\n{line}\n")
    assert len(found) == 1, found
    assert found[0].startswith("notes.md:2: ")
    assert what in found[0]


def test_the_path_of_the_checkout_is_found(tmp_path):
    assert faults(tmp_path, "a.md", f"in {tmp_path}/build\n") == ["a.md:1: names a path of one machine"]


@pytest.mark.parametrize("line", ["at" + "home/main", "a/home/b is relative", "/usr/lib/x", "${prefix}/" + "root/x"])
def test_ordinary_text_passes(tmp_path, line):
    assert faults(tmp_path, "a.md", line + "\n") == []


def test_a_large_file_is_found(tmp_path):
    found = faults(tmp_path, "big.bin", "x" * (check_files.MAX_BYTES + 1))
    assert found == ["big.bin: 5,242,881 bytes: larger than 5,242,880: bring it at set-up instead"]


def test_a_long_source_file_is_found(tmp_path):
    assert faults(tmp_path, "long.c", "x;\n" * 701) == ["long.c: 701 lines: split it, 700 is the most"]


def test_trailing_blanks_are_found(tmp_path):
    assert faults(tmp_path, "a.c", "int a; \n") == ["a.c:1: white space at the end"]
