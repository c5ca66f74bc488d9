"""A rule made executable: its answer, and the record of everything that it did."""

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
"""The most passes through the loops of a function in one call; more is taken for an endless one."""


class Rule:
    """A rule's text, made executable. Raises RuleError where it leaves the subset.

    For the rule in words (see `sentences.py`), `wording` maps lines of the rule to sentences of
    their own, and `given` says of what kinds the arguments are, when it is asked.
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
        """The rule's answer on `inputs` (by argument name), which stay as they are.

        Raises StepLimit where a loop seems endless, as `trace` and `recite` do.
        """
        return self._plain(*self._arguments(inputs))

    def trace(self, inputs: dict[str, Any]) -> Execution:
        """Execute the rule on `inputs`, which stay as they are, and record every line."""
        records: list = []
        answer = self._recording(records, records.append, *self._arguments(inputs))
        return Execution(records, answer)

    def recite(self, inputs: dict[str, Any]) -> str:
        """The text of the trace: `wording.code` of its records, at half the time."""
        return self._text(self._reciting, inputs)

    def recite_in_words(self, inputs: dict[str, Any]) -> str:
        """The text of the trace with the sentences of `in_words` for the lines of the rule."""
        return self._text(self._reciting_words, inputs)

    def recite_at_length(self, inputs: dict[str, Any]) -> str:
        """The text of the trace in the paper's wording (see `paper.py`)."""
        return self._text(self._reciting_at_length, inputs)

    @cached_property
    def in_words(self) -> str:
        """The rule in words: its tables, then its numbered sentences, a line each."""
        return "\n".join([*sentences.tables(self.source), *self.sentences.values()]) + "\n"

    @cached_property
    def sentences(self) -> dict[int, str]:
        """The numbered sentences, by line; RuleError where `wording` has a line too many."""
        return sentences.sentences(self.source, self.wording, self.given())

    def _text(self, function, inputs: dict[str, Any]) -> str:
        lines: list[str] = []
        function(lines, lines.append, *self._arguments(inputs))
        return "\n".join(lines)

    def _arguments(self, inputs: dict[str, Any]) -> list:
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
        """Write and compile a form of this rule, whose text passed the subset."""
        return self._load(*self._write(self.source.split("\n"), records))

    def _write(self, lines: list[str], records: str) -> tuple[str, list[Site]]:
        return compiler.write(self._module, lines, records, self._sharing)

    def _load(self, text: str, sites: list[Site]):
        """Compile what the writer wrote; the function that is the rule."""
        namespace = {f"_s{number}": site for number, site in enumerate(sites)}
        namespace |= {"_is": shown.is_value, "_StepLimit": StepLimit, "_limit": self.step_limit,
                      "_list": list, "_RuleError": language.RuleError}
        exec(compile(text, f"<rule {self.name}>", "exec"), namespace)
        return namespace[self.name]
