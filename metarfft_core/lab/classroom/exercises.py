"""The exercises of the class, as a student calls them: `exercise`, `hint`, `check`, `student`.

An answer is judged from its text by the kit's own replay, and never executed. Each verdict is one
line, which says "right" or why not, without giving the answer away.
"""

import difflib
import math
import operator
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from metarfft_core import errors, tasks
from metarfft_core.formats import parse_answer
from metarfft_core.lab.classroom import class_data
from metarfft_core.lab.classroom.class_data import DRAWN, WANTED, Exercise, draw
from metarfft_core.lab.classroom.hints import HINTS
from metarfft_core.scoring import same_answer
from metarfft_core.tracing.judge import replay
from metarfft_core.tracing.rule import Rule

_CONFIDENCE = 0.95
_LOST = "the rule executes here: "  # how a reason of the replay begins where a text leaves the rule
_shown = {"student": ""}  # whose instances the functions show and judge without a name


@dataclass(frozen=True)
class Reply:
    """One line that the kit says, and whether an answer is right (None where nothing is judged)."""

    right: bool | None
    text: str

    def __repr__(self) -> str:
        return self.text


def student(name: str) -> Reply:
    """Choose the student whose instances the other functions show and judge.

    Raises:
        ValueError: `name` is not a text.
    """
    if not isinstance(name, str):
        raise ValueError(f"student: expected a name as text, got {name!r}")
    _shown["student"] = name
    whose = f"the instances of {name.strip()}" if name.strip() else "the instances of nobody yet"
    return Reply(None, f"The exercises show {whose}.")


def exercise(n: int, student: str | None = None) -> Exercise:
    """The exercise with a number from 1 to 6.

    Args:
        student: Whose instance; the last name that `lab.student` was given, if None.

    Raises:
        ValueError: There is no such exercise.
    """
    _allow(n)
    return draw(n, _shown["student"] if student is None else student)


def hint(n: int, stage: int = 1) -> Reply:
    """A hint for an exercise.

    Args:
        stage: 1 says where to look, 2 how, 3 nearly the answer.

    Raises:
        ValueError: There is no such exercise or stage.
    """
    _allow(n)
    if stage not in (1, 2, 3):
        raise ValueError(f"stage: allowed are 1, 2 and 3; got {stage!r}")
    return Reply(None, HINTS[n][stage - 1])


