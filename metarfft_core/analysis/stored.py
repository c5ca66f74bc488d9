"""The stored results of runs, and which run speaks to a line of the paper.

`data/paper_results.yaml` has the lines, with the paper's numbers and the properties that a run
needs to speak to each.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from metarfft_core import evaluation, tasks, training
from metarfft_core.analysis.counted import answers, count, lenient_answers
from metarfft_core.evaluation import general, metrics
from metarfft_core.params import LABELS, METHODS, Params
from metarfft_core.system import files, yaml_files

if TYPE_CHECKING:
    from pandas import DataFrame

PAPER = Path(__file__).parent.parent / "data" / "paper_results.yaml"
NOT_RUN = "not run"
LENGTHS = range(1, 31)
"""The lengths in the paper's evaluation."""

_MIXED = {"gsm8k": "GSM8K", "arc": "ARC", "alpaca": "Alpaca"}
_OTHER_LABELS = {"base": "Base model", "rl": "Reinforcement learning"}  # not methods of the kit
_PRETRAINING = {"one": "pre-trained on one task", "leetcode": "pre-trained on LeetCode alone"}


@dataclass(frozen=True)
class Line:
    """The run that a line of a figure or table is about (`data/paper_results.yaml`)."""

    model: str | None = None
    method: str = ""
    api: str | None = None
    pretraining: str = "all"
    mixed: str | None = None
    minus: str | None = None
    tasks: tuple[str, ...] = ()
    group: str = ""
    name: str = ""  # the label, if the paper's differs from the method's
    paper: tuple[float, ...] = field(default=(), compare=False)

    @property
    def label(self) -> str:
        """The label of the line in a figure or table."""
        if self.name:
            return self.name
        parts = [self.api or (LABELS | _OTHER_LABELS)[self.method]]
        if self.pretraining in _PRETRAINING:
            parts.append(_PRETRAINING[self.pretraining])
        if self.mixed:
            parts.append(f"{_MIXED[self.mixed]} mixed in")
        if self.minus:
            parts.append(f"less {LABELS[self.minus]}")
        return ", ".join(parts)

    @property
    def plain(self) -> bool:
        """Whether its method alone distinguishes the line from others."""
        return not self.api and self.pretraining == "all" and not self.mixed

    def of(self, model: str) -> "Line":
        """Return the same line for a model that is not in the paper."""
        return replace(self, model=model, name="",
                       group="" if self.group in paper()["models"] else self.group)


@cache
def paper() -> dict:
    """Read the file of what the paper reports."""
    return yaml_files.read(PAPER)


def lines(spec: dict) -> list[Line]:
    """Return the lines of a figure or of a table's numbers."""
    return [Line(**{**line, "tasks": task_ids(line.get("tasks", spec.get("tasks", "downstream"))),
                    "group": line.get("group", line.get("model", "")),
                    "paper": tuple(line.get("paper", ()))}) for line in spec["lines"]]


def task_ids(value: str | dict | list[str]) -> tuple[str, ...]:
    """Return the ids that the `tasks` of a line mean."""
    if value == "downstream":
        return tuple(task.id for task in tasks.select(split=value))
    if isinstance(value, dict):
        return tuple(task.id for source in value["source"] for task in tasks.select(source=source))
    return tuple(value)


def model_name(config: Params) -> str:
    """Return the name of a run's model without its owner or folder."""
    return PurePath(config.model.name).name


def pretraining(config: Params) -> str:
    """Return what a run was RF-pretrained on: one (task), leetcode (only its tasks) or all."""
    ids = config.corpus.pretrain.tasks
    if len(ids) == 1:
        return "one"
    return "leetcode" if {tasks.get(task).source for task in ids} == {"leetcode"} else "all"


def mixed(config: Params, method: str) -> str | None:
    """Return the name of the general data in the training of a method; None if there is none.

    The name is gsm8k, arc or alpaca if the file's name contains one of them, else the file's name.
    """
    trained = METHODS[method].start == "pretrained"
    for settings in (config.adaptation if METHODS[method].adapted else None,
                 config.pretraining if trained else None):
        if settings and settings.mix:
            stem = Path(settings.mix.file).stem.lower()
            named = _MIXED.keys() & set(re.split(r"[^a-z0-9]+", stem))
            return named.pop() if len(named) == 1 else stem
    return None


