"""Inference of the kind of value that each variable of a rule holds.

A rule has no annotations, but sentences about it need the kinds: `s[0]` is a character of a text
or an item of a list, and `x += y` adds to a number or appends to a text. The arguments' kinds come
from sample values. A few passes over the syntax tree find the other kinds, from the literals, the
methods and the variables that share a statement.

A kind is "number", "truth", "character", "text", ("list", kind of its items), ("table", kind of
its entries), ("tuple", None), or None if the text does not determine it.
"""

import ast
from collections.abc import Mapping, Sequence

Kind = str | tuple | None

LIST = ("list", None)
TABLE = ("table", None)
PASSES = 8  # at most; each carries the known kinds one assignment further

_FUNCTIONS = {"abs": "number", "bool": "truth", "chr": "character", "dict": TABLE,
              "divmod": ("tuple", "number"), "int": "number", "len": "number", "list": LIST,
              "ord": "number", "range": ("list", "number"), "str": "text", "tuple": LIST}
_METHODS = {"count": "number", "endswith": "truth", "find": "number", "index": "number",
            "join": "text", "lower": "text", "lstrip": "text", "replace": "text",
            "rstrip": "text", "split": ("list", "text"), "startswith": "truth", "strip": "text",
            "upper": "text", "isalnum": "truth", "isalpha": "truth", "isdigit": "truth",
            "islower": "truth", "isupper": "truth"}
_OF_LISTS = {"append", "extend", "insert", "pop", "remove", "reverse", "sort"}
_OF_TEXTS = set(_METHODS) - {"count", "index"}
_TELLING = (ast.Assign, ast.AugAssign, ast.BinOp, ast.Call, ast.Compare, ast.For, ast.Return)


def is_text(kind: Kind) -> bool:
    """Is this a text, of any length?"""
    return kind in ("text", "character")


def inner(kind: Kind) -> Kind:
    """The kind of a container's items."""
    if is_text(kind):
        return "character"
    return kind[1] if isinstance(kind, tuple) else None


def of_values(values: Sequence) -> Kind:
    """The kind that all values share; None if they differ, or if there are no values."""
    types = {type(value) for value in values}
    if types == {list}:
        return ("list", of_values([item for value in values for item in value]))
    if types == {dict}:
        return ("table", of_values([entry for value in values for entry in value.values()]))
    names = {bool: "truth", int: "number", str: "text", tuple: ("tuple", None)}
    return names.get(types.pop()) if len(types) == 1 else None


def infer(module: ast.Module, given: Mapping[str, Kind]) -> dict[str, dict[str, Kind]]:
    """Infer the kinds of the variables of a rule.

    Args:
        given: The kinds of the rule's arguments, as far as they are known.

    Returns:
        Function name -> variable -> kind; each function has the tables among its variables.
    """
    tables = {node.targets[0].id: of(node.value, {}) for node in module.body
              if isinstance(node, ast.Assign)}
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    scopes = {function.name: _Scope(tables, function) for function in functions}
    for scope in scopes.values():
        scope.helpers = scopes
    scopes[functions[-1].name].kinds |= given
    nodes = [(scopes[function.name], node) for function in functions
             for node in ast.walk(function) if isinstance(node, _TELLING)]
    known = None
    for _ in range(PASSES):
        if known == (known := [(dict(one.kinds), one.returns) for one in scopes.values()]):
            break  # another pass would learn nothing
        for scope, node in nodes:
            scope.learn(node)
    return {name: scope.kinds for name, scope in scopes.items()}


def of(node: ast.expr, kinds: dict[str, Kind]) -> Kind:
    """The kind of an expression's value."""
    match node:
        case ast.Constant(value=bool()):
            return "truth"
        case ast.Constant(value=int()):
            return "number"
        case ast.Constant(value=str(value)):
            return "character" if len(value) == 1 else "text"
        case ast.Name(id=name):
            return kinds.get(name)
        case ast.List(elts=parts):
            return ("list", merge(*[of(part, kinds) for part in parts]))
        case ast.Tuple():
            return ("tuple", None)
        case ast.Dict(values=values):
            return ("table", merge(*[of(value, kinds) for value in values]))
        case ast.Subscript(value=value, slice=ast.Slice()):
            kind = of(value, kinds)
            return "text" if is_text(kind) else kind
        case ast.Subscript(value=value):
            return inner(of(value, kinds))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            kind = merge(of(left, kinds), of(right, kinds))
            return "text" if is_text(kind) else kind
        case ast.BinOp(left=left, right=right):
            texts = is_text(of(left, kinds)) or is_text(of(right, kinds))
            return "text" if texts else "number"
        case ast.UnaryOp(op=ast.Not()) | ast.Compare():
            return "truth"
        case ast.UnaryOp():
            return "number"
        case ast.BoolOp(values=values):
            return merge(*[of(value, kinds) for value in values])
        case ast.IfExp(body=body, orelse=orelse):
            return merge(of(body, kinds), of(orelse, kinds))
        case ast.Call():
            return _of_call(node, kinds)
    return None


