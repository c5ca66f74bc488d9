"""What a finished training records of itself: its data, versions and numbers."""

from importlib.metadata import version
from pathlib import Path

from metarfft_core.models import chat_template
from metarfft_core.system import processes
from metarfft_core.system.files import read_json, sha256
from metarfft_core.training.job import Job


def provenance(job: Job, tokenizer) -> dict:
    """Return digest, commit, versions, and the SHA-256 of every file that samples come from."""
    from metarfft_core import corpus

    libraries = ("torch", "transformers", "trl", "peft", "accelerate")
    made = corpus.provenance(job.config)
    splits = [*job.splits]
    if job.stage == "pretrain" and job.settings.in_context_share:
        splits.append("in_context")
    data = {str(path.relative_to(corpus.home(job.config))): sha256(path) for split in splits
            for path in corpus.files(job.config, split, job.format, job.task)}
    if job.settings.mix:
        data[job.settings.mix.file] = sha256(job.settings.mix.path)
    return {"params_digest": job.digest, "seed": job.order_seed,
            "git_commit": made["git_commit"],
            "chat_template": chat_template.about(tokenizer.get_chat_template()),
            "versions": made["versions"] | {name: version(name) for name in libraries},
            "data": data}


def summary(log: list[dict]) -> dict:
    """Return the seconds of a training and its first and last validation loss."""
    losses = [line["validation_loss"] for line in log if "validation_loss" in line]
    return {"seconds": log[-1]["seconds"], "first_validation_loss": losses[0],
            "last_validation_loss": losses[-1]}


def of_start(start: Path | None) -> dict:
    """Return how the PiSSA start was made, unless there is none or an earlier version made it."""
    made = read_json(start / "manifest.json").get("made") if start else None
    return {"pissa_start": made} if made else {}


def peak_memory() -> dict[str, float]:
    """Return the peak memory of this process in GiB, on the host and on its GPU."""
    import torch

    peak = {"host": processes.peak_memory()}
    if torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated() / 2**30
    return {name: round(value, 2) for name, value in peak.items()}