def check(n: int, answer: Any, student: str | None = None) -> Reply:
    """Judge an answer.

    Args:
        n: The number of the exercise, from 1 to 6.
        answer: A line (1), its number (2), a trace (3), a rule (4), ten classes (5), or two numbers
            (6). None and ... mean that there is no answer yet.
        student: Whose instance; the last name that `lab.student` was given, if None.

    Returns:
        One line that says "right" or why not.

    Raises:
        ValueError: There is no such exercise.
    """
    given = exercise(n, student)
    if answer is None or answer is ...:
        return Reply(None, "not answered yet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an answer may be text that Python warns about
        wrong = _CHECKS[n](given, answer)
    return Reply(not wrong, wrong.replace("\n", " ") or "right")


def check_tracer(steps: Sequence[tuple[int, dict[str, str]]], task: str,
                 inputs: dict[str, Any]) -> Reply:
    """Compare the steps of a student's tracer with the kit's own trace.

    Args:
        steps: For each executed line: its number in the rule's text, from 1, and the variables
            after it, by name, each as a repr.
        task: The task's name or id; one whose rule changes variables as a whole.
        inputs: The arguments of the rule, by name.
    """
    if steps is None or steps is ...:
        return Reply(None, "not answered yet")
    expected: list[tuple[int, dict[str, str]]] = []
    variables = {name: repr(value) for name, value in inputs.items()}
    for site, values in tasks.get(task).trace(inputs).records:
        for change in site.changes or ():
            name, _, value = change.format(*values).partition(" = ")
            variables[name] = value
        expected.append((site.line, dict(variables)))
    for number, (own, kit) in enumerate(zip(steps, expected, strict=False), start=1):
        if own[0] != kit[0]:
            return Reply(False, f"step {number}: your tracer is at line {own[0]}, the kit at "
                                  f"line {kit[0]}")
        if own[1] != kit[1]:
            return Reply(False, f"step {number}, line {kit[0]}: after it your tracer has "
                                  f"{own[1]}, the kit {kit[1]}")
    if len(steps) != len(expected):
        return Reply(False, f"your tracer has {len(steps)} steps, the kit {len(expected)}")
    return Reply(True, f"right: {len(expected)} steps, each with the same line and variables")


def _allow(n: Any) -> None:
    if n not in HINTS:
        raise ValueError(f"exercise: allowed are 1 to {len(HINTS)}; got {n!r}")


def _is_text(answer: Any, what: str) -> str:
    """What is wrong with an answer that is not a text; an empty text if it is one."""
    if not isinstance(answer, str):
        return f"expected {what} as text, got {type(answer).__name__}"
    return "" if answer.strip() else f"expected {what}, got an empty text"


def _judged(given: Exercise, text: str) -> list[replay.FalseLine]:
    return replay.judge_trace(given.rule, given.question, text, tasks.get(given.task).question)


def _next_line(given: Exercise, answer: Any) -> str:
    if wrong := _is_text(answer, "a line"):
        return wrong
    if len(lines := answer.strip().split("\n")) > 1:
        return f"expected one line, got {len(lines)}"
    place = given.trace.count("\n") + 2
    text = "\n".join([given.trace, answer.strip(), *class_data.rest_of(given)])
    false = [line for line in _judged(given, text) if line.line == place]
    if not false:
        return ""
    reason = false[0].reason
    if reason.startswith(_LOST):
        return "the rule executes another line here: see where the line before leads"
    if match := re.fullmatch(r"wrong copy: the line reads .*, not (.*)", reason):
        return f"a value that the line reads is wrong in: {match[1]}"
    if match := re.fullmatch(r"(.*) gives .*, not (.*)", reason):
        return f"{match[1]} is not {match[2]}"
    if match := re.fullmatch(r"expected (\d+) facts, got (\d+)", reason):
        return f"after ` # ` {_facts(match[1])} needed, got {match[2]}"
    return "the text after ` # ` does not have the form that this line has in a trace"


def _facts(count: str) -> str:
    return "1 fact is" if count == "1" else f"{count} facts (with `; ` between them) are"


def _false_line(given: Exercise, answer: Any) -> str:
    try:
        number = operator.index(answer)
    except TypeError:
        return f"expected the number of a line, got {answer!r:.60}"
    lines = given.trace.split("\n")
    if not 1 <= number <= len(lines):
        return f"the trace has lines 1 to {len(lines)}, and none with this number"
    false, = _judged(given, given.trace)
    if number == false.line:
        return ""
    if number < false.line:
        return f"line {number} is true, and so is all above it: read on"
    return f"line {number} follows from the lines above it: the false line comes before it"


def _lucky_slip(given: Exercise, answer: Any) -> str:
    if wrong := _is_text(answer, "a trace"):
        return wrong
    own, right = answer.strip("\n").split("\n"), given.trace.split("\n")
    if len(own) != len(right):
        return f"the trace has {len(right)} lines, yours has {len(own)}: change a line in its place"
    changed = [number for number, pair in enumerate(zip(own, right, strict=True), start=1)
               if pair[0] != pair[1]]
    if not changed:
        return "nothing is changed yet: every line is true"
    if len(changed) > 1:
        return f"{len(changed)} lines are changed ({_listed(changed)}): change only one"
    if not same_answer(parse_answer("\n".join(own)) or "", parse_answer(given.trace)):
        return "the answer is no longer right: the slip must leave it as it is"
    false = _judged(given, "\n".join(own))
    if not false:
        return f"line {changed[0]} is still true: only its spelling is changed"
    if false[0].reason.startswith(_LOST) and false[0].line == changed[0]:
        return f"line {changed[0]} is not a line of the rule now: change a value after ` # `"
    if false[0].line == changed[0] and ", not " not in false[0].reason:
        return f"line {changed[0]} claims no value that can be read: give it a false one"
    if len(false) > 1:
        return f"line {false[1].line} does not follow from your slip: it is false too"
    if false[0].line != changed[0]:
        return f"line {false[0].line} does not follow from your slip in line {changed[0]}"
    return ""


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:6])) + (", ..." if len(numbers) > 6 else "")


