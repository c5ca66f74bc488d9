"""The notebooks as files: their form, and that their stored outputs are really compared."""

import os
import subprocess
import sys

import nbformat
import pytest

from metarfft_core import params
from metarfft_core.runner import NOTEBOOKS
from metarfft_core.system.places import ROOT

PATHS = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
COMPARED = "nbval-check-output"


def tagged(notebook, tag):
    """The cells of a notebook that carry a tag."""
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


@every_notebook
def test_form(path):
    """A notebook names the kernel python3, opens with its question, and takes every parameter."""
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].cell_type == "markdown"
    assert "?" in notebook.cells[0].source
    head, = tagged(notebook, "parameters")
    names = [line.partition(" = ")[0] for line in head.source.splitlines() if " = None" in line]
    assert names == list(params.Params.model_fields)


@every_notebook
def test_stored_outputs(path):
    """Every cell holds the output of a run through, and at least three are compared."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell.outputs
                if output.output_type == "error"]
    assert len([cell for cell in tagged(notebook, COMPARED) if cell.outputs]) >= 3


@pytest.mark.parametrize("altered", [False, True])
def test_an_altered_output_fails(tmp_path, altered):
    """The first part of notebook 1 passes under nbval as stored, and fails with a digit changed."""
    notebook = nbformat.read(PATHS[0], as_version=4)
    last = tagged(notebook, COMPARED)[1]
    notebook.cells = notebook.cells[:notebook.cells.index(last) + 1]
    if altered:
        assert "[4, 0, 3]" in last.outputs[0].text
        last.outputs[0].text = last.outputs[0].text.replace("[4, 0, 3]", "[4, 0, 2]")
    nbformat.write(notebook, tmp_path / "part.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax",
         "--nbval-current-env", str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"METARFFT_OUTPUTS": str(tmp_path / "outputs")})
    assert done.returncode == (1 if altered else 0), done.stdout[-2000:]
