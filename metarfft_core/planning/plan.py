"""Plans what a run takes before it starts: tokens, steps, operations, memory, disk, hours.

This needs no GPU, no weights and no network. Tokens are counted on a few samples (`counting`);
memory follows from the model's shape (`memory`); starts, merges and checkpoints from bytes
(`overheads`). `assumptions` has what is assumed about a machine. The paper's own hours (its
Table 8) are listed beside ours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from metarfft_core import models, params, training
from metarfft_core.models import memory
from metarfft_core.models.operations import Operations
from metarfft_core.params import METHODS, Params, ParamsError
from metarfft_core.planning import (
    assumptions,
    counting,
    overheads,
    recomputation,
    reinforcement,
    stages,
)
from metarfft_core.planning.counting import Counter, Pool, Sample, Validation
from metarfft_core.system import yaml_files
from metarfft_core.training import batches

if TYPE_CHECKING:
    import pandas as pd

SAMPLES = 2
"""How many samples of each task and length are counted."""
PROCESSES = (1, 2, 4, 8, 16, 32)
"""The numbers of GPUs that are tried if none is given, and to find what would fit."""

_PAPER = Path(__file__).parent.parent / "data" / "paper_training.yaml"
_GIB, _GB = 2**30, 1e9


@dataclass(frozen=True)
class Plan:
    """The costs of a run and the problems; `stages` has the columns of `stages.COLUMNS`."""

    config: Params
    shape: memory.Shape
    counted: bool  # whether the model's own tokenizer counted the tokens
    gpu_memory_gib: float
    peak_tflops: float
    starts: float  # GB on disk of the PiSSA starts that the trainings share
    stages: "pd.DataFrame"
    problems: tuple[str, ...]
    kept: tuple["Plan", ...] = ()  # the runs of the kept steps (see `params.kept_runs`)

    @property
    def whole(self) -> "pd.DataFrame":
        """`stages`, followed by those of the runs of kept steps."""
        import pandas as pd

        return pd.concat([self.stages, *(one.stages for one in self.kept)], ignore_index=True)


@dataclass(frozen=True)
class _Machine:
    processes: int | None
    gpu_memory_gib: float
    utilisation: float
    peak_tflops: float

    @property
    def usable(self) -> float:
        """The bytes of a GPU's memory that a training may take."""
        return memory.USABLE * self.gpu_memory_gib * _GIB

    def hours(self, flops: float, utilisation: float) -> float:
        """Return GPU hours: operations / (utilisation x peak operations per second) / 3600."""
        return flops / (utilisation * self.peak_tflops * 1e12) / 3600


def plan(config: Params, processes: int | None = None, gpu_memory_gib: float = 80.0,
         utilisation: float = assumptions.TRAINING, peak_tflops: float = assumptions.PEAK_TFLOPS,
         samples: int = SAMPLES, counted: dict[tuple, list[Sample]] | None = None,
         estimate: bool = False) -> Plan:
    """Plan what every training and the evaluation of a run take, also for its kept steps.

    Args:
        config: The resolved parameters of the run.
        processes: The GPUs of RF-pretraining. By default, the paper's number for this model, or the
            fewest of `PROCESSES` that fit. An adaptation takes the fewest that fit.
        gpu_memory_gib: The memory of one GPU in GiB.
        utilisation: The share of the peak that training reaches, recomputed operations included.
        peak_tflops: The bfloat16 peak of one GPU in TFLOP/s.
        samples: How many samples of each task and length to count.
        counted: The samples that earlier plans have counted; this plan uses them and adds its own.
        estimate: Whether to leave the folder of the model's tokenizer aside, so that the plan is
            the same on every machine. Tokens that cannot be counted without it are estimated.

    Raises:
        ParamsError: If the model's shape is unknown, if the machine is impossible, or if the run
            itself would be refused.
    """
    _check(processes, gpu_memory_gib)
    counted = {} if counted is None else counted
    kept = tuple(plan(one, processes, gpu_memory_gib, utilisation, peak_tflops, samples, counted,
                      estimate) for one in params.kept_runs(config))
    folder, shape = _model(config.model.name)
    folder = None if estimate else folder
    counter = Counter(config, samples, folder, counted)
    machine = _Machine(processes, gpu_memory_gib, utilisation, peak_tflops)
    jobs = training.jobs(config)
    made = [_training(job, shape, counter, machine, start)
            for job, start in zip(jobs, overheads.starts(jobs, shape), strict=True)]
    made += reinforcement.rows(config, counter, shape, machine, _operations)
    made += [_evaluation(config, method, asked, shape, counter, machine)
             for method, asked in _by_method(config).items()]
    starts = {_start(job) for job in jobs} - {None}
    disk = sum(2 * shape.parameters + 4 * shape.adapter(rank) for _, rank in starts) / _GB
    worst = {}  # the worst problem of each method's trainings
    for row, problem in sorted(made, key=lambda planned: planned[0]["total"]):
        if problem:
            worst[row["stage"], row["method"]] = problem
    return Plan(config, shape, counter.exact, gpu_memory_gib, peak_tflops, disk,
                stages.frame([row for row, _ in made]), tuple(dict.fromkeys(
                    [*worst.values(), *(problem for one in kept for problem in one.problems)])),
                kept)


