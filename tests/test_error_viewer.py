"""The error viewer: its counts against the stored table, its traces against the diagnoses."""

import ast
import json
import re
from collections import Counter
from itertools import combinations

import made_up_run
import pandas as pd
import pytest

from metarfft_core import errors, evaluation, formats, lab, params, tasks
from metarfft_core.analysis.run_folder import open_run
from metarfft_core.errors.compare import squeeze
from metarfft_core.lab import error_viewer
from metarfft_core.lab.widget import STATIC
from metarfft_core.params import ParamsError
from metarfft_core.system.places import ROOT

LAPTOP = ROOT / "outputs" / "reference" / "laptop"
COLUMNS = {"method": str, "task": str, "length": int, "kind": str}


@pytest.fixture(scope="module")
def viewer():
    return lab.errors(LAPTOP)


@pytest.fixture(scope="module")
def kept():
    """The stored rows with their texts, read from their files alone, by their key."""
    rows = {}
    for path in (LAPTOP / "evaluation").glob("*/*.jsonl"):
        with open(path, encoding="utf-8") as file:
            rows |= {key(row): row for row in map(json.loads, file) if "text" in row}
    return rows


def key(row):
    return tuple(str(row[name]) for name in ("method", "task", "seed", "length", "index"))


def chosen_lines(table, choice):
    return [line for line in table
            if all(line[name] == str(value) for name, value in choice.items() if name != "luck")
            and (not choice.get("luck") or (line["outcome"] == "right" != line["kind"]))]


def test_every_class_has_a_name_and_a_reason():
    """The viewer names the kinds of the analysis, all of them and no others."""
    assert tuple(sorted(error_viewer.CLASSES)) == tuple(sorted(errors.KINDS))
    assert all(name and reason for name, reason in error_viewer.CLASSES.values())


def test_every_count_is_that_of_the_table(viewer, table):
    """Without a filter, with each filter, and with each pair of filters, luck among them."""
    every = [(name, value) for name, cast in COLUMNS.items()
             for value in sorted({cast(line[name]) for line in table})] + [("luck", True)]
    choices = [{}, *({name: value} for name, value in every),
               *(dict(pair) for pair in combinations(every, 2) if pair[0][0] != pair[1][0])]
    groups = Counter((*(line[name] for name in COLUMNS),
                      line["outcome"] == "right" != line["kind"]) for line in table)

    def number(choice):
        wanted = [str(choice[name]) if name in choice else None for name in COLUMNS]
        return sum(lines for (*values, luck), lines in groups.items()
                   if (luck or not choice.get("luck"))
                   and all(one in (None, other) for one, other in zip(wanted, values, strict=True)))

    assert len(choices) > 150
    for choice in choices:
        counted = viewer.counts(**choice)
        assert set(counted) == {*COLUMNS, "luck"}
        for name, values in counted.items():
            rest = {other: value for other, value in choice.items() if other != name}
            assert values == {value: number(rest | {name: value}) for value in values}, choice
            assert name == "luck" or sum(values.values()) == number(rest)


def test_what_is_shown_has_the_counts(viewer, table):
    """The view of the widget holds the counts, and says how many texts can be shown."""
    viewer.chosen, viewer.number = {"method": "meta_rfft", "luck": True}, 999
    view = viewer.view
    lines = chosen_lines(table, viewer.chosen)
    assert view["total"] == len(lines) == 32
    assert view["said"] == "32 traces are chosen; the texts of 4 are kept and can be shown."
    assert view["place"] == 3  # the last one
    [kinds] = [one for one in view["filters"] if one["name"] == "kind"]
    assert kinds["all"] == len(lines)
    assert {one["value"]: one["count"] for one in kinds["options"] if one["count"]} == \
        pd.Series([line["kind"] for line in lines]).value_counts().to_dict()
    viewer.chosen, viewer.number = {"kind": "loop_not_left", "length": 30}, 0
    assert (viewer.view["said"], viewer.view["example"]) == ("No trace is chosen.", None)
    viewer.chosen = {}
    assert "this version of the code judges all of them the same" in viewer.view["note"]


