"""Prints options of Java with which the tests' many short-lived JVMs start in about half the time.

    JDK_JAVA_OPTIONS="$(python tools/jvm_options.py build/deps/jvm)"

How it works: most of what Spark does when it starts is loading some ten thousand classes. Java can keep them, parsed,
in an archive that the next JVM maps (class-data sharing). The first call writes one, from a small session that uses
what the tests use; Java itself refuses an archive that is not of its version and of Spark's jars, and starts as ever.
Besides, code that lives for seconds is compiled quickly rather than well, and memory is collected by one thread. Not
for use, and not for benchmarks: a long job would be slower.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
#: What is kept: a query with a shuffle, functions in Python, files, a Pipeline, a stream.
SESSION = """
import os, sys
from pyspark.ml import Pipeline
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.classification import LogisticRegression
from pyspark.sql import SparkSession, functions as F
folder = sys.argv[1]
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
rows = spark.range(200).select("id", (F.col("id") % 2).cast("double").alias("label"), F.array("id").alias("list"))
rows = rows.withColumn("text", F.udf(lambda i: str(i))("id"))
rows.write.parquet(folder + "/rows")
read = spark.read.parquet(folder + "/rows")
read.groupBy("label").agg(F.sum("id"), F.collect_list("text")).orderBy("label").collect()
read.mapInArrow(lambda batches: batches, read.schema).toArrow()
read.createOrReplaceTempView("rows")
spark.sql("select a.id, b.text from rows a join rows b using (id) where a.id > 3 limit 5").collect()
Pipeline(stages=[VectorAssembler(inputCols=["id"], outputCol="features"), LogisticRegression(maxIter=1)]).fit(
    read
).transform(read).count()
spark.readStream.schema(read.schema).parquet(folder + "/rows").writeStream.format("memory").queryName("q").trigger(
    availableNow=True
).start().awaitTermination()
spark.stop()
"""


def archive_of(folder: Path) -> Path:
    """Where the archive for this Spark, in this place, is kept."""
    import pyspark  # noqa: PLC0415 - of the extra "spark"

    key = f"{pyspark.__version__} {pyspark.__file__} {os.environ.get('JAVA_HOME')}"
    return folder / f"spark-{hashlib.sha256(key.encode()).hexdigest()[:12]}.jsa"


def write(target: Path) -> None:
    """Runs the session once; a failure leaves no archive, and says so."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        made = Path(work) / target.name
        options = f"{QUICK} -XX:ArchiveClassesAtExit={made} -Xlog:disable"
        environment = {**os.environ, "JDK_JAVA_OPTIONS": options, "PYSPARK_PYTHON": sys.executable}
        environment.pop("SPARK_REMOTE", None)
        done = subprocess.run(
            [sys.executable, "-c", SESSION, work], env=environment, capture_output=True, text=True, check=False,
            timeout=300, cwd=work,
        )  # fmt: skip
        if done.returncode == 0 and made.exists():
            made.replace(target)
        else:
            print(f"{target.name}: not made, JVMs start as ever: {done.stderr[-2000:]}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where archives are kept")
    archive = archive_of(parser.parse_args().folder.resolve())
    if not archive.exists():
        write(archive)
    print(f"{QUICK} -XX:SharedArchiveFile={archive} -Xlog:disable" if archive.exists() else QUICK)


if __name__ == "__main__":
    main()
