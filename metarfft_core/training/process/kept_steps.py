"""Keeps the weights of named steps of a training (`keep_steps`; the paper's Figures 16 and 17).

A kept step is a folder like that of a training that ended there: <training>/steps/<step>/ holds the
model or adapter, the log until then, and a manifest. `params.kept_runs` makes the runs that
evaluate them. This module imports transformers, so it is imported only when a training starts.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import TrainerCallback

from metarfft_core.params import ParamsError
from metarfft_core.training.job import Job
from metarfft_core.training.process import checkpoints
from metarfft_core.training.process.trainer import CheckpointWriter


@dataclass
class Keep(TrainerCallback):
    """Saves a checkpoint at each step to keep, and writes the weights of that step from it.

    It waits until the checkpoint is whole. If a kill comes before `write` has ended, the training
    resumes from this checkpoint, and `write` is called for it again.

    Attributes:
        jobs: The training that each kept step represents.
        record: Writes the weights and the manifest of such a training from a checkpoint.
        writer: Writes the checkpoints; set before the training begins.
    """

    jobs: dict[int, Job]
    record: Callable[[Job, Path], None]
    writer: CheckpointWriter | None = None

    def begin(self, job: Job, steps: int, checkpoint: Path | None) -> None:
        """Make the folder of a training ready: with the kept steps until `checkpoint`, or none.

        Raises:
            ParamsError: If the training has fewer steps than a step to keep.
        """
        late = [step for step in self.jobs if step > steps]
        if late:
            raise ParamsError(f"{job.name}: keep_steps: its samples are enough for {steps} steps, "
                              f"so it has no step {', '.join(map(str, late))}")
        if checkpoint:
            self.write(checkpoint)
        else:  # what an earlier training left, which lost a file
            shutil.rmtree(job.folder / "steps", ignore_errors=True)

    def on_step_end(self, args, state, control, **_):
        if state.global_step in self.jobs:
            control.should_save = True

    def on_save(self, args, state, control, **_):
        if state.global_step in self.jobs:
            self.writer.wait()
        if state.is_world_process_zero:
            self.write(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def write(self, checkpoint: Path) -> None:
        """Keep the weights of a whole checkpoint, if its step is to be kept and is not yet."""
        job = self.jobs.get(checkpoints.state(checkpoint)["global_step"])
        if job is None or job.manifest.exists():
            return
        job.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(job.folder.parent.parent / "log.jsonl", job.folder / "log.jsonl")
        with torch.random.fork_rng():  # loading a model may draw from the training's generator
            self.record(job, checkpoint)
        print(f"{job.name}: kept the weights of step {job.settings.steps}, in {job.folder}",
              flush=True)
