"""What makes a training faster or smaller on the machine at hand, and changes rounding alone.

Recomputation of activations (gradient checkpointing) is decided by the memory of the GPU, with the
formula that the plan shows. Norms, MLPs and rotary positions are fused by liger-kernel where that
is installed; the output layer stays trl's. `torch.compile` is not used: packed rows have another
length each, and each adapter, checkpoint hook and sharded unit is a break of the graph.
"""

import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from metarfft_core.models import memory
from metarfft_core.params import ParamsError
from metarfft_core.system.files import read_json

RECOMPUTE_FROM = 2048  # on a CPU, larger micro batches (in tokens) recompute activations
VARIABLE = "METARFFT_RECOMPUTE"


def recomputes(base: str | Path, rank: int | None, tokens: int, sharded: bool) -> bool:
    """Return whether a training recomputes the activations of its layers.

    It is $METARFFT_RECOMPUTE if that is set. Otherwise, on a GPU, a training recomputes if it would
    not fit the GPU's memory without, or if the model's family is unknown to the formula.

    Args:
        base: The folder of the model.
        rank: The rank of the adapter; None for a full fine-tuning.
        tokens: The size of the fullest micro batch.
        sharded: Whether the GPUs of a node share the model.

    Raises:
        ParamsError: $METARFFT_RECOMPUTE is unknown.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted:
        if wanted not in ("always", "never"):
            raise ParamsError(f"{VARIABLE}: expected always or never, got {wanted!r}")
        return wanted == "always"
    import torch

    if not torch.cuda.is_available():
        return tokens > RECOMPUTE_FROM
    return outgrows(base, rank, tokens, sharded, torch.cuda.get_device_properties(0).total_memory)


def outgrows(base: str | Path, rank: int | None, tokens: int, sharded: bool,
             available: float) -> bool:
    """Return whether GPUs of `available` bytes cannot train without recomputation.

    The other arguments are those of `recomputes`.
    """
    if not _known(base):
        return True
    shards = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if sharded else 1
    load = memory.Load(memory.shape(base), rank, tokens, tokens, shards=shards,
                       fused=fused(base) is not None)
    return memory.recomputes(load, memory.USABLE * available)


def fused(base: str | Path) -> str | None:
    """Return the package and version that fuses layers, or None if there is no GPU or package."""
    import torch

    if not (torch.cuda.is_available() and find_spec("liger_kernel") and _known(base)):
        return None
    return f"liger-kernel {version('liger-kernel')}"


def fuse(model, base: str | Path) -> None:
    """Let liger-kernel compute norms, MLPs and rotary positions of a loaded model, if it can."""
    if fused(base):
        from transformers.integrations import apply_liger_kernel

        # The loss belongs to trl's output layer, which liger's would replace.
        apply_liger_kernel(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})


def _known(base: str | Path) -> bool:
    return read_json(Path(base) / "config.json")["model_type"] in memory.FAMILIES
