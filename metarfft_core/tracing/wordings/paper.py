"""The words of the paper's wording of a trace (the paper's Appendix).

This wording describes the same steps as the kit's wording at greater length. It has numbered parts
(initialise, each loop, return) and a heading for every iteration. After a recited line it shows
the variables that the line reads, then `now, x = expression = value`.

    while n > 0:
    n = 2
    enter the loop
    2.1 One iteration
    n -= 1
    n = 2
    now, n = 2 - 1 = 1

The judge reads these words too, so this module imports neither the tracer nor the judge.
"""

import ast
from functools import lru_cache
from typing import NamedTuple

NOW, SO = "now, ", "so, "
"""The beginning of a line that states a change, or a result that changes nothing yet."""
UNSET = " is not set"
"""The text after the name of a variable that a line reads and that has no value yet."""
VERDICTS = {
    "loop": {True: "enter the loop", False: "do not enter"},
    "branch": {True: "enter the branch", False: "do not enter"},
    "choice": {True: "the condition holds", False: "the condition does not hold"},
}
"""The words for the verdicts of a loop, a branch and a conditional expression."""


class Heading(NamedTuple):
    """The headings of a line: `above` when the rule reaches it, `each` for each pass of a loop."""

    above: str = ""
    each: str = ""


def headings(module: ast.Module) -> dict[int, Heading]:
    """The headings of a rule, by line; functions, loops and returns have headings."""
    found: dict[int, Heading] = {}

    def loops(statements: list[ast.stmt], prefix: str) -> int:
        """Number the loops in these statements and return their count."""
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
    """These statements and those in their branches, but not those inside their loops."""
    for node in statements:
        yield node
        if isinstance(node, ast.If):
            yield from _flat(node.body)
            yield from _flat(node.orelse)


def tables(module: ast.Module) -> dict[str, object]:
    """The tables of a rule's text, by name."""
    return {node.targets[0].id: ast.literal_eval(node.value) for node in module.body
            if isinstance(node, ast.Assign)}


@lru_cache(maxsize=1024)  # a text shows the same few lines again and again
def reads(node: ast.stmt, known: frozenset[str]) -> tuple[str, ...]:
    """The variables that a line reads, in the order of the text, without tables and functions.

    The targets of a loop are left out, because every pass states them as items.
    """
    match node:
        case ast.Return(value=None):  # no rule has one, but a text may
            return ()
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
            return ()
    known = known | {part.id for part in ast.walk(getattr(node, "target", ast.Tuple([])))
                     if isinstance(node, ast.For) and isinstance(part, ast.Name)}
    called = {part.func.id for value in parts for part in ast.walk(value)
              if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)}
    left_out = known | called
    names = [part for value in parts for part in ast.walk(value)
             if isinstance(part, ast.Name) and part.id not in left_out]
    return tuple(dict.fromkeys(part.id for part in sorted(names, key=lambda part: part.col_offset)))


def _indexes(target: ast.expr) -> list[ast.expr]:
    if isinstance(target, ast.Subscript):
        return [*_indexes(target.value), target.slice]
    return []
