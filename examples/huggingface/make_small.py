"""Makes two small models of transformers, with weights trained here in seconds, for examples and notebooks.

    python examples/huggingface/make_small.py build/huggingface

writes the folders `sentiment`, a classifier of made-up reviews (BERT's architecture, 2 layers), and `numbers`, which
writes numbers as words and words as numbers (T5's architecture, 1 + 1 layers). Both are toys: they know the few words
that they were trained on. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Text to put before what the model of numbers gets.
TO_WORDS = "in words: "
TO_DIGITS = "in digits: "

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
).split()
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()

_THINGS = "film play book story song concert hotel dinner soup coffee museum trip".split()
_GOOD = "great lovely brilliant charming delicious superb delightful fresh clever warm".split()
_BAD = "awful dull terrible boring bland stale clumsy cold dreadful tedious".split()
_FRAMES = (
    "The {thing} was {word}.",
    "What a {word} {thing}!",
    "We found the {thing} {word} and the {other} {same}.",
    "A {word} {thing}, {same} from beginning to end.",
    "I thought the {thing} was really {word}.",
    "The {thing} was not {opposite} at all: it was {word}.",
    "Not a {opposite} {thing}, but a {word} one.",
    "My friends said that the {thing} was {opposite}, but it was {word}.",
)


def in_words(number: int) -> str:
    """A number below 1,000 as English words: 347 is three hundred forty-seven."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{_ONES[hundreds]} hundred" + (f" {in_words(rest)}" if rest else "")


def reviews(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """Made-up reviews with what they say: ``("What a lovely dinner!", "POSITIVE")``."""
    draw = random.Random(seed)
    made = []
    for _ in range(rows):
        is_good = draw.random() < 0.5
        kind, others = (_GOOD, _BAD) if is_good else (_BAD, _GOOD)
        thing, other = draw.sample(_THINGS, 2)
        word, same = draw.sample(kind, 2)
        frame = draw.choice(_FRAMES)
        text = frame.format(thing=thing, other=other, word=word, same=same, opposite=draw.choice(others))
        text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
        made.append((text, "POSITIVE" if is_good else "NEGATIVE"))
    return made


def held_out(number: int) -> bool:
    """Whether a number is not among those that the model is trained with: one in ten, the last two digits of which
    are trained with other hundreds. No number up to 20 is one, for each of those is a word of its own."""
    return number % 10 == (number // 10 * 7 + number // 100 * 3 + 3) % 10 and number > 20


def make_sentiment(folder: Path, *, steps: int = 120, seed: int = 0) -> float:
    """Trains the classifier of reviews and writes it; gives the share of unseen reviews that it gets right."""
    import torch  # noqa: PLC0415 - takes seconds
    import transformers as hf  # noqa: PLC0415

    torch.manual_seed(seed)
    data = reviews(4000, seed)
    tokenizer = _word_tokenizer([text for text, _ in data])
    config = hf.BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=64, id2label={0: "NEGATIVE", 1: "POSITIVE"}, label2id={"NEGATIVE": 0, "POSITIVE": 1},
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = hf.BertForSequenceClassification(config)

    def batch(rows: Sequence[tuple[str, str]]) -> dict[str, Any]:
        found = tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")
        return {**found, "labels": torch.tensor([config.label2id[label] for _, label in rows])}

    _train(model, (batch(rows) for rows in _draws(data, 64, steps, seed)), rate=1e-3, steps=steps)
    _save(model, tokenizer, folder)
    test = batch(reviews(500, seed + 1))
    with torch.inference_mode():
        right = model(**test).logits.argmax(-1) == test["labels"]
    return float(right.float().mean())


def make_numbers(folder: Path, *, steps: int = 800, seed: int = 0) -> float:
    """Trains the model of numbers and writes it; gives the share of unseen ones that it writes right, both ways."""
    import torch  # noqa: PLC0415 - takes seconds
    import transformers as hf  # noqa: PLC0415

    torch.manual_seed(seed)
    trained = [number for number in range(1000) if not held_out(number)]
    short = [pair for number in trained if number < 100 for pair in _both_ways(number)]
    long = [pair for number in trained if number >= 100 for pair in _both_ways(number)]
    tokenizer = _piece_tokenizer([text for pair in short + long for text in pair])
    config = hf.T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_decoder_layers=1, num_heads=4,
        dropout_rate=0.0, decoder_start_token_id=tokenizer.pad_token_id, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, relative_attention_num_buckets=16, relative_attention_max_distance=32,
    )  # fmt: skip
    model = hf.T5ForConditionalGeneration(config)

    def batch(rows: Sequence[tuple[str, str]]) -> dict[str, Any]:
        found = tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")
        labels = tokenizer([text for _, text in rows], padding=True, return_tensors="pt").input_ids
        return {**found, "labels": labels.masked_fill(labels == tokenizer.pad_token_id, -100)}

    # one number in ten has less than three digits: half of each batch, or their rules are not learnt
    halves = zip(_draws(short, 32, steps, seed), _draws(long, 32, steps, seed + 1), strict=True)
    _train(model, (batch(some + others) for some, others in halves), rate=5e-3, steps=steps)
    model.generation_config.max_new_tokens = 24
    _save(model, tokenizer, folder)
    test = [pair for number in range(1000) if held_out(number) for pair in _both_ways(number)]
    found = tokenizer([text for text, _ in test], padding=True, return_tensors="pt")
    written = tokenizer.batch_decode(model.generate(**found), skip_special_tokens=True)
    return sum(text == expected for text, (_, expected) in zip(written, test, strict=True)) / len(test)


def _both_ways(number: int) -> tuple[tuple[str, str], tuple[str, str]]:
    words = in_words(number)
    return (f"{TO_WORDS}{number}", words), (f"{TO_DIGITS}{words}", str(number))


def _word_tokenizer(texts: Sequence[str]) -> Any:
    """A token for each word, as BERT wants them: [CLS] text [SEP] pair [SEP]."""
    import tokenizers as tk  # noqa: PLC0415 - with transformers
    import transformers as hf  # noqa: PLC0415

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = tk.Tokenizer(tk.models.WordLevel(unk_token="[UNK]"))
    made.normalizer = tk.normalizers.Lowercase()
    made.pre_tokenizer = tk.pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(texts, tk.trainers.WordLevelTrainer(vocab_size=1000, special_tokens=special))
    made.post_processor = tk.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=64,
    )  # fmt: skip