def _check(processes: int | None, gpu_memory_gib: float) -> None:
    if processes is not None and processes < 1:
        raise ParamsError(f"processes: expected a number of GPUs from 1, got {processes}")
    if not 0 < gpu_memory_gib < math.inf:
        raise ParamsError("gpu_memory: expected the GiB of a GPU, a finite number above 0, got "
                          f"{gpu_memory_gib}")


def _model(name: str) -> tuple[str | None, memory.Shape]:
    """Return the folder of a model's configuration and tokenizer, and its shape.

    The folder is None if it is not available.
    """
    try:
        folder = models.resolve(name, weights=False)
    except ParamsError as error:
        if name not in memory.KNOWN:
            raise ParamsError(f"{error}; without its config.json a plan can only be made for "
                              f"{', '.join(memory.KNOWN)}") from None
        return None, memory.KNOWN[name]
    return folder, memory.shape(folder)


def _start(job: training.Job) -> tuple[bool, int] | None:
    """Return what a PiSSA start is shared by: whether after RF-pretraining, and the rank."""
    return (job.after_pretraining, job.settings.rank) if job.settings.method == "pissa" else None


def _operations(shape: memory.Shape, settings=None) -> Operations:
    """Return the sizes that operations follow from; without settings nothing is trained."""
    layers = shape.parameters - shape.embedding * (1 if shape.tied else 2)
    width = shape.layers * shape.queries
    if settings is None:
        return Operations(0, layers, shape.embedding, False, width)
    if settings.method == "full":
        return Operations(layers, 0, shape.embedding, True, width)
    return Operations(shape.adapter(settings.rank), layers, shape.embedding, False, width)


def _training(job: training.Job, shape: memory.Shape, counter: Counter, machine: _Machine,
              start: float) -> tuple[dict, str | None]:
    """Return the row of a training, and the reason why it cannot run as it is, or None.

    Where activations are recomputed, the layers' forward pass counts twice. One GPU works on a
    PiSSA start, for `start` seconds, before the training's processes begin.
    """
    settings = job.settings
    pools, held = counting.trained_on(job, counter)
    held_out = counting.validated_on(job, counter)
    peak = partial(_peak, shape=shape, fullest=cache(partial(counting.fullest, pools)),
                   held_out=held_out, usable=machine.usable)
    processes = _processes(job, machine, peak)
    made = peak(job, processes)
    load, parts = made.load, made.parts
    steps = _steps(job, pools, held, counter)
    samples, validations = steps * settings.batch_size, 1 + steps // settings.evaluate_every
    tokens, scored, squares = (samples * counting.mean(pools, value) for value in (
        lambda sample: sample.tokens, lambda sample: sample.completion,
        lambda sample: sample.tokens**2))
    operations = _operations(shape, settings)
    flops = {"flops": operations.training(tokens, scored, squares),
             "recomputed_flops": load.recompute * operations.recomputed(tokens, squares),
             "validation_flops": validations * operations.forward(
                 held_out.tokens, held_out.scored, held_out.squares)}
    waiting = overheads.trained(job, shape, steps, processes, load.shards)
    low, high = _paper_hours(job)
    longest = max(max(pool.samples) for pool in pools).tokens
    row = {
        "stage": job.stage, "method": job.method, "task": job.task, "seed": job.seed,
        "processes": processes, "steps": steps, "samples": samples, "tokens": round(tokens),
        "trained_tokens": round(scored), "validation_tokens": held_out.tokens * validations,
        **flops, "attention_flops": operations.training(0, 0, squares),
        **_hours(machine.hours(sum(flops.values()), machine.utilisation), waiting, processes,
                 start),
        "utilisation": machine.utilisation, "paper_low": low, "paper_high": high,
        **recomputation.columns(load, settings, processes, machine.usable, longest),
        "micro_batch_size": settings.micro_batch_size, "micro_batch": load.tokens,
        "longest": longest,
        **{name: value / _GIB for name, value in vars(parts).items()},
        "total": parts.total / _GIB, "validation": made.validation / _GIB,
        "fits": made.most <= machine.usable,
        **overheads.of_training(job, shape, processes, load.shards > 1)}
    return row, _problem(job, row, machine, peak)


