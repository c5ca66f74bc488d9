"""Runs the numbered notebooks in order, headlessly, and checks that each one really ran.

A notebook that ran through with the same parameters and the same code is skipped. Papermill is
driven from Python because only there it merges the outputs of a progress log into one.
"""

import logging
import sys
import time
from pathlib import Path

import nbformat
import papermill

from metarfft_core import params
from metarfft_core.system import places

NOTEBOOKS = places.ROOT / "notebooks"


class NotebookError(RuntimeError):
    """A notebook failed, or did not run to its end."""


def run(run: params.Params) -> Path:
    """Run every notebook with the parameters of `run`; returns the folder of the figures.

    Raises ParamsError where the run's folder holds another run, NotebookError where a notebook
    failed or left a cell out; the executed notebooks stay in <folder>/notebooks either way.
    """
    folder = params.open_folder(run)
    (folder / "notebooks").mkdir(exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    for noisy in ("papermill.translators", "traitlets", "blib2to3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    for source in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        output = folder / "notebooks" / source.name
        if is_finished(source, output, run):
            print(f"{source.name}: finished before, skipped", flush=True)
            continue
        print(f"{source.name}: running, output in {output}", flush=True)
        start = time.monotonic()
        _execute(source, output, run)
        print(f"{source.name}: done after {time.monotonic() - start:.0f} s", flush=True)
    return folder / "figures"


def _execute(source: Path, output: Path, run: params.Params) -> None:
    try:
        papermill.execute_notebook(
            source, output, parameters=run.model_dump(), kernel_name="python3",
            cwd=source.parent, coalesce_streams=True, log_output=True, progress_bar=False)
    except papermill.PapermillExecutionError as error:
        raise NotebookError(f"{output}: cell {error.exec_count} raised {error.ename}: "
                            f"{error.evalue}") from None
    problems = unfinished(nbformat.read(output, as_version=4))
    if problems:
        raise NotebookError(f"{output}: {'; '.join(problems)}")


def unfinished(notebook: nbformat.NotebookNode) -> list[str]:
    """What speaks against a complete run: cells that failed, were left out or are pending.

    A `sys.exit(0)` in a cell, or a kernel that was killed, can leave the following cells out
    while papermill reports success.
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


def is_finished(source: Path, output: Path, run: params.Params) -> bool:
    """Did `output` run to its end, with these parameters and the present code of `source`?"""
    if not output.exists():
        return False
    before = nbformat.read(output, as_version=4)
    given = before.metadata.get("papermill", {}).get("parameters") or {}
    try:
        same = params.check(given).digest == run.digest
    except params.ParamsError:
        return False
    now = nbformat.read(source, as_version=4)
    return same and _code(before) == _code(now) and not unfinished(before)


def _code(notebook: nbformat.NotebookNode) -> list[str]:
    """The code of a notebook, without the cell in which papermill sets the parameters."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"
            and "injected-parameters" not in cell.metadata.get("tags", [])]
