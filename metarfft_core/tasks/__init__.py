"""The tasks of the paper's Table 1, and the way to declare further ones.

    from metarfft_core import tasks
    tasks.get("lc_258")                        KeyError names the nearest ids
    tasks.get("lc_258_cf")                     its counterfactual: the same with a changed rule
    tasks.select(split="downstream")           a list, in the paper's order
"""

import difflib
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from metarfft_core.tasks.base import Instance, Task, declare
from metarfft_core.tasks.catalogue import IDS, SOURCES, SPLITS

__all__ = ["Instance", "Task", "get", "select", "task"]

_REGISTRY: dict[str, Task] = {}


def task(id: str, *, source: str, length: str, split: str = "pretrain",
         lengths: tuple[int, ...] | None = None):
    """Class decorator that declares a task under `id` (see `base.declare`).

    `length` says what length counts; `lengths` are those that can be drawn (1 to 60 unless
    given). A name that is taken is refused with ValueError; only a notebook may declare a task
    of its own again, when its cell is run again.
    """
    def decorate(cls: type) -> Task:
        if id in _REGISTRY and not (cls.__module__ == "__main__" and id not in IDS):
            raise ValueError(f"task {id} is declared twice: {_REGISTRY[id].name}, {cls.__name__}")
        declared = declare(cls, id, source, split, length, lengths)
        _REGISTRY[id] = declared
        if declared.counterfactual:
            _REGISTRY[declared.counterfactual.id] = declared.counterfactual
        return declared

    return decorate


def get(id: str) -> Task:
    """The task of that id; KeyError names the nearest ids."""
    _load()
    if id not in _REGISTRY:
        near = difflib.get_close_matches(str(id), _REGISTRY, n=3, cutoff=0.3)
        raise KeyError(f"no task {id!r}; the nearest are {', '.join(near) or 'none'} "
                       "(metarfft tasks lists them all)")
    return _REGISTRY[id]


def select(*, split: str | None = None, source: str | None = None) -> list[Task]:
    """The paper's tasks in its order, all of them or those of a split or a source.

    Raises ValueError for an unknown split or source.
    """
    for value, allowed, key in ((split, SPLITS, "split"), (source, SOURCES, "source")):
        if value is not None and value not in allowed:
            raise ValueError(f"{key}: allowed are {', '.join(allowed)}; got {value!r}")
    _load()
    chosen = [_REGISTRY[id] for id in IDS if id in _REGISTRY]
    return [one for one in chosen
            if split in (None, one.split) and source in (None, one.source)]


@cache
def _load() -> None:
    """Import the modules of this package, each of which declares some tasks."""
    for module in iter_modules(__path__):
        import_module(f"metarfft_core.tasks.{module.name}")
