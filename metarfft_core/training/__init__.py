"""One fine-tuning for RF-pretraining, adaptation and every baseline."""

from metarfft_core.training.worker import (
    STAGES,
    Job,
    export,
    finished,
    jobs,
    launch,
    launch_adaptations,
    launch_all,
    launch_variable,
    main,
    model_folder,
    read_log,
    stage_folder,
    train,
    weights,
)

__all__ = ["STAGES", "Job", "export", "finished", "jobs", "launch", "launch_adaptations",
           "launch_all", "launch_variable", "main", "model_folder", "read_log", "stage_folder",
           "train", "weights"]
