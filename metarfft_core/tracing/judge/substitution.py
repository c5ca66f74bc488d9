"""What a trace states for an expression: its text, with values in place of what it looks up."""

import ast
import copy
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from metarfft_core.tracing.judge.evaluator import evaluate, is_place, looks_up, place_of
from metarfft_core.tracing.judge.literals import BRACKETS, Unclear

_TOO_DEEP = "a value nested too deeply"


def substituted(node: ast.expr, names: dict[str, Any]) -> str:
    """The text of an expression in which every part that only looks up a value is the value."""
    pieces, parts = _template(node)
    texts = [_looked_up(part, names) for part in parts]
    if all(map(_is_atom, texts)):
        whole = list(pieces)
        whole[1::2] = texts
        return "".join(whole)
    return ast.unparse(_replaced(node, lambda part: _parsed(_looked_up(part, names))))


@lru_cache(maxsize=1024)  # a rule evaluates the same few expressions again and again
def _template(node: ast.expr) -> tuple[list[str], list[ast.expr]]:
    """The text of an expression in pieces, and the parts of it that only look up a value.

    Every second piece is the place of a part.
    """
    parts: list[ast.expr] = []

    def hole(part: ast.expr) -> ast.expr:
        parts.append(part)
        return ast.Name(f"\0{len(parts) - 1}\0")

    pieces = ast.unparse(_replaced(node, hole)).split("\0")
    return pieces, [parts[int(number)] for number in pieces[1::2]]


def _looked_up(part: ast.expr, names: dict[str, Any]) -> str:
    """The value of a part that looks it up, as text; a variable without a value stays as it is."""
    if isinstance(part, ast.Name):
        if part.id not in names:
            return part.id
        value = names[part.id]
    else:
        value = evaluate(part, names)
    try:
        return repr(value)
    except (ValueError, RecursionError, MemoryError) as error:
        raise Unclear(f"{_TOO_DEEP}: {error}") from None


def _is_atom(text: str) -> bool:
    """Does the text of a value stay the same inside any expression?

    A negative number may need parentheses, and a tuple as an index loses them. What has many
    brackets may be nested more deeply than Python can parse.
    """
    return text[0] not in "-(" and (len(text) < BRACKETS or text.count("[") + text.count("(")
                                    + text.count("{") < BRACKETS)


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unclear(f"{_TOO_DEEP}: {error}") from None


def _replaced(node: ast.expr, new: Callable[[ast.expr], ast.expr]) -> ast.expr:
    """A copy of an expression, with a new node for every part that only looks up a value."""
    if looks_up(node):
        return new(node)
    copied = copy.copy(node)
    for field, value in ast.iter_fields(node):
        if field == "func" and isinstance(value, ast.Attribute):
            method = copy.copy(value)
            method.value = _replaced(value.value, new)
            setattr(copied, field, method)
        elif field != "func" and isinstance(value, ast.expr):
            setattr(copied, field, _replaced(value, new))
        elif isinstance(value, list):
            setattr(copied, field, [_replaced(part, new) if isinstance(part, ast.expr) else part
                                    for part in value])
    return copied


def truth(node: ast.expr, names: dict[str, Any]) -> tuple[str, bool]:
    """What a trace states for a condition (only the parts evaluated), and the verdict."""
    if isinstance(node, ast.BoolOp):
        stops, parts = isinstance(node.op, ast.Or), []
        for value in node.values:
            text, verdict = truth(value, names)
            parts.append(f"({text})" if isinstance(value, ast.BoolOp) else text)
            if verdict == stops:
                break
        return (" or " if stops else " and ").join(parts), verdict
    verdict = bool(evaluate(node, names))
    node = _evaluated(node, names)
    bare = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) else node
    if is_place(bare):
        value = evaluate(bare, names)
        if isinstance(value, (str, list, tuple, dict)):
            says = "not empty" if value else "empty"
        else:
            says = repr(value)
        return f"{place_of(bare, names)} is {says}", verdict
    return substituted(node, names), verdict


def _evaluated(node: ast.expr, names: dict[str, Any]) -> ast.expr:
    """The evaluated part of a chain of comparisons that reads elements; else the node itself."""
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=ast.Compare() as chain):
            part = _evaluated(chain, names)
            return node if part is chain else ast.UnaryOp(node.op, part)
        case ast.Compare(left=left, ops=ops, comparators=parts) if any(
                isinstance(inner, ast.Subscript) or getattr(inner, "attr", "") == "get"
                for part in parts[1:] for inner in ast.walk(part)):
            for count in range(1, len(ops)):
                part = ast.Compare(left, ops[:count], parts[:count])
                if not evaluate(part, names):
                    return part
    return node
