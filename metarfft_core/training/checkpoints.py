"""Checkpoints that a killed training resumes from; only whole ones count.

transformers writes a checkpoint file by file. The kit then writes the last file, `hashes.json`,
with the SHA-256 of every other file. A checkpoint without it was interrupted by a kill and is
ignored. A checkpoint that does not match it is damaged and refused.
"""

import json
from pathlib import Path

from metarfft_core.params import ParamsError
from metarfft_core.system.files import read_json, sha256, write_json

KEPT = 2
"""How many checkpoints a running training keeps. If it kept one, a kill could interrupt the next
one after the old one was deleted. All are deleted when the training ends."""

_HASHES = "hashes.json"


def seal(checkpoint: Path) -> None:
    """Mark a checkpoint as whole."""
    write_json(checkpoint / _HASHES, {str(path.relative_to(checkpoint)): sha256(path)
                                      for path in _files(checkpoint)})


def _files(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*")
                  if path.is_file() and path.name != _HASHES)


def whole(folder: Path) -> list[Path]:
    """Return the whole checkpoints in `folder`, ordered by step."""
    sealed = [path for path in folder.glob("checkpoint-*") if (path / _HASHES).exists()]
    return sorted(sealed, key=lambda path: state(path)["global_step"])


def last(folder: Path) -> Path | None:
    """Return the latest whole checkpoint in `folder`, or None."""
    return next(reversed(whole(folder)), None)


def state(checkpoint: Path) -> dict:
    """Return the training state that transformers stores in a whole checkpoint."""
    try:
        return read_json(checkpoint / "trainer_state.json")
    except (OSError, json.JSONDecodeError):
        raise _damaged(checkpoint / "trainer_state.json") from None


def verify(checkpoint: Path) -> None:
    """Raise ParamsError, naming the file, if a checkpoint is not what was written."""
    hashes = read_json(checkpoint / _HASHES)
    for name, expected in hashes.items():
        path = checkpoint / name
        if not path.is_file() or sha256(path) != expected:
            raise _damaged(path)


def check_kind(checkpoint: Path, sharded: bool) -> None:
    """Raise ParamsError if only one of the training and its checkpoint is sharded.

    The two kinds keep their weights and optimizer states in different files.
    """
    was_sharded = (checkpoint / "pytorch_model_fsdp.bin").exists()
    if was_sharded != sharded:
        raise ParamsError(f"{checkpoint} was written by a training that was "
                          f"{'' if was_sharded else 'not '}sharded (FSDP), this one is "
                          f"{'' if sharded else 'not '}: resume it as it was started, or "
                          f"delete {checkpoint.parent}")


def _damaged(path: Path) -> ParamsError:
    return ParamsError(f"{path} is damaged or missing: delete {path.parent}, and the training "
                       "resumes from the checkpoint before it, or starts again")


def stopped(checkpoint: Path) -> bool:
    """Return whether the training had ended, at its last step or early, at this checkpoint."""
    return state(checkpoint)["stateful_callbacks"]["TrainerControl"]["args"][
        "should_training_stop"]


def best(checkpoint: Path) -> Path:
    """Return the checkpoint with the best validation loss if that is tracked, else this one."""
    name = state(checkpoint).get("best_model_checkpoint")
    return checkpoint.with_name(Path(name).name) if name else checkpoint
