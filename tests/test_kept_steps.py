"""`keep_steps`: the weights of named steps of a training, each evaluated as a run of its own."""

import json
import os
import shutil

import made_up_run
import pytest
from safetensors.torch import load_file
from tiny_model import tiny_run, write_tiny

from metarfft_core import corpus, evaluation, figures, params, training
from metarfft_core.analysis import verify
from metarfft_core.analysis.stored import Stored
from metarfft_core.figures import several
from metarfft_core.params import Cell, ParamsError
from metarfft_core.params.loading import merge
from metarfft_core.system.files import read_json, sha256, write_json

TASK = "lc_2544"
PLAIN = {"scheduler": "constant", "warmup_ratio": 0.0, "save_every": 4, "evaluate_every": 4}
KEEPS = {"name": "keeps", "pretraining": {"keep_steps": [3]},
         "adaptation": {"keep_steps": [5], "methods": ["vanilla_rfft", "meta_rfft"]}}


def changed(model, changes):
    """The tiny run with a constant learning rate, so that a step does not know the last one."""
    return params.check(merge(tiny_run(model, **PLAIN).model_dump(), changes))


@pytest.fixture(scope="module")
def keeps(tmp_path_factory):
    """A run that keeps a step of both stages: built, trained and evaluated, with its kept steps."""
    outputs = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(outputs))
        patch.setenv("OMP_NUM_THREADS", "1")
        run = changed(write_tiny(outputs.parent / "model"), KEEPS)
        corpus.build(run)
        for one in params.with_kept([run]):
            params.open_folder(one)
            for job in training.jobs(one):
                training.train(job)
        for one in params.with_kept([run]):
            for cell in one.cells:
                evaluation.evaluate(one, cell)
        yield run


def weights(folder):
    [path] = folder.glob("*.safetensors")
    return load_file(path)


def same(first, other):
    """Whether two sets of weights are equal to the bit."""
    return first.keys() == other.keys() and all(first[name].equal(other[name]) for name in first)


def test_the_runs_of_the_kept_steps_say_what_they_are(keeps):
    """A kept step of RF-pretraining leaves the methods that start from it, one of the adaptation
    all trained methods; both say of which training they are."""
    early, short = params.kept_runs(keeps)
    assert (early.name, short.name) == ("keeps-pretraining-3", "keeps-adaptation-5")
    assert (early.pretraining.steps, short.adaptation.steps) == (3, 5)
    assert early.adaptation.steps == keeps.adaptation.steps
    assert short.pretraining == keeps.pretraining.model_copy(update={"keep_steps": []})
    assert early.cells == [Cell("meta_rfft", TASK, 0)]
    assert short.cells == keeps.cells
    for one in (early, short):
        assert vars(one.kept) == {"run": "keeps", "digest": keeps.digest, "steps": 8}
        assert params.kept_runs(one) == []
        assert params.load(one.folder / "params.yaml") == one


def test_kept_weights_are_those_of_a_training_of_so_many_steps(keeps, tmp_path, monkeypatch):
    """With a constant learning rate the weights after three of eight steps are, to the bit, those
    of a training that ends there; the last weights are those of a training that keeps nothing."""
    home = training.Job(keeps, "pretrain").folder
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    for name, steps, kept in (("short", 3, home / "steps" / "3"), ("plain", 8, home)):
        run = changed(keeps.model.name, {"name": name, "pretraining": {"steps": steps}})
        corpus.build(run)
        params.open_folder(run)
        folder = training.train(training.Job(run, "pretrain"))
        assert same(weights(folder / "adapter"), weights(kept / "adapter"))
        assert sha256(folder / "model" / "model.safetensors") == sha256(
            kept / "model" / "model.safetensors")
    assert [line["step"] for line in training.read_log(home / "steps" / "3") if "loss" in line] == [
        1, 2, 3]


def test_a_kept_step_is_what_the_adaptation_starts_from(keeps):
    """The adaptation of a kept step has that step's model as its base, and its own weights; the
    cells of both runs name different trainings."""
    early, short = params.kept_runs(keeps)
    base = read_json(training.Job(early, "adapt", early.cells[0]).manifest)["base_model"]
    kept = read_json(training.Job(early, "pretrain").manifest)
    assert base["sha256"] != read_json(training.Job(keeps, "pretrain").manifest)["weights"]
    assert kept["weights"]["model/model.safetensors"] in (base["sha256"], sha256(
        training.model_folder(early) / "model.safetensors"))
    assert kept["steps"] == kept["model_step"] == 3
    made = {evaluation.header(one, early.cells[0])["training"] for one in (keeps, early, short)}
    assert len(made) == 3