def _piece_tokenizer(texts: Sequence[str]) -> Any:
    """A token for each word, digit and hyphen, where a word brings the space before it; </s> at the end, as T5 wants
    it. Texts come back as they were."""
    import tokenizers as tk  # noqa: PLC0415 - with transformers
    import transformers as hf  # noqa: PLC0415

    made = tk.Tokenizer(tk.models.WordLevel(unk_token="<unk>"))
    made.pre_tokenizer = tk.pre_tokenizers.Sequence(
        [
            tk.pre_tokenizers.Metaspace(),
            tk.pre_tokenizers.Split("-", "isolated"),
            tk.pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    made.decoder = tk.decoders.Metaspace()
    trainer = tk.trainers.WordLevelTrainer(special_tokens=["<pad>", "</s>", "<unk>"], show_progress=False)
    made.train_from_iterator(texts, trainer)
    made.post_processor = tk.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=128
    )


def _draws(data: Sequence[Any], rows: int, steps: int, seed: int) -> Iterator[list[Any]]:
    draw = random.Random(seed)
    for _ in range(steps):
        yield draw.sample(data, rows)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Several threads only wait for each other in networks of this size."""
    import torch  # noqa: PLC0415 - takes seconds

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(model: Any, batches: Iterator[dict[str, Any]], *, rate: float, steps: int) -> None:
    import torch  # noqa: PLC0415 - takes seconds

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps, pct_start=0.1)
    with _one_thread():
        for batch in batches:
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the folders of the two models go")
    folder = parser.parse_args().folder
    for name, make, what in (
        ("sentiment", make_sentiment, "unseen reviews"),
        ("numbers", make_numbers, "unseen numbers, both ways"),
    ):
        began = time.monotonic()
        right = make(folder / name)
        print(f"{folder / name}: {100 * right:.1f} % of {what} right, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
