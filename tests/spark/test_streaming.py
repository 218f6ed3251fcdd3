"""Models on streaming DataFrames."""

import numpy
from udf_models import FLOWERS, IRIS, run
from vonk.spark import model_udf, register

SPECIES = run(IRIS, measurements=FLOWERS)["species"].tolist()


def test_a_stream_of_files_is_predicted_as_it_arrives(spark, tmp_path):
    source = tmp_path / "source"
    schema = "id int, x array<float>"
    rows = spark.createDataFrame([(i, row.tolist()) for i, row in enumerate(FLOWERS)], schema).coalesce(1)
    rows.where("id < 2").write.mode("append").parquet(str(source))
    species = model_udf(IRIS, outputs=["species"], spark=spark)
    register(spark, "stream_species", species)
    stream = spark.readStream.schema(schema).parquet(str(source))
    assert stream.isStreaming
    scored = stream.where(species("x") != "none").withColumn("p", species("x")).selectExpr(
        "id", "p", "stream_species(x) AS q"
    )  # fmt: skip
    query = scored.writeStream.format("memory").queryName("scored").outputMode("append").start()
    try:
        query.processAllAvailable()
        assert sorted(map(tuple, spark.table("scored").collect())) == [(i, SPECIES[i], SPECIES[i]) for i in range(2)]
        rows.where("id >= 2").write.mode("append").parquet(str(source))
        query.processAllAvailable()
        found = sorted(map(tuple, spark.table("scored").collect()))
        assert found == [(i, name, name) for i, name in enumerate(SPECIES)]
    finally:
        query.stop()


def test_a_streaming_aggregate_of_predictions(spark, tmp_path):
    source = tmp_path / "source"
    copies = numpy.repeat(FLOWERS, 25, axis=0)
    rows = spark.createDataFrame([(i, row.tolist()) for i, row in enumerate(copies)], "id int, x array<float>")
    rows.coalesce(1).write.parquet(str(source))
    species = model_udf(IRIS, outputs=["species"], spark=spark)
    stream = spark.readStream.schema(rows.schema).parquet(str(source))
    counts = stream.groupBy(species("x").alias("p")).count()
    query = counts.writeStream.format("memory").queryName("counted").outputMode("complete").start()
    try:
        query.processAllAvailable()
        found = {row.p: row["count"] for row in spark.table("counted").collect()}
        assert found == {name: 25 * SPECIES.count(name) for name in SPECIES}
    finally:
        query.stop()
