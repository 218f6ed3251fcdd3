"""Cold start: seconds from a new Python process to the first predictions of 10,000 digits, on a cluster that is up.

Started by bench/spark.py, once per way of calling the model; prints one line of JSON.

    python bench/spark_cold.py MASTER vonk|onnxruntime|keras
"""

from __future__ import annotations

import json
import sys
import time

BEGAN = time.perf_counter()

import spark_data as data  # noqa: E402 - the clock runs
import spark_session  # noqa: E402
from pyspark.sql import DataFrame  # noqa: E402

ROWS = 10_000
PEERS = {"onnxruntime": "predict_batch_udf + ONNX Runtime", "keras": "predict_batch_udf + Keras predict"}


def plan(kind: str, rows: DataFrame) -> DataFrame:
    import spark_variants as variants  # noqa: PLC0415 - of what is timed

    if kind == "vonk":
        return variants.vonk_variants(data.DIGITS, "x")[-1].plan(rows)
    wanted = PEERS[kind]
    return next(v for v in variants.peer_variants(data.DIGITS) if v.name == wanted).plan(rows)


def main() -> None:
    master, kind = sys.argv[1:]
    laps = [("imports", time.perf_counter() - BEGAN)]

    def lap(name: str) -> None:
        laps.append((name, time.perf_counter() - BEGAN - sum(seconds for _, seconds in laps)))

    session = spark_session.start(master, **{"spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": "false"})
    lap("session")
    predictions = plan(kind, session.read.parquet(str(data.Rows("arrays", ROWS, data.make_arrays).path())))
    lap("function")
    for job in ("first job", "second job"):
        predictions.write.format("noop").mode("overwrite").save()
        lap(job)
    print(json.dumps(dict(laps)))
    session.stop()


if __name__ == "__main__":
    main()
