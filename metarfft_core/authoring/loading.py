"""The import of a user's own Python file and of the tasks that it declares."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metarfft_core.system.places import absolute
from metarfft_core.tasks.definition import Task


class CheckError(ValueError):
    """Raised for a task that fails its checks; the message names task, length, index and fault."""


_BESIDE: set[str] = set()
"""The modules that files of tasks have imported from their own folders."""


@contextmanager
def _neighbours(folder: Path) -> Iterator[set[str]]:
    """Make the modules in `folder` importable, and those of other files' folders not.

    Yields:
        A set that holds, after the block, the names of the modules that it imported.
    """
    others = {name: sys.modules.pop(name) for name in _BESIDE & set(sys.modules)
              if not _lies_in(folder, name)}
    before, neighbours = set(sys.modules) - _BESIDE, set()
    importlib.invalidate_caches()  # the files may be new
    sys.path.insert(0, str(folder))
    try:
        yield neighbours
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        neighbours |= {name for name in set(sys.modules) - before if _lies_in(folder, name)}
        _BESIDE.update(neighbours)
        for name, module in others.items():
            sys.modules.setdefault(name, module)


def _lies_in(folder: Path, name: str) -> bool:
    """Whether an imported module is in a folder or in a package there; never true for the kit."""
    top, file = name.partition(".")[0], Path(getattr(sys.modules[name], "__file__", None) or "")
    kit = __name__.partition(".")[0]
    return top != kit and (file == folder / f"{top}.py" or folder / top in file.parents)


def load(path: str | Path) -> list[Task]:
    """Import a user's own Python file and return the tasks that it declares.

    The file is executed. As with `python FILE`, it may import the files in its folder; the tasks
    that it imports from them count as its own.

    Raises:
        CheckError: The file fails, a rule leaves the subset (the message gives the line and the
            reason), or the file declares no task.
    """
    file = absolute(path)
    spec = importlib.util.spec_from_file_location(f"own_tasks_{file.stem}", file)
    if not file.is_file() or spec is None:
        raise CheckError(f"{path}: a Python file that declares tasks is needed")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        with _neighbours(file.parent) as neighbours:
            spec.loader.exec_module(module)
    except ValueError as error:
        raise CheckError(f"{path}: {error}") from None
    except (Exception, SystemExit) as error:
        raise CheckError(f"{path}, {where(error, str(file))}: {explain(error)}") from None
    own = {module.__name__, *neighbours}
    declared = [value for value in vars(module).values()
                if isinstance(value, Task) and value.sampler.__module__ in own]
    if not declared:
        raise CheckError(f"{path}: declares no task (see docs/own_tasks.md)")
    return declared


def where(error: BaseException, file: str, lines: list[str] | None = None) -> str:
    """The last line of a file in an error's traceback, with its text if `lines` are given."""
    numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
               if frame.filename == file]
    number = numbers[-1] if numbers else getattr(error, "lineno", None) or 1
    return f"line {number}" + (f": {lines[number - 1].strip()}" if lines else "")


def explain(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
