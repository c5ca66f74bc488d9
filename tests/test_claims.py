"""The claims page, with made-up runs in which every verdict has to come out."""

import csv

import made_up_run
import pytest
import yaml
from made_up_run import change, preset

from metarfft_core import params
from metarfft_core.analysis import stored, verdicts
from metarfft_core.evaluation import metrics

SMOL = {"name": "SmolLM2-135M-Instruct", "context": 8192}
TABLE_2 = {"direct": 0.16, "scratchpad": 0.30, "vanilla_rfft": 0.40, "meta_rfft": 0.77}


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))


def _run(share, name="run", lengths="1-30", samples=20, **changes):
    """A 7B run whose accuracy is `share[method]` on every task and at every length."""
    values = preset("7b", name=name, adaptation__further=[], corpus__evaluation={
        "lengths": lengths, "samples_per_length": samples}, evaluation={
        "bootstrap_samples": 200, "in_context": [], "counterfactual": [], "api": []})
    return made_up_run.make(change(values, **changes), lambda method, *_: share[method])


def _verdicts(*runs, table="table_2", group="Qwen2.5-7B-Instruct", metric="ACC_Len30"):
    return {claim.line: claim.verdict for claim in verdicts.judge(runs)
            if (claim.table, claim.group, claim.metric) == (table, group, metric)}


def test_every_number_that_the_paper_reports_is_a_claim():
    """Without a run each of them stands there as not run; their sum is that of a count by hand."""
    judged = verdicts.judge([])
    assert {claim.verdict for claim in judged} == {"not run"}
    counts = {}
    for claim in judged:
        counts[claim.table] = counts.get(claim.table, 0) + 1
    assert counts == {"table_2": 20, "addition": 4, "in_context": 3, "table_3": 4, "table_4": 6,
                      "table_5": 2, "table_10": 10, "table_11": 6, "table_12": 8,
                      "reinforcement_learning": 1}
    numbers = {(claim.table, claim.line, claim.metric): claim.paper for claim in judged
               if claim.group in ("Qwen2.5-32B-Instruct", "Llama-3.1-8B")}
    assert numbers["table_2", "Meta-RFFT", "Max_Len_90%"] == 30.0
    assert numbers["addition", "QwQ-32B", "ACC_Len30"] == 0.32
    assert numbers["table_3", "Tulu 3, 1-shot", "Max_Len_90%"] == 0.67
    assert numbers["in_context", "RF-pretrained, 1-shot, less Base model, 1-shot",
                   "Max_Len_90%"] == 14.5


def test_the_papers_model_with_the_papers_number_reproduces_it():
    """Where the paper's number lies in our interval it is reproduced, else it differs."""
    run = _run(TABLE_2 | {"scratchpad": 0.45})
    assert _verdicts(run) == {"Direct answer": "reproduced", "Scratchpad": "differs",
                              "Vanilla RFFT": "reproduced", "Meta-RFFT": "reproduced"}
    assert set(_verdicts(run, metric="Max_Len_90%").values()) == {"differs"}
    for claim in verdicts.judge([run]):
        if claim.verdict == "reproduced":
            assert round(claim.low, 2) <= claim.paper <= round(claim.high, 2)
    assert set(_verdicts(run, group="Qwen2.5-32B-Instruct").values()) == {"not run"}


@pytest.mark.parametrize("changes", [
    {"lengths": "1-10"}, {"corpus__adaptation": {"tasks": ["lc_258", "nupa_add"]}},
    {"lengths": "1-30", "samples": 20, "adaptation__steps": 50}])
def test_the_papers_model_in_another_way_is_judged_by_its_order(changes):
    """On some tasks, to length 10 or after 50 steps even the paper's very number is in line."""
    run = _run(TABLE_2 | {"direct": 0.1, "vanilla_rfft": 0.55}, **{"samples": 60} | changes)
    assert set(_verdicts(run).values()) == {"in line"}


def test_a_smaller_model_with_the_same_order_is_in_line():
    """All intervals apart and in the paper's order: each number is in line, none reproduced."""
    run = _run({"direct": 0.1, "scratchpad": 0.3, "vanilla_rfft": 0.5, "meta_rfft": 0.9},
               model=SMOL)
    assert set(_verdicts(run).values()) == {"in line"}
    assert set(_verdicts(run, group="Qwen2.5-32B-Instruct").values()) == {"in line"}


def test_a_smaller_model_with_another_order_differs():
    """Two methods the other way round differ, two within their intervals are undecided."""
    run = _run({"direct": 0.3, "scratchpad": 0.1, "vanilla_rfft": 0.8, "meta_rfft": 0.82},
               model=SMOL)
    assert _verdicts(run) == {"Direct answer": "differs", "Scratchpad": "differs",
                              "Vanilla RFFT": "undecided", "Meta-RFFT": "undecided"}
    why = {claim.line: claim.why for claim in verdicts.judge([run])
           if (claim.table, claim.group, claim.metric)
           == ("table_2", "Qwen2.5-7B-Instruct", "ACC_Len30")}
    assert why["Scratchpad"].endswith("the other order with Direct answer")
    assert "within the intervals of Vanilla RFFT" in why["Meta-RFFT"]
    assert "the paper's order with Direct answer, Scratchpad" in why["Meta-RFFT"]
    run = _run({"direct": 0.1, "scratchpad": 0.1, "vanilla_rfft": 0.5, "meta_rfft": 0.9},
               name="second", model=SMOL)
    assert _verdicts(run) == {"Direct answer": "undecided", "Scratchpad": "undecided",
                              "Vanilla RFFT": "in line", "Meta-RFFT": "in line"}


