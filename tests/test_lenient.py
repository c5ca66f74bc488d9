"""The lenient score: against answers labelled by hand, against the strict score, and in rows."""

import json
import math
import random
import time
from pathlib import Path

import made_up_run
import pytest
from matplotlib.text import Text

from metarfft_core import evaluation, formats, params, scoring, tasks
from metarfft_core.analysis import counted, groups, stored
from metarfft_core.figures import single, tables

LABELLED = [json.loads(line) for line in (
    Path(__file__).parent / "data" / "answers_as_written.jsonl").read_text(
    encoding="utf-8").splitlines()]
GOLDS = ("7", "-12", "3.5", "1000", "True", "False", "None", "[1, 2]", "[]", "['a', 'b']",
         "[True, None]", "[[1], [2, 3]]", "'a'", "'abc de'", "'167'", "'22.485'", "''", "'5F-2K'")
WAYS = ("{}", "So the answer is {}", "So the answer is {}.", "The answer is **{}**.",
        "**Answer:** {}", "So the answer is `{}`",
        "So the answer is:\n```python\n{}\n```", "\\boxed{{{}}}",
        "So the answer is ${}$.", "So the answer is {} because nothing else is left.",
        "So the answer is \\(\\boxed{{{}}}\\).", "<think>99</think>The final answer is: {}")


def test_enough_answers_are_labelled():
    """At least 200 answers, of which at least 70 are wrong, no text and answer twice."""
    assert len(LABELLED) >= 200
    assert sum(one["label"] == "wrong" for one in LABELLED) >= 70
    assert {one["label"] for one in LABELLED} == {"right", "wrong"}
    assert len({(one["text"], one["gold"]) for one in LABELLED}) == len(LABELLED)


def test_no_wrong_answer_is_accepted():
    """Not one of the answers labelled wrong is right by the lenient score."""
    assert [one for one in LABELLED if one["label"] == "wrong"
            and scoring.same_answer_lenient(one["text"], one["gold"])] == []


def test_right_answers_are_accepted():
    """At least 99% of the answers labelled right are right by the lenient score."""
    right = [one for one in LABELLED if one["label"] == "right"]
    missed = [one for one in right if not scoring.same_answer_lenient(one["text"], one["gold"])]
    assert len(missed) <= 0.01 * len(right), missed


def test_the_part_behind_the_announcement_is_read_as_the_whole_text():
    """What `formats.parse_answer` returns of a labelled text is never right where the whole is
    wrong, and right where the whole is in at least 95%: an equation alone may be a step."""
    parts = [(formats.parse_answer(one["text"]), one) for one in LABELLED]
    found = [(scoring.same_answer_lenient(part, one["gold"]), one) for part, one in parts if part]
    assert [one for right, one in found if right and one["label"] == "wrong"] == []
    right = [is_right for is_right, one in found if one["label"] == "right"]
    assert len(right) > 200
    assert sum(right) >= 0.95 * len(right)


def test_the_strict_score_misses_many_of_them():
    """The second score is needed: the strict one calls most of the right ones wrong."""
    right = [one for one in LABELLED if one["label"] == "right"]
    strict = [scoring.score(one["text"], "stop", one["gold"])[1] == "right" for one in right]
    assert sum(strict) < len(right) / 2


@pytest.mark.parametrize("gold", GOLDS)
def test_each_way_of_writing_states_this_value_alone(gold):
    """The answer in each way of writing is right; any other answer in the same way is wrong,
    unless it differs in its quotes alone."""
    for way in WAYS:
        assert scoring.same_answer_lenient(way.format(gold), gold), way
        for other in GOLDS:
            if other.strip("'") != gold.strip("'"):
                assert not scoring.same_answer_lenient(way.format(other), gold), (way, other)


