"""The notebooks run for every parameter file that the schema accepts, however odd it is."""

import nbformat
import made_up_run
import pytest

from metarfft_core import evaluation, params, runner, training
from metarfft_core.corpus import builder
from metarfft_core.evaluation import grid
from metarfft_core.params import METHODS
from metarfft_core.system import files

NOTEBOOKS = sorted(runner.NOTEBOOKS.glob("0[4-7]*.ipynb"))
API = {"name": "R1", "model": "r1", "base_url": "http://localhost:1/v1"}
ODD = {
    "one method": {"adaptation__methods": ["direct"]},
    "the scratchpad alone": {"adaptation__methods": ["scratchpad"]},
    "rules alone": {"adaptation__methods": ["vanilla_rfft"]},
    "words alone": {"adaptation__methods": ["vanilla_rfft_nl"]},
    "Meta-RFFT in words": {"adaptation__methods": ["meta_rfft_nl", "direct"]},
    "Meta-RFFT first": {"adaptation__methods": ["meta_rfft", "direct", "scratchpad"]},
    "one length": {"adaptation__methods": ["direct", "meta_rfft"],
                   "corpus__evaluation": {"lengths": [30], "samples_per_length": 1}},
    "lengths that were trained alone": {
        "adaptation__methods": ["direct", "vanilla_rfft"],
        "corpus__evaluation": {"lengths": [1, 2], "samples_per_length": 2}},
    "an API model and no rules": {"adaptation__methods": ["direct"], "evaluation__api": [API]},
    "an API model beside words": {"adaptation__methods": ["meta_rfft_nl"],
                                  "evaluation__api": [API]},
    "in context alone": {"adaptation__methods": ["direct"],
                         "evaluation__in_context": ["meta_1shot"]},
    "the base in context": {"adaptation__methods": ["scratchpad"],
                            "evaluation__in_context": ["base_1shot"]},
    "a counterfactual of one": {"adaptation__methods": ["vanilla_rfft_nl"],
                                "evaluation__counterfactual": ["vanilla_rfft_nl"]},
    "another seed of another method": {
        "adaptation__methods": ["direct"],
        "adaptation__further": [{"methods": ["vanilla_rfft"], "tasks": ["lc_2544"],
                                 "seeds": [7]}]},
    "the same number of tokens": {"adaptation__methods": ["scratchpad", "vanilla_rfft"],
                                  "adaptation__equal": "trained_tokens"},
}
SHARES = {"half right": 0.5}


def _made(changes, share, monkeypatch, tmp_path):
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    values = made_up_run.plain()
    values["corpus"]["adaptation"]["tasks"] = ["lc_2544"]
    values["corpus"]["evaluation"] = {"lengths": [1, 5], "samples_per_length": 3}
    values["evaluation"]["bootstrap_samples"] = 10
    config = made_up_run.make(made_up_run.change(values, **changes), lambda *_: share, traces=True)
    manifest = {}
    for cell in config.cells:
        path = evaluation.path(config, cell)
        manifest.setdefault(cell.method, {})[path.stem] = files.read_json(path.with_suffix(".json"))
    files.write_json(config.folder / "evaluation" / "manifest.json", manifest)
    monkeypatch.setenv("METARFFT_PARAMS", str(config.folder / "params.yaml"))
    # The stages are done.
    monkeypatch.setattr(builder, "build", lambda config: config.folder / "corpus")
    monkeypatch.setattr(training, "launch_all", lambda config: None)
    monkeypatch.setattr(grid, "launch", lambda config: config.folder / "evaluation")
    return config


def _execute(notebook):
    """Execute a notebook's code in this process, which takes a tenth of the time of a kernel."""
    space = {"__name__": "notebook"}
    for number, cell in enumerate(nbformat.read(notebook, as_version=4).cells, start=1):
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{notebook.name}, cell {number}", "exec"), space)


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
@pytest.mark.parametrize("share", SHARES.values(), ids=SHARES)
def test_the_notebooks_run(monkeypatch, tmp_path, capsys, changes, share):
    """Notebooks 4 to 8 run to their ends on a run of these parameters, and their checks hold."""
    config = _made(changes, share, monkeypatch, tmp_path)
    failed = []
    for notebook in NOTEBOOKS:
        capsys.readouterr()
        try:
            _execute(notebook)
        except Exception as error:
            import traceback
            where = [f"{f.filename.split('/')[-1]}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
            failed.append((notebook.stem, type(error).__name__, str(error)[:200], where))
        said = capsys.readouterr().out
        if ": False" in said:
            failed.append((notebook.stem, [l for l in said.splitlines() if ": False" in l]))
    assert not failed, '\n'.join(map(str, failed))


def test_every_method_is_in_an_odd_run():
    """No method is left out of the list."""
    text = str(ODD)
    assert all(method in text for method in METHODS)
    assert params.LABELS
