"""A made-up run: a folder as the stages write it, with accuracies that are known.

The rows are counted out, not drawn: of `samples` at a share of 0.85, exactly round(0.85 * samples)
are right, and the others are wrong, without an answer and cut in turn. With `traces` the texts of
rule-following methods are real traces; a wrong one then leaves its last loop a pass early (it
lacks that pass's lines), a cut one ends in the middle.
"""

import json
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

from metarfft_core import evaluation, formats, params, tasks, training
from metarfft_core.params import METHODS, Cell, Params
from metarfft_core.system import files
from metarfft_core.system.places import ROOT

FAILURES = ("wrong", "no_answer", "cut")

Share = Callable[[str, str, int, int], float]
"""The true accuracy of a method on a task at a length with a seed."""


def make(values: dict, share: Share, traces: bool = False) -> Params:
    """Store the results of a run with these parameters; its folder is below $METARFFT_OUTPUTS."""
    run = params.check(values)
    params.open_folder(run)
    files.write_json(run.folder / "corpus" / "manifest.json", {"git_commit": f"made-{run.name}"})
    for cell in run.cells:
        _store(run, cell, share, traces)
    adapted = [training.Job(run, "adapt", cell) for cell in run.trainings]
    for job in [training.Job(run, "pretrain"), *adapted] if training.jobs(run) else []:
        _log(job)
    return run


def preset(file: str = "test", **changes: object) -> dict:
    """A parameter file as a mapping, with changes (see `change`)."""
    return change(params.read(ROOT / "params" / f"{file}.yaml"), **changes)


def plain(file: str = "test") -> dict:
    """A parameter file as a mapping, without its further trainings and evaluations."""
    return preset(file, adaptation__further=[], evaluation__in_context=[],
                  evaluation__counterfactual=[])


def change(values: dict, **changes: object) -> dict:
    """Parameters changed at keys such as corpus__evaluation__lengths; a mapping is merged into the
    one that is there."""
    values = deepcopy(values)
    for keys, value in changes.items():
        *sections, last = keys.split("__")
        part = values
        for section in sections:
            part = part[section]
        part[last] = {**part[last], **value} if isinstance(value, dict) and last in part else value
    return values


def _store(run: Params, cell: Cell, share: Share, traces: bool) -> None:
    lines, total = [], run.corpus.evaluation.samples_per_length
    for length in run.corpus.evaluation.lengths:
        right = round(share(cell.method, cell.task, length, cell.seed) * total)
        for index in range(total):
            outcome = "right" if index < right else FAILURES[(index - right) % 3]
            lines.append({"method": cell.method, "task": cell.task, "seed": cell.seed,
                          "length": length, "index": index, "outcome": outcome,
                          **_text(run, cell, length, index, outcome, traces)})
    path = evaluation.path(run, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    files.write_json(path.with_suffix(".json"), {"params": run.digest, "finished": True}
                     | _signature(path, lines))


def adopt_corpus(run: Params) -> None:
    """Make a corpus that was built for another run this run's own."""
    manifest = run.folder / "corpus" / "manifest.json"
    files.write_json(manifest, files.read_json(manifest) | {"params_digest": run.digest})


def sign(path: Path) -> None:
    """Write hash and counts of changed results beside them, as if they had been made like that."""
    about = path.with_suffix(".json")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    files.write_json(about, files.read_json(about) | _signature(path, rows))


def _signature(path: Path, rows: list[dict]) -> dict:
    return {"rows": len(rows), "sha256": files.sha256(path),
            "outcomes": Counter(row["outcome"] for row in rows)}


def _text(run: Params, cell: Cell, length: int, index: int, outcome: str, traces: bool) -> dict:
    method = cell.method
    about = {"prompt": "", "inputs": "{}", "gold_answer": "1", "text": "",
             "answer": {"right": "1", "wrong": "0"}.get(outcome),
             "finish_reason": "length" if outcome == "cut" else "stop", "gold_tokens": 1,
             "completion_tokens": 1}
    if not traces or method not in METHODS or not METHODS[method].format.startswith("rfft"):
        return about | {"outcome_lenient": outcome}
    kind = tasks.get(cell.task)
    instance = kind.sample(length=length, seed=run.seed, index=index, stream="evaluation")
    example = formats.render(kind, instance, METHODS[method].format)
    return about | {"inputs": repr(instance.inputs), "gold_answer": repr(instance.answer),
                    "text": _spoilt(example.completion, outcome)}


def _spoilt(text: str, outcome: str) -> str:
    lines = text.split("\n")
    if outcome == "wrong":  # the passes between the first and the last condition that holds
        heads = [place for place, line in enumerate(lines)
                 if line.startswith(("while ", "for ")) and line.endswith("-> True")]
        if len(heads) > 1:
            lines[heads[0]:heads[-1]] = []
        lines[-1] = "So the answer is nothing"
    elif outcome == "no_answer":
        lines = lines[:-1]
    elif outcome == "cut":
        lines = lines[:len(lines) // 2]
    return "\n".join(lines)


def _log(job: training.Job) -> None:
    folder = job.folder
    folder.mkdir(parents=True)
    start = 2.0 if job.method == "meta_rfft" else 2.5
    lines = [{"step": 0, "validation_loss": start}]
    for step in range(1, 11):
        lines.append({"step": step, "loss": start / (1 + step / 4)})
    lines.append({"step": 10, "validation_loss": start / 3})
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files.write_json(folder / "manifest.json", {})
