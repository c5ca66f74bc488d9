"""One fine-tuning procedure for RF-pretraining, adaptation and every baseline, and GRPO.

    job.py          what a training is, where its results are, whether it is finished
    batches.py      its samples as token ids, and the micro batches of a step
    trainer.py      its loss and its log
    kept_steps.py   the weights of named steps
    acceleration.py what makes it fast on a GPU, where it is at hand
    checkpoints.py  what a killed training resumes from
    worker.py       the process that runs one training
    series.py       the process that runs many adaptations in turn
    record.py       what a finished training records of itself
    launcher.py     starts these processes under accelerate
    merging.py      the weights that a method answers with
    preview.py      which tokens of a sample are trained on
    rl/             reinforcement learning
"""

from metarfft_core.training.batches import check_mix
from metarfft_core.training.job import (
    STAGES,
    Job,
    finished,
    jobs,
    lost,
    model_folder,
    read_log,
    stored_log,
)
from metarfft_core.training.launcher import (
    launch,
    launch_adaptations,
    launch_all,
    launch_reinforcement,
    launch_starts,
    launch_variable,
)
from metarfft_core.training.merging import Source, clean, export, source, weights
from metarfft_core.training.rl.arms import Arm, arms, check_engine, chosen
from metarfft_core.training.worker import main, train

__all__ = ["STAGES", "Arm", "Job", "Source", "arms", "check_engine", "check_mix", "chosen", "clean",
           "export", "finished", "jobs", "launch", "launch_adaptations", "launch_all",
           "launch_reinforcement", "launch_starts", "launch_variable", "lost", "main",
           "model_folder", "read_log", "source", "stored_log", "train", "weights"]
