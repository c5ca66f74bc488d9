"""The table of a plan: a row for each training and for each method's evaluation.

Columns:
    stage (pretrain, adapt, rl, evaluation), method, task, seed
    processes, steps, samples (upper bounds if training may stop early)
    tokens (with template and end tokens)
    trained_tokens (those in completions; for an evaluation, the generated ones)
    validation_tokens (of all validations)
    flops (of training or generation, with head and attention: those of the log's MFU)
    attention_flops (of these), recomputed_flops (by gradient checkpointing), validation_flops
    utilisation, compute_hours (GPU hours of all these operations at that share of the peak)
    waiting_hours (GPU hours of starts, loading, checkpoints, merges, decompositions)
    gpu_hours (both), hours (from start to end)
    paper_low, paper_high (GPU hours in the paper)
    micro_batch_size (samples on average), micro_batch (tokens of the fullest)
    recompute, without, room (see `recomputation.columns`)
    longest (tokens of the longest counted sample; no micro batch can be smaller)
    weights, gradients, optimizer, loss, buffers (GiB on one GPU)
    activations (GiB; for an evaluation, the keys and values of the longest sequence)
    total (GiB, the sum of these), validation (GiB of weights, optimizer and one validation)
    fits
    host (GB of a node's memory while its processes load or merge)
    checkpoints, kept (GB on disk during the run and after it; merged weights are in the first)
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "stage", "method", "task", "seed", "processes", "steps", "samples", "tokens",
    "trained_tokens", "validation_tokens", "flops", "recomputed_flops", "validation_flops",
    "attention_flops", "compute_hours", "waiting_hours", "gpu_hours", "hours", "utilisation",
    "paper_low", "paper_high", "micro_batch_size", "micro_batch", "recompute", "without",
    "room", "longest", "weights", "gradients", "optimizer", "activations", "loss", "buffers",
    "total", "validation", "fits", "host", "checkpoints", "kept")


def frame(rows: Sequence[Mapping]) -> "pd.DataFrame":
    """Return the table; a run without trainings, or whose answers come from servers, has all
    columns too.
    """
    import pandas as pd

    return pd.DataFrame(rows, columns=list(COLUMNS)).convert_dtypes()
