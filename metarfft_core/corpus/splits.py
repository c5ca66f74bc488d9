"""The splits of a corpus: their tasks, formats, seeds and files. Nothing is written here."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from metarfft_core import tasks
from metarfft_core.params import METHODS, Held, Params, ParamsError, Samples
from metarfft_core.system.files import (
    changed,
    read_json,
)
from metarfft_core.tasks import synthetic

SCHEMA = pa.schema([(name, pa.int64() if name in ("length", "index") else pa.string())
                    for name in ("task", "length", "index", "stream", "format", "prompt",
                                 "completion", "inputs", "answer")])


SYNTHETIC = "synthetic-"
"""What the names of the shards of synthetic rules begin with."""


RULES_IN_SHARD = 250  # synthetic rules in a shard


SAMPLES_OF_RULE = synthetic.LONGEST // 2  # one of every other length; its neighbours the rest


class Split(NamedTuple):
    """What one split of a run holds."""

    samples: Held
    tasks: Samples  # whose tasks it has, and whose `leave_out` holds
    trained: str | None  # the split whose inputs are kept out of this one
    formats: tuple[str, ...]
    stream: str  # of its seeds; its section in the parameter file has the same name
    exemplar: bool = False  # before each question
    counterfactual: bool = False  # the tasks' changed rules in the place of the tasks
    synthetic: int = 0  # samples of synthetic rules

    @property
    def task_ids(self) -> list[str]:
        """The tasks that it has samples of; some tasks have no counterfactual rule."""
        if not self.counterfactual:
            return self.tasks.tasks
        changed = (tasks.get(task).counterfactual for task in self.tasks.tasks)
        return [task.id for task in changed if task]

    @property
    def shards(self) -> list[str]:
        """The names of its shards: the tasks, then the parts of the synthetic rules."""
        parts = -(-self.synthetic // (RULES_IN_SHARD * SAMPLES_OF_RULE))
        return [*self.task_ids, *(f"{SYNTHETIC}{part:03}" for part in range(parts))]


def all_splits(config: Params) -> dict[str, Split]:
    """The splits, those trained on before those held out."""
    corpus, evaluation = config.corpus, config.evaluation
    compared = _formats(method for _, method, _ in config.trainings)
    asked = ("direct",) if evaluation.api else ()  # an API model gets the bare question
    splits = {
        "pretrain": Split(corpus.pretrain, corpus.pretrain, None, ("rfft",), "pretrain"),
        "validation": Split(corpus.validation, corpus.pretrain, "pretrain", ("rfft",),
                             "validation"),
        "adaptation": Split(corpus.adaptation, corpus.adaptation, None, compared, "adaptation"),
        "adaptation_validation": Split(corpus.adaptation_validation, corpus.adaptation,
                                        "adaptation", compared, "adaptation_validation"),
        "evaluation": Split(corpus.evaluation, corpus.adaptation, "adaptation",
                             tuple(dict.fromkeys(compared + asked)), "evaluation"),
    }
    if evaluation.in_context:
        splits["evaluation_1shot"] = Split(corpus.evaluation, corpus.adaptation, "adaptation",
                                            ("rfft",), "evaluation", exemplar=True)
    if evaluation.counterfactual:
        splits["evaluation_counterfactual"] = Split(
            corpus.evaluation, corpus.adaptation, "adaptation",
            _formats(evaluation.counterfactual), "evaluation", counterfactual=True)
    if corpus.in_context:
        splits["in_context"] = Split(corpus.in_context, corpus.in_context, None, ("rfft",),
                                      "in_context", exemplar=True,
                                      synthetic=corpus.in_context.synthetic_samples)
    return splits


def _formats(methods: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(METHODS[method].format for method in methods))


def shard_path(config: Params, split: str, format: str, task: str) -> Path:
    return config.folder / "corpus" / split / format / f"{task}.parquet"


def files(config: Params, split: str, format: str, task: str | None = None) -> list[Path]:
    """The Parquet files of a split in a format: of one task, or of all in the run's order.

    In the split `in_context` a part of the synthetic rules counts as a task.
    Raises ParamsError where the corpus is not built or holds no such split, format or task, or
    where a file is not the one that was built: a process reads each once to compare its hash.
    """
    folder = config.folder / "corpus"
    if not (folder / "manifest.json").exists():
        raise ParamsError(f"the corpus of run {config.name} is not built: there is no "
                          f"{folder / 'manifest.json'}")
    splits = all_splits(config)
    _require("split", split, tuple(splits))
    _require("format", format, splits[split].formats)
    held = splits[split].shards
    if task is not None:
        task = tasks.id_of(task)
        _require("task", task, tuple(held))
    paths = [shard_path(config, split, format, one) for one in held if task in (None, one)]
    shards = read_json(folder / "manifest.json")["shards"]
    for path in paths:
        if changed(path, shards[path.relative_to(folder).as_posix()]["sha256"]):
            raise ParamsError(f"{path} is not the file that was built: `metarfft build --params "
                              f"{config.folder / 'params.yaml'}` makes it again")
    return paths


def _require(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ParamsError(f"{key}: this corpus holds {', '.join(allowed)}; got {value!r}")


def read(config: Params, split: str, format: str, task: str | None = None):
    """The samples of a split in a format, as a `datasets.Dataset` in the order of `files`.

    Columns: task, length, index, stream, format, prompt, completion, inputs (the dict of inputs
    as a Python literal) and answer (the same). Raises ParamsError as `files` does.
    """
    # In a notebook without ipywidgets, tqdm warns that its bars are plain.
    warnings.filterwarnings("ignore", message="IProgress not found")
    from datasets import Dataset

    # Dataset.from_parquet would copy the files into a cache, and fails where none has a row.
    return Dataset(pa.concat_tables(pq.read_table(path, partitioning=None)
                                    for path in files(config, split, format, task)))
