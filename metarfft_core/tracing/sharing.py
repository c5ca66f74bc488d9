"""An analysis of which names of a rule may refer to the same list, tuple or dict.

`row = grid[0]` gives a part of `grid` a second name, and a change through one name is visible
through the other. The results hold for every execution: the analysis tells objects apart by the
expressions that make them, and a name may refer to every object that any line gives it, in any
order (Andersen's points-to analysis). Numbers and texts do not count as objects here.
"""

import ast
from collections.abc import Iterator

from metarfft_core.tracing.expressions import helper_of, mutating_call, refuse

_IN_PLACE = (ast.Add, ast.Mult)  # += and *= change a list in place
_COPIES = {"list", "tuple"}


class Object:
    """A list, tuple or dict: made by an expression, held by a table, or given as an argument."""

    def __init__(self, table: str = "", changeable: bool = True):
        self.table = table  # the name of the table that it belongs to
        self.changeable = changeable  # False for a tuple
        self.holds: set[Object] = set()


Objects = set[Object]


class Sharing:
    """The objects that each name of a rule's functions may refer to."""

    def __init__(self, module: ast.Module):
        self.functions = {node.name: node for node in module.body
                          if isinstance(node, ast.FunctionDef)}
        self.tables = {node.targets[0].id: _of_literal(node.value, node.targets[0].id)
                       for node in module.body if isinstance(node, ast.Assign)}
        self.names: dict[str, dict[str, Objects]] = {name: {} for name in self.functions}
        self.returned: dict[str, Objects] = {name: set() for name in self.functions}
        self.made: dict[ast.AST, Object] = {}
        *_, rule = self.functions.values()
        for argument in rule.args.args:
            given = Object()
            given.holds = {given}  # of any depth
            self.names[rule.name][argument.arg] = {given}
        nodes = [(_Scope(self, name), node) for name, function in self.functions.items()
                 for node in ast.walk(function) if isinstance(node, ast.stmt | ast.Call)]
        size = -1
        while size != (size := self._size()):
            for scope, node in nodes:
                scope.learn(node)

    def _size(self) -> int:
        found = [one for names in self.names.values() for one in names.values()]
        found += self.returned.values()
        found += [made.holds for made in self.made.values()]
        found += [one.holds for names in self.names.values() for objects in names.values()
                  for one in objects]
        return sum(map(len, found))

    def changed(self, function: str, node: ast.stmt) -> Objects:
        """The objects that a statement itself may change, without those that its helper changes."""
        return {one for one in _Scope(self, function).changed(node) if one.changeable}

    def may_be_list(self, function: str, node: ast.expr) -> bool:
        """Can this expression be a list, as far as the analysis knows?"""
        return any(one.changeable for one in _Scope(self, function).of(node))

    def reaches(self, function: str, node: ast.AST, objects: Objects) -> bool:
        """Can a name in `node` refer to one of these objects, or hold one at any depth?"""
        found, todo = set(), [one for part in ast.walk(node) if isinstance(part, ast.Name)
                              for one in _Scope(self, function).name(part.id)]
        while todo:
            one = todo.pop()
            if one not in found:
                found.add(one)
                todo += one.holds
        return not found.isdisjoint(objects)

    def changed_tables(self) -> Iterator[tuple[ast.stmt, str]]:
        """The statements that may change a table, each with the table's name."""
        for name, function in self.functions.items():
            for node in ast.walk(function):
                tables = {one.table for one in self.changed(name, node)} - {""}
                if tables:
                    yield node, min(tables)


def _of_literal(node: ast.expr, table: str) -> Objects:
    """The object of a table or of a part of one; none for a number or a text."""
    if not isinstance(node, (ast.List, ast.Tuple, ast.Dict)):
        return set()
    one = Object(table, not isinstance(node, ast.Tuple))
    parts = node.values if isinstance(node, ast.Dict) else node.elts
    one.holds = set().union(*[_of_literal(part, table) for part in parts])
    return {one}


def _held(objects: Objects) -> Objects:
    return set().union(*[one.holds for one in objects])


