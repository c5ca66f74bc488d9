"""Parameters changed by hand in a notebook: a run of its own, or one line that says why not."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from metarfft_core import params
from metarfft_core.runner import ThisPython
from metarfft_core.system import places
from metarfft_core.system.places import ROOT

NAMES = ("base", *params.Params.model_fields)
HEAD = "\n".join(f"{name} = None" for name in NAMES)
SMOKE = params.load(ROOT / "params" / "smoke.yaml")


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Runs of these tests lie in a folder of their own; no parameter file is named."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("METARFFT_PARAMS", "")


def by_hand(**values):
    """The parameters after a person has changed these values in the notebook's own cell."""
    cell = "\n".join(f"{name} = {values.get(name)!r}" for name in NAMES)
    space = {"In": ["", cell]}
    exec(cell, space)
    return params.from_notebook(space)


@pytest.mark.parametrize(("changes", "name", "told"), [
    ({"seed": 1}, "smoke-seed1", "smoke.yaml in seed."),
    ({"evaluation": {"batch_size": 16}}, None, "smoke.yaml in evaluation.batch_size."),
    ({"base": "laptop", "seed": 7}, "laptop-seed7", "laptop.yaml in seed."),
    ({"seed": 1, "adaptation": {"steps": 3}}, None, "in seed, adaptation.steps.")])
def test_a_changed_value_is_a_run_of_its_own(changes, name, told, capsys):
    """Only the given keys differ from the preset, the run has a name of its own, and one line says
    so; the same change always gives the same name."""
    config = by_hand(**changes)
    values = params.read(ROOT / "params" / f"{changes.get('base', 'smoke')}.yaml")
    for key, value in changes.items():
        if isinstance(value, dict):
            values[key] |= value
        elif key != "base":
            values[key] = value
    assert config.model_dump(exclude={"name"}) == params.check(values).model_dump(exclude={"name"})
    assert config.name == name or (name is None and config.name.startswith("smoke-"))
    line, = capsys.readouterr().out.splitlines()
    assert told in line
    assert config.name in line
    assert by_hand(**changes) == config


def test_a_changed_run_and_its_preset_have_their_results_side_by_side():
    """The folder of the smoke run is full; a changed seed or batch size is not refused."""
    def results(config):
        (params.open_folder(config) / "corpus").mkdir()
        return config.folder

    folders = [results(by_hand(**changes)) for changes in (
        {}, {"seed": 1}, {"seed": 2}, {"evaluation": {"batch_size": 16}},
        {"evaluation": {"batch_size": 8}}, {"name": "mine"}, {"name": "other", "seed": 1})]
    assert len(set(folders)) == 7
    assert folders[5].name == "mine"


def test_a_name_alone_keeps_all_other_values(capsys):
    """`name = "mine"` is the preset under another name, without a word."""
    config = by_hand(name="mine")
    assert config == SMOKE.model_copy(update={"name": "mine"})
    assert capsys.readouterr().out == ""


def test_what_changes_no_result_stays_in_the_presets_run(capsys):
    """Another number of workers goes on in the same folder."""
    assert by_hand(corpus={"workers": 1}).name == "smoke"
    assert capsys.readouterr().out == ""


def test_a_mapping_is_merged_at_any_depth_and_a_list_replaces():
    """Three levels down, the neighbours of a key keep their values."""
    config = by_hand(corpus={"evaluation": {"lengths": [2]}})
    assert config.corpus.evaluation.lengths == [2]
    assert config.corpus.evaluation.samples_per_length == 8
    assert config.corpus.pretrain == SMOKE.corpus.pretrain


def test_a_whole_file_of_papermill_is_taken_whole():
    """With -f, no optional key of the preset is left, and a missing section is refused."""
    values = params.read(ROOT / "params" / "smoke.yaml")
    del values["evaluation"]["counterfactual"]

    def injected():
        cell = "# Parameters\n" + "\n".join(f"{key} = {value!r}" for key, value in values.items())
        space = {"In": ["", HEAD, cell]}
        exec(f"{HEAD}\n{cell}", space)
        return params.from_notebook(space)

    assert injected() == params.check(values)
    assert injected().evaluation.counterfactual == []
    del values["evaluation"]
    with pytest.raises(params.ParamsError, match="evaluation: this key is missing"):
        injected()


