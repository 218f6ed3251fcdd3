"""What a worker keeps: models are opened once, within a bound; and what functions that load models are promised."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy
import onnxruntime
import pyarrow
import pytest
import vonk
from conftest import ROOT
from onnx import TensorProto, helper, numpy_helper
from pyspark.sql.functions import arrow_udf
from test_shipping import X, save, scaled, times
from vonk.spark import _cache, _loader, _memory, model_udf
from vonk.spark._spec import Binding, Source
from vonk.spark._worker import Scorer

sys.path.insert(0, str(ROOT / "tests" / "frameworks"))
import zoo

SIZE = 1 << 18  # weights of 1 MB
MB = 4 * SIZE


# --- the cache itself, in this process ---


def source(path, **more):
    return Source(path.name, os.fspath(path), None, identity=os.fspath(path), **more)


def predict(cache, given):
    with cache.lease(given) as entry:
        return entry.model.predict(numpy.array(X, "f4")).tolist()


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ten")
    return [save(folder / f"model{i}.onnx", i, SIZE) for i in range(10)]


@pytest.fixture
def library_bound():
    """Makes the C library itself refuse what is above a bound, whoever holds the weights."""
    yield vonk.set_model_memory
    vonk.set_model_memory(0)


def test_ten_models_under_a_bound_of_three(ten, library_bound, monkeypatch):
    cache = _cache.Cache()
    bound = int(3.5 * MB)
    library_bound(bound)
    monkeypatch.setattr(_cache, "_cache", cache)
    x = pyarrow.array(X, pyarrow.float32())
    scorers = [Scorer(source(path, memory=bound), Binding(), None, None) for path in ten]
    for i in [*range(10), *range(10), 9, 8, 7, 9, 8, 7]:
        assert scorers[i](x).to_pylist() == times(i)
        assert cache.nbytes <= bound
    assert len(cache) == 3
    assert (cache.opens, cache.closes) == (20, 17)  # the last six were open


def test_a_model_in_use_is_not_closed(ten):
    cache = _cache.Cache()
    bound = int(1.5 * MB)
    with cache.lease(source(ten[1], memory=bound)) as entry:
        assert predict(cache, source(ten[2], memory=bound)) == times(2)
        assert cache.closes == 0
        assert entry.model.predict(numpy.array(X, "f4")).tolist() == times(1)
    assert predict(cache, source(ten[3], memory=bound)) == times(3)
    assert (len(cache), cache.closes) == (1, 2)


def test_what_belongs_to_a_model_goes_with_it(ten):
    cache = _cache.Cache()
    with cache.lease(source(ten[1], memory=int(1.5 * MB))) as entry:
        entry.kept["predictor"] = object()
    with cache.lease(source(ten[1], memory=int(1.5 * MB))) as again:
        assert again.kept is entry.kept and "predictor" in again.kept
    predict(cache, source(ten[2], memory=int(1.5 * MB)))
    assert entry.kept == {}


def test_one_model_above_a_bound_that_was_set_is_refused(ten, monkeypatch):
    cache = _cache.Cache()
    with pytest.raises(vonk.OutOfMemoryError, match=r"model 'model1.onnx': needs 1,0.* spark.vonk.modelMemory allows"):
        cache.lease(source(ten[1], memory=1000))
    monkeypatch.setenv("VONK_SPARK_MODEL_MEMORY", "1k")
    with pytest.raises(vonk.OutOfMemoryError, match="VONK_SPARK_MODEL_MEMORY allows a worker's models 1,024"):
        cache.lease(source(ten[1]))
    assert (len(cache), cache.nbytes) == (0, 0)
    monkeypatch.delenv("VONK_SPARK_MODEL_MEMORY")
    monkeypatch.setattr(
        _memory, "_default", lambda: 1
    )  # which nobody set: it decides what is kept, and refuses nothing
    for i in (1, 2, 1):
        assert predict(cache, source(ten[i])) == times(i)
        assert len(cache) == 1


@pytest.mark.parametrize(
    ("text", "size"), [("1000", 1000), ("512m", 512 << 20), ("2g", 2 << 30), (" 3 KB ", 3 << 10), ("1T", 1 << 40)]
)
def test_sizes_are_written_as_spark_writes_them(text, size):
    assert _memory.parse(text, "here") == size


@pytest.mark.parametrize("text", ["", "m", "1.5g", "-1", "0", "2 gigs"])
def test_a_size_that_is_none_is_said(text):
    with pytest.raises(vonk.InvalidError, match=r"here: .* is no size"):
        _memory.parse(text, "here")


def test_a_failure_is_not_kept(tmp_path):
    cache = _cache.Cache()
    given = source(tmp_path / "late.onnx")
    for _ in range(2):
        with pytest.raises(vonk.FileError):
            cache.lease(given)
    save(tmp_path / "late.onnx", 3)
    assert predict(cache, given) == times(3)


def test_threads_open_a_model_once_and_never_lose_one_they_use(ten):
    cache = _cache.Cache()
    bound = int(3.5 * MB)
    wrong, most = [], []
    start = threading.Barrier(8)

    def work(seed):
        start.wait()
        for i in (seed * 7 + 3 * step for step in range(40)):
            found = predict(cache, source(ten[i % 10], memory=bound))
            most.append(cache.nbytes)
            if found != times(i % 10):
                wrong.append((i % 10, found))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(most) == 8 * 40
    assert max(most) <= bound + 8 * 1.01 * MB  # what is in use is beyond the bound
    predict(cache, source(ten[0], memory=bound))
    assert cache.nbytes <= bound
    same = _cache.Cache()
    start.reset()
    threads = [
        threading.Thread(target=lambda: (start.wait(), predict(same, source(ten[0], memory=bound)))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same.opens == 1


# --- on workers ---


def counting(marks, path, label="loaded"):
    """A loader that leaves a line with its process's number in a folder, in a file of its own."""

    def load():
        with open(os.path.join(marks, f"{label}-{os.getpid()}-{time.time_ns()}"), "x"):  # noqa: PTH118, PTH123
            return path

    return load