@pytest.mark.parametrize("source", ["leetcode", "bbh", "nupa", "symbolic"])
def test_the_answers_of_every_task_are_read_in_each_way(source):
    """An answer of each task is right in each way of writing, with and without its quotes and in
    JSON's; the answer with its end cut, doubled or turned round is wrong in all of them."""
    for task in tasks.select(source=source):
        answer = task.sample(length=task.lengths[len(task.lengths) // 4], seed=9, index=0).answer
        for way in WAYS:
            for text in _written(answer):
                assert scoring.same_answer_lenient(way.format(text), repr(answer)), (task.id, way)
            for other in _others(answer):
                for text in _written(other):
                    assert not scoring.same_answer_lenient(way.format(text), repr(answer)), (
                        task.id, way, text)


def _written(answer):
    """An answer as Python, JSON and without quotes."""
    plain = answer if isinstance(answer, str) and answer.strip() == answer != "" else repr(answer)
    as_json = repr(answer) if "None" in repr(answer) else json.dumps(answer)
    return {repr(answer), repr(answer).replace(", ", ","), as_json, plain}


def _others(answer):
    """Other answers of the same kind, near to it."""
    match answer:
        case bool():
            return [not answer]
        case int():
            return [answer + 1, -answer or 5, int(f"{abs(answer)}1")]
        case str():
            near = [f"{answer}x", answer[:-1], answer[::-1], answer.swapcase()]
            return [one for one in near if one.strip() != answer.strip() and one.strip()]
    return [one for one in ([*answer, 0], answer[:-1], answer[::-1], [answer]) if one != answer]


def test_what_the_strict_score_accepts_is_accepted():
    """A text that is right by the strict score is right by the lenient one, whatever is in it."""
    rng = random.Random(0)
    parts = ["So the answer is ", "7", "[1, 2]", "'a'", "\n", "**", " or ", "not ", ".", "\\boxed{"]
    for _ in range(3_000):
        text = "".join(rng.choices(parts, k=rng.randint(1, 7)))
        for gold in ("7", "[1, 2]", "'a'"):
            row = {"text": text, "finish_reason": "stop", "gold_answer": gold,
                   "outcome": scoring.score(text, "stop", gold)[1]}
            if row["outcome"] == "right":
                assert scoring.lenient_outcome(row) == "right", text


@pytest.mark.parametrize("text", [
    "9" * 49_000, "\\boxed{" * 3_000 + "7", "So the answer is " + "[" * 5_000, "*" * 20_000 + "7",
    "a " * 30_000 + "answer is 7", "So the answer is " + "a+" * 20_000 + "=7", "```\n" * 5_000,
    "So the answer is 7 " + "[1](" * 9_999, "\\boxed{7}" * 3_000, "<answer>7" * 5_000,
    "So the answer is 7" + "\n" * 49_000 + "x", "So the answer is 7" + ".\n*" * 16_000 + "x",
    "So the answer is 7\n(" + " " * 49_000 + "x", "So the answer is 7" + "</s>" * 12_000 + "x",
    "So the answer is 7" + "<|end|>" * 7_000, "``7" * 16_000, "> " * 24_000 + "7",
    "7" + " is the answer" * 3_000, "So the answer is [" + "7, " * 20_000 + "]",
    "So the answer is [" + "\\text{a}, " * 4_000 + "]",
    "So the answer is \\boxed{" + "\\'" * 24_000, "So the answer is [1, 2]" + "\\text{" * 8_000,
    "." + " " * 49_000, "```\n" + " " * 49_000, "7." + "\n" * 49_000 + "x", "a" * 10**7,
    "So the answer is 7" + "_" * 49_000 + "x", "*" * 49_000 + "x \\boxed{7}"],
    ids=lambda text: text[:30])
def test_a_text_that_repeats_itself_is_judged_at_once(text):
    """Whatever a model repeats until its limit is judged within a second, and raises nothing."""
    start = time.process_time()
    for gold in ("7", "'a'", "[1, 2]", "True"):
        scoring.same_answer_lenient(text, gold)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(("row", "expected"), [
    ({"text": "So the answer is **7**.", "outcome": "wrong"}, "right"),
    ({"text": "\\boxed{7}", "outcome": "no_answer"}, "right"),
    ({"text": "\\boxed{8}", "outcome": "no_answer"}, "no_answer"),
    ({"text": "So the answer is 8", "outcome": "wrong"}, "wrong"),
    ({"text": "So the answer is **7**.", "outcome": "cut", "finish_reason": "length"}, "cut"),
    ({"text": "", "outcome": "no_answer", "finish_reason": "refused"}, "no_answer"),
    ({"outcome": "wrong"}, None), ({"outcome": "right"}, "right"), ({"outcome": "cut"}, "cut"),
    ({"outcome": "wrong", "outcome_lenient": "right"}, "right")])
def test_the_outcome_of_a_row(row, expected):
    """A cut text stays cut, an answer right by the strict score stays right, and a row whose text
    was not kept has no lenient outcome unless the strict one decides it."""
    assert scoring.lenient_outcome({"finish_reason": "stop", "gold_answer": "7", **row}) == expected


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A made-up run of two 1-shot methods, an API model and trained methods on one task; its rows
    are of an earlier format."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    values = made_up_run.preset("test", adaptation__further=[], evaluation={
        "in_context": ["base_1shot"], "counterfactual": [], "bootstrap_samples": 20,
        "api": [{"name": "QwQ-32B", "model": "m", "base_url": "http://localhost"}]})
    made = made_up_run.make(values, lambda *_: 0.5)
    for path in made.folder.glob("evaluation/*/*.jsonl"):
        _store(path, [json.loads(line) for line in path.read_text().splitlines()])
    return made


