"""Opens JupyterLab on copies of the notebooks: `python -m metarfft_core.lab.start` (`make lab`).

The copies are in `work/`, which git ignores. So running and saving a notebook never changes the
stored outputs that git tracks. A copy is as deep in the project as its notebook, so its links work.
Options are passed on to JupyterLab.
"""

import shutil
import sys
from pathlib import Path

import nbformat

from metarfft_core.system import places
from metarfft_core.system.files import read_json, sha256, write_json

NOTEBOOKS, WORK = places.ROOT / "notebooks", places.ROOT / "work"
FIRST = "00_start_here.ipynb"
SETTINGS = Path(__file__).parent / "static" / "settings"
"""JupyterLab's folder of settings: whole file names, and no question about news."""

_COPIED = ".copied.json"  # in the folder of copies: the hashes of each notebook and of its new copy
_START = "/start"  # redirects to the first notebook


def copy_notebooks(notebooks: Path, work: Path) -> list[str]:
    """Copy the notebooks and pages that are missing in a folder, and update unchanged copies.

    Returns:
        The names of notebooks that changed since they were copied, and whose copies were changed
        too. These copies stay as they are.
    """
    record = work / _COPIED
    copied: dict[str, list[str]] = read_json(record) if record.exists() else {}
    outdated = []
    for source in sorted([*notebooks.rglob("*.ipynb"), *notebooks.rglob("*.md")]):
        name = source.relative_to(notebooks).as_posix()
        if ".ipynb_checkpoints" in name:
            continue
        now, copy = sha256(source), work / name
        before = copied.get(name, [None, None])
        if copy.exists() and sha256(copy) != before[1]:
            outdated += [name] if before[0] != now else []
        elif not copy.exists() or before[0] != now:
            _copy(source, copy)
            copied[name] = [now, sha256(copy)]
    write_json(record, copied)
    return outdated


def _copy(source: Path, copy: Path) -> None:
    """Copy a page, or a notebook with this Python's name in it.

    JupyterLab writes that name when it opens a notebook. Without it, the notebook would count as
    changed as soon as it is opened.
    """
    copy.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".md":
        shutil.copyfile(source, copy)
        return
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelspec import get_kernel_dict

    notebook = nbformat.read(source, as_version=4)
    notebook.metadata.kernelspec.display_name = get_kernel_dict()["display_name"]
    notebook.metadata.language_info = dict(IPythonKernel.language_info)
    nbformat.write(notebook, copy)


def options() -> list[str]:
    """JupyterLab's options: the project is its root, and the first notebook is in front."""
    return [f"--ServerApp.root_dir={places.ROOT}", f"--LabApp.app_settings_dir={SETTINGS}",
            f"--LabApp.default_url={_START}",
            f"--ServerApp.jpserver_extensions={__spec__.name}=True"]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """This module extends the server."""
    return [{"module": __name__}]


def _load_jupyter_server_extension(server) -> None:
    """Add the address that opens the first notebook with the project in the file browser.

    JupyterLab needs a query for that, and the address that the server prints cannot have one.
    """
    from jupyter_server.base.handlers import JupyterHandler
    from jupyter_server.utils import url_path_join
    from tornado.web import authenticated

    class Start(JupyterHandler):
        @authenticated
        def get(self) -> None:
            self.redirect(url_path_join(self.base_url, "lab/tree", WORK.name,
                                        f"{FIRST}?file-browser-path=/"))

    server.web_app.add_handlers(".*", [(url_path_join(server.base_url, _START), Start)])


def main(arguments: list[str]) -> None:
    """Copy the notebooks and run JupyterLab until it is stopped."""
    from jupyterlab import labapp

    places.need_checkout("JupyterLab on the notebooks needs")
    places.settle()  # a relative path in a variable is meant from here, not from a notebook
    for name in copy_notebooks(NOTEBOOKS, WORK):
        print(f"notebooks/{name} has changed since {WORK.name}/{name} was copied; your copy stays. "
              "Rename or delete it to get the new one.")
    labapp.main([*options(), *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
