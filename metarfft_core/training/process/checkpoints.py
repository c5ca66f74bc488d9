"""Checkpoints that a killed training resumes from; only complete ones count.

transformers writes the state of the trainer, and `models.shards` the weights and the optimizer's
state, every process its own file. Finally the first process writes `hashes.json` with the SHA-256
of every file. A checkpoint without it was interrupted by a kill and is ignored. A checkpoint that
does not match it is damaged and refused.

A checkpoint has all that a training needs to resume: the weights, the optimizer's state and, with
early stopping, the weights of the best validation so far. The last one of a training holds only
the weights that the training ends with.
"""

import json
import re
import shutil
from pathlib import Path

from metarfft_core.params import ParamsError
from metarfft_core.system.files import all_sha256, read_json, write_json

KEPT = 2
"""How many whole checkpoints a running training keeps while it writes the next one. All are deleted
when the training ends."""

SHARDS = "shards"
_HASHES = "hashes.json"
_PROCESS = re.compile(r"(?:__|rng_state_)(\d+)[._]")  # files that name the process that wrote them


def hashes(checkpoint: Path, process: int) -> dict[str, str]:
    """Return the SHA-256 of the files that a process wrote, by their paths in the checkpoint."""
    paths = [path for path in sorted(checkpoint.rglob("*"))
             if path.is_file() and path.name != _HASHES and _writer(path) == process]
    return {str(path.relative_to(checkpoint)): value
            for path, value in zip(paths, all_sha256(paths, anew=True), strict=True)}


def _writer(path: Path) -> int:
    found = _PROCESS.match(path.name)
    return int(found[1]) if found else 0


def seal(checkpoint: Path, hashes: dict[str, str]) -> None:
    """Mark a checkpoint as whole, with the hashes of all processes' files."""
    write_json(checkpoint / _HASHES, dict(sorted(hashes.items())))


def remove_old(folder: Path) -> None:
    """Delete all whole checkpoints but the last `KEPT`."""
    for checkpoint in whole(folder)[:-KEPT]:
        (checkpoint / _HASHES).unlink()  # first, so that a half-deleted one does not count
        shutil.rmtree(checkpoint, ignore_errors=True)


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
    expected = read_json(checkpoint / _HASHES)
    paths = [checkpoint / name for name in expected]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise _damaged(missing[0])
    for path, value, found in zip(paths, expected.values(), all_sha256(paths, anew=True),
                                  strict=True):
        if value != found:
            raise _damaged(path)


def check_kind(checkpoint: Path) -> None:
    """Raise ParamsError if an earlier version of the kit wrote the checkpoint."""
    if not (checkpoint / SHARDS).is_dir():
        raise ParamsError(f"{checkpoint} was written by an earlier version of the kit, in another "
                          f"format: finish the training with that version, or delete "
                          f"{checkpoint.parent}")


def _damaged(path: Path) -> ParamsError:
    return ParamsError(f"{path} is damaged or missing: delete {path.parent}, and the training "
                       "resumes from the checkpoint before it, or starts again")


def stopped(checkpoint: Path) -> bool:
    """Return whether the training had ended, at its last step or early, at this checkpoint."""
    return state(checkpoint)["stateful_callbacks"]["TrainerControl"]["args"][
        "should_training_stop"]


def model_step(checkpoint: Path) -> int:
    """Return the step of the weights that a training which ended at this checkpoint leaves.

    It is that of the best validation if that is tracked, else the last one.
    """
    told = state(checkpoint)
    return told.get("best_global_step") or told["global_step"]
