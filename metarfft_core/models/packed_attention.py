"""The attention of a training, whose micro batch is one row of samples laid end to end.

`varlen` (PyTorch's own flash attention) and `flash` (the package flash-attn) compute each sample
alone, from the ends of the samples that trl's collator passes. `split` does so on any device: it
calls PyTorch's scaled dot product attention for one sample after another. `flex` skips the blocks
of the row in which no token sees another. `sdpa` computes the whole row under a mask, so that its
time and its memory grow with the square of the row.
"""

import inspect
import os
from importlib.util import find_spec
from itertools import pairwise

from metarfft_core.params import ParamsError

VARIABLE = "METARFFT_ATTENTION"
NAMES = {"sdpa": "sdpa", "split": "split", "varlen": "varlen", "flex": "flex_attention",
         "flash": "flash_attention_2"}
"""The values of $METARFFT_ATTENTION, and what transformers calls each."""

_NEEDS = {
    "varlen": "an NVIDIA GPU of compute capability 8.0 or more",
    "flex": "a GPU: on a CPU it has no gradients",
    "flash": "a GPU and the package flash-attn"}


def attention() -> str:
    """Return the attention of trainings on this machine, by its name in transformers.

    It is $METARFFT_ATTENTION if that is set; else `varlen` where its kernel runs, else `split`.

    Raises:
        ParamsError: $METARFFT_ATTENTION is unknown, or does not run on this machine.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted and wanted not in NAMES:
        raise ParamsError(f"{VARIABLE}: expected {', '.join(NAMES)}, got {wanted!r}")
    name = wanted or ("varlen" if _runs("varlen") else "split")
    if not _runs(name):
        raise ParamsError(f"{VARIABLE}: {name} needs {_NEEDS[name]}")
    register()
    return NAMES[name]


def _runs(name: str) -> bool:
    """Return whether an attention has a kernel with gradients on this machine."""
    import torch

    if name in ("sdpa", "split"):
        return True
    if not torch.cuda.is_available():
        return False
    if name == "varlen":
        return (find_spec("torch.nn.attention.varlen") is not None
                and torch.cuda.get_device_capability() >= (8, 0))
    return name == "flex" or find_spec("flash_attn") is not None


def register() -> None:
    """Make `varlen` and `split` known to transformers. A second call changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import flash_attention_mask

    for name, attention in (("varlen", _varlen), ("split", _split)):
        AttentionInterface.register(name, attention)
        # It gives no mask, unless there is padding, which is then refused instead of seen.
        AttentionMaskInterface.register(name, flash_attention_mask)


def _varlen(module, query, key, value, attention_mask, *, scaling=None, sliding_window=None,
            position_ids=None, cu_seq_lens_q=None, max_length_q=None, **others):
    """Compute the attention of packed samples with `torch.nn.attention.varlen`.

    Args:
        module: The layer that calls.
        query: (rows, heads, tokens, size of a head).
        key: (rows, heads of keys, tokens, size of a head); query heads share them in groups.
        value: As `key`.
        attention_mask: None.
        scaling: The factor of the scores.
        sliding_window: How many tokens a token sees, itself among them; None for all before it.
        position_ids: The position of each token in its sample; used if there is no `cu_seq_lens_q`.
        cu_seq_lens_q: (samples + 1) the ends of the samples over all rows, from 0, as int32.
        max_length_q: The tokens of the longest sample.
        others: What else transformers passes.

    Returns:
        (rows, tokens, heads, size of a head), and None for the weights.

    Raises:
        ValueError: For what this attention cannot compute.
    """
    import torch
    from torch.nn.attention.varlen import varlen_attn

    _refuse("varlen", query, key, attention_mask, others)
    if cu_seq_lens_q is None:
        cu_seq_lens_q, max_length_q = _ends(query, position_ids)
    device = query.device.type
    # Rotary positions give float32 under autocast, which the kernel does not take.
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value.dtype
    states = [state.transpose(1, 2).flatten(0, 1).to(dtype) for state in (query, key, value)]
    # PyTorch 2.11 takes grouped heads unasked, 2.13 asks.
    asked = "enable_gqa" in inspect.signature(varlen_attn).parameters
    output = varlen_attn(
        *states, cu_seq_lens_q, cu_seq_lens_q, int(max_length_q), int(max_length_q), scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        **({"enable_gqa": True} if asked else {}))
    return output.unflatten(0, (query.shape[0], query.shape[2])), None


def _split(module, query, key, value, attention_mask, *, scaling=None, sliding_window=None,
           position_ids=None, cu_seq_lens_q=None, **others):
    """Compute the attention of packed samples one after another; see `_varlen`."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    others["sliding_window"] = sliding_window
    _refuse("split", query, key, attention_mask, others)
    if cu_seq_lens_q is None:
        cu_seq_lens_q, _ = _ends(query, position_ids)
    states = [state.transpose(1, 2).flatten(0, 1) for state in (query, key, value)]
    output = torch.cat([
        scaled_dot_product_attention(
            *(state[None, first:last].transpose(1, 2) for state in states), is_causal=True,
            scale=scaling, enable_gqa=True).transpose(1, 2)[0]
        for first, last in pairwise(cu_seq_lens_q.tolist())])
    return output.unflatten(0, (query.shape[0], query.shape[2])), None


def _refuse(name: str, query, key, attention_mask, others: dict) -> None:
    refused = [one for one in ("dropout", "softcap", "s_aux", "position_bias", "sliding_window")
               if others.get(one) is not None and others[one] != 0]
    if attention_mask is not None or key.shape[2] != query.shape[2]:
        refused.append("padding or a cache")
    if refused:
        raise ValueError(f"the attention {name} has no {', '.join(refused)}; set {VARIABLE}=sdpa")


def _ends(query, position_ids) -> tuple:
    """Return the ends of the samples over all rows, and the tokens of the longest sample."""
    from transformers.modeling_flash_attention_utils import prepare_fa_kwargs_from_position_ids

    places = position_ids.expand(query.shape[0], -1)
    (ends, _), (most, _) = prepare_fa_kwargs_from_position_ids(places)
    return ends, most
