"""Builds the data of a run: seeded samples in Parquet files (the paper's Section 3, Appendix A).

    corpus/<split>/<format>/<task>.parquet        sorted by length and index
    corpus/in_context/rfft/synthetic-*.parquet    sorted by length and number of the rule
    corpus/manifest.json, README.md               written last; without them a corpus is unfinished

The optional split `in_context` puts an exemplar before each question and adds synthetic rules. If a
run evaluates them, two more held-out splits hold the evaluation's instances with an exemplar
(`evaluation_1shot`) and instances of the tasks' counterfactual rules (`evaluation_counterfactual`).

A sample depends only on its seed, split, task, length and index, so the files have the same bytes
for any number of workers. If a task has enough instances, the held-out splits contain no inputs
that a model was trained on; the overlaps that remain are counted. No sample takes more tokens than
the model's context.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from metarfft_core import tasks
from metarfft_core.corpus import card
from metarfft_core.corpus.manifest import lost_files, summary, write_manifest
from metarfft_core.corpus.meter import Meter, check_context, render
from metarfft_core.corpus.splits import (
    RULES_IN_SHARD,
    SAMPLES_OF_RULE,
    SCHEMA,
    SYNTHETIC,
    Split,
    all_splits,
    builder_digest,
    home,
    shard_path,
)
from metarfft_core.params import Params, ParamsError, is_archive, open_folder
from metarfft_core.system import progress
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

TRIES = 20
"""The most draws per held-out sample in the search for new inputs."""

_COUNTED = 20  # samples of each length that the manifest's mean and maximum of tokens are from
_REPORT_SECONDS = 5
def build(config: Params) -> Path:
    """Write the corpus of a run, in `config.corpus.workers` processes.

    A finished corpus stays as it is; an interrupted build resumes with the missing shards. For an
    archive (see `params.is_archive`), which has the manifest alone, nothing is made. Several
    processes are spawned, so a script that calls this needs the usual `__name__` guard.

    Returns:
        The folder of the corpus.

    Raises:
        ParamsError: A sample does not fit the model's context, the model does not exist, or the
            folder cannot be written or holds another run.
    """
    folder = home(config) / "corpus"
    if _finished(config, folder):
        return folder
    if config.kept:
        raise ParamsError(f"{folder} is missing or incomplete: build run {config.kept.run}, whose "
                          "corpus this run reads")
    check_context(config)
    open_folder(config)
    with progress.work("corpus", config.folder / "logs" / "corpus.log"), alone(folder):
        if not _finished(config, folder):  # another process may have made it while this one waited
            _make(config, folder)
    return folder


def _make(config: Params, folder: Path) -> None:
    """Make the missing files of a corpus, in a folder that no other process works in."""
    for place in folder.glob("*/*"):
        remove_leftovers(place)
    lost = lost_files(folder)
    for path in lost or ():
        progress.report(f"{path} is missing or changed, so it is made again")
        path.unlink(missing_ok=True)
    if lost != []:
        if lost is not None:
            for path in set(folder.glob("*/*/*.parquet")) - set(lost):
                _write_record(config, path)
        _write_shards(config)
        write_manifest(config, folder)
        for path in folder.glob("*/*/.*.parquet.json"):
            path.unlink()
    card.write(config)


def _finished(config: Params, folder: Path) -> bool:
    """Whether the corpus is complete and every shard has its recorded hash."""
    path = folder / "manifest.json"
    if not path.exists():
        return False
    if read_json(path)["params_digest"] != builder_digest(config):
        raise ParamsError(f"{folder} was made with other parameters: give this run another name, "
                          f"or delete {folder.parent}")
    if is_archive(folder.parent):
        return True
    return (folder / "README.md").exists() and lost_files(folder) == []


def _write_shards(config: Params) -> None:
    """Write the missing shards and report progress; each worker does one task at a time.

    A single worker is this process.
    """
    every = dict.fromkeys(_base(name) for split in all_splits(config).values()
                          for name in split.shards)
    progress = _Progress(config)
    count = min(config.corpus.workers, len(every))
    if count == 1:  # another process would import everything again and save nothing
        for name in every:
            progress.add(*_write_task(config, name))
        return
    workers = ProcessPoolExecutor(count, get_context("spawn"), initializer=_start_worker)
    try:
        for future in as_completed([workers.submit(_write_task, config, name) for name in every]):
            progress.add(*future.result())
    finally:
        workers.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Make this worker end as soon as its parent ends, for whatever reason.

    An interrupt reaches the whole process group; it ends the worker at once, without a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers already run in parallel

    def follow() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class _Progress:
    """Reports from time to time how far the build is."""

    def __init__(self, config: Params):
        self.shards = sum(len(split.shards) * len(split.formats)
                          for split in all_splits(config).values())
        self.found = self.written = self.samples = 0
        self.start = self.said = time.monotonic()

    def add(self, found: int, written: int, samples: int) -> None:
        """Count a finished task.

        Args:
            found: The number of shards that existed before.
            written: The number of shards written.
            samples: The number of samples in the shards written.
        """
        self.found += found
        self.written += written
        self.samples += samples
        now = time.monotonic()
        left = self.shards - self.found - self.written
        if written and (not left or now - self.said >= _REPORT_SECONDS):
            self.said = now
            seconds = now - self.start
            progress.report(
                f"corpus: {self.found + self.written} of {self.shards} shards, "
                f"{self.samples:,} samples, {self.samples / seconds:,.0f} a second, "
                f"{left * seconds / self.written:,.0f} s left", "corpus")


def _base(shard: str) -> str:
    """The shard whose worker also writes this one; a counterfactual goes with its task."""
    task = tasks.find(shard)
    return task.base.id if task else shard


def _write_task(config: Params, base: str) -> tuple[int, int, int]:
    """Write the missing shards of a task and its counterfactual, or of a part of synthetic rules.

    Returns:
        The numbers of shards found, of shards written, and of samples in the shards written.
    """
    existing = written = samples = 0
    every = [(name, split, held) for name, split in all_splits(config).items()
             for held in split.shards if _base(held) == base]
    for name, split, held in every:
        paths = {format: shard_path(config, name, format, held) for format in split.formats}
        if all(_whole(config, path) for path in paths.values()):
            existing += len(paths)
            continue
        written += len(paths)
        if held in split.task_ids:
            samples += _write_split(config, name, tasks.get(held), paths)
        else:
            samples += _write_synthetic(config, int(held.removeprefix(SYNTHETIC)), paths["rfft"])
        for path in paths.values():
            _write_record(config, path)
    return existing, written, samples


def record(path: Path) -> Path:
    """The file that says, until there is a manifest, which run made a shard and with which hash."""
    return path.with_name(f".{path.name}.json")


def _write_record(config: Params, path: Path) -> None:
    write_json(record(path), {"params_digest": config.digest, "sha256": sha256(path)})


def _whole(config: Params, path: Path) -> bool:
    """Whether a shard is one that this run wrote to its end, as its record says."""
    if not record(path).exists():
        return False
    about = read_json(record(path))
    return about["params_digest"] == config.digest and not changed(path, about["sha256"])


def _write_split(config: Params, name: str, task: Task, paths: dict[str, Path]) -> int:
    """Write the shards of a task in a split, one per format; returns the number of samples written.

    A length that does not fit is left out of every format, so that the formats can be compared.
    """
    split = all_splits(config)[name]
    meter = Meter(config)
    trained = _trained_inputs(config, split, task)
    counts, left_out, samples = {}, {}, 0
    with ExitStack() as stack:
        writers = {format: stack.enter_context(_open_shard(path, meter))
                   for format, path in paths.items()}
        for length in split.samples.lengths:
            if length not in task.lengths:
                left_out[length] = "the task cannot draw it"
                continue
            instances, skipped = _draw(config, name, task, length, trained)
            rows = {format: [_row(config, split, task, instance, format) for instance in instances]
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


def _write_synthetic(config: Params, part: int, path: Path) -> int:
    """Write a shard of synthetic rules; returns the number of samples written.

    A sample that does not fit the context is left out and counted.
    """
    meter, split = Meter(config), all_splits(config)["in_context"]
    first, wanted = part * RULES_IN_SHARD, config.corpus.in_context.synthetic_samples
    rows = {length: [] for length in range(1, synthetic.LONGEST + 1)}
    for number in range(first, min(first + RULES_IN_SHARD, -(-wanted // SAMPLES_OF_RULE))):
        rule = synthetic.rule(config.seed, number)
        lengths = rule.lengths[number % 2::2][:wanted - number * SAMPLES_OF_RULE]
        for length in lengths:
            instance = rule.sample(length=length, seed=config.seed, index=0, stream="in_context")
            rows[length].append(_row(config, split, rule, instance, "rfft"))
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


def _trained_inputs(config: Params, split: Split, task: Task) -> set[str]:
    """The inputs, as text and of any length, in the training data that the split must avoid."""
    if split.trained is None:
        return set()
    format = all_splits(config)[split.trained].formats[0]
    path = shard_path(config, split.trained, format, task.base.id)
    return set(pq.read_table(path, columns=["inputs"], partitioning=None)["inputs"].to_pylist())


def _draw(config: Params, name: str, task: Task, length: int,
          trained: set[str]) -> tuple[list[Instance], int]:
    """Draw the instances of one length.

    Training data is taken as drawn. A held-out split skips inputs that are in the training data or
    were drawn before. If TRIES draws per sample are not enough, the first skipped instances fill
    the rest.

    Returns:
        The instances, sorted by index, and the number of draws that were skipped.
    """
    split = all_splits(config)[name]
    wanted = split.samples.samples_per_length
    draw = partial(task.sample, length=length, seed=config.seed, stream=split.stream)
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


def _row(config: Params, split: Split, task: Task, instance: Instance, format: str) -> dict:
    example = render(config, split, task, instance, format)
    return {"task": task.id, "length": instance.length, "index": instance.index,
            "stream": instance.stream, "format": format, "prompt": example.prompt,
            "completion": example.completion, "inputs": repr(instance.inputs),
            "answer": repr(instance.answer)}


def _first_excess(meter: Meter, rows: dict[str, list[dict]]) -> int | None:
    """The number of tokens of the first sample that exceeds the context; None if all fit."""
    excesses = (meter.excess(row["prompt"], row["completion"])
                for format in rows for row in rows[format])
    return next(filter(None, excesses), None)


def _count(rows: list[dict], trained: set[str], skipped: int) -> dict[str, int]:
    inputs = [row["inputs"] for row in rows]
    return {"samples": len(rows), "distinct": len(set(inputs)),
            "overlap": sum(drawn in trained for drawn in inputs), "skipped": skipped}


@contextmanager
def _open_shard(path: Path, meter: Meter) -> Iterator["_ShardWriter"]:
    """Yield a writer of the shard `path`; the file appears if the block succeeds."""
    with whole(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as file:
        yield _ShardWriter(file, meter)


class _ShardWriter:
    """Writes one shard, one length at a time, with the shard's statistics in its metadata."""

    def __init__(self, file: pq.ParquetWriter, meter: Meter):
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
        statistics = {"rows": len(self.characters), "characters": summary(self.characters),
                      "tokens": summary(self.tokens) | {"rows": len(self.tokens)}} | counts
        self.file.add_key_value_metadata({"metarfft": json.dumps(statistics)})
