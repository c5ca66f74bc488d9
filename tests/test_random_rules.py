"""Random rules of the whole subset: the tracer and the judge against plain Python.

`random_rules.py` writes them. Each is executed as plain Python under `sys.settrace`, which is the
third opinion beside tracer and judge: it knows which lines were executed and what the variables
were after each. Rules that fail, that grow or that do not end are drawn anew.

The normal suite takes 1,500 rules. 100,000, in 20 parts that two processes share:

    python -m pytest tests/test_random_rules.py -m slow -n 2

The rules of a part are the same at every run.
"""

import ast
import copy
import re
from random import Random
from typing import NamedTuple

import pytest
import random_rules
from plain_execution import TooLong, Watched
from random_rules import Case

from metarfft_core import errors, formats
from metarfft_core.authoring import checks
from metarfft_core.tasks import Instance, Task
from metarfft_core.tracing.expressions import RuleError
from metarfft_core.tracing.judge import parse
from metarfft_core.tracing.steps import Step

RULES, PARTS = 1_500, 20
TEXTS = ("rfft", "rfft_nl", "rfft_paper", "scratchpad")
LINES = 250
"""The most lines that a rule may execute here."""
SIZE = 600
"""The most characters that a variable's value may take here."""
REFUSED = re.compile(r"line \d+: (this may change the table TABLE_[AB], and with it the next answer"
                     r"|a list takes a list after \+=)")


pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")


class Line(NamedTuple):
    """A line that Python has executed, with the literals of all variables after it."""

    code: str
    after: dict[str, str]


def stated(step: Step) -> list[tuple[str, str]]:
    """What a step says that variables and elements are after its line."""
    found = [(fact.left, fact.right) for fact in step.facts if fact.kind == "state"]
    found += [(name, right) for fact in step.facts if fact.kind == "each"
              for name, right in [fact.right.split(" = ")]]
    target = re.match(r"(\w+) (?:[-+*%/]+)?= ", step.code)
    if target:
        found += [(target[1], fact.right) for fact in step.facts if fact.kind == "calc"]
        if not step.facts:
            found.append((target[1], step.code.partition(" = ")[2]))
    return found


def is_so(place: str, literal: str, after: dict[str, str]) -> bool:
    """Has the place this value, the variables being as Python left them?"""
    if place in after:
        return after[place] == literal or repr(ast.literal_eval(literal)) == after[place]
    values = {name: ast.literal_eval(one) for name, one in after.items() if name in place}
    return repr(eval(place, {"__builtins__": {}, "len": len}, values)) == literal


def differences(case: Case, task: Task, run: Watched) -> list[str]:
    """Where the trace is not what Python did."""
    execution = task.trace(case.inputs)
    steps = execution.steps
    text = case.source.split("\n")
    lines = [Line(text[number - 1].strip(), after) for _, number, after in run.lines]
    found = []
    for number, (step, line) in enumerate(zip(steps, lines, strict=False)):
        if step.code != line.code:
            found.append(f"line {number}: Python executes {line}, the trace {step}")
            break
        found += [f"line {number}: {place} is not {literal}: {line}"
                  for place, literal in stated(step)
                  if place.partition("[")[0] in line.after  # no table
                  and not is_so(place, literal, line.after)]
        found += [f"line {number}: {fact.left} does not give {fact.right}" for fact in step.facts
                  if fact.kind == "calc" and repr(eval(fact.left)) != fact.right]
    if len(steps) != len(lines):
        found.append(f"Python executes {len(lines)} lines, the trace has {len(steps)}")
    answers = [execution.answer, task.rule.execute(case.inputs), task.rule.execute(case.inputs)]
    if {*map(repr, answers)} != {repr(run.answer)}:
        found.append(f"Python answers {run.answer}, the rule {answers}")
    if run.tables_changed:
        found.append("Python changes a table")
    return found


