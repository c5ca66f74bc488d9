"""Checks a finished run: training improved the model, and the reported numbers are reproducible.

The runs of kept steps are checked with the run that keeps them, and its reinforcement learnings.
"""

from collections.abc import Iterable, Mapping
from csv import DictReader

from metarfft_core import evaluation, params, scoring, training
from metarfft_core.params import Params
from metarfft_core.system import files
from metarfft_core.training.job import kept_jobs
from metarfft_core.training.rl import check


def verify(config: Params) -> list[str]:
    """List what is wrong with a finished run, a line for each problem."""
    rows = evaluation.read(config).to_dict("records")
    path = config.folder / "figures" / "accuracy_by_length.csv"
    with open(path, encoding="utf-8", newline="") as file:
        table = list(DictReader(file))
    problems = training_problems(_manifests(config)) + accuracy_problems(rows, table)
    for job in training.jobs(config):
        for step, kept in kept_jobs(job).items():
            problems += kept_problems(f"{job.name}, kept step {step}", step,
                                      files.read_json(kept.manifest),
                                      training.stored_log(kept))
    for one in params.kept_runs(config):
        faults = training_problems(_manifests(one)) + outcome_problems(
            evaluation.read(one).to_dict("records"))
        problems += [f"run {one.name}: {problem}" for problem in faults]
    for arm in training.arms(config):
        problems += [f"{arm.name}: {problem}" for problem in check.problems(arm)]
    return problems


def _manifests(config: Params) -> dict[str, dict]:
    return {job.name: files.read_json(job.manifest) for job in training.jobs(config)}


def training_problems(manifests: Mapping[str, Mapping]) -> list[str]:
    """List the trainings whose held-out loss did not fall or whose weights did not change."""
    problems = []
    for name, manifest in manifests.items():
        first, last = manifest["first_validation_loss"], manifest["last_validation_loss"]
        if not last < first:
            problems.append(f"{name}: the held-out loss did not fall ({first:.4f} to {last:.4f})")
        if not manifest["relative_change"] > 0:
            problems.append(f"{name}: the weights did not change")
    return problems


def kept_problems(name: str, step: int, manifest: Mapping, log: Iterable[Mapping]) -> list[str]:
    """List what is wrong with the kept weights of a step: unchanged, or of other steps.

    Whether their held-out loss fell is not asked, because none may be measured before that step.
    """
    problems = [] if manifest["relative_change"] > 0 else [f"{name}: the weights did not change"]
    logged = [line["step"] for line in log if "loss" in line]
    if manifest["steps"] != step or logged != list(range(1, step + 1)):
        problems.append(f"{name}: the weights are those of step {manifest['steps']}, and the log "
                        f"has {len(logged)} steps")
    return problems


def accuracy_problems(rows: Iterable[Mapping], table: Iterable[Mapping[str, str]]) -> list[str]:
    """List the accuracies in the table that differ when the stored texts are scored again."""
    rows = list(rows)
    right: dict[tuple, list[bool]] = {}
    for row, outcome in zip(rows, scoring.recompute(rows), strict=True):
        key = (row["method"], row["task"], str(row["length"]))
        right.setdefault(key, []).append(outcome == "right")
    problems = []
    for line in table:
        scored = right.pop((line["method"], line["task"], line["length"]), [])
        if not scored or abs(sum(scored) / len(scored) - float(line["accuracy"])) > 1e-9:
            problems.append(f"{line['method']} on {line['task']}, length {line['length']}: the "
                            f"table says {line['accuracy']}, the texts {sum(scored)} of "
                            f"{len(scored)}")
    return problems + [f"{' '.join(key)}: not in the table" for key in right]


def outcome_problems(rows: Iterable[Mapping]) -> list[str]:
    """List the stored outcomes that differ when the stored texts are scored again."""
    rows = list(rows)
    return [f"{row['method']} on {row['task']}, length {row['length']}, sample {row['index']}: "
            f"stored as {row['outcome']}, the text is {outcome}"
            for row, outcome in zip(rows, scoring.recompute(rows), strict=True)
            if row["outcome"] != outcome]
