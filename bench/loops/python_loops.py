"""A framework's own loop in Python, as bench_loops has it in C: bench/frameworks.py tells it what to time.

    python_loops.py FORMAT MODEL
    python_loops.py --first-row own|vonk FORMAT MODEL [OPTION=VALUE ...]

The first form reads lines `own CALL_ROWS THREADS CALLS CUT` and prints the seconds, wall and processor, of each; see
main.c. The second imports what it needs, opens the model, predicts one row and prints when it was done and what memory
it has then.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Loop = Callable[[Any], Any]
WIDTHS = {"mlp": (784,), "cnn": (12, 12, 3)}
N_ROWS, SHARED_CALL_ROWS = 10_000, 1_000


def shape_of(model: str) -> tuple[int, ...]:
    """Of a row, by the model's file name: the two networks of tests/frameworks."""
    return WIDTHS["cnn" if "cnn" in Path(model).name else "mlp"]


def open_onnx(path: str) -> Loop:
    import onnxruntime as ort  # noqa: PLC0415 - each format imports its own framework

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda rows: session.run(None, {name: rows})


def open_tensorflow(path: str) -> Loop:
    import tensorflow as tf  # noqa: PLC0415

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.saved_model.load(path)
    serve = model.signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    (output,) = serve.structured_outputs
    keep = model  # the function alone would lose its variables

    def run(rows: Any) -> Any:
        assert keep is not None
        return serve(**{name: tf.convert_to_tensor(rows)})[output].numpy()

    return run


def open_torchscript(path: str) -> Loop:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    model: Any = torch.jit.load(path)  # type: ignore[no-untyped-call]

    def run(rows: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(rows)).numpy()

    return run


def open_aoti(path: str) -> Loop:
    import torch  # noqa: PLC0415
    import torch._inductor  # noqa: PLC0415

    torch.set_num_threads(1)
    model = torch._inductor.aoti_load_package(path)

    def run(rows: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(rows)).numpy()

    return run


OPENERS = {"onnx": open_onnx, "tensorflow": open_tensorflow, "torchscript": open_torchscript, "aoti": open_aoti}


def call(loop: Loop, rows: Any, first: int, n: int, cut: int) -> None:
    step = cut or n
    for at in range(first, first + n, step):
        loop(rows[at : min(at + step, first + n)])


def calls_of(loop: Loop, rows: Any, first: int, n: int, calls: int, cut: int) -> None:
    for _ in range(calls):
        first = 0 if first + n > len(rows) else first
        call(loop, rows, first, n, cut)
        first += n


def measure(loop: Loop, rows: Any, n: int, threads: int, calls: int, cut: int) -> tuple[float, float]:
    """Seconds, wall and processor. Two threads: two callers of half the calls each, or of halves of a large call."""
    starts = [0]
    if threads == 2:
        starts = [0, len(rows) // 2]
        n, calls = (n // 2, calls) if n >= SHARED_CALL_ROWS else (n, (calls + 1) // 2)
    wall, cpu = time.perf_counter(), time.process_time()
    others = [threading.Thread(target=calls_of, args=(loop, rows, start, n, calls, cut)) for start in starts[1:]]
    for thread in others:
        thread.start()
    calls_of(loop, rows, 0, n, calls, cut)
    for thread in others:
        thread.join()
    return time.perf_counter() - wall, time.process_time() - cpu


def serve(form: str, path: str) -> None:
    import numpy as np  # noqa: PLC0415

    loop = OPENERS[form](path)
    rows = np.random.default_rng(1).random((N_ROWS, *shape_of(path)), dtype=np.float32)
    loop(rows[:10])
    print("ready", flush=True)
    for line in sys.stdin:
        _, n, threads, calls, cut = line.split()
        print(*measure(loop, rows, int(n), int(threads), int(calls), int(cut)), flush=True)


def first_row(who: str, form: str, path: str, options: list[str]) -> None:
    """Prints the monotonic clock's seconds at the end, and the memory in MB: private, and of mapped files."""
    import numpy as np  # noqa: PLC0415

    row = np.zeros((1, *shape_of(path)), dtype=np.float32)
    if who == "own":
        OPENERS[form](path)(row)
    else:
        import vonk  # noqa: PLC0415

        more: dict[str, Any] = dict(option.split("=", 1) for option in options)
        model = vonk.open(path, **more)
        model.predict({model.inputs[0].name: row})
    done = time.clock_gettime(time.CLOCK_MONOTONIC)
    with Path("/proc/self/status").open() as file:
        kilobytes = {line.split(":")[0]: line.split()[1] for line in file if line.startswith("Rss")}
    print(done, int(kilobytes["RssAnon"]) / 1024, int(kilobytes["RssFile"]) / 1024)


if __name__ == "__main__":
    if sys.argv[1] == "--first-row":
        first_row(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    else:
        serve(sys.argv[1], sys.argv[2])
