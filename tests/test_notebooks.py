"""The notebooks as files: their form, and that their stored outputs are really compared."""

import ast
import html
import os
import re
import subprocess
import symtable
import sys

import nbformat
import papermill
import pytest
from nbclient import NotebookClient

from metarfft_core import params, tasks
from metarfft_core.runner import NOTEBOOKS, ThisPython
from metarfft_core.system.places import ROOT

PATHS = sorted(NOTEBOOKS.glob("0[1-9]*.ipynb"))
START = NOTEBOOKS / "00_start_here.ipynb"
every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
COMPARED = "nbval-check-output"


def tagged(notebook, tag):
    """The cells of a notebook that carry a tag."""
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


@every_notebook
def test_form(path):
    """A notebook names the kernel python3, opens with its question, and takes every parameter but
    the section of reinforcement learning, which is in a parameter file."""
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].cell_type == "markdown"
    assert "?" in notebook.cells[0].source
    head, = tagged(notebook, "parameters")
    names = [line.partition(" = ")[0] for line in head.source.splitlines() if " = None" in line]
    assert names == ["base", *(name for name in params.Params.model_fields if name != "rl")]


@every_notebook
def test_the_parameters_cell_is_folded_below_a_text_that_says_what_it_is(path):
    """JupyterLab shows the text in its place, and the text says how the parameters are set."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    head, = tagged(notebook, "parameters")
    assert head.metadata.jupyter.source_hidden is True
    above = notebook.cells[notebook.cells.index(head) - 1]
    assert above.cell_type == "markdown"
    assert above.source.startswith("The parameters.")
    assert "`papermill NOTEBOOK OUT -f params/FILE`" in above.source


@every_notebook
def test_the_closing_text_has_no_figures_of_one_run(path):
    """It is under the outputs of any run; what the stored ones show is in docs/results.md."""
    closing = nbformat.read(path, as_version=4).cells[-1].source
    assert closing.startswith("**Reading.**")
    words = re.sub(r"`[^`]*`|[Nn]otebook \d", "", closing)
    assert not re.findall(r"\d+", words), words
    if path != PATHS[0]:  # whose outputs are of the rules, not of a model
        assert closing.endswith("The stored outputs are those of `params/laptop.yaml`; "
                                "`docs/results.md` reads them.")


def bound(source):
    """The names that a cell binds in the notebook: assigned, imported, defined, looped over."""
    return {symbol.get_name() for symbol in symtable.symtable(source, "cell", "exec").get_symbols()
            if symbol.is_assigned() or symbol.is_imported()}


@every_notebook
def test_only_the_parameters_cell_binds_a_parameter(path):
    """A loop over `name`, or a module imported as `corpus`, would change the parameters."""
    notebook = nbformat.read(path, as_version=4)
    head, = tagged(notebook, "parameters")
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell is not head:
            assert not bound(cell.source) & {"base", *params.Params.model_fields}, cell.source


@every_notebook
def test_modules_are_imported_under_their_own_names(path):
    """pandas alone has another: pd, by which everyone knows it."""
    notebook = nbformat.read(path, as_version=4)
    renamed = {(alias.name, alias.asname) for cell in notebook.cells if cell.cell_type == "code"
               for node in ast.walk(ast.parse(cell.source))
               if isinstance(node, (ast.Import, ast.ImportFrom))
               for alias in node.names if alias.asname}
    assert renamed <= {("pandas", "pd")}


@every_notebook
def test_the_set_up_cell_runs_again_whenever_one_likes(path, tmp_path, monkeypatch):
    """In a real kernel: at once, and after cells that bind every variable of the notebook.

    The cell is run up to the parameters; what follows them builds and trains."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("METARFFT_PARAMS", "params/test.yaml")
    head, setup, *later = [cell.source for cell in nbformat.read(path, as_version=4).cells
                           if cell.cell_type == "code"]
    line = "config = params.from_notebook(globals())\n"
    assert line in setup
    setup = setup[:setup.index(line)] + line + "config.name"
    names = sorted(set().union(*map(bound, later)))
    cells = [head, setup, setup, f"{' = '.join(names)} = 'of a later cell'", setup]
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}},
                   kernel_manager_class=ThisPython).execute()
    assert [cell.outputs[0].data["text/plain"] for cell in notebook.cells
            if cell.source == setup] == ["'test'"] * 3


@every_notebook
def test_stored_outputs(path):
    """Every cell holds the output of a run through, and at least three are compared."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell.outputs
                if output.output_type == "error"]
    assert len([cell for cell in tagged(notebook, COMPARED) if cell.outputs]) >= 3


def stored_html(notebook):
    """Every stored output as HTML, with the cell that it belongs to."""
    return [(cell.id, output.data["text/html"]) for cell in notebook.cells
            if cell.cell_type == "code" for output in cell.outputs
            if "text/html" in output.get("data", {})]


@every_notebook
def test_the_stored_pictures_say_what_they_show(path):
    """Each is an image with an alternative text, in HTML and in the metadata of the image."""
    notebook = nbformat.read(path, as_version=4)
    images = [output for cell in notebook.cells if cell.cell_type == "code"
              for output in cell.outputs if "image/png" in output.get("data", {})]
    for output in images:
        alt = output.metadata["image/png"]["alt"]
        assert len(alt) >= 30
        assert f'<img alt="{html.escape(alt)}" src="data:' in output.data["text/html"]
    assert len(images) == sum("<img" in text for _, text in stored_html(notebook))


@every_notebook
def test_the_stored_tables_have_a_caption_and_header_cells(path):
    """There is none of pandas' own, and the methods have names, not ids."""
    for cell, text in stored_html(nbformat.read(path, as_version=4)):
        for table in re.findall(r"<table.*?</table>", text, re.DOTALL):
            assert "<caption>" in table, cell
            assert '<th scope="col' in table, cell
            assert "NaN" not in table, cell
            assert not re.search(r">(vanilla_rfft|meta_rfft|base_1shot|meta_1shot)", table), cell


@every_notebook
def test_the_stored_outputs_give_the_titles_of_tasks(path):
    """Printed lines and tables say "Hamming distance", not lc_461, but for a column of ids."""
    known = "|".join(task.id for task in tasks.select())
    notebook = nbformat.read(path, as_version=4)
    printed = [output.text for cell in notebook.cells if cell.cell_type == "code"
               for output in cell.outputs if output.output_type == "stream"]
    tables = [table for _, text in stored_html(notebook)
              for table in re.findall(r"<table.*?</table>", text, re.DOTALL)
              if '<th scope="col">id</th>' not in table]
    assert not re.findall(rf"\b(?:{known})(?:_cf)?\b", "\n".join(printed + tables))


@every_notebook
def test_a_stored_notebook_is_small(path):
    """GitHub shows no notebook of more than a megabyte."""
    assert path.stat().st_size < 1_000_000


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


def test_a_misspelt_parameter_of_papermill_stops_the_notebook(tmp_path, monkeypatch):
    """`papermill -p sed 3` only warns; the set-up cell says which parameter was meant."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    notebook = nbformat.read(PATHS[0], as_version=4)
    end = notebook.cells.index(tagged(notebook, "parameters")[0]) + 2
    notebook.cells = notebook.cells[:end]
    nbformat.write(notebook, tmp_path / "part.ipynb")
    with pytest.raises(papermill.PapermillExecutionError,
                       match="sed: unknown key; did you mean seed"):
        papermill.execute_notebook(tmp_path / "part.ipynb", tmp_path / "out.ipynb", {"sed": 3},
                                   cwd=NOTEBOOKS, kernel_manager_class=ThisPython,
                                   progress_bar=False)
