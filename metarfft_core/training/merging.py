"""The weights that a method answers with: merged temporarily, or exported to a folder."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from metarfft_core import models
from metarfft_core.params import METHODS, Cell, Params, ParamsError
from metarfft_core.system.files import (
    remove_leftovers,
    temporary_name,
    whole_folder,
)
from metarfft_core.training.job import (
    Job,
    base_folder,
    finished,
    jobs,
    model_folder,
)
from metarfft_core.training.rl.arms import arms


def clean(config: Params) -> None:
    """Delete the merged weights and half-written models that killed processes of a run left."""
    for folder in {job.folder for job in (*jobs(config), *arms(config))}:
        remove_leftovers(folder)


@dataclass(frozen=True)
class Source:
    """The plain weights that a cell is answered with, and the adaptation that changes them.

    Attributes:
        base: The folder of plain weights with their tokenizer.
        job: The training whose adapter belongs onto them, or None.
    """

    base: Path
    job: Job | None = None

    @property
    def adapter(self) -> Path | None:
        """The folder of the plain LoRA, or None."""
        return self.job and self.job.folder / "lora"

    def model(self):
        """Return a plain bfloat16 model in memory, with the adapter merged into it."""
        import torch
        from transformers import AutoModelForCausalLM

        if self.job:
            return models.merge_pissa(pissa_start_of(self.job, str(self.base)),
                                      self.job.folder / "adapter")
        return AutoModelForCausalLM.from_pretrained(self.base, dtype=torch.bfloat16,
                                                    trust_remote_code=False)


def source(config: Params, cell: Cell) -> Source:
    """Return where the weights come from that a cell is answered with."""
    if not METHODS[cell.method].adapted:
        pretrained = METHODS[cell.method].start == "pretrained"
        return Source(model_folder(config) if pretrained else
                      Path(models.resolve(config.model.name)))
    job = Job(config, "adapt", cell)
    if (job.folder / "model").exists():  # a full fine-tuning
        return Source(job.folder / "model")
    return Source(Path(base_folder(job)), job)


@contextmanager
def weights(config: Params, cell: Cell) -> Iterator[Path]:
    """Yield a folder with the bfloat16 weights and the tokenizer that a cell is answered with.

    An adapter is merged into a temporary folder that is deleted after the block, because the merged
    weights of every task and method would fill a disk.
    """
    found = source(config, cell)
    if found.job is None:
        yield found.base
        return
    merged = temporary_name(found.job.folder / "merged")
    clean(config)
    try:
        models.save(found.model(), found.base, merged, config.model.chat_template)
        yield merged
    finally:
        shutil.rmtree(merged, ignore_errors=True)


def export(job: Job, folder: Path) -> Path:
    """Write the merged bfloat16 weights of a finished adaptation to `folder`, all or nothing.

    The plain LoRA is in the training's own folder.

    Raises:
        ParamsError: If the training is not finished or `folder` exists.
    """
    if Path(folder).exists():
        raise ParamsError(f"{folder} exists: name a folder that does not")
    if not finished(job):
        raise ParamsError(f"{job.name} is not finished: there is no {job.manifest}")
    with weights(job.config, job.cell) as made, whole_folder(Path(folder)) as temporary:
        shutil.copytree(made, temporary, dirs_exist_ok=True)
    return Path(folder)


def pissa_start_of(job: Job, base: str) -> Path | None:
    """Return the PiSSA start, or None for a full fine-tuning.

    It is kept beside the RF-pretrained model or, for a named model, in the cache. If the run needs
    this model with a larger rank too, that start is computed, and this one is cut from it.
    """
    if job.settings.method == "full":
        return None
    rank, folder = job.settings.rank, pissa_folder(job, base)
    largest = max((other for other in jobs(job.config) if _shares_base(other, job)),
                  key=lambda other: other.settings.rank, default=job)
    larger = None
    if largest.settings.rank > rank and not folder.exists():
        larger = pissa_start_of(largest, base)
    return models.pissa_start(base, rank, folder, larger)


def pissa_folder(job: Job, base: str) -> Path:
    """Return the folder of the PiSSA start that a training with PiSSA uses."""
    if job.after_pretraining:
        return Job(job.config, "pretrain").folder / f"pissa-{job.settings.rank}"
    return (models.cache_folder() / "pissa" /
            f"{models.model_hash(base)[:16]}-{job.settings.rank}")


def _shares_base(other: Job, job: Job) -> bool:
    return (other.settings.method == "pissa"
            and other.after_pretraining == job.after_pretraining)
