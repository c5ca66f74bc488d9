"""The notebooks run for every parameter file that the schema accepts, however odd it is."""

import shutil

import made_up_run
import nbformat
import pytest
from pdf_files import without_fonts

from metarfft_core import evaluation, runner, training
from metarfft_core.corpus import builder
from metarfft_core.evaluation import grid
from metarfft_core.params import METHODS
from metarfft_core.system import files

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
    "RF-pretraining alone": {"adaptation__methods": [], "evaluation__in_context": ["meta_1shot"]},
    "no training at all": {"adaptation__methods": [], "evaluation__in_context": ["base_1shot"]},
    "API models alone": {"adaptation__methods": [],
                         "evaluation__api": [API, API | {"name": "QwQ"}]},
    "the same number of tokens": {"adaptation__methods": ["scratchpad", "vanilla_rfft"],
                                  "adaptation__equal": "trained_tokens"},
}


def _made(changes, monkeypatch, tmp_path):
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    values = made_up_run.plain()
    values["corpus"]["adaptation"]["tasks"] = ["lc_2544"]
    values["corpus"]["evaluation"] = {"lengths": [1, 5], "samples_per_length": 3}
    values["evaluation"]["bootstrap_samples"] = 10
    config = made_up_run.make(made_up_run.change(values, **changes), lambda *_: 0.5, traces=True)
    manifest = {}  # of the whole evaluation
    for cell in config.cells:
        path = evaluation.path(config, cell)
        manifest.setdefault(cell.method, {})[path.stem] = files.read_json(path.with_suffix(".json"))
    files.write_json(config.folder / "evaluation" / "manifest.json", manifest)
    for path in config.folder.rglob("manifest.json"):
        if "evaluation" not in path.parts:
            files.write_json(path, {"params_digest": config.digest, "shards": {}})
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


@pytest.fixture(autouse=True)
def _no_fonts_in_pdf_files():
    """Fonts are the same for all parameters."""
    with without_fonts():
        yield


def _run_all(monkeypatch, tmp_path, changes, numbers):
    _made(changes, monkeypatch, tmp_path)
    for number in numbers:
        [notebook] = runner.NOTEBOOKS.glob(f"0{number}*.ipynb")
        _execute(notebook)


def _some(*names):
    """The odd runs; all but the named ones are slow."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in ODD]


@pytest.mark.parametrize("name", _some("one method", "rules alone", "no training at all"))
def test_the_notebooks_run(monkeypatch, tmp_path, name):
    """Notebooks 3 to 7 run to their ends on a run of these parameters."""
    _run_all(monkeypatch, tmp_path, ODD[name], (3, 4, 5, 6, 7))


@pytest.mark.parametrize("name", _some("one method", "API models alone", "no training at all"))
def test_the_papers_figures_are_drawn(monkeypatch, tmp_path, name):
    """Notebook 8 runs to its end on a run of these parameters."""
    _run_all(monkeypatch, tmp_path, ODD[name], (8,))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["no training at all", "API models alone", "words alone",
                                  "RF-pretraining alone", "lengths that were trained alone"])
def test_the_notebooks_of_a_corpus_run(monkeypatch, tmp_path, name):
    """Notebooks 1 and 2 run to their ends with a corpus that is built, where these parameters leave
    out RF-pretraining, adaptations or both."""
    build = builder.build
    config = _made(ODD[name], monkeypatch, tmp_path)
    shutil.rmtree(config.folder / "corpus")
    monkeypatch.setattr(builder, "build", build)
    monkeypatch.setattr(training, "launch", lambda job: job.folder)
    for number in (1, 2):
        [notebook] = runner.NOTEBOOKS.glob(f"0{number}*.ipynb")
        _execute(notebook)


def test_every_method_is_in_an_odd_run():
    """No method is left out of the list."""
    assert all(method in str(ODD) for method in METHODS)
