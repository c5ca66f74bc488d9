"""How far vLLM and transformers agree on the same prompts, and merged weights with a LoRA.

    python benchmarks/engines.py [--prompts N] [--limit TOKENS] [--batch-size N]
                                 [--adaptation PARAMS METHOD TASK]

Both engines generate greedily, as the evaluation does, from the same N prompts (the twelve
downstream tasks in all formats, lengths from 1) with the embedded model, whose folder is copied and
asks for a repetition penalty of 1.3 that neither may apply. Prints how many outputs are identical.
Outputs that differ, and those of every eighth prompt, are then read by transformers in float32: the
gap of a token is how far its logit is below the largest one. Two outputs differ by a near-tie where
the logits of the first two tokens that differ are less than 0.5 apart: one of the two is then at
the most 1.65 times as likely as the other.
"""

import argparse
import itertools
import statistics
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from metarfft_core import evaluation, formats, models, params, tasks, training
from metarfft_core.evaluation import engines
from metarfft_core.params import Cell
from metarfft_core.system import files

ENGINES = ("vllm", "transformers")
ROADS = ("merged", "lora")
NEAR = 0.5  # logits
READ_EVERY = 8  # prompts whose outputs are read in any case


def make_prompts(number: int) -> list[list[int]]:
    """The token ids of the prompts: task by task, then the next format, then the next length."""
    chosen = itertools.islice(itertools.product(range(1, 31), formats.FORMATS,
                                                tasks.select(split="downstream")), number)
    texts = [formats.render(task, task.sample(length=length, seed=0, index=0, stream="engines"),
                            form).prompt for length, form, task in chosen]
    return models.encode_prompts(models.load_tokenizer(models.EMBEDDED), texts)


def copy_with_penalty(source: Path, target: Path) -> None:
    """Link a model's files into `target`, but for a generation config that asks for a penalty."""
    for path in source.iterdir():
        (target / path.name).symlink_to(path)
    config = target / "generation_config.json"
    values = files.read_json(config) | {"repetition_penalty": 1.3}
    config.unlink()
    files.write_json(config, values)


def run(folder: Path, prompts: list[list[int]], limit: int, engine: str,
        batch_size: int) -> list[engines.Generation]:
    """Generate with one engine, in this process."""
    found = {}
    for finished in engines.generate(folder, prompts, [limit] * len(prompts), engine,
                                        batch_size):
        found |= dict(finished)
    return [found[position] for position in range(len(prompts))]


def run_adapted(source: training.Source, merged: Path, prompts: list[list[int]], limit: int,
                road: str, batch_size: int) -> list[engines.Generation]:
    """Generate with vLLM from merged weights, or with the LoRA on its base, in this process."""
    if road == "merged":
        return run(merged, prompts, limit, "vllm", batch_size)
    limits = [limit] * len(prompts)
    rank = files.read_json(source.adapter / "adapter_config.json")["r"]
    engine = engines.start(source.base, "vllm", batch_size, engines.longest(prompts, limits),
                           rank=rank)
    found = {}
    for finished in engine.generate(prompts, limits, source.adapter):
        found |= dict(finished)
    return [found[position] for position in range(len(prompts))]


def read_again(model, prompt: list[int], ids: tuple[int, ...]):
    """The logits (tokens x vocabulary) at each place of an output."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *ids]]), logits_to_keep=len(ids) + 1).logits[0]
    return logits[:-1]


def gaps(logits, ids: tuple[int, ...]) -> list[float]:
    """How far each token's logit is below the largest one at its place."""
    chosen = logits[range(len(ids)), list(ids)]
    return (logits.max(dim=-1).values - chosen).tolist()


