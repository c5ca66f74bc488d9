"""The paper's wording of a trace: its words, and the way back from text to steps (Appendix).

The same steps as in the kit's wording, said at greater length: numbered parts (initialise, each
loop, return), a heading for every iteration, the variables that a line reads shown before it, and
`now, x = expression = value` behind it.

    while n > 0:
    n = 2
    enter the loop
    2.1 One iteration
    n -= 1
    n = 2
    now, n = 2 - 1 = 1

Standard library and evaluator alone: `replay.py` reads texts with it, so it knows no tracer.
"""

import ast
import re
from functools import lru_cache
from typing import NamedTuple

from metarfft_core.tracing import parse
from metarfft_core.tracing.evaluator import Unclear, literal, substituted, truth
from metarfft_core.tracing.steps import ANSWER, Fact, Step

NOW, SO = "now, ", "so, "
"""How a line begins that says what changed, or what was computed and changed nothing yet."""
UNSET = " is not set"
"""What stands behind a variable that a line names and that has no value yet."""
VERDICTS = {
    "loop": {True: "enter the loop", False: "do not enter"},
    "branch": {True: "enter the branch", False: "do not enter"},
    "choice": {True: "the condition holds", False: "the condition does not hold"},
}
"""How the verdict of a loop, a branch and a conditional expression reads."""

_HEADING = re.compile(r"\d+(\.\d+)*\.? [A-Z]\w*( \w+)?")


class Heading(NamedTuple):
    """The heading above a line when it is reached, and the one of each pass of a loop."""

    above: str = ""
    each: str = ""


def headings(module: ast.Module) -> dict[int, Heading]:
    """The headings of a rule, by line: its functions, loops and returns have some."""
    found: dict[int, Heading] = {}

    def loops(statements: list[ast.stmt], prefix: str) -> int:
        """Number the loops in these statements; returns how many there are."""
        count = 0
        for node in _flat(statements):
            if isinstance(node, (ast.While, ast.For)):
                count += 1
                number = f"{prefix}{count + 1}"
                inside = loops(node.body, f"{number}.")
                title = "Inner loop" if prefix else "Outer loop" if inside else "Main loop"
                above = f"{number}{'' if prefix else '.'} {title}"
                found[node.lineno] = Heading(above, f"{number}.1 One iteration")
        return count

    for function in module.body:
        if isinstance(function, ast.FunctionDef):
            found[function.lineno] = Heading("1. Initialize")
            last = loops(function.body, "") + 2
            for node in ast.walk(function):
                if isinstance(node, ast.Return):
                    found[node.lineno] = Heading(f"{last}. Return")
    return found


def _flat(statements: list[ast.stmt]):
    """These statements and those in their branches, but not what stands in a loop of them."""
    for node in statements:
        yield node
        if isinstance(node, ast.If):
            yield from _flat(node.body)
            yield from _flat(node.orelse)


def tables(module: ast.Module) -> dict[str, object]:
    """The tables of a rule's text, by name."""
    return {node.targets[0].id: ast.literal_eval(node.value) for node in module.body
            if isinstance(node, ast.Assign)}


def reads(node: ast.stmt, known: set[str]) -> list[str]:
    """The variables that a line reads, in the order of the text, without tables and functions.

    A loop's targets are stated as its items, in every pass, so they are left out.
    """
    match node:
        case ast.Return(value=None):  # no rule has one, but a text may
            return []
        case ast.If(test=value) | ast.While(test=value) | ast.Return(value=value):
            parts = [value]
        case ast.For(iter=value):
            parts = [value]
        case ast.Assign(targets=[target], value=value):
            parts = [*_indexes(target), value]
        case ast.AugAssign(target=target, value=value):
            parts = [target, value]
        case ast.Expr(value=value):
            parts = [value]
        case _:
            return []
    known = known | {part.id for part in ast.walk(getattr(node, "target", ast.Tuple([])))
                     if isinstance(node, ast.For) and isinstance(part, ast.Name)}
    called = {part.func.id for value in parts for part in ast.walk(value)
              if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)}
    names = [part for value in parts for part in ast.walk(value)
             if isinstance(part, ast.Name) and part.id not in known | called]
    return list(dict.fromkeys(part.id for part in sorted(names, key=lambda part: part.col_offset)))


