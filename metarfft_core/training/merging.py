"""The weights that a method answers with: merged temporarily, or exported to a folder."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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


def clean(config: Params) -> None:
    """Delete the merged weights and half-written models that killed processes of a run left."""
    for folder in {job.folder for job in jobs(config)}:
        remove_leftovers(folder)


@contextmanager
def weights(config: Params, cell: Cell) -> Iterator[Path]:
    """Yield a folder with the bfloat16 weights and the tokenizer that a cell is answered with.

    An adapter is merged into a temporary folder that is deleted after the block, because the merged
    weights of every task and method would fill a disk.
    """
    if not METHODS[cell.method].adapted:
        pretrained = METHODS[cell.method].start == "pretrained"
        yield model_folder(config) if pretrained else Path(models.resolve(config.model.name))
        return
    job = Job(config, "adapt", cell)
    if (job.folder / "model").exists():  # a full fine-tuning
        yield job.folder / "model"
        return
    base, merged = base_folder(job), temporary_name(job.folder / "merged")
    clean(config)
    try:
        models.save(models.merge_pissa(pissa_start_of(job, base), job.folder / "adapter"), base,
                    merged, config.model.chat_template)
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

    It is kept beside the RF-pretrained model or, for a named model, in the cache.
    """
    if job.settings.method == "full":
        return None
    rank = job.settings.rank
    if job.after_pretraining:
        folder = Job(job.config, "pretrain").folder / f"pissa-{rank}"
    else:
        folder = models.cache_folder() / "pissa" / f"{models.model_hash(base)[:16]}-{rank}"
    return models.pissa_start(base, rank, folder)
