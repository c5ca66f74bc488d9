"""Checks for a user's own task: is everything that is derived from it true?

    @tasks.task("own_sum", source="own", length="number of items")
    class Sum: ...

    print(checks.check(Sum))

The rule of a declared task is already in the subset of Python. The checks draw instances, run the
rule as plain Python and traced, render every format, parse the traces and let the replay judge
them. They need only the standard library. docs/own_tasks.md explains how to declare a task.
"""

import ast
import copy
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from types import FrameType
from typing import Any, NamedTuple

from metarfft_core import formats
from metarfft_core.authoring import elsewhere
from metarfft_core.authoring.loading import CheckError, explain, where
from metarfft_core.authoring.loading import load as load  # users import it from here
from metarfft_core.tasks.definition import Instance, Task
from metarfft_core.tracing import question
from metarfft_core.tracing.judge import parse, replay
from metarfft_core.tracing.judge.evaluator import TOO_LARGE, is_too_large
from metarfft_core.tracing.judge.literals import DIGITS

LENGTHS = (1, 2, 3, 5, 10, 20, 30)
"""The lengths that are checked by default, in addition to the shortest of the task."""
SAMPLES = 5
TEXTS = {name: (name, "kit") for name in formats.FORMATS} | {"rfft_paper": ("rfft", "paper")}
"""The texts of an instance that are checked: name -> (format, wording)."""
DRAWS = 100
"""The number of instances of each length that are drawn for a report."""
LINE_LIMIT = 50_000
"""The most lines that a rule executes on one instance; more counts as an endless loop."""
HUGE = 1_000_000
"""The most items of a value that a rule makes."""
DEPTH_LIMIT = 900
"""The most calls of rules inside each other. Python allows 1,000, of which the caller uses some."""


class Row(NamedTuple):
    """The numbers of one length of a task."""

    length: int
    distinct: int  # different inputs among `draws`
    draws: int
    answers: int  # different answers among them
    commonest: float  # share of the commonest answer
    yes: float | None  # share of True, for a task whose answers are True and False
    lines: int  # the most lines of a trace
    characters: dict[str, int]  # by key of TEXTS: mean of prompt and completion
    tokens: dict[str, int]  # the same in tokens; empty without a counter of tokens


class Report(NamedTuple):
    """The numbers of a task that passed its checks, one row for each length."""

    task: str
    samples: int  # how many instances were checked at each length
    rows: list[Row]
    note: str = ""  # what could not be checked

    def cells(self) -> list[dict[str, Any]]:
        """A flat dict for each length, for example for `pandas.DataFrame(report.cells())`."""
        return [{"task": self.task, "length": row.length,
                 "distinct": f"{row.distinct}/{row.draws}", "answers": row.answers,
                 "commonest": row.commonest,
                 **({} if row.yes is None else {"yes": row.yes}), "lines": row.lines,
                 **{f"{name} chars": value for name, value in row.characters.items()},
                 **{f"{name} tokens": value for name, value in row.tokens.items()}}
                for row in self.rows]

    def __str__(self) -> str:
        cells = [{key: str(value) for key, value in row.items() if key != "task"}
                 for row in self.cells()]
        widths = {key: max(len(key), *(len(row[key]) for row in cells)) for key in cells[0]}
        lines = ["  ".join(key.rjust(width) for key, width in widths.items())]
        lines += ["  ".join(row[key].rjust(width) for key, width in widths.items())
                  for row in cells]
        return "\n".join([f"{self.task}: nothing is wrong with {self.samples} samples a length",
                          *lines, *([self.note] if self.note else [])])


def check(task: Task, lengths: Iterable[int] | None = None, samples: int = SAMPLES, *,
          draws: int = DRAWS, tokens: Callable[[str, str], int] | None = None) -> Report:
    """Check instances of a task in every format.

    Args:
        lengths: The lengths to check; LENGTHS and the task's shortest if None.
        samples: The number of instances of each length to check.
        draws: The number of instances of each length to draw for the counts, here and again in
            two other processes.
        tokens: Counts the tokens of (prompt, completion), as `models.token_counter(name)` does.

    Returns:
        The numbers of the task.

    Raises:
        CheckError: The first fault that the checks find.
    """
    report, = check_all([task], lengths, samples, draws=draws, tokens=tokens)
    return report


