"""A small evaluator of a rule's expressions that executes no code.

It works on syntax trees and is independent of the compiler. The judge compares a trace with its
values, and the expressions may come from any text. So sizes are limited, and the evaluator raises
`Unclear` for anything that is not an expression of a rule.
"""

import ast
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from metarfft_core.tracing.judge.literals import DIGITS, Unclear

SIZE_LIMIT = 10_000
"""The most items of a string or list that an expression builds, or of a range that it reads."""
WEIGHT_LIMIT = 100_000
"""The most items and characters of a value, those inside its items among them."""
BITS_LIMIT = 100_000
"""The most bits of a number in an intermediate result."""
TOO_LARGE = f"too large to be judged (at most {DIGITS:,} digits or {SIZE_LIMIT:,} items)"
_BEYOND = 10 ** DIGITS  # the smallest number with more digits


_OPERATIONS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right, ast.NotIn: lambda left, right: left not in right,
}
_FUNCTIONS = {"abs": abs, "bool": bool, "chr": chr, "dict": dict, "divmod": divmod, "int": int,
              "len": len, "list": list, "max": max, "min": min, "ord": ord, "range": range,
              "str": str, "tuple": tuple}
_METHODS = {
    str: {"count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit", "islower",
          "isupper", "join", "lower", "lstrip", "replace", "rstrip", "split", "startswith",
          "strip", "upper"},
    list: {"append", "extend", "insert", "pop", "remove", "reverse", "sort", "count", "index"},
    tuple: {"count", "index"},
    dict: {"get", "pop"},
}


@lru_cache(maxsize=128)  # many texts follow the same rule
def tree(rule: str) -> ast.Module:
    """The syntax tree of a rule; nobody may change it."""
    return ast.parse(rule)


def is_too_large(value: Any) -> bool:
    """Does a number have too many digits, or a string or container too many items, at any depth?

    Its time is bounded, for values that hold themselves too.
    """
    if isinstance(value, int):
        return not -_BEYOND < value < _BEYOND
    if isinstance(value, str):
        return len(value) > SIZE_LIMIT
    if isinstance(value, range):
        return False
    if _length(value) > SIZE_LIMIT:
        return True
    if not isinstance(value, dict | list | tuple | set):
        return False
    left, weight = [value], 1
    while left and weight <= WEIGHT_LIMIT:
        holder = left.pop()
        inside = [*holder, *holder.values()] if isinstance(holder, dict) else holder
        weight += len(holder) + len(inside)
        for item in inside:
            if isinstance(item, int):
                if not -_BEYOND < item < _BEYOND:
                    return True
            elif isinstance(item, str):
                weight += len(item)
            elif isinstance(item, dict | list | tuple | set):
                left.append(item)
            else:
                weight += _length(item)
    return weight > WEIGHT_LIMIT


