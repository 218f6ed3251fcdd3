"""The frameworks of the interpreter are the ones that are used: before what set-up recorded, without importing them."""

import json

import onnxruntime
import pytest
import vonk
from package import IRIS, python

#: a process that knows no record of set-up
UNRECORDED = {"VONK_PATHS_CONF": "/nonexistent/paths.conf"}


def fake(folder, name, library):
    """A package of that name whose library is none and which must not be imported."""
    package = folder / name
    (package / library).parent.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")
    (package / library).write_text("this is no library")
    return package / library


def test_onnxruntime_of_the_environment_is_found_without_a_record():
    found = python(
        """
        import sys, vonk
        print(vonk.open(sys.argv[1]).summary().runtime_path)
        """,
        IRIS,
        env=UNRECORDED,
    ).strip()
    assert found.startswith(onnxruntime.__path__[0]), f"{found}, expected below {onnxruntime.__path__[0]}"


@pytest.mark.parametrize(
    ("name", "library"), [("tensorflow", "libtensorflow_cc.so.2"), ("torch", "lib/libtorch_cpu.so")]
)
def test_the_environment_s_framework_comes_before_the_record_and_is_not_imported(tmp_path, name, library):
    wanted = fake(tmp_path, name, library)
    said = python(
        """
        import sys, vonk
        name, folder = sys.argv[1:]
        sys.path.insert(0, folder)
        try:
            print(next(p for p in vonk.plugins() if p.name == name).runtime())
        except vonk.UnsupportedError as error:
            print(error)
        assert name not in sys.modules
        """,
        name,
        tmp_path,
    )
    assert f"'{wanted}'" in said, said


def test_the_variable_comes_before_the_environment(tmp_path):
    said = python(
        """
        import vonk
        try:
            print(next(p for p in vonk.plugins() if p.name == "torch").runtime())
        except vonk.UnsupportedError as error:
            print(error)
        """,
        env={"VONK_TORCH_LIBRARY": "/nonexistent/libtorch_cpu.so"},
    )
    assert "VONK_TORCH_LIBRARY says '/nonexistent/libtorch_cpu.so'" in said, said


def test_a_package_that_was_put_on_the_path_later_is_found(tmp_path):
    wanted = fake(tmp_path, "tensorflow", "libtensorflow_cc.so.2")
    said = python(
        """
        import sys, vonk
        vonk.open(sys.argv[1])
        sys.path.insert(0, sys.argv[2])
        vonk.open(sys.argv[1])
        from vonk import _frameworks
        print(_frameworks.find("tensorflow"))
        try:
            print(next(p for p in vonk.plugins() if p.name == "tensorflow").runtime())
        except vonk.UnsupportedError as error:
            print(error)
        """,
        IRIS,
        tmp_path,
    )
    assert said.count(str(wanted)) >= 2, said


@pytest.mark.parametrize("module", ["types.ModuleType('torch')", "None", "object()"])
def test_a_module_without_a_place_is_passed_over(module):
    python(
        f"""
        import sys, types, vonk
        sys.modules["torch"] = {module}
        print(vonk.open(sys.argv[1]))
        """,
        IRIS,
    )


def test_the_duckdb_extension_takes_the_interpreter_s_framework_too():
    found = json.loads(
        python(
            """
            import json, sys, vonk.duckdb
            con = vonk.duckdb.connect(models={"species": {"path": sys.argv[1], "output": "species"}})
            species = con.sql("SELECT species(5.1, 3.5, 1.4, 0.2)").fetchone()[0]
            with open("/proc/self/maps") as maps:
                loaded = {line.split()[-1] for line in maps if "libonnxruntime" in line}
            print(json.dumps([species, sorted(loaded)]))
            """,
            IRIS,
            env=UNRECORDED,
        )
    )
    assert found[0] == "setosa", found
    assert len(found[1]) == 1 and found[1][0].startswith(onnxruntime.__path__[0]), found


def test_a_framework_is_told_by_an_absolute_path():
    with pytest.raises(vonk.InvalidError, match=r"'libtorch_cpu.so' is not an absolute path"):
        vonk._core.set_framework("torch", "libtorch_cpu.so")
