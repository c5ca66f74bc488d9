"""The registry of tasks by id and name, in the order of the paper's Table 1."""

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
"""The 86 tasks of the paper's Table 1, which `select` lists."""
OTHERS = ("airline_baggage",)
"""The kit's tasks beside them: found by `get`, and part of a run only where its file names them."""

_TASKS: dict[str, Task] = {}
"""The tasks by each of their keys: ids and names."""


def task(id: str, *, source: str, length: str, split: str = "pretrain",
         lengths: tuple[int, ...] | None = None, title: str = ""):
    """Declare a task under `id`, named after the class: a class decorator.

    A notebook may declare its own task again when its cell runs again. See `definition.declare`
    for what the class holds.

    Args:
        length: What length counts.
        lengths: The lengths that can be drawn; 1 to 60 unless given.
        title: What figures and tables show; made from the name unless given.

    Raises:
        ValueError: The id or a name is already taken.
    """
    def decorate(cls: type) -> Task:
        kits = cls.__module__.startswith(f"{library.__name__}.")
        if not kits:
            _load()  # a user's task must not take a key of the kit's tasks
        known = _TASKS.get(id)
        again = (known and known.id == id and not known.is_counterfactual
                 and id not in IDS + OTHERS and cls.__module__ == "__main__")
        if known and known.id == id and not again:
            raise ValueError(f"task {id} is declared twice: {known.name}, {cls.__name__}")
        # The tests check the kit's tasks; every command would wait for it.
        declared = declare(cls, id, source, split, length, lengths, title, checked=not kits)
        _register(declared, known if again else None)
        return declared

    return decorate


def _register(declared: Task, replaced: Task | None) -> None:
    """Register a task and its counterfactual in place of `replaced`, an earlier declaration.

    Raises:
        ValueError: Another task has one of their keys; the registry is unchanged.
    """
    old = _with_counterfactual(replaced) if replaced else []
    kept = {key: named for key, named in _TASKS.items() if named not in old}
    for named in _with_counterfactual(declared):
        for key in named.keys:
            taken = kept.setdefault(key, named)
            if taken is not named:
                raise ValueError(f"task {declared.id}: {key} already means {taken.name} "
                                 f"({taken.id}); choose another id, or another name of the class")
    _TASKS.clear()
    _TASKS.update(kept)


def _with_counterfactual(task: Task) -> list[Task]:
    return [task, task.counterfactual] if task.counterfactual else [task]


def get(key: str) -> Task:
    """The task with this id or name; raises KeyError with the nearest ones if there is none."""
    task = find(key)
    if task is None:
        near = difflib.get_close_matches(str(key), _TASKS, n=9, cutoff=0.3)
        shown = ", ".join(f"{named.name} ({named.id})"
                          for named in list(dict.fromkeys(map(_TASKS.get, near)))[:3])
        raise KeyError(f"no task {key!r}; the nearest are {shown or 'none'} "
                       "(metarfft tasks lists them all)")
    return task


def find(key: str) -> Task | None:
    """The task with this id or name; None if there is none."""
    _load()
    return _TASKS.get(key)


def id_of(key: str) -> str:
    """The id of the task with this id or name; `key` itself if there is none."""
    task = find(key)
    return task.id if task else key


def label(key: str) -> str:
    """Title and id of the task with this id or name; `key` itself if there is none."""
    task = find(key)
    return task.label if task else key


def select(*, split: str | None = None, source: str | None = None) -> list[Task]:
    """The paper's tasks in its order.

    Args:
        split: One of SPLITS, or None for all.
        source: One of SOURCES, or None for all.

    Raises:
        ValueError: The split or source is unknown.
    """
    for value, allowed, key in ((split, SPLITS, "split"), (source, SOURCES, "source")):
        if value is not None and value not in allowed:
            raise ValueError(f"{key}: allowed are {', '.join(allowed)}; got {value!r}")
    _load()
    chosen = [_TASKS[id] for id in IDS if id in _TASKS]
    return [task for task in chosen
            if split in (None, task.split) and source in (None, task.source)]


@cache
def _load() -> None:
    """Import the modules of the library, each of which declares some tasks."""
    for module in iter_modules(library.__path__):
        import_module(f"{library.__name__}.{module.name}")
