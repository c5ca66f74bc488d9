"""The definition of a task: a rule, a sampler and a question, declared once (Section 3)."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from random import Random
from typing import Any, NamedTuple

from metarfft_core.tracing import question
from metarfft_core.tracing.expressions import RuleError
from metarfft_core.tracing.rule import STEP_LIMIT, Execution, Rule
from metarfft_core.tracing.wordings import kinds, sentences

LONGEST = 60
"""The longest instance that a task draws if it declares no lengths."""
KINDS_LENGTHS, KINDS_DRAWS = 5, 4
"""How many lengths, and instances of each, determine the kinds of a rule's arguments."""
_CHANGED = "_cf"  # the ending that marks the id or name of a counterfactual


class Instance(NamedTuple):
    """One instance of a task. Treat `inputs` as read-only."""

    task: str
    length: int
    index: int
    stream: str
    inputs: dict[str, Any]  # by argument name, in the order of the rule's arguments
    answer: Any  # what the rule returns on the inputs


@dataclass(eq=False, repr=False)
class Task:
    """A task; its answers, traces and prompts are derived from the text of its rule.

    Attributes:
        id: The key in stored results.
        name: Commands and parameter files accept it as well as `id`.
        length_definition: What length counts.
        lengths: The lengths that `sample` can draw.
        rule_source: The text of the rule.
        title: What people read.
        counterfactual: The same task with a changed rule, if there is one: same question, same
            instances, other answers. It shows whether a model follows the written rule or the
            rule that it remembers.
    """

    id: str
    name: str
    source: str
    split: str
    length_definition: str
    lengths: tuple[int, ...]
    summary: str
    question: str
    rule_source: str
    sampler: Callable[[Random, int], dict[str, Any]]
    step_limit: int = STEP_LIMIT
    title: str = ""  # made from the name unless given
    counterfactual: "Task | None" = None
    unchanged: "Task | None" = None  # of a counterfactual: the task whose rule it changes
    wording: dict[str, str] = field(default_factory=dict)  # of single lines, see sentences.py

    def __post_init__(self):
        self.title = self.title or self.name.replace("_", " ").capitalize()

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.name}>"

    @property
    def is_counterfactual(self) -> bool:
        """Whether its rule is a changed version of another task's rule."""
        return self.unchanged is not None

    @property
    def base(self) -> "Task":
        """The unchanged task of a counterfactual; for any other task, the task itself."""
        return self.unchanged or self

    @property
    def label(self) -> str:
        """Title and id, for texts that tell people which task stored results belong to."""
        return f"{self.title} ({self.id})"

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that find the task: its id and its names."""
        short = (f"{self.base.name}{_CHANGED}",) if self.is_counterfactual else ()
        return self.id, self.name, *short

    @cached_property
    def rule(self) -> Rule:
        """The rule, checked against the subset (RuleError) and executable."""
        return Rule(self.rule_source, self.step_limit, self.wording, self._kinds)

    def _kinds(self) -> dict[str, kinds.Kind]:
        """The kinds of the arguments, determined from short instances."""
        drawn = [self.sampler(Random(f"kinds/{length}/{index}"), length)
                 for length in self.lengths[:KINDS_LENGTHS] for index in range(KINDS_DRAWS)]
        return {name: kinds.of_values([inputs[name] for inputs in drawn]) for name in drawn[0]}

    @cached_property
    def tables(self) -> dict[str, Any]:
        """The tables of literals in the rule's text, by name; a sampler draws from them."""
        return {node.targets[0].id: ast.literal_eval(node.value)
                for node in ast.parse(self.rule_source).body if isinstance(node, ast.Assign)}

    def sample(self, *, length: int, seed: int, index: int, stream: str = "") -> Instance:
        """Draw an instance; the same arguments give the same one on any machine, in any order.

        Args:
            stream: Keeps training, validation, adaptation, evaluation and exemplars apart.

        Raises:
            ValueError: The task cannot draw this length.
            RuleError: The sampler does not give the rule's arguments in their order.
        """
        if length not in self.lengths:
            raise ValueError(f"task {self.id} cannot draw length {length!r}: it allows "
                             f"{self.lengths[0]} to {self.lengths[-1]}")
        rng = Random(f"{seed}/{stream}/{self.base.id}/{length}/{index}")
        inputs = self.sampler(rng, length)
        if tuple(inputs) != self.rule.arguments:
            raise RuleError(f"{self.id}: the sampler gives {tuple(inputs)}, the rule takes "
                            f"{self.rule.arguments}")
        return Instance(self.id, length, index, stream, inputs, self.rule.execute(inputs))

    def ask(self, inputs: dict[str, Any]) -> str:
        """The question with the inputs filled in, each as a Python literal."""
        return self.question.format(**{name: repr(value) for name, value in inputs.items()})

    def trace(self, inputs: dict[str, Any]) -> Execution:
        """Execute the rule on `inputs` and record every line."""
        return self.rule.trace(inputs)


