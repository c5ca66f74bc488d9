"""Starts the processes of trainings, under accelerate.

RF-pretraining is a job of its own. Many adaptations are given to one process for each GPU, or for
each worker of a CPU (`series`).
"""

import sys
from contextlib import AbstractContextManager
from pathlib import Path

from metarfft_core import corpus, models, params
from metarfft_core.params import Params, ParamsError
from metarfft_core.system import places, processes, progress, workers, yaml_files
from metarfft_core.training.job import (
    Job,
    base_folder,
    finished,
    jobs,
    lost,
)
from metarfft_core.training.merging import pissa_folder
from metarfft_core.training.rl import arms


def launch(job: Job) -> Path:
    """Run one training under `accelerate launch` and report its output; see `launch_all`.

    Returns:
        The folder of the training; at once if the training is finished.

    Raises:
        ParamsError: For a user's error.
        RuntimeError: If the training fails; holds its last lines.
    """
    _launch([job])
    return job.folder


def launch_variable(stage: str) -> str:
    """Return the environment variable that names accelerate's configuration file for a stage."""
    return f"METARFFT_{stage.upper()}_ON"


def launch_all(config: Params) -> None:
    """Run every training of a run: RF-pretraining, the adaptations, reinforcement learning.

    On GPUs, RF-pretraining uses all of them. An adaptation uses one, and as many adaptations run at
    once as there are GPUs. $METARFFT_PRETRAIN_ON and $METARFFT_ADAPT_ON can each name a
    configuration file of accelerate that changes this. Then as many adaptations run at once as
    there are GPUs for the processes of each. On a CPU, pretraining.workers processes share
    RF-pretraining, and adaptation.workers adaptations run at once.

    Raises:
        ParamsError: For a user's error.
        RuntimeError: If trainings fail; names them. RF-pretraining must not fail. If adaptations
            do, the others are finished.
    """
    arms.check_engine(config)
    with _shown(config):
        _launch([job for job in jobs(config) if job.stage == "pretrain"])
        launch_adaptations(config)
        launch_reinforcement(arms.arms(config))


def launch_adaptations(config: Params) -> None:
    """Run the adaptations, also those of kept steps: the second half of `launch_all`."""
    for one in params.with_kept([config]):
        _launch([job for job in jobs(one) if job.stage == "adapt"])


def _shown(config: Params) -> AbstractContextManager:
    """A notebook's display of trainings; it starts when the run's folder is known to be usable."""
    folder = params.written(params.open_folder(config))
    return progress.work("training", folder / "logs" / "training.log")


def _launch(every: list[Job]) -> None:
    if every and params.is_archive(params.open_folder(every[0].config)):
        print(f"{every[0].stage}: stored results, in {every[0].config.folder}; their weights are "
              "not kept, and nothing is trained")
        return
    for job in every:
        params.open_folder(job.config)
    if every:
        with _shown(every[0].config):
            _launch_missing(every)


def _launch_missing(every: list[Job]) -> None:
    left = []
    for job in every:
        if finished(job):
            progress.report(f"{job.name}: finished, in {job.folder}")
            progress.enter(f"training {job.name}", "finished before")
        else:
            left.append(job)
            if gone := lost(job):
                progress.report(f"{job.name}: {gone} is missing or changed, so it is trained again")
    if not left:
        return
    models.resolve(left[0].config.model.name)  # refuse or download it here: a training is offline
    options, size = _launch_options(left[0])
    at = processes.places(size, _workers(left[0]))
    if size > 1 or min(len(at), len(left)) > 1:  # a process that trains alone makes its own
        launch_starts(left)
    if min(len(at), len(left)) > 1:
        left = _longest_first(left)
    line = [sys.executable, "-m", "accelerate.commands.launch", *options, "-m"]
    if len(left) > 1 and _in_series(left[0], size):
        workers.follow_all(
            [*line, "metarfft_core.training.process.series", "--params", _file(left[0])],
            [_order(job) for job in left], at)
    else:
        processes.follow_all([processes.Command([*line, "metarfft_core.training", *_named(job)],
                                                f"training {job.name}") for job in left], at)


def _longest_first(every: list[Job]) -> list[Job]:
    """Sort adaptations by the length of their samples, so that no long one runs last and alone."""
    return sorted(every, reverse=True, key=lambda job: corpus.mean_characters(
        job.config, job.splits[0], job.format, job.task))


def _in_series(job: Job, size: int) -> bool:
    """Return whether one process runs many trainings.

    Several processes for a training, or a user's configuration of accelerate, which may shard the
    model, start anew for each one. So does a training that trackio follows, since it has one run in
    a process.
    """
    given = places.variable(launch_variable(job.stage))
    return size == 1 and not given and "trackio" not in job.config.trackers