def test_the_order_is_taken_over_what_both_methods_have():
    """A task on which only the weaker method was run does not turn the order round."""
    values = {"adaptation__methods": ["meta_rfft"], "adaptation__further": [
        {"methods": ["vanilla_rfft"], "tasks": ["lc_258"]}]}
    run = made_up_run.make(change(preset("7b", name="few", model=SMOL, corpus__evaluation={
        "lengths": [1, 10], "samples_per_length": 50}, evaluation={
            "in_context": [], "counterfactual": [], "api": []}), **values),
        lambda method, task, *_: 0.9 if (method, task) == ("meta_rfft", "lc_258") else
        0.5 if method == "vanilla_rfft" else 0.1)
    assert _verdicts(run) == {"Direct answer": "not run", "Scratchpad": "not run",
                              "Vanilla RFFT": "in line", "Meta-RFFT": "in line"}


def test_one_method_alone_has_nothing_to_be_compared_with():
    """A number of ours without another one of its comparison is no verdict."""
    run = _run({"meta_rfft": 0.9}, model=SMOL, adaptation__methods=["meta_rfft"])
    judged = next(claim for claim in verdicts.judge([run])
                  if (claim.table, claim.line) == ("table_2", "Meta-RFFT"))
    assert (judged.verdict, judged.value) == ("not run", 0.9)
    assert judged.why == "nothing that it could be compared with was run"


def test_a_difference_of_two_methods_is_judged_by_its_sign():
    """The gains of the 32B model in context: the smaller model has to gain, beyond its interval."""
    loss, gain = _differences("shots", {"meta_1shot": 20, "base_1shot": 6, "vanilla_rfft": 25})
    assert (gain.value, gain.verdict) == (14.0, "in line")
    assert (loss.value, loss.verdict) == (-5.0, "differs")
    loss, gain = _differences("none", {"meta_1shot": 6, "base_1shot": 6, "vanilla_rfft": 6})
    assert {(one.value, one.verdict) for one in (loss, gain)} == {(0.0, "undecided")}


def _differences(name, longest):
    """The two differences of the 32B model in context, by how far each method is right."""
    run = made_up_run.make(change(
        preset("7b", name=name, model=SMOL, adaptation__methods=["vanilla_rfft"],
               adaptation__further=[], corpus__evaluation={"lengths": "1-30",
                                                           "samples_per_length": 10}),
        evaluation={"in_context": ["base_1shot", "meta_1shot"], "counterfactual": [], "api": []}),
        lambda method, task, length, seed: float(length <= longest[method]))
    judged = {claim.line: claim for claim in verdicts.judge([run]) if claim.table == "in_context"}
    return (judged["RF-pretrained, 1-shot, less Vanilla RFFT"],
            judged["RF-pretrained, 1-shot, less Base model, 1-shot"])


def test_a_smoke_run_never_speaks():
    """Its numbers stand nowhere on the page, which says that it was left out."""
    run = _run({"direct": 0.1, "scratchpad": 0.3, "vanilla_rfft": 0.5, "meta_rfft": 0.9},
               name="smoking", model=SMOL, smoke=True)
    assert {claim.verdict for claim in verdicts.judge([run])} == {"not run"}
    assert "left out: a smoke run" in verdicts.page(verdicts.judge([run]), [run])


def test_the_page_and_its_table_say_the_same(tmp_path):
    """Each number stands in verdicts.csv and verdicts.md with ours, interval, run and verdict."""
    run = _run(TABLE_2)
    path = verdicts.write([run], tmp_path / "page")
    with open(path.with_suffix(".csv"), newline="") as file:
        lines = list(csv.DictReader(file))
    text = path.read_text()
    assert len(lines) == len(verdicts.judge([])) == sum(
        text.count(f"| {verdict} |") for verdict in verdicts.VERDICTS)
    line = next(line for line in lines if (line["table"], line["line"], line["metric"])
                == ("table_2", "Meta-RFFT", "ACC_Len30"))
    cells = [{30: (round(0.77 * 20), 20)}] * 12
    assert float(line["value"]) == pytest.approx(metrics.acc_longest(cells))
    assert (line["run"], line["params_digest"], line["commit"]) == (run.name, run.digest,
                                                                    "made-run")
    ours = f"{float(line['value']):.2f} [{float(line['low']):.2f}, {float(line['high']):.2f}]"
    assert f"| Meta-RFFT | ACC_Len30 | 0.77 | {ours} | run (Qwen2.5-7B-Instruct) |" in text


def test_every_line_of_the_papers_file_names_what_there_is():
    """Models, methods and tasks of the file are known ones; each line has a number a metric."""
    spec = yaml.safe_load(stored.PAPER.read_text())
    for part in (*spec["numbers"].values(), *spec["figures"].values()):
        for line in stored.lines(part):
            assert line.api or line.model in spec["models"]
            assert line.api or line.method in {*params.METHODS, "base", "rl"}
            assert len(line.paper) == len(part.get("metrics", ()))
            assert line.tasks
            assert line.label
