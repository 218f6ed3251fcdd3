"""A Python process with its own frameworks, in which vonk runs models of all of them: `python_host.py JSON`.

JSON holds: before, after: the libraries imported before and after vonk's first predictions; models: [[path, options],
...], none: vonk stays away; onnx: one of the paths; extension: of DuckDB; rows, expected: .npy files.

Each library is used when it is imported and again in the end. Prints as JSON, for each library, its numbers and its
settings at both times.
"""

import importlib
import json
import sys
import threading

import numpy as np


def use_tensorflow():
    import tensorflow as tf  # noqa: PLC0415

    weights = tf.constant(np.arange(12, dtype="f4").reshape(4, 3) / 7)
    layer = tf.function(lambda x: tf.nn.softmax(tf.matmul(x, weights)))
    threads = tf.config.threading
    settings = [threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads()]
    return layer(tf.ones((5, 4))).numpy(), settings


def torch_settings():
    import torch  # noqa: PLC0415

    return [
        torch.get_num_threads(), torch.get_num_interop_threads(), torch.__config__.parallel_info(),
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(), str(torch.get_default_dtype()),
        torch.is_autocast_enabled("cpu"), torch.get_flush_denormal() if hasattr(torch, "get_flush_denormal") else None,
    ]  # fmt: skip


def use_torch():
    import torch  # noqa: PLC0415

    torch.manual_seed(3)
    layer = torch.nn.Linear(64, 32)
    y = torch.softmax(layer(torch.ones(5, 64)), -1)
    y[0, 0].backward()  # gradients are on, as they were
    script = torch.jit.script(torch.nn.Sequential(layer, torch.nn.ReLU()))
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(torch_settings()))
    thread.start()
    thread.join()
    numbers = [y.detach().numpy(), layer.weight.grad.numpy(), script(torch.ones(5, 64)).detach().numpy()]
    return np.concatenate([part.ravel() for part in numbers]), [torch_settings(), elsewhere]


def use_onnxruntime():
    import onnxruntime  # noqa: PLC0415

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(request["onnx"], settings)
    return session.run(None, {session.get_inputs()[0].name: rows[:3]})[0], session.get_providers()


def use_pyarrow():
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    return np.array([pc.sum(pa.array(rows[0])).as_py()]), [pa.cpu_count(), pa.default_memory_pool().backend_name]


def use_pandas():
    import pandas as pd  # noqa: PLC0415

    return pd.DataFrame(rows[:9, 300:304]).describe().to_numpy(), []


def use_sklearn():
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from threadpoolctl import threadpool_info  # noqa: PLC0415

    model = LogisticRegression(max_iter=20).fit(rows[:90, 300:310], np.arange(90) % 2)
    pools = [[pool["user_api"], pool["num_threads"]] for pool in threadpool_info() if "scikit" in pool["filepath"]]
    return model.predict_proba(rows[:5, 300:310]), pools


def use_duckdb():
    """vonk's other way into the process: the extension."""
    import duckdb  # noqa: PLC0415

    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.execute(f"LOAD '{request['extension']}'")
    con.execute(f"FROM vonk_load('m', '{request['onnx']}')").fetchall()
    found = con.sql("SELECT m(list_resize([0.5::FLOAT], 784, 0.25::FLOAT)) FROM range(3)").fetchall()
    return np.array(found), con.sql("SELECT current_setting('threads')").fetchall()


def use(names):
    for name in names:
        importlib.import_module(name)
    for name in names:
        numbers, settings = globals()[f"use_{name}"]()
        found.setdefault(name, []).append([np.asarray(numbers, "f8").ravel().tolist(), settings])


def predict_all():
    """The models, which the process keeps open."""
    if not request["models"]:
        return []
    import vonk  # noqa: PLC0415

    models = [vonk.open(path, **options) for path, options in request["models"]]
    for _ in range(2):
        for model in models:
            y = model.predict(rows)
            y = next(iter(y.values())) if isinstance(y, dict) else y
            worst = float(np.abs(y - expected).max())
            if not worst <= 1e-5:
                sys.exit(f"{model}: differs by {worst} from NumPy")
    return models


request = json.loads(sys.argv[1])
rows, expected = np.load(request["rows"]), np.load(request["expected"])
found: dict = {}
use(request["before"])
kept = predict_all()
use(request["after"])
kept += predict_all()
use(request["before"] + request["after"])
print(json.dumps(found))
