"""Folders: a path that a user names is one place, whatever folder a process works in."""

import os
import subprocess
import sys
from pathlib import Path

import made_up_run
import nbformat
import pytest

from metarfft_core import models, params, runner, training
from metarfft_core.system import places
from metarfft_core.training import launcher

SHOW = """
import os, subprocess, sys
from metarfft_core import params
from metarfft_core.system import places
places.settle()
print(params.load(places.ROOT / "params" / "test.yaml").folder)
print(*(os.environ.get(name, "-") for name in places.VARIABLES))
"""


def shown(folder, program=SHOW, **environment):
    """What a process in a folder prints, with these variables."""
    clean = {key: value for key, value in os.environ.items() if key not in places.VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, text=True, check=True, capture_output=True,
        env=clean | {"PYTHONPATH": str(places.ROOT)} | environment).stdout.split()


def test_a_relative_variable_is_the_same_place_in_a_child(tmp_path):
    """What a process reads relative to its folder, a child in another folder reads as a whole
    path."""
    child = SHOW + ("sys.stdout.flush()\n"
                    f"subprocess.run([sys.executable, '-c', {SHOW!r}], cwd='/', check=True)")
    whole = [str(tmp_path / "out" / "test"), *[str(tmp_path / "out")] * len(places.VARIABLES)]
    assert shown(tmp_path, child, **dict.fromkeys(places.VARIABLES, "out")) == whole * 2


def test_a_relative_variable_in_a_notebook_is_below_the_project():
    """JupyterLab is started in the project, its kernels work in notebooks/: `out` is out in the
    project for both."""
    for folder in (places.ROOT, places.ROOT / "notebooks"):
        out, *_ = shown(folder, METARFFT_OUTPUTS="out")
        assert out == str(places.ROOT / "out" / "test")


def test_a_tilde_is_the_home_folder(tmp_path):
    """A variable may begin with ~."""
    out, *variables = shown(tmp_path, **dict.fromkeys(places.VARIABLES, "~/x"),
                            HOME=str(tmp_path / "home"))
    assert out == str(tmp_path / "home" / "x" / "test")
    assert variables == [str(tmp_path / "home" / "x")] * len(places.VARIABLES)


def test_a_run_through_notebooks_stays_in_one_folder(tmp_path, monkeypatch):
    """A run started with a relative output folder has its notebooks' results there too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METARFFT_OUTPUTS", "out")
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path / "notebooks")
    (tmp_path / "notebooks").mkdir()
    cells = [nbformat.v4.new_code_cell(
        "name = smoke = seed = model = trackers = task_files = None\n"
        "corpus = pretraining = adaptation = evaluation = None"), nbformat.v4.new_code_cell(
        "from metarfft_core import params\n"
        "(params.open_folder(params.from_notebook(globals())) / 'made').touch()")]
    cells[0].metadata.tags = ["parameters"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3",
                                    "language": "python"}
    nbformat.write(notebook, tmp_path / "notebooks" / "01_x.ipynb")
    runner.run(params.load(params.DEFAULT_FILE))
    assert (tmp_path / "out" / "smoke" / "made").is_file()
    assert not (tmp_path / "notebooks" / "out").exists()


def test_paths_in_a_parameter_file_lie_in_the_project(tmp_path, monkeypatch):
    """A relative model or file of general data is the project's, from whatever folder; ~ is the
    home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text("{}")
    assert models.resolve("~/own", weights=False) == str(tmp_path / "own")
    with pytest.raises(params.ParamsError, match=r"no config\.json") as caught:
        models.resolve("notebooks")
    assert str(places.ROOT / "notebooks") in str(caught.value)
    assert params.Mix(file="a.jsonl", share=0.5).path == places.ROOT / "a.jsonl"
    assert params.Mix(file="~/a.jsonl", share=0.5).path == tmp_path / "a.jsonl"


def test_a_configuration_of_accelerates_is_found_from_the_folder_it_was_named_in(
        tmp_path, monkeypatch):
    """The variable that names it holds the whole path from then on; what is no such file is
    refused with its key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METARFFT_PRETRAIN_ON", "two.yaml")
    job = training.Job(params.check(made_up_run.preset()), "pretrain")
    Path("two.yaml").write_text("num_processes: 2\n")
    options, size = launcher._launch_options(job)
    assert str(tmp_path / "two.yaml") in options
    assert size == 2
    assert os.environ["METARFFT_PRETRAIN_ON"] == str(tmp_path / "two.yaml")
    for text, said in (("a: 1", "num_processes: expected a number of processes, got None"),
                       ("num_processes: 010", "num_processes: 010 is read as 8"), ("- 1", "None")):
        Path("two.yaml").write_text(text)
        with pytest.raises(params.ParamsError, match=said):
            launcher._launch_options(job)


def test_a_home_folder_that_is_not_there_is_one_line():
    """~ with a name that no user has is refused."""
    with pytest.raises(params.ParamsError, match="~nobody-at-all/x: there is no home folder"):
        places.absolute("~nobody-at-all/x")
