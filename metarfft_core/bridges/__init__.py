"""Bridges from a run to other people's tools: lm-eval, trl's GRPO, a data set for the Hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metarfft_core.params import ParamsError
from metarfft_core.system.files import whole_folder


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; it takes the name `path` when the block ends well.

    Raises ParamsError where something stands at `path` already: nothing is ever replaced.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ParamsError(f"{path} is not empty: name a new folder, or delete that one")
    with whole_folder(path) as temporary:
        yield temporary
