"""Take the outputs of an executed run over into the notebooks, for readers who run nothing.

    python notebooks/store_outputs.py outputs/smoke

What is stored is the notebook as it stands here with the outputs of its executed twin: without
timings, without the cell that sets the parameters, and with paths relative to the repository. The
start notebook reads no run. It is executed here.
"""

import json
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from metarfft_core.runner import ThisPython

NOTEBOOKS = Path(__file__).resolve().parent


def _alternative_texts(metadata: dict) -> dict:
    """Return what is kept of an output's metadata: what its images show, in words."""
    return {kind: {"alt": about["alt"]} for kind, about in metadata.items()
            if isinstance(about, dict) and "alt" in about}


def store(run: Path) -> None:
    """Store the outputs of every notebook of the run; refuse a twin whose code differs."""
    for path in sorted(NOTEBOOKS.glob("0[1-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        executed = nbformat.read(run / "notebooks" / path.name, as_version=4)
        cells = [cell for cell in executed.cells
                 if "injected-parameters" not in cell.metadata.get("tags", [])]
        if [cell.source for cell in cells] != [cell.source for cell in notebook.cells]:
            sys.exit(f"{path.name} has changed since the run; run it again first")
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        twins = [cell for cell in cells if cell.cell_type == "code"]
        for number, (cell, twin) in enumerate(zip(code, twins, strict=True), start=1):
            text = json.dumps(twin.outputs).replace(f"{NOTEBOOKS.parent}/", "")
            text = text.replace(str(Path.home()), "~")
            cell.outputs = [nbformat.from_dict(output) for output in json.loads(text)]
            cell.execution_count = number
            for output in cell.outputs:
                if output.output_type in ("display_data", "execute_result"):
                    output.metadata = _alternative_texts(output.metadata)
                if output.output_type == "execute_result":
                    output.execution_count = number
        nbformat.write(notebook, path)


def store_start() -> None:
    """Execute the start notebook and store its outputs, with static twins in place of widgets."""
    path = NOTEBOOKS / "00_start_here.ipynb"
    notebook = nbformat.read(path, as_version=4)
    language = notebook.metadata.language_info
    NotebookClient(notebook, kernel_manager_class=ThisPython, record_timing=False,
                   store_widget_state=False).execute(cwd=str(NOTEBOOKS))
    notebook.metadata.language_info = language  # not of this machine's Python
    nbformat.write(notebook, path)


if __name__ == "__main__":
    store_start()
    for run in sys.argv[1:]:
        store(Path(run))
