"""Executable rules: their answers and the records of everything that they do."""

import ast
import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from metarfft_core.tracing import compiler, language, sharing, shown
from metarfft_core.tracing.sites import Site, StepLimit
from metarfft_core.tracing.steps import Step
from metarfft_core.tracing.wordings import paper_compiler, sentences
from metarfft_core.tracing.wordings.kinds import Kind


class Execution(NamedTuple):
    """What a rule did: (site, values as literals) for each executed line, and its answer."""

    records: list[tuple[Site, tuple[str, ...]]]
    answer: Any

    @property
    def steps(self) -> list[Step]:
        """The executed lines with their facts, in order."""
        return [site.step(values) for site, values in self.records]


STEP_LIMIT = 200_000
"""The most loop passes that one call of a function may make; more counts as an endless loop."""


class Rule:
    """A rule's text, made executable.

    Args:
        source: The text: tables, helper rules, and last the rule itself.
        step_limit: The most loop passes that one call of a function may make.
        wording: Sentences for single lines of the rule, by line (see `wordings/sentences.py`).
        given: Returns the kinds of the arguments, by name; called when the rule is put in words.

    Raises:
        RuleError: The text leaves the subset of `language.py`.
    """

    def __init__(self, source: str, step_limit: int = STEP_LIMIT,
                 wording: Mapping[str, str] = sentences.NONE,
                 given: Callable[[], Mapping[str, Kind]] = dict):
        self.source = source
        self.step_limit = step_limit
        self.wording = wording
        self.given = given
        module = language.check(source)
        self._sharing = sharing.check(module)
        function: ast.FunctionDef = module.body[-1]
        self.name = function.name
        self.arguments = tuple(argument.arg for argument in function.args.args)
        self._module = module

    def execute(self, inputs: dict[str, Any]) -> Any:
        """The rule's answer on `inputs` (by argument name), which stay unchanged.

        Raises:
            StepLimit: A loop seems endless; `trace` and the `recite` methods raise it too.
        """
        return self._plain(*self.arguments_of(inputs))

    def trace(self, inputs: dict[str, Any]) -> Execution:
        """Execute the rule on `inputs`, which stay unchanged, and record every line."""
        records: list = []
        return Execution(records, self.watch(inputs, records.append))

    def watch(self, inputs: dict[str, Any], note: Callable[[tuple[Site, tuple[str, ...]]], Any]):
        """Execute the rule and hand every record to `note` as soon as its line is executed.

        The frame that calls `note` is the one of the rule or helper that executed the line, so its
        variables can be looked at there; names with an underscore are the tracer's own.

        Returns:
            The answer.
        """
        return self._recording([], note, *self.arguments_of(inputs))

    def recite(self, inputs: dict[str, Any]) -> str:
        """The text that `kit.code` makes of the records of `trace`, in half the time."""
        return self._text(self._reciting, inputs)

    def recite_in_words(self, inputs: dict[str, Any]) -> str:
        """The text of the trace, with the sentences of `in_words` in place of the rule's lines."""
        return self._text(self._reciting_words, inputs)

    def recite_at_length(self, inputs: dict[str, Any]) -> str:
        """The text of the trace in the paper's wording (see `wordings/paper.py`)."""
        return self._text(self._reciting_at_length, inputs)

    @cached_property
    def in_words(self) -> str:
        """The rule in words: its tables, then its numbered sentences, one on each line."""
        return "\n".join([*sentences.tables(self.source), *self.sentences.values()]) + "\n"

    @cached_property
    def sentences(self) -> dict[int, str]:
        """The numbered sentences, by line number.

        Raises:
            RuleError: `wording` has a line that is not in the rule.
        """
        return sentences.sentences(self.source, self.wording, self.given())

    def _text(self, function, inputs: dict[str, Any]) -> str:
        lines: list[str] = []
        function(lines, lines.append, *self.arguments_of(inputs))
        return "\n".join(lines)

    def arguments_of(self, inputs: dict[str, Any]) -> list:
        """Copies of the arguments, in their order."""
        return [copy.deepcopy(inputs[name]) for name in self.arguments]

    @cached_property
    def _plain(self):
        return self._compile("none")

    @cached_property
    def _recording(self):
        return self._compile("data")

    @cached_property
    def _reciting(self):
        return self._compile("text")

    @cached_property
    def _reciting_words(self):
        lines = self.source.split("\n")
        for line, sentence in self.sentences.items():
            lines[line - 1] = sentence
        return self._load(*self._write(lines, "text"))

    @cached_property
    def _reciting_at_length(self):
        lines = self.source.split("\n")
        return self._load(paper_compiler.write(self._module, lines, self._sharing), [])

    def _compile(self, records: str):
        """Write and compile one form of this rule, whose text has passed the check."""
        return self._load(*self._write(self.source.split("\n"), records))

    def _write(self, lines: list[str], records: str) -> tuple[str, list[Site]]:
        return compiler.write(self._module, lines, records, self._sharing)

    def _load(self, text: str, sites: list[Site]):
        """Compile what the writer wrote and return the function that is the rule."""
        namespace = {f"_s{number}": site for number, site in enumerate(sites)}
        namespace |= {"_is": shown.is_value, "_StepLimit": StepLimit, "_limit": self.step_limit,
                      "_list": list, "_RuleError": language.RuleError}
        exec(compile(text, f"<rule {self.name}>", "exec"), namespace)
        return namespace[self.name]
