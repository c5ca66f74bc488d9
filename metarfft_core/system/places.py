"""Where things lie: the project, the results, and the paths that a user names.

A path is made whole once, where it is read; `~` is the home folder, and `$NAME` is left to the
shell. What a relative path is relative to depends on where it stands:

- on the command line, and for Python, the current folder;
- in an environment variable the current folder too. The process of a notebook works in the
  project's notebooks folder: there it is the project, from which JupyterLab is started;
- in a parameter file the project; where the kit is installed without its project (no notebooks, no
  `pyproject.toml` beside it), the current folder.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
"""The project, or whatever folder the package is installed in."""

VARIABLES = ("METARFFT_OUTPUTS", "METARFFT_CACHE", "METARFFT_PARAMS", "METARFFT_PRETRAIN_ON",
             "METARFFT_ADAPT_ON")
"""The environment variables that hold a path."""


class ParamsError(ValueError):
    """Something that the user gave is wrong; the message is meant for the user."""


def is_checkout() -> bool:
    """Whether the package lies in the project's own folder, with notebooks and parameter files."""
    return (ROOT / "notebooks").is_dir() and (ROOT / "pyproject.toml").is_file()


def need_checkout(what: str) -> None:
    """Raise ParamsError where the kit is installed without the project that `what` needs."""
    if not is_checkout():
        raise ParamsError(f"{what} a checkout of the project; this is the installed package alone, "
                          f"in {ROOT}")


def project() -> Path:
    """The folder that paths in a parameter file are relative to."""
    return ROOT if is_checkout() else Path.cwd()


def absolute(path: str | os.PathLike, base: Path | None = None) -> Path:
    """A path with the home folder for `~`, and from the root; relative ones lie in `base`, which is
    the current folder where it is not given. ParamsError where a user has no home folder."""
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:
        raise ParamsError(f"{path}: there is no home folder of that name") from None
    return Path(os.path.abspath(expanded if base is None else base / expanded))


def variable(name: str) -> Path | None:
    """The path in one of `VARIABLES`, None where it is not set or empty.

    The variable holds the whole path from then on: in this process, and in those that it starts,
    whatever folder they work in.
    """
    given = os.environ.get(name)
    if not given:
        return None
    in_notebook = is_checkout() and not os.path.isabs(given) and Path.cwd() == ROOT / "notebooks"
    path = absolute(given, ROOT if in_notebook else None)
    os.environ[name] = str(path)
    return path


def settle() -> None:
    """Make the paths in all `VARIABLES` whole, at the start of a command or a notebook."""
    for name in VARIABLES:
        variable(name)


def outputs() -> Path:
    """Where runs are stored: $METARFFT_OUTPUTS, or outputs in the project."""
    return (variable("METARFFT_OUTPUTS") or project() / "outputs").resolve()
