"""The parameter files beside 7b.yaml and 32b.yaml: what each changes, and what it leads to."""

import pytest

from metarfft_core import params
from metarfft_core.analysis import stored
from metarfft_core.claims import results_map
from metarfft_core.params.loading import differing
from metarfft_core.planning import display, plan
from metarfft_core.system.places import ROOT

TRAINED = {"adaptation.methods", "adaptation.further", "evaluation.in_context",
           "evaluation.counterfactual"}
"""What an arm trains and evaluates."""

IN_CONTEXT = {f"corpus.in_context.{key}" for key in (
    "lengths", "leave_out", "samples_per_length", "synthetic_samples", "tasks")}

CHANGED = {
    "7b_paper_wording": {"corpus.wording"},
    "32b_paper_wording": {"corpus.wording"},
    "7b_leetcode": TRAINED | {"corpus.pretrain.tasks", "corpus.in_context.tasks",
                              "corpus.adaptation.tasks"},
    "7b_one_task": TRAINED | IN_CONTEXT - {"corpus.in_context.lengths"} | {
        f"corpus.pretrain.{key}" for key in ("tasks", "leave_out", "samples_per_length")},
    "7b_steps": TRAINED | {"pretraining.keep_steps", "adaptation.keep_steps",
                           "pretraining.early_stopping_patience"},
    "7b_no_exemplars": TRAINED | IN_CONTEXT | {"pretraining.in_context_share"}}


def load(name):
    return params.load(ROOT / "params" / f"{name}.yaml")


@pytest.mark.parametrize(("name", "keys"), CHANGED.items())
def test_an_arm_changes_the_named_keys_alone(name, keys):
    """Each arm is the main file of its size with these keys changed, and no other."""
    config, main = load(name), load(name.partition("_")[0])
    assert set(differing(config, main)) == keys
    assert config.name == name
    assert config.model == main.model


@pytest.mark.parametrize("name", CHANGED)
def test_an_arm_keeps_the_comments_of_the_main_file(name):
    """A line that an arm shares with the main file has the same comment, so that every assumption
    stays marked."""
    lines = [(ROOT / "params" / f"{one}.yaml").read_text().splitlines()
             for one in (name, name.partition("_")[0])]
    ours, theirs = ([(line.partition("#")[0].rstrip(), line) for line in text
                     if line.strip() and not line.strip().startswith("#")] for text in lines)
    known = {key for key, _ in theirs}
    shared = [(key, line) for key, line in ours if key in known]
    assert len(shared) > 40
    assert set(shared) <= set(theirs)


def test_the_paper_s_wording_has_no_deviation_in_the_wording():
    """Its protocol has the paper's wording, which is what the main file deviates in."""
    paper = stored.yaml_files.read(ROOT / "metarfft_core" / "data" / "paper_protocol.yaml")
    assert load("7b_paper_wording").corpus.wording == paper["corpus"]["wording"] != load(
        "7b").corpus.wording


def test_the_leetcode_arm_trains_on_leetcode_alone():
    """Neither its tasks nor those of its exemplars are of another source, and it is adapted to the
    tasks of the other sources, which it has not seen."""
    from metarfft_core import tasks

    config = load("7b_leetcode")
    every = [task.id for task in tasks.select(split="pretrain", source="leetcode")]
    assert config.corpus.pretrain.tasks == config.corpus.in_context.tasks == every
    unseen = {task.id for source in ("symbolic", "bbh") for task in tasks.select(source=source)}
    assert set(config.corpus.adaptation.tasks) == unseen | {
        task.id for task in tasks.select(split="downstream")}


def test_the_one_task_arm_fills_the_same_steps():
    """Its samples are enough for the 800 steps of the main run, in one pass over them."""
    config = load("7b_one_task")
    settings, corpus = config.pretraining, config.corpus
    wanted = settings.steps * settings.batch_size
    share = settings.in_context_share
    assert 15 * corpus.pretrain.samples_per_length >= wanted * (1 - share)
    assert 15 * corpus.in_context.samples_per_length >= wanted * share
    assert settings.steps == load("7b").pretraining.steps
    assert settings.epochs == 1


def test_every_step_arm_is_a_run_with_a_plan():
    """The kept steps of the step arm are runs of both stages. The hours of the map and of the
    plan's first line include them, and the plan lists them."""
    config = load("7b_steps")
    names = [one.name for one in params.kept_runs(config)]
    assert names == [*(f"7b_steps-pretraining-{step}" for step in (100, 200, 400, 600)),
                     *(f"7b_steps-adaptation-{step}" for step in (39, 78, 117))]
    made = plan.plan(config, estimate=True, counted=results_map.counted)
    assert f"Total: {sum(results_map.costs('7b_steps').values()):.3g} GPU hours" in display.show(
        made)
    assert all(f"{name} " in display.show(made) for name in names)
    alone = made.stages
    hours = results_map.costs("7b_steps")
    assert hours["pretrain"] == pytest.approx(
        float(alone[alone.stage == "pretrain"].gpu_hours.sum()))
    assert hours["adapt"] > 1.5 * float(alone[alone.stage == "adapt"].gpu_hours.sum())
