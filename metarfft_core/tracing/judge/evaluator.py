"""A small evaluator of a rule's expressions that executes no code.

It works on syntax trees and is independent of the compiler. The judge compares a trace with its
values, and the expressions may come from any text. So sizes are limited, and the evaluator raises
`Unclear` for anything that is not an expression of a rule.
"""

import ast
import io
import operator
import re
import tokenize
from functools import lru_cache
from typing import Any, NamedTuple

SIZE_LIMIT = 10_000
"""The most items of a string or list that an expression builds, or of a range that it reads."""
DIGITS = 4_300
"""The most digits of a number: the limit up to which Python writes numbers."""
WEIGHT_LIMIT = 100_000
"""The most items and characters of a value, those inside its items among them."""
TEXT_LIMIT = 100_000
"""The most characters of a literal or an expression that are read."""
BITS_LIMIT = 100_000
"""The most bits of a number in an intermediate result."""
TOO_LARGE = f"too large to be judged (at most {DIGITS:,} digits or {SIZE_LIMIT:,} items)"
_BEYOND = 10 ** DIGITS  # the smallest number with more digits
_CONSTANTS = {"True": True, "False": False, "None": None}
_SHORT_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_PLAIN_STRING = re.compile(r"'[ -&(-\[\]-~]*'")  # of ASCII, without quotes and backslashes


class Unclear(Exception):
    """An expression that the evaluator cannot or will not evaluate."""


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
    left, weight = [value], 0
    while left and weight <= WEIGHT_LIMIT:
        item = left.pop()
        if isinstance(item, int):
            if not -_BEYOND < item < _BEYOND:
                return True
        elif isinstance(item, dict):
            left += [*item, *item.values()]
        elif isinstance(item, list | tuple | set):
            left += item
        weight += 1 + _length(item)
    return weight > WEIGHT_LIMIT


def _length(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 0


def evaluate(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of an expression; raises Unclear if it has none or is too large."""
    try:
        value = _evaluate(node, names)
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError,
            RecursionError, MemoryError) as error:
        raise Unclear(str(error)) from None
    if not is_place(node) and is_too_large(value):  # what is stored somewhere was measured before
        raise Unclear(TOO_LARGE)
    return value


def _evaluate(node: ast.expr, names: dict[str, Any]) -> Any:
    match node:  # the most frequent first
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.Compare(left=left, ops=ops, comparators=parts):
            one = _evaluate(left, names)
            for op, part in zip(ops, parts, strict=True):
                two = _evaluate(part, names)
                if not _OPERATIONS[type(op)](one, two):
                    return False
                one = two
            return True
        case ast.Subscript(value=value, slice=ast.Slice(lower=lower, upper=upper, step=step)):
            parts = [part and _evaluate(part, names) for part in (lower, upper, step)]
            return _evaluate(value, names)[slice(*parts)]
        case ast.Subscript(value=value, slice=index):
            return _evaluate(value, names)[_evaluate(index, names)]
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(type(op), _evaluate(left, names), _evaluate(right, names))
        case ast.BoolOp(op=op, values=values):
            for part in values:
                value = _evaluate(part, names)
                if bool(value) == isinstance(op, ast.Or):
                    break
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, names)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, names)
        case ast.List(elts=parts):
            return [_evaluate(part, names) for part in parts]
        case ast.Tuple(elts=parts):
            return tuple(_evaluate(part, names) for part in parts)
        case ast.Dict(keys=keys, values=values):
            return {_evaluate(key, names): _evaluate(value, names)
                    for key, value in zip(keys, values, strict=True)}
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _evaluate(body if _evaluate(test, names) else orelse, names)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            values = [_evaluate(argument, names) for argument in arguments]
            _refuse_long_ranges(values)
            return _FUNCTIONS[name](*values)
        case ast.Call(func=ast.Attribute(value=value, attr=attr), args=arguments, keywords=[]):
            owner = _evaluate(value, names)
            if attr not in _METHODS.get(type(owner), ()):
                raise Unclear(f"no method {attr}")
            values = [_evaluate(argument, names) for argument in arguments]
            _refuse_long_ranges(values)
            _refuse_growth(owner, attr, values)
            value = getattr(owner, attr)(*values)
            if is_too_large(owner):
                raise Unclear(TOO_LARGE)
            return value
    raise Unclear(f"not an expression of a rule: {ast.unparse(node)}")


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


def _binary(op: type, left: Any, right: Any) -> Any:
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
    return _OPERATIONS[op](left, right)


def literal(text: str) -> Any:
    """The value of a literal; raises Unclear if the text is not a literal, or too long a one.

    A comment is not part of a literal: `7 # or 8` is not a literal. Nor is `{1: 7, 1: 8}`, which
    gives two values for one key.
    """
    try:
        if not is_readable(text):
            raise Unclear(f"not a value that can be read: {text[:60]}")
        if text in _CONSTANTS:  # what most texts state need not be parsed
            return _CONSTANTS[text]
        if _SHORT_NUMBER.fullmatch(text):
            return int(text)
        if _PLAIN_STRING.fullmatch(text):
            return text[1:-1]
        value = ast.literal_eval(text)
        if len(text) > DIGITS // 2:
            repr(value)  # fails for a hexadecimal number with too many decimal digits
        if "{" in text and _repeats_a_key(text):
            raise Unclear(f"a key stands twice: {text[:60]}")
        return value
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise Unclear(f"not a value: {text[:60]}") from None


def _repeats_a_key(text: str) -> bool:
    return any(isinstance(node, ast.Dict) and len(ast.literal_eval(node)) < len(node.keys)
               for node in ast.walk(ast.parse(text.lstrip(" \t"), mode="eval")))


def is_readable(text: str) -> bool:
    """Is a text short enough to be parsed, and without a comment?"""
    return len(text) <= TEXT_LIMIT and not ("#" in text and _has_comment(text))


def _has_comment(text: str) -> bool:
    """Does Python read a part of a text as a comment? True if Python cannot read it at all."""
    try:
        return any(token.type == tokenize.COMMENT
                   for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline))
    except (tokenize.TokenError, SyntaxError):
        return True


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


def same(one: Any, two: Any) -> bool:
    """Equal in value and in type, at every depth."""
    return repr(one) == repr(two)


def normal(text: str) -> str:
    """An expression's syntax tree as text, so that spelling does not count."""
    try:
        if not is_readable(text):
            raise Unclear(f"not an expression that can be read: {text[:60]}")
        return ast.dump(ast.parse(text.strip(), mode="eval"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Unclear(f"not an expression: {text[:60]}") from None


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
