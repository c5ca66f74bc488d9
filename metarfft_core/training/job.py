"""One training of a run: what it is, where its results are, and whether it is finished."""

import json
from dataclasses import dataclass
from pathlib import Path

from metarfft_core import models, params, tasks
from metarfft_core.params import METHODS, Cell, Params, ParamsError
from metarfft_core.system.files import (
    changed,
    read_json,
)

STAGES = ("pretrain", "adapt")


PRODUCTS = ("model", "adapter", "lora")
"""The folders that a training can leave; its method and stage decide which."""


@dataclass(frozen=True)
class Job:
    """One training of a run: RF-pretraining, or the adaptation to a task with a method.

    Attributes:
        config: The resolved parameters of the run.
        stage: "pretrain" or "adapt".
        cell: The method, task and seed of an adaptation; None for RF-pretraining. The seed orders
            the samples.
    """

    config: Params
    stage: str
    cell: Cell | None = None

    def __post_init__(self):
        if self.stage not in STAGES:
            raise ParamsError(f"stage: expected {' or '.join(STAGES)}, got {self.stage!r}")
        if self.stage == "pretrain":
            _check_pretrain(self.task, self.method, self.seed)
            return
        _check_adaptation(self.config, task=self.task, method=self.method)
        if self.cell not in self.config.trainings:
            raise ParamsError(f"seed: this run has no training of {self.cell} with seed "
                              f"{self.seed}")

    @classmethod
    def named(cls, config: Params, stage: str, *, task: str | None = None,
              method: str | None = None, seed: int | None = None) -> "Job":
        """Return the training that the options of a command name; the seed is the run's by default.

        Raises:
            ParamsError: If the run has no such training; names the option and what is allowed.
        """
        if stage == "pretrain":
            _check_pretrain(task, method, seed)
            return cls(config, stage)
        if stage == "adapt":
            _check_adaptation(config, task=task and tasks.id_of(task), method=method)
        return cls(config, stage, Cell(method, task, config.seed if seed is None else seed))

    @property
    def task(self) -> str | None:
        """The id of the task of an adaptation."""
        return self.cell and self.cell.task

    @property
    def method(self) -> str | None:
        """The method of an adaptation."""
        return self.cell and self.cell.method

    @property
    def seed(self) -> int | None:
        """The seed of an adaptation."""
        return self.cell and self.cell.seed

    @property
    def name(self) -> str:
        other = self.stage == "adapt" and self.seed != self.config.seed
        seed = f"seed {self.seed}" if other else None
        return " ".join(part for part in (self.stage, self.task, self.method, seed) if part)

    @property
    def other(self) -> params.Kept | None:
        """The run that makes this training, if this run only takes it (see `params.kept_runs`)."""
        kept = self.config.adaptation.kept
        return kept or (self.config.pretraining.kept if self.stage == "pretrain" else None)

    @property
    def digest(self) -> str:
        """The digest of the parameters that it is made with."""
        return self.other.digest if self.other else self.config.digest

    @property
    def folder(self) -> Path:
        """The folder with its log, its model or adapter, and its manifest."""
        folder = self.config.folder
        if self.other:
            folder = folder.with_name(self.other.run)
        if self.stage == "pretrain":
            folder /= "pretrain"
        else:
            seed = "" if self.seed == self.config.seed else f"-seed{self.seed}"
            folder = folder / "adapt" / self.task / f"{self.method}{seed}"
        return folder / "steps" / str(self.settings.steps) if self.settings.kept else folder

    @property
    def settings(self) -> params.Training:
        return self.config.pretraining if self.stage == "pretrain" else self.config.adaptation

    @property
    def format(self) -> str:
        return METHODS[self.method or "meta_rfft"].format

    @property
    def splits(self) -> tuple[str, str]:
        """The corpus splits for training and for validation."""
        if self.stage == "pretrain":
            return "pretrain", "validation"
        return "adaptation", "adaptation_validation"

    @property
    def after_pretraining(self) -> bool:
        return self.method is not None and METHODS[self.method].start == "pretrained"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def order_seed(self) -> int:
        return self.config.seed if self.seed is None else self.seed


def _check_pretrain(*given: str | int | None) -> None:
    if given != (None, None, None):
        raise ParamsError("stage pretrain takes no task, no method and no seed, got "
                          f"{', '.join(map(repr, given))}")


def _check_adaptation(config: Params, *, task: str | None, method: str | None) -> None:
    for name, given in (("task", task), ("method", method)):
        allowed = list(dict.fromkeys(getattr(cell, name) for cell in config.trainings))
        if given not in allowed:
            raise ParamsError(f"{name}: expected one of {', '.join(allowed)}, got {given!r}")


