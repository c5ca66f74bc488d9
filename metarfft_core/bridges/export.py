"""Exports of a run: weights, tasks for lm-eval, a data set for the Hub, small results."""

from pathlib import Path

from metarfft_core import training
from metarfft_core.analysis import archive
from metarfft_core.bridges import hub, lm_eval
from metarfft_core.params import Params


def write(config: Params, kind: str, to: Path, *, task: str | None = None,
          method: str | None = None, seed: int | None = None) -> Path:
    """Write one kind of export into the folder `to`.

    Args:
        config: The resolved parameters of the run.
        kind: "merged", "results", "hub" or "lm-eval".
        to: The folder to write.
        task: Of the adaptation for "merged"; the only task for "lm-eval".
        method: Of the adaptation for "merged"; the only method for "lm-eval".
        seed: Of the adaptation for "merged".

    Returns:
        What was written.

    Raises:
        ParamsError: The run does not have what is asked for.
    """
    if kind == "merged":
        job = training.Job.named(config, "adapt", task=task, method=method, seed=seed)
        return training.export(job, to)
    if kind == "results":
        return archive.write(config, to)
    if kind == "hub":
        return hub.write(config, to)
    return lm_eval.write(config, to, *([name] if name else () for name in (method, task)))
