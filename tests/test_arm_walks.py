"""The stages of every variant: each parameter file, with a small random Qwen2 as the model."""

import json
import math

import pandas
import pytest
from PIL import Image
from test_paper_runs import write_qwen

from metarfft_core import corpus, evaluation, figures, params, training
from metarfft_core.figures import SMOKE_MARK
from metarfft_core.figures.picture import ALT
from metarfft_core.system.files import read_json, sha256
from metarfft_core.system.places import ROOT

TINY = {"batch_size": 4, "micro_batch_size": 2, "steps": 1, "evaluate_every": 1, "save_every": 1}
SOME = ["sr_coin_flip", "lc_2460"]  # of all tasks of RF-pretraining
MIXED = [{"prompt": f"What is {n} + 1?", "completion": f"It is {n + 1}."} for n in range(4)]

WALKS = {
    "7b_leetcode": ("table_10", "Meta-RFFT, pre-trained on LeetCode alone"),
    "7b_one_task": ("figure_18", "Meta-RFFT, pre-trained on one task"),
    "7b_gsm8k_mix": ("table_4", "Meta-RFFT, GSM8K mixed in"),
    "7b_arc_mix": ("table_12", "Meta-RFFT, ARC mixed in"),
    "7b_alpaca_mix": ("table_12", "Meta-RFFT, Alpaca mixed in"),
    "7b_airline": ("figure_8", "Meta-RFFT"),
    "7b_paper_wording": ("figure_3", "Meta-RFFT"),
    "7b_no_exemplars": ("figure_5", "RF-pretrained, 1-shot")}
"""The figure or table that each arm leads to, and its line there."""


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return write_qwen(tmp_path_factory.mktemp("qwen") / "model")


def small(name, model, folder):
    """The file's values, with all that makes the arm: fewer tasks, samples, steps and answers."""
    values = params.read(ROOT / "params" / f"{name}.yaml")
    values["smoke"] = True
    values["model"] |= {"name": str(model)}
    part, adaptation = values["corpus"], values["adaptation"]
    for split in {"pretrain", "in_context"} & part.keys():
        named = part[split]["tasks"]
        part[split] |= {"tasks": SOME if named == "pretrain" else named[:2], "lengths": [1, 2],
                        "samples_per_length": 4}
    part.get("in_context", {})["synthetic_samples"] = 0
    part |= {"workers": 1, "validation": {"lengths": [3], "samples_per_length": 1},
             "evaluation": {"lengths": [1, 2], "samples_per_length": 1}}
    named = part["adaptation"]["tasks"]
    part["adaptation"] |= {"tasks": named if len(named) == 1 else ["lc_125"], "lengths": [1, 2],
                           "samples_per_length": 2}
    part["adaptation_validation"]["samples_per_length"] = 1
    values["pretraining"] |= TINY
    adaptation |= TINY | {"methods": ["meta_rfft"], "further": []}
    values["evaluation"] |= {"engine": "transformers", "limit_factor": 1.0, "limit_extra": 1,
                             "counterfactual": [], "in_context": [
                                 one for one in values["evaluation"].get("in_context", [])
                                 if one == "meta_1shot"]}
    for stage in ("pretraining", "adaptation"):
        if mix := values[stage].get("mix"):
            file = folder / mix["file"].rpartition("/")[2]
            file.write_text("".join(json.dumps(row) + "\n" for row in MIXED))
            mix |= {"file": str(file), "share": 0.5}
    return params.check(values)


@pytest.mark.slow
@pytest.mark.parametrize("name", WALKS)
def test_an_arm_is_walked_to_its_line(qwen, tmp_path, monkeypatch, name):
    """Corpus, trainings and answers of an arm are made by the stages themselves, from its file; the
    figure or table that it leads to has its line, of this run, and is marked as of a smoke run."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "cache"))
    run = small(name, qwen, tmp_path)
    corpus.build(run)
    for job in training.jobs(run):
        training.train(job)
        assert read_json(job.manifest)["relative_change"] > 0
    for cell in run.cells:
        evaluation.evaluate(run, cell)
    result, label = WALKS[name]
    drawn = figures.paper([run], tmp_path / "paper")[result]
    frame = pandas.read_csv(drawn["csv"])
    own = frame[(frame["run"] == name) & (frame["line"] == label)]
    assert len(own)
    assert not own["accuracy" if "accuracy" in frame else "value"].map(math.isnan).any()
    assert SMOKE_MARK in Image.open(drawn["png"]).text[ALT]
    if mix := run.pretraining.mix:
        made = read_json(training.Job(run, "pretrain").manifest)
        assert made["data"][mix.file] == sha256(mix.path)
