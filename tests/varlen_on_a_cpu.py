"""A CPU kernel for PyTorch's attention over packed samples, which brings one for GPUs alone.

It computes each sample by itself with the plain formula, so that all above the kernel can be run on
a CPU as it is: the kit's function, transformers, `torch.nn.attention.varlen` and its derivative.
"""

import itertools

import torch
import torch.nn.attention.varlen  # declares the operators

received = set()
"""The data types that the kernel was given; a GPU's takes float16 and bfloat16 alone."""


def register() -> None:
    """Give the two operators of varlen a CPU kernel in this process."""
    torch.library.register_kernel("torch_attn::_varlen_attn", "cpu", _forward)
    torch.library.register_kernel("torch_attn::_varlen_attn_backward", "cpu", _backward)


def _forward(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, scale=None,
             window_size=None, enable_gqa=False, seqused_k=None, block_table=None,
             num_splits=None):
    assert (seqused_k, block_table, num_splits) == (None, None, None)
    _check(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k)
    output = torch.empty_like(query)
    for rows, head, shared in _parts(query, key, cu_seq_q):
        weights = _weights(query[rows, head], key[rows, shared], scale, window_size)
        output[rows, head] = (weights @ value[rows, shared].float()).to(output.dtype)
    return output, torch.empty(query.shape[1], len(query)), torch.empty(2, dtype=torch.uint64)


def _backward(grad_out, query, key, value, out, lse, cu_seq_q, cu_seq_k, max_q, max_k, is_causal,
              rng_state, scale=None, window_size=None):
    """The chain rule by hand: the softmax's derivative is P (dP - sum of P dP over a row)."""
    slopes = [torch.zeros_like(one, dtype=torch.float32) for one in (query, key, value)]
    for rows, head, shared in _parts(query, key, cu_seq_q):
        weights = _weights(query[rows, head], key[rows, shared], scale, window_size)
        given = grad_out[rows, head].float()
        by_weights = given @ value[rows, shared].float().T
        by_scores = weights * (by_weights - (weights * by_weights).sum(-1, keepdim=True)) * scale
        slopes[0][rows, head] += by_scores @ key[rows, shared].float()
        slopes[1][rows, shared] += by_scores.T @ query[rows, head].float()
        slopes[2][rows, shared] += weights.T @ given
    return tuple(one.to(query.dtype) for one in slopes)


def _check(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k):
    """What the GPU's kernel would refuse, or compute wrongly."""
    assert query.dtype == key.dtype == value.dtype
    received.add(query.dtype)
    assert query.shape[1] % key.shape[1] == 0
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert (cu_seq_q[0].item(), cu_seq_q[-1].item()) == (0, len(query))
    assert max_q == max_k == cu_seq_q.diff().max().item()


def _parts(query, key, ends):
    """Yield the rows of each sample with each head and the key head that serves its group."""
    group = query.shape[1] // key.shape[1]
    for start, end in itertools.pairwise(ends.tolist()):
        for head in range(query.shape[1]):
            yield slice(start, end), head, head // group


def _weights(query, key, scale, window_size):
    """The softmax of the scores of one sample and head, in float32, over what a token sees."""
    left, right = window_size
    assert right == 0
    back = torch.arange(len(query))[:, None] - torch.arange(len(key))[None]
    seen = back >= 0 if left < 0 else (back >= 0) & (back <= left)
    return (query.float() @ key.float().T * scale).masked_fill(~seen, -torch.inf).softmax(-1)