def _length(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 0


def evaluate(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of an expression; raises Unclear if it has none or is too large."""
    try:
        compute, is_measured = _computing(node)
        value = compute(names)
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError,
            RecursionError, MemoryError) as error:
        raise Unclear(str(error)) from None
    if not is_measured and is_too_large(value):
        raise Unclear(TOO_LARGE)
    return value


Compute = Callable[[dict[str, Any]], Any]
"""Computes the value of an expression from the variables, by name."""


@lru_cache(maxsize=4096)  # a rule evaluates the same few expressions again and again
def _computing(node: ast.expr) -> tuple[Compute, bool]:
    """What computes an expression, and whether its value was measured when it was stored."""
    return _compute(node), is_place(node)


def _compute(node: ast.expr) -> Compute:
    match node:
        case ast.Constant(value=value):
            return lambda names: value
        case ast.Name(id=name):
            return operator.itemgetter(name)
        case ast.Compare():
            return _compare(node)
        case ast.Subscript(value=value, slice=ast.Slice(lower=lower, upper=upper, step=step)):
            owner, parts = _compute(value), [part and _compute(part)
                                             for part in (lower, upper, step)]
            return lambda names: _cut(names, parts, owner)
        case ast.Subscript(value=value, slice=index):
            owner, index = _compute(value), _compute(index)
            return lambda names: owner(names)[index(names)]
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(type(op), _compute(left), _compute(right))
        case ast.BoolOp(op=op, values=values):
            return _joined(isinstance(op, ast.Or), [_compute(part) for part in values])
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            one = _compute(operand)
            return lambda names: -one(names)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            one = _compute(operand)
            return lambda names: not one(names)
        case ast.List(elts=elements):
            parts = [_compute(part) for part in elements]
            return lambda names: [part(names) for part in parts]
        case ast.Tuple(elts=elements):
            parts = [_compute(part) for part in elements]
            return lambda names: tuple(part(names) for part in parts)
        case ast.Dict(keys=keys, values=values):
            pairs = [(_compute(key), _compute(value))
                     for key, value in zip(keys, values, strict=True)]
            return lambda names: {key(names): value(names) for key, value in pairs}
        case ast.IfExp(test=test, body=body, orelse=orelse):
            test, body, orelse = map(_compute, (test, body, orelse))
            return lambda names: (body if test(names) else orelse)(names)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            parts = [_compute(argument) for argument in arguments]
            return lambda names: _call(name, [part(names) for part in parts])
        case ast.Call(func=ast.Attribute(value=value, attr=attr), args=arguments, keywords=[]):
            owner, parts = _compute(value), [_compute(argument) for argument in arguments]
            return lambda names: _call_method(names, owner(names), attr, parts)
    return lambda names: _refuse(node)


def _refuse(node: ast.AST) -> None:
    raise Unclear(f"not an expression of a rule: {ast.unparse(node)}")


def _operation(op: type) -> Callable[[Any, Any], Any]:
    """The operation of an operator; one that no rule has fails when it is carried out."""
    return _OPERATIONS.get(op, lambda left, right: _OPERATIONS[op])


def _compare(node: ast.Compare) -> Compute:
    left = _compute(node.left)
    steps = [(_operation(type(op)), _compute(part))
             for op, part in zip(node.ops, node.comparators, strict=True)]
    if len(steps) == 1:
        (operation, right), = steps
        return lambda names: bool(operation(left(names), right(names)))

    def chain(names: dict[str, Any]) -> bool:
        one = left(names)
        for operation, part in steps:
            two = part(names)
            if not operation(one, two):
                return False
            one = two
        return True

    return chain


def _cut(names: dict[str, Any], parts: list[Compute | None], owner: Compute) -> Any:
    bounds = slice(*[part and part(names) for part in parts])
    return owner(names)[bounds]


def _joined(stops: bool, parts: list[Compute]) -> Compute:
    """The value of a chain of and/or; `stops` is the verdict that ends it."""
    def compute(names: dict[str, Any]) -> Any:
        for part in parts:
            value = part(names)
            if bool(value) == stops:
                break
        return value

    return compute


def _call(name: str, values: list[Any]) -> Any:
    _refuse_long_ranges(values)
    return _FUNCTIONS[name](*values)


def _call_method(names: dict[str, Any], owner: Any, attr: str, parts: list[Compute]) -> Any:
    if attr not in _METHODS.get(type(owner), ()):
        raise Unclear(f"no method {attr}")
    values = [part(names) for part in parts]
    _refuse_long_ranges(values)
    _refuse_growth(owner, attr, values)
    value = getattr(owner, attr)(*values)
    if is_too_large(owner):
        raise Unclear(TOO_LARGE)
    return value


def _refuse_long_ranges(arguments: list[Any]) -> None:
    """Refuse long ranges as arguments: a function may read all items, a loop may stop early."""
    for value in arguments:
        if isinstance(value, range) and _length(value) > SIZE_LIMIT:
            raise Unclear(TOO_LARGE)


def _refuse_growth(owner: Any, attr: str, arguments: list[Any]) -> None:
    """Refuse a `join` or `replace` that writes a long text many times."""
    written = 0
    match attr, arguments:
        case "join", [items]:
            written = len(owner) * _length(items)
        case "replace", [str(old), str(new), *_]:
            written = owner.count(old) * len(new)
    if written > WEIGHT_LIMIT:
        raise Unclear(TOO_LARGE)


def _binary(op: type, left: Compute, right: Compute) -> Compute:
    operation = _operation(op)
    if op not in (ast.Mod, ast.Mult, ast.Pow):
        return lambda names: operation(left(names), right(names))

    def compute(names: dict[str, Any]) -> Any:
        one, two = left(names), right(names)
        _refuse_growing(op, one, two)
        return operation(one, two)

    return compute


def _refuse_growing(op: type, left: Any, right: Any) -> None:
    """Refuse formatting, and a product or power that is too large."""
    if op is ast.Mod and isinstance(left, str | bytes):
        raise Unclear("a text before %: rules have no formatting")
    numbers = isinstance(left, int) and isinstance(right, int)
    if op is ast.Pow and numbers and (left.bit_length() - 1) * abs(right) > BITS_LIMIT:
        raise Unclear(TOO_LARGE)
    if op is ast.Mult and numbers and left.bit_length() + right.bit_length() > BITS_LIMIT:
        raise Unclear(TOO_LARGE)
    if op is ast.Mult and not numbers:
        for value, times in ((left, right), (right, left)):
            if isinstance(times, int) and _length(value) * times > SIZE_LIMIT:
                raise Unclear(TOO_LARGE)


def looks_up(node: ast.expr) -> bool:
    match node:
        case ast.Name():
            return True
        case ast.Subscript(value=value) | ast.Call(func=ast.Name(id="len"), args=[value]):
            return looks_up(value)
        case ast.Call(func=ast.Attribute(value=value, attr="get")):
            return looks_up(value)
    return False


def is_place(node: ast.expr) -> bool:
    """Is this a variable, or an element or a slice of one?"""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Subscript) and is_place(node.value))


@lru_cache(maxsize=1024)
def is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError):  # a dict may have a list as a key
        return False
    return True


class Place(NamedTuple):
    """A variable or an element, with the container and key that the line looked up."""

    text: str
    container: Any  # for a variable, the dict of variables
    key: Any

    @property
    def value(self) -> Any:
        return self._try(operator.getitem)

    def put(self, value: Any) -> None:
        self._try(operator.setitem, value)

    def _try(self, operation, *values: Any) -> Any:
        try:
            return operation(self.container, self.key, *values)
        except (TypeError, LookupError) as error:
            raise Unclear(str(error)) from None


def place_at(node: ast.expr, names: dict[str, Any]) -> Place:
    """The place that a target or a container names now; later changes do not move it."""
    if isinstance(node, ast.Name):
        return Place(node.id, names, node.id)
    if not is_place(node) or isinstance(node.slice, ast.Slice):
        raise Unclear(f"nothing can be stored at {ast.unparse(node)}")
    return Place(place_of(node, names), evaluate(node.value, names), evaluate(node.slice, names))


def place_of(node: ast.expr, names: dict[str, Any]) -> str:
    """A variable or an element as text, with the value of each index."""
    if isinstance(node, ast.Name):
        return node.id
    inside = (ast.unparse(node.slice) if isinstance(node.slice, ast.Slice)
              else repr(evaluate(node.slice, names)))
    return f"{place_of(node.value, names)}[{inside}]"
