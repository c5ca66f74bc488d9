"""How much of what a training computes is samples, on the pre-training tasks' own lengths."""

import random

import pytest
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from metarfft_core import formats, models, tasks
from metarfft_core.training import batches

MICRO = 8


@pytest.fixture(scope="module")
def tokenizer():
    return models.load_tokenizer(models.EMBEDDED)


@pytest.fixture(scope="module")
def encoded(tokenizer):
    """128 samples of the pre-training tasks, each of another task or length (1 to 15)."""
    from datasets import Dataset

    rng = random.Random(0)
    places = [(task, length) for task in tasks.select(split="pretrain")
              for length in task.lengths if length <= 15]
    rows = []
    for task, length in rng.sample(places, 128):
        example = formats.render(task, task.sample(length=length, seed=0, index=0), "rfft")
        rows.append({"prompt": example.prompt, "completion": example.completion})
    return batches.encode(Dataset.from_list(rows), tokenizer)


def test_hardly_anything_but_samples_is_computed(encoded, tokenizer):
    """Of the tokens in the micro batches as the trainer collates them, at least 97% are tokens of
    the samples, counted from their texts."""
    count = models.token_counter(models.EMBEDDED)
    real = sum(count(row["prompt"], row["completion"]) for row in encoded)
    rows = batches.packed(encoded, batches.micro_batches(list(encoded["tokens"]), 64, MICRO))
    collate = DataCollatorForLanguageModeling(tokenizer.pad_token_id, padding_free=True)
    computed = sum(collate([row])["input_ids"].numel() for row in rows)
    assert len(rows) == len(encoded) // MICRO
    assert 0.97 <= real / computed <= 1


def test_padding_would_compute_much_else(encoded, tokenizer):
    """Collated with padding, as trl does by default, less than 80% are tokens of the samples."""
    collate = DataCollatorForLanguageModeling(tokenizer.pad_token_id)
    padded = [collate([{"input_ids": ids} for ids in encoded["input_ids"][at:at + MICRO]])
              for at in range(0, len(encoded), MICRO)]
    real = sum(batch["attention_mask"].sum().item() for batch in padded)
    assert real == sum(encoded["tokens"])
    assert real / sum(batch["input_ids"].numel() for batch in padded) < 0.8