def declare(cls: type, id: str, source: str, split: str, length: str,
            lengths: tuple[int, ...] | None, title: str = "", checked: bool = True) -> Task:
    """Build a task from a class that holds `question`, `rule`, `sample`, tables and helpers.

    The class only groups these parts. Its upper-case attributes are the rule's tables, its other
    functions are helpers, and its docstring says what the task is and where it comes from. Two
    parts are optional: `counterfactual` maps lines of the rule to the lines that replace them,
    and `wording` maps lines to sentences (see `tracing/wordings/sentences.py`).

    Args:
        length: What length counts.
        lengths: The lengths that can be drawn; 1 to LONGEST if None.
        title: What figures and tables show; made from the name if empty.
        checked: Whether the rules are checked at once; each is at its first use.

    Raises:
        RuleError: The rule leaves the subset, or does not fit the question, `wording` or
            `counterfactual`.
        TypeError: `question`, `rule` or `sample` is missing.
    """
    for key in ("question", "rule", "sample"):
        if key not in vars(cls):
            raise TypeError(f"task {id}: the class {cls.__name__} has no {key}")
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
    try:
        task = Task(
            id=id, name=name, source=source, split=split, length_definition=length,
            lengths=lengths or tuple(range(1, LONGEST + 1)),
            summary=inspect.cleandoc(cls.__doc__ or ""), question=cls.question,
            rule_source=_rule_source(cls, name), sampler=cls.sample, title=title,
            wording=getattr(cls, "wording", {}),
        )
        task.counterfactual = _counterfactual(task, getattr(cls, "counterfactual", {}))
        if checked:
            check(task)
    except RuleError as error:
        raise RuleError(f"task {id}: {error}") from None
    return task


def check(task: Task) -> None:
    """Raise RuleError if a rule leaves the subset, or does not fit the question or `wording`."""
    _check_question(task)
    sentences.check(task.rule_source, task.wording)
    if task.counterfactual:
        Rule(task.counterfactual.rule_source)


def _check_question(task: Task) -> None:
    """Raise RuleError if a question does not name the rule's arguments in their order."""
    try:
        named = question.fields(task.question)
    except ValueError as error:
        raise RuleError(f"the question {task.question!r}: {error} (double a brace that belongs "
                        "to the text)") from None
    if named != list(task.rule.arguments):
        raise RuleError(f"the question names {named}, the rule takes "
                        f"{list(task.rule.arguments)}: the same names in the same order are needed")
    if "\n\nQ: " in task.question:
        raise RuleError("the question contains an empty line and 'Q: ', which mark its beginning")


def _counterfactual(task: Task, changes: dict[str, str]) -> Task | None:
    """The task with the changed rule; raises RuleError if a key is not exactly one line of it."""
    lines = task.rule_source.split("\n")
    for old, new in changes.items():
        numbers = [number for number, line in enumerate(lines) if line.strip() == old]
        if len(numbers) != 1:
            raise RuleError(f"counterfactual: {old!r} is not exactly one line of the rule")
        lines[numbers[0]] = lines[numbers[0]].replace(old, new)
    if not changes:
        return None
    return replace(task, id=f"{task.id}{_CHANGED}", name=f"{task.name}_counterfactual",
                   title=f"{task.title}, counterfactual", split="counterfactual",
                   unchanged=task, rule_source="\n".join(lines),
                   wording={line: words for line, words in task.wording.items()
                            if line not in changes})


_parse = lru_cache(maxsize=1)(ast.parse)  # one file declares many tasks, one after the other


def _rule_source(cls: type, name: str) -> str:
    """The text of a rule as the model sees it: tables, helpers, and the rule, named as the task."""
    try:
        lines, _ = inspect.findsource(cls.rule)
    except OSError:
        raise RuleError("its source cannot be found: declare it in a file or in a notebook's "
                        "cell") from None
    try:
        module = _parse("".join(lines))
    except SyntaxError as error:  # a notebook also ends lines at characters inside strings
        raise RuleError(f"the file or cell cannot be read back at its line {error.lineno}: "
                        f"{error.msg}; write line separators in strings as \\u2028, \\x85, \\f"
                        ) from None
    first = cls.rule.__code__.co_firstlineno
    body = next((node.body for node in ast.walk(module) if isinstance(node, ast.ClassDef)
                 and node.name == cls.__name__ and any(_begins(part, first) for part in node.body)),
                None)
    if body is None:  # the cell was executed with other line ends than it is read back with
        raise RuleError("the cell has a line separator in a comment or a text above the rule: "
                        "delete it, or write it as \\u2028, \\x85, \\f")
    tables, functions, rule = [], [], ""
    for node in body:
        text = textwrap.dedent("".join(lines[node.lineno - 1:node.end_lineno])).rstrip()
        if isinstance(node, ast.FunctionDef) and node.name == "rule":
            rule = re.sub(r"^def\s+rule\s*\(", f"def {name}(", text)
        elif isinstance(node, ast.FunctionDef) and node.name != "sample":
            functions.append(text)
        elif not isinstance(node, ast.FunctionDef) and _makes_table(node):
            tables.append(text)
    return "\n".join([*tables, *functions, rule]) + "\n"


def _begins(node: ast.stmt, line: int) -> bool:
    """Does the function `rule` begin on this line, its decorators included?"""
    return isinstance(node, ast.FunctionDef) and node.name == "rule" and line == min(
        above.lineno for above in (node, *node.decorator_list))


def _makes_table(node: ast.stmt) -> bool:
    """Does a statement of the class set an upper-case name, or change its value?

    If so, it belongs to the rule's text, and the subset refuses it unless it is NAME = literal.
    """
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        parts = node.targets if isinstance(node, ast.Assign) else [node.target]
    else:
        parts = [node]
    return any(isinstance(inside, ast.Name) and inside.id.isupper()
               for part in parts for inside in ast.walk(part))
