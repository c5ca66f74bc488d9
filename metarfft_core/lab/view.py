"""What the explorer shows, as data: one instance of a task, its states and its formats.

The widget in JupyterLab and the page of the documentation site show the same data. Standard library
alone, so that it is also made in a browser.
"""

from collections.abc import Callable, Iterable
from typing import Any

from metarfft_core import formats, tasks
from metarfft_core.lab import stepping
from metarfft_core.lab.stepping import State, TooLong
from metarfft_core.tasks import Instance, Task
from metarfft_core.tracing.expressions import RuleError
from metarfft_core.tracing.judge import replay
from metarfft_core.tracing.sites import StepLimit

SOURCES = {"leetcode": "LeetCode", "nupa": "NUPA", "bbh": "BIG-Bench Hard",
           "symbolic": "Symbolic reasoning"}
"""The headings of the list of tasks, by source."""

FAILURES = (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError,
            ValueError)
"""What a rule may raise on its inputs."""

Count = Callable[[str, str], int]
"""Counts the tokens of a prompt and a completion."""


class Failed(ValueError):
    """A rule that is accepted but fails on the inputs; the message names the line."""


def options() -> list[dict[str, Any]]:
    """The tasks that can be chosen, grouped by source."""
    return [{"label": label, "tasks": [{"id": task.id, "title": task.title}
                                       for task in tasks.select(source=source)]}
            for source, label in SOURCES.items()]


def view(task: Task, length: int, seed: int, index: int, rule: str | None = None,
         count: Count | None = None) -> dict[str, Any]:
    """Everything that is shown of one instance, ready for JSON.

    Args:
        rule: Another text for the task's rule; None for its own.
        count: Counts tokens; without it, characters are counted.

    Raises:
        ValueError: The task cannot draw the length, or the rule is refused, too long or fails; the
            message is for the reader.
    """
    instance = task.sample(length=length, seed=seed, index=index)
    shown = task if rule is None else stepping.edited(task, rule)
    try:
        states = stepping.states(shown, instance.inputs)
    except (TooLong, RuleError):
        raise
    except StepLimit as error:
        raise TooLong(str(error)) from None
    except FAILURES as error:
        raise Failed(_failure(shown, instance.inputs, error)) from None
    answer = shown.rule.execute(instance.inputs)
    instance = instance._replace(answer=answer)
    return {
        "request": {"task": task.id, "length": length, "seed": seed, "index": index, "rule": rule},
        "title": task.title, "summary": task.summary, "rule": shown.rule_source,
        "lengths": [task.lengths[0], task.lengths[-1]], "length_of": task.length_definition,
        "question": task.ask(instance.inputs), "answer": repr(answer),
        "formats": _formats(shown, instance, count),
        "unit": "tokens" if count else "characters",
        **_compact(states),
    }


def answer(request: dict[str, Any], own: Iterable[Task] = (), position: int = 0,
           count: Count | None = None) -> dict[str, Any]:
    """The answer to what a reader asks for in the browser.

    Args:
        request: The arguments of `view`, the task by its id; `again` is the number of the request.
        own: Tasks that the registry need not have.
        position: The step that is shown now.

    Returns:
        What changes, by name (`view`, `problem`, `position`); a refused request changes no view.
    """
    task = next((task for task in own if task.id == request["task"]), None) or tasks.get(
        request["task"])
    length = min(max(request["length"], task.lengths[0]), task.lengths[-1])
    edited = request["rule"] is not None
    try:
        shown = view(task, length, request["seed"], request["index"], request["rule"], count)
    except ValueError as error:
        return {"problem": {"text": str(error)}}
    shown["request"]["again"] = request["again"]  # so that the same view is shown anew
    last = len(shown["states"]) - 1
    return {"view": shown, "problem": {}, "position": min(position, last) if edited else 0}


def judged(request: dict[str, Any], text: str) -> list[dict[str, Any]]:
    """The false lines of what a reader writes as the trace of a request's rule and instance.

    The independent judge finds them; a text that ends too early is false at its last line.
    """
    task = tasks.get(request["task"])
    instance = task.sample(length=request["length"], seed=request["seed"], index=request["index"])
    rule = task.rule_source if request["rule"] is None else request["rule"]
    return [false._asdict() for false in replay.judge_trace(
        rule, task.ask(instance.inputs), text, task.question)]


def _formats(task: Task, instance: Instance, count: Count | None) -> list[dict[str, Any]]:
    shown = []
    for name in formats.FORMATS:
        prompt, completion = formats.render(task, instance, name)
        size = count(prompt, completion) if count else len(prompt) + len(completion)
        shown.append({"name": name, "prompt": prompt, "completion": completion, "size": size})
    return shown


def _compact(states: list[State]) -> dict[str, Any]:
    """The states; `values` holds each value once, and variables are its positions."""
    values: dict[str, int] = {}
    names: dict[str, list[str]] = {}
    rows = []
    for state in states:
        known = names.setdefault(state.function, [])
        known += [name for name in state.variables if name not in known]
        rows.append({
            "line": state.line, "text": state.text, "function": state.function,
            "variables": {name: values.setdefault(value, len(values))
                          for name, value in state.variables.items()},
            "changed": list(state.changed), "was": state.was, "passes": list(state.passes.items())})
    return {"states": rows, "values": list(values), "names": names}


def _failure(task: Task, inputs: dict[str, Any], error: Exception) -> str:
    """The line and the reason of a failure; the line is that of plain Python."""
    names: dict[str, Any] = {}
    exec(compile(task.rule_source, "<rule>", "exec"), names)
    line = 0
    try:
        names[task.rule.name](*task.rule.arguments_of(inputs))
    except FAILURES as again:
        step = again.__traceback__
        while step is not None:
            if step.tb_frame.f_code.co_filename == "<rule>":
                line = step.tb_lineno
            step = step.tb_next
    return f"line {line}: {type(error).__name__}: {error}"
