"""The data of a run: seeded samples in Parquet files (the paper's Section 3 and Appendix A).

    corpus/<split>/<format>/<task>.parquet    sorted by length and index
    corpus/in_context/rfft/synthetic-*.parquet    sorted by length and number of the rule
    corpus/manifest.json, README.md           written last: a corpus without them is not finished

The optional split `in_context` puts an exemplar before each question and adds synthetic rules.
Two more hold out the evaluation's instances with an exemplar (`evaluation_1shot`) and instances of
the tasks' counterfactual rules (`evaluation_counterfactual`), where a run evaluates them.
A sample depends on its seed, split, task, length and index alone, so the files are the same bytes
whatever the number of workers. Inputs that a model was trained on are kept out of the held-out
splits wherever a task has enough instances; the rest is counted. No sample takes more tokens
than the model's context.
"""

import json
import os
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context, parent_process
from pathlib import Path
from platform import python_version
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from metarfft_core import __version__, formats, tasks
from metarfft_core.models import token_counter
from metarfft_core.params import METHODS, Held, Params, ParamsError, Samples, commit, open_folder
from metarfft_core.system.files import (
    changed,
    read_json,
    remove_leftovers,
    sha256,
    whole,
    write_json,
)
from metarfft_core.system.processes import alone
from metarfft_core.tasks import Instance, Task, synthetic

SCHEMA = pa.schema([(name, pa.int64() if name in ("length", "index") else pa.string())
                    for name in ("task", "length", "index", "stream", "format", "prompt",
                                 "completion", "inputs", "answer")])

SYNTHETIC = "synthetic-"
"""What the names of the shards of synthetic rules begin with."""

TRIES = 20
"""A held-out length is drawn at most this often for each of its samples in search of new inputs."""

_PROBES = 5  # samples of the longest length that are counted before anything is built
_COUNTED = 20  # samples of each length whose tokens go into the manifest's mean and maximum
_MARGIN = 16  # tokens; far more than a text gains where it meets the chat template
_REPORT_SECONDS = 5
_RULES = 250  # synthetic rules in a shard
_SAMPLES_OF_RULE = synthetic.LONGEST // 2  # one of every other length; its neighbours the rest


