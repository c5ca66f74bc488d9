"""The states of a rule against plain Python under `sys.settrace`, which knows nothing of tracing.

`Watched` executes the plain text of a rule. It says which lines are finished, of which function,
and what the variables are after each. The passes are counted from these lines alone.
"""

import ast
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import random_rules
from plain_execution import TooLong, Watched
from random_rules import Case

from metarfft_core import formats, lab, tasks
from metarfft_core.lab import stepping
from metarfft_core.tasks import Task
from metarfft_core.tracing.expressions import RuleError

ROOT = Path(__file__).resolve().parent.parent
RULES = 150
"""The number of random rules; each is stepped through in some milliseconds."""
LINES = 250
"""The most lines that a random rule may execute here."""


def loops(source: str) -> dict[int, range]:
    """The lines inside each loop of a rule, by the line of its head."""
    return {node.lineno: range(node.lineno + 1, node.end_lineno + 1)
            for node in ast.walk(ast.parse(source)) if isinstance(node, ast.For | ast.While)}


def passes(source: str, watched: Watched) -> list[dict[int, int]]:
    """The passes of every line: each time, count the heads back to where the loop was entered."""
    inside, found = loops(source), []
    for number, (frame, line, _) in enumerate(watched.lines):
        own = [other for one, other, _ in watched.lines[:number + 1] if one is frame]
        later = [other for one, other, _ in watched.lines[number + 1:] if one is frame]
        now = {}
        for head, body in inside.items():
            begins = line == head and bool(later) and later[0] in body
            if begins or line in body:
                start = next((place for place in range(len(own), 0, -1)
                              if own[place - 1] not in body and own[place - 1] != head), 0)
                now[head] = own[start:].count(head)
        found.append(now)
    return found


def hold_against_python(task: Task, inputs: dict, watched: Watched) -> None:
    states = lab.states(task, inputs)
    assert [state.line for state in states] == [line for _, line, _ in watched.lines]
    assert [state.variables for state in states] == [after for _, _, after in watched.lines]
    assert [state.function for state in states] == [
        frame.f_code.co_name for frame, _, _ in watched.lines]
    last: dict = {}
    for state, (frame, _, after) in zip(states, watched.lines, strict=True):
        assert {*state.changed} == {name for name, value in after.items()
                                    if last.get(frame, {}).get(name) != value}
        assert state.was == {name: last[frame][name] for name in state.changed
                             if name in last.get(frame, {})}
        last[frame] = after
    if len(states) <= LINES:  # the count back is quadratic
        assert [state.passes for state in states] == passes(task.rule_source, watched)


@pytest.mark.parametrize("task", tasks.select(), ids=lambda task: task.id)
def test_states_are_those_of_plain_python(task):
    """Lines, functions, variables, changes and passes are those of plain Python, at 3 lengths."""
    for length in sorted({task.lengths[0], min(8, task.lengths[-1]), min(30, task.lengths[-1])}):
        inputs = task.sample(length=length, seed=0, index=5).inputs
        watched = Watched(task.rule_source, task.rule.name, inputs)
        hold_against_python(task, inputs, watched)


@pytest.mark.parametrize("task", tasks.select(), ids=lambda task: task.id)
def test_texts_are_the_lines_of_the_trace(task):
    """The texts of the states, joined, are the trace that a sample holds before its answer."""
    for length in sorted({task.lengths[0], min(8, task.lengths[-1]), min(30, task.lengths[-1])}):
        instance = task.sample(length=length, seed=0, index=5)
        trace, _, _ = formats.render(task, instance, "rfft").completion.rpartition("\n")
        assert "\n".join(state.text for state in lab.states(task, instance.inputs)) == trace


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_states_of_random_rules():
    """The same holds for random rules of the whole subset, with helpers, tables and aliases."""
    seen = helpers = 0
    for number in range(10 * RULES):
        case = random_rules.case(Random(f"stepping/{number}"))
        task = random_task(case)
        try:
            watched = Watched(case.source, "rule", case.inputs, LINES)
            task.trace(case.inputs)
        except (LookupError, NameError, ValueError, TypeError, ArithmeticError, RuntimeError,
                TooLong):
            continue  # the rule is refused, fails on its inputs or does not end soon
        hold_against_python(task, case.inputs, watched)
        seen += 1
        helpers += any(frame.f_code.co_name != "rule" for frame, _, _ in watched.lines)
        if seen == RULES:
            break
    assert seen == RULES
    assert helpers > RULES / 20


