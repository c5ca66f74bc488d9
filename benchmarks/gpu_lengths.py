"""The token lengths of 100 micro batches of the 7B run, for the trainings of a sitting on a GPU.

    python benchmarks/gpu_lengths.py [--micro-batches N]

Draws the pre-training corpus of params/7b.yaml with two samples of each length instead of 300 (see
benchmarks/packing.py), in the order and the micro batches that the training would use, and counts
the tokens as Qwen2.5 does. Writes benchmarks/sitting/lengths.json: for each micro batch a list of
its samples, for each sample [tokens, tokens of its completion].
"""

import argparse
import json
import os
import runpy
import tempfile
from pathlib import Path

from metarfft_core import corpus
from metarfft_core.models import qwen
from metarfft_core.training import batches

HERE = Path(__file__).resolve().parent
TARGET = HERE / "sitting" / "lengths.json"
SAMPLES = 2  # of each task and length


def draw(number: int) -> list[list[list[int]]]:
    """The lengths of the first `number` micro batches."""
    config = runpy.run_path(str(HERE / "packing.py"))["parameters"](SAMPLES)
    settings = config.pretraining
    count = qwen.counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["METARFFT_OUTPUTS"] = folder
        corpus.build(config)
        pools = [corpus.read(config, split, "rfft") for split in ("pretrain", "in_context")]
        share = settings.in_context_share
        needed = -(-number * settings.micro_batch_size // settings.batch_size)
        order = batches.sample_order([len(pool) for pool in pools], [1 - share, share],
                                     needed * settings.batch_size, config.seed)
        rows = [(pool[row]["prompt"], pool[row]["completion"]) for pool, row in
                (_place(pools, position) for position in order)]
    lengths = []
    for prompt, completion in rows:
        tokens = count(prompt, completion)
        lengths.append([tokens, tokens - count(prompt, "") + 1])
    packed = batches.micro_batches([tokens for tokens, _ in lengths], settings.batch_size,
                                   settings.micro_batch_size)
    return [[lengths[position] for position in positions] for positions in packed[:number]]


def _place(pools: list, position: int) -> tuple:
    """The pool and the row in it of a position in all pools, one behind the other."""
    for pool in pools:
        if position < len(pool):
            return pool, position
        position -= len(pool)
    raise IndexError(position)


def main() -> None:
    parser = argparse.ArgumentParser(description="Lengths of micro batches of the 7B run.")
    parser.add_argument("--micro-batches", type=int, default=100, help="(%(default)s)")
    micro = draw(parser.parse_args().micro_batches)
    about = {"command": "python benchmarks/gpu_lengths.py", "params": "params/7b.yaml",
             "samples_per_length": SAMPLES, "tokenizer": "Qwen2.5"}
    rows = ",\n  ".join(json.dumps(samples) for samples in micro)
    TARGET.write_text(json.dumps(about, indent=1)[:-2] + f',\n "micro_batches": [\n  {rows}]}}\n')
    totals = sorted(sum(tokens for tokens, _ in samples) for samples in micro)
    print(f"{TARGET.name}: {len(micro)} micro batches, {sum(map(len, micro))} samples; tokens of a "
          f"micro batch: {totals[0]:,} to {totals[-1]:,}, middle {totals[len(totals) // 2]:,}")


if __name__ == "__main__":
    main()
