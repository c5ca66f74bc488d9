"""The items of a sitting on a GPU, the most informative first.

    runner.py         starts each item as a process with its own time limit; keeps every result
    record.py         what an item writes its results with
    __main__.py       one item in this process
    shapes.py         sizes of models, real and toy, and the lengths of real micro batches
    steps.py          training steps with the kit's trainer: speed, MFU, memory beside the plan
    machine.py        0  versions, peak of matrix products, copy rates
    attention.py      1  packed against separate samples: loss, gradients, cost; the fused loss
    whole_run.py      2  a whole tiny training through the kit: build, kill, resume, finish
    adaptation.py     3  PiSSA steps of a 7B model
    full.py           4  full fine-tuning of 8 of its 28 layers, extrapolated
    lean.py           5  both without recomputation, and with liger-kernel
    profiled.py       6  where the time of a step goes
    decomposition.py  7  singular value decompositions of the largest matrices
    engine.py         8  the transformers engine on the GPU against the CPU
    smollm2.py        9  SmolLM2-135M for real: RF-pretraining, vanilla and Meta-RFFT
"""

from typing import NamedTuple


class Item(NamedTuple):
    """One item: its number and name, its module, the most seconds that it gets, and how many must
    be left of the budget for it to be started."""

    number: int
    name: str
    module: str
    seconds: float
    least: float = 20.0


ITEMS = (
    Item(0, "machine", "sitting.machine", 45),
    Item(1, "attention", "sitting.attention", 120),
    Item(2, "whole run", "sitting.whole_run", 150, 60),
    Item(3, "PiSSA 7B", "sitting.adaptation", 100, 40),
    Item(4, "full, 8 layers", "sitting.full", 100, 40),
    Item(5, "without recomputation, liger", "sitting.lean", 130, 40),
    Item(6, "profile", "sitting.profiled", 60, 30),
    Item(7, "decomposition", "sitting.decomposition", 90),
    Item(8, "engine", "sitting.engine", 60, 30),
    Item(9, "SmolLM2-135M", "sitting.smollm2", 560, 150))
