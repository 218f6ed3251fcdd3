"""The layer check sees a planted forbidden include, and accepts what the layers allow."""

from pathlib import Path

import check_layers
import pytest

FILES = {
    "include/vonk/plugin.h": "",
    "include/vonk/vonk.h": '#include "plugin.h"\n',
    "include/vonk/arrow_c_data.h": "",
    "src/base/base.h": '#include "vonk/plugin.h"\n',
    "src/base/internal.h": "",
    "src/arrow/arrow.h": '#include "base/base.h"\n#include <vonk/arrow_c_data.h>\n',
    "src/model/model.h": "",
    "src/predict/predict.c": '#include "arrow/arrow.h"\n#include "model/model.h"\n#include <string.h>\n',
    "plugins/onnx/plugin.c": '#include <vonk/plugin.h>\n#include "ort_api.h"\n',
    "plugins/onnx/ort_api.h": "",
    "engines/duckdb/duckdb.h": "",
    "engines/duckdb/read.c": '#include "duckdb.h"\n#include <duckdb.h>\n',
    "tests/mock/echo.c": "#include <vonk/plugin.h>\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_a_tree_that_keeps_the_rules_passes(tree):
    assert check_layers.check(tree) == (len(FILES), [])


@pytest.mark.parametrize(
    ("file", "line", "why"),
    [
        ("src/base/memory.c", '#include "arrow/arrow.h"', "src/base must not know src/arrow"),
        ("src/base/memory.c", '#include "../arrow/arrow.h"', "src/base must not know src/arrow"),
        ("src/base/memory.c", "  #  include <vonk/arrow_c_data.h>", "src/base may include only"),
        ("src/plugin/load.c", "#include <vonk/arrow_c_data.h>", "src/plugin may include only"),
        ("src/arrow/import.c", '#include "model/model.h"', "src/arrow must not know src/model"),
        ("src/arrow/import.c", '#include "base/internal.h"', "entered by its own header base.h only"),
        ("src/model/cache.c", '#include "arrow/arrow.h"', "src/model must not know src/arrow"),
        ("plugins/onnx/run.c", '#include "base/base.h"', "plugins/onnx must not know src/base"),
        ("plugins/onnx/run.c", "#include <vonk/vonk.h>", "plugins/onnx may include only plugin.h"),
        ("plugins/onnx/run.c", "#include <onnxruntime_c_api.h>", "may not use this library header"),
        ("engines/duckdb/write.c", '#include "model/model.h"', "engines/duckdb must not know src/model"),
        ("src/predict/bind.c", "#include <duckdb.h>", "may not use this library header"),
        ("src/predict/bind.c", "#include <yyjson.h>", "may not use this library header"),
        ("examples/plugin/tiny.c", "#include <vonk/vonk.h>", "examples/plugin may include only plugin.h"),
        ("tests/mock/slow.cc", '#include "base/base.h"', "tests/mock must not know src/base"),
        ("src/base/memory.c", "#include HEADER", "name the file itself"),
        ("src/surprise/new.c", '#include "base/base.h"', "belongs to no layer"),
    ],
)
def test_a_planted_forbidden_include_is_found(tree, file, line, why):
    path = tree / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"/* a comment\n of two lines */\n{line}\n")
    _, faults = check_layers.check(tree)
    assert len(faults) == 1, faults
    assert faults[0].startswith(f"{file}:3: "), faults[0]
    assert why in faults[0]


def test_a_commented_include_is_no_include(tree):
    (tree / "src/base/memory.c").write_text('/* #include "arrow/arrow.h" */\n')
    assert check_layers.check(tree)[1] == []
