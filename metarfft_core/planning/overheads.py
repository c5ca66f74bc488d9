"""What a run costs beside arithmetic: starts, loading, checkpoints, merges, decompositions.

Seconds follow from bytes and the rates in `assumptions`. During all of them the GPUs of a training
or an engine wait, so they count as GPU time.
"""

from metarfft_core import training
from metarfft_core.models import memory
from metarfft_core.planning import assumptions
from metarfft_core.training import checkpoints

_GB = 1e9


def decomposition(shape: memory.Shape) -> float:
    """Return the seconds of a PiSSA start: one decomposition of each linear part of each layer."""
    hidden, inner = shape.hidden, shape.intermediate
    parts = [(hidden, shape.queries)] * 2 + [(hidden, shape.keys)] * 2 + [(hidden, inner)] * 3
    operations = sum(6 * max(part) * min(part) ** 2 + 20 * min(part) ** 3 for part in parts)
    return shape.layers * operations / assumptions.DECOMPOSITION


def checkpoint(shape: memory.Shape, rank: int | None, sharded: bool) -> float:
    """Return the bytes of a checkpoint.

    It holds the trained float32 weights and AdamW's two averages: 12 for each trained weight.
    A sharded training writes the weights twice: for transformers and for accelerate.
    """
    trained = shape.parameters if rank is None else shape.adapter(rank)
    return (16.0 if sharded else 12.0) * trained


def trained(job: training.Job, shape: memory.Shape, steps: int, sharded: bool) -> float:
    """Return the seconds of a training without its steps and without a PiSSA start.

    These are its start, the reading of the bfloat16 weights, its checkpoints and its results, with
    the merge after a PiSSA RF-pretraining.
    """
    settings, weights = job.settings, 2.0 * shape.parameters
    written = steps // settings.save_every * checkpoint(shape, settings.rank, sharded)
    read = weights
    if settings.method == "full":
        written += weights
    elif job.stage == "pretrain":
        read, written = read + weights, written + weights
    return assumptions.TRAINING_START + read / assumptions.READ + written / assumptions.WRITE


def engines(shape: memory.Shape, cells: int, merged: bool) -> float:
    """Return the seconds in which cells start their engines; `merged`: each merges an adapter."""
    weights = 2.0 * shape.parameters
    seconds = assumptions.ENGINE_START + weights / assumptions.READ
    if merged:
        seconds += weights / assumptions.READ + weights / assumptions.WRITE
    return cells * seconds


def of_training(job: training.Job, shape: memory.Shape, processes: int,
                sharded: bool) -> dict[str, float]:
    """Return the GB of host memory and disk that a training takes.

    While a checkpoint is written, the disk holds one more than are kept. Full fine-tuning and
    RF-pretraining leave the plain bfloat16 model. PiSSA leaves the float32 adapter and its plain
    LoRA of twice the rank. In a full fine-tuning each process of a node loads float32 weights; in
    PiSSA they share one mapped file, and RF-pretraining ends with a merge (see `of_evaluation`).
    """
    rank, full = job.settings.rank, job.settings.method == "full"
    model = 2 * shape.parameters if full or job.stage == "pretrain" else 0
    loaded = 4 * min(processes, memory.NODE) if full else 2
    host = max(loaded, 4 if job.stage == "pretrain" else 0)
    kept = checkpoints.KEPT + 1
    return {"host": host * shape.parameters / _GB,
            "checkpoints": checkpoint(shape, rank, sharded) * kept / _GB,
            "kept": (model + (0 if full else 12 * shape.adapter(rank))) / _GB}


def of_evaluation(shape: memory.Shape, cells: int, size: int, merged: bool) -> dict[str, float]:
    """Return the GB of host memory and disk of the cells that a node evaluates at once.

    An adapter is merged in float32 in host memory (4 bytes a weight), and the bfloat16 weights lie
    on the disk until the cell is done. An engine of plain weights maps them.
    """
    at_once = max(1, min(cells, memory.NODE // size))
    weights = shape.parameters / _GB
    return {"host": 4 * weights * at_once if merged else 2 * weights,
            "checkpoints": 2 * weights * at_once if merged else 0.0}
