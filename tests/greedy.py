"""Whether outputs are a model's greedy ones, as far as rounding lets one say."""

from itertools import zip_longest

import torch
from transformers import AutoModelForCausalLM


def assert_greedy(folder, prompts: list[list[int]], outputs: list[tuple[int, ...]]) -> None:
    """Every token of every output is the likeliest one after those before it, or bfloat16 decides:
    float32 says which is the likeliest, bfloat16 how far rounding moves it."""
    assert_likeliest(*(AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
                       for dtype in (torch.float32, torch.bfloat16)), prompts, outputs)


def assert_likeliest(exact, rounded, prompts: list[list[int]],
                     outputs: list[tuple[int, ...]]) -> None:
    """Every token of every output is the likeliest of one model after those before it, or as near
    to that as rounding can tell, which makes the other model of it.

    At the same place, each logit of the other has moved by at most `moved`, what all moved together
    left out. An engine that rounds as much may lift a token by that and lower the likeliest by as
    much.
    """
    for prompt, ids in zip(prompts, outputs, strict=True):
        expected, other = (logits(model, prompt, ids) for model in (exact, rounded))
        change = other - expected
        moved = (change - change.mean(-1, keepdim=True)).abs().amax(-1)
        below = expected.amax(-1) - expected[range(len(ids)), list(ids)]
        assert (below <= 2 * moved).all(), (ids, below.tolist(), moved.tolist())


@torch.inference_mode()
def logits(model, prompt, ids):
    """The logits after each token before the output's own: (tokens, vocabulary)."""
    read = torch.tensor([[*prompt, *ids]])
    return model(read, logits_to_keep=len(ids) + 1).logits[0, :-1].float()


def assert_alike(folder, prompts: list[list[int]], pairs: list[tuple]) -> None:
    """Two generations of each prompt are equal, or they part where bfloat16 decides."""
    parted = [(prompt, upto(one.token_ids, other.token_ids))
              for prompt, (one, other) in zip(prompts, pairs, strict=True) if one != other]
    print(f"{len(pairs) - len(parted)} of {len(pairs)} outputs are identical")
    for prompt, both in parted:
        assert_greedy(folder, [prompt, prompt], both)


def upto(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Two outputs, each up to the first token that differs."""
    place = next(at for at, (a, b) in enumerate(zip_longest(one, other)) if a != b)
    return one[:place + 1], other[:place + 1]
