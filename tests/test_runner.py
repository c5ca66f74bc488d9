"""The runner: a notebook counts as done when every cell of it ran, with these parameters, and what
it made is there."""

import json
import shutil
import subprocess
import sys

import nbformat
import pytest

from metarfft_core import params, runner
from metarfft_core.system.places import ROOT

HEAD = "name = None\nsmoke = None\nseed = None\nmodel = None\ncorpus = None\n" \
       "pretraining = None\nadaptation = None\nevaluation = None"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The smoke run, its results in a folder of the test."""
    return _in(tmp_path, monkeypatch)


def _in(place, settings):
    """The smoke run, with its notebooks and its results in a folder."""
    settings.setenv("METARFFT_OUTPUTS", str(place / "outputs"))
    settings.setattr(runner, "NOTEBOOKS", place / "notebooks")
    runner.NOTEBOOKS.mkdir(parents=True, exist_ok=True)
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three notebooks: the second makes what the third reads, and a figure of its own.

    Returns the run, the folder of all its files, and a copy of that folder.
    """
    place = tmp_path_factory.mktemp("finished") / "place"
    with pytest.MonkeyPatch.context() as settings:
        run = _in(place, settings)
        folder = str(run.folder)
        head = f"from pathlib import Path\nfolder = Path({folder!r})\n" \
               "def make(name, text):\n    path = folder / name\n" \
               "    path.parent.mkdir(parents=True, exist_ok=True)\n" \
               "    if not path.exists() or path.read_text() != text:\n" \
               "        path.write_text(text)\n" \
               "def count(name):\n    with open(folder / 'trail', 'a') as file:\n" \
               "        file.write(name)\n"
        write(runner.NOTEBOOKS, "01_x.ipynb",
              head + "count('1')\nmake('corpus/manifest.json', '{}')")
        write(runner.NOTEBOOKS, "02_x.ipynb",
              head + "count('2')\nmake('figures/loss.csv', 'first')\n"
              "if not (folder / 'adapt/x/model').exists():\n"
              "    make('adapt/x/model', 'model')\n"
              "    make('adapt/x/manifest.json', str(len((folder / 'trail').read_text())))")
        write(runner.NOTEBOOKS, "03_x.ipynb",
              head + "count('3')\nmake('figures/loss.csv', 'both')\n"
              "make('figures/accuracy.csv', (folder / 'adapt/x/model').read_text())")
        runner.run(run)
    return run, place, shutil.copytree(place, place.with_name("copy"))


@pytest.fixture
def finished(whole, monkeypatch):
    """The run of three notebooks as it was when it had finished."""
    run, place, copy = whole
    shutil.rmtree(place)
    shutil.copytree(copy, place)
    _in(place, monkeypatch)
    return run


def again(run):
    """Run it again; returns the notebooks that ran."""
    (run.folder / "trail").write_text("")
    runner.run(run)
    return (run.folder / "trail").read_text()


@pytest.mark.parametrize(("lost", "ran"), [
    ("corpus/manifest.json", "1"), ("figures/accuracy.csv", "3"), ("figures/loss.csv", "3"),
    ("figures", "3"), ("adapt/x/model", "23"), ("notebooks/02_x.ipynb", "23"),
    ("notebooks/01_x.json", "1"), ("notebooks", "123")])
def test_whatever_is_deleted_is_made_again(finished, lost, ran):
    """The notebook that made it runs again, and the later ones only where another file came of it;
    then nothing is left to do. (Without its notebook 2 draws its old figure over that of 3.)"""
    assert again(finished) == ""
    path = finished.folder / lost
    subprocess.run(["rm", "-r", str(path)], check=True)
    assert again(finished) == ran
    assert path.exists()
    assert (finished.folder / "figures" / "loss.csv").read_text() == "both"
    assert again(finished) == ""


def test_a_changed_file_is_as_good_as_none(finished):
    """Other bytes of the same length count; the same bytes, written anew, do not."""
    path = finished.folder / "figures" / "accuracy.csv"
    path.write_text(path.read_text())
    assert again(finished) == ""
    path.write_text("other")
    assert again(finished) == "3"
    assert path.read_text() == "model"


def test_a_notebook_that_a_kill_cut_off_runs_again(finished):
    """An output that is no whole notebook is not finished."""
    path = finished.folder / "notebooks" / "01_x.ipynb"
    path.write_bytes(path.read_bytes()[:-200])
    assert again(finished) == "1"


def test_the_kernel_is_this_interpreter(run, tmp_path, monkeypatch):
    """A kernel that the user has installed as python3, another program, is not asked."""
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({
        "argv": ["/bin/false", "{connection_file}"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    write(runner.NOTEBOOKS, "01_x.ipynb", "import sys\nprint(sys.executable)")
    runner.run(run)
    assert outputs(run.folder / "notebooks" / "01_x.ipynb") == f"{sys.executable}\n"


def test_two_runs_at_once_do_every_notebook_once(run, tmp_path):
    """The second waits for the first and finds it finished."""
    trail = run.folder / "trail"
    write(runner.NOTEBOOKS, "01_x.ipynb", f"with open({str(trail)!r}, 'a') as file:\n"
          "    file.write('1')\nimport time\ntime.sleep(4)")
    code = ("import pathlib, sys; from metarfft_core import params, runner\n"
            f"runner.NOTEBOOKS = pathlib.Path({str(runner.NOTEBOOKS)!r})\n"
            "runner.run(params.load(params.DEFAULT_FILE))")
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT,
                             stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert trail.read_text() == "1"
    assert sorted("finished before, skipped" in text for text in said) == [False, True]


UNREADABLE = [b"", b"{", b"\x00" * 4096, b"\xff\xfe", b"[]", b"{}", b"null", b"5", b'"x"',
              b'{"cells": []}', b'{"nbformat": 4}', b'{"nbformat": "x", "cells": 5}',
              b'{"nbformat": 4, "nbformat_minor": 5, "metadata": [], "cells": []}',
              b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {"papermill": 5}, "cells": []}',
              b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {"papermill": {"parameters": []}},'
              b' "cells": []}', b"[" * 100_000]


@pytest.mark.parametrize("content", UNREADABLE)
def test_an_unreadable_output_is_not_finished(run, tmp_path, content):
    """What a full disk left of a notebook is made again, whatever it looks like."""
    write(runner.NOTEBOOKS, "01_x.ipynb")
    output = tmp_path / "01_x.ipynb"
    output.write_bytes(content)
    assert not runner.is_finished(runner.NOTEBOOKS / "01_x.ipynb", output, run)


def test_a_truncated_record_and_notebook_are_made_again(run):
    """A run goes on after a full disk left halves of both; nothing is to be deleted by hand."""
    trail = run.folder / "trail"
    write(runner.NOTEBOOKS, "01_x.ipynb",
          f"with open({str(trail)!r}, 'a') as file:\n    file.write('1')")
    runner.run(run)
    for path in (run.folder / "notebooks").glob("01_x.*"):
        path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    runner.run(run)
    assert trail.read_text() == "11"
    runner.run(run)
    assert trail.read_text() == "11"
