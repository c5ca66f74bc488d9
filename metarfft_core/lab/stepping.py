"""The states that a rule goes through: a line of its trace and the variables after it.

    states = lab.states("move_zeroes", {"nums": [0, 3]})
    states[2].text, states[2].variables

Standard library alone, so that it also works in a browser.
"""

import ast
import sys
from dataclasses import replace
from types import FrameType
from typing import Any, NamedTuple

from metarfft_core import tasks
from metarfft_core.tasks import Task
from metarfft_core.tracing.expressions import RuleError
from metarfft_core.tracing.sites import Site

LINES = 20_000
"""The most lines that a rule may execute; no task of the kit reaches a tenth of it."""
CHARACTERS = 20_000_000
"""The most characters that the values of all states may take; the kit's tasks need a quarter."""


class TooLong(ValueError):
    """A rule that executes too many lines, or builds too large a value, to be stepped through."""


class State(NamedTuple):
    """One executed line of a rule and what the variables are after it."""

    line: int
    """The line of the rule's text, from 1."""
    text: str
    """The line of the trace."""
    function: str
    """The function that the line belongs to: the rule, or a helper that it calls."""
    variables: dict[str, str]
    """The variables of that function (of this call of it) by name, each as `repr` writes it."""
    changed: tuple[str, ...]
    """The names whose values differ from those after the previous line of the same call."""
    was: dict[str, str]
    """The earlier values of those of the changed names that had one."""
    passes: dict[int, int]
    """The number of the pass, from 1, by the line of each loop around the line, outermost first.

    The head of a loop belongs to the pass that it begins. Where it ends the loop, it is in none.
    """


def states(task: Task | str, inputs: dict[str, Any]) -> list[State]:
    """Execute a task's rule and return its state after each executed line, in order.

    The lines of a helper come before the line that calls it, as in a trace, and show the variables
    of the helper.

    Args:
        task: The task, or its name or id.
        inputs: The arguments of the rule by name; they stay unchanged.

    Raises:
        TooLong: The rule executes more than LINES lines, or the values take more than CHARACTERS
            characters.
        StepLimit: A loop seems endless.
    """
    task = tasks.get(task) if isinstance(task, str) else task
    watcher = _Watcher(task.rule_source)
    task.rule.watch(inputs, watcher.note)
    return watcher.states


def edited(task: Task, source: str) -> Task:
    """The task with another text of its rule: same question, same instances, other traces.

    Raises:
        RuleError: The text leaves the subset (the message names the line), or the rule has other
            arguments.
    """
    lines = {line.strip() for line in source.split("\n")}
    wording = {line: words for line, words in task.wording.items() if line in lines}
    changed = replace(task, rule_source=source, wording=wording, counterfactual=None)
    try:
        arguments = changed.rule.arguments
        compile(source, "<rule>", "exec")  # the subset lets `break` pass outside of a loop
    except SyntaxError as error:
        raise RuleError(f"line {error.lineno}: not Python: {error.msg}") from None
    except RecursionError:
        raise RuleError("an expression of the rule is nested too deeply") from None
    if arguments != task.rule.arguments:
        raise RuleError(f"the rule takes {', '.join(task.rule.arguments)}; "
                        f"got {', '.join(arguments) or 'nothing'}")
    return changed


class _Watcher:
    """Collects the states of one execution of a rule."""

    def __init__(self, source: str):
        self.states: list[State] = []
        self.characters = 0
        self.functions: dict[int, str] = {}  # by the line of a statement
        self.loops: dict[int, tuple[int, ...]] = {}  # around a line, and at it; outermost first
        self.before: dict[FrameType, dict[str, str]] = {}
        self.passes: dict[FrameType, dict[int, int]] = {}
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef):
                self._learn(node, node.name, ())

    def _learn(self, node: ast.AST, function: str, loops: tuple[int, ...]) -> None:
        """Note the function and the loops of a statement and of all that are inside it."""
        if isinstance(node, ast.For | ast.While):
            loops = (*loops, node.lineno)
        if isinstance(node, ast.stmt):
            self.functions[node.lineno] = function
            self.loops[node.lineno] = loops
        for inside in ast.iter_child_nodes(node):
            self._learn(inside, function, loops)

    def note(self, record: tuple[Site, tuple[str, ...]]) -> None:
        """Add the state after the line that has just been executed by the calling frame."""
        site, values = record
        frame = sys._getframe(1)
        variables = {name: repr(value) for name, value in frame.f_locals.items()
                     if not name.startswith("_")}
        if len(self.states) == LINES:
            raise TooLong(f"the rule executes more than {LINES:,} lines")
        self.characters += sum(map(len, variables.values()))
        if self.characters > CHARACTERS:
            raise TooLong(f"line {site.line}: the values of the variables take more than "
                          f"{CHARACTERS:,} characters")
        before = self.before.get(frame, {})
        changed = tuple(name for name, value in variables.items() if before.get(name) != value)
        was = {name: before[name] for name in changed if name in before}
        self.before[frame] = variables
        self.states.append(State(site.line, site.template % values, self.functions[site.line],
                                 variables, changed, was, self._passes(frame, site)))

    def _passes(self, frame: FrameType, site: Site) -> dict[int, int]:
        """The passes that a line belongs to; a loop that was left begins anew."""
        around = self.loops[site.line]
        before = self.passes.get(frame, {})
        now = {loop: before[loop] for loop in around if loop in before}
        if site.loops:
            if _ends(site):
                now.pop(site.line, None)
            else:
                now[site.line] = now.get(site.line, 0) + 1
        self.passes[frame] = now
        return now


def _ends(site: Site) -> bool:
    """Does the head of a loop end it here?"""
    return any(kind == "end" or (kind == "test" and right == "False")
               for kind, _, right in site.facts)