def test_every_kept_step_is_launched_and_read(keeps, capfd):
    """`launch_all` and `launch` go over the kept steps, too, and find all finished; each has its
    own answers, which `read` gives."""
    training.launch_all(keeps)
    told = capfd.readouterr().out
    assert f"adapt {TASK} meta_rfft: finished, in {keeps.folder}-pretraining-3/adapt" in told
    evaluation.launch(keeps)
    for one in params.with_kept([keeps]):
        rows = evaluation.read(one)
        assert set(rows.method) == {cell.method for cell in one.cells}
        assert (one.folder / "evaluation" / "manifest.json").exists()


@pytest.mark.parametrize(("figure", "steps"), [
    ("figure_16", {"Meta-RFFT": [3, 8]}),
    ("figure_17", {"Vanilla RFFT": [5, 8], "Meta-RFFT": [5, 8]})])
def test_the_figures_over_steps_have_a_point_for_each_kept_step(keeps, figure, steps):
    """Figures 16 and 17 show the run and its kept steps of that stage, and of no other stage."""
    known = [Stored(one) for one in params.with_kept([keeps])]
    _, frame = several.draw(figure, known)
    assert {line: part.steps.to_list() for line, part in frame.groupby("line")} == steps


def test_the_check_after_a_run_reads_the_kept_steps(keeps, tmp_path, monkeypatch):
    """It finds nothing in the runs of the kept steps; weights of a kept step that did not change,
    and an answer of its run that is not what its text gives, are named with their run."""
    shutil.copytree(keeps.folder.parent, tmp_path / "outputs")
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    figures.accuracy_figure(keeps)

    def problems():  # two layers of random weights hardly learn in so few steps
        return [one for one in verify.verify(keeps) if "held-out" not in one]

    assert problems() == []
    early, short = params.kept_runs(keeps)
    manifest = training.Job(early, "pretrain").manifest
    write_json(manifest, read_json(manifest) | {"relative_change": 0.0})
    path = evaluation.path(short, short.cells[0])
    row = json.loads(path.read_text())
    path.write_text(json.dumps(row | {"outcome": "right"}) + "\n")
    made_up_run.sign(path)
    assert problems() == [
        "pretrain, kept step 3: the weights did not change",
        f"run keeps-adaptation-5: vanilla_rfft on {TASK}, length 1, sample 0: stored as right, "
        f"the text is {row['outcome']}"]


def test_a_kept_step_cannot_be_trained_alone(keeps, tmp_path, monkeypatch):
    """Without the run that keeps them, the corpus and the weights of a kept step are refused with
    its name."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    early, short = params.kept_runs(keeps)
    with pytest.raises(ParamsError, match="build run keeps, whose corpus this run reads"):
        corpus.build(early)
    with pytest.raises(ParamsError, match="run keeps, which keeps them, comes first"):
        training.train(training.Job(short, "adapt", short.cells[0]))


def test_a_killed_training_keeps_the_step_that_it_resumes_from(keeps, tmp_path, monkeypatch):
    """If the kill comes between a checkpoint and its kept weights, the resumed training has both;
    a training that lost its kept weights is not finished."""
    outputs = tmp_path / "outputs"
    shutil.copytree(keeps.folder / "corpus", outputs / "keeps" / "corpus")
    monkeypatch.setenv("METARFFT_OUTPUTS", str(outputs))
    params.open_folder(keeps)
    job = training.Job(keeps, "pretrain")
    from metarfft_core.training.process import kept_steps

    def die(self, checkpoint):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_steps.Keep, "write", die)
        with pytest.raises(KeyboardInterrupt):
            training.train(job)
    assert not (job.folder / "steps").exists()
    training.train(job)
    expected = read_json(training.Job(params.kept_runs(keeps)[0], "pretrain").manifest)["weights"]
    assert expected == read_json(job.folder / "steps" / "3" / "manifest.json")["weights"]
    assert training.finished(job)
    os.remove(job.folder / "steps" / "3" / "adapter" / "adapter_model.safetensors")
    assert not training.finished(job)


@pytest.mark.parametrize(("changes", "message"), [
    ({"pretraining": {"keep_steps": [8]}},
     "keep_steps: expected ascending steps before the last step, 8"),
    ({"adaptation": {"keep_steps": [3, 2]}}, "keep_steps: expected ascending steps"),
    ({"pretraining": {"keep_steps": [2], "early_stopping_patience": 1}},
     "keep_steps: with early_stopping_patience a training may end"),
    ({"pretraining": {"keep_steps": [2]}, "adaptation": {"methods": ["direct"]}},
     "expected a method that starts from the RF-pretrained model")])
def test_impossible_steps_are_refused(keeps, changes, message):
    """Steps that a training cannot keep, or whose weights nothing would use, stop the run."""
    with pytest.raises(ParamsError, match=message):
        changed(keeps.model.name, changes)
