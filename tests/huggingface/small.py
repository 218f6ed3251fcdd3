"""Small models of transformers for tests, made here: tokenizers of a few words, weights that a seed draws.

Their results mean nothing, but they differ from row to row, and generated texts differ in length; tests compare with
what transformers and sentence-transformers give for one row at a time.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that asks the network is wrong

import pytest

pytest.importorskip("transformers", reason="make setup EXTRAS=huggingface")
import tokenizers as tk
import torch
import transformers as hf

torch.set_num_threads(1)  # of models as small as these, threads only wait for each other

WORDS = (
    "the cat sat on mat a dog ran in park great film awful plot one two three four five six seven eight nine ten . ;"
).split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "</s>"]
#: Texts of many lengths; None is a NULL.
TEXTS = [
    "the cat sat", None, "a dog ran in the park ; great film .", "awful", "",
    "one two three four five six seven eight nine ten " * 3, "great great plot", "nine cat", "mat mat mat mat mat mat",
]  # fmt: skip
PLACES = 48
#: More tokens than the models have places for.
TOO_LONG = "cat " * 100


def tokenizer(*, marks: bool = False, **more) -> hf.PreTrainedTokenizerFast:
    """A token for each word; with `marks`, [CLS] and [SEP] around a text, as BERT has."""
    made = tk.Tokenizer(tk.models.WordLevel({word: i for i, word in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = tk.pre_tokenizers.Whitespace()
    if marks:
        made.post_processor = tk.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    special |= {"mask_token": "[MASK]", "eos_token": "</s>"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=made, **{**special, **more})


def _bert(**more) -> hf.BertConfig:
    return hf.BertConfig(
        vocab_size=len(SPECIAL + WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=PLACES, initializer_range=0.5, **more,
    )  # fmt: skip


def _save(model, folder: Path, made: hf.PreTrainedTokenizerFast) -> Path:
    model.eval().save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def classifier(folder: Path, seed: int = 1, labels=("NEGATIVE", "POSITIVE", "NEUTRAL")) -> Path:
    """Of texts, and of pairs of texts."""
    torch.manual_seed(seed)
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    model = hf.BertForSequenceClassification(_bert(num_labels=len(labels), **names))
    return _save(model, folder, tokenizer(marks=True))


def tagger(folder: Path) -> Path:
    """Of tokens."""
    torch.manual_seed(1)
    labels = dict(enumerate(["O", "B-THING", "I-THING", "B-NUMBER"]))
    return _save(hf.BertForTokenClassification(_bert(id2label=labels, num_labels=4)), folder, tokenizer(marks=True))


def filler(folder: Path) -> Path:
    """Of [MASK]."""
    torch.manual_seed(2)
    return _save(hf.BertForMaskedLM(_bert()), folder, tokenizer(marks=True))


def encoder(folder: Path, seed: int = 3) -> Path:
    """Of sentences, by the mean of its tokens' vectors."""
    st = pytest.importorskip("sentence_transformers", reason="make setup EXTRAS=huggingface")
    torch.manual_seed(seed)
    _save(hf.BertModel(_bert()), folder / "bert", tokenizer(marks=True, model_max_length=PLACES))
    made = st.SentenceTransformer(str(folder / "bert"), device="cpu")  # adds the mean of the tokens' vectors
    made.prompts = {"query": "the dog ran "}
    made.save_pretrained(str(folder / "encoder"))
    return folder / "encoder"


def t5(folder: Path, seed: int = 60) -> Path:
    """Reads a text and writes another."""
    torch.manual_seed(seed)
    config = hf.T5Config(
        vocab_size=len(SPECIAL + WORDS), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        decoder_start_token_id=0, eos_token_id=5, pad_token_id=0, initializer_factor=3.0,
    )  # fmt: skip
    return _save(hf.T5ForConditionalGeneration(config), folder, _ending(tokenizer()))


def gpt(folder: Path, seed: int = 119, **more) -> Path:
    """Goes on from a text."""
    torch.manual_seed(seed)
    config = hf.GPT2Config(
        vocab_size=len(SPECIAL + WORDS), n_embd=32, n_layer=2, n_head=4, n_positions=PLACES, eos_token_id=5,
        bos_token_id=5, initializer_range=0.5,
    )  # fmt: skip
    return _save(hf.GPT2LMHeadModel(config), folder, tokenizer(**more))


def _ending(made: hf.PreTrainedTokenizerFast) -> hf.PreTrainedTokenizerFast:
    """Texts end with </s>, as T5 has them; an empty one is that token."""
    made.backend_tokenizer.post_processor = tk.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 5)]
    )
    return made
