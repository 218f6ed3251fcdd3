"""Ray Data: `map_batches` with a pool of actors, as its guide to batch inference advises, or with tasks whose workers
keep the session."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray


def digits_of(batch: Any, classify: Any) -> Any:
    from session import flat  # noqa: PLC0415 - where it runs

    digits = classify(flat(batch.column("pixels")))
    return pa.table({"id": batch.column("id"), "digit": pa.array(digits)})


@functools.cache
def kept_session(model: str, intra: int, cut: int) -> Any:
    from session import Classifier  # noqa: PLC0415 - made where it runs

    return Classifier(model, intra, cut)


class Digit:
    """One actor."""

    def __init__(self, model: str, intra: int, cut: int) -> None:
        self.classify = kept_session(model, intra, cut)

    def __call__(self, batch: Any) -> Any:
        return digits_of(batch, self.classify)


def prepare(model: str, intra: int, batch: int, cut: int, actors: int) -> Callable[[str], Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent)  # for the workers
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)

    def score(path: str) -> Any:
        rows = ray.data.read_parquet(path, columns=["id", "pixels"])
        if actors:
            pool = ray.data.ActorPoolStrategy(size=actors)
            arguments = {"model": model, "intra": intra, "cut": cut}
            scored = rows.map_batches(
                Digit,
                fn_constructor_kwargs=arguments,
                compute=pool,
                num_cpus=1 / actors,
                batch_size=batch,
                batch_format="pyarrow",
            )
        else:
            scored = rows.map_batches(
                lambda rows: digits_of(rows, kept_session(model, intra, cut)),
                batch_size=batch,
                batch_format="pyarrow",
            )
        return pa.concat_tables(ray.get(scored.to_arrow_refs()))

    return score
