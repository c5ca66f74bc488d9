"""What a parameter file may say: its keys, their types and bounds, and rules for several keys.

    cell.py           one method on one task
    methods.py        the compared ways to answer a task
    kinds.py          the kinds of values: counts, lengths, tasks, optional keys
    sections.py       the keys of each section, their types and their bounds
    reinforcement.py  the keys of the section for reinforcement learning
    parameters.py     a whole parameter file, and what holds across its sections
"""

from metarfft_core.params.schema.parameters import WITHOUT_EFFECT, Params

__all__ = ["WITHOUT_EFFECT", "Params"]
