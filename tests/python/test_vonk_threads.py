"""The package among threads, processes and signals."""

import itertools
import multiprocessing
import pickle
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
import vonk
from package import IRIS, MNIST, mock, pixels, probabilities, python
from reference import assert_equal

#: Well above the 50 ms after which a signal is noticed, and far below what the calls would take.
SOON = 5.0
#: At 50 ms for two rows this takes 100 s on one core.
LONG = np.ones((4000, 2), dtype="f4")


@pytest.fixture
def slow(tmp_path):
    """50 ms a run."""
    return mock(tmp_path, "slow", "input x f32 N 2\noutput y = sum x\n")


def test_many_threads_predict_with_one_model():
    model = vonk.open(MNIST, batch=16)
    parts = [pixels(16, seed) for seed in range(40)]
    expected = [probabilities(part) for part in parts]
    tables = [pa.table({"pixels": list(part)}).cast(pa.schema([("pixels", pa.list_(pa.float32()))])) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        for found, want in zip(pool.map(model.predict, parts * 3), expected * 3, strict=True):
            assert_equal(found, want)
        for found, want in zip(pool.map(model.predict, tables), expected, strict=True):
            assert_equal(np.stack(found["probabilities"].to_numpy()), want)
    assert model.stats.rows == 16 * 40 * 4


def test_other_threads_run_while_one_predicts(slow):
    ticks = []
    thread = threading.Thread(target=lambda: slow.predict(np.ones((40, 2), dtype="f4"), batch=2))
    thread.start()
    while thread.is_alive():
        ticks.append(time.monotonic())
        time.sleep(0.005)
    longest = max(b - a for a, b in itertools.pairwise(ticks))
    assert len(ticks) > 20, f"{len(ticks)} ticks while 20 runs of 50 ms were made; the longest pause was {longest} s"


def test_a_model_closed_under_running_predictions_ends_well(slow):
    values = np.ones((30, 2), dtype="f4")
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(slow.predict, values, batch=2) for _ in range(4)]
        time.sleep(0.1)
        slow.close()
        for future in running:
            try:
                assert future.result().tolist() == [2.0] * 30
            except vonk.InvalidError as error:
                assert "is closed" in str(error)
    with pytest.raises(vonk.InvalidError, match="model: is closed: open it again"):
        slow.predict(values)


def test_a_stream_is_read_by_one_thread_at_a_time_and_can_be_cancelled_by_another(slow):
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(np.ones(200_000, dtype="f4")), 2)})
    stream = slow.predict_stream(table, batch=2)
    failed = []

    def read():
        try:
            next(stream)
        except vonk.Error as error:
            failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.2)
    with pytest.raises(vonk.InvalidError, match="another thread is reading it"):
        next(stream)
    began = time.monotonic()
    stream.cancel()
    reader.join()
    assert time.monotonic() - began < SOON
    assert isinstance(failed[0], vonk.CancelledError), failed


# --- Ctrl-C ---

INTERRUPT = """
    import os, signal, sys, threading, time
    import numpy, pyarrow, vonk
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, if the tests run in the background
    model = vonk.open(sys.argv[1], plugin=sys.argv[2])
    values = numpy.ones((2000, 2), dtype="f4")  # 50 s on one core, 2 rows a run
    table = pyarrow.table({"x": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.ravel()), 2)})
    sent = []
    def interrupt():
        time.sleep(0.5)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
    try:
        try:
            %s
        finally:
            time.sleep(0.001)  # Python runs, and what was pending is raised
    except KeyboardInterrupt:
        print("interrupted", time.monotonic() - sent[0])
    print(model.predict(values[:3]).tolist())
"""


@pytest.mark.parametrize(
    "call",
    [
        "model.predict(values, batch=2)", "model.predict(table, batch=2)", "list(model.predict_stream(table, batch=2))",
        "list(model.predict_stream(table.to_reader(4), batch=2))",
        "pyarrow.table(model.predict_stream(table, batch=2))",
        "pyarrow.table(model.predict_stream(table.to_reader(4), batch=2))",
    ],
)  # fmt: skip
def test_ctrl_c_ends_a_prediction_and_the_model_goes_on(tmp_path, slow, call):
    said = python(INTERRUPT % call, slow.path, slow._reopen[1]["plugin"], timeout=60).split()
    assert said[0] == "interrupted", said
    assert float(said[1]) < SOON
    assert "".join(said[2:]) == "[2.0,2.0,2.0]"