class Stored:
    """The stored results of a run, each read once."""

    def __init__(self, config: Params):
        self.config, self.model = config, model_name(config)
        self._values: dict = {}

    @cached_property
    def _rows(self) -> "tuple[DataFrame, dict, dict]":
        rows = evaluation.read(self.config, partial=True)
        return count(rows), answers(rows), lenient_answers(rows)

    @property
    def counts(self) -> "DataFrame":
        """A line for each method, task, seed and length: the outcomes and their total."""
        return self._rows[0]

    def tasks(self, method: str) -> list[str]:
        """Return the tasks that a method has results on."""
        return [task for name, task in self._rows[1] if name == method]

    def lengths(self, method: str, task: str) -> set[int]:
        """Return the lengths that a method has results at, on a task."""
        return set(self._rows[1][method, task].indices)

    @cached_property
    def losses(self) -> "DataFrame":
        """A line for each logged step of each training (see `single.loss_table`)."""
        return logged(self.config)

    def has_lenient(self, method: str, cells: "Cells") -> bool:
        """Return whether the lenient score is known of every answer of a method to these tasks."""
        return all((method, task) in self._rows[2] for task in cells)

    def value(self, metric: str, method: str, minus: str | None,
              cells: "Cells", lenient: bool = False) -> tuple[float, float, float]:
        """Return a metric of the paper with its interval, over the given tasks and lengths.

        With `minus`, it is the difference from the metric of that method. With `lenient`, the
        lenient score decides what is right.
        """
        key = (metric, method, minus, tuple(cells.items()), lenient)
        if key not in self._values:
            rows = self._rows[2 if lenient else 1]
            parts = [[_only(rows[name, task], lengths) for task, lengths in cells.items()]
                     for name in (method, minus) if name]
            self._values[key] = measure(self.config, METRICS[metric], *parts)
        return self._values[key]

    def __repr__(self) -> str:
        return f"Stored({self.config.name})"


Cells = dict[str, tuple[int, ...]]
"""Lengths by task."""

METRICS = {"ACC_Len30": metrics.acc_longest, "Max_Len_90%": metrics.mean_max_len_90}
"""The paper's metrics that the kit measures."""


def logged(config: Params) -> "DataFrame":
    """Read a run's training logs: stage, task, method, seed, step, loss, validation_loss."""
    from pandas import DataFrame

    columns = ["stage", "task", "method", "seed", "step", "loss", "validation_loss"]
    jobs = [training.Job(config, "pretrain"),
            *(training.Job(config, "adapt", cell) for cell in config.trainings)]
    return DataFrame([
        [job.stage, job.task, job.method, job.seed, line["step"], line.get("loss", math.nan),
         line.get("validation_loss", math.nan)]
        for job in jobs for line in training.stored_log(job)], columns=columns)


def _only(found: metrics.Answers, lengths: Iterable[int]) -> metrics.Answers:
    return replace(found, indices={length: found.indices[length] for length in lengths},
                   right={length: found.right[length] for length in lengths})


def measure(config: Params, statistic: metrics.Statistic, found: list[metrics.Answers],
            minus: list[metrics.Answers] | None = None) -> tuple[float, float, float]:
    """Return a statistic of some tasks, less that of `minus` if given, with its interval.

    The bootstrap interval is widened if it does not contain the value. Redrawn samples fall below
    90% at shorter lengths than the samples themselves, so Max_Len_90% can exceed the interval.
    """
    settings = (config.evaluation.bootstrap_samples, config.evaluation.confidence, config.seed)
    value = statistic(_counts(found))
    if minus is None:
        low, high = metrics.bootstrap_seeds(found, statistic, *settings)
    else:
        value -= statistic(_counts(minus))
        paired = all(one.indices == two.indices for one, two in zip(found, minus, strict=True))
        low, high = metrics.bootstrap_difference(found, minus, statistic, *settings, paired=paired)
    return value, min(low, value), max(high, value)


def _counts(found: list[metrics.Answers]) -> list[metrics.Counts]:
    return [{length: (int(right.sum()), right.size) for length, right in stored.right.items()}
            for stored in found]


@dataclass(frozen=True)
class Found:
    """A run that speaks to a line, and the method of its rows."""

    line: Line
    stored: Stored
    method: str
    logs: bool = False  # use the logs of its trainings, not the rows of its evaluation

    @property
    def config(self) -> Params:
        return self.stored.config

    @cached_property
    def cells(self) -> Cells:
        """The lengths that each task of the line has results at (for logs: none)."""
        if self.logs:
            logged = self.stored.losses.loc[self.stored.losses["method"] == self.method, "task"]
            return dict.fromkeys((task for task in self.line.tasks if (logged == task).any()), ())
        methods = [method for method in (self.method, self.line.minus) if method]
        lengths = {task: set.intersection(*(self.stored.lengths(method, task)
                                            for method in methods))
                   for task in self.line.tasks
                   if all(task in self.stored.tasks(method) for method in methods)}
        return {task: tuple(sorted(logged)) for task, logged in lengths.items() if logged}

    @property
    def has_lenient(self) -> bool:
        """Whether the lenient score is shown beside the strict one."""
        return not self.line.minus and self.stored.has_lenient(self.method, self.cells)

    def value(self, metric: str, cells: Cells | None = None,
              lenient: bool = False) -> tuple[float, float, float]:
        """Return a metric with its interval, over all cells of the line or the given ones."""
        return self.stored.value(metric, self.method, self.line.minus, cells or self.cells, lenient)


