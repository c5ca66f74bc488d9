"""The pages of the API reference, a page for each folder of the package, before Sphinx reads them.

They are made anew in docs/api at every build and are not kept under version control.
"""

import shutil
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "metarfft_core"
PAGES = Path(__file__).resolve().parent / "api"
LEFT_OUT = ("library", "data")  # docs/tasks.md shows the tasks; data holds no code
NOT_IMPORTED = ("metarfft_core.training.rl.trainer",)  # Sphinx's own import of trl's GRPO fails


def setup(app) -> dict:
    """Connect to Sphinx before it looks for pages."""
    app.connect("builder-inited", lambda app: write())
    return {"parallel_read_safe": True}


def write() -> None:
    """Write a page for each folder and module of the package, and one that lists them."""
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    rooms = sorted(path for path in PACKAGE.iterdir() if _is_room(path))
    for room in rooms:
        paths = room.rglob("*.py") if room.is_dir() else [room]
        names = sorted(_name(path) for path in paths if path.stem != "__main__"
                       and not {*LEFT_OUT} & {*path.relative_to(PACKAGE).parts}
                       and _name(path) not in NOT_IMPORTED)
        (PAGES / f"{room.stem}.rst").write_text(
            _heading(room.stem, "=") + "\n".join(map(_module, names)), encoding="utf-8")
    contents = ".. toctree::\n   :maxdepth: 1\n\n" + "".join(
        f"   {room.stem}\n" for room in rooms)
    (PAGES / "index.rst").write_text(
        _heading("API", "=") + "Made from the docstrings. A page for each folder or file of\n"
        "`metarfft_core`. What a folder offers can be imported from the folder itself.\n\n"
        + contents, encoding="utf-8")


def _is_room(path: Path) -> bool:
    return path.name not in LEFT_OUT and not path.name.startswith("__") and (
        path.suffix == ".py" or (path / "__init__.py").exists())


def _name(path: Path) -> str:
    """The dotted name of a module."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def _module(name: str) -> str:
    return _heading(name, "-") + f".. automodule:: {name}\n   :members:\n   :show-inheritance:\n"


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"
