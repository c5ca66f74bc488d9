"""Sizes of models, real and toy, and the lengths of real micro batches."""

import json
from pathlib import Path

from sitting.record import Record

QWEN_7B = {"vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
           "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
QWEN_32B = {"vocab_size": 152064, "hidden_size": 5120, "intermediate_size": 27648,
            "num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads": 8}
TOY = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128,
       "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
"""Qwen2 models; the heads of the real ones have 128 dimensions, those of the toy 32."""

TOKENS = 8700  # of a micro batch; its memory and speed are in the table
_SHRINK = 64  # by how much a rehearsal's samples are shorter


def config(sizes: dict, layers: int | None = None):
    """The transformers configuration of a Qwen2 model of those sizes."""
    from transformers import Qwen2Config

    changed = sizes | ({"num_hidden_layers": layers} if layers else {})
    return Qwen2Config(**changed, max_position_embeddings=32768, tie_word_embeddings=False,
                       bos_token_id=1, eos_token_id=2, pad_token_id=2)


def random_model(sizes: dict, dtype, attention: str, device: str, layers: int | None = None):
    """A random model, made on the device itself."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config(sizes, layers), dtype=dtype,
                                                attn_implementation=attention)


def micro_batches(record: Record, number: int) -> list[list[list[int]]]:
    """So many real micro batches, nearest to TOKENS first: [tokens, completion tokens] a sample.

    In a rehearsal the samples are shorter.
    """
    stored = json.loads((Path(__file__).parent / "lengths.json").read_text())["micro_batches"]
    chosen = sorted(stored, key=lambda samples: abs(total(samples) - TOKENS))[:number]
    if not record.rehearsal:
        return chosen
    return [[[max(4, tokens // _SHRINK), max(2, completion // _SHRINK)]
             for tokens, completion in samples] for samples in chosen]


def total(samples: list[list[int]]) -> int:
    """The tokens of a micro batch."""
    return sum(tokens for tokens, _ in samples)


def scored(samples: list[list[int]]) -> int:
    """The tokens of a micro batch that the loss is computed on."""
    return sum(completion for _, completion in samples)


def row(samples: list[list[int]], vocabulary: int, seed: int) -> dict:
    """A micro batch of random tokens, as `batches.packed` lays it."""
    import random

    draw = random.Random(f"row/{seed}")
    ids, labels = [], []
    for tokens, completion in samples:
        one = [draw.randrange(3, vocabulary) for _ in range(tokens)]
        ids += one
        labels += [-100] * (tokens - completion) + one[tokens - completion:]
    return {"input_ids": ids, "labels": labels, "seq_lengths": [tokens for tokens, _ in samples]}
