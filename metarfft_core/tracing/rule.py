"""A rule made executable: its answer, and the record of everything that it did."""

import ast
import copy
from functools import cached_property
from typing import Any, NamedTuple

from metarfft_core.tracing import rewrite, subset
from metarfft_core.tracing.rewrite import Site, StepLimit
from metarfft_core.tracing.steps import Step


class Execution(NamedTuple):
    """What a rule did: (site, values as literals) for each executed line, and its answer."""

    records: list[tuple[Site, tuple[str, ...]]]
    answer: Any

    @property
    def steps(self) -> list[Step]:
        """The executed lines with their facts, in order."""
        return [site.step(values) for site, values in self.records]


STEP_LIMIT = 200_000
"""The most passes through the `while` loops of a function in one call; more is taken for an
endless loop."""


class Rule:
    """A rule's text, made executable. Raises RuleError where it leaves the subset."""

    def __init__(self, source: str, step_limit: int = STEP_LIMIT):
        self.source = source
        self.step_limit = step_limit
        module = subset.check(source)
        function: ast.FunctionDef = module.body[-1]
        self.name = function.name
        self.arguments = tuple(argument.arg for argument in function.args.args)
        self._module = module

    def run(self, inputs: dict[str, Any]) -> Any:
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
        lines: list[str] = []
        self._reciting(lines, lines.append, *self._arguments(inputs))
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

    def _compile(self, records: str):
        """Write and compile a form of this rule, whose text passed the subset."""
        text, sites = rewrite.write(self._module, self.source, records)
        namespace = {f"_s{number}": site for number, site in enumerate(sites)}
        namespace |= {"_is": rewrite.is_value, "_StepLimit": StepLimit, "_limit": self.step_limit}
        exec(compile(text, f"<rule {self.name}>", "exec"), namespace)
        return namespace[self.name]