def _write_texts(run, method, text):
    """Give every answer of a method that is wrong this text; returns how many there are."""
    count = 0
    for path in (run.folder / "evaluation" / method).glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            if row["outcome"] in ("wrong", "no_answer"):
                row["text"] = text
                count += 1
        _store(path, rows)
    return count


def _store(path, rows):
    """Store rows as an earlier format had them, without the lenient outcome."""
    path.write_text("".join(json.dumps({key: value for key, value in row.items()
                                        if key != "outcome_lenient"}) + "\n" for row in rows))
    made_up_run.sign(path)


def test_rows_of_an_earlier_format_get_the_lenient_outcome_when_read(run):
    """Stored rows without the key are judged by their text; the strict outcomes stay as stored."""
    before = evaluation.read(run)
    assert list(before["outcome_lenient"]) == list(before["outcome"])
    count = _write_texts(run, "QwQ-32B", "So the answer is **1**.")
    after = evaluation.read(run)
    assert list(after["outcome"]) == list(before["outcome"])
    assert (after["outcome_lenient"] != after["outcome"]).sum() == count > 0


def test_both_scores_are_in_the_numbers_behind_figures(run):
    """API and 1-shot rows have a lenient accuracy beside the strict one; trained methods have
    none, and the lenient one counts exactly the answers that it alone accepts."""
    _write_texts(run, "QwQ-32B", "So the answer is **1**.")
    rows = evaluation.read(run)
    frame = single.accuracies(run, counted.count(rows))
    for line in frame.to_dict("records"):
        if line["method"] == "QwQ-32B":
            accepted = line["right"] + line["wrong"] + line["no_answer"]
            assert line["accuracy_lenient"] == accepted / line["total"] > line["accuracy"]
        elif line["method"] == "base_1shot":
            assert line["accuracy_lenient"] == line["accuracy"]
        else:
            assert math.isnan(line["accuracy_lenient"])


def test_a_figure_draws_the_lenient_score_where_it_differs(run):
    """The API model has a dotted line of its own values and the figure says so; the 1-shot prompt,
    whose two scores are the same, has its one line."""
    _write_texts(run, "QwQ-32B", "So the answer is **1**.")
    frame = single.accuracies(run, counted.count(evaluation.read(run)))
    task = run.corpus.adaptation.tasks[0]
    for method, drawn in (("QwQ-32B", 2), ("base_1shot", 1)):
        figure = single.draw_accuracy(run, frame, [method], [task])
        lines = figure.axes[0].get_lines()
        part = frame[(frame["method"] == method) & (frame["task"] == task)]
        assert len(lines) == drawn
        assert list(lines[-1].get_ydata()) == list(part["accuracy_lenient"])
        said = " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())
        assert ("dotted: the lenient score" in said) == (drawn == 2)


def test_a_table_of_the_paper_has_a_line_for_each_score(run):
    """The API model's line is followed by its line by the lenient score, which is higher."""
    _write_texts(run, "QwQ-32B", "So the answer is **1**.")
    spec = stored.paper()["numbers"]["table_2"]
    frame = tables.numbers(groups.groups(spec, [stored.Stored(run)]), spec)
    shown = frame[frame["run"].notna()].set_index(["line", "metric"])
    lenient = [line for line, _ in shown.index if line.endswith(tables.LENIENT)]
    assert set(lenient) == {f"QwQ-32B{tables.LENIENT}"}
    assert shown.loc[(lenient[0], "ACC_Len30"), "value"] > shown.loc[
        ("QwQ-32B", "ACC_Len30"), "value"]
    assert math.isnan(shown.loc[(lenient[0], "ACC_Len30"), "paper"])


def test_an_answer_without_its_text_leaves_the_cell_without_a_lenient_score(run):
    """Where one text of a cell was not kept, no lenient number is shown for it."""
    path = next((run.folder / "evaluation" / "QwQ-32B").glob("*.jsonl"))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    del next(row for row in rows if row["outcome"] == "wrong")["text"]
    _store(path, rows)
    rows = evaluation.read(run)
    assert ("QwQ-32B", path.stem) not in counted.lenient_answers(rows)
    assert ("base_1shot", path.stem) in counted.lenient_answers(rows)
    assert not params.judged_twice("meta_rfft")


def test_rows_without_any_text_have_no_lenient_score(run):
    """Where no outcome of the lenient score is known at all, there is no cell for it."""
    rows = evaluation.read(run).assign(outcome_lenient=None)
    assert counted.lenient_answers(rows) == {}
