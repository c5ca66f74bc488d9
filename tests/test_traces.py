"""Statistics of traces and replies, on frames whose answers are counted by hand."""

import re

import nbformat
import pandas as pd
import pytest

from metarfft_core import params, tasks
from metarfft_core.analysis import traces
from metarfft_core.lab import tables
from metarfft_core.system.places import ROOT

KNOWN = repr(tasks.get("nupa_length").rule.execute({"num": "123"}))
CHANGED = repr(tasks.get("nupa_length_cf").rule.execute({"num": "123"}))


@pytest.mark.parametrize(("answer", "outcome", "gold", "reply"), [
    (CHANGED, "right", CHANGED, "followed"),
    (KNOWN, "wrong", CHANGED, "remembered"),
    (f" {KNOWN} ", "wrong", CHANGED, "remembered"),
    ("99", "wrong", CHANGED, "neither"),
    (KNOWN, "cut", CHANGED, "cut"),
    (None, "no_answer", CHANGED, "no_answer"),
    (KNOWN, "right", KNOWN, "the answers do not differ"),
    (None, "cut", KNOWN, "the answers do not differ")])
def test_a_reply_to_a_changed_rule_follows_it_or_remembers_the_known_one(
        answer, outcome, gold, reply):
    """The changed rule of integer length adds two a digit: 6 for three digits, not 3."""
    assert (KNOWN, CHANGED) == ("3", "6")
    rows = pd.DataFrame({"task": "nupa_length_cf", "inputs": "{'num': '123'}", "answer": answer,
                         "outcome": outcome, "gold_answer": gold}, index=[7])
    found = traces.replies(rows)
    assert found.to_dict() == {7: reply}
    assert found.name == "reply"
    assert reply in traces.REPLIES


def test_no_rows_have_no_replies():
    """A run that asks no counterfactual question gives an empty column."""
    assert traces.replies(pd.DataFrame(columns=["task", "inputs"])).empty


def diagnosed(*lines):
    """Diagnoses: (method, task, length, index, outcome, kind, loops, gold_loops) of seed 0."""
    frame = pd.DataFrame(lines, columns=["method", "task", "length", "index", "outcome", "kind",
                                         "loops", "gold_loops"])
    return frame.assign(seed=0)


V, M = "vanilla_rfft", "meta_rfft"
FRAME = diagnosed(
    (V, "a", 1, 0, "right", "right", 1, 1), (V, "a", 1, 1, "right", "wrong_copy", 1, 1),
    (V, "a", 9, 0, "wrong", "wrong_copy", 8, 9), (V, "a", 9, 1, "cut", "cut", 9, 9),
    (M, "a", 1, 0, "right", "right", 1, 1), (M, "a", 1, 1, "right", "right", 1, 1),
    (M, "a", 9, 0, "right", "right", 9, 9), (M, "a", 9, 1, "wrong", "wrong_copy", 10, 9))


def test_an_answer_is_right_by_luck_where_its_trace_is_not():
    """By method and length, the three shares."""
    assert traces.luck(FRAME).to_dict("index") == {
        (M, 1): {"traces_right": 1, "answers_right": 1, "right_by_luck": 0},
        (M, 9): {"traces_right": 0.5, "answers_right": 0.5, "right_by_luck": 0},
        (V, 1): {"traces_right": 0.5, "answers_right": 1, "right_by_luck": 0.5},
        (V, 9): {"traces_right": 0, "answers_right": 0, "right_by_luck": 0}}


def test_answers_passes_and_traces_are_compared_on_the_same_samples():
    """Both methods in each of the three, then each method's answers with its traces."""
    table = traces.paired(FRAME, trained=[1], samples=10, confidence=0.95, seed=0)
    assert table.loc[:, "right":"neither"].to_numpy().tolist() == [
        [f"{M} answers", f"{V} answers", "in distribution", 2, 0, 0, 0],
        [f"{M} answers", f"{V} answers", "out of distribution", 0, 1, 0, 1],
        [f"{M} passes", f"{V} passes", "in distribution", 2, 0, 0, 0],
        [f"{M} passes", f"{V} passes", "out of distribution", 0, 1, 1, 0],
        [f"{M} traces", f"{V} traces", "in distribution", 1, 1, 0, 0],
        [f"{M} traces", f"{V} traces", "out of distribution", 0, 1, 0, 1],
        [f"{V} answers", f"{V} traces", "in distribution", 1, 1, 0, 0],
        [f"{V} answers", f"{V} traces", "out of distribution", 0, 0, 0, 2],
        [f"{M} answers", f"{M} traces", "in distribution", 2, 0, 0, 0],
        [f"{M} answers", f"{M} traces", "out of distribution", 1, 0, 0, 1]]
    assert table.difference.tolist() == [0, 0.5, 0, 0, 0.5, 0.5, 0.5, 0, 0, 0]


def test_wrong_passes_are_counted_among_wrong_answers_task_by_task():
    """Vanilla RFFT left its loop early in one of two wrong answers, Meta-RFFT late in its only one.

    Wilson's interval of 1 in 2 at 95% is 0.5 -+ 0.405; of 1 in 1 it is from 0.207 to 1.
    """
    more = pd.concat([FRAME, diagnosed((V, "b", 9, 0, "no_answer", "format", 0, 9))])
    table = traces.wrong_passes(more, 0.95)
    assert table.columns.tolist() == ["task", "method", "wrong passes", "of wrong answers",
                                      "share", "from", "to"]
    assert table.round(3).to_numpy().tolist() == [
        ["a", V, 1, 2, 0.5, 0.095, 0.905], ["a", M, 1, 1, 1, 0.207, 1], ["b", V, 1, 1, 1, 0.207, 1]]


def test_without_a_wrong_answer_there_is_no_line():
    """A run whose answers are all right has the columns, and no line."""
    table = traces.wrong_passes(FRAME[FRAME.outcome == "right"], 0.95)
    assert table.empty
    assert "share" in table.columns


def cells(html):
    """The texts of a table's cells, row by row."""
    return re.findall(r"<td>(.*?)</td>", html)


def test_the_stored_tables_of_notebook_7_are_those_of_the_kept_diagnoses():
    """Shares, the paired table and wrong passes of the laptop run, as the notebook shows them."""
    config = params.load(ROOT / "params" / "laptop.yaml")
    folder = ROOT / "outputs" / "reference" / "laptop" / "figures"
    every = pd.concat([pd.read_csv(folder / f"diagnoses-{method}.csv")
                       for method in (V, M, "base_1shot", "meta_1shot")], ignore_index=True)
    asked = every[every.task.isin(config.corpus.adaptation.tasks)]
    own, confidence = asked[asked.seed == config.seed], config.evaluation.confidence
    expected = {
        "07-13": traces.luck(asked),
        "intervals-code": traces.paired(own, config.corpus.adaptation.lengths,
                                        config.evaluation.bootstrap_samples, confidence,
                                        config.seed),
        "loops-code": traces.wrong_passes(own, confidence)}
    notebook = nbformat.read(ROOT / "notebooks" / "07_error_analysis.ipynb", as_version=4)
    stored = {cell.id: cell.outputs[0].data["text/html"] for cell in notebook.cells
              if cell.id in expected}
    for name, table in expected.items():
        shown = tables.show(table, "")._repr_mimebundle_()["text/html"]
        assert cells(stored[name]) == cells(shown) != [], name