def launch_starts(every: list[Job]) -> None:
    """Make the missing PiSSA starts of trainings, one process for each model.

    With GPUs, each process has one. Without, the processes share all cores.

    Args:
        every: The trainings.

    Raises:
        RuntimeError: If a process fails.
    """
    missing = {}
    for job in every:
        if job.settings.method == "pissa":
            folder = pissa_folder(job, base_folder(job))
            if not folder.exists():
                missing.setdefault(folder, job)
    if not missing:
        return
    at = processes.places(1, min(_workers(every[0]), len(missing)))
    processes.follow_all(
        [processes.Command([sys.executable, "-m", "metarfft_core.training", *_named(job),
                            "--only-start"], f"training start of {job.name}", at[0])
         for job in missing.values()], at)


def _file(job: Job) -> str:
    return str(job.config.folder / "params.yaml")


def _named(job: Job) -> list[str]:
    """Return the options that name a training."""
    options = ["--params", _file(job), "--stage", job.stage]
    for name in ("task", "method", "seed"):
        value = getattr(job, name)
        options += [] if value is None else [f"--{name}", str(value)]
    return options


def _order(job: Job) -> workers.Order:
    values = {"method": job.method, "task": job.task, "seed": job.seed}
    return workers.Order(f"training {job.name}", values, str(job.after_pretraining))


def _launch_options(job: Job) -> tuple[list[str], int]:
    """Return the options of `accelerate launch` and the number of processes that they start.

    The options include everything that accelerate would otherwise guess and warn about.
    """
    gpus = len(processes.gpus())
    given = places.variable(launch_variable(job.stage))
    if given:
        return ["--config_file", str(given), "--main_process_port", "0"], _configured(job, given)
    size = (gpus or job.config.pretraining.workers) if job.stage == "pretrain" else 1
    if gpus and size > 1 and job.settings.method == "full":
        return ["--config_file", str(_ACCELERATE / "fsdp2.yaml"),
                "--num_processes", str(size)], size
    kind = ["--cpu"] if not gpus and size == 1 else []
    kind += ["--multi_gpu"] if size > 1 else []
    if not gpus and size > 1:  # as params/accelerate/two_cpus.yaml explains
        kind += ["--gpu_ids=" + ",".join(["-1"] * size), "--main_process_port", "0"]
    # by default accelerate uses one thread
    threads = processes.threads(gpus or max(size, _workers(job)))
    # Name the file, because accelerate would use the user's configuration for other programs.
    return ["--config_file", str(_ACCELERATE / "plain.yaml"),
            "--quiet", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
            "--num_processes", str(size), "--num_cpu_threads_per_process", threads,
            *kind], size


def _configured(job: Job, path: Path) -> int:
    """Return the number of processes that a configuration file of accelerate starts."""
    if not path.is_file():
        raise ParamsError(f"{launch_variable(job.stage)}: there is no file {path}")
    values = yaml_files.read(path)
    size = values.get("num_processes") if isinstance(values, dict) else None
    if not isinstance(size, int) or size < 1:
        raise ParamsError(f"{path}: num_processes: expected a number of processes, got {size!r}")
    return size


def _workers(job: Job) -> int:
    """Return how many trainings of a stage share a CPU."""
    return 1 if job.stage == "pretrain" else job.config.adaptation.workers


_ACCELERATE = Path(__file__).parent.parent / "data" / "accelerate"  # copies of params/accelerate


def launch_reinforcement(every: list[arms.Arm]) -> None:
    """Run reinforcement learnings of a run, one after the other, each on all GPUs.

    $METARFFT_RL_ON can name a configuration file of accelerate that changes this.

    Raises:
        ParamsError: For a user's error.
        RuntimeError: If trainings fail; names them.
    """
    if not every:
        return
    config = every[0].config
    if params.is_archive(params.open_folder(config)):
        print(f"{arms.STAGE}: stored results, in {config.folder}; nothing is trained")
        return
    with _shown(config):
        commands = []
        for arm in every:
            if arms.finished(arm):
                progress.report(f"{arm.name}: finished, in {arm.folder}")
                progress.enter(f"training {arm.name}", "finished before")
                continue
            options, size = _reinforcement_options(arm)
            commands.append(processes.Command(
                [sys.executable, "-m", "accelerate.commands.launch", *options, "-m", *arm.command,
                 "--params", str(config.folder / "params.yaml")], f"training {arm.name}"))
        if commands:
            models.resolve(config.model.name)  # refuse or download it here: a training is offline
            processes.follow_all(commands, processes.places(size, 1))


def _reinforcement_options(arm: arms.Arm) -> tuple[list[str], int]:
    """Return the options of `accelerate launch` and the number of processes that they start."""
    given, gpus = places.variable(launch_variable(arm.stage)), len(processes.gpus())
    if given:
        return ["--config_file", str(given), "--main_process_port", "0"], _configured(arm, given)
    if gpus > 1:
        return ["--config_file", str(_ACCELERATE / "fsdp2.yaml"), "--num_processes",
                str(gpus)], gpus
    return ["--config_file", str(_ACCELERATE / "plain.yaml"), "--quiet", "--num_machines", "1",
            "--mixed_precision", "no", "--dynamo_backend", "no", "--num_processes", "1",
            "--num_cpu_threads_per_process", processes.threads(gpus or 1),
            *([] if gpus else ["--cpu"])], 1