def test_the_divergence_is_the_one_that_the_diagnosis_names(viewer, table, kept):
    """Every kept trace: marked where the stored table says, with the texts of the diagnosis."""
    stored = {key(line): line for line in table}
    shown = 0
    for _, row in viewer.examples().iterrows():
        source, line = kept[key(row)], stored[key(row)]
        found = errors.diagnose(tasks.get(row.task), ast.literal_eval(source["inputs"]),
                                source["text"], source["finish_reason"])
        example = error_viewer._example(viewer._config, row)
        marked = [step for step in example["steps"] if step[3] == "at"]
        assert example["kind"] == line["kind"]
        if not line["step"]:
            assert (marked, line["kind"]) == ([], "right")
            continue
        [[number, model, rule, _]] = marked
        assert number == float(line["step"]) == found.step
        expected = [error_viewer._short(text or "") for text in (found.got, found.expected)]
        assert [model or "", rule or ""] == expected
        assert ["".join(parts) for parts in example["differs"]] == expected
        assert error_viewer.CLASSES[line["kind"]][0] in example["named"]
        shown += 1
    assert shown == sum(key(line) in kept and line["kind"] != "right" for line in table) > 100


def test_the_alignment_loses_no_step(viewer, kept):
    """Each side reads as its whole text in its order; up to the divergence both say the same."""
    for _, row in viewer.examples().iterrows():
        source = kept[key(row)]
        instance = tasks.Instance(row.task, row.length, row["index"], "evaluation",
                                  ast.literal_eval(source["inputs"]),
                                  ast.literal_eval(source["gold_answer"]))
        right = formats.render(tasks.get(row.task), instance, "rfft").completion
        found = errors.diagnose(tasks.get(row.task), instance.inputs, source["text"],
                                source["finish_reason"])
        steps = list(error_viewer._steps(viewer._config, row, found))
        lines = [line.strip() for line in source["text"].split("\n") if line.strip()]
        assert [step.model for step in steps if step.model is not None] == \
            [error_viewer._short(line) for line in lines]
        assert [step.rule for step in steps if step.rule is not None] == right.split("\n")
        assert [step.number for step in steps if step.rule is not None] == \
            list(range(1, right.count("\n") + 2))
        assert all(squeeze(step.model) == squeeze(step.rule)
                   for step in steps if step.where == "before")


def planted(old, new, wording="kit"):
    """What the viewer shows of a right trace in which one text is exchanged for another."""
    config = params.check(made_up_run.preset(corpus__wording=wording))
    instance = tasks.get("lc_283").sample(length=3, seed=0, index=7)
    right = formats.render(tasks.get("lc_283"), instance, "rfft", wording).completion
    assert old in right
    row = pd.Series({"method": "vanilla_rfft", "task": "lc_283", "seed": 0, "length": 3, "index": 7,
                     "inputs": repr(instance.inputs), "text": right.replace(old, new, 1),
                     "finish_reason": "stop"})
    return error_viewer._example(config, row)


def test_behind_the_divergence_the_same_lines_stand_beside_each_other():
    """Whatever is wrong before, the answer of the model is beside the right one."""
    right = "result.append(num) # result = [4, 3]\n"
    steps = planted(right, "zeros += 1 # 1 + 1 = 2\n")["steps"]
    assert steps[-1][1:] == ["So the answer is [4, 3, 0]", "So the answer is [4, 3, 0]", "after"]
    example = planted("return result # result = [4, 3, 0]\nSo the answer is [4, 3, 0]",
                      "zeros = 0\nSo the answer is 7")
    assert [step[1:] for step in example["steps"][-2:]] == [
        ["zeros = 0", "return result # result = [4, 3, 0]", "at"],
        ["So the answer is 7", "So the answer is [4, 3, 0]", "after"]]


@pytest.mark.parametrize("wording", formats.WORDINGS)
def test_a_planted_slip_is_marked_in_every_wording(wording):
    """One digit of a right trace is changed; a step may take several lines of the text."""
    example = planted("result = [4]", "result = [6]", wording)
    [at] = [step for step in example["steps"] if step[3] == "at"]
    assert [parts[1] for parts in example["differs"]] == ["6", "4"]
    assert "result = [6]" in at[1]
    assert "result = [4]" in at[2]
    assert example["answer"] == "The answer is right, although the trace is wrong."
    assert all(step[1] == step[2] for step in example["steps"] if step[3] != "at")


