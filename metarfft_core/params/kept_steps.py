"""The runs that evaluate the kept steps of a training (the paper's Figures 16 and 17).

A run with `keep_steps` keeps the weights of these steps of a training. Each of them is evaluated as
a run of its own, beside it: `7b_steps-pretraining-200` adapts the RF-pretrained model after 200
steps, and `7b_steps-adaptation-39` has the adapters after 39 steps. Such a run takes its corpus and
these weights from the first run, and evaluates what depends on them. Its schedule of the learning
rate is that of the whole training, so it differs from a training with only this number of steps.
"""

from collections.abc import Iterable

from metarfft_core.params.loading import check, merge
from metarfft_core.params.schema import Params
from metarfft_core.params.schema.methods import METHODS

STAGES = ("pretraining", "adaptation")


def kept_runs(config: Params) -> list[Params]:
    """Return the run of each kept step of a run, in the order of the stages and the steps."""
    return [_at(config, stage, step) for stage in STAGES
            for step in getattr(config, stage).keep_steps]


def with_kept(runs: Iterable[Params]) -> list[Params]:
    """Return each run, followed by those of its kept steps; without repeats."""
    every = [run for config in runs for run in (config, *kept_runs(config))]
    return list({run.name: run for run in reversed(every)}.values())[::-1]


def _at(config: Params, stage: str, step: int) -> Params:
    """Return the run that takes the weights of a step of a stage."""
    settings = getattr(config, stage)
    name = f"{config.name}-{stage}-{step}"
    changes = {"name": name, "evaluation": _evaluated(config, stage),
               **{other: {"keep_steps": []} for other in STAGES}}
    changes[stage] |= {"steps": step, "kept": {
        "run": config.name, "digest": config.digest, "steps": settings.steps}}
    if stage == "pretraining":
        changes["adaptation"] |= _adapted(config)
    made = check(merge(config.model_dump(), changes), name)
    if config._folder:
        made._folder = config.folder.with_name(name)
    return made


def _from_pretrained(names: Iterable[str]) -> list[str]:
    return [name for name in names if METHODS[name].start == "pretrained"]


def _adapted(config: Params) -> dict:
    """Return the adaptations that start from the RF-pretrained model."""
    further = [one.model_dump() | {"methods": _from_pretrained(one.methods)}
               for one in config.adaptation.further]
    return {"methods": _from_pretrained(config.adaptation.methods),
            "further": [one for one in further if one["methods"]]}


def _evaluated(config: Params, stage: str) -> dict:
    """Return the evaluations that depend on the weights of a stage."""
    evaluation = config.evaluation
    if stage == "adaptation":
        return {"in_context": [], "api": []}
    return {"in_context": _from_pretrained(evaluation.in_context), "api": [],
            "counterfactual": _from_pretrained(evaluation.counterfactual)}
