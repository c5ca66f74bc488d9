"""Tests of what an expression of a rule is: a literal, a reading, a place, a change."""

import ast
from collections.abc import Container

MUTATING = {"append", "extend", "insert", "pop", "remove", "reverse", "sort"}


class RuleError(ValueError):
    """A rule outside the subset; the message names the line and the reason."""


def refuse(node: ast.AST, reason: str):
    """Raise RuleError for the line of `node`."""
    raise RuleError(f"line {getattr(node, 'lineno', 1)}: {reason}")


def is_literal(node: ast.expr) -> bool:
    """Is this a constant, or a list, tuple or dict of literals?"""
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)):
            return type(value) is not bool and isinstance(value, int | float)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return all(map(is_literal, parts))
        case ast.Dict(keys=keys, values=values):
            return all(key is not None and is_literal(key) for key in keys) and all(
                map(is_literal, values))
    return False


def is_reading(node: ast.expr) -> bool:
    """Does this look a value up without computing anything?"""
    match node:
        case ast.Name():
            return True
        case ast.Subscript(value=value):
            return is_reading(value)
        case ast.Call(func=ast.Name(id="len"), args=[value]):
            return is_reading(value)
        case ast.Call(func=ast.Attribute(value=value, attr="get")):
            return is_reading(value)
    return False


def is_place(node: ast.expr) -> bool:
    """Is this a variable, or an element or slice of one, at any depth?"""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Subscript) and is_place(node.value))


def root(place: ast.expr) -> str:
    """The variable that a place belongs to."""
    return place.id if isinstance(place, ast.Name) else root(place.value)


def helper_of(node: ast.expr, helpers: Container[str]) -> str | None:
    """The name of the helper that a call such as `twice(n)` calls, or None."""
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in helpers:
            return name
    return None


def reads_element(node: ast.expr) -> bool:
    """Does this look up an element? If Python does not evaluate it, it need not exist."""
    return any(isinstance(part, ast.Subscript) or getattr(part, "attr", "") == "get"
               for part in ast.walk(node))


def mutating_call(node: ast.expr) -> ast.expr | None:
    """The container that a call such as `stack.pop()` changes, or None."""
    match node:
        case ast.Call(func=ast.Attribute(value=container, attr=attr)) if attr in MUTATING:
            return container
    return None
