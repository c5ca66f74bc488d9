"""What a training reads: which samples, in what order, encoded and packed into micro batches.

A batch counts samples over all devices, as in the paper. Its samples are packed end to end into
micro batches without padding. There are as many micro batches as the devices and the accumulation
need, balanced by their tokens. The seed alone decides which samples make a step; the number of
devices does not matter.
"""

import heapq
import itertools
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metarfft_core import models, params
from metarfft_core.params import ParamsError

if TYPE_CHECKING:
    from datasets import Dataset

    from metarfft_core.training.job import Job

GENERAL = "general"
"""The task name of samples of general data."""


def accumulation_steps(settings: params.Training, processes: int) -> int:
    """Return how many micro batches each process accumulates for one step of `batch_size` samples.

    Args:
        settings: The settings of the training.
        processes: The number of processes, over all machines.

    Raises:
        ParamsError: If batch_size is not a multiple of micro_batch_size times `processes`.
    """
    batch, micro = settings.batch_size, settings.micro_batch_size
    if batch % (micro * processes):
        works = [str(size) for size in range(1, batch + 1) if batch % (size * processes) == 0]
        counts = [str(count) for count in range(1, batch // micro + 1)
                  if batch % (micro * count) == 0]
        hint = f"micro_batch_size can be {', '.join(works)}" if works else \
            f"the number of processes must divide batch_size {batch}"
        raise ParamsError(f"batch_size {batch} is not a multiple of micro_batch_size {micro} x "
                          f"{processes} processes: with {processes} processes {hint}; with "
                          f"micro_batch_size {micro} the number of processes can be "
                          f"{', '.join(counts)}")
    return batch // (micro * processes)


def count_steps(settings: params.Training, samples: int, name: str, extra: float = 0.0) -> int:
    """Return the optimizer steps: at most `steps`, and at most those that `epochs` passes fill.

    Args:
        settings: The settings of the training.
        samples: The number of samples of the tasks.
        name: The name of the training, for the error message.
        extra: The share of each batch that comes from other samples.

    Raises:
        ParamsError: If the samples do not fill one batch.
    """
    filled = int(settings.epochs * samples / (1 - extra) + 1e-9)
    steps = min(settings.steps, filled // settings.batch_size)
    if steps == 0:
        raise ParamsError(f"{name}: {samples} samples in {settings.epochs} epochs do not fill one "
                          f"batch of batch_size {settings.batch_size}")
    return steps


def sample_order(sizes: list[int], shares: list[float], needed: int, seed: int) -> list[int]:
    """Return the rows to train on, in order, drawn from concatenated pools.

    Each draw takes a sample from the pool that is furthest below its share. Every pass over a pool
    is shuffled anew.

    Args:
        sizes: The number of rows of each pool.
        shares: The share of the samples that each pool contributes; they sum to 1.
        needed: How many rows to draw.
        seed: The seed of the shuffles.
    """
    offsets = [sum(sizes[:pool]) for pool in range(len(sizes))]
    rows = [_passes(size, f"{seed}/order" + (f"-{pool}" if pool else ""))
            for pool, size in enumerate(sizes)]
    taken, order = [0] * len(sizes), []
    for drawn in range(1, needed + 1):
        lacks = [share * drawn - count for share, count in zip(shares, taken, strict=True)]
        pool = lacks.index(max(lacks))
        taken[pool] += 1
        order.append(offsets[pool] + next(rows[pool]))
    return order


def _passes(size: int, key: str):
    """Yield the rows 0 to size - 1 in a shuffled order, again and again."""
    for number in itertools.count():
        rows = list(range(size))
        random.Random(f"{key}/{number}").shuffle(rows)
        yield from rows


def steps_for_tokens(order_tokens: list[int], batch_size: int, budget: int) -> int:
    """Return the fewest whole batches whose completion tokens reach `budget`.

    `order_tokens` are the completion tokens of the samples of one pass, in order. Every further
    pass is counted as the same.
    """
    whole, rest = divmod(budget, sum(order_tokens))
    samples = whole * len(order_tokens)
    while rest > 0:
        rest -= order_tokens[samples % len(order_tokens)]
        samples += 1
    return max(1, -(-samples // batch_size))


def pack(tokens: list[int], bins: int) -> list[list[int]]:
    """Distribute samples over `bins` micro batches with about the same number of tokens each.

    Args:
        tokens: The tokens of each sample.
        bins: The number of micro batches, at most the number of samples.

    Returns:
        The positions of the samples in each micro batch, the fullest micro batch first, so that
        devices that work at the same time have similar loads.
    """
    heap = [(0, number) for number in range(bins)]
    packed: list[list[int]] = [[] for _ in range(bins)]
    for position in sorted(range(len(tokens)), key=lambda position: -tokens[position]):
        load, number = heapq.heappop(heap)
        packed[number].append(position)
        heapq.heappush(heap, (load + tokens[position], number))
    loads = {number: load for load, number in heap}
    return [sorted(packed[number]) for number in sorted(loads, key=lambda number: -loads[number])]


def micro_batches(tokens: list[int], batch_size: int, micro_batch_size: int) -> list[list[int]]:
    """Return the micro batches of all steps, in order.

    Each batch of `batch_size` samples is packed into batch_size / micro_batch_size micro batches.
    The last batch may have fewer samples.
    """
    packed = []
    for start in range(0, len(tokens), batch_size):
        batch = tokens[start:start + batch_size]
        bins = -(-len(batch) // micro_batch_size)
        packed += [[start + position for position in positions] for positions in pack(batch, bins)]
    return packed


@dataclass(frozen=True)
class TrainingData:
    """What a training reads.

    Attributes:
        samples: The encoded samples (a `datasets.Dataset`), each once.
        order: The rows of `samples` to train on, in order; a row may occur again.
        steps_per_epoch: The steps that one pass over the samples of the tasks takes.
    """

    samples: "Dataset"
    order: list[int]
    steps_per_epoch: float


def load_training(job: "Job", tokenizer) -> TrainingData:
    """Load and check the samples that a training uses.

    Raises:
        ParamsError: If a sample does not fit the model's context or has no end token.
    """
    import datasets

    from metarfft_core import corpus

    datasets.disable_progress_bars()
    datasets.disable_caching()

    config, settings = job.config, job.settings
    split, _ = job.splits
    pools, shares = [corpus.read(config, split, job.format, job.task)], [1.0]
    if job.stage == "pretrain" and settings.in_context_share:
        pools.append(corpus.read(config, "in_context", job.format))
        shares.append(settings.in_context_share)
    if settings.mix:
        pools.append(general(settings.mix))
        shares.append(settings.mix.share)
    extra = sum(shares[1:])
    shares[0] = 1 - extra
    steps = _steps(job, len(pools[0]), extra, tokenizer)
    order = sample_order([len(pool) for pool in pools], shares,
                         steps * settings.batch_size, job.order_seed)
    used = sorted(set(order))
    columns = ["task", "length", "prompt", "completion"]
    together = datasets.concatenate_datasets([pool.select_columns(columns) for pool in pools])
    data = encode(together.select(used), tokenizer)
    check_samples(data, config.model.context, tokenizer.eos_token_id,
                  f"{job.name}, split {split}")
    positions = {row: position for position, row in enumerate(used)}
    return TrainingData(data, [positions[row] for row in order],
                        steps_per_epoch=len(pools[0]) / shares[0] / settings.batch_size)


def _steps(job: "Job", samples: int, extra: float, tokenizer) -> int:
    """Return the steps of the file, or those that train on as many tokens as `rfft` does."""
    from metarfft_core import corpus

    settings = job.settings
    steps = count_steps(settings, samples, job.name, extra)
    if job.stage == "pretrain" or settings.equal == "samples":
        return steps

    def trained(format: str, needed: int) -> list[int]:
        data = corpus.read(job.config, "adaptation", format, job.task)
        order = sample_order([samples], [1.0], needed, job.order_seed)
        completions = data.select(order)["completion"]
        return [len(ids) for ids in models.encode_completions(tokenizer, list(completions))]

    budget = sum(trained("rfft", steps * settings.batch_size))
    return steps_for_tokens(trained(job.format, samples), settings.batch_size, budget)


def load_validation(job: "Job", tokenizer):
    """Load, encode and check the validation samples; raises ParamsError as `check_samples` does."""
    from metarfft_core import corpus

    _, split = job.splits
    data = encode(corpus.read(job.config, split, job.format, job.task), tokenizer)
    check_samples(data, job.config.model.context, tokenizer.eos_token_id,
                  f"{job.name}, split {split}")
    return data


def encode(data, tokenizer):
    """Add the columns input_ids, tokens and completion_tokens to a corpus split (datasets.Dataset).

    The completion is the end of input_ids. The loss is computed on it alone.
    """
    from datasets import Features, Sequence, Value
    from datasets.fingerprint import generate_random_fingerprint

    def batch(rows: dict) -> dict:
        prompts = models.encode_prompts(tokenizer, rows["prompt"])
        completions = models.encode_completions(tokenizer, rows["completion"])
        pairs = list(zip(prompts, completions, strict=True))
        return {"input_ids": [prompt + completion for prompt, completion in pairs],
                "tokens": [len(prompt) + len(completion) for prompt, completion in pairs],
                "completion_tokens": [len(completion) for completion in completions]}

    added = {"input_ids": Sequence(Value("int32")), "tokens": Value("int64"),
             "completion_tokens": Value("int64")}
    # Its own fingerprint would pickle all that `batch` reaches, up to weights kept in memory.
    return data.map(batch, batched=True, keep_in_memory=True,
                    features=Features({**data.features, **added}),
                    new_fingerprint=generate_random_fingerprint())


def check_samples(data, context: int, end: int, name: str) -> None:
    """Raise ParamsError if an encoded sample exceeds the context or has no end token."""
    columns = data.select_columns(["task", "length", "tokens"])
    long = [row for row in columns if row["tokens"] > context]
    if long:
        worst = max(long, key=lambda row: row["tokens"])
        raise ParamsError(f"{name}: {len(long)} of {len(data)} samples are longer than "
                          f"model.context, {context} tokens; the longest, task {worst['task']} "
                          f"at length {worst['length']}, takes {worst['tokens']}: train on "
                          "shorter lengths")
    for row in data.select_columns(["task", "length", "input_ids"]):
        if row["input_ids"][-1] != end:
            raise ParamsError(f"{name}: a sample of task {row['task']} at length "
                              f"{row['length']} does not end with the end token {end}")


def check_mix(config: params.Params) -> None:
    """Read the general data that a run mixes in, so that a wrong file is refused at once.

    Raises:
        ParamsError: As `general` does.
    """
    for mix in {settings.mix.file: settings.mix for settings in (
            config.pretraining, config.adaptation) if settings.mix}.values():
        general(mix)


def general(mix: params.Mix):
    """Read the general data of a mix, with the columns of the corpus that training uses.

    Raises:
        ParamsError: If the file is not JSONL of prompts and completions; names the line.
    """
    from datasets import Dataset

    path = mix.path
    try:
        *lines, last = path.read_bytes().decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        if isinstance(error, FileNotFoundError):
            reason += (f"; python -m metarfft_core.bridges.mix builds it (--to {mix.file}), see "
                       "docs/general.md")
        raise ParamsError(f"mix.file: {path}: {reason}") from None
    rows = []
    for number, line in enumerate([*lines, last] if last else lines, start=1):
        try:
            row = json.loads(line)
            texts = {key: row[key] for key in ("prompt", "completion")}
        except (ValueError, KeyError, TypeError, RecursionError):
            texts = {"": None}
        if not all(isinstance(text, str) and text.strip() for text in texts.values()):
            raise ParamsError(f"mix.file: {path}, line {number}: expected a JSON object with the "
                              f"texts prompt and completion, got {line[:80]!r}")
        rows.append({"task": GENERAL, "length": 0, **texts})
    if not rows:
        raise ParamsError(f"mix.file: {path} is empty")
    return Dataset.from_list(rows)


def packed(data, bins: list[list[int]]):
    """Return a data set of micro batches, each packed when it is requested.

    A row holds the input_ids and labels (-100 on the prompts) of its samples end to end, and
    seq_lengths, the tokens of each sample. trl uses the same form for what it packs itself.
    """
    from datasets import Dataset

    def lay(batch: dict) -> dict:
        rows = {"input_ids": [], "labels": [], "seq_lengths": []}
        for positions in batch["rows"]:
            samples = [data[position] for position in positions]
            rows["input_ids"].append([token for sample in samples for token in sample["input_ids"]])
            rows["labels"].append([label for sample in samples for label in labels(sample)])
            rows["seq_lengths"].append([sample["tokens"] for sample in samples])
        return rows

    return Dataset.from_dict({"rows": bins}).with_transform(lay)


def labels(sample: dict) -> list[int]:
    """Return the label of each token of a sample: the token itself, or -100 in the prompt."""
    prompt = sample["tokens"] - sample["completion_tokens"]
    return [-100] * prompt + sample["input_ids"][prompt:]