def _hours(compute: float, waiting: float, processes: int, alone: float = 0.0) -> dict[str, float]:
    """Return the columns of time: `compute` in GPU hours; in seconds, `waiting` of all processes
    and the time that one GPU works alone before them."""
    together, before = compute + waiting * processes / 3600, alone / 3600
    return {"compute_hours": compute, "waiting_hours": together - compute + before,
            "gpu_hours": together + before, "hours": together / processes + before}


def _steps(job: training.Job, pools: list[Pool], held: int, counter: Counter) -> int:
    """Return the optimizer steps, as `batches` counts them.

    They are at most the steps of the file and those that `held` samples fill, or as many as train
    on the tokens of the rule-following samples of these steps.
    """
    settings = job.settings
    steps = batches.count_steps(settings, held, job.name, 1 - pools[0].share)
    if job.stage == "pretrain" or settings.equal == "samples":
        return steps
    ruled = counter.of_tasks([job.task], job.config.corpus.adaptation.lengths, "adaptation", "rfft")
    wanted = sum(sample.completion for sample in ruled) / len(ruled)
    return math.ceil(steps * wanted / counting.mean(pools, lambda sample: sample.completion))


@dataclass(frozen=True)
class _Peak:
    """The most that a training puts on one GPU; memory is in bytes."""

    load: memory.Load
    parts: memory.Memory
    validation: float  # memory during a validation

    @property
    def most(self) -> float:
        return max(self.parts.total, self.validation)


def _peak(job: training.Job, processes: int, shape: memory.Shape,
          fullest: Callable[[int, int], Sample], held_out: Validation, usable: float) -> _Peak:
    """Return what a training puts on a GPU.

    `fullest` returns the fullest micro batch for a batch size and a micro batch size.

    Full fine-tuning on several GPUs is sharded over those of a node (FSDP). So is PiSSA if its
    frozen weights would take more than half of a GPU. Otherwise each GPU has the whole model.
    """
    settings = job.settings
    most = fullest(settings.batch_size, settings.micro_batch_size)
    sharded = settings.method == "full" or 2 * shape.parameters > usable / 2
    shards = min(processes, memory.NODE) if sharded else 1
    load = recomputation.decided(memory.Load(shape, settings.rank, *most, shards=shards), usable)
    parts = memory.training(load)
    seen = replace(load, tokens=round(settings.micro_batch_size * held_out.mean_tokens),
                   completion_tokens=round(settings.micro_batch_size * held_out.mean_completion))
    return _Peak(load, parts, parts.weights + parts.optimizer + memory.validation(seen))


def _divides(settings, processes: int) -> bool:
    return settings.batch_size % (settings.micro_batch_size * processes) == 0


def _fits(peak: Callable, job: training.Job, processes: int, machine: _Machine) -> bool:
    if not _divides(job.settings, processes):
        return False
    return peak(job, processes).most <= machine.usable


def _processes(job: training.Job, machine: _Machine, peak: Callable) -> int:
    """Return the GPUs of a training: the given number, the paper's, or the fewest that fit."""
    if job.stage == "pretrain":
        size = _paper()["models"].get(job.config.model.name)
        known = machine.processes or (size and _paper()["pretraining"][size]["gpus"])
        if known:
            return known
    return next((count for count in PROCESSES if _fits(peak, job, count, machine)), 1)


@cache
def _paper() -> dict:
    return yaml_files.read(_PAPER)


