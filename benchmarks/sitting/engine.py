"""Item 8: the transformers engine on the GPU against the CPU, by tokens.

Both generate greedily from the same prompts with a tiny random model in bfloat16, whose logits are
far apart. Where two outputs differ, the model in float32 tells how far the logits of the first two
tokens that differ are apart: less than NEAR is a near-tie, which rounding decides.
"""

import itertools
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from sitting import tiny
from sitting.record import Record

NEAR = 0.5  # logits


def run(record: Record) -> None:
    folder = tiny.write_model(record.work / "engine-model", spread=0.15)
    prompts, limit = _prompts(folder, record.pick(64, 6)), record.pick(64, 12)
    with record.case("GPU against CPU") as values:
        ids, seconds = {}, {}
        for device, visible in (("here", os.environ.get("CUDA_VISIBLE_DEVICES")), ("cpu", "")):
            if visible is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = visible
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                ids[device], seconds[device] = process.submit(
                    generate, folder, prompts, limit).result()
        values |= {"device": record.device, "prompts": len(prompts), "limit": limit,
                   "seconds": seconds, **_compared(folder, prompts, ids["here"], ids["cpu"])}


def _prompts(folder: Path, number: int) -> list[list[int]]:
    from metarfft_core import formats, models, tasks

    chosen = itertools.islice(itertools.product(range(1, 31), tasks.select(split="downstream")),
                              number)
    texts = [formats.render(task, task.sample(length=length, seed=0, index=0, stream="engines"),
                            "direct").prompt for length, task in chosen]
    return models.encode_prompts(models.load_tokenizer(str(folder)), texts)


def generate(folder: Path, prompts: list[list[int]], limit: int) -> tuple[list, float]:
    """The tokens of each prompt, and the seconds that they took, in a process of its own."""
    from metarfft_core.evaluation import engines

    found, began = {}, 0.0
    for finished in engines.generate(folder, prompts, [limit] * len(prompts), "transformers", 32):
        began = began or time.monotonic()  # the first list is empty and says that all is loaded
        found |= {position: one.token_ids for position, one in finished}
    return [found[position] for position in range(len(prompts))], round(
        time.monotonic() - began, 2)


def _compared(folder: Path, prompts: list, one: list, two: list) -> dict:
    """How many outputs are identical, and how far apart the others are where they part."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                 trust_remote_code=False).eval()
    gaps = []
    for prompt, first, second in zip(prompts, one, two, strict=True):
        if first == second:
            continue
        common = next((place for place, pair in enumerate(zip(first, second, strict=False))
                       if pair[0] != pair[1]), None)
        if common is None:  # one ends where the other goes on
            raise RuntimeError(f"{first} and {second} have no token that differs")
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *first[:common]]])).logits[0, -1]
        gaps.append(abs(logits[first[common]] - logits[second[common]]).item())
    return {"identical": len(prompts) - len(gaps), "near_ties": sum(gap < NEAR for gap in gaps),
            "other": sum(gap >= NEAR for gap in gaps), "largest_gap": max(gaps, default=0.0)}
