"""The runner: a notebook counts as done when every cell of it ran, with these parameters."""

import nbformat
import pytest

from metarfft_core import params, runner

HEAD = "name = None\nsmoke = None\nseed = None\nmodel = None\ncorpus = None\n" \
       "pretraining = None\nadaptation = None\nevaluation = None"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The smoke run, its results in a folder of the test."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path / "notebooks")
    (tmp_path / "notebooks").mkdir()
    return params.load(params.DEFAULT_FILE)


def write(folder, name, *sources):
    """Write a notebook whose first cell takes the parameters."""
    cells = [nbformat.v4.new_code_cell(source) for source in (HEAD, *sources)]
    cells[0].metadata.tags = ["parameters"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3",
                                    "language": "python"}
    nbformat.write(notebook, folder / name)


def outputs(path):
    """What the cells of an executed notebook printed."""
    return "".join(output.text for cell in nbformat.read(path, 4).cells
                   for output in cell.get("outputs", []) if output.output_type == "stream")


def test_runs_in_order_with_the_parameters_and_skips_what_is_finished(run):
    """Each notebook gets the file's values, runs once, and again only when its code changes."""
    trail = run.folder / "trail"
    for number in (2, 1):
        write(runner.NOTEBOOKS, f"0{number}_x.ipynb", "print(name, corpus['pretrain']['lengths'])",
              f"with open({str(trail)!r}, 'a') as file:\n    file.write('{number}')")
    runner.run(run)
    assert trail.read_text() == "12"
    assert outputs(run.folder / "notebooks" / "01_x.ipynb") == "smoke [1, 2, 3, 4]\n"
    runner.run(run)
    assert trail.read_text() == "12"
    write(runner.NOTEBOOKS, "02_x.ipynb", f"with open({str(trail)!r}, 'a') as file:\n"
          "    file.write('b')")
    runner.run(run)
    assert trail.read_text() == "12b"


@pytest.mark.parametrize(("source", "said"), [
    ("1 / 0", "ZeroDivisionError"),
    ("import sys\nsys.exit(0)", "did not run"),
    ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "kernel|Kernel"),
], ids=["a cell that fails", "an early exit", "a killed kernel"])
def test_an_incomplete_notebook_is_an_error(run, source, said):
    """A notebook that fails, leaves early or loses its kernel is no success, and not skipped."""
    write(runner.NOTEBOOKS, "01_x.ipynb", source, "print('reached')")
    for _ in range(2):
        with pytest.raises(RuntimeError, match=said):
            runner.run(run)


def test_merges_the_lines_of_a_progress_log(run):
    """Hundreds of printed lines are one output in the executed notebook."""
    write(runner.NOTEBOOKS, "01_x.ipynb",
          "for step in range(300):\n    print(step, flush=True)")
    runner.run(run)
    cells = nbformat.read(run.folder / "notebooks" / "01_x.ipynb", 4).cells
    assert [len(cell.outputs) for cell in cells][-1] == 1


def test_refuses_another_runs_folder(run):
    """A run with other parameters does not write into a folder that holds results."""
    write(runner.NOTEBOOKS, "01_x.ipynb", "print(seed)")
    runner.run(run)
    (run.folder / "corpus").mkdir()
    other = params.check(run.model_dump() | {"seed": 1})
    with pytest.raises(params.ParamsError, match=r"other parameters.*seed"):
        runner.run(other)