class _Scope:
    """Finds the objects that the expressions of one function may refer to."""

    def __init__(self, sharing: Sharing, function: str):
        self.sharing = sharing
        self.function = function
        self.names = sharing.names[function]

    def name(self, name: str) -> Objects:
        return self.names.get(name) or self.sharing.tables.get(name, set())

    def make(self, node: ast.AST, holds: Objects) -> Objects:
        one = self.sharing.made.setdefault(node, Object())
        one.holds |= holds
        return {one}

    def several(self, nodes: list[ast.expr]) -> Objects:
        return set().union(*map(self.of, nodes))

    def of(self, node: ast.expr) -> Objects:
        """The objects that an expression may refer to."""
        match node:
            case ast.Name(id=name):
                return self.name(name)
            case ast.Subscript(value=value, slice=ast.Slice()):
                found = self.of(value)
                return self.make(node, _held(found)) if found else found
            case ast.Subscript(value=value):
                return _held(self.of(value))
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return self.make(node, self.several(parts))
            case ast.Dict(values=values):
                return self.make(node, self.several(values))
            case ast.BoolOp(values=values):
                return self.several(values)
            case ast.IfExp(body=body, orelse=orelse):
                return self.several([body, orelse])
            case ast.BinOp(left=left, op=op, right=right):
                return self.joined(node, op, self.of(left), self.of(right))
            case ast.Call():
                return self.of_call(node)
        return set()

    def joined(self, node: ast.AST, op: ast.operator, left: Objects, right: Objects) -> Objects:
        """The object that `left + right` or `left * right` makes, if it is a list or tuple."""
        joins = (left and right) if isinstance(op, ast.Add) else (left or right)
        if not (joins and isinstance(op, _IN_PLACE)):
            return set()
        return self.make(node, _held(left | right))

    def of_call(self, node: ast.Call) -> Objects:
        if helper := helper_of(node, self.sharing.functions):
            parameters = self.sharing.functions[helper].args.args
            for parameter, argument in zip(parameters, node.args, strict=False):
                self.bind(helper, parameter.arg, self.of(argument))
            return self.sharing.returned[helper]
        match node:
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in _COPIES:
                return self.make(node, _held(self.several(arguments)))
            case ast.Call(func=ast.Name(id="dict"), args=arguments):
                held = _held(self.several(arguments))
                return self.make(node, held | _held(held))
            case ast.Call(func=ast.Name(id="divmod")) | ast.Call(func=ast.Attribute(attr="split")):
                return self.make(node, set())
            case ast.Call(func=ast.Name(id="max" | "min"), args=arguments):
                found = self.several(arguments)
                return found if len(arguments) > 1 else _held(found)
            case ast.Call(func=ast.Attribute(value=owner, attr="get" | "pop"), args=arguments):
                return _held(self.of(owner)) | self.several(arguments[1:])
        return set()

    def bind(self, function: str, name: str, objects: Objects) -> None:
        self.sharing.names[function].setdefault(name, set()).update(objects)

    def put(self, target: ast.expr, objects: Objects) -> None:
        """Note that a target may refer to these objects."""
        match target:
            case ast.Name(id=name):
                self.bind(self.function, name, objects)
            case ast.Subscript(value=value):
                for one in self.of(value):
                    one.holds |= objects

    def learn(self, node: ast.AST) -> None:
        """Note the effect of a node on names and objects."""
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, value in zip(targets, values, strict=False):
                    self.put(target, self.of(value))
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
                for target in targets:
                    self.put(target, _held(self.of(value)))
            case ast.Assign(targets=[target], value=value):
                self.put(target, self.of(value))
            case ast.AugAssign(target=target, op=op, value=value):
                left, right = self.of(target), self.of(value)
                self.put(target, self.joined(node, op, left, right))
                for one in self.changed(node) if isinstance(op, ast.Add) else ():
                    one.holds |= _held(right)
            case ast.For(target=target, iter=iterated):
                objects = _held(self.of(iterated))
                for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                    self.put(part, objects if part is target else _held(objects))
            case ast.Return(value=value):
                self.sharing.returned[self.function] |= self.of(value)
            case ast.Call(func=ast.Attribute(value=owner, attr="append" | "insert")):
                for one in self.of(owner):
                    one.holds |= self.several(node.args)
            case ast.Call(func=ast.Attribute(value=owner, attr="extend")):
                for one in self.of(owner):
                    one.holds |= _held(self.several(node.args))

    def changed(self, node: ast.AST) -> Objects:
        """The objects that a statement itself may change."""
        match node:
            case ast.AugAssign(target=target, op=op):
                found = set(self.of(target)) if isinstance(op, _IN_PLACE) else set()
                return found | (self.changed_by_store(target))
            case ast.Assign(targets=[target], value=value):
                container = mutating_call(value)
                found = self.of(container) if container is not None else set()
                return found | self.changed_by_store(target)
            case ast.Expr(value=value) if mutating_call(value) is not None:
                return self.of(mutating_call(value))
        return set()

    def changed_by_store(self, target: ast.expr) -> Objects:
        return self.of(target.value) if isinstance(target, ast.Subscript) else set()


def check(module: ast.Module) -> Sharing:
    """Refuse a rule that may change one of its tables, and so its answer to the next question.

    Returns:
        The analysis of the rule.

    Raises:
        RuleError: A line may change a table, or gives a variable the name of one.
    """
    sharing = Sharing(module)
    for function in sharing.functions.values():
        for node in ast.walk(function):
            one = getattr(node, "arg", node.id if isinstance(node, ast.Name)
                          and isinstance(node.ctx, ast.Store) else "")
            if one in sharing.tables:
                refuse(node, f"{one} is a table: give the variable another name")
    for node, table in sharing.changed_tables():
        refuse(node, f"this may change the table {table}, and with it the next answer: change a "
                     "copy under another name")
    return sharing
