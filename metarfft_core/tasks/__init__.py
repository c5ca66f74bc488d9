"""The tasks of the paper's Table 1, and the decorator that declares more.

    from metarfft_core import tasks
    tasks.get("hamming_distance")              by name, or by id: tasks.get("lc_461")
    tasks.get("hamming_distance").counterfactual    the same task with a changed rule
    tasks.select(split="downstream")           a list, in the paper's order

    definition.py  what a task is: a rule, a sampler and a question
    registry.py    the tasks by their ids and names
    library/       the 86 tasks, grouped in files by the data that they work on, and the airline's
    synthetic.py   random rules made of the paper's 22 snippets
"""

from metarfft_core.tasks.definition import Instance, Task, declare
from metarfft_core.tasks.registry import (
    IDS,
    OTHERS,
    SOURCES,
    SPLITS,
    find,
    get,
    id_of,
    label,
    select,
    task,
)

__all__ = ["IDS", "OTHERS", "SOURCES", "SPLITS", "Instance", "Task", "declare", "find", "get",
           "id_of", "label", "select", "task"]