def calls(marks, label="loaded"):
    """How often a loader was called, by process."""
    return Counter(int(file.name.split("-")[1]) for file in Path(marks).glob(f"{label}-*"))


@pytest.fixture
def marks(tmp_path):
    (tmp_path / "marks").mkdir()
    return os.fspath(tmp_path / "marks")


def frame(spark, partitions=6):
    return spark.range(0, 60, 1, partitions).selectExpr("id", "float(id) AS x")


def test_a_worker_loads_once_for_two_functions_many_tasks_and_reruns(spark, tmp_path, marks):
    two, three = (os.fspath(save(tmp_path / f"{k}.onnx", k)) for k in (2, 3))
    for _ in range(3):  # a notebook's cell, run again: functions are made anew
        first = model_udf(None, model_loader=counting(marks, two, "two"))
        second = model_udf(None, model_loader=counting(marks, three, "three"))
        found = frame(spark).select("id", first("x"), second("x"), first(second("x"))).collect()
        assert sorted(map(tuple, found)) == [(i, 2.0 * i, 3.0 * i, 6.0 * i) for i in range(60)]
    for label in ("two", "three"):
        times_called = calls(marks, label)
        assert times_called and max(times_called.values()) == 1, times_called
        assert os.getpid() not in times_called  # the driver never calls it
        assert len(times_called) <= 3  # two executors with a worker each; in local mode perhaps a third


def test_the_signature_costs_one_job_or_none(spark, tmp_path, marks):
    path = os.fspath(save(tmp_path / "model.onnx", 4))
    predict = model_udf(None, return_type="float", model_loader=counting(marks, path))
    assert sum(calls(marks).values()) == 0
    assert scaled(spark, predict) == times(4)
    asked = []
    for _ in range(3):
        group = f"signature-{time.time_ns()}"
        spark.sparkContext.setJobGroup(group, "")
        model_udf(None, model_loader=counting(marks, path, "other"))
        asked.append(len(spark.sparkContext.statusTracker().getJobIdsForGroup(group)))
    assert asked == [1, 0, 0]
    assert sum(calls(marks, "other").values()) == 1


def test_a_loaders_identity_is_what_it_does():
    def cell(number, factor, text="m"):
        names = {}
        code = f"""
class Net:
    scale = {factor}
def helper(x):
    return x * G
def load(name):
    return helper(Net.scale), name in {{"a", "b", "c"}}
G = 2
"""
        module = sys.modules["__main__"].__dict__  # as a notebook does
        kept = {name: module.get(name) for name in ("Net", "helper", "load", "G")}
        exec(compile(code + "#\n" * number, f"<ipython-input-{number}>", "exec"), module)
        names = _loader.describe(module["load"], text, (), None, None)
        module.update({name: value for name, value in kept.items() if value is not None})
        return names.identity

    assert cell(1, 5) == cell(2, 5)
    assert len({cell(1, 5), cell(1, 6), cell(1, 5, "n")}) == 3

    def captures(value):
        return lambda: value

    def mark(value):
        return _loader.describe(captures(value), None, (), None, None).identity

    assert mark(numpy.ones(3)) == mark(numpy.ones(3))
    assert len({mark(numpy.ones(3)), mark(numpy.zeros(3)), mark("a" * 32), mark("b" * 32)}) == 4


