"""The form in which a trace shows what a line reads: templates and the code of their values."""

import ast
import re
from typing import NamedTuple

from metarfft_core.tracing.expressions import is_place, is_reading

_CONTAINERS = frozenset((str, list, dict, tuple))


def is_value(value: object) -> str:
    """The text for a bare variable in a condition: empty, not empty, or the value itself."""
    if value.__class__ in _CONTAINERS:
        return "not empty" if value else "empty"
    return repr(value)


class Shown(NamedTuple):
    """An expression in a trace: a template and the readings that fill it."""

    template: str
    readings: list[ast.expr]


def escape(text: str) -> str:
    return text.replace("%", "%%")


def brace(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def show(node: ast.expr) -> Shown:
    """An expression as a template, with a slot for the value of every reading."""
    code, mark = ast.unparse(node), "_r"
    while mark in code:  # a string in the expression may contain anything
        mark += "r"
    substitute = _Substitute(mark)
    own = ast.parse(code, mode="eval").body  # the transformer changes what it walks
    text = escape(ast.unparse(substitute.visit(own)))
    text = re.sub(rf"({mark}\d+_) \*\*", r"(\1) **", text)  # (-3) ** 2 is not -3 ** 2
    order = [int(number) for number in re.findall(rf"{mark}(\d+)_", text)]
    return Shown(re.sub(rf"{mark}\d+_", "%s", text),
                 [substitute.readings[number] for number in order])


class _Substitute(ast.NodeTransformer):
    """Puts a name, the mark with a number, in the place of every reading."""

    def __init__(self, mark: str):
        self.mark = mark
        self.readings: list[ast.expr] = []

    def visit(self, node):
        if is_reading(node):
            self.readings.append(node)
            return ast.Name(f"{self.mark}{len(self.readings) - 1}_")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            node.args = [self.visit(argument) for argument in node.args]
            return node
        return self.generic_visit(node)


def truth(node: ast.expr) -> Shown:
    """A condition without and/or, as a trace shows it."""
    bare = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) else node
    if not is_place(bare):
        return show(node)
    place, indexes = place_of(bare)
    return Shown(f"{place} is %s", [*indexes, ast.Call(ast.Name("_is"), [bare], [])])


def place_of(node: ast.expr) -> tuple[str, list[ast.expr]]:
    """The template of a variable or element and the indexes that fill it: `nums[%s]` and [i]."""
    if isinstance(node, ast.Name):
        return node.id, []
    base, indexes = place_of(node.value)
    if isinstance(node.slice, (ast.Constant, ast.Slice)):
        return f"{base}[{escape(ast.unparse(node.slice))}]", indexes
    return f"{base}[%s]", [*indexes, node.slice]


def literal_code(node: ast.expr) -> str:
    """Code that writes an expression's value as a literal."""
    code = node.id if isinstance(node, ast.Name) else ast.unparse(node)
    if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "_is":
        return code
    if re.search(r"['\"\\{}]", code):
        return f"repr({code})"
    return f'f"{{{code}!r}}"'
