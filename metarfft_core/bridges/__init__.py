"""Bridges from a run to other tools: lm-eval, trl's GRPO, and data sets on the Hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metarfft_core.params import ParamsError
from metarfft_core.system.files import whole_folder


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; rename it to `path` if the block succeeds.

    Raises:
        ParamsError: `path` is a file or a folder that is not empty; nothing is replaced.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ParamsError(f"{path} is not empty: name a new folder, or delete that one")
    with whole_folder(path) as temporary:
        yield temporary