def compare(folder: Path, prompts: list[list[int]],
            outputs: dict[str, list[engines.Generation]]) -> None:
    """Print how far the outputs agree."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                 trust_remote_code=False).eval()
    names = list(outputs)
    all_gaps = {engine: [] for engine in names}
    differing, nearer = [], Counter()
    for position, prompt in enumerate(prompts):
        ids = [outputs[engine][position].token_ids for engine in names]
        if ids[0] == ids[1] and position % READ_EVERY:
            continue
        found = [gaps(read_again(model, prompt, one), one) for one in ids]
        if position % READ_EVERY == 0:
            for engine, values in zip(names, found, strict=True):
                all_gaps[engine] += values
        if ids[0] != ids[1]:
            place = next(i for i, (a, b) in enumerate(zip(*ids, strict=False)) if a != b)
            apart = [values[place] for values in found]
            differing.append((abs(apart[0] - apart[1]), min(apart)))
            nearer[names[apart[0] > apart[1]]] += 1
    report(outputs, differing, nearer, all_gaps)


def report(outputs, differing, nearer, all_gaps) -> None:
    """Print the figures of `compare`."""
    number = len(next(iter(outputs.values())))
    print(f"{number - len(differing)} of {number} outputs are identical "
          f"({1 - len(differing) / number:.1%})")
    near = sum(apart < NEAR for apart, _ in differing)
    print(f"{len(differing)} differ; at the first token that differs {near} are near-ties (logits "
          f"less than {NEAR} apart); apart: median "
          f"{statistics.median(apart for apart, _ in differing or [(0, 0)]):.3f}, "
          f"at most {max((apart for apart, _ in differing), default=0):.3f}; in "
          f"{sum(least == 0 for _, least in differing)} one of the two is float32's choice: "
          + ", ".join(f"{nearer[engine]} of {engine}" for engine in outputs))
    for engine in outputs:
        found, values = outputs[engine], all_gaps[engine]
        below = [gap for gap in values if gap > 0]
        print(f"{engine}: {sum(one.prompt_tokens for one in found):,} prompt tokens, "
              f"{sum(one.completion_tokens for one in found):,} generated, "
              f"{sum(one.finish_reason == 'stop' for one in found)} stopped; "
              f"{len(below)} of {len(values):,} tokens that were read are not float32's choice, "
              f"by at most {max(below, default=0):.3f}, on average "
              f"{statistics.mean(below or [0]):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="How far vLLM and transformers agree.")
    parser.add_argument("--prompts", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument("--limit", type=int, default=48, help="tokens of each (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="(%(default)s)")
    parser.add_argument("--adaptation", nargs=3, metavar=("PARAMS", "METHOD", "TASK"),
                        help="a finished one: compare its merged weights with its LoRA")
    options = parser.parse_args()
    if options.adaptation:
        compare_roads(*options.adaptation, options)
    else:
        compare_engines(options)


def apart(function, *arguments):
    """Call a function in a process of its own, as each engine has in the evaluation."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def compare_engines(options: argparse.Namespace) -> None:
    """Compare vLLM with transformers on the embedded model."""
    prompts = make_prompts(options.prompts)
    with tempfile.TemporaryDirectory() as name:
        copy_with_penalty(Path(models.resolve(models.EMBEDDED)), folder := Path(name))
        compare(folder, prompts, {
            engine: apart(run, folder, prompts, options.limit, engine, options.batch_size)
            for engine in ENGINES})


def compare_roads(file: str, method: str, task: str, options: argparse.Namespace) -> None:
    """Compare the merged weights of an adaptation with its plain LoRA."""
    config = params.load(file)
    cell = Cell(method, task, config.seed)
    rows = evaluation.plan(config, cell)[:options.prompts]
    prompts = models.encode_prompts(models.load_tokenizer(config.model.name),
                                    [row["prompt"] for row in rows])
    with training.weights(config, cell) as merged:
        compare(merged, prompts, {
            road: apart(run_adapted, training.source(config, cell), merged, prompts, options.limit,
                        road, options.batch_size) for road in ROADS})


if __name__ == "__main__":
    main()
