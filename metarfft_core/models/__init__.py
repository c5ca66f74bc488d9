"""From a model's name to weights, tokenizer and tokens; PiSSA starts, adapters, merging."""

from metarfft_core.models.hub import (
    EMBEDDED,
    attention,
    cache_folder,
    change_full,
    change_pissa,
    encode_completion,
    encode_completions,
    encode_prompt,
    encode_prompts,
    fetch,
    load_pissa,
    load_tokenizer,
    merge_pissa,
    pissa_start,
    resolve,
    save,
    save_adapter,
    token_counter,
    weights_hash,
)

__all__ = ["EMBEDDED", "attention", "cache_folder", "change_full", "change_pissa",
           "encode_completion", "encode_completions", "encode_prompt", "encode_prompts", "fetch",
           "load_pissa", "load_tokenizer", "merge_pissa", "pissa_start", "resolve", "save",
           "save_adapter", "token_counter", "weights_hash"]
