"""Where things are: the project, the results, and the paths that a user names.

A path is made absolute once, when it is read. `~` is the home folder; `$NAME` is left to the shell.
The base of a relative path depends on its source:

- On the command line and in Python, the base is the current folder.
- In an environment variable, it is the current folder too. In a notebook, whose process works in
  the project's notebooks folder, it is the project, because JupyterLab is started from there. A
  parameter file that is not there but in the other of the two folders is found too.
- In a parameter file, it is the project. If the kit is installed without its project (no notebooks
  and no `pyproject.toml` beside it), it is the current folder.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
"""The project, or the folder that the package is installed in."""

VARIABLES = ("METARFFT_OUTPUTS", "METARFFT_CACHE", "METARFFT_PARAMS", "METARFFT_PRETRAIN_ON",
             "METARFFT_ADAPT_ON", "METARFFT_RL_ON")
"""The environment variables that hold a path."""


class ParamsError(ValueError):
    """A value that the user gave is wrong; the message is meant for the user."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback; the cell fails all the same."""
        return [f"{type(self).__name__}: {self}"]


def is_checkout() -> bool:
    """Whether the package is in the project's own folder, with notebooks and parameter files."""
    return (ROOT / "notebooks").is_dir() and (ROOT / "pyproject.toml").is_file()


def need_checkout(what: str) -> None:
    """Check that the package is in a checkout of the project.

    Args:
        what: The beginning of the message: what needs a checkout.

    Raises:
        ParamsError: The kit is installed without its project.
    """
    if not is_checkout():
        raise ParamsError(f"{what} a checkout of the project; this is the installed package alone, "
                          f"in {ROOT}")


def project() -> Path:
    """The folder that paths in a parameter file are relative to."""
    return ROOT if is_checkout() else Path.cwd()


def absolute(path: str | os.PathLike, base: Path | None = None) -> Path:
    """Make a path absolute and replace `~` by the home folder.

    Args:
        path: Any path.
        base: The folder that a relative path is in; the current folder if not given.

    Raises:
        ParamsError: The path names a home folder that does not exist.
    """
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:
        raise ParamsError(f"{path}: there is no home folder of that name") from None
    return Path(os.path.abspath(expanded if base is None else base / expanded))


def file(path: str | os.PathLike) -> Path:
    """Make the path of a file to read absolute.

    Raises:
        ParamsError: There is no such file.
    """
    found = absolute(path)
    if not found.is_file():
        raise ParamsError(f"there is no file {found}")
    return found


def folder(path: str | os.PathLike) -> Path:
    """Make the path of a folder to write to absolute; the folder need not exist.

    Raises:
        ParamsError: A file is in its place or above it.
    """
    found = absolute(path)
    for parent in (found, *found.parents):
        if os.path.exists(parent) and not os.path.isdir(parent):
            raise ParamsError(f"expected a folder, but {parent} is a file")
    return found


def variable(name: str) -> Path | None:
    """The absolute path in one of `VARIABLES`, or None if the variable is unset or empty.

    The call also sets the variable to the absolute path, so that the processes started from here
    find the same place, whatever folder they work in.
    """
    given = os.environ.get(name)
    if not given:
        return None
    in_notebook = is_checkout() and Path.cwd().is_relative_to(ROOT / "notebooks")
    bases = [ROOT, Path.cwd()] if in_notebook else [Path.cwd()]
    path = existing(given, *bases) if name == "METARFFT_PARAMS" else absolute(given, bases[0])
    os.environ[name] = str(path)
    return path


def existing(path: str | os.PathLike, *bases: Path) -> Path:
    """Make the path of a file absolute: in the first of these folders that has it, or the project.

    Returns:
        The path in the first of the folders, if no folder has it.
    """
    paths = [absolute(path, base) for base in (*bases, project())]
    return next((one for one in paths if one.exists()), paths[0])


def settle() -> None:
    """Make the paths in all `VARIABLES` absolute, at the start of a command or a notebook."""
    for name in VARIABLES:
        variable(name)


def outputs() -> Path:
    """Where runs are stored: $METARFFT_OUTPUTS, or outputs in the project."""
    return (variable("METARFFT_OUTPUTS") or project() / "outputs").resolve()


def shown(path: Path) -> str:
    """A path for a message: below the project it is relative to it."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
