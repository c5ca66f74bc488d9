"""Item 2: a whole tiny run through the kit: build, kill, resume, finish, adapt, evaluate.

The same RF-pretraining runs twice: once in one go, and once killed after its first checkpoint and
started again. The losses of both are compared step by step.
"""

from pathlib import Path

import yaml

from sitting import kit, tiny
from sitting.record import Record

TASK = "lc_2544"


def run(record: Record) -> None:
    folder, environment = kit.folders(record, "whole-run")
    model = tiny.write_model(folder / "model")
    once, killed = (_parameters(record, folder, model, name) for name in ("once", "killed"))
    outputs = folder / "outputs"
    with record.case("build") as values:
        values["seconds"] = [round(kit.do(kit.metarfft("build", "--params", str(file)),
                                          environment), 1) for file in (once, killed)]
    with record.case("RF-pretraining in one go") as values:
        values["seconds"] = round(kit.do(_pretrain(once), environment), 1)
        values |= _logged(outputs / "once")
    with record.case("RF-pretraining killed and resumed") as values:
        checkpoints = outputs / "killed" / "pretrain" / "checkpoints"
        kit.do(_pretrain(killed), environment,
               lambda: any(checkpoints.glob("checkpoint-*/hashes.json")))
        values["killed_at"] = sorted(path.parent.name for path in checkpoints.glob(
            "checkpoint-*/hashes.json"))
        values["seconds"] = round(kit.do(_pretrain(killed), environment), 1)
        values |= _logged(outputs / "killed")
        values["losses_apart"] = _apart(outputs / "once", outputs / "killed")
    with record.case("adaptation and evaluation") as values:
        cell = "--method", "meta_rfft", "--task", TASK
        values["adaptation_seconds"] = round(kit.do(
            kit.stage("training", killed, "--stage", "adapt", *cell), environment), 1)
        values["evaluation_seconds"] = round(kit.do(
            kit.stage("evaluation", killed, *cell), environment), 1)
        values["outcomes"] = kit.cell(outputs / "killed", "meta_rfft", TASK)["outcomes"]


def _pretrain(file: Path) -> list[str]:
    return kit.stage("training", file, "--stage", "pretrain")


def _parameters(record: Record, folder: Path, model: Path, name: str) -> Path:
    """Write the parameter file of a run."""
    every = record.pick(20, 2)
    training = {
        "learning_rate": 1e-3, "batch_size": 4, "micro_batch_size": 2, "steps": 3 * every,
        "epochs": 100, "scheduler": "constant", "warmup_ratio": 0.0, "weight_decay": 0.0,
        "max_grad_norm": 1.0, "evaluate_every": every, "save_every": every}
    few = {"lengths": [2], "samples_per_length": 2}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({
        "name": name, "smoke": True, "seed": 0, "model": {"name": str(model), "context": 4096},
        "corpus": {
            "workers": 1, "validation": few, "adaptation_validation": few, "evaluation": few,
            "pretrain": {"tasks": ["sr_coin_flip", "sr_last_letter"], "lengths": [1, 2],
                         "samples_per_length": 10},
            "adaptation": {"tasks": [TASK], "lengths": [1, 2], "samples_per_length": 10}},
        "pretraining": training | {"method": "full"},
        "adaptation": training | {"method": "pissa", "rank": 4, "methods": ["meta_rfft"],
                                  "steps": every, "evaluate_every": every},
        "evaluation": {"engine": "transformers", "batch_size": 4, "limit_factor": 1.0,
                       "limit_extra": 8, "confidence": 0.95, "bootstrap_samples": 10}}))
    return file


def _logged(run: Path) -> dict:
    """What a training's log and manifest say."""
    losses = _losses(run)
    manifest = kit.manifest(run / "pretrain")
    used = ("attention", "recomputation", "fused_layers", "device", "compute")
    return {"steps": len(losses), "first_loss": losses[min(losses)],
            "last_loss": losses[max(losses)]} | {key: manifest[key] for key in used}


def _losses(run: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in kit.log(run / "pretrain") if "loss" in line}


def _apart(one: Path, two: Path) -> float:
    """The largest difference of the losses of a step."""
    first, second = _losses(one), _losses(two)
    if first.keys() != second.keys():
        raise RuntimeError(f"steps differ: {sorted(first)} and {sorted(second)}")
    return max(abs(first[step] - second[step]) for step in first)