def _changed_rule(given: Exercise, answer: Any) -> str:
    if wrong := _is_text(answer, "a rule"):
        return wrong
    own, right = answer.strip("\n").split("\n"), given.rule.strip("\n").split("\n")
    if own[0] != right[0]:
        return f"the first line stays: {right[0]}"
    if len(own) != len(right):
        return f"the rule has {len(right)} lines, yours has {len(own)}: change a line in its place"
    changed = [number for number, pair in enumerate(zip(own, right, strict=True), start=1)
               if pair[0] != pair[1]]
    if len(changed) != 1:
        return ("nothing is changed yet" if not changed else
                f"{len(changed)} lines are changed ({_listed(changed)}): change only one")
    rule = "\n".join(own) + "\n"
    try:
        Rule(rule)  # checks the text, and executes nothing
    except (ValueError, RecursionError, MemoryError) as error:
        return f"this is not a rule: {error}"
    differ = 0
    for inputs in given.instances:
        after = class_data.write(rule, inputs)
        if after.answer is None:
            reason = after.false[-1].reason.removeprefix("the claims lead nowhere: ")
            return f"the rule gives no answer on {inputs}: {reason}"
        differ += after.answer != class_data.write(given.rule, inputs).answer
    return "" if differ >= WANTED else f"{differ} of {DRAWN} answers differ, {WANTED} are needed"


def _classes(given: Exercise, answer: Any) -> str:
    count = len(given.traces)
    if not isinstance(answer, list | tuple) or len(answer) != count:
        got = f"{len(answer)}" if isinstance(answer, list | tuple) else type(answer).__name__
        return f"expected a list of {count} classes, got {got}"
    for number, kind in enumerate(answer, start=1):
        if kind not in errors.KINDS:
            near = difflib.get_close_matches(str(kind), errors.KINDS, 1)
            return (f"trace {number}: {kind!r:.60} is not a class"
                    + (f"; did you mean {near[0]}?" if near else
                       f" (they are {', '.join(errors.KINDS)})"))
    wrong = [number for number, (kind, kept) in enumerate(zip(answer, given.traces, strict=True),
                                                          start=1)
             if kind != errors.diagnose(tasks.get(kept.task), kept.inputs, kept.text,
                                        kept.finish_reason).kind]
    if not wrong:
        return ""
    return f"{count - len(wrong)} of {count} are right: look again at {_listed(wrong)}"


def _perfect(given: Exercise, answer: Any) -> str:
    from metarfft_core.evaluation.metrics import wilson  # which loads numpy and scipy

    try:
        own, needed = map(float, answer)
    except (TypeError, ValueError, OverflowError):
        return "expected two numbers: (beginning, answers)"
    if not (math.isfinite(own) and math.isfinite(needed)):
        return "expected two finite numbers"
    if own > 1:
        return f"the beginning is a share between 0 and 1, got {own:g}"
    low = wilson(given.total, given.total, _CONFIDENCE)[0]
    if abs(own - low) > 0.0051:
        if own == 1:
            return "a beginning at 1 says that a wrong answer is impossible: that is not known"
        return f"the interval begins {'below' if own > low else 'above'} {own:g}"
    least = next(n for n in range(1, 1000) if wilson(n, n, _CONFIDENCE)[0] >= given.share)
    if needed != least:
        return (f"{needed:g} right answers are too few for {given.share}" if needed < least else
                f"fewer than {needed:g} right answers are enough for {given.share}")
    return ""


_CHECKS: dict[int, Callable[[Exercise, Any], str]] = {
    1: _next_line, 2: _false_line, 3: _lucky_slip, 4: _changed_rule, 5: _classes, 6: _perfect}
