"""Starts trainings as processes of their own, under accelerate."""

import sys
from pathlib import Path

from metarfft_core import models, params
from metarfft_core.params import Params, ParamsError
from metarfft_core.system import places, processes, yaml_files
from metarfft_core.training.job import (
    Job,
    finished,
    jobs,
    lost,
)


def launch(config: Params, stage: str, task: str | None = None, method: str | None = None,
           seed: int | None = None) -> Path:
    """Run one training under `accelerate launch`, printing what it prints; see `launch_all`.

    Returns the stage's folder, at once where the training is finished. Raises ParamsError for a
    user's error, RuntimeError with the last lines where the training fails.
    """
    job = Job(config, stage, task, method, seed)
    _launch([job])
    return job.folder


def launch_variable(stage: str) -> str:
    """The environment variable that names a configuration of accelerate's for a stage."""
    return f"METARFFT_{stage.upper()}_ON"


def launch_all(config: Params) -> None:
    """Run every training of a run: RF-pretraining, then the adaptations.

    On GPUs, RF-pretraining takes all of them and an adaptation takes one, as many at once as there
    are. A configuration of accelerate's, named by $METARFFT_PRETRAIN_ON or $METARFFT_ADAPT_ON,
    says otherwise: then as many adaptations run at once as its processes leave GPUs for. On a
    CPU adaptation.workers run at once.
    """
    _launch([job for job in jobs(config) if job.stage == "pretrain"])
    launch_adaptations(config)


def launch_adaptations(config: Params) -> None:
    """The second half of `launch_all`."""
    _launch([job for job in jobs(config) if job.stage == "adapt"])


def _launch(every: list[Job]) -> None:
    left = []
    for job in every:
        params.open_folder(job.config)
        if finished(job):
            print(f"{job.name}: finished, in {job.folder}")
        else:
            left.append(job)
            if gone := lost(job):
                print(f"{job.name}: {gone} is missing or changed, so it is trained again",
                      flush=True)
    if not left:
        return
    models.resolve(left[0].config.model.name)  # refused or downloaded here: a training is offline
    options, size = _launch_options(left[0])
    commands = []
    for job in left:
        line = [sys.executable, "-m", "accelerate.commands.launch", *options, "-m",
                "metarfft_core.training", "--params", str(job.config.folder / "params.yaml"),
                "--stage", job.stage]
        for option in ("task", "method", "seed"):
            value = getattr(job, option)
            line += [] if value is None else [f"--{option}", str(value)]
        commands.append(processes.Command(line, f"training {job.name}"))
    processes.follow_all(commands, processes.places(size, _workers(left[0])))


def _launch_options(job: Job) -> tuple[list[str], int]:
    """Options of `accelerate launch`, all that it would otherwise guess and warn about, and the
    processes that they start."""
    gpus = len(processes.gpus())
    given = places.variable(launch_variable(job.stage))
    if given:
        return ["--config_file", str(given), "--main_process_port", "0"], _configured(job, given)
    size = max(1, gpus) if job.stage == "pretrain" else 1
    if size > 1 and job.settings.method == "full":
        return ["--config_file", str(_ACCELERATE / "fsdp2.yaml"),
                "--num_processes", str(size)], size
    kind = ["--cpu"] if not gpus else []
    kind += ["--multi_gpu"] if size > 1 else []
    threads = processes.threads(gpus or _workers(job))  # without it accelerate trains on one
    # Named, for accelerate would take what the user has configured for other programs.
    return ["--config_file", str(_ACCELERATE / "plain.yaml"),
            "--quiet", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
            "--num_processes", str(size), "--num_cpu_threads_per_process", threads,
            *kind], size


def _configured(job: Job, path: Path) -> int:
    """The processes that a configuration of accelerate's starts."""
    if not path.is_file():
        raise ParamsError(f"{launch_variable(job.stage)}: there is no file {path}")
    values = yaml_files.read(path)
    size = values.get("num_processes") if isinstance(values, dict) else None
    if not isinstance(size, int) or size < 1:
        raise ParamsError(f"{path}: num_processes: expected a number of processes, got {size!r}")
    return size


def _workers(job: Job) -> int:
    """The trainings of a stage that share a CPU."""
    return 1 if job.stage == "pretrain" else job.config.adaptation.workers


_ACCELERATE = Path(__file__).parent.parent / "data" / "accelerate"  # copies of params/accelerate
