"""Predictions in Spark: vonk against predict_batch_udf, pandas and Arrow functions, from Parquet to the noop sink.

`make bench-spark` runs it. bench/README.md says how to read it.

One session on a standalone cluster of two workers with one core each. Variants take turns: each repetition runs all of
a table's, and the first, which starts workers and loads models, is told apart ("cold"). Processor time is that of the
executors and their Python workers, not the driver's; on a busy machine it is the figure to trust. Every variant's first
predictions are compared with ONNX Runtime's own after the last round.

    .venv/bin/python bench/spark.py [--quick] [--only arrays,columns] [--rows 60000] [--rounds 6] [--json FILE]
"""

from __future__ import annotations

import argparse
import io
import json
import signal
import statistics
import subprocess
import sys
import threading
import time
import warnings
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import spark_functions as peers
import spark_session
from program import ROOT
from pyspark.sql import DataFrame, SparkSession
from spark_variants import GROUPS, SETTINGS, Group, Variant, expected

VONK = "vonk model_udf"
CHECKED, CORES = 500, 2
TABLES = (*GROUPS, "cold")


@dataclass
class Figures:
    """Seconds of wall and of processor time, run by run; the first is the cold one."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return statistics.median(self.wall[1:] or self.wall)

    @property
    def cpu_seconds(self) -> float:
        return statistics.median(self.cpu[1:] or self.cpu)


Results = dict[str, tuple[Group, dict[str, Figures]]]


def run(plan: DataFrame) -> None:
    plan.write.format("noop").mode("overwrite").save()


def use_settings(session: SparkSession, variant: Variant) -> None:
    for name in SETTINGS:
        session.conf.unset(name)
    for name, value in variant.settings.items():
        session.conf.set(name, value)


def check(session: SparkSession, rows: DataFrame, group: Group, variant: Variant) -> None:
    """The first rows' predictions are the framework's, but for rounding."""
    use_settings(session, variant)
    want = expected(group)[:CHECKED]
    table = variant.plan(rows.where(f"id < {CHECKED}")).toArrow().sort_by("id")
    found = np.array(table.column("y").to_pylist())
    found = found[:: group.rows.copies].reshape(want.shape)  # copies have the same ids
    if not np.allclose(found, want, atol=1e-4):
        raise SystemExit(f"bench: {variant.name}: predictions differ by {np.abs(found - want).max()}")


def measure(session: SparkSession, group: Group, rounds: int) -> dict[str, Figures]:
    rows = session.read.parquet(str(group.rows.path()))
    if (partitions := rows.rdd.getNumPartitions()) != CORES:
        print(f"bench: {group.rows.path().name}: {partitions} partitions instead of {CORES}: cores will wait")
    found = {variant.name: Figures() for variant in group.variants}
    executors = spark_session.executors(session)
    for _ in range(1 + rounds):
        for variant in group.variants:
            use_settings(session, variant)
            plan = variant.plan(rows)
            cpu, began = spark_session.cpu_seconds(executors), time.perf_counter()
            run(plan)
            found[variant.name].wall.append(time.perf_counter() - began)
            found[variant.name].cpu.append(spark_session.cpu_seconds(executors) - cpu)
    for variant in group.variants:
        if variant.predicts:
            check(session, rows, group, variant)
    if spark_session.executors(session) != executors:
        raise SystemExit("bench: an executor was lost on the way: the figures mean nothing")
    return found


def raw_loop(group: Group, rounds: int) -> Figures:
    """ONNX Runtime over the same rows as one Arrow column in this process, two threads: no Spark, no transport."""
    matrix = peers.as_matrix(pq.read_table(group.rows.path(), columns=["x"]).column("x").combine_chunks())
    halves = np.array_split(matrix, 2)
    figures = Figures()
    for _ in range(1 + rounds):
        cpu, began = time.process_time(), time.perf_counter()
        threads = [threading.Thread(target=peers.run, args=(str(group.model), half)) for half in halves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        figures.wall.append(time.perf_counter() - began)
        figures.cpu.append(time.process_time() - cpu)
    return figures


# --- telling ---


def show(group: Group, found: dict[str, Figures]) -> None:
    rows, vonk = group.rows.rows, found[VONK]
    print(f"\n== {group.title}: {rows:,} rows\n")
    heads = f"{'cold s':>7} {'warm s':>7} {'(min)':>7} {'rows/s':>9} {'CPU us/row':>10} {'vonk is':>8} {'in CPU':>7}"
    print(f"{'':50} {heads}")
    for name, one in found.items():
        print(
            f"{name:50} {one.wall[0]:7.2f} {one.seconds:7.3f} {min(one.wall[1:] or one.wall):7.3f} "
            f"{rows / one.seconds:9,.0f} {one.cpu_seconds / rows * 1e6:10.1f} "
            f"{one.seconds / vonk.seconds:6.2f} x {one.cpu_seconds / vonk.cpu_seconds:5.2f} x"
        )


def faster(found: dict[str, Figures], peer: str) -> str:
    one, vonk = found[peer], found[VONK]
    return f"{one.seconds / vonk.seconds:.2f} x (in processor time {one.cpu_seconds / vonk.cpu_seconds:.2f} x)"


def transport(found: dict[str, Figures], name: str, rows: int) -> str:
    return f"{(found[name].cpu_seconds - found['scan only'].cpu_seconds) / rows * 1e6:.1f} us CPU/row"


#: The prototype that came before vonk: a pandas_udf that gave Keras' predict 500 rows at a time. Its code is not here;
#: this was measured earlier on the same kind of machine, in a session with these variants, 60,000 rows.
PROTOTYPE_SECONDS, PROTOTYPE_CPU = 6.28, 169


def show_targets(groups: Results) -> None:
    """What the project set out for, beside what was found. Nothing passes or fails."""
    print("\n== targets\n")
    if "arrays" in groups:
        found = groups["arrays"][1]
        for peer, target in (("ONNX Runtime", "1.5"), ("Keras predict", "4")):
            if (name := f"predict_batch_udf + {peer}") in found:
                print(f"against {name}, target >= {target} x: {faster(found, name)}")
        rows, one = groups["arrays"][0].rows.rows, found[VONK]
        times = rows * PROTOTYPE_SECONDS / 60_000 / one.seconds
        print(
            f"against the prototype before vonk, target >= 6 x: {times:.2f} x"
            f" (its {PROTOTYPE_SECONDS} s for 60,000 rows and {PROTOTYPE_CPU} us CPU/row were measured earlier,"
            " on the same kind of machine;"
            f" in processor time {PROTOTYPE_CPU / (one.cpu_seconds / rows * 1e6):.2f} x)"
        )
    for name in ("arrays", "many"):
        if name in groups and (nothing := "no model, arrow_udf, columnarInput=false") in groups[name][1]:
            group, found = groups[name]
            told = transport(found, nothing, group.rows.rows)
            target = ", target <= 8 us at 300,000 rows" if name == "many" else ""
            print(f"transport over the scan, {group.rows.rows:,} rows{target}: {told}")
    if "columns" in groups and (struct := "predict_batch_udf(struct) + ONNX Runtime") in groups["columns"][1]:
        told = faster(groups["columns"][1], struct)
        print(f"784 columns against predict_batch_udf(struct), target >= 3 x: {told}")


def save(path: Path, groups: Results) -> None:
    told = {
        name: {"title": group.title, "rows": group.rows.rows, "variants": {n: asdict(f) for n, f in found.items()}}
        for name, (group, found) in groups.items()
    }
    path.write_text(json.dumps(told, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="vonk in Spark against its peers", allow_abbrev=False)
    parser.add_argument(
        "--quick", action="store_true", help="two rounds of a sixth of the rows, no cold start of Keras"
    )
    parser.add_argument("--only", default=",".join(TABLES), help=f"tables, of {', '.join(TABLES)}")
    parser.add_argument("--variants", default="", help="only those whose name has one of these words")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", type=Path, help="write all runs there")
    parser.add_argument("--master", help="a cluster that is up, instead of one of its own")
    args = parser.parse_args()
    if unknown := set(args.only.split(",")) - set(TABLES):
        parser.error(f"--only: {', '.join(sorted(unknown))}: choose from {', '.join(TABLES)}")
    if args.quick:
        args.rows, args.rounds = args.rows // 6, 2
    return args


def select(group: Group, words: list[str]) -> Group:
    """The variants that have one of the words in their names, and those that the others are compared with."""
    always = ("scan only", VONK)
    return replace(
        group,
        variants=tuple(v for v in group.variants if not words or v.name in always or any(w in v.name for w in words)),
    )


def measure_all(master: str, args: argparse.Namespace) -> Results:
    names = [name for name in args.only.split(",") if name != "cold"]
    done: Results = {}
    if not names:
        return done
    session = spark_session.start(master)
    spark_session.wait_for_executors(session, CORES)
    for name in names:
        group = select(GROUPS[name](args.rows), args.variants.split(",") if args.variants else [])
        found = measure(session, group, args.rounds)
        if name in ("arrays", "many"):
            found["no Spark: ONNX Runtime, two threads"] = raw_loop(group, args.rounds)
        show(group, found)
        done[name] = group, found
    session.stop()
    return done


def show_cold(master: str, kinds: list[str]) -> None:
    """Each in a process of its own, on the cluster that is up."""
    print("\n== cold start: seconds from a new Python process on, 10,000 rows of array<float>[784]\n")
    for kind in kinds:
        command = [sys.executable, "-W", "ignore", str(ROOT / "bench" / "spark_cold.py"), master, kind]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        laps: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in laps.items())
        first = sum(seconds for name, seconds in laps.items() if name != "second job")
        print(f"{kind:12} {first:5.1f} s to the first result: {told}", flush=True)


def main() -> None:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster ends too
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # tables appear as they are done, in files too
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # Spark's, of pandas and type hints
    with ExitStack() as stack:
        stack.enter_context(spark_session.quiet())
        master = args.master or stack.enter_context(spark_session.cluster())
        done = measure_all(master, args)
        if "cold" in args.only.split(","):
            show_cold(master, ["vonk", "onnxruntime"] if args.quick else ["vonk", "onnxruntime", "keras"])
    if done:
        show_targets(done)
    if args.json:
        save(args.json, done)


if __name__ == "__main__":
    main()