class _Split(NamedTuple):
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
        parts = -(-self.synthetic // (_RULES * _SAMPLES_OF_RULE))
        return [*self.task_ids, *(f"{SYNTHETIC}{part:03}" for part in range(parts))]


def _splits(run: Params) -> dict[str, _Split]:
    """The splits, those trained on before those held out."""
    corpus, evaluation = run.corpus, run.evaluation
    compared = _formats(method for _, method, _ in run.trainings)
    asked = ("direct",) if evaluation.api else ()  # an API model gets the bare question
    splits = {
        "pretrain": _Split(corpus.pretrain, corpus.pretrain, None, ("rfft",), "pretrain"),
        "validation": _Split(corpus.validation, corpus.pretrain, "pretrain", ("rfft",),
                             "validation"),
        "adaptation": _Split(corpus.adaptation, corpus.adaptation, None, compared, "adaptation"),
        "adaptation_validation": _Split(corpus.adaptation_validation, corpus.adaptation,
                                        "adaptation", compared, "adaptation_validation"),
        "evaluation": _Split(corpus.evaluation, corpus.adaptation, "adaptation",
                             tuple(dict.fromkeys(compared + asked)), "evaluation"),
    }
    if evaluation.in_context:
        splits["evaluation_1shot"] = _Split(corpus.evaluation, corpus.adaptation, "adaptation",
                                            ("rfft",), "evaluation", exemplar=True)
    if evaluation.counterfactual:
        splits["evaluation_counterfactual"] = _Split(
            corpus.evaluation, corpus.adaptation, "adaptation",
            _formats(evaluation.counterfactual), "evaluation", counterfactual=True)
    if corpus.in_context:
        splits["in_context"] = _Split(corpus.in_context, corpus.in_context, None, ("rfft",),
                                      "in_context", exemplar=True,
                                      synthetic=corpus.in_context.synthetic_samples)
    return splits


def _formats(methods: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(METHODS[method].format for method in methods))


def build(run: Params) -> Path:
    """Write the corpus of a run, in `run.corpus.workers` processes; returns its folder.

    A finished corpus is left as it is, an interrupted build goes on with the shards that lack.
    As the processes are spawned, a script that calls this needs the usual `__name__` guard.
    Raises ParamsError where a sample does not fit the model's context, the model is not there,
    or the folder cannot be written or holds another run.
    """
    folder = run.folder / "corpus"
    if _finished(run, folder):
        return folder
    check_context(run)
    open_folder(run)
    with alone(folder):
        if not _finished(run, folder):  # another process may have done it while this one waited
            _make(run, folder)
    return folder


def _make(run: Params, folder: Path) -> None:
    """Make what lacks of a corpus, in a folder that no other process works in."""
    for place in folder.glob("*/*"):
        remove_leftovers(place)
    lost = _lost(folder)
    for path in lost or ():
        print(f"{path} is missing or changed, so it is made again", flush=True)
        path.unlink(missing_ok=True)
    if lost != []:
        _write_shards(run)
        _write_manifest(run, folder)
    from metarfft_core.corpus import card  # it reads what is written here

    card.write(run)


def _finished(run: Params, folder: Path) -> bool:
    """Whether the corpus is there, every shard with its hash."""
    path = folder / "manifest.json"
    if not path.exists():
        return False
    if read_json(path)["params_digest"] != run.digest:
        raise ParamsError(f"{folder} was made with other parameters: give this run another name, "
                          f"or delete {run.folder}")
    return (folder / "README.md").exists() and _lost(folder) == []


def _lost(folder: Path) -> list[Path] | None:
    """The shards that are missing or changed, by the manifest; None without a manifest."""
    path = folder / "manifest.json"
    if not path.exists():
        return None
    return [folder / name for name, about in read_json(path)["shards"].items()
            if changed(folder / name, about["sha256"])]


def files(run: Params, split: str, format: str, task: str | None = None) -> list[Path]:
    """The Parquet files of a split in a format: of one task, or of all in the run's order.

    In the split `in_context` a part of the synthetic rules counts as a task.
    Raises ParamsError where the corpus is not built or holds no such split, format or task, or
    where a file is not the one that was built: a process reads each once to compare its hash.
    """
    folder = run.folder / "corpus"
    if not (folder / "manifest.json").exists():
        raise ParamsError(f"the corpus of run {run.name} is not built: there is no "
                          f"{folder / 'manifest.json'}")
    splits = _splits(run)
    _require("split", split, tuple(splits))
    _require("format", format, splits[split].formats)
    held = splits[split].shards
    if task is not None:
        task = tasks.id_of(task)
        _require("task", task, tuple(held))
    paths = [_shard(run, split, format, one) for one in held if task in (None, one)]
    shards = read_json(folder / "manifest.json")["shards"]
    for path in paths:
        if changed(path, shards[path.relative_to(folder).as_posix()]["sha256"]):
            raise ParamsError(f"{path} is not the file that was built: `metarfft build --params "
                              f"{run.folder / 'params.yaml'}` makes it again")
    return paths


def _require(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ParamsError(f"{key}: this corpus holds {', '.join(allowed)}; got {value!r}")


def read(run: Params, split: str, format: str, task: str | None = None):
    """The samples of a split in a format, as a `datasets.Dataset` in the order of `files`.

    Columns: task, length, index, stream, format, prompt, completion, inputs (the dict of inputs
    as a Python literal) and answer (the same). Raises ParamsError as `files` does.
    """
    # In a notebook without ipywidgets, tqdm warns that its bars are plain.
    warnings.filterwarnings("ignore", message="IProgress not found")
    from datasets import Dataset

    # Dataset.from_parquet would copy the files into a cache, and fails where none has a row.
    return Dataset(pa.concat_tables(pq.read_table(path, partitioning=None)
                                    for path in files(run, split, format, task)))


def _shard(run: Params, split: str, format: str, task: str) -> Path:
    return run.folder / "corpus" / split / format / f"{task}.parquet"


class _Meter:
    """Counts the tokens that samples take for the run's model."""

    def __init__(self, run: Params):
        self.count = token_counter(run.model.name)
        self.context = run.model.context
        self._around = self.count("", "") + _MARGIN

    def excess(self, prompt: str, completion: str) -> int | None:
        """The tokens of a sample that is longer than the context, None for one that fits."""
        if self._around + len((prompt + completion).encode()) <= self.context:
            return None  # a token is a byte or more
        tokens = self.count(prompt, completion)
        return tokens if tokens > self.context else None

    def refuse(self, split: str, task: Task, length: int, tokens: int) -> ParamsError:
        """The error for a sample that does not fit."""
        return ParamsError(f"corpus.{split}: task {task.id} at length {length} takes {tokens} "
                           f"tokens, model.context allows {self.context}")


def check_context(run: Params) -> None:
    """Refuse, before anything is built, a task whose longest samples exceed the model's context.

    Counts the first samples of the longest length of every task; the build counts them all.
    Where a section says `leave_out`, the build leaves such a length out instead.
    """
    meter = _Meter(run)
    for name, split in _splits(run).items():
        if split.tasks.leave_out:
            continue
        length = split.samples.lengths[-1]
        for task in map(tasks.get, split.task_ids):
            for index in range(min(_PROBES, split.samples.samples_per_length)):
                instance = task.sample(length=length, seed=run.seed, index=index,
                                       stream=split.stream)
                for format in split.formats:
                    tokens = meter.excess(*_render(run, split, task, instance, format))
                    if tokens:
                        raise meter.refuse(name, task, length, tokens)


def _write_shards(run: Params) -> None:
    """Write the shards that lack, a task at a time in each worker, and report the progress."""
    every = dict.fromkeys(_base(name) for split in _splits(run).values() for name in split.shards)
    progress = _Progress(run)
    workers = ProcessPoolExecutor(min(run.corpus.workers, len(every)), get_context("spawn"),
                                  initializer=_start_worker)
    try:
        for future in as_completed([workers.submit(_write_task, run, name) for name in every]):
            progress.add(*future.result())
    finally:
        workers.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """End this worker as soon as its parent is gone, however that ended."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers are the parallelism

    def follow() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class _Progress:
    """Says now and then how far the build is."""

    def __init__(self, run: Params):
        self.shards = sum(len(split.shards) * len(split.formats)
                          for split in _splits(run).values())
        self.found = self.written = self.samples = 0
        self.start = self.said = time.monotonic()

    def add(self, found: int, written: int, samples: int) -> None:
        """Count a finished task: shards that were there, shards written, samples in these."""
        self.found += found
        self.written += written
        self.samples += samples
        now = time.monotonic()
        left = self.shards - self.found - self.written
        if written and (not left or now - self.said >= _REPORT_SECONDS):
            self.said = now
            seconds = now - self.start
            print(f"corpus: {self.found + self.written} of {self.shards} shards, "
                  f"{self.samples:,} samples, {self.samples / seconds:,.0f} a second, "
                  f"{left * seconds / self.written:,.0f} s left", flush=True)


def _base(shard: str) -> str:
    """The shard that a worker writes together with this one: of a counterfactual, its task's."""
    task = tasks.find(shard)
    return task.base.id if task else shard


def _write_task(run: Params, base: str) -> tuple[int, int, int]:
    """Write what lacks of a task and its counterfactual, or of a part of the synthetic rules.

    Returns the shards found, the shards written and the samples in those.
    """
    found = written = samples = 0
    every = [(name, split, held) for name, split in _splits(run).items()
             for held in split.shards if _base(held) == base]
    for name, split, held in every:
        paths = {format: _shard(run, name, format, held) for format in split.formats}
        if all(map(_whole, paths.values())):
            found += len(paths)
            continue
        written += len(paths)
        if held in split.task_ids:
            samples += _write_split(run, name, tasks.get(held), paths)
        else:
            samples += _write_synthetic(run, int(held.removeprefix(SYNTHETIC)), paths["rfft"])
    return found, written, samples


def _whole(path: Path) -> bool:
    """Whether a shard is there to its end, where its statistics stand."""
    try:
        return b"metarfft" in (pq.read_metadata(path).metadata or {})
    except (OSError, pa.ArrowInvalid):
        return False


def _write_split(run: Params, name: str, task: Task, paths: dict[str, Path]) -> int:
    """Write the shards of a task in a split, one for each format; returns the samples written.

    A length that does not fit is left out of every format, so that the formats can be compared.
    """
    split = _splits(run)[name]
    meter = _Meter(run)
    trained = _trained_inputs(run, split, task)
    counts, left_out, samples = {}, {}, 0
    with ExitStack() as stack:
        writers = {format: stack.enter_context(_open_shard(path, meter))
                   for format, path in paths.items()}
        for length in split.samples.lengths:
            if length not in task.lengths:
                left_out[length] = "the task cannot draw it"
                continue
            instances, skipped = _draw(run, name, task, length, trained)
            rows = {format: [_row(run, split, task, one, format) for one in instances]
                    for format in paths}
            excess = _first_excess(meter, rows)
            if excess and not split.tasks.leave_out:
                raise meter.refuse(name, task, length, excess)
            if excess:
                left_out[length] = f"a sample takes {excess} tokens"
                continue
            counts[length] = _count(rows[split.formats[0]], trained, skipped)
            for format, writer in writers.items():
                writer.write(rows[format])
                samples += len(instances)
        for writer in writers.values():
            writer.finish({"lengths": counts, "left_out": left_out})
    return samples


def _write_synthetic(run: Params, part: int, path: Path) -> int:
    """Write a shard of synthetic rules; returns the samples written.

    A sample that does not fit the context is left out, and counted.
    """
    meter, split = _Meter(run), _splits(run)["in_context"]
    first, wanted = part * _RULES, run.corpus.in_context.synthetic_samples
    rows = {length: [] for length in range(1, synthetic.LONGEST + 1)}
    for number in range(first, min(first + _RULES, -(-wanted // _SAMPLES_OF_RULE))):
        rule = synthetic.rule(run.seed, number)
        lengths = rule.lengths[number % 2::2][:wanted - number * _SAMPLES_OF_RULE]
        for length in lengths:
            instance = rule.sample(length=length, seed=run.seed, index=0, stream="in_context")
            rows[length].append(_row(run, split, rule, instance, "rfft"))
    counts, left_out, samples = {}, {}, 0
    with _open_shard(path, meter) as writer:
        for length, drawn in rows.items():
            kept = [row for row in drawn if not meter.excess(row["prompt"], row["completion"])]
            if len(kept) < len(drawn):
                left_out[length] = (f"{len(drawn) - len(kept)} of {len(drawn)} samples take more "
                                    f"than {meter.context} tokens")
            counts[length] = _count(kept, set(), 0)
            writer.write(kept)
            samples += len(kept)
        writer.finish({"lengths": counts, "left_out": left_out})
    return samples


def _trained_inputs(run: Params, split: _Split, task: Task) -> set[str]:
    """The inputs, as text, that the shard of the split's training data holds (any length)."""
    if split.trained is None:
        return set()
    format = _splits(run)[split.trained].formats[0]
    path = _shard(run, split.trained, format, task.base.id)
    return set(pq.read_table(path, columns=["inputs"], partitioning=None)["inputs"].to_pylist())


def _draw(run: Params, name: str, task: Task, length: int,
          trained: set[str]) -> tuple[list[Instance], int]:
    """The instances of one length by ascending index, and how many draws were skipped for them.

    Training data is taken as drawn. A held-out split skips inputs that are in the training data
    or occurred before; where TRIES do not yield enough, the first of those skipped fill it up.
    """
    split = _splits(run)[name]
    wanted = split.samples.samples_per_length
    draw = partial(task.sample, length=length, seed=run.seed, stream=split.stream)
    if split.trained is None:
        return [draw(index=index) for index in range(wanted)], 0
    taken, skipped, seen = [], [], set(trained)
    for index in range(TRIES * wanted):
        instance = draw(index=index)
        inputs = repr(instance.inputs)
        (skipped if inputs in seen else taken).append(instance)
        seen.add(inputs)
        if len(taken) == wanted:
            return taken, index + 1 - wanted
    taken += skipped[:wanted - len(taken)]
    return sorted(taken, key=lambda one: one.index), (TRIES - 1) * wanted


def _render(run: Params, split: _Split, task: Task, instance: Instance,
            format: str) -> formats.Example:
    """A sample in the run's wording, with an exemplar where its split has them."""
    if not split.exemplar:
        return formats.render(task, instance, format, run.corpus.wording)
    try:
        return formats.render_in_context(task, instance, format, run.seed, run.corpus.wording)
    except ValueError as error:
        raise ParamsError(f"corpus.{split.stream}: {error}") from None


def _row(run: Params, split: _Split, task: Task, instance: Instance, format: str) -> dict:
    example = _render(run, split, task, instance, format)
    return {"task": task.id, "length": instance.length, "index": instance.index,
            "stream": instance.stream, "format": format, "prompt": example.prompt,
            "completion": example.completion, "inputs": repr(instance.inputs),
            "answer": repr(instance.answer)}


def _first_excess(meter: _Meter, rows: dict[str, list[dict]]) -> int | None:
    """The tokens of the first sample that exceeds the context."""
    excesses = (meter.excess(row["prompt"], row["completion"])
                for format in rows for row in rows[format])
    return next(filter(None, excesses), None)


def _count(rows: list[dict], trained: set[str], skipped: int) -> dict[str, int]:
    inputs = [row["inputs"] for row in rows]
    return {"samples": len(rows), "distinct": len(set(inputs)),
            "overlap": sum(one in trained for one in inputs), "skipped": skipped}


@contextmanager
def _open_shard(path: Path, meter: _Meter) -> Iterator["_ShardWriter"]:
    """A writer of the shard `path`, which appears when the block ends well."""
    with whole(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as file:
        yield _ShardWriter(file, meter)


class _ShardWriter:
    """Writes one shard, a length at a time, and the shard's statistics into its metadata."""

    def __init__(self, file: pq.ParquetWriter, meter: _Meter):
        self.file = file
        self.meter = meter
        self.characters, self.tokens = [], []

    def write(self, rows: list[dict]) -> None:
        """Write the samples of one length."""
        self.file.write_table(pa.Table.from_pylist(rows, SCHEMA))
        self.characters += [len(row["prompt"]) + len(row["completion"]) for row in rows]
        self.tokens += [self.meter.count(row["prompt"], row["completion"])
                        for row in rows[:_COUNTED]]

    def finish(self, counts: dict) -> None:
        """Add statistics and `counts` to the shard's metadata, for the manifest."""
        statistics = {"rows": len(self.characters), "characters": _summary(self.characters),
                      "tokens": _summary(self.tokens) | {"rows": len(self.tokens)}} | counts
        self.file.add_key_value_metadata({"metarfft": json.dumps(statistics)})


def _summary(values: list[int]) -> dict[str, float]:
    return {"mean": round(sum(values) / max(len(values), 1), 1), "maximum": max(values, default=0)}


def _write_manifest(run: Params, folder: Path) -> None:
    """Gather the statistics of all shards; refuse a split of which nothing is left."""
    splits = _splits(run)
    rows, counts, left_out, shards = dict.fromkeys(splits, 0), {}, {}, {}
    for name, split in splits.items():
        counts[name] = {}
        for format in split.formats:
            for task in split.shards:
                path = _shard(run, name, format, task)
                found = json.loads(pq.read_metadata(path).metadata[b"metarfft"])
                counts[name][task] = found.pop("lengths")
                left_out |= {f"{name}/{task}/{length}": reason
                             for length, reason in found.pop("left_out").items()}
                rows[name] += found["rows"]
                shards[str(path.relative_to(folder))] = found | {"sha256": sha256(path)}
        if not rows[name]:
            raise ParamsError(f"corpus.{name}: every length of every task was left out")
    write_json(folder / "manifest.json", provenance(run) | {
        "rows": rows, "left_out": left_out, "counts": counts, "shards": shards})
    if left_out:
        print(f"corpus: {len(left_out)} lengths of tasks are left out, or some of their samples; "
              "the manifest names them")


def provenance(run: Params) -> dict:
    """What the manifest says of its making: parameters, versions and the git commit, if any."""
    return {
        "params_digest": run.digest,
        "params": run.model_dump(),
        "versions": {"metarfft": __version__, "python": python_version(),
                     **{name: version(name) for name in ("datasets", "pyarrow")}},
        "git_commit": commit.of(run),
    }
