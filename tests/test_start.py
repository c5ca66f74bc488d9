"""What `make lab` opens: copies of the notebooks, and the notebook that is first."""

import re
import shutil
import subprocess

import nbformat
import pytest

from metarfft_core.lab import start
from metarfft_core.system.places import ROOT

FIRST = ROOT / "notebooks" / start.FIRST


@pytest.fixture
def folders(tmp_path):
    """A folder with two notebooks, one of them in a folder of its own, and their copies."""
    notebooks, work = tmp_path / "notebooks", tmp_path / "work"
    (notebooks / "class").mkdir(parents=True)
    for name in ("01_a.ipynb", "class/b.ipynb"):
        write(notebooks / name, "1 + 1")
    assert start.copy_notebooks(notebooks, work) == []
    return notebooks, work


def write(path, source):
    cell = nbformat.v4.new_code_cell(source, id="one")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3",
                                    "language": "python"}
    nbformat.write(notebook, path)


def source(path):
    return nbformat.read(path, as_version=4).cells[0].source


def test_every_notebook_is_copied_with_its_cells(folders):
    """Copies have the same cells and outputs, at the same depth below the project."""
    notebooks, work = folders
    for name in ("01_a.ipynb", "class/b.ipynb"):
        assert (nbformat.read(work / name, 4).cells == nbformat.read(notebooks / name, 4).cells)


def test_a_copy_that_was_changed_is_never_written_again(folders):
    """A changed copy stays, and is named as outdated once its notebook changes too."""
    notebooks, work = folders
    write(work / "01_a.ipynb", "mine")
    assert start.copy_notebooks(notebooks, work) == []
    write(notebooks / "01_a.ipynb", "newer")
    for _ in range(2):
        assert start.copy_notebooks(notebooks, work) == ["01_a.ipynb"]
        assert source(work / "01_a.ipynb") == "mine"


def test_a_copy_that_nobody_changed_is_renewed(folders):
    """It follows its notebook; a deleted copy comes back."""
    notebooks, work = folders
    write(notebooks / "01_a.ipynb", "newer")
    (work / "class" / "b.ipynb").unlink()
    assert start.copy_notebooks(notebooks, work) == []
    assert source(work / "01_a.ipynb") == "newer"
    assert source(work / "class" / "b.ipynb") == "1 + 1"


def test_a_copy_that_was_there_before_any_record_stays(folders):
    """A file whose origin is not recorded is a user's."""
    notebooks, work = folders
    (work / ".copied.json").unlink()
    write(work / "01_a.ipynb", "mine")
    assert "01_a.ipynb" in start.copy_notebooks(notebooks, work)
    assert source(work / "01_a.ipynb") == "mine"


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="needs git")
def test_git_ignores_the_copies():
    """Running and saving a copy changes nothing that git sees."""
    name = start.WORK.relative_to(ROOT) / start.FIRST
    assert subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT).returncode == 0


def test_the_first_notebook_names_every_other_with_its_question():
    """Its table has a row for each numbered notebook, with the question in bold there."""
    text = "".join(cell.source for cell in nbformat.read(FIRST, 4).cells)
    rows = dict(re.findall(r"\]\((\d\d_\w+\.ipynb)\) \| (.*?) \|", text))
    expected = {path.name: re.search(r"\*\*(.*?\?)\*\*", nbformat.read(path, 4).cells[0].source)[1]
                for path in sorted(FIRST.parent.glob("0[1-9]*.ipynb"))}
    assert rows == expected


def test_the_first_notebook_shows_a_picture_and_a_trace_before_it_runs():
    """The picture has words for it, and the trace is stored as its static twin alone."""
    cells = nbformat.read(FIRST, 4).cells
    picture, alternative = re.search(r'<img src="(.*?)" width="\d+" alt="(.*?)">',
                                     cells[0].source).groups()
    assert (FIRST.parent / picture).resolve().is_file()
    assert len(alternative) > 50
    trace = next(cell for cell in cells if cell.cell_type == "code").outputs[0]
    assert set(trace.data) == {"text/plain", "text/html"}
    assert "num = nums.pop(0)" in trace.data["text/html"]