def check_all(several: Iterable[Task], lengths: Iterable[int] | None = None,
              samples: int = SAMPLES, *, draws: int = DRAWS,
              tokens: Callable[[str, str], int] | None = None) -> Iterator[Report]:
    """Check several tasks as `check` does, with the same two processes for all of them."""
    if samples < 1:
        raise CheckError(f"samples: at least 1 is needed, got {samples}")
    asked = None if lengths is None else sorted(set(lengths))
    wanted = [(task, _lengths(task, asked)) for task in several]
    program = f"from {load.__module__} import load; import {elsewhere.__name__} as e; e.draw(load)"
    with elsewhere.Elsewhere(wanted, max(samples, draws), program) as others:
        for task, allowed in wanted:
            rows, drawn = [], {}
            for length in allowed:
                _wait(task, length, others)
                row, drawn[length] = _row(task, length, samples, draws, tokens)
                rows.append(row)
            yield Report(task.id, samples, rows, _compared(task, drawn, others))


def _lengths(task: Task, asked: list[int] | None) -> list[int]:
    """The lengths at which a task is checked."""
    if asked is None:
        return sorted({task.lengths[0], *(length for length in LENGTHS if length in task.lengths)})
    if wrong := [length for length in asked if length not in task.lengths]:
        raise CheckError(f"task {task.id} cannot draw length {wrong[0]}: it allows "
                         f"{task.lengths[0]} to {task.lengths[-1]}")
    return asked


def _wait(task: Task, length: int, others: elsewhere.Elsewhere) -> None:
    """Let the other processes draw first, so that what does not end does not end there."""
    try:
        others.wait(task, length)
    except elsewhere.Endless as why:
        raise CheckError(f"task {task.id}, length {length}: the sampler or the rule does not end: "
                         f"{why} in a separate process") from None


def _compared(task: Task, drawn: dict[int, list[str]], others: elsewhere.Elsewhere) -> str:
    """Compare instances with those of other processes; returns a note if that is impossible."""
    try:
        other = others.compare(task, drawn)
    except elsewhere.NotDrawn as why:
        return f"Not drawn again in another process: {why}"
    if other:
        raise _wrong(task, other.length, other.index, "the sampler gives another instance in "
                     f"another process ({other.environment}): {other.text}, here "
                     f"{drawn[other.length][other.index]}; it may use only rng and length, no "
                     "order of a set, no locale and no local time")
    return ""


def false_lines(task: Task, instance: Instance, name: str,
                example: formats.Example) -> list[replay.FalseLine]:
    """The false lines that the replay finds in an example of an instance.

    Args:
        name: The key of the example in TEXTS.

    Raises:
        ValueError: `name` is not in TEXTS.
    """
    match name:
        case "rfft":
            return replay.judge(*example, task.question)
        case "rfft_paper":
            return replay.judge_at_length(*example, task.question)
        case "rfft_nl":
            return replay.judge_in_words(task.rule_source, *example, task.question)
        case "scratchpad":
            return replay.judge_scratchpad(task.rule_source, instance.inputs, example.completion)
        case "direct":
            return []  # it states only the answer
    raise ValueError(f"text: allowed are {', '.join(TEXTS)}; got {name!r}")