def test_loaders_that_captured_other_values_are_others(spark, tmp_path):
    paths = [os.fspath(save(tmp_path / f"{k}.onnx", k)) for k in range(5, 8)]

    def load(path):
        return path

    found = [scaled(spark, model_udf(path, model_loader=load)) for path in paths]
    found += [scaled(spark, model_udf(None, model_loader=lambda path=path: path)) for path in paths]
    assert found == [times(5), times(6), times(7)] * 2


def test_a_loader_may_give_a_live_model_or_an_open_one(spark, tmp_path):
    pytest.importorskip("skl2onnx", reason="make setup EXTRAS=sklearn")
    path = os.fspath(save(tmp_path / "model.onnx", 8))

    def load():
        return vonk.open(path)

    assert scaled(spark, model_udf(None, model_loader=load)) == times(8)

    def fit(slope):
        from sklearn.linear_model import LinearRegression  # noqa: PLC0415 - on the worker

        os.environ["TMPDIR"] = tempfile.tempdir = place
        rows = numpy.arange(8.0).reshape(4, 2)
        return LinearRegression().fit(rows, slope * rows[:, 0])

    place = os.fspath(tmp_path / "temporary")
    Path(place).mkdir()
    rows = spark.createDataFrame([([x, x + 1],) for x in X], "x array<double>").coalesce(1)
    regress = model_udf(3.0, model_loader=fit, pack={"name": "line"})
    found = [row[0] for row in rows.select(regress("x")).collect()]
    numpy.testing.assert_allclose(found, times(3), atol=1e-4)
    assert list(Path(place).iterdir()) == []  # what was packed there is gone while the model is open


def test_a_loader_that_fails_is_named(spark, tmp_path, marks):
    def broken(name):
        Path(marks, f"loaded-{os.getpid()}-{time.time_ns()}").touch()
        raise ValueError(f"no such run: {name}")

    with pytest.raises(vonk.ModelError, match=r"broken\('r1'\): failed on this worker: ValueError: no such run: r1"):
        model_udf("r1", model_loader=broken)
    typed = model_udf("r1", return_type="float", model_loader=broken)
    with pytest.raises(Exception, match=r"broken\('r1'\) .*failed on this worker: ValueError: no such run: r1"):
        scaled(spark, typed)
    assert sum(calls(marks).values()) >= 2  # a failure is not kept
    for gives, why in ((None, "gave nothing"), (b"x", "gave bytes"), ("/nowhere", "'/nowhere', which is not on this")):
        with pytest.raises(vonk.Error, match=why):
            model_udf(None, model_loader=lambda gives=gives: gives)
    with pytest.raises(vonk.InvalidError, match="'text' is no function"):
        model_udf(None, model_loader="text")
    lock = threading.Lock()
    with pytest.raises(vonk.InvalidError, match="cannot be sent to the workers"):
        model_udf(None, model_loader=lambda: lock)


