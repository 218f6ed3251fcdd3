"""Models of Hugging Face on Spark Connect: the weights go as an artifact, everything else is the same."""

import sys
from pathlib import Path

import numpy
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "huggingface"))
import small  # tests/huggingface/small.py
from sparkext.huggingface import SentenceTransformerModel
from vonk.huggingface import Pipeline, SentenceEncoder
from vonk.spark import pipeline_udf, register, sentence_transformer_udf

ROWS = ["the cat sat", None, "a dog ran in the park ; great film ."]


@pytest.fixture(scope="module")
def frame(spark):
    return spark.createDataFrame(list(enumerate(ROWS)), "id int, text string").coalesce(1)


def test_vectors_labels_and_sql(spark, frame, tmp_path):
    encoder, classifier = small.encoder(tmp_path / "e"), small.classifier(tmp_path / "classifier")
    embed = sentence_transformer_udf(encoder, spark=spark)
    classify = register(spark, "classify", pipeline_udf(classifier, spark=spark))
    rows = sorted(frame.select("id", embed("text").alias("vector"), classify("text").alias("kind")).collect())
    live = SentenceEncoder(encoder).live, Pipeline(classifier).live
    for row, text in zip(rows, ROWS, strict=True):
        if text is None:
            assert row.vector is None and row.kind is None
            continue
        assert numpy.abs(numpy.array(row.vector) - live[0].encode(text)).max() < 1e-5
        (expected,) = live[1](text)
        assert row.kind.label == expected["label"] and abs(row.kind.score - expected["score"]) < 1e-5
    (said,) = spark.sql("SELECT classify('the cat sat').label AS label").collect()
    assert said.label == rows[0].kind.label
    spark.udf.register("embed", embed)
    said = spark.sql("SELECT embed('the cat sat') AS vector").first()
    assert numpy.abs(numpy.subtract(said.vector, rows[0].vector)).max() < 1e-5
    stage = SentenceTransformerModel(str(encoder)).setInputCol("text").setOutputCol("vector")
    stage.save((tmp_path / "saved").as_uri())
    loaded = SentenceTransformerModel.load((tmp_path / "saved").as_uri())
    found = loaded.transform(frame).orderBy("id").collect()
    assert [row.vector for row in found] == [row.vector for row in rows]