def _row(task: Task, length: int, samples: int, draws: int, tokens) -> tuple[Row, list[str]]:
    """The numbers of one length, and the texts of the drawn instances, by index."""
    texts = [_checked(task, length, index) for index in range(samples)]
    drawn = [_drawn(task, length, index) for index in reversed(range(max(samples, draws)))]
    for index, (instance, _) in enumerate(texts):
        if elsewhere.text(instance) != elsewhere.text(drawn[-1 - index]):
            raise _wrong(task, length, index, "the sampler gives another instance the second "
                         f"time: {instance.inputs!r}, then {drawn[-1 - index].inputs!r}; it may "
                         "use only rng and length")
    answers = Counter(repr(instance.answer) for instance in drawn)
    truths = {"True", "False"} >= set(answers)
    count = len(drawn)
    examples = [examples for _, examples in texts]

    def mean(size: Callable[[str, str], int]) -> dict[str, int]:
        return {name: round(sum(size(*example[name]) for example in examples) / samples)
                for name in TEXTS}

    row = Row(
        length=length, distinct=len({repr(instance.inputs) for instance in drawn}), draws=count,
        answers=len(answers), commonest=round(answers.most_common(1)[0][1] / count, 2),
        yes=round(answers["True"] / count, 2) if truths else None,
        lines=max(one["rfft"].completion.count("\n") for one in examples),
        characters=mean(lambda prompt, completion: len(prompt) + len(completion)),
        tokens=mean(tokens) if tokens else {})
    return row, [elsewhere.text(instance) for instance in reversed(drawn)]


def _wrong(task: Task, length: int, index: int, what: str) -> CheckError:
    return CheckError(f"task {task.id}, length {length}, index {index}: {what}")


# --- one instance

def _checked(task: Task, length: int, index: int) -> tuple[Instance, dict[str, formats.Example]]:
    """An instance and its text in every format; raises CheckError at the first fault."""
    instance = _drawn(task, length, index, guarded=True)
    before = elsewhere.text(instance)
    examples: dict[str, formats.Example] = {}
    try:
        what = next(_faults(task, instance, examples), None)
    except Exception as error:
        raise _wrong(task, length, index, f"its texts cannot be made: {explain(error)}") from error
    if what:
        raise _wrong(task, length, index, what)
    if elsewhere.text(instance) != before:
        raise _wrong(task, length, index, f"the inputs were changed: {before} before, "
                                          f"{elsewhere.text(instance)} after")
    return instance, examples


def _drawn(task: Task, length: int, index: int, guarded: bool = False) -> Instance:
    """Draw an instance; `guarded` runs the rule's text as plain Python first, with a limit."""
    plain: list[Any] = []

    def sampler(rng, length):
        inputs = task.sampler(rng, length)
        if not isinstance(inputs, dict) or tuple(inputs) != task.rule.arguments:
            raise CheckError(f"the sampler gives {_shown(inputs)}, the rule takes "
                             f"{', '.join(task.rule.arguments)}: a dict with these names in this "
                             "order is needed")
        for name, value in inputs.items():
            if not _is_data(value):
                raise CheckError(f"the sampler gives {name} = {_shown(value)}: only numbers, "
                                 "strings, lists, tuples and dicts of them can be stored")
        plain.append(_run(task, inputs))
        return inputs

    drawn = replace(task, sampler=sampler) if guarded else task
    try:
        instance = drawn.sample(length=length, seed=0, index=index, stream=elsewhere.STREAM)
        elsewhere.text(instance)  # Python cannot write some numbers
    except CheckError as error:
        raise _wrong(task, length, index, str(error)) from None
    except Exception as error:
        raise _wrong(task, length, index, f"the sampler or the rule fails: {explain(error)}"
                     ) from None
    if guarded and repr(plain[0]) != repr(instance.answer):
        raise _wrong(task, length, index, f"the rule's text as plain Python gives {plain[0]!r}, "
                                          f"the stored answer is {instance.answer!r}")
    return instance


def _is_data(value: Any) -> bool:
    """Does the value survive being stored as text?"""
    try:
        return repr(ast.literal_eval(repr(value))) == repr(value)
    except (ValueError, SyntaxError):
        return False


def _shown(value: Any) -> str:
    """A value as text; Python refuses to write numbers with too many digits."""
    try:
        return repr(value)
    except ValueError:
        return f"a number of more than {DIGITS:,} digits"


