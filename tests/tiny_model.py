"""A random model of two layers with a small tokenizer, and a small run on it."""

import json
from pathlib import Path

from metarfft_core import models, params

VOCABULARY = 4096
"""Tokens. With the embedded model's 49,152, most of a tiny training would be its output layer."""

SETTINGS = {
    "method": "pissa", "rank": 4, "learning_rate": 5.0e-3, "batch_size": 4, "micro_batch_size": 2,
    "steps": 8, "epochs": 2, "scheduler": "linear", "warmup_ratio": 0.25, "weight_decay": 0.0,
    "max_grad_norm": 1.0, "evaluate_every": 3, "save_every": 2}
PRODUCTS = 2 * 6 + 1
"""Matrix products in a row from tokens to logits: in each layer a projection, the scores, what they
weigh, the attention's output and two of the MLP; then the output layer."""
TERMS = 128
"""Of the longest sum in them, but for the scores' sums over longer texts."""


def write_tokenizer(folder: Path) -> None:
    """Write the embedded model's tokenizer, cut to its first tokens, and its chat template.

    The tokens are in the order in which they were merged, so the first ones need no later one.
    """
    models.load_tokenizer(models.EMBEDDED).save_pretrained(folder)
    path = folder / "tokenizer.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    tokens = {text: number for text, number in whole["model"]["vocab"].items()
              if number < VOCABULARY}
    whole["model"]["vocab"] = tokens
    whole["model"]["merges"] = [pair for pair in whole["model"]["merges"]
                                if "".join(pair) in tokens]
    path.write_text(json.dumps(whole), encoding="utf-8")


def write_tiny(folder: Path) -> Path:
    """Write the model to `folder`, as bfloat16 safetensors with tokenizer and chat template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    write_tokenizer(folder)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=4096,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2))
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def tiny_run(model: Path, **changes) -> params.Params:
    """A run on the model in `model`; `changes` replace keys of its two trainings."""
    settings = SETTINGS | changes
    return params.check({
        "name": "tiny", "smoke": True, "seed": 0,
        "model": {"name": str(model), "context": 4096},
        "corpus": {
            "workers": 1,
            "pretrain": {"tasks": ["sr_coin_flip", "sr_last_letter"], "lengths": [1, 2],
                         "samples_per_length": 5},
            "validation": {"lengths": [3], "samples_per_length": 2},
            "adaptation": {"tasks": ["lc_2544"], "lengths": [1, 2], "samples_per_length": 7},
            "adaptation_validation": {"lengths": [1, 2], "samples_per_length": 1},
            "evaluation": {"lengths": [1], "samples_per_length": 1}},
        "pretraining": settings,
        "adaptation": settings | {"methods": ["direct", "vanilla_rfft", "meta_rfft"]},
        "evaluation": {"engine": "transformers", "batch_size": 2, "limit_factor": 1.25,
                       "limit_extra": 8, "confidence": 0.95, "bootstrap_samples": 10}})
