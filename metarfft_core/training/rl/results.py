"""The numbers of a run's reinforcement learnings, from their logs alone."""

from typing import TYPE_CHECKING

from metarfft_core.params import Params
from metarfft_core.training.job import stored_log
from metarfft_core.training.rl.arms import arms

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("task", "start", "reward", "step", "length", "answers", "right", "cut", "traces",
           "process", "tokens", "seconds", "gpu_hours")


def evaluations(config: Params) -> "DataFrame":
    """Return the evaluations along every reinforcement learning of a run that has begun.

    Returns:
        A line for each training, evaluated step and length, with `COLUMNS`: the counts of
        `answers.summary`, the seconds since the training began, and its GPU hours (None on a CPU).

    Raises:
        ParamsError: A finished training's log is not the one that it wrote.
    """
    from pandas import DataFrame

    lines = [{"task": arm.task, "start": arm.start, "reward": arm.reward, "step": line["step"],
              "length": int(length), **counts, "seconds": line["seconds"],
              "gpu_hours": line["gpu_hours"]}
             for arm in arms(config) for line in stored_log(arm)
             for length, counts in line.get("evaluation", {}).items()]
    return DataFrame(lines, columns=list(COLUMNS))
