"""The parser of texts in the paper's wording: it returns the steps that a text claims.

`wordings/paper.py` defines the words. Like the rest of the judge, this module does not import the
tracer.
"""

import ast
import re
from functools import lru_cache
from typing import NamedTuple

from metarfft_core.tracing.judge import parse
from metarfft_core.tracing.judge.evaluator import tree
from metarfft_core.tracing.judge.literals import Unclear, literal
from metarfft_core.tracing.judge.substitution import substituted, truth
from metarfft_core.tracing.steps import ANSWER, Fact, Step
from metarfft_core.tracing.wordings.paper import NOW, SO, VERDICTS, reads, tables

CODE_LIMIT = 5_000
"""The most characters of a line of a rule."""
_HEADING = re.compile(r"\d[\d.]* [A-Z]\w*( \w+)?")


class Block(NamedTuple):
    """One step of a text, with the headings above it and the variables that it shows."""

    headings: tuple[str, ...]
    step: Step
    reads: tuple[Fact, ...]
    end: int  # the number of its last line in the text, from 1


def steps(rule: str, completion: str) -> tuple[list[Step], str | None]:
    """Parse a completion in the paper's wording; `parse.steps` does it for the kit's wording.

    This wording does not state the range of a loop. The range is built from the variables that
    the text shows in each pass.

    Args:
        rule: The text of the rule.

    Returns:
        The steps, and the answer that ends the completion, or None.
    """
    parsed, last = blocks(rule, completion)
    answer = last.removeprefix(ANSWER) if last.startswith(ANSWER) else None
    return [block.step for block in parsed], answer


def blocks(rule: str, completion: str) -> tuple[list[Block], str]:
    """The steps of a completion, and its last line, which should state the answer."""
    *lines, last = completion.split("\n")
    reader = _Reader(tree(rule), lines)
    parsed = []
    while reader.position < len(lines):
        parsed.append(reader.block())
    return parsed, last


class _Reader:
    """Reads blocks from lines; anything that it cannot read becomes a fact of kind "text"."""

    def __init__(self, module: ast.Module, lines: list[str]):
        self.tables = tables(module)
        self.known = frozenset(self.tables)
        self.lines = lines
        self.position = 0

    def take(self) -> str:
        self.position += 1
        return self.lines[self.position - 1] if self.position <= len(self.lines) else ""

    def peek(self) -> str:
        return self.lines[self.position] if self.position < len(self.lines) else ""

    def block(self) -> Block:
        above = []
        while _HEADING.fullmatch(self.peek()):
            above.append(self.take())
        code = self.take()
        node = statement(code)
        names = reads(node, self.known) if node else ()
        if isinstance(node, ast.FunctionDef):
            shown, facts = [], [parse.fact(self.take()) for _ in node.args.args]
        else:
            shown = [parse.fact(self.take()) for _ in names]
            facts = self.facts(node, shown) if node else []
        end = min(self.position, len(self.lines))
        return Block(tuple(above), Step(code, tuple(facts)), tuple(shown), end)

    def values(self, shown: list[Fact]) -> dict[str, object]:
        values = dict(self.tables)
        for fact in shown:
            try:
                values[fact.left] = literal(fact.right)
            except Unclear:
                continue
        return values

    def facts(self, node: ast.stmt, shown: list[Fact]) -> list[Fact]:
        match node:
            case ast.If(test=ast.Constant()) | ast.While(test=ast.Constant()):
                return []
            case ast.If(test=test):
                return [self.test(test, self.values(shown), "branch")]
            case ast.While(test=test):
                return [self.test(test, self.values(shown), "loop")]
            case ast.For():
                return self.items(node, self.values(shown))
            case ast.Assign(value=ast.IfExp(test=test)):
                return [self.test(test, self.values(shown), "choice"), *self.said(node)]
            case ast.Return(value=ast.Name(id=name)) if name in (names := self.values(shown)):
                return [Fact("state", name, repr(names[name]))]
            case ast.Assign() | ast.AugAssign() | ast.Expr() | ast.Return():
                return self.said(node)
        return []

    def test(self, test: ast.expr, names: dict[str, object], what: str) -> Fact:
        """Read a verdict; the condition is built from the variables that the text shows."""
        line = self.take()
        for verdict, words in VERDICTS[what].items():
            if line == words:
                try:
                    return Fact("test", truth(test, names)[0], str(verdict))
                except Unclear as error:
                    return Fact("text", str(error), "")
        return Fact("text", line, "")

    def items(self, node: ast.For, names: dict[str, object]) -> list[Fact]:
        """Read the item of a pass of a `for` loop, or the end of the loop."""
        enter, leave = VERDICTS["loop"][True], VERDICTS["loop"][False]
        if self.peek() == leave:
            self.take()
            return [Fact("end", "", "")]
        targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
        facts = [parse.fact(self.take()) for _ in targets]
        line = self.take()
        if line != enter:
            facts.append(Fact("text", line, ""))
        if isinstance(node.iter, ast.Call) and facts[0].kind == "state":
            try:
                shown = substituted(node.iter, names)
            except Unclear:  # Python reads the range once; a pass may change the variables
                shown = ast.unparse(node.iter)
            facts[0] = Fact("each", shown, f"{facts[0].left} = {facts[0].right}")
        return facts

    def said(self, node: ast.stmt) -> list[Fact]:
        """Read the lines that say what a statement did."""
        target = getattr(node, "target", None) or getattr(node, "targets", [None])[0]
        returns = isinstance(node, ast.Return)
        facts = []
        while self.peek().startswith((NOW, SO)):
            line = self.take()
            text = line.removeprefix(NOW).removeprefix(SO)
            name, *sides = parse.split(text, " = ")
            fact = parse.fact(text)
            if len(sides) == 2 and target and line.startswith(NOW) and name == ast.unparse(target):
                fact = Fact("calc", *sides)
            elif line.startswith(SO) != (returns or fact.kind == "calc") or (
                    fact.kind == "calc" and target):
                fact = Fact("text", line, "")
            facts.append(fact)
        return facts


@lru_cache(maxsize=1024)  # a text recites the same few lines again and again
def statement(code: str) -> ast.stmt | None:
    """The syntax tree of one line of a rule; None if it is none, or longer than CODE_LIMIT."""
    if len(code) > CODE_LIMIT:
        return None
    text = re.sub(r"^elif\b", "if", code)
    try:
        return ast.parse(f"{text} pass" if text.endswith(":") else text).body[0]
    except (SyntaxError, ValueError, IndexError, RecursionError, MemoryError):
        return None