def _indexes(target: ast.expr) -> list[ast.expr]:
    if isinstance(target, ast.Subscript):
        return [*_indexes(target.value), target.slice]
    return []


# --- from text to steps

class Block(NamedTuple):
    """One step of a text, with the headings above it and the variables that it shows as read."""

    headings: tuple[str, ...]
    step: Step
    reads: tuple[Fact, ...]
    end: int  # the number of its last line in the text, from 1


def steps(rule: str, completion: str) -> tuple[list[Step], str | None]:
    """The steps of a completion in the paper's wording, as `parse.steps` gives them of the kit's,
    and the answer that it ends with (else None); `rule` is the text of the rule.

    This wording does not state the range of a loop: it is made of the variables shown in a pass.
    """
    found, last = blocks(rule, completion)
    answer = last.removeprefix(ANSWER) if last.startswith(ANSWER) else None
    return [block.step for block in found], answer


def blocks(rule: str, completion: str) -> tuple[list[Block], str]:
    """The steps of a completion, and its last line, which should state the answer."""
    *lines, last = completion.split("\n")
    reader = _Reader(ast.parse(rule), lines)
    found = []
    while reader.position < len(lines):
        found.append(reader.block())
    return found, last


class _Reader:
    """Reads blocks from lines; what it cannot make out becomes a fact of kind "text"."""

    def __init__(self, module: ast.Module, lines: list[str]):
        self.tables = tables(module)
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
        names = reads(node, set(self.tables)) if node else []
        if isinstance(node, ast.FunctionDef):
            shown, facts = [], [parse.fact(self.take()) for _ in node.args.args]
        else:
            shown = [parse.fact(self.take()) for _ in names]
            facts = self.facts(node, self.values(shown)) if node else []
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

    def facts(self, node: ast.stmt, names: dict[str, object]) -> list[Fact]:
        match node:
            case ast.If(test=ast.Constant()) | ast.While(test=ast.Constant()):
                return []
            case ast.If(test=test):
                return [self.test(test, names, "branch")]
            case ast.While(test=test):
                return [self.test(test, names, "loop")]
            case ast.For():
                return self.items(node, names)
            case ast.Assign(value=ast.IfExp(test=test)):
                return [self.test(test, names, "choice"), *self.said(node)]
            case ast.Return(value=ast.Name(id=name)) if name in names:
                return [Fact("state", name, repr(names[name]))]
            case ast.Assign() | ast.AugAssign() | ast.Expr() | ast.Return():
                return self.said(node)
        return []

    def test(self, test: ast.expr, names: dict[str, object], what: str) -> Fact:
        """A verdict, with the condition that the shown variables make of it."""
        line = self.take()
        for verdict, words in VERDICTS[what].items():
            if line == words:
                try:
                    return Fact("test", truth(test, names)[0], str(verdict))
                except Unclear as error:
                    return Fact("text", str(error), "")
        return Fact("text", line, "")

    def items(self, node: ast.For, names: dict[str, object]) -> list[Fact]:
        """What a pass of a `for` loop gives, or its end."""
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
                shown = ast.unparse(substituted(node.iter, names))
            except Unclear:  # the range is looked up once, and a pass may change what it read
                shown = ast.unparse(node.iter)
            facts[0] = Fact("each", shown, f"{facts[0].left} = {facts[0].right}")
        return facts

    def said(self, node: ast.stmt) -> list[Fact]:
        """The lines that say what a statement did."""
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
    """The syntax tree of one line of a rule, or None."""
    text = re.sub(r"^elif\b", "if", code)
    try:
        return ast.parse(f"{text} pass" if text.endswith(":") else text).body[0]
    except (SyntaxError, ValueError, IndexError, RecursionError, MemoryError):
        return None
