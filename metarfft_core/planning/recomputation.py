"""Whether a training recomputes activations, as the training itself decides it, and what it gains.

A training recomputes them only where a GPU cannot hold them (`training.process.acceleration`). The
plan takes for granted that liger-kernel is installed, as the GPU environment has it.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from metarfft_core.models import memory

if TYPE_CHECKING:
    import pandas as pd

_GIB = 2**30


def decided(load: memory.Load, usable: float) -> memory.Load:
    """Return the load with `recompute` and `fused` as a training on such a GPU sets them."""
    load = replace(load, fused=True)
    return replace(load, recompute=memory.recomputes(load, usable))


def columns(load: memory.Load, settings, processes: int, usable: float, longest: int) -> dict:
    """Return the plan's columns of a training whose longest sample has `longest` tokens.

    Returns:
        `recompute`, as decided; `without`, the GiB of a GPU without recomputation; `room`, the
        largest micro_batch_size that needs none and divides the batch, or 0. `room` takes the
        fullest micro batch to grow with its samples.
    """
    tokens = memory.largest(load, usable)
    most = tokens * settings.micro_batch_size / load.tokens if tokens >= longest else 0
    each = settings.batch_size // processes
    return {"recompute": load.recompute,
            "without": memory.training(replace(load, recompute=False)).total / _GIB,
            "room": max((size for size in range(1, each + 1)
                         if size <= most and each % size == 0), default=0)}


def lines(groups: list[tuple[str, "pd.DataFrame"]]) -> list[dict[str, str]]:
    """Return a line for each group of trainings: that of the training that takes most without."""
    shown = []
    for name, rows in groups:
        row = rows.loc[rows.without.idxmax()]
        recomputed = int(rows.recompute.sum())
        shown.append({
            "stage": name, "micro_batch_size": f"{row.micro_batch_size}",
            "GiB without": f"{row.without:.2f}",
            "recomputed": {0: "no", len(rows): "yes"}.get(recomputed,
                                                          f"{recomputed} of {len(rows)}"),
            "largest without": str(rows.room.min() or "none")})
    return shown
