"""The files of the page that steps through a rule in the browser, docs/explorer.md.

A build of the site writes them into its folder `explorer/`: the rooms of the package that need the
standard library alone, the explorer's script and style, and Pyodide if it has been installed with
npm. A build fetches nothing, so without Pyodide the page shows a table of steps, and says how to
add it.
"""

import shutil
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "metarfft_core"
PYODIDE = ROOT / "tests" / "pyodide" / "node_modules" / "pyodide"
"""Where `npm ci --prefix tests/pyodide` puts Pyodide."""

ROOMS = ("tracing", "tasks", "formats.py", "lab/__init__.py", "lab/stepping.py", "lab/view.py",
         "__init__.py")
"""What runs in the browser."""
SHOWN = ("lab/static/explorer.js", "lab/static/explorer.css")
RUNTIME = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip",
           "pyodide-lock.json")
"""The files of Pyodide that a browser loads."""

TWIN = "<!-- the steps as a table -->"
"""What the page holds in the place of the table."""


def setup(app) -> dict:
    """Connect to Sphinx: the table when the page is read, the files when the site is written."""
    app.connect("source-read", _show_twin)
    app.connect("build-finished", lambda app, error: error or write(Path(app.outdir) / "explorer"))
    return {"parallel_read_safe": True}


def _show_twin(app, name: str, source: list[str]) -> None:
    if name == "docs/explorer":
        source[0] = source[0].replace(TWIN, twin())


def twin() -> str:
    """The steps of an instance as plain HTML, for a reader without JavaScript or Pyodide."""
    from metarfft_core import lab

    return lab.explore("move_zeroes", length=3, index=7).twin().replace("\n\n", "\n")


def write(folder: Path) -> None:
    """Write the files that the page loads into a folder, beside those of docs/site/explorer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHOWN:
        shutil.copy(PACKAGE / name, folder)
    with zipfile.ZipFile(folder / "metarfft.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for room in ROOMS for path in _files(PACKAGE / room)):
            made = zipfile.ZipInfo(str(path.relative_to(ROOT)))  # of 1980: the same bytes each time
            archive.writestr(made, path.read_bytes(), zipfile.ZIP_DEFLATED)
    if PYODIDE.is_dir():
        (folder / "pyodide").mkdir(exist_ok=True)
        for name in RUNTIME:
            shutil.copy(PYODIDE / name, folder / "pyodide")


def _files(path: Path) -> list[Path]:
    return [*path.rglob("*.py")] if path.is_dir() else [path]
