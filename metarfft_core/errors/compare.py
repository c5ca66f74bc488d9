"""The comparison of two steps of the same line: the first fact that differs, and its kind.

White space outside strings and the spelling of literals do not count as differences.
"""

import ast
import re
from itertools import zip_longest

from metarfft_core.errors.reading import SIZE_LIMIT, Unit
from metarfft_core.tracing.judge.literals import Unclear, is_readable, literal, normal
from metarfft_core.tracing.steps import Fact

_STRING = re.compile(r"""('(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?)""", re.DOTALL)

_BLANKS = re.compile(r"\s+")
_NEXT_TO_A_SIGN = re.compile(r" (?=[^\w ])|(?<=[^\w ]) ")


def squeeze(text: str) -> str:
    """A text without insignificant white space; strings in it stay unchanged."""
    parts = _STRING.split(text[:SIZE_LIMIT])
    for number in range(0, len(parts), 2):  # the other parts are strings
        parts[number] = _NEXT_TO_A_SIGN.sub("", _BLANKS.sub(" ", parts[number]))
    return "".join(parts).strip()


def value(text: str) -> str | None:
    """A literal as Python spells it; None if the text is not a literal."""
    if len(text) > SIZE_LIMIT:
        return None
    try:
        return repr(literal(text.strip()))
    except (Unclear, ValueError, RecursionError):  # a huge number has no decimal digits
        return None


def same_line(one: str, two: str) -> bool:
    """Is the difference between two lines harmless?"""
    return one == two or squeeze(one) == squeeze(two)


def difference(want: Unit, got: Unit, loops: bool) -> str | None:
    """The kind of the first difference between two steps of one line; None if they agree.

    Args:
        loops: Whether the line is the header of a loop.
    """
    if [*map(squeeze, got.headings)] != [*map(squeeze, want.headings)]:
        return "format"
    for one, two in zip_longest(want.shown, got.shown):
        if kind := _fact(one, two, False):
            return kind
    for one, two in zip_longest(want.facts, got.facts):
        if kind := _fact(one, two, loops):
            return kind
    return None


def _fact(want: Fact | None, got: Fact | None, loops: bool) -> str | None:
    if want is None or got is None:
        return "format"
    if loops and want.kind == "end" and got.kind in ("state", "each"):
        return "loop_not_left"
    if loops and got.kind == "end" and want.kind in ("state", "each"):
        return "loop_left_early"
    if want.kind != got.kind:
        return "format"
    if want.kind == "test":
        return _test(want, got, loops)
    if want.kind == "end" or want == got:
        return None
    return _copied(want, got)


def _test(want: Fact, got: Fact, loops: bool) -> str | None:
    if want.right == got.right:
        return None if _expression(want.left) == _expression(got.left) else _misread(got.left)
    if loops:
        return "loop_left_early" if want.right == "True" else "loop_not_left"
    return "wrong_branch" if _same_operands(want.left, got.left) else _misread(got.left)


def _copied(want: Fact, got: Fact) -> str | None:
    """The kind of a difference between two facts that state values."""
    if want.kind == "state" and squeeze(want.left) != squeeze(got.left):
        same_name = want.left.partition("[")[0] == got.left.partition("[")[0]
        return "wrong_copy" if same_name else "format"
    if want.kind != "state" and _expression(want.left) != _expression(got.left):
        return _misread(got.left)
    name, wanted = _item(want)
    other, item = _item(got)
    if item is None or name != other:
        return "format"
    if item == wanted:
        return None
    return "wrong_arithmetic" if want.kind == "calc" else "wrong_copy"


def _item(fact: Fact) -> tuple[str, str | None]:
    """The name of the next item, if the fact states one, and the value that it states."""
    if fact.kind != "each":
        return "", value(fact.right)
    name, _, right = fact.right.partition(" = ")
    return name.strip(), value(right)


def _expression(text: str) -> str | None:
    """An expression's syntax, so that spelling does not count; None if it cannot be read."""
    try:
        return normal(text) if len(text) <= SIZE_LIMIT else None
    except Unclear:
        return None


def _misread(left: str) -> str:
    return "format" if _expression(left) is None else "wrong_copy"


def _same_operands(want: str, got: str) -> bool:
    """Do two conditions state the same operands, as far as both state them?

    Whether a variable is empty is a verdict, not an operand. A wrong verdict on one part of a
    condition changes whether the next part is evaluated.
    """
    parts = [[_expression(part.replace(" is not empty", " is empty")) for part in _parts(text)]
             for text in (want, got)]
    return all(one is not None and one == two for one, two in zip(*parts, strict=False))


def _parts(condition: str) -> list[str]:
    """The conditions that and/or join in this one; the text itself if it cannot be read."""
    try:
        if not is_readable(condition):
            return [condition]
        node = ast.parse(condition[:SIZE_LIMIT].strip(), mode="eval").body
        return [ast.unparse(part) for part in _joined(node)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [condition]


def _joined(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BoolOp):
        return [part for value in node.values for part in _joined(value)]
    return [node]