def test_a_loader_of_a_module_that_workers_lack_says_which(spark, tmp_path, monkeypatch):
    (tmp_path / "only_on_the_driver.py").write_text("def load(path):\n    return path\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_on_the_driver  # noqa: PLC0415

    with pytest.raises(vonk.InvalidError, match=r"load\('m'\): it needs the module 'only_on_the_driver'.*--py-files"):
        model_udf("m", model_loader=only_on_the_driver.load)


def test_a_loader_that_carries_much_is_warned_of(spark, tmp_path):
    large = numpy.zeros(1 << 18)
    path = os.fspath(save(tmp_path / "model.onnx", 9))
    with pytest.warns(UserWarning, match=r"it carries 2.1 MB of objects with it to every task"):
        predict = model_udf(None, model_loader=lambda: path if large.any() is not None else None)
    assert scaled(spark, predict) == times(9)


def worker_counts(spark):
    """What the workers' caches say, by process."""

    def look(x):
        told = {**_cache.counts(), "pid": os.getpid(), "threads": vonk.get_threads()}
        return pyarrow.array([str(told)] * len(x))

    rows = frame(spark).select(arrow_udf(look, "string")("x").alias("told")).distinct().collect()
    return [eval(row.told) for row in rows]


def test_ten_models_in_a_worker_stay_within_the_sessions_bound(spark, ten):
    session = spark.newSession()
    session.conf.set("spark.vonk.modelMemory", "3500k")
    predicts = [model_udf(path, spark=session) for path in ten]
    rows = frame(session)
    for _ in range(2):
        found = rows.select("id", *[predict("x") for predict in predicts]).collect()
        assert sorted(map(tuple, found)) == [(i, *(float(k * i) for k in range(10))) for i in range(60)]
    told = [counts for counts in worker_counts(spark) if counts["closes"]]
    assert told
    for counts in told:
        assert 0 < counts["bytes"] <= 3500 << 10, counts
        assert counts["models"] <= 3, counts
        assert counts["threads"] == 1, counts  # Spark's task has one core
    session.conf.set("spark.vonk.modelMemory", "10k")
    small = model_udf(ten[0], spark=session)
    with pytest.raises(Exception, match=r"model0.onnx .*: needs 1,0.* and spark.vonk.modelMemory allows"):
        rows.select(small("x")).collect()
    session.conf.set("spark.vonk.modelMemory", "much")
    with pytest.raises(vonk.InvalidError, match=r"spark.vonk.modelMemory: 'much' is no size"):
        model_udf(ten[0], spark=session)


@pytest.mark.skipif(not list(zoo.CACHE.glob("aoti-*/dense.pt2")), reason="tests/frameworks has not made it here")
def test_a_package_of_machine_code_wants_the_users_word(spark):
    path = next(zoo.CACHE.glob("aoti-*/dense.pt2"))
    with pytest.raises(vonk.Error, match="allow_native_code"):
        model_udf(path)
    predict = model_udf(path, allow_native_code=True)
    given = numpy.random.default_rng(1).standard_normal((4, 16)).astype("f4")
    expected = vonk.open(path, allow_native_code=True).predict(given)
    rows = spark.createDataFrame([(row.tolist(),) for row in given], "x array<float>").coalesce(1)
    found = numpy.array([row[0] for row in rows.select(predict("x")).collect()], "f4")
    numpy.testing.assert_allclose(found, expected, atol=1e-6)
    assert pyarrow.types.is_list(pyarrow.array(found.tolist()).type)


# --- memory that workers share ---

CHILD = """
import re, sys
import numpy, vonk

model = vonk.open(sys.argv[1], shared_weights=sys.argv[2] == "1")
model.predict(numpy.ones((4, 1024), "f4"))
print("ready", flush=True)
sys.stdin.readline()  # the parent's word that the other one is ready, too
mapped = shared = 0
for block in re.split(r"\\n(?=[0-9a-f]+-[0-9a-f]+ )", open("/proc/self/smaps").read()):
    if sys.argv[1] in block.partition("\\n")[0]:
        mapped += int(re.search(r"Rss: +(\\d+)", block)[1])
        shared += int(re.search(r"Pss: +(\\d+)", block)[1])
private = int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(mapped, shared, private, flush=True)
sys.stdin.read()
"""


def two_children(path, is_shared):
    """Of two processes with one model: kB of the file that are mapped, its part of them, kB of its own."""
    command = [sys.executable, "-c", CHILD, os.fspath(path), str(int(is_shared))]
    pipe = subprocess.PIPE
    children = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    try:
        for child in children:
            assert child.stdout.readline() == "ready\n"
        for child in children:
            child.stdin.write("measure\n")
            child.stdin.flush()
        return [[int(text) for text in child.stdout.readline().split()] for child in children]
    finally:
        for child in children:
            child.communicate()


def test_workers_share_the_weights_of_an_ort_bundle_if_asked(tmp_path):
    size = 32 << 10  # kB
    weights = numpy.random.default_rng(1).standard_normal((1024, size // 4)).astype("f4")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1024])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", size // 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "m.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    vonk.pack(tmp_path / "m.ort", tmp_path / "m.vonk")
    plain, shared = two_children(tmp_path / "m.vonk", False), two_children(tmp_path / "m.vonk", True)
    for mapped, part, private in shared:
        assert mapped >= size and part <= 0.6 * mapped, shared  # both map the same pages
        assert private <= plain[0][2] - 0.9 * size, (plain, shared)  # and have no copy of them
