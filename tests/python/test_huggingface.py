"""``vonk.huggingface``: Arrow columns of text through models of transformers, against transformers row by row."""

import json
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

pa = pytest.importorskip("pyarrow")
sys.path.append(str(Path(__file__).resolve().parents[1] / "huggingface"))
import huggingface_hub.constants  # noqa: E402
import small  # noqa: E402 - tests/huggingface/small.py
import tokenizers as tk  # noqa: E402
import torch  # noqa: E402
import transformers as hf  # noqa: E402
import vonk  # noqa: E402
from small import TEXTS, TOO_LONG  # noqa: E402
from vonk.huggingface import DeclarationError, Generator, Pipeline, SentenceEncoder, _rows  # noqa: E402


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Makes a model's folder when it is first asked for."""
    made = {}

    def folder(name, **more):
        key = name, tuple(more.items())
        if key not in made:
            made[key] = getattr(small, name)(tmp_path_factory.mktemp("models") / name, **more)
        return made[key]

    return folder


def texts(*rows):
    return pa.array(rows, pa.string())


def alone(function, rows=TEXTS):
    """What a function gives for each row by itself."""
    return [None if row is None else function(row) for row in rows]


def close(found, expected, what, atol=1e-5):
    """Two trees of numbers, texts and NULLs are equal, numbers nearly."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), f"{what}: {list(found)} for {list(expected)}"
        for name in expected:
            close(found[name], expected[name], f"{what}.{name}", atol)
    elif isinstance(expected, list | tuple | numpy.ndarray):
        assert len(found) == len(expected), f"{what}: {len(found)} for {len(expected)}"
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            close(one, other, f"{what}[{i}]", atol)
    elif isinstance(expected, float | numpy.floating):
        assert abs(found - expected) <= atol, f"{what}: {found} for {expected}"
    else:
        assert found == expected, f"{what}: {found!r} for {expected!r}"


# --- sentence encoders ---


def test_vectors_are_those_of_encode_row_by_row(folders):
    encoder = SentenceEncoder(folders("encoder"))
    found = encoder.predict(texts(*TEXTS))
    assert found.type == pa.list_(pa.float32())
    close(found.to_pylist(), alone(encoder.live.encode), "vectors")
    assert encoder.stats.rows == len(TEXTS) and encoder.stats.null_rows == 1 and encoder.stats.micro_batches == 1


def test_arguments_of_encode_arrive(folders):
    encoder = SentenceEncoder(folders("encoder"))
    for arguments in (
        {"normalize_embeddings": True}, {"prompt": "nine ten "}, {"prompt_name": "query"}, {"truncate_dim": 5},
    ):  # fmt: skip
        found = encoder.predict(texts(*TEXTS), **arguments).to_pylist()
        close(found, alone(lambda row, a=arguments: encoder.live.encode(row, **a)), f"{arguments}")
    plain = encoder.predict(texts("the cat")).to_pylist()
    assert encoder.predict(texts("the cat"), prompt="nine ten ").to_pylist() != plain
    packed = encoder.predict(texts(*TEXTS), precision="binary")
    assert packed.type == pa.list_(pa.int8())
    assert packed.to_pylist() == alone(lambda row: encoder.live.encode([row], precision="binary")[0].tolist())


def test_arguments_that_vonk_sets_or_that_mix_rows_are_refused(folders):
    encoder = SentenceEncoder(folders("encoder"))
    for arguments, why in (
        ({"convert_to_tensor": True}, "vonk sets it"),
        ({"precision": "int8"}, "depends on its neighbours"),
        ({"nonsense": 1}, "nonsense"),
    ):
        with pytest.raises(vonk.Error, match=why):
            encoder.predict(texts("a"), **arguments)


def test_arrays_without_rows_of_nulls_alone_slices_and_large_strings(folders):
    encoder = SentenceEncoder(folders("encoder"))
    assert encoder.predict(texts()).to_pylist() == []
    assert encoder.predict(texts(None, None)).to_pylist() == [None, None]
    assert encoder.predict(pa.nulls(2)).to_pylist() == [None, None]
    whole = encoder.predict(texts(*TEXTS)).to_pylist()
    close(encoder.predict(texts(*TEXTS).slice(2, 4)).to_pylist(), whole[2:6], "slice")
    close(encoder.predict(texts(*TEXTS).cast(pa.large_string())).to_pylist(), whole, "large strings")
    one = encoder.predict(pa.array([{"any": row} for row in TEXTS])).to_pylist()
    close(one, whole, "a struct of one text")
    close(encoder.predict(texts(*TEXTS).dictionary_encode()).to_pylist(), whole, "a dictionary")
    close(encoder.predict(texts(*TEXTS).cast(pa.string_view())).to_pylist(), whole, "views")
    close(encoder.predict(pa.chunked_array([texts(*TEXTS[:2]), texts(*TEXTS[2:])])).to_pylist(), whole, "chunks")


def test_a_column_that_is_no_text_is_refused(folders):
    with pytest.raises(vonk.InvalidError, match="column 'text': is int64, the model wants text"):
        SentenceEncoder(folders("encoder")).predict(pa.array([1, 2]))
    with pytest.raises(vonk.InvalidError, match=r"2 columns were given.*takes text"):
        SentenceEncoder(folders("encoder")).predict(texts("a"), texts("b"))
    with pytest.raises(vonk.InvalidError, match="result: does not fit list<item: int32>"):
        SentenceEncoder(folders("encoder")).predict(texts("a", "cat"), returns=pa.list_(pa.int32()))


# --- pipelines ---


@pytest.fixture(scope="module")
def classify(folders):
    return Pipeline(folders("classifier"))


def test_a_classifier_gives_what_it_gives_row_by_row(classify):
    found = classify.predict(texts(*TEXTS))
    assert str(found.type) == "struct<label: string, score: float>"
    close(found.to_pylist(), alone(lambda row: classify.live(row)[0]), "labels")
    assert len({row["label"] for row in found.to_pylist() if row}) > 1, "the test shows nothing: all labels are equal"


def test_results_are_found_by_name(classify):
    expected = classify.predict(texts(*TEXTS)).to_pylist()
    turned = pa.struct({"score": pa.float64(), "label": pa.large_string()})
    found = classify.predict(texts(*TEXTS), returns=turned)
    assert found.type == turned
    close(found.to_pylist(), [row and {"score": row["score"], "label": row["label"]} for row in expected], "turned")
    label = classify.predict(texts(*TEXTS), returns=pa.struct({"label": pa.string()}))
    assert label.to_pylist() == [row and {"label": row["label"]} for row in expected]
    assert classify.predict(texts(*TEXTS), returns=pa.string()).to_pylist() == [
        row and row["label"] for row in expected
    ]
    scores = classify.predict(texts(*TEXTS), returns=pa.float32()).to_pylist()
    close(scores, [row and row["score"] for row in expected], "scores")


def test_a_type_that_the_result_does_not_have_is_said_whatever_becomes_of_bad_rows(classify):
    for returns, why in (
        (pa.struct({"lable": pa.string()}), "names 'lable', which the result lacks: it has label, score"),
        (pa.int32(), "is int32, the result has label, score: name what you want"),
        (pa.struct({"label": pa.struct({"x": pa.string()})}), "wants a struct, the result's 'label' is str"),
    ):
        with pytest.raises(DeclarationError, match=why):
            classify.predict(texts(*TEXTS), returns=returns, on_error="null")


def test_top_k_gives_a_list(classify):
    found = classify.predict(texts(*TEXTS), top_k=2)
    assert str(found.type) == "list<item: struct<label: string, score: float>>"
    close(found.to_pylist(), alone(lambda row: classify.live(row, top_k=2)), "top_k")
    best = classify.predict(texts(*TEXTS), top_k=1)
    close(best.to_pylist(), alone(lambda row: classify.live(row, top_k=1)), "top_k=1")


def test_pairs_of_texts(classify):
    seconds = ["great film", "awful plot", None, "cat", "", "ten", None, "mat", "a dog ran in the park"]
    expected = [
        None if a is None or b is None else classify.live({"text": a, "text_pair": b})
        for a, b in zip(TEXTS, seconds, strict=True)
    ]
    close(classify.predict(texts(*TEXTS), texts(*seconds)).to_pylist(), expected, "two columns")
    struct = pa.StructArray.from_arrays([texts(*seconds), texts(*TEXTS)], ["text_pair", "text"])
    close(classify.predict(struct).to_pylist(), expected, "a struct, by name")
    more = pa.StructArray.from_arrays(
        [pa.nulls(len(TEXTS)), texts(*seconds), texts(*TEXTS)], ["id", *struct.type.names]
    )
    close(classify.predict(more).to_pylist(), expected, "a struct with another field")
    with pytest.raises(vonk.InvalidError, match="has the fields a, b, the model takes text, text_pair: call the field"):
        classify.predict(pa.array([{"a": "cat", "b": "dog"}]), on_error="null")


def test_a_tagger_gives_lists_of_mappings(folders):
    tag = Pipeline(folders("tagger"))
    found = tag.predict(texts(*TEXTS))
    close(found.to_pylist(), alone(tag.live), "tokens")
    assert any(found.to_pylist()[2]), "the test shows nothing: no token was tagged"
    groups = tag.predict(texts(*TEXTS), aggregation_strategy="simple")
    assert "entity_group" in str(groups.type)
    close(groups.to_pylist(), alone(lambda row: tag.live(row, aggregation_strategy="simple")), "groups")
    words = tag.predict(texts(*TEXTS), returns=pa.list_(pa.struct({"word": pa.string()})))
    assert [row and [one["word"] for one in row] for row in words.to_pylist()] == alone(
        lambda row: [one["word"] for one in tag.live(row)]
    )


def test_a_filler_gives_the_same_for_one_row_as_for_many(folders):
    fill = Pipeline(folders("filler"))
    rows = ["the [MASK] sat", "a dog ran in the [MASK]", None]
    expected = alone(lambda row: fill.live(row, top_k=2), rows)
    close(fill.predict(texts(*rows), top_k=2).to_pylist(), expected, "rows")
    close(fill.predict(texts(rows[0]), top_k=2).to_pylist(), expected[:1], "one row")
    close(fill.predict(texts(rows[0]), top_k=1).to_pylist(), [fill.live(rows[0], top_k=1)], "one row, one token")


def test_more_kinds_of_pipelines(folders):
    labels = ["cat", "dog", "plot"]
    zero = Pipeline(
        folders("classifier", labels=("contradiction", "neutral", "entailment")), task="zero-shot-classification"
    )
    rows = [row for row in TEXTS if row != ""]
    found = zero.predict(texts(*rows), candidate_labels=labels).to_pylist()
    close(found, alone(lambda row: zero.live(row, candidate_labels=labels), rows), "zero-shot")
    write = Pipeline(folders("gpt"))
    found = write.predict(texts(*rows), max_new_tokens=6, do_sample=False).to_pylist()
    close(found, alone(lambda row: write.live(row, max_new_tokens=6, do_sample=False)[0], rows), "text-generation")
    vectors = Pipeline(folders("tagger"), task="feature-extraction")
    close(vectors.predict(texts(*rows)).to_pylist(), alone(lambda row: vectors.live(row)[0], rows), "features")


def test_the_task_must_be_told_if_the_architecture_does_not(folders):
    with pytest.raises(vonk.InvalidError, match=r"T5ForConditionalGeneration\) does not tell the task"):
        Pipeline(folders("t5"))
    with pytest.raises(vonk.InvalidError, match="task: 'image-classification' is none that vonk knows over text"):
        Pipeline(folders("classifier"), task="image-classification")


# --- bad rows ---


def test_a_bad_row_is_named_or_is_null_or_has_its_reason(classify):
    rows = ["the cat sat", TOO_LONG, None, "great film"]
    with pytest.raises(
        vonk.Error, match=r"tokens, the model takes 48: pass truncation=True.*on_error='null'"
    ) as caught:
        classify.predict(texts(*rows))
    assert caught.value.row == 1
    good = [classify.live(rows[0])[0], None, None, classify.live(rows[3])[0]]
    close(classify.predict(texts(*rows), on_error="null").to_pylist(), good, "null")
    report = classify.predict(texts(*rows), on_error="report").to_pylist()
    close([row["value"] for row in report], good, "report")
    assert [row["error"] is None for row in report] == [True, False, True, True]
    assert "102 tokens" in report[1]["error"], report[1]
    assert classify.stats.error_rows >= 1
    cut = classify.predict(texts(*rows), truncation=True, max_length=48).to_pylist()
    assert cut[1] is not None


def test_bytes_that_are_no_text_are_a_bad_row(classify):
    offsets, content = numpy.array([0, 3, 5, 8], "i4"), b"catc\xffdog"
    rows = pa.StringArray.from_buffers(3, pa.py_buffer(offsets), pa.py_buffer(content))  # Spark checks no strings
    report = classify.predict(rows, on_error="report").to_pylist()
    assert [row["error"] for row in report] == [None, "is no UTF-8: byte 0xff at 1", None]
    close([row["value"] for row in report[::2]], [classify.live(text)[0] for text in ("cat", "dog")], "the others")
    with pytest.raises(vonk.InvalidError, match="is no UTF-8") as caught:
        classify.predict(rows)
    assert caught.value.row == 1


def test_nulls_may_be_errors(classify):
    with pytest.raises(vonk.InvalidError, match="is NULL") as caught:
        classify.predict(texts("a", None), nulls="error")
    assert caught.value.row == 1
    report = classify.predict(texts("a", None), nulls="error", on_error="report").to_pylist()
    assert report[0]["value"] is not None and report[1]["error"].startswith("is NULL")


# --- runs ---


class Counting:
    """A model whose results are the rows, and that notes its runs."""

    names = ("text",)

    def __init__(self, bad=()):
        self.runs, self._bad = [], set(bad)

    def tokens(self, rows):
        return [len(row) for row in rows]

    def joins(self, longer, shorter):
        return True

    def hint(self, tokens):
        return ""

    def run(self, rows):
        self.runs.append([len(row) for row in rows])
        if self._bad & set(rows):
            raise ValueError("too bad")
        return list(rows)


def plan(**more):
    return _rows.Plan(lambda results: pa.array(results, pa.string()), pa.string(), **more)


def test_long_rows_stand_beside_long_ones_and_results_where_their_rows_were():
    rng = numpy.random.default_rng(5)
    rows = ["x" * int(n) if n else None for n in rng.integers(0, 300, 500)]
    model = Counting()
    found, stats = _rows.predict(model, [texts(*rows)], ["text"], plan())
    assert found.to_pylist() == rows
    lengths = [length for run in model.runs for length in run]
    assert lengths == sorted(lengths, reverse=True)
    padded = sum(len(run) * max(run) for run in model.runs)
    assert padded < 1.1 * sum(lengths), f"{padded} tokens with padding, {sum(lengths)} without"
    assert max(len(run) for run in model.runs) <= 64 and stats.micro_batches == len(model.runs)
    model = Counting()
    found, _ = _rows.predict(model, [texts(*rows)], ["text"], plan(batch=7))
    assert found.to_pylist() == rows
    assert {len(run) for run in model.runs[:-1]} == {7}


def test_a_run_that_fails_is_run_row_by_row():
    rows = ["a", "bb", "ccc", "dddd"]
    model = Counting(bad=["ccc"])
    found, stats = _rows.predict(model, [texts(*rows)], ["text"], plan(on_error="report"))
    assert [row["value"] for row in found.to_pylist()] == ["a", "bb", None, "dddd"]
    assert [row["error"] for row in found.to_pylist()] == [None, None, "ValueError: too bad", None]
    assert model.runs == [[4, 3, 2, 1], [4], [3], [2], [1]] and stats.error_rows == 1
    with pytest.raises(vonk.BackendError, match="ValueError: too bad") as caught:
        _rows.predict(Counting(bad=["ccc"]), [texts(*rows)], ["text"], plan())
    assert caught.value.row == 2


# --- generation ---


def written(model, tokenizer, row, **arguments):
    """What generate gives for one row by itself, without padding."""
    prompt = tokenizer(row, return_tensors="pt")
    ids = model.generate(input_ids=prompt.input_ids, attention_mask=prompt.attention_mask, **arguments)[0]
    new = ids if model.config.is_encoder_decoder else ids[prompt.input_ids.shape[1] :]
    return tokenizer.decode(new, skip_special_tokens=True)


@pytest.mark.parametrize("name", ["t5", "gpt"])
def test_padded_rows_give_what_they_give_alone(folders, name):
    generator = Generator(folders(name))
    rows = [row for row in TEXTS if row != ""]  # nothing to go on from
    for arguments in (
        {"max_new_tokens": 14}, {"max_new_tokens": 6, "num_beams": 2}, {"max_length": 36}, {"min_new_tokens": 5},
        {"max_new_tokens": 12, "repetition_penalty": 1.7}, {"max_new_tokens": 12, "no_repeat_ngram_size": 2},
        {"max_new_tokens": 9, "eos_token_id": [5, 8]}, {},
    ):  # fmt: skip
        found = generator.predict(texts(*rows), **arguments).to_pylist()
        expected = alone(lambda row, a=arguments: written(*generator.live, row, **a), rows)
        assert found == expected, f"{arguments}"
    found = generator.predict(texts(*rows), max_new_tokens=14).to_pylist()
    lengths = {len(row.split()) for row in found if row is not None}
    assert len(set(found)) == len(rows) and len(lengths) > 3, f"the test shows nothing: {found}"


def test_options_that_count_padding_keep_rows_of_other_lengths_out_of_a_run(folders):
    rows = ["cat", "dog", "the cat sat on the mat"]
    for name, arguments, runs in (
        ("gpt", {"max_new_tokens": 4}, 1), ("gpt", {"max_length": 12}, 2), ("t5", {"max_length": 12}, 1),
        ("gpt", {"max_new_tokens": 4, "repetition_penalty": 2.0}, 2), ("t5", {"encoder_no_repeat_ngram_size": 2}, 2),
        ("gpt", {"max_new_tokens": 4, "repetition_penalty": 1.0}, 1),
        ("gpt", {"max_new_tokens": 4, "encoder_no_repeat_ngram_size": 1}, 2),
        ("gpt", {"generation_config": hf.GenerationConfig(max_new_tokens=4, repetition_penalty=2.0)}, 2),
    ):  # fmt: skip
        generator = Generator(folders(name))
        generator.predict(texts(*rows), **arguments)
        assert generator.stats.micro_batches == runs, f"{name} {arguments}: {generator.stats.micro_batches} for {runs}"


def test_a_pipeline_that_writes_gives_a_row_what_it_gives_alone(folders):
    live = Pipeline(folders("gpt")).live
    for arguments in (
        {"max_new_tokens": 6},
        {"max_new_tokens": 6, "encoder_no_repeat_ngram_size": 1},
        {"max_length": 9},
    ):
        plain = {"do_sample": False, **arguments}
        made = Pipeline(hf.pipeline("text-generation", model=live.model, tokenizer=live.tokenizer, **plain))
        found = made.predict(texts("the cat sat", "awful", "nine cat")).to_pylist()
        assert found == alone(lambda row, a=plain: live(row, **a)[0], ["the cat sat", "awful", "nine cat"]), arguments


def bytes_gpt():
    """A model of bytes, live: a stop string may be any text."""
    letters = sorted(tk.pre_tokenizers.ByteLevel.alphabet())
    made = tk.Tokenizer(tk.models.BPE({text: i for i, text in enumerate(["</s>", "[PAD]", *letters])}, []))
    made.pre_tokenizer, made.decoder = tk.pre_tokenizers.ByteLevel(add_prefix_space=False), tk.decoders.ByteLevel()
    torch.manual_seed(1)
    config = hf.GPT2Config(
        vocab_size=258, n_embd=32, n_layer=2, n_head=4, n_positions=32, eos_token_id=0, bos_token_id=0,
        initializer_range=0.5,
    )  # fmt: skip
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", pad_token="[PAD]")
    return hf.GPT2LMHeadModel(config), tokenizer


def test_texts_end_at_stop_strings_and_the_end_of_places_is_said():
    generator = Generator(bytes_gpt())
    rows = ["a", "dog ran in the park", "zzz", "the cat"]
    how = {"max_new_tokens": 12, "stop_strings": ["_"], "skip_special_tokens": False}
    whole = generator.predict(texts(*rows), max_new_tokens=12).to_pylist()
    cut = generator.predict(texts(*rows), **how).to_pylist()
    assert cut == [text.partition("_")[0] + "_" if "_" in text else text for text in whole]
    assert cut[:3] != whole[:3], f"the test shows nothing: {whole}"
    with pytest.raises(vonk.BackendError, match=r"has 24 tokens, and the model has 32 places.*max_input_tokens=20 to"):
        generator.predict(texts("x" * 24), max_new_tokens=12)
    with pytest.raises(vonk.InvalidError, match="prefix: None is no text"):
        generator.predict(texts("x"), prefix=None)


def test_what_surrounds_a_text_that_was_written(folders):
    for name in ("t5", "gpt"):
        generator = Generator(folders(name))
        rows = [row for row in TEXTS if row != ""]
        marked = {"max_new_tokens": 14, "skip_special_tokens": False}
        many = generator.predict(texts(*rows), **marked).to_pylist()
        assert many == [generator.predict(texts(row), **marked)[0].as_py() for row in rows]
        assert any(row.endswith("</s>") for row in many if row), many
    whole = generator.predict(texts("the cat sat"), max_new_tokens=6, full_text=True)[0].as_py()
    assert whole == "the cat sat " + generator.predict(texts("the cat sat"), max_new_tokens=6)[0].as_py()


def test_a_prefix_several_texts_and_the_length_of_the_input(folders):
    generator = Generator(folders("t5"))
    prefixed = generator.predict(texts("cat sat"), prefix="the ", max_new_tokens=8).to_pylist()
    assert prefixed == generator.predict(texts("the cat sat"), max_new_tokens=8).to_pylist()
    several = generator.predict(texts("the cat", None), max_new_tokens=8, num_beams=3, num_return_sequences=2)
    assert several.type == pa.list_(pa.string())
    model, tokenizer = generator.live
    ids = model.generate(
        **tokenizer("the cat", return_tensors="pt"), max_new_tokens=8, num_beams=3, num_return_sequences=2
    )
    assert several.to_pylist() == [tokenizer.batch_decode(ids, skip_special_tokens=True), None]
    how = hf.GenerationConfig(max_new_tokens=8, num_beams=3, num_return_sequences=2)
    assert generator.predict(texts("the cat", None), generation_config=how).equals(several)
    long, short = "cat dog " * 9, "cat dog cat"
    cut = generator.predict(texts(long), max_input_tokens=4, max_new_tokens=8).to_pylist()
    assert cut == generator.predict(texts(short), max_new_tokens=8).to_pylist()


def test_a_tokenizer_without_padding_and_a_text_without_tokens(folders):
    generator = Generator(folders("gpt", pad_token=None))
    assert generator.live[1].pad_token_id is None
    rows = [row for row in TEXTS if row != ""]
    found = generator.predict(texts(*rows), max_new_tokens=9).to_pylist()
    assert found == alone(lambda row: written(*generator.live, row, max_new_tokens=9), rows)
    report = generator.predict(texts("cat", ""), on_error="report", max_new_tokens=3).to_pylist()
    assert report[0]["error"] is None and "has no tokens" in report[1]["error"]


def test_arguments_that_generate_does_not_know_are_refused_before_a_row(folders):
    generator = Generator(folders("gpt"))
    for arguments, why in (({"max_new_token": 3}, "knows none"), ({"attention_mask": 1}, "vonk sets it")):
        with pytest.raises(vonk.InvalidError, match=why):
            generator.predict(texts("cat"), on_error="null", **arguments)


# --- where models come from ---


def test_live_objects(folders):
    pipe = hf.pipeline("text-classification", str(folders("classifier")), top_k=2)
    close(Pipeline(pipe).predict(texts(*TEXTS)).to_pylist(), alone(lambda row: pipe(row)[0]), "it keeps its top_k")
    loaded = Generator(folders("t5"))
    assert Generator(loaded.live).predict(texts("cat")).to_pylist() == loaded.predict(texts("cat")).to_pylist()
    for kind, given in ((SentenceEncoder, 3), (Pipeline, loaded.live), (Generator, loaded.live[0])):
        with pytest.raises(vonk.InvalidError, match="model: "):
            kind(given)


def test_weights_that_are_pickles_are_not_read(folders, tmp_path):
    model = hf.AutoModelForSequenceClassification.from_pretrained(folders("classifier"))
    for file in folders("classifier").iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(vonk.UnsupportedError, match=r"'pytorch_model.bin' are a pickle.*allow_pickle=True"):
        Pipeline(tmp_path)
    trusted = Pipeline(tmp_path, allow_pickle=True)
    expected = Pipeline(folders("classifier")).predict(texts(*TEXTS)).to_pylist()
    close(trusted.predict(texts(*TEXTS)).to_pylist(), expected, "trusted")


def test_code_in_a_folder_is_not_run(folders, tmp_path):
    ran = tmp_path / "ran"
    for name in ("classifier", "encoder"):
        copy = tmp_path / name
        subprocess.run(["cp", "-r", folders(name), copy], check=True)
        (copy / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((tmp_path / "classifier" / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.Evil"}
    (tmp_path / "classifier" / "config.json").write_text(json.dumps(config))
    with pytest.raises(vonk.UnsupportedError, match="wants code of its own"):
        Pipeline(tmp_path / "classifier")
    modules = json.loads((tmp_path / "encoder" / "modules.json").read_text())
    modules[0]["type"] = "evil.Evil"
    (tmp_path / "encoder" / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(vonk.UnsupportedError, match=r"wants 'evil.Evil', which is not of sentence_transformers"):
        SentenceEncoder(tmp_path / "encoder")
    assert not ran.exists()


def test_folders_that_are_no_model(folders, tmp_path):
    for path, why in ((tmp_path, "no config.json"), (folders("classifier") / "config.json", "is a file")):
        with pytest.raises(vonk.ModelError, match=why):
            Pipeline(path, task="fill-mask")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(vonk.ModelError, match=r"config.json is no JSON"):
        Pipeline(tmp_path)
    broken = tmp_path / "broken"
    subprocess.run(["cp", "-r", folders("classifier"), broken], check=True)
    (broken / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not what it says")
    with pytest.raises(vonk.ModelError, match="model 'broken': cannot be opened as a pipeline"):
        Pipeline(broken)


def test_a_name_of_the_hub_without_a_network_and_one_in_the_cache(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(vonk.FileError, match="'/no/such/folder': no such folder"):
        Pipeline("/no/such/folder")
    with pytest.raises(vonk.FileError, match=r"'nobody/nothing': is no folder here, and the hub does not give it"):
        Pipeline("nobody/nothing")
    cached = tmp_path / "models--somebody--classifier"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (cached / "snapshots").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    subprocess.run(["cp", "-r", folders("classifier"), cached / "snapshots" / commit], check=True)
    assert Pipeline("somebody/classifier").title == "somebody/classifier"
    found = Pipeline("somebody/classifier").predict(texts("great film"))
    assert found.to_pylist() == Pipeline(folders("classifier")).predict(texts("great film")).to_pylist()


MISSING = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in ("transformers", "sentence_transformers", "huggingface_hub"):
            raise ImportError(f"No module named '{name}'")
sys.meta_path.insert(0, Blocker())
import vonk
from vonk.huggingface import Generator, MissingPackageError, Pipeline, SentenceEncoder
for kind, model in ((SentenceEncoder, sys.argv[1]), (Pipeline, sys.argv[2]), (Generator, "some/name")):
    try:
        kind(model)
    except ImportError as error:
        assert isinstance(error, vonk.UnsupportedError) and isinstance(error, MissingPackageError)
        print(error)
"""


def test_missing_packages_are_one_clear_error_each(folders):
    folder = [str(folders("encoder")), str(folders("classifier"))]
    done = subprocess.run([sys.executable, "-c", MISSING, *folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3, lines
    for line, package in zip(lines, ("sentence_transformers", "transformers", "huggingface_hub"), strict=True):
        assert line.startswith(f"vonk.huggingface: {package} not found") and "pip install" in line, line
