"""The tasks by their ids, in the order of the paper's Table 1."""

import difflib
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from metarfft_core.tasks import library
from metarfft_core.tasks.definition import Task, declare

SOURCES = ("leetcode", "nupa", "bbh", "symbolic")
SPLITS = ("pretrain", "downstream")

IDS = (
    "lc_2582", "lc_2129", "lc_2210", "lc_824", "lc_2103", "lc_2899", "lc_2833", "lc_2057", "lc_953",
    "lc_2785", "lc_2460", "lc_2682", "lc_1694", "lc_890", "lc_2390", "lc_2418", "lc_1909",
    "lc_1704", "lc_1823", "lc_2810", "lc_2645", "lc_2609", "lc_2423", "lc_2185", "lc_2496",
    "lc_1275", "lc_1576", "lc_1041", "lc_2078", "lc_2016", "lc_3271", "lc_2529", "lc_2047",
    "lc_2828", "lc_2404", "lc_2678", "lc_674", "lc_605", "lc_290", "lc_414", "lc_388", "lc_434",
    "lc_228", "lc_448", "lc_242", "lc_268", "lc_383", "lc_682", "lc_387", "lc_345", "lc_392",
    "lc_705", "lc_796", "lc_2562", "lc_1417", "lc_520", "lc_557", "lc_541", "lc_485", "lc_344",
    "lc_500", "lc_482", "lc_896", "lc_551", "lc_1556", "lc_2869", "lc_258", "lc_283", "lc_125",
    "lc_2544", "lc_1598", "lc_3324", "lc_2677", "lc_461", "nupa_get_digit", "nupa_add",
    "nupa_digit_max", "nupa_length", "bbh_dyck_languages", "bbh_hyperbaton", "bbh_navigate",
    "bbh_object_counting", "bbh_reverse_list", "bbh_word_sorting", "sr_coin_flip", "sr_last_letter",
)

_REGISTRY: dict[str, Task] = {}


def task(id: str, *, source: str, length: str, split: str = "pretrain",
         lengths: tuple[int, ...] | None = None):
    """Class decorator that declares a task under `id` (see `definition.declare`).

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
    """Import the modules of the library, each of which declares some tasks."""
    for module in iter_modules(library.__path__):
        import_module(f"{library.__name__}.{module.name}")