@pytest.fixture
def hears_ctrl_c():
    """Whoever started the tests in the background has Ctrl-C ignored, which children inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_the_predictions_of_other_threads_alone(slow, hears_ctrl_c):
    values = np.ones((40, 2), dtype="f4")
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(slow.predict, values, batch=2)
        time.sleep(0.1)
        threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            slow.predict(LONG, batch=2)
        assert other.result().tolist() == [2.0] * 40


def test_a_handler_of_the_users_own_ends_a_prediction_with_its_exception(slow):
    def ring(number, frame):
        raise TimeoutError("too long")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(TimeoutError, match="too long"):
            slow.predict(LONG, batch=2)
        assert time.monotonic() - began < SOON
    finally:
        signal.signal(signal.SIGALRM, before)


# --- processes ---


def test_a_forked_child_is_told_and_ends():
    said = python(
        """
        import os, sys, numpy, vonk
        model = vonk.open("examples/iris/iris.onnx")
        flowers = numpy.ones((3, 4), dtype="f4")
        model.predict(flowers)
        child = os.fork()
        if child == 0:
            for call in (lambda: model.predict(flowers), lambda: vonk.open("examples/mnist/mnist.onnx")):
                try:
                    call()
                except vonk.ForkedError as error:
                    print(error.code, "'spawn'" in str(error), isinstance(error, RuntimeError), flush=True)
            sys.exit(7)  # with all of Python's own clean-up
        print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        timeout=60,
    )
    assert said.splitlines() == ["VONK_FORKED True True"] * 2 + ["child 7"], said


def test_a_child_forked_in_the_middle_of_other_threads_calls_is_told_too():
    said = python(
        """
        import os, signal, threading, time, numpy, vonk
        model = vonk.open("examples/iris/iris.onnx")
        flowers = numpy.ones((3, 4), dtype="f4")
        is_over = False
        def work(i):
            while not is_over:
                model.predict(flowers, batch=i)
                model.stats
        threads = [threading.Thread(target=work, args=[i + 1]) for i in range(3)]
        for thread in threads:
            thread.start()
        ends = []
        for _ in range(40):
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # a hang ends by this signal
                try:
                    model.predict(flowers)
                except vonk.ForkedError:
                    os._exit(3)
                os._exit(4)
            ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        is_over = True
        print(set(ends))
        """,
        timeout=100,
    )
    assert said.strip() == "{3}"


def predict_in_child(model, values):
    return model.predict(values)


def fail_in_child(model):
    model.predict(np.zeros((2, 5), dtype="f4"))


def test_models_results_and_errors_travel_between_processes():
    model = vonk.open(IRIS)
    flowers = np.array([[5.1, 3.5, 1.4, 0.2]], dtype="f4")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(predict_in_child, model, flowers).result()
        assert found["species"].tolist() == ["setosa"]
        with pytest.raises(vonk.InvalidError, match="column 'measurements'") as caught:
            pool.submit(fail_in_child, model).result()
        assert caught.value.code == "VONK_INVALID"


def test_a_pickled_model_is_opened_with_the_same_options():
    copy = pickle.loads(pickle.dumps(vonk.open(IRIS, batch=7, graph_optimization="basic")))
    assert copy._reopen == (str(IRIS), {"graph_optimization": "basic"}, 7)
    assert repr(copy) == repr(vonk.open(IRIS))


def test_the_interpreter_ends_well_in_the_middle_of_things():
    """Daemon threads that predict, streams half read, logging on."""
    for _ in range(3):
        python(
            """
            import threading, numpy, pyarrow, vonk
            vonk.set_log("DEBUG")
            model = vonk.open("examples/mnist/mnist.onnx")
            table = pyarrow.table({"pixels": [[0.0] * 784] * 4000})
            stream = model.predict_stream(table.to_reader(100), progress=lambda rows, done: None)
            next(stream)
            kept = pyarrow.RecordBatchReader.from_stream(stream)
            def work():
                while True:
                    model.predict(numpy.zeros((500, 784), dtype="f4"))
            for _ in range(3):
                threading.Thread(target=work, daemon=True).start()
            model.predict(table)
            """,
            timeout=60,
        )