def _run(task: Task, inputs: dict[str, Any]) -> Any:
    """Run the rule's text as plain Python; returns the answer.

    Raises:
        CheckError: The rule fails or passes a limit; the message names the line.
    """
    names: dict[str, Any] = {}
    file = f"<text of {task.id}>"
    lines = task.rule_source.split("\n")
    before = sys.gettrace()
    exec(compile(task.rule_source, file, "exec"), names)  # the declaration checked the subset
    arguments = copy.deepcopy(list(inputs.values()))
    try:
        sys.settrace(_Guard(file, lines).event)
        return names[task.rule.name](*arguments)
    except CheckError:
        raise
    except Exception as error:
        raise CheckError(f"the rule fails at {where(error, file, lines)}: {explain(error)}"
                         ) from None
    finally:
        sys.settrace(before)


def _is_huge(value: Any) -> bool:
    """Would writing a value fill the memory? Of the items only the first few are looked into."""
    if not isinstance(value, str | list | tuple | dict):
        return False
    inside = value.values() if isinstance(value, dict) else value
    nested = any(isinstance(item, list | tuple | dict) for item in islice(inside, 3))
    return len(value) > HUGE or (nested and is_too_large(value))


class _Guard:
    """Watches a running rule, and ends it if it exceeds what a trace can hold."""

    def __init__(self, file: str, lines: list[str]):
        self.file = file
        self.lines = lines
        self.left = LINE_LIMIT
        self.depth = 0
        self.last = 1  # the line that was executed last

    def event(self, frame: FrameType, event: str, value: Any):
        """Handle a call, a line or a return, as `sys.settrace` reports it."""
        if frame.f_code.co_filename != self.file:
            return None
        self.depth += {"call": 1, "return": -1}.get(event, 0)
        if any(isinstance(held, int) and is_too_large(held)
               for held in (value, *frame.f_locals.values())):
            raise CheckError(f"the rule makes a number of more than {DIGITS:,} digits, which "
                             f"Python does not print, in {self.here}")
        if any(map(_is_huge, (value, *frame.f_locals.values()))):
            raise CheckError(f"the rule makes a value {TOO_LARGE}, in {self.here}")
        self.last = frame.f_lineno
        self.left -= event == "line"
        if self.left < 0:
            raise CheckError(f"the rule does not end: more than {LINE_LIMIT} lines were executed, "
                             f"the last one {self.here}")
        if self.depth > DEPTH_LIMIT:
            raise CheckError(f"the rule calls itself without end: {self.here} (more than "
                             f"{DEPTH_LIMIT} nested calls)")
        return self.event

    @property
    def here(self) -> str:
        """The line that was executed last, with its text."""
        return f"line {self.last}: {self.lines[self.last - 1].strip()}"


def _faults(task: Task, instance: Instance,
            examples: dict[str, formats.Example]) -> Iterator[str]:
    """The faults of an instance and its texts; fills `examples` with the texts."""
    asked = task.ask(instance.inputs)
    wrong = question.misplaced(task.question, asked,
                               {name: repr(value) for name, value in instance.inputs.items()})
    if wrong is not None:
        yield f"the question does not hold {wrong} = {instance.inputs[wrong]!r} in its place"
    execution = task.trace(instance.inputs)
    if repr(execution.answer) != repr(instance.answer):
        yield f"the traced rule gives {execution.answer!r}, the plain one {instance.answer!r}"
    for name, (format, wording) in TEXTS.items():
        prompt, completion = examples[name] = formats.render(task, instance, format, wording)
        if formats.parse_answer(completion) != repr(instance.answer):
            yield f"the {name} text does not end with the answer {instance.answer!r}"
        if not prompt.endswith(asked):
            yield f"the {name} prompt does not end with the question"
        for false in false_lines(task, instance, name, examples[name]):
            what = "cannot be judged" if TOO_LARGE in false.reason else "is false"
            yield f"the {name} text {what} in line {false.line}, {false.text!r}: {false.reason}"
    if parse.steps(examples["rfft"].completion) != (execution.steps, repr(instance.answer)):
        yield "the trace does not read back as the steps that were executed"
