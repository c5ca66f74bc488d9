"""Runs the numbered notebooks in order, headlessly, and checks that each one really ran.

A notebook is skipped if it finished before with the same parameters and code, and if all its files
are still there. Its files are listed with their hashes in a .json of its name, beside the executed
notebook: all results of the run that existed when it ended and belong to no other notebook. If a
file is missing or changed, its notebook runs again. If that makes a different file, the later
notebooks run again too.

Making a record reads each new file once, at about a gigabyte a second. Checking a record compares
sizes and times, and reads a file again only if its time differs.

Papermill is called from Python, because only there does it merge the outputs of a progress log into
one.
"""

import logging
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import papermill
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

from metarfft_core import params
from metarfft_core.lab.widget import STATIC
from metarfft_core.system import places
from metarfft_core.system.files import naming, read_json, sha256, write_json
from metarfft_core.system.processes import alone

RESULTS = ("corpus", "pretrain", "adapt", "rl", "evaluation", "figures", "paper")
"""The folders of a run whose files are recorded."""

NOTEBOOKS = places.ROOT / "notebooks"


class NotebookError(RuntimeError):
    """A notebook failed or did not run to its end."""


def run(config: params.Params) -> Path:
    """Run every notebook with the parameters of `config`.

    The executed notebooks stay in <folder>/notebooks, even after an error.

    Returns:
        The folder of the figures.

    Raises:
        ParamsError: The run's folder holds another run, or stored results without weights.
        NotebookError: A notebook failed or left out a cell.
    """
    folder = params.open_folder(config)
    if params.is_archive(folder):
        raise params.ParamsError(
            f"{folder} holds stored results without weights, so no stage can run there; notebooks "
            "4 to 8, `metarfft figures` and `metarfft report` show them")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    for noisy in ("papermill.translators", "traitlets", "blib2to3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with alone(folder / "notebooks"):
        records = _Records(folder)
        again = False
        for source in sorted(NOTEBOOKS.glob("0[1-9]*.ipynb")):  # not 00, which reads no run
            output = folder / "notebooks" / source.name
            lost = records.lost(source.stem)
            if not (again or lost) and is_finished(source, output, config):
                print(f"{source.name}: finished before, skipped", flush=True)
                continue
            print(f"{source.name}: running, output in {output}"
                  + (f" ({lost} is missing or changed)" if lost and output.exists() else ""),
                  flush=True)
            start = time.monotonic()
            _execute(source, output, config)
            again |= records.write(source.stem)
            print(f"{source.name}: done after {time.monotonic() - start:.0f} s", flush=True)
    return folder / "figures"


class _Records:
    """The files that each notebook of a run made, as recorded in the .json beside it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.files: dict[str, dict[str, dict]] = {}
        for path in (folder / "notebooks").glob("[0-9]*.json"):
            with suppress(ValueError):  # a record that a full disk cut off is as good as none
                self.files[path.stem] = read_json(path)

    def lost(self, name: str) -> Path | None:
        """The first file of a notebook that is missing or changed, or its record if missing."""
        if name not in self.files:
            return self._path(name)
        return next((self.folder / file for file, about in self.files[name].items()
                     if not _same(self.folder / file, about)), None)

    def write(self, name: str) -> bool:
        """Record the files of a notebook; returns whether they differ from an earlier record."""
        before = self.files.pop(name, None)
        kept = {file for files in self.files.values() for file, about in files.items()
                if _same(self.folder / file, about)}
        results = {path.relative_to(self.folder).as_posix(): path
                   for path in _results(self.folder)}
        self.files[name] = {file: _stamp(path) for file, path in results.items()
                            if file not in kept}
        for other, files in self.files.items():
            # A file of another notebook that this one wrote again now belongs to this one.
            left = {file: about for file, about in files.items()
                    if other == name or file not in self.files[name]}
            if other == name or left != files:
                self.files[other] = left
                write_json(self._path(other), left)
        return before is not None and _hashes(before) != _hashes(self.files[name])

    def _path(self, name: str) -> Path:
        return self.folder / "notebooks" / f"{name}.json"


def _results(folder: Path) -> list[Path]:
    """The result files of a run, without locks, checkpoints, PiSSA starts and tracker logs."""
    return [path for part in RESULTS for path in sorted((folder / part).rglob("*"))
            if path.is_file() and not any(
                name.startswith((".", "pissa-")) or name in ("checkpoints", "tensorboard")
                for name in path.relative_to(folder).parts)]


def _stamp(path: Path) -> dict:
    about = path.stat()
    return {"sha256": sha256(path), "size": about.st_size, "mtime_ns": about.st_mtime_ns}


def _same(path: Path, about: dict) -> bool:
    """Whether a file exists and is the one that was recorded."""
    if not path.is_file() or path.stat().st_size != about["size"]:
        return False
    return path.stat().st_mtime_ns == about["mtime_ns"] or sha256(path) == about["sha256"]


def _hashes(files: dict[str, dict]) -> dict[str, str]:
    return {file: about["sha256"] for file, about in files.items()}


class ThisPython(AsyncKernelManager):
    """Starts kernels with this interpreter, whatever kernel is installed as python3.

    Widgets show their static twins there, because what the notebooks show is stored.
    """

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, env={STATIC: "1"}, **get_kernel_dict())


def _execute(source: Path, output: Path, config: params.Params) -> None:
    try:
        with naming(output):
            papermill.execute_notebook(
                source, output, parameters=config.model_dump(), kernel_name="python3",
                kernel_manager_class=ThisPython,
                cwd=source.parent, coalesce_streams=True, log_output=True, progress_bar=False)
    except papermill.PapermillExecutionError as error:
        raise NotebookError(f"{output}: cell {error.exec_count} raised {error.ename}: "
                            f"{error.evalue}") from None
    problems = unfinished(nbformat.read(output, as_version=4))
    if problems:
        raise NotebookError(f"{output}: {'; '.join(problems)}")


def unfinished(notebook: nbformat.NotebookNode) -> list[str]:
    """List the cells that show an incomplete run: they failed, were left out or are pending.

    After a `sys.exit(0)` in a cell, or if the kernel is killed, papermill may skip the following
    cells and still report success.
    """
    problems = []
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        status = cell.metadata.get("papermill", {}).get("status")
        if any(output.output_type == "error" for output in cell.outputs):
            problems.append(f"cell {number} failed")
        elif cell.execution_count is None:
            problems.append(f"cell {number} did not run")
        elif status not in ("completed", None):
            problems.append(f"cell {number} is {status}")
    return problems


def is_finished(source: Path, output: Path, config: params.Params) -> bool:
    """Whether `output` ran to its end with these parameters and the current code of `source`."""
    if not output.exists():
        return False
    try:
        before = nbformat.read(output, as_version=4)
        given = before.metadata.get("papermill", {}).get("parameters") or {}
        same = params.check(given).digest == config.digest
        code, left = _code(before), unfinished(before)
    except Exception:  # other parameters, or no notebook: a kill or a full disk cut it off
        return False
    return same and code == _code(nbformat.read(source, as_version=4)) and not left


def _code(notebook: nbformat.NotebookNode) -> list[str]:
    """The code cells of a notebook, without the cell in which papermill sets the parameters."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"
            and "injected-parameters" not in cell.metadata.get("tags", [])]
