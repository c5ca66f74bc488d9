"""Readers of what a text claims, line by line, while the judge walks through the rule.

There is one class for each form of a text. The walk says which line the rule executes next and
which facts are true there. The class says what the text claims there and notes every false claim.
"""

import ast
from collections.abc import Sequence
from typing import Any, NamedTuple

from metarfft_core.tracing.judge import paper, parse
from metarfft_core.tracing.judge.evaluator import tree
from metarfft_core.tracing.judge.literals import Unclear, literal, normal, reads_back, same
from metarfft_core.tracing.steps import ANSWER, BEHIND, BETWEEN, Fact, Step
from metarfft_core.tracing.wordings.paper import UNSET, headings, reads, tables

LINE_LIMIT = 50_000
"""The most executed lines that the judge follows in one text."""
COMPLETION_LIMIT = 5_000_000
"""The most characters of a text that is judged, and of all that the rule states along it."""
UNREADABLE = (f"unreadable: the text, or what it leads to, has more than {COMPLETION_LIMIT:,} "
              "characters")


class FalseLine(NamedTuple):
    """A false line: its number in the completion (from 1), its text and the fault."""

    line: int
    text: str
    reason: str


class Lost(Exception):
    """Raised when the text is no longer an execution of the rule."""


class Lines:
    """The lines of a rule-following trace, taken one after the other."""

    def __init__(self, completion: str):
        self.is_readable = len(completion) <= COMPLETION_LIMIT
        self.lines = completion[:COMPLETION_LIMIT].split("\n")
        self.position = 0  # lines taken
        self.executed = 0  # lines of the rule
        self.stated = 0  # characters of the facts that the rule states
        self.false: list[FalseLine] = []

    def first(self, code: str) -> Step:
        """The first step, which recites `code` and states the arguments."""
        return parse.step(self.lines[0], (code,))

    def arrive(self, node: ast.AST, names: dict[str, Any]) -> None:
        """The rule reaches a line; a text may have to say something before it."""

    def look(self, node: ast.AST, names: dict[str, Any]) -> None:
        """The rule looks at the variables of a line."""

    def enter(self, node: ast.AST) -> None:
        """A pass of a loop begins."""

    def wrong(self, reason: str) -> None:
        number = min(self.position, len(self.lines))
        if number == 0 or not self.false or self.false[-1].line != number:
            self.false.append(FalseLine(number, self.lines[number - 1] if number else "", reason))

    def count(self, expected: list[Fact]) -> None:
        """Count an executed line; raises Lost if the execution seems endless, or too large."""
        self.executed += 1
        for fact in expected:
            self.stated += len(fact.left) + len(fact.right)
        if self.executed > LINE_LIMIT:
            self.wrong("an execution without end")
            raise Lost
        if self.stated > COMPLETION_LIMIT:
            self.wrong(UNREADABLE)
            raise Lost

    def take(self, code: str) -> list[Fact]:
        """The facts of the next line; raises Lost if it does not recite `code`."""
        self.position += 1
        if self.position > len(self.lines):
            self.wrong(f"the text ends where the rule executes: {code}")
            raise Lost
        line = self.lines[self.position - 1]
        if line == code:
            return []
        recital = code + BEHIND
        if not line.startswith(recital):
            self.wrong(f"the rule executes here: {code}")
            raise Lost
        return parse.facts(line[len(recital):])

    def facts(self, code: str, expected: list[Fact], loops: bool,
              changed: Sequence[str] = ()) -> list[Fact]:
        """Judge the facts of the next line.

        Args:
            loops: Whether a pass of a loop begins or ends with this line.
            changed: The changes that the line makes, as a scratchpad states them.

        Returns:
            The claims of the text, one for each fact of `expected`.
        """
        self.count(expected)
        claimed = self.take(code)
        if len(claimed) != len(expected):
            self.wrong(f"expected {len(expected)} facts, got {len(claimed)}")
        result = []
        for number, fact in enumerate(expected):
            claim = claimed[number] if number < len(claimed) else fact
            result.append(self.fact(fact, claim))
        return result

    def fact(self, fact: Fact, claim: Fact) -> Fact:
        """Judge one fact; returns the claim if the walk can continue with it, else the truth."""
        if claim == fact and (fact.kind in ("each", "end") or reads_back(fact.right)):
            return claim
        try:
            if claim.kind != fact.kind:
                self.wrong(f"expected {' '.join(fact)}, got {' '.join(claim)}")
                return fact
            if claim.left != fact.left and (fact.kind not in ("calc", "test")
                                            or normal(claim.left) != normal(fact.left)):
                self.wrong(f"wrong copy: the line reads {fact.left}, not {claim.left}")
            elif claim.right != fact.right and (fact.kind == "each" or not same(
                    literal(claim.right), literal(fact.right))):
                self.wrong(f"{fact.left} gives {fact.right}, not {claim.right}")
            if fact.kind in ("calc", "state", "test"):
                literal(claim.right)
                return claim
        except Unclear as error:
            self.wrong(str(error))
        return fact

    def silent(self, code: str, changes: list[str]) -> None:
        """Judge a line that states nothing after the recital."""
        if self.take(code):
            self.wrong("this line has nothing to state after the recital")

    def end(self, answer: Any) -> None:
        """Judge the last line, which states the answer."""
        self.position += 1
        if self.position > len(self.lines):
            self.wrong(f"the text ends without an answer: {answer!r}")
        elif self.lines[self.position - 1] != f"{ANSWER}{answer!r}":
            self.wrong(f"the rule returns {answer!r}")
        elif self.position < len(self.lines):
            self.position += 1
            self.wrong("the text continues after the answer")