def find(line: Line, runs: Sequence[Stored], logs: bool = False) -> Found | None:
    """Return the run that speaks to a line; None if there is none.

    Runs are preferred in this order: not a smoke run; results on the most tasks; the line's
    RF-pretraining (the baselines have none); the paper's own steps, its exemplars in RF-pretraining
    and its wording; the most steps; the first.
    """
    return min(find_all(line, runs, logs), key=rank, default=None)


def find_general(line: Line, metric: str,
                 runs: Sequence[Stored]) -> "tuple[Stored, general.Score] | None":
    """Return the first run with a general benchmark's result for a line, and the result."""
    weights, benchmark = general.STAGES.get(line.method), general.METRICS.get(metric)
    for stored in runs if weights and benchmark else ():
        made = line.method == "base" or (mixed(stored.config, line.method) == line.mixed and
                                         pretraining(stored.config) == line.pretraining)
        score = general.read(stored.config, weights, benchmark)
        if made and score and stored.model == full_name(line.model):
            return stored, score
    return None


def find_all(line: Line, runs: Sequence[Stored], logs: bool = False) -> list[Found]:
    """Return every run that could speak to a line, in the order of the runs."""
    candidates = [Found(line, stored, name, logs) for stored in runs
             for name in [_method(line, stored)] if name]
    return [candidate for candidate in candidates if candidate.cells]


def common(found: Sequence[Found]) -> Cells:
    """Return the tasks and lengths that all of them have results of."""
    cells = {task: set.intersection(*(set(result.cells.get(task, ())) for result in found))
             for task in found[0].cells}
    return {task: tuple(sorted(lengths)) for task, lengths in cells.items() if lengths}


def _method(line: Line, stored: Stored) -> str | None:
    """Return the run's method for a line; None if the run was made in another way."""
    if line.api:
        return next((api.name for api in stored.config.evaluation.api
                     if api.name.lower() == line.api.lower()), None)
    if stored.model != full_name(line.model) or line.method not in METHODS:
        return None
    way, config = METHODS[line.method], stored.config
    fits = mixed(config, line.method) == line.mixed and (
        way.start == "base" or pretraining(config) == line.pretraining) and (
        not way.adapted or config.adaptation.equal == "samples")
    return line.method if fits else None


def rank(found: Found) -> tuple:
    """Return a sort key: the lower it is, the better a run speaks to its line (see `find`)."""
    config = found.config
    return (config.smoke, -len(found.cells), pretraining(config) != found.line.pretraining,
            _other_steps(found), _no_exemplars(found), config.corpus.wording != "paper",
            -config.pretraining.steps, -config.adaptation.steps)


def _other_steps(found: Found) -> bool:
    """Return whether a run of a model in the paper was trained for other steps than there."""
    own = paper()["models"].get(found.line.model, {}).get("steps")
    if own is None:
        return False
    way, config = METHODS[found.method], found.config
    return (way.start == "pretrained" and config.pretraining.steps != own[0]) or (
        way.adapted and config.adaptation.steps != own[1])


def _no_exemplars(found: Found) -> bool:
    """Return whether a run was RF-pretrained without the exemplars that the paper adds."""
    way = METHODS.get(found.method)
    return (way is not None and way.start == "pretrained"
            and not found.config.pretraining.in_context_share)


def full_name(model: str | None) -> str | None:
    """Return the name, without owner, of the model with this key in the paper's file."""
    known = paper()["models"]
    return PurePath(known[model]["name"]).name if model in known else model


def other_models(runs: Sequence[Stored]) -> list[str]:
    """Return the models of the runs that are not in the paper, in the order of the runs."""
    known = {full_name(key) for key in paper()["models"]}
    return list(dict.fromkeys(config.model for config in runs if config.model not in known))


def commit(config: Params) -> str:
    """Return the git commit that made a run's results, from its manifests, or "unknown"."""
    for stage in ("evaluation", "pretrain", "corpus"):
        manifest = config.folder / stage / "manifest.json"
        if manifest.exists():
            made = files.read_json(manifest).get("git_commit")
            if made:
                return made
    return "unknown"
