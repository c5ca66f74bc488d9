"""What a run costs beside arithmetic: starts, loading, checkpoints, decompositions.

Seconds follow from bytes and the rates in `assumptions`. During all of them the GPUs of a training
or an engine wait, so they count as GPU time.
"""

from collections.abc import Hashable, Mapping, Sequence

from metarfft_core import training
from metarfft_core.models import memory
from metarfft_core.params import METHODS, Cell, Params
from metarfft_core.planning import assumptions
from metarfft_core.training.process import checkpoints

_GB = 1e9


def decomposition(shape: memory.Shape) -> float:
    """Return the seconds of a PiSSA start: one decomposition of each linear part of each layer."""
    hidden, inner = shape.hidden, shape.intermediate
    sizes = [(hidden, shape.queries)] * 2 + [(hidden, shape.keys)] * 2 + [(hidden, inner)] * 3
    operations = sum(6 * max(size) * min(size) ** 2 + 20 * min(size) ** 3 for size in sizes)
    return shape.layers * operations / assumptions.DECOMPOSITION


def starts(jobs: list[training.Job], shape: memory.Shape) -> list[float]:
    """Return the seconds in which each training makes its PiSSA start; 0 if it finds one.

    The first training on a model waits for the decomposition. Another rank of the same model is cut
    from the largest one: the model is read, and the residual written.
    """
    seen, seconds = set(), []
    for job in jobs:
        model, rank = job.after_pretraining, job.settings.rank
        if job.settings.method != "pissa" or (model, rank) in seen:
            seconds.append(0.0)
            continue
        new = all(other != model for other, _ in seen)
        weights = 2.0 * shape.parameters
        seconds.append(decomposition(shape) if new else
                       weights / assumptions.READ + weights / assumptions.WRITE)
        seen.add((model, rank))
    return seconds


def checkpoint(shape: memory.Shape, rank: int | None) -> float:
    """Return the bytes of a checkpoint that a training can resume from.

    It has the trained float32 weights and AdamW's two averages: 12 bytes for each trained weight.
    With early stopping, 4 more if the best weights so far are from another step.
    """
    return 12.0 * _trained(shape, rank)


def _trained(shape: memory.Shape, rank: int | None) -> int:
    return shape.parameters if rank is None else shape.adapter(rank)


def trained(job: training.Job, shape: memory.Shape, steps: int, processes: int,
            shards: int) -> float:
    """Return the seconds of a training without its steps and without a PiSSA start.

    These are its start, the reading of the bfloat16 weights, its checkpoints and its results, with
    the merge after a PiSSA RF-pretraining. Adaptations on one GPU each share the first two: each
    GPU of a node starts once and reads a model once. The last checkpoint holds the weights alone. A
    sharded training waits until each process has copied its part of a checkpoint to host memory,
    and continues while it is written; at its end it waits for the disk.
    """
    settings, weights = job.settings, 2.0 * shape.parameters
    same = sum(METHODS[cell.method].start == METHODS[job.method].start
               for cell in job.config.trainings) if job.method else 1
    shared = min(1.0, memory.NODE / same) if processes == 1 else 1.0
    between = (steps - 1) // settings.save_every * checkpoint(shape, settings.rank)
    copied = between / shards if shards > 1 else 0.0
    written = 4.0 * _trained(shape, settings.rank) + (0.0 if shards > 1 else between)
    read = weights * (shared if settings.method == "pissa" else 1.0)
    if settings.method == "full":
        written += weights
    elif job.stage == "pretrain":
        read, written = read + weights, written + weights
    return (shared * assumptions.TRAINING_START + read / assumptions.READ
            + copied / assumptions.COPY + written / assumptions.WRITE)


def engines_of(sizes: Mapping[Hashable, Sequence[int]], count: int) -> dict[Hashable, int]:
    """Return how many engines each base model gets of the `count` that run at once.

    Each has one at least. Another one goes to the model whose engines have the most to generate,
    as long as it has more cells than engines.

    Args:
        sizes: For each base model, what is to be generated for each of its cells.
        count: How many engines run at once.
    """
    engines = dict.fromkeys(sizes, 1)
    while sum(engines.values()) < min(count, sum(map(len, sizes.values()))):
        engines[max((base for base in sizes if engines[base] < len(sizes[base])),
                  key=lambda base: sum(sizes[base]) / engines[base])] += 1
    return engines


def engines(config: Params, shape: memory.Shape, method: str) -> float:
    """Return the seconds in which the engines of a method's cells start on a node of GPUs.

    Methods with the same base model share its engines. An engine without adapters gets the merged
    weights of one cell after the other; after full fine-tuning each model has an engine.
    """
    def base(cell: Cell) -> Hashable:
        own = METHODS[cell.method].adapted and config.adaptation.method == "full"
        return (cell if own else None, METHODS[cell.method].start)

    cells: dict[Hashable, list[Cell]] = {}
    for cell in config.cells:
        if cell.method in METHODS:
            cells.setdefault(base(cell), []).append(cell)
    started = engines_of({one: [1] * len(held) for one, held in cells.items()},
                         memory.NODE // config.evaluation.tensor_parallel)
    shares = [(started[one] / len(held), sum(cell.method == method for cell in held))
              for one, held in cells.items()]
    read = 2.0 * shape.parameters / assumptions.READ
    loads = sum(count for _, count in shares) if merges(config, method) else 0
    return (sum(share * count for share, count in shares) * (assumptions.ENGINE_START + read)
            + loads * read)


def merges(config: Params, method: str) -> bool:
    """Return whether a method's adapters are merged on a GPU: where the engine takes none."""
    return (METHODS[method].adapted and config.adaptation.method == "pissa"
            and config.evaluation.engine == "transformers")


def of_training(job: training.Job, shape: memory.Shape, processes: int,
                sharded: bool) -> dict[str, float]:
    """Return the GB of host memory and disk that a training takes.

    While a checkpoint is written, the disk holds one more than are kept. Full fine-tuning and
    RF-pretraining leave the plain bfloat16 model. PiSSA leaves the float32 adapter and its plain
    LoRA of twice the rank. In a full fine-tuning each process of a node loads float32 weights; in
    PiSSA they share one mapped file, and RF-pretraining ends with a merge (see `of_evaluation`).
    Later the host's memory holds the best weights, with early stopping, and the copy of what a
    sharded training writes.
    """
    rank, full = job.settings.rank, job.settings.method == "full"
    best = 4 * _trained(shape, rank) if job.settings.early_stopping_patience else 0
    whole = checkpoint(shape, rank)
    model = 2 * shape.parameters if full or job.stage == "pretrain" else 0
    loaded = 4 * min(processes, memory.NODE) if full else 2
    host = max(loaded, 4 if job.stage == "pretrain" else 0)
    return {"host": max(host * shape.parameters, best + (whole if sharded else 0)) / _GB,
            "checkpoints": (whole + best) * (checkpoints.KEPT + 1) / _GB,
            "kept": (model + (0 if full else 12 * shape.adapter(rank))) / _GB}


def of_evaluation(config: Params, shape: memory.Shape, method: str) -> dict[str, float]:
    """Return the GB of host memory and disk of the cells that a node evaluates at once.

    Engines of plain weights map them. Where adapters are merged, each engine's are merged in
    float32 in host memory (4 bytes a weight). Nothing is written to the disk but answers.
    """
    cells = sum(cell.method == method for cell in config.cells)
    at_once = max(1, min(cells, memory.NODE // config.evaluation.tensor_parallel))
    weights = shape.parameters / _GB
    return {"host": 4 * weights * at_once if merges(config, method) else 2 * weights,
            "checkpoints": 0.0}