def _paper_hours(job: training.Job) -> tuple[float, float]:
    """Return the least and the most GPU hours that the paper states; NaN if it states none."""
    size = _paper()["models"].get(job.config.model.name)
    if size is None:
        return math.nan, math.nan
    hours = _paper()["pretraining" if job.stage == "pretrain" else "adaptation"][size]["gpu_hours"]
    return tuple(hours) if isinstance(hours, list) else (hours, hours)


def _problem(job: training.Job, row: dict, machine: _Machine, peak: Callable) -> str | None:
    """Return why a training would be refused or run out of memory, and what would work."""
    settings, processes = job.settings, row["processes"]
    name = f"adaptation, {job.method}, {job.task}" if job.task else "RF-pretraining"
    try:
        batches.accumulation_steps(settings, processes)
    except ParamsError as error:
        return f"{name}: {error}"
    if row["fits"]:
        return None
    fits = partial(_fits, peak, machine=machine)
    works = [f"{count} processes" for count in PROCESSES
             if count > processes and fits(job, count)][:1]
    works += [f"micro_batch_size {size}" for size in range(settings.micro_batch_size - 1, 0, -1)
              if fits(_changed(job, micro_batch_size=size), processes)][:1]
    if settings.method == "full" and fits(_changed(job, method="pissa", rank=32), processes):
        works.append("method pissa of rank 32")
    return (f"{name} does not fit: training takes {row['total']:.1f} GiB of a GPU and validation "
            f"{row['validation']:.1f}, and {memory.USABLE:.0%} of {machine.gpu_memory_gib:g} "
            "can be used; "
            + (f"it would fit with {' or with '.join(works)}" if works else
               "it needs larger GPUs, or several of these changes: more processes, a smaller "
               "micro_batch_size, method pissa"))


def _changed(job: training.Job, **changes) -> training.Job:
    """Return the same training with other settings."""
    section = "pretraining" if job.stage == "pretrain" else "adaptation"
    settings = job.settings.model_copy(update=changes)
    return replace(job, config=job.config.model_copy(update={section: settings}))


def _by_method(config: Params) -> dict[str, list[str]]:
    """Return the tasks that each of our methods is evaluated on, one for each evaluated cell."""
    by_method: dict[str, list[str]] = {}
    for cell in config.cells:
        if cell.method in METHODS:  # an API model computes elsewhere
            by_method.setdefault(cell.method, []).append(cell.task)
    return by_method


def _evaluation(config: Params, method: str, asked: list[str], shape: memory.Shape,
                counter: Counter, machine: _Machine) -> tuple[dict, str | None]:
    """Return the row of a method's evaluation, over all tasks and seeds, and why it cannot run.

    The gold completions represent what is written. Memory is the weights and one sequence, because
    the engine runs as many sequences at once as fit.
    """
    held, size, about = config.corpus.evaluation, config.evaluation.tensor_parallel, METHODS[method]
    pool = counter.of_tasks(asked, held.lengths, "evaluation", about.format, about.in_context)
    each = held.samples_per_length / counter.each("evaluation")
    tokens, scored, squares = (each * sum(map(value, pool)) for value in (
        lambda sample: sample.tokens, lambda sample: sample.completion,
        lambda sample: sample.tokens**2))
    longest = max(pool, default=Sample(0, 0)).tokens
    weights, cached = 2 * shape.parameters / size, longest * memory.cache(shape) / size
    operations = _operations(shape)
    flops = operations.forward(tokens, scored, squares)
    row = {
        "stage": "evaluation", "method": method, "processes": size,
        "samples": round(each * len(pool)), "tokens": round(tokens),
        "trained_tokens": round(scored), "flops": flops, "recomputed_flops": 0.0,
        "attention_flops": operations.forward(0, 0, squares),
        **_hours(machine.hours(flops, assumptions.GENERATION),
                 overheads.engines(config, shape, method), size),
        "utilisation": assumptions.GENERATION,
        "longest": longest, "weights": weights / _GIB, "activations": cached / _GIB,
        "total": (weights + cached) / _GIB, "fits": weights + cached <= machine.usable,
        **overheads.of_evaluation(config, shape, method)}
    if row["fits"]:
        return row, None
    return row, (f"evaluation, {method}, does not fit: the weights and one sequence take "
                 f"{row['total']:.1f} GiB of a GPU: raise evaluation.tensor_parallel, now {size}")