class Scratchpad(Lines):
    """The lines of a scratchpad: the changed values, one line for each pass of a loop."""

    def __init__(self, completion: str):
        super().__init__(completion)
        self.claims: list[str] = []

    def next_change(self, expected: str) -> str:
        if not self.claims:
            self.position += 1
            if self.position > len(self.lines):
                self.wrong(f"the text ends before: {expected}")
                raise Lost
            self.claims = parse.split(self.lines[self.position - 1], BETWEEN)
        return self.claims.pop(0)

    def facts(self, code: str, expected: list[Fact], loops: bool,
              changed: Sequence[str] = ()) -> list[Fact]:
        self.count(expected)
        if loops and self.claims:
            self.wrong(f"nothing else changes in this pass: {self.claims[0]}")
            raise Lost
        for change in changed:
            self.change(change)
        return expected

    def change(self, expected: str) -> None:
        claim = self.next_change(expected)
        if claim != expected:
            self.wrong(f"the rule makes {expected}")
            if claim.partition(" = ")[0] != expected.partition(" = ")[0]:
                raise Lost

    def silent(self, code: str, changes: list[str]) -> None:
        for change in changes:
            self.change(change)

    def end(self, answer: Any) -> None:
        if self.claims:
            self.wrong(f"the rule ends here, but the text says {self.claims[0]}")
        super().end(answer)


class AtLength(Lines):
    """The steps of a trace in the paper's wording; each step has several lines."""

    def __init__(self, rule: str, completion: str):
        super().__init__(completion)
        module = tree(rule)
        self.headings = headings(module)
        self.tables = frozenset(tables(module))
        self.blocks = paper.blocks(rule, completion)[0] if self.is_readable else []
        self.taken = 0  # blocks
        self.above: list[str] = []  # the headings that must come next
        self.looks: list[list[Fact]] = []  # the variables that the current lines must show

    def first(self, code: str) -> Step:
        return self.blocks[0].step if self.blocks else super().first(code)

    def arrive(self, node: ast.AST, names: dict[str, Any]) -> None:
        if node.lineno in self.headings:
            self.above.append(self.headings[node.lineno].above)
        if not isinstance(node, (ast.If, ast.While, ast.For)):  # these call `look` in each pass
            self.look(node, names)

    def look(self, node: ast.AST, names: dict[str, Any]) -> None:
        self.looks.append([Fact("state", name, repr(names[name])) if name in names
                           else parse.fact(f"{name}{UNSET}")
                           for name in reads(node, self.tables)])

    def enter(self, node: ast.AST) -> None:
        self.above.append(self.headings[node.lineno].each)

    def take(self, code: str) -> list[Fact]:
        if self.taken == len(self.blocks):
            self.position = len(self.lines)
            self.wrong(f"the text ends where the rule executes: {code}")
            raise Lost
        block = self.blocks[self.taken]
        self.taken += 1
        self.position = block.end
        if block.step.code != code:
            self.wrong(f"the rule executes here: {code}")
            raise Lost
        if list(block.headings) != self.above:
            self.wrong(f"expected the headings {self.above}, got {list(block.headings)}")
        self.above = []
        looks = self.looks.pop()
        if list(block.reads) != looks:
            shown = "; ".join(f"{fact.left} = {fact.right}" for fact in looks)
            self.wrong(f"the line reads {shown}")
        return list(block.step.facts)

    def fact(self, fact: Fact, claim: Fact) -> Fact:
        if fact.kind == claim.kind == "each":  # this wording states the item only
            claim = claim._replace(left=fact.left)
        return super().fact(fact, claim)