@pytest.mark.parametrize("folder", [ROOT, ROOT / "notebooks"], ids=["root", "notebooks"])
@pytest.mark.parametrize("path", ["params/laptop.yaml", "{here}/params/laptop.yaml"])
def test_a_path_works_from_the_root_and_from_the_notebooks_folder(folder, path, monkeypatch):
    """Relative to the project or to the current folder, as `base` and in $METARFFT_PARAMS."""
    monkeypatch.chdir(folder)
    path = path.format(here=os.path.relpath(ROOT, folder))
    assert by_hand(base=path).name == "laptop"
    assert params.base_file(Path(path)) == ROOT / "params" / "laptop.yaml"
    monkeypatch.setenv("METARFFT_PARAMS", path)
    assert by_hand().name == "laptop"
    assert os.environ["METARFFT_PARAMS"] == str(ROOT / "params" / "laptop.yaml")


@pytest.mark.parametrize(("base", "said"), [
    ("smok", "base: no file 'smok'; did you mean 'smoke'? (presets: 135m, 32b, "),
    ("params/none.yaml", "base: no file 'params/none.yaml' (presets: "),
    (7, "base: expected a preset or a path, got 7")])
def test_a_base_that_is_not_there_is_refused(base, said):
    """The message names the presets, and the nearest."""
    with pytest.raises(params.ParamsError) as caught:
        by_hand(base=base)
    assert said in str(caught.value)


WRONG = {
    "a misspelt key": ("sede = 1", "sede: unknown key; did you mean seed?"),
    "an unknown key": ("evaluation = {'temperature': 1}", "evaluation.temperature: unknown key"),
    "a wrong type": ("seed = 'one'", "seed: input should be a valid integer, got 'one'"),
    "out of range": ("pretraining = {'steps': 0}", "pretraining.steps: input should be greater"),
    "an unknown task": ("corpus = {'adaptation': {'tasks': ['lc_1']}}", "no task 'lc_1'"),
    "an unknown method": ("adaptation = {'methods': ['cot']}", "adaptation.methods.0: input"),
    "an unknown model folder": ("model = {'name': 'models/none'}", "models/none"),
    "a path that is not there": ("import os; os.environ['METARFFT_PARAMS'] = 'params/none.yaml'",
                                 "$METARFFT_PARAMS: expected a parameter file, got")}


def kernel(cells, **options):
    """The executed notebook of these cells, in a real kernel in the notebooks' folder."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    NotebookClient(notebook, timeout=300, kernel_manager_class=ThisPython,
                   resources={"metadata": {"path": str(ROOT / "notebooks")}}, **options).execute()
    return notebook


def test_a_wrong_value_is_a_line_or_two_in_the_notebook():
    """Eight kinds of wrong values: no traceback, at most two lines, and the cell has failed, as
    papermill and nbval see it; the mended cell then runs."""
    setup = ("from metarfft_core import models, params\n"
             "models.resolve(params.from_notebook(globals()).model.name)")
    cells = [cell for line, _ in WRONG.values() for cell in (f"{HEAD}\n{line}", setup)]
    made = kernel([*cells, f"{HEAD}\nos.environ['METARFFT_PARAMS'] = ''", setup], allow_errors=True)
    setups = made.cells[1::2]
    for (what, (_, said)), cell in zip(WRONG.items(), setups, strict=False):
        error = cell.outputs[-1]
        assert error.output_type == "error", what
        assert len(cell.outputs) <= 2, what
        lines = [line for output in cell.outputs for line in
                 (output.text if output.output_type == "stream"
                  else "\n".join(output.traceback)).splitlines()]
        assert len(lines) <= 2, lines
        assert said in lines[-1], what
        assert "Traceback" not in "".join(lines)
        assert error.ename == "ParamsError"
    assert not [output for output in setups[-1].outputs if output.output_type == "error"]
    with pytest.raises(CellExecutionError, match="seed: input should be a valid integer"):
        kernel([f"{HEAD}\nseed = 'one'", setup])


def test_the_notebooks_other_variables_are_never_read(monkeypatch):
    """A folder named base in a later cell changes nothing once the parameters' cell ran again."""
    monkeypatch.chdir(places.ROOT / "notebooks")
    made = kernel([HEAD, "from metarfft_core import params\nparams.from_notebook(globals()).name",
                   "model_name = folder = run = config = steps = 'of a later cell'",
                   "params.from_notebook(globals()).name"])
    assert [cell.outputs[0].data["text/plain"] for cell in made.cells[1::2]] == ["'smoke'"] * 2