def random_task(case: Case) -> Task:
    return Task("random", "rule", "random", "random", "none", (1,), "", "", case.source,
                lambda rng, length: case.inputs)


def test_a_helper_shows_its_own_variables():
    """The lines of a helper show the helper's scope; the calling line shows the rule's again."""
    task = random_task(Case("def twice(n):\n    n *= 2\n    return n\n"
                            "def rule(n):\n    m = twice(n)\n    return m\n", {}))
    states = [(state.function, state.line, state.variables, state.changed)
              for state in lab.states(task, {"n": 3})]
    assert states == [
        ("rule", 4, {"n": "3"}, ("n",)),
        ("twice", 1, {"n": "3"}, ("n",)),
        ("twice", 2, {"n": "6"}, ("n",)),
        ("twice", 3, {"n": "6"}, ()),
        ("rule", 5, {"n": "3", "m": "6"}, ("m",)),
        ("rule", 6, {"n": "3", "m": "6"}, ())]


def test_a_task_is_found_by_name_and_by_id():
    """A task, its name and its id give the same states, and the inputs stay as they were."""
    inputs = {"nums": [0, 3]}
    states = lab.states("move_zeroes", inputs)
    assert states == lab.states("lc_283", inputs) == lab.states(tasks.get("lc_283"), inputs)
    assert inputs == {"nums": [0, 3]}


@pytest.mark.parametrize(("body", "reason"), [
    ("    while True:\n        x = 1\n", f"more than {stepping.LINES:,} lines"),
    ("    x = 'ab'\n    while True:\n        x += x\n", "line 4: the values of the variables take"),
])
def test_a_rule_without_an_end_is_named(body, reason):
    """A rule that goes on for too long, or builds too much, is refused with the reason."""
    task = random_task(Case(f"def rule(n):\n{body}    return n\n", {}))
    with pytest.raises(stepping.TooLong, match=reason):
        lab.states(task, {"n": 1})


def test_an_edited_rule_is_traced():
    """A task with an edited rule gives the states of the new text; the task itself is unchanged."""
    task = tasks.get("move_zeroes")
    source = task.rule_source.replace("num == 0", "num == 3")
    changed = stepping.edited(task, source)
    assert lab.states(changed, {"nums": [0, 3]})[-1].text == "return result # result = [0, 0]"
    assert lab.states(task, {"nums": [0, 3]})[-1].text == "return result # result = [3, 0]"


@pytest.mark.parametrize(("old", "new", "reason"), [
    ("zeros = 0", "zeros = {1}", "line 3: Set is not in the subset"),
    ("zeros = 0", "zeros = ", "line 3: not Python"),
    ("zeros = 0", "break", "line 3: not Python: 'break' outside loop"),
    ("zeros = 0", f"zeros = {'-' * 5000}1", "nested too deeply"),
    ("(nums)", "(nums, n)", "the rule takes nums; got nums, n"),
])
def test_an_edited_rule_may_be_refused(old, new, reason):
    """An edited text outside the subset is refused with the subset's own message."""
    task = tasks.get("move_zeroes")
    with pytest.raises(RuleError, match=reason):
        stepping.edited(task, task.rule_source.replace(old, new))


def test_stepping_needs_the_standard_library_alone():
    """`lab.states` works in a Python that sees no installed package, as in a browser."""
    code = ("import sys; from metarfft_core import lab; "
            "assert lab.states('move_zeroes', {'nums': [0, 3]})[-1].line == 13")
    done = subprocess.run([sys.executable, "-I", "-S", "-c",
                           f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
