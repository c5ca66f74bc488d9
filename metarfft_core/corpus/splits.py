"""The splits of a corpus: their tasks, formats, seeds and files. This module writes nothing."""

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
"""The prefix of the names of synthetic rules' shards."""


RULES_IN_SHARD = 250  # synthetic rules in a shard


# A rule has one sample of every other length; the next rule has the lengths in between.
SAMPLES_OF_RULE = synthetic.LONGEST // 2


class Split(NamedTuple):
    """The contents of one split of a run."""

    samples: Held
    tasks: Samples  # the section that sets its tasks and `leave_out`
    trained: str | None  # the split whose inputs this one avoids
    formats: tuple[str, ...]
    stream: str  # the stream of its seeds, and the name of its section in the parameter file
    exemplar: bool = False  # whether an exemplar is before each question
    counterfactual: bool = False  # whether it has the tasks' changed rules instead of the tasks
    synthetic: int = 0  # the number of samples of synthetic rules

    @property
    def task_ids(self) -> list[str]:
        """The ids of its tasks; with `counterfactual`, of those that have a changed rule."""
        if not self.counterfactual:
            return self.tasks.tasks
        changed = (tasks.get(task).counterfactual for task in self.tasks.tasks)
        return [task.id for task in changed if task]

    @property
    def shards(self) -> list[str]:
        """The names of its shards: its tasks, then the parts of the synthetic rules."""
        parts = -(-self.synthetic // (RULES_IN_SHARD * SAMPLES_OF_RULE))
        return [*self.task_ids, *(f"{SYNTHETIC}{number:03}" for number in range(parts))]


def all_splits(config: Params) -> dict[str, Split]:
    """The splits of a run by name; each comes after the training split whose inputs it avoids."""
    corpus, evaluation = config.corpus, config.evaluation
    # Without a training, these samples still say which inputs the evaluation avoids, so that it
    # asks the same questions as a run that trains.
    compared = _formats(cell.method for cell in config.trainings) or ("direct",)
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
    return splits | _reinforcement(config)


def _reinforcement(config: Params) -> dict[str, Split]:
    """The splits of reinforcement learning. Its evaluation draws the evaluation's instances."""
    if config.rl is None:
        return {}
    rl, owner = config.rl, Samples(**config.rl.evaluation.model_dump(), tasks=config.rl.tasks)
    format, exemplar = rl.prompt.removesuffix("_1shot"), rl.prompt.endswith("_1shot")
    return {"rl": Split(rl, owner, None, (format,), "rl", exemplar=exemplar),
            "rl_evaluation": Split(rl.evaluation, owner, "rl", (format,), "evaluation",
                                    exemplar=exemplar)}


def _formats(methods: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(METHODS[method].format for method in methods))


def home(config: Params) -> Path:
    """The folder of the run whose corpus a run reads: its own, or that of the run it is kept from.
    """
    return config.folder.with_name(config.kept.run) if config.kept else config.folder


def shard_path(config: Params, split: str, format: str, task: str) -> Path:
    """The path of a shard, whether it is written yet or not."""
    return home(config) / "corpus" / split / format / f"{task}.parquet"


def files(config: Params, split: str, format: str, task: str | None = None) -> list[Path]:
    """The Parquet files of a split in one format, in the run's order.

    A process reads each file once to compare its hash.

    Args:
        config: The parameters of the run.
        split: The name of the split.
        format: The format of the samples.
        task: The task's id or name; all tasks if not given. In the split `in_context`, a part of
            the synthetic rules counts as a task.

    Raises:
        ParamsError: The corpus is not built or has no such split, format or task, or a file is not
            the one that was built.
    """
    folder = home(config) / "corpus"
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
    paths = [shard_path(config, split, format, shard) for shard in held if task in (None, shard)]
    manifest = read_json(folder / "manifest.json")
    if manifest["params_digest"] != builder_digest(config):
        raise ParamsError(f"{folder} was made with other parameters: put back that of run "
                          f"{config.name}, or delete {folder} to build it again")
    shards = manifest["shards"]
    for path in paths:
        if changed(path, shards[path.relative_to(folder).as_posix()]["sha256"]):
            raise ParamsError(f"{path} is not the file that was built: `metarfft build --params "
                              f"{home(config) / 'params.yaml'}` makes it again")
    return paths


def builder_digest(config: Params) -> str:
    """The digest of the run that built the corpus of a run; a kept step reads that of its run."""
    return config.kept.digest if config.kept else config.digest


def mean_characters(config: Params, split: str, format: str, task: str) -> float:
    """The mean characters of a sample of a task, prompt and completion together.

    Raises:
        ParamsError: As `files` does.
    """
    [path] = files(config, split, format, task)
    folder = home(config) / "corpus"
    shards = read_json(folder / "manifest.json")["shards"]
    return shards[path.relative_to(folder).as_posix()]["characters"]["mean"]


def _require(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ParamsError(f"{key}: this corpus holds {', '.join(allowed)}; got {value!r}")


def read(config: Params, split: str, format: str, task: str | None = None):
    """Read the samples of a split in one format, in the order of `files`.

    Args:
        config: The parameters of the run.
        split: The name of the split.
        format: The format of the samples.
        task: The task's id or name; all tasks if not given.

    Returns:
        A `datasets.Dataset` with the columns task, length, index, stream, format, prompt,
        completion, inputs (the dict of inputs, as a Python literal) and answer (also a literal).

    Raises:
        ParamsError: As `files` does.
    """
    # In a notebook without ipywidgets, tqdm warns that it shows plain bars.
    warnings.filterwarnings("ignore", message="IProgress not found")
    from datasets import Dataset

    # Dataset.from_parquet would copy the files into a cache, and fails if no file has a row.
    return Dataset(pa.concat_tables(pq.read_table(path, partitioning=None)
                                    for path in files(config, split, format, task)))
