"""Checks a finished run: training improved the model, and the reported numbers are reproducible."""

from collections.abc import Iterable, Mapping
from csv import DictReader

from metarfft_core import evaluation, scoring, training
from metarfft_core.params import Params
from metarfft_core.system import files


def verify(config: Params) -> list[str]:
    """List what is wrong with a finished run, a line for each problem."""
    stages = {job.name: job.folder for job in training.jobs(config)}
    manifests = {name: files.read_json(folder / "manifest.json")
                 for name, folder in stages.items()}
    rows = evaluation.read(config).to_dict("records")
    path = config.folder / "figures" / "accuracy_by_length.csv"
    with open(path, encoding="utf-8", newline="") as file:
        table = list(DictReader(file))
    return training_problems(manifests) + accuracy_problems(rows, table)


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
