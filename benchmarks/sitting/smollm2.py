"""Item 9: SmolLM2-135M for real: RF-pretraining on as many tokens as fit, vanilla and Meta-RFFT.

The tasks are those of params/laptop.yaml, with many more samples and lengths to 30. A short
training tells how many tokens a second this machine trains on; the steps of the RF-pretraining
follow from that and from the time that is left. What there is at the end of the time is kept, also
a part of the answers; the shortest lengths come first.
"""

import json
import os
import time
from collections import Counter
from pathlib import Path

import yaml

from sitting import kit, tiny
from sitting.record import Record
from sitting.runner import ROOT

METHODS = ("vanilla_rfft", "meta_rfft")
LENGTHS = [3, 5, 8, 10, 12, 15, 20, 25, 30]
PRETRAINING_SHARE = 0.35  # of the time that is left after the first training
RESERVE = 20.0  # seconds at the end, to read and keep what there is


def run(record: Record) -> None:
    from metarfft_core import models, params

    folder, environment = kit.folders(record, "smollm2")
    os.environ |= environment  # the model is converted into the cache of the stages
    if record.rehearsal:
        name = str(tiny.write_model(record.work / "small-model"))
    else:
        name = models.EMBEDDED
        try:
            models.resolve(name)
        except params.ParamsError as error:
            record.leave_out("all", str(error))
            return
    with record.case("speed of the first steps") as speed:
        speed |= _speed(record, folder, name, environment)
    if "tokens_per_second" not in speed:
        return
    rate = speed["tokens_per_second"] / speed["step_tokens"]
    steps = record.pick(max(20, int(PRETRAINING_SHARE * record.left() * rate)), 4)
    file = write_parameters(record, folder, name, "smollm2", steps)
    outputs = folder / "outputs" / "smollm2"
    with record.case("RF-pretraining") as values:
        values["build_seconds"] = round(kit.do(kit.metarfft("build", "--params", str(file)),
                                               environment), 1)
        values["seconds"] = round(kit.do(kit.stage("training", file, "--stage", "pretrain"),
                                         environment), 1)
        values |= _trained(outputs / "pretrain")
    record.keep("smollm2", outputs, ["log.jsonl", "manifest.json", "params.yaml"])
    tasks = _laptop()["adaptation"]["tasks"][:record.pick(None, 1)]
    cells = [("--method", method, "--task", task) for task in tasks for method in METHODS]
    with record.case("adaptations") as values:
        values["seconds"] = [round(took, 1) for took in kit.do_all(
            [kit.stage("training", file, "--stage", "adapt", *cell) for cell in cells],
            environment)]
        for _, method, _, task in cells:
            values[f"{method} {task}"] = _trained(outputs / "adapt" / task / method)
    _evaluate(record, file, environment, outputs, cells)
    record.keep("smollm2", outputs, ["*.jsonl", "manifest.json", "params.yaml", "*_rfft/*.json"])


def _evaluate(record: Record, file: Path, environment: dict, outputs: Path, cells: list) -> None:
    """Evaluate all cells at once, until all are finished or the time ends; a line for each."""
    end = time.monotonic() + record.left() - RESERVE
    error = None
    try:
        kit.do_all([kit.stage("evaluation", file, *cell) for cell in cells], environment,
                   stop_at=end)
    except RuntimeError as failure:
        error = str(failure)
    for _, method, _, task in cells:
        with record.case(f"accuracy, {method}, {task}") as values:
            path = outputs / "evaluation" / method / f"{task}.jsonl"
            if not path.exists():
                raise RuntimeError(error or "no answer before the end of the time")
            values |= _accuracy(path)


def _accuracy(path: Path) -> dict:
    """Right answers and all answers of each length, as far as there are any."""
    right, every = Counter(), Counter()
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(text)
        except ValueError:  # the last line of a stopped process
            continue
        every[row["length"]] += 1
        right[row["length"]] += row["outcome"] == "right"
    return {"right": {length: right[length] for length in sorted(every)},
            "answers": {length: every[length] for length in sorted(every)},
            "finished": json.loads(path.with_suffix(".json").read_text())["finished"]}


def _speed(record: Record, folder: Path, name: str, environment: dict) -> dict:
    """Tokens a second, and tokens of a step, of a short training like the long one."""
    file = write_parameters(record, folder, name, "speed", record.pick(8, 3), samples=2)
    kit.do(kit.metarfft("build", "--params", str(file)), environment)
    took = kit.do(kit.stage("training", file, "--stage", "pretrain"), environment)
    steps = [line for line in kit.log(folder / "outputs" / "speed" / "pretrain")
             if "tokens_per_second" in line][2:]
    rates = sorted(line["tokens_per_second"] for line in steps)
    return {"seconds": round(took, 1), "tokens_per_second": rates[len(rates) // 2],
            "step_tokens": round(sum(line["tokens"] for line in steps) / len(steps))}


def _trained(folder: Path) -> dict:
    made = kit.manifest(folder)
    return {name: made[name] for name in (
        "steps", "samples", "tokens", "completion_tokens", "first_validation_loss",
        "last_validation_loss")} | {"training_seconds": made["seconds"]}


def _laptop() -> dict:
    return yaml.safe_load((ROOT / "params" / "laptop.yaml").read_text())["corpus"]


def write_parameters(record: Record, folder: Path, model: str, name: str, steps: int,
                     samples: int = 300) -> Path:
    """Write the parameter file of a run with so many steps of RF-pretraining."""
    laptop = _laptop()
    tasks = record.pick(laptop["pretrain"]["tasks"], ["sr_coin_flip", "sr_last_letter"])
    downstream = laptop["adaptation"]["tasks"][:record.pick(None, 1)]
    lengths = record.pick(list(range(1, 16)), [1, 2])
    batch = record.pick(64, 2)
    training = {
        "batch_size": batch, "micro_batch_size": batch // 2, "learning_rate": 5.0e-4,
        "epochs": 1000, "scheduler": "cosine", "warmup_ratio": 0.03, "weight_decay": 0.0,
        "max_grad_norm": 1.0, "evaluate_every": max(1, steps // 2), "save_every": steps}
    adapted = record.pick(150, 2)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({
        "name": name, "smoke": record.rehearsal, "seed": 0,
        "model": {"name": model, "context": record.pick(8192, 4096)},
        "corpus": {
            "workers": record.pick(16, 1),
            "pretrain": {"tasks": tasks, "lengths": lengths,
                         "samples_per_length": record.pick(samples, 2)},
            "validation": {"lengths": record.pick([20], [3]), "samples_per_length": 1},
            "adaptation": {"tasks": downstream, "lengths": record.pick([1, 2, 3, 4, 5], [2, 3]),
                           "samples_per_length": record.pick(1000, 2)},
            "adaptation_validation": {"lengths": [2], "samples_per_length": record.pick(20, 2)},
            "evaluation": {"lengths": record.pick(LENGTHS, [2, 4]),
                           "samples_per_length": record.pick(12, 1)}},
        "pretraining": training | {"method": "full", "steps": steps},
        "adaptation": training | {
            "method": "full", "methods": list(METHODS), "steps": adapted,
            "batch_size": record.pick(32, 2), "micro_batch_size": record.pick(32, 1),
            "evaluate_every": adapted, "save_every": adapted},
        "evaluation": {"engine": "transformers", "batch_size": 54, "limit_factor": 1.25,
                       "limit_extra": 64, "confidence": 0.95, "bootstrap_samples": 100}}))
    return file