def model_folder(config: Params) -> Path:
    """Return the folder of the RF-pretrained model.

    It holds plain bfloat16 safetensors, the tokenizer and the chat template.
    """
    return Job(config, "pretrain").folder / "model"


def jobs(config: Params) -> list[Job]:
    """Return every training that a run makes, in order; RF-pretraining is first, if needed."""
    adaptations = [Job(config, "adapt", cell) for cell in config.trainings]
    used = any(job.after_pretraining for job in adaptations) or \
        "meta_1shot" in config.evaluation.in_context
    return [job for job in [Job(config, "pretrain")] * used + adaptations if not job.other]


def read_log(folder: Path) -> list[dict]:
    """Return the lines of a training's log.jsonl, without a last line that a kill interrupted.

    The line of a step holds:
        step, epoch (passes over the data), learning_rate, grad_norm,
        loss (mean over the completion tokens of the batch),
        tokens, completion_tokens, tokens_per_second,
        mfu (share of the GPUs' peak, counted as in `operations`; null on a CPU),
        memory_gib (the most so far in the first process; on a CPU with its earlier adaptations),
        checkpoint_seconds (only after a checkpoint: how long the training waited for it),
        seconds (since the training began, without the time between a kill and its resume).

    The line of a validation holds step, validation_loss (mean over all completion tokens of the
    validation data), validation_tokens and seconds.
    """
    lines = []
    path = folder / "log.jsonl"
    for line in path.read_bytes().split(b"\n") if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except (ValueError, RecursionError):  # an interrupted line, or what follows the last one
            break
    return lines


def stored_log(job: Job) -> list[dict]:
    """Return the log of a training as `read_log` does.

    Raises:
        ParamsError: The training is finished, and the log is not the one that it wrote.
    """
    path = job.folder / "log.jsonl"
    made = read_json(job.manifest).get("files", {}) if job.manifest.exists() else {}
    if path.name in made and changed(path, made[path.name]):
        raise ParamsError(f"{path} is missing or changed: restore it, or delete {job.folder} to "
                          "train again")
    return read_log(job.folder)


def finished(job: Job) -> bool:
    """Return whether this training is done and everything that it made is there with its hash.

    Raises:
        ParamsError: If the training cannot be started, or if the folder holds another training.
    """
    manifest = read_json(job.manifest) if job.manifest.exists() else None
    if manifest and manifest["params_digest"] != job.digest:
        raise ParamsError(f"{job.folder} was trained with other parameters (digest "
                          f"{manifest['params_digest']}, this run has {job.digest}): give "
                          "this run another name, or delete that folder")
    if manifest is None and job.other:
        raise ParamsError(f"{job.folder} has no weights yet: run {job.other.run}, which keeps "
                          "them, comes first")
    if job.after_pretraining and not finished(Job(job.config, "pretrain")):
        raise ParamsError(f"{job.name} starts from the RF-pretrained model: finish the stage "
                          f"pretrain of run {job.config.name} first")
    return manifest is not None and lost(job) is None and _same_start(job, manifest)


def kept_jobs(job: Job) -> dict[int, Job]:
    """Return, for each step that a training keeps, the training of the run that takes it."""
    section = "pretraining" if job.stage == "pretrain" else "adaptation"
    return {getattr(config, section).steps: Job(config, job.stage, job.cell)
            for config in params.kept_runs(job.config) if getattr(config, section).kept}


def lost(job: Job) -> Path | None:
    """Return the first file of a finished training that is missing or has changed, or None.

    The files are those in its manifest, and those of the steps that it keeps.
    """
    if not job.manifest.exists():
        return None
    for one in (job, *kept_jobs(job).values()):
        manifest = read_json(one.manifest) if one.manifest.exists() else {
            "files": {one.manifest.name: ""}}
        made = manifest.get("weights", {}) | manifest.get("files", {})
        for name, expected in made.items():
            if changed(one.folder / name, expected):
                return one.folder / name
    return None


def _same_start(job: Job, manifest: dict) -> bool:
    """Return whether an adaptation was trained from the RF-pretrained model that is there now."""
    if not job.after_pretraining or "base_model" not in manifest:
        return True
    base, folder = manifest["base_model"], model_folder(job.config)
    now = {"sha256": models.weights_hash(folder), "model_sha256": models.model_hash(folder)}
    # An earlier version of the kit recorded the weights alone.
    if any(base.get(key, value) != value for key, value in now.items()):
        raise ParamsError(f"{job.folder} was trained from another RF-pretrained model than "
                          f"{model_folder(job.config)}: delete {job.folder} to train it again")
    return True


def base_folder(job: Job) -> str:
    """Return the folder of the model that a training starts from."""
    return models.resolve(str(model_folder(job.config)) if job.after_pretraining
                          else job.config.model.name)
