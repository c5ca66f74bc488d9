"""Take the outputs of an executed run over into the notebooks, for readers who run nothing.

    python notebooks/store_outputs.py outputs/smoke

What is stored is the notebook as it stands here with the outputs of its executed twin: without
timings, without the cell that sets the parameters, and with paths relative to the repository.
"""

import json
import sys
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).resolve().parent


def _alternative_texts(metadata: dict) -> dict:
    """Return what is kept of an output's metadata: what its images show, in words."""
    return {kind: {"alt": about["alt"]} for kind, about in metadata.items()
            if isinstance(about, dict) and "alt" in about}


def store(run: Path) -> None:
    """Store the outputs of every notebook of the run; refuse a twin whose code differs."""
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
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


if __name__ == "__main__":
    store(Path(sys.argv[1]))
