"""From a model's name to weights, tokens and adapters.

    hub.py               finds or downloads the weights and tokenizer of a name
    chat.py              turns prompts and completions into tokens
    chat_template.py     fixes the date that a chat template sees
    packed_attention.py  computes attention over samples that are laid end to end
    precision.py         the data type in which models compute on this machine
    memory.py            the GPU memory that a training takes, from the model's shape
    operations.py        the floating-point operations of trainings and generations
    pissa.py             makes PiSSA starts, adapters and merged weights
    shards.py            writes and reads the checkpoints of several processes
    qwen.py              counts Qwen2.5's tokens without its folder
"""

from metarfft_core.models.chat import (
    encode_completion,
    encode_completions,
    encode_prompt,
    encode_prompts,
    load_tokenizer,
    token_counter,
)
from metarfft_core.models.hub import (
    EMBEDDED,
    cache_folder,
    model_hash,
    resolve,
    weights_hash,
)
from metarfft_core.models.packed_attention import attention
from metarfft_core.models.pissa import (
    change_full,
    change_pissa,
    keep_residual,
    load_pissa,
    merge_pissa,
    pissa_start,
    save,
    save_adapter,
)
from metarfft_core.models.precision import compute
from metarfft_core.models.shards import Weights, load_full

__all__ = ["EMBEDDED", "Weights", "attention", "cache_folder", "change_full", "change_pissa",
           "compute", "encode_completion", "encode_completions", "encode_prompt", "encode_prompts",
           "keep_residual", "load_full", "load_pissa", "load_tokenizer", "merge_pissa",
           "model_hash", "pissa_start", "resolve", "save", "save_adapter", "token_counter",
           "weights_hash"]
