"""Checkpoints that are whole or do not count: what a killed training goes on from.

transformers writes a checkpoint file by file. The last file is ours, `hashes.json`, with the
SHA-256 of every other one: a checkpoint without it was cut off by a kill, and one that does not
agree with it is damaged and refused.
"""

import json
from pathlib import Path

from metarfft_core.params import ParamsError
from metarfft_core.system.files import read_json, sha256, write_json

KEPT = 2
"""Checkpoints that are kept while a training goes; with one, its successor could be cut off after
it was deleted. When the training has ended they are all deleted."""

_HASHES = "hashes.json"


def seal(checkpoint: Path) -> None:
    """Say that a checkpoint is whole."""
    write_json(checkpoint / _HASHES, {str(path.relative_to(checkpoint)): sha256(path)
                                      for path in _files(checkpoint)})


def _files(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*")
                  if path.is_file() and path.name != _HASHES)


def whole(folder: Path) -> list[Path]:
    """The whole checkpoints in `folder`, by step."""
    sealed = [path for path in folder.glob("checkpoint-*") if (path / _HASHES).exists()]
    return sorted(sealed, key=lambda path: state(path)["global_step"])


def last(folder: Path) -> Path | None:
    """The latest whole checkpoint in `folder`."""
    return next(reversed(whole(folder)), None)


def state(checkpoint: Path) -> dict:
    """What transformers keeps of the training's state in a whole checkpoint."""
    try:
        return read_json(checkpoint / "trainer_state.json")
    except (OSError, json.JSONDecodeError):
        raise _damaged(checkpoint / "trainer_state.json") from None


def verify(checkpoint: Path) -> None:
    """Raise ParamsError, naming the file, where a checkpoint is not what was written."""
    hashes = read_json(checkpoint / _HASHES)
    for name, expected in hashes.items():
        path = checkpoint / name
        if not path.is_file() or sha256(path) != expected:
            raise _damaged(path)


def check_kind(checkpoint: Path, sharded: bool) -> None:
    """Raise ParamsError where a sharded training would go on from a checkpoint of one that is not,
    or the other way round: their weights and optimizer states stand in other files."""
    was = (checkpoint / "pytorch_model_fsdp.bin").exists()
    if was != sharded:
        raise ParamsError(f"{checkpoint} was written by a training that was "
                          f"{'' if was else 'not '}sharded (FSDP), this one is "
                          f"{'' if sharded else 'not '}: go on as it was begun, or delete "
                          f"{checkpoint.parent}")


def _damaged(path: Path) -> ParamsError:
    return ParamsError(f"{path} is damaged or missing: delete {path.parent} and the training goes "
                       "on from the checkpoint before it, or starts again")


def stopped(checkpoint: Path) -> bool:
    """Whether the training had ended, at its last step or early, when it wrote a checkpoint."""
    return state(checkpoint)["stateful_callbacks"]["TrainerControl"]["args"][
        "should_training_stop"]


def best(checkpoint: Path) -> Path:
    """The checkpoint with the best validation loss, where the training looks for it; else this."""
    found = state(checkpoint).get("best_model_checkpoint")
    return checkpoint.with_name(Path(found).name) if found else checkpoint
