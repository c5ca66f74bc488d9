"""The explorer without a browser: what Python hands to it, what it is asked, its static twin."""

import json
import re
from html.parser import HTMLParser

import pytest

from metarfft_core import formats, lab, tasks
from metarfft_core.lab import explorer
from metarfft_core.lab.view import options, view
from metarfft_core.lab.widget import STATIC


@pytest.fixture(autouse=True)
def characters(monkeypatch, tmp_path):
    """No tokenizer is at hand, so that the tests do not depend on what is in the cache."""
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path))


def ask(widget, **changes) -> None:
    """A request as the browser makes it."""
    again = widget.request.get("again", 0) + 1
    widget.request = {**widget.view["request"], "again": again, **changes}


def rule_with(old: str, new: str) -> str:
    return tasks.get("move_zeroes").rule_source.replace(old, new)


@pytest.mark.parametrize("task", tasks.select(), ids=lambda task: task.id)
def test_the_view_holds_the_states(task):
    """The view is JSON; its states, put together again, are those of `lab.states`."""
    length = min(8, task.lengths[-1])
    shown = json.loads(json.dumps(view(task, length, 0, 3)))
    instance = task.sample(length=length, seed=0, index=3)
    states = lab.states(task, instance.inputs)
    assert [(one["line"], one["text"], one["function"], tuple(one["changed"]),
             {name: shown["values"][place] for name, place in one["variables"].items()},
             dict(one["passes"])) for one in shown["states"]] == [
        (one.line, one.text, one.function, one.changed, one.variables, one.passes)
        for one in states]
    assert [(one["prompt"], one["completion"]) for one in shown["formats"]] == [
        formats.render(task, instance, name) for name in formats.FORMATS]


def test_all_tasks_can_be_chosen():
    """The list has each of the paper's tasks once, in groups."""
    found = [task["id"] for group in options() for task in group["tasks"]]
    assert sorted(found) == sorted(tasks.IDS)


def test_another_instance_is_shown_from_its_start():
    """A request for another task shows its states from the first; its length is one it allows."""
    widget = lab.explore("move_zeroes", length=30)
    widget.position = 50
    ask(widget, task="lc_1275")
    assert widget.view["request"]["length"] == 9  # of the nine fields of the board
    assert widget.view["title"] == tasks.get("lc_1275").title
    assert widget.position == 0


def test_an_edited_rule_keeps_the_place():
    """An edited rule is traced on the same inputs, and the step stays, as far as there is one."""
    widget = lab.explore(index=7)
    widget.position = 20
    ask(widget, rule=rule_with("num == 0", "num == 9"))
    assert widget.view["answer"] == "[4, 0, 3]"
    assert widget.position == len(widget.view["states"]) - 1 < 20
    assert widget.view["formats"][0]["completion"] == "So the answer is [4, 0, 3]"


@pytest.mark.parametrize(("new", "reason"), [
    ("nums.pop(9)", "line 5: IndexError: pop index out of range"),
    ("{1}", "line 5: Set is not in the subset of rules"),
    ("1 // 0", "line 5: ZeroDivisionError: integer division or modulo by zero"),
    ("len(nums)", "line [0-9]+: the values of the variables take more than 20,000,000 characters"),
    ("print(nums)", "line 5: print is not in the subset of rules"),
    ("", "line 5: not Python: invalid syntax"),
])
def test_a_refused_rule_is_explained(new, reason):
    """A rule that is refused, fails or has no end is named with its line; the last trace stays."""
    widget = lab.explore(index=7)
    before = widget.view
    ask(widget, rule=rule_with("nums.pop(0)", new))
    assert re.match(reason, widget.problem["text"])
    assert widget.view == before
    ask(widget, rule=rule_with("nums.pop(0)", "nums.pop()"))
    assert widget.problem == {}
    assert widget.view["answer"] == "[3, 4, 0]"


def test_a_task_of_a_notebook_is_explored():
    """A task that is not the kit's (here a counterfactual) is the first that can be chosen."""
    task = tasks.get("move_zeroes").counterfactual
    widget = lab.explore(task, length=5)
    assert widget.options[0]["tasks"] == [{"id": "lc_283_cf", "title": task.title}]
    ask(widget, length=6)
    assert widget.problem == {}
    assert widget.view["request"]["length"] == 6


@pytest.mark.parametrize(("arguments", "reason"), [
    ({"task": "move_zeros"}, "no task 'move_zeros'; the nearest are move_zeroes"),
    ({"length": 99}, "task lc_283 cannot draw length 99: it allows 1 to 60"),
])
def test_wrong_arguments_are_refused(arguments, reason):
    """A wrong task or length is a ValueError that says what is allowed."""
    with pytest.raises(ValueError, match=reason):
        lab.explore(**arguments)


def test_tokens_are_counted_where_a_tokenizer_is_at_hand(monkeypatch):
    """With a model, the sizes are its tokens; without one, they are characters."""
    widget = lab.explore()
    first = widget.view["formats"][0]
    assert widget.view["unit"] == "characters"
    assert first["size"] == len(first["prompt"]) + len(first["completion"])
    monkeypatch.setattr(explorer.models, "token_counter", lambda name: lambda *texts: len(name))
    widget = lab.explore(model="some/model")
    assert widget.view["unit"] == "tokens"
    assert [one["size"] for one in widget.view["formats"]] == [10] * 4


class Twin(HTMLParser):
    """The elements, attributes and text of a twin."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.attributes: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_twin_shows_the_steps():
    """The twin holds the rule, each step with its trace line, and what it changed in a mark."""
    widget = lab.explore(index=7)
    text = widget.twin()
    assert tasks.get("move_zeroes").rule_source.split("\n")[4].strip() in text
    for state in lab.states("move_zeroes", {"nums": [4, 0, 3]}):
        assert f"<code>{state.text.replace('>', '&gt;')}</code>" in text
    assert ("<mark>* nums = [3]</mark><br>result = [4]<br>zeros = 0<br>"
            "<mark>* num = 0</mark>") in text


@pytest.mark.parametrize("task", tasks.select(), ids=lambda task: task.id)
def test_the_twin_is_plain_and_small(task):
    """The twin of any task has no script, style or class, is well formed and under 100 kB."""
    widget = lab.explore(task, length=min(30, task.lengths[-1]))
    text = widget.twin()
    twin = Twin(text)
    assert twin.open == []
    assert {*twin.elements} <= {"div", "p", "strong", "pre", "table", "caption", "thead", "tbody",
                                "tr", "th", "td", "code", "mark", "br", "details", "summary"}
    assert {*twin.attributes} <= {"scope", "open"}
    assert len(text.encode()) < 100_000


def test_headless_execution_stores_the_twin_alone(monkeypatch):
    """With METARFFT_STATIC, the output is the twin and a line of text; otherwise a widget too."""
    widget = lab.explore(index=7)
    monkeypatch.setenv(STATIC, "1")
    assert {*widget._repr_mimebundle_()} == {"text/plain", "text/html"}
    assert "21 steps, answer [4, 3, 0]" in widget._repr_mimebundle_()["text/plain"]
    monkeypatch.delenv(STATIC)
    alive = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in (
        alive[0] if isinstance(alive, tuple) else alive)