@pytest.mark.parametrize(("model", "rule", "parts"), [
    ("'1' == '0' -> True", "'1' == '0' -> False", [["'1' == '0' -> ", "True", ""],
                                                   ["'1' == '0' -> ", "False", ""]]),
    ("x = [12, 4]", "x = [132, 4]", [["x = [", "12", ", 4]"], ["x = [", "132", ", 4]"]]),
    ("x = ''", "x = '01'", [["x = '", "", "'"], ["x = '", "01", "'"]]),
    ("", "return x", [["", "", ""], ["", "return x", ""]])])
def test_what_differs_is_marked_by_whole_words(model, rule, parts):
    """A verdict or a number is marked as a whole, not by the letters that happen to differ."""
    assert error_viewer._differs(model, rule) == parts


@pytest.fixture
def whole(tmp_path, monkeypatch):
    """A made-up run with all its texts; one right answer has a wrong trace."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    config = made_up_run.make(made_up_run.plain(), lambda *cell: 0.5, traces=True)
    [task] = config.corpus.adaptation.tasks[:1]
    path = evaluation.path(config, params.Cell("meta_rfft", task, config.seed))
    first, *others = path.read_text(encoding="utf-8").splitlines()
    row = json.loads(first)
    lines = row["text"].split("\n")
    row["text"] = "\n".join([lines[0], *lines[2:]])
    path.write_text("\n".join([json.dumps(row), *others, ""]), encoding="utf-8")
    made_up_run.sign(path)
    return config


def test_a_run_with_all_its_texts(whole):
    """All traces can be shown, the planted one is right by luck, and a step is missing in it."""
    viewer = lab.errors(whole)
    viewer.chosen = {"luck": True}
    assert (viewer.view["total"], viewer.view["kept"], viewer.view["note"]) == (1, 1, "")
    assert viewer.view["said"] == "1 trace is chosen."
    [at] = [step for step in viewer.view["example"]["steps"] if step[3] == "at"]
    assert at[0] == 2
    assert viewer.view["example"]["kind"] == "line_skipped"
    assert len(viewer.examples()) == len(viewer._diagnosed)


def test_a_run_is_named_by_folder_parameters_or_what_opens_it(viewer, tmp_path, monkeypatch):
    """All of them give the same counts; a folder may be at any place and have any name."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(LAPTOP.parent))
    for run in (str(LAPTOP), ROOT / "params" / "laptop.yaml", open_run(LAPTOP),
                params.load(ROOT / "params" / "laptop.yaml")):
        assert lab.errors(run).counts() == viewer.counts()
    monkeypatch.delenv("METARFFT_OUTPUTS")
    monkeypatch.chdir(ROOT / "notebooks")
    assert lab.errors("outputs/reference/laptop").counts() == viewer.counts()
    (tmp_path / "elsewhere").symlink_to(LAPTOP)
    assert lab.errors(tmp_path / "elsewhere").counts() == viewer.counts()
    with pytest.raises(ParamsError, match=r"there is no params\.yaml"):
        lab.errors(tmp_path)


def test_the_twin_is_plain_html(viewer, table):
    """It needs no script and no style, is small, and its table has the counts of the diagnoses."""
    viewer.chosen = {}
    twin = viewer.twin()
    assert not re.search(r"<(script|style|link|img)|style=|class=|on\w+=|https?:", twin)
    assert len(twin.encode()) < 100_000
    assert twin.count("<details>") == twin.count("<strong>first divergence</strong>") == 3
    head, *rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
                   for row in re.findall(r"<tr>(.*?)</tr>", twin.partition("</table>")[0])]
    counts = {name: dict(zip(head[1:], map(int, numbers), strict=True)) for name, *numbers in rows}
    for kind, (name, _) in error_viewer.CLASSES.items():
        lines = chosen_lines(table, {"kind": kind})
        found = counts.pop(name, {"all": 0, "Meta-RFFT": 0})
        assert found["all"] == len(lines)
        assert found["Meta-RFFT"] == len(chosen_lines(lines, {"method": "meta_rfft"}))
    [every, luck] = counts.values()
    assert every["all"] == len(table)
    assert luck["all"] == len(chosen_lines(table, {"luck": True}))


def test_without_a_front_end_the_twin_is_shown(viewer, monkeypatch):
    """A stored notebook has the twin and a line of text, and no widget."""
    monkeypatch.setenv(STATIC, "1")
    assert viewer._repr_mimebundle_() == {
        "text/html": viewer.twin(),
        "text/plain": "Errors of laptop: 1,512 diagnosed traces, 252 with their texts"}
