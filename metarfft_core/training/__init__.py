"""One fine-tuning procedure for RF-pretraining, adaptation and every baseline, and GRPO.

    job.py       what a training is, where its results are, whether it is finished
    batches.py   its samples as token ids, and the micro batches of a step
    preview.py   which tokens of a sample are trained on
    launcher.py  starts the processes of trainings under accelerate
    process/     what runs inside such a process: the loss, the checkpoints, the log
    merging.py   the weights that a method answers with
    rl/          reinforcement learning
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
from metarfft_core.training.process.worker import main, train
from metarfft_core.training.rl.arms import Arm, arms, check_engine, chosen

__all__ = ["STAGES", "Arm", "Job", "Source", "arms", "check_engine", "check_mix", "chosen", "clean",
           "export", "finished", "jobs", "launch", "launch_adaptations", "launch_all",
           "launch_reinforcement", "launch_starts", "launch_variable", "lost", "main",
           "model_folder", "read_log", "source", "stored_log", "train", "weights"]