def _of_call(node: ast.Call, kinds: dict[str, Kind]) -> Kind:
    match node:
        case ast.Call(func=ast.Name(id="max" | "min"), args=arguments):
            parts = [of(argument, kinds) for argument in arguments]
            return merge(*parts) if len(parts) > 1 else inner(parts[0])
        case ast.Call(func=ast.Name(id="list"), args=[argument]):
            return ("list", inner(of(argument, kinds)))
        case ast.Call(func=ast.Name(id=name)):
            return _FUNCTIONS.get(name)
        case ast.Call(func=ast.Attribute(value=value, attr="pop")):
            return inner(of(value, kinds))
        case ast.Call(func=ast.Attribute(value=value, attr="get"), args=arguments):
            return merge(inner(of(value, kinds)), *[of(one, kinds) for one in arguments[1:]])
        case ast.Call(func=ast.Attribute(attr=attr)):
            return _METHODS.get(attr)
    return None


def merge(*several: Kind) -> Kind:
    """The kind that covers all of these; the first one if they do not fit together."""
    result = None
    for kind in several:
        if result is None:
            result = kind
        elif is_text(result) and is_text(kind) and result != kind:
            result = "text"
        elif isinstance(result, tuple) and isinstance(kind, tuple) and result[0] == kind[0]:
            result = (result[0], merge(result[1], kind[1]))
    return result


class _Scope:
    """The kinds of the variables of one function, learned from its nodes."""

    def __init__(self, tables: dict[str, Kind], function: ast.FunctionDef):
        self.kinds: dict[str, Kind] = dict(tables)
        self.arguments = [argument.arg for argument in function.args.args]
        self.returns: Kind = None
        self.helpers: dict[str, _Scope] = {}

    def of(self, node: ast.expr) -> Kind:
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in self.helpers:
            return self.helpers[node.func.id].returns
        return of(node, self.kinds)

    def put(self, node: ast.expr, kind: Kind) -> None:
        """Note that an expression is of this kind, for the variables in it."""
        match node:
            case ast.Name(id=name):
                self.kinds[name] = merge(self.kinds.get(name), kind)
            case ast.Subscript(value=value, slice=ast.Slice()):
                self.put(value, kind)
            case ast.Subscript(value=value):
                container = self.of(value)
                if isinstance(container, tuple):
                    self.put(value, (container[0], kind))
            case ast.Call(func=ast.Attribute(value=value, attr="pop" | "get")):
                container = self.of(value)
                if isinstance(container, tuple):
                    self.put(value, (container[0], kind))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                self.put(left, kind)
                self.put(right, kind)

    def same(self, *nodes: ast.expr) -> None:
        """Note that these expressions are of the same kind."""
        kind = merge(*[self.of(node) for node in nodes])
        for node in nodes:
            self.put(node, kind)

    def learn(self, node: ast.AST) -> None:
        """Learn from one node of the syntax tree."""
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, value in zip(targets, values, strict=True):
                    self.same(target, value)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
                self.put(value, ("tuple", None))
            case ast.Assign(targets=[ast.Subscript(value=table)]) if self.of(table) is None:
                self.put(table, LIST)
            case ast.Assign(targets=[target], value=value):
                self.same(target, value)
            case ast.AugAssign(target=ast.Subscript(value=table)) if self.of(table) is None:
                self.put(table, LIST)
            case ast.AugAssign(target=target, op=ast.Add(), value=value):
                self.same(target, value)
            case ast.AugAssign(target=target):
                self.put(target, "number")
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                self.same(left, right)
            case ast.BinOp(op=ast.Sub() | ast.FloorDiv() | ast.Mod()):
                self.put(node.left, "number")
                self.put(node.right, "number")
            case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[right]):
                if is_text(self.of(right)):
                    self.put(left, "character")
                elif isinstance(self.of(right), tuple) and self.of(right)[0] == "list":
                    self.put(right, ("list", self.of(left)))
            case ast.Compare(left=left, comparators=parts):
                self.same(left, *parts)
            case ast.For(target=ast.Name() as target, iter=iterated):
                held = self.of(iterated)
                if not (isinstance(held, tuple) and held[0] == "table"):
                    self.put(target, inner(held))
            case ast.Return(value=value):
                self.returns = merge(self.returns, self.of(value))
            case ast.Call():
                self.learn_call(node)

    def learn_call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in self.helpers:
                helper = self.helpers[name]
                for argument, parameter in zip(arguments, helper.arguments, strict=True):
                    kind = merge(helper.kinds.get(parameter), self.of(argument))
                    helper.kinds[parameter] = kind
                    self.put(argument, kind)
            case ast.Call(func=ast.Name(id="max" | "min"), args=arguments) if len(arguments) > 1:
                self.same(*arguments)
            case ast.Call(func=ast.Name(id="ord"), args=[argument]):
                self.put(argument, "character")
            case ast.Call(func=ast.Attribute(value=value, attr="append" | "insert")):
                self.put(value, LIST)
                self.put(value, ("list", self.of(node.args[-1])))
                self.put(node.args[-1], inner(self.of(value)))
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in _OF_LISTS:
                if self.of(value) is None:
                    self.put(value, LIST)
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in _OF_TEXTS:
                self.put(value, self.of(value) or "text")