def wrong_texts(rng: Random, task: Task, instance: Instance) -> list[str]:
    """What is wrong with the texts of an instance, in every format and wording.

    One text, drawn by `rng`, is also diagnosed, and judged with one of its values changed.
    """
    found, texts = [], {name: formats.render(task, instance, *checks.TEXTS[name]) for name in TEXTS}
    for name, example in texts.items():
        found += [f"{name}: {false}" for false in checks.false_lines(task, instance, name, example)]
    completion = texts["rfft"].completion
    if parse.steps(completion) != (task.trace(instance.inputs).steps, repr(instance.answer)):
        found.append("rfft: the steps cannot be read back")
    name = rng.choice(TEXTS)
    format, wording = checks.TEXTS[name]
    diagnosis = errors.diagnose(task, instance.inputs, texts[name].completion, format=format,
                                wording=wording)
    if diagnosis.kind != "right":
        found.append(f"{name}: {diagnosis}")
    changed = with_a_change(rng, texts[name].completion)
    if changed and not checks.false_lines(task, instance, name,
                                          texts[name]._replace(completion=changed)):
        found.append(f"{name}: nobody sees what was changed: {changed}")
    return found


def other(rng: Random, literal: str) -> str:
    """Another value of the same type."""
    match ast.literal_eval(literal):
        case bool(value):
            return repr(not value)
        case int(value):
            return repr(value + rng.choice((-1, 1)))
        case str(value):
            return repr(f"{value}{rng.choice('xy')}")
        case list(value):
            return repr([*value, 9] if rng.random() < 0.5 or not value else value[1:])
        case dict(value):
            return repr(value | {9: 9})
        case tuple(value):
            return repr((*value, 9))
    return "9"


def with_a_change(rng: Random, completion: str) -> str | None:
    """The text with one stated value changed; None where it states none."""
    lines = completion.split("\n")
    places = [(number, value) for number, line in enumerate(lines)
              for _, *value in [parse.split(line, " = ")] if value and is_literal(value[-1])]
    if not places:
        return None
    number, (*_, value) = rng.choice(places)
    lines[number] = lines[number].removesuffix(value) + other(rng, value)
    return "\n".join(lines)


def is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return True


def faults(rng: Random, case: Case) -> list[str] | None:
    """Everything that is wrong with tracing and judging a rule; None where it cannot be used."""
    question = " and ".join(f"{{{name}}}" for name in case.inputs)
    task = Task("random", "rule", "random", "random", "none", (1,), "", f"Given {question}?",
                case.source, lambda rng, length: copy.deepcopy(case.inputs))
    try:
        run = Watched(case.source, "rule", case.inputs, LINES, SIZE)
    except (LookupError, NameError, ValueError, TypeError, ArithmeticError, RuntimeError, TooLong):
        return None  # the rule fails on its inputs
    before = repr(case.inputs)
    try:
        found = differences(case, task, run)
    except RuleError as error:
        return None if REFUSED.match(str(error)) else [str(error)]
    instance = Instance("random", 1, 0, "", case.inputs, run.answer)
    found += wrong_texts(rng, task, instance)
    if repr(case.inputs) != before:
        found.append("the inputs were changed")
    return found


def hold_against_python(part: int, count: int) -> None:
    """Draw rules until `count` of them run; each has to be right in every respect."""
    seen = 0
    for number in range(10 * count):
        rng = Random(f"{part}/{number}")
        case = random_rules.case(rng)
        found = faults(rng, case)
        if found is None:
            continue
        assert found == [], f"rule {number} of part {part}:\n{case.source}\n{case.inputs}\n" \
            + "\n".join(found)
        seen += 1
        if seen == count:
            return
    pytest.fail(f"only {seen} rules could be used")


def test_random_rules():
    """What trace and judge say of 1,500 random rules is what plain Python does."""
    hold_against_python(0, RULES)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_a_hundred_thousand_random_rules(part):
    """The same of 100,000 rules, in parts."""
    hold_against_python(part, 100_000 // PARTS)
