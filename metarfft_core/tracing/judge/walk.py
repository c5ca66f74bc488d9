"""The judge's walk through a rule along the lines of a text.

Lists and dicts are shared objects, as in Python: a change through one name is visible through
every other. The walk keeps the same objects as long as the claims are right.
"""

import ast
from collections.abc import Generator, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from metarfft_core.tracing import question as questions
from metarfft_core.tracing.judge.claims import UNREADABLE, FalseLine, Lines, Lost
from metarfft_core.tracing.judge.evaluator import (
    TOO_LARGE,
    Place,
    evaluate,
    is_literal,
    is_place,
    looks_up,
    place_at,
    place_of,
    tree,
)
from metarfft_core.tracing.judge.literals import Unclear, literal, same
from metarfft_core.tracing.judge.substitution import substituted, truth
from metarfft_core.tracing.steps import Fact


class _Return(Exception):
    def __init__(self, value: Any):
        self.value = value


class _Break(Exception):
    """Raised when the walk meets `break`."""


class _Continue(Exception):
    """Raised when the walk meets `continue`."""


class Walk:
    """Walks a rule along the lines of a text."""

    def __init__(self, rule: str, given: str | dict[str, Any], lines: Lines,
                 recitals: dict[int, str] | None = None, template: str | None = None):
        self.recitals = recitals or {number: line.strip() for number, line
                                     in enumerate(rule.split("\n"), start=1)}
        self.given = given  # the question, or the arguments themselves
        self.template = template  # of the question
        self.lines = lines
        module = tree(rule)
        self.functions = {node.name: node for node in module.body
                          if isinstance(node, ast.FunctionDef)}
        self.tables = {node.targets[0].id: ast.literal_eval(node.value) for node in module.body
                       if isinstance(node, ast.Assign)}
        self.rule = module.body[-1]

    def judge(self) -> list[FalseLine]:
        names = [argument.arg for argument in self.rule.args.args]
        if not self.lines.is_readable:
            self.lines.wrong(UNREADABLE)
            return self.lines.false
        try:
            self.lines.end(self.walk(self.call(self.rule, self.inputs(names))))
        except Lost:
            pass  # the line at which the text left the rule is already in the list
        except Unclear as error:
            self.lines.position += 1
            what = "the value is" if str(error) == TOO_LARGE else "the claims lead nowhere:"
            self.lines.wrong(f"{what} {error}")
        except RecursionError:
            self.lines.wrong("the claims are nested without end")
        return self.lines.false

    def inputs(self, names: list[str]) -> dict[str, Any]:
        """The arguments that the first line claims, checked against the question."""
        if isinstance(self.given, dict):
            return {name: self.given[name] for name in names}
        facts = self.lines.first(self.code(self.rule)).facts
        claims = {fact.left: fact.right for fact in facts if fact.kind == "state"}
        texts = {name: claims.get(name, "") for name in names}
        if self.template is None:
            wrong = questions.missing(self.given, texts)
        else:
            wrong = questions.misplaced(self.template, self.given, texts)
        if wrong is not None:
            self.lines.position = 1
            self.lines.wrong(f"the question does not give {wrong} = {texts.get(wrong, '')}")
            self.lines.position = 0  # the walk has yet to judge the line itself
        return {name: literal(text) for name, text in texts.items()}

    def walk(self, call: Generator) -> Any:
        """Walk a call and every call inside it, and return its value.

        The calls in progress are in a list, not on Python's stack, so a rule may call itself as
        often as its text says.
        """
        calls, value = [call], None
        while calls:
            try:
                inner = calls[-1].send(value)
            except StopIteration as end:
                calls.pop()
                value = end.value
            else:
                calls.append(inner)
                value = None
        return value

    def call(self, function: ast.FunctionDef, names: dict[str, Any]) -> Generator:
        """Walk one call of a function; `names` are its arguments. Yields the calls inside it."""
        expected = [Fact("state", name, repr(value)) for name, value in names.items()]
        scope = dict(self.tables)
        self.lines.arrive(function, scope)
        claims = self.lines.facts(self.code(function), expected, False)
        for (name, value), fact, claim in zip(names.items(), expected, claims, strict=True):
            scope[name] = _claimed(value, fact, claim)
        try:
            yield from self.block(function.body, scope)
        except _Return as result:
            return result.value
        raise Unclear("the rule ends without return")

    def code(self, node: ast.AST) -> str:
        return self.recitals[node.lineno]

    def block(self, statements: list[ast.stmt], names: dict[str, Any]) -> Generator:
        for statement in statements:
            self.lines.arrive(statement, names)
            inside = getattr(self, type(statement).__name__)(statement, names)
            if inside is not None:  # a statement that may hold a call
                yield from inside

    def Break(self, node, names):
        self.lines.silent(self.code(node), [])
        raise _Break

    def Continue(self, node, names):
        self.lines.silent(self.code(node), [])
        raise _Continue

    def Return(self, node, names):
        value = evaluate(node.value, names)
        if is_literal(node.value):
            self.lines.silent(self.code(node), [])
            raise _Return(value)
        if is_place(node.value):
            expected = Fact("state", place_of(node.value, names), repr(value))
        else:
            expected = Fact("calc", substituted(node.value, names), repr(value))
        claim, = self.lines.facts(self.code(node), [expected], False)
        raise _Return(_claimed(value, expected, claim))

    def If(self, node, names):
        yield from self.block(node.body if self.verdict(node, names, False) else node.orelse, names)

    def verdict(self, node: ast.If | ast.While, names: dict[str, Any], loops: bool) -> bool:
        """The verdict that the text claims for a condition."""
        self.lines.look(node, names)
        if isinstance(node.test, ast.Constant):
            self.lines.facts(self.code(node), [], loops)
            return bool(node.test.value)
        text, verdict = truth(node.test, names)
        claim, = self.lines.facts(self.code(node), [Fact("test", text, repr(verdict))], loops)
        return claim.right == "True"

    def While(self, node, names):
        while self.verdict(node, names, True):
            self.lines.enter(node)
            try:
                yield from self.block(node.body, names)
            except _Continue:
                continue
            except _Break:
                return

    def For(self, node, names):
        targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
        ranged = isinstance(node.iter, ast.Call)
        shown = substituted(node.iter, names) if ranged else ""
        for item in _items(evaluate(node.iter, names)):
            self.lines.look(node, names)
            _assign(node.target, [place_at(target, names) for target in targets], item)
            expected = [Fact("state", target.id, repr(names[target.id])) for target in targets]
            changed = [f"{fact.left} = {fact.right}" for fact in expected]
            if ranged:
                expected = [Fact("each", shown, change) for change in changed]
            claims = self.lines.facts(self.code(node), expected, True, changed)
            for fact, claim in zip(expected, claims, strict=True):
                if fact.kind == "state":
                    names[fact.left] = _claimed(names[fact.left], fact, claim)
            self.lines.enter(node)
            try:
                yield from self.block(node.body, names)
            except _Continue:
                continue
            except _Break:
                return
        self.lines.look(node, names)
        self.lines.facts(self.code(node), [Fact("end", "", "")], True)

    def Assign(self, node, names):
        target, value = node.targets[0], node.value
        stated = []
        if isinstance(value, ast.IfExp):
            text, verdict = truth(value.test, names)
            stated.append(_Stated(Fact("test", text, repr(verdict))))
            value = value.body if verdict else value.orelse
        elif isinstance(target, ast.Name) and is_literal(value):
            self.lines.silent(self.code(node), [f"{target.id} = {ast.unparse(value)}"])
            names[target.id] = evaluate(value, names)
            return
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        container = _popped(value)
        source = None if container is None else place_at(container, names)
        owner = source and source.value
        computed = ""
        if function := self.helper(value):
            arguments = [evaluate(argument, names) for argument in value.args]
            parameters = [argument.arg for argument in function.args.args]
            result = yield self.call(function, dict(zip(parameters, arguments, strict=True)))
        else:
            if not (source or isinstance(target, ast.Tuple) or looks_up(value)
                    or is_literal(value)):
                computed = substituted(value, names)
            result = evaluate(value, names)
        places = [place_at(one, names) for one in targets]
        _assign(target, places, result)
        if computed:
            stated.append(_calc(computed, result, target, places[0]))
        if not computed or isinstance(target, ast.Subscript):
            stated += [_state(place, place.value) for place in places]
        if source and not any(isinstance(one, ast.Name) and one.id == _variable(container)
                              for one in targets):  # otherwise no name refers to what is left
            stated.append(_state(source, owner, owner))
        self.settle(node, stated)

    def helper(self, value: ast.expr) -> ast.FunctionDef | None:
        """The helper that an expression calls, or None."""
        called = isinstance(value, ast.Call) and isinstance(value.func, ast.Name)
        return self.functions.get(value.func.id) if called else None

    def AugAssign(self, node, names):
        place = place_at(node.target, names)
        value = _as_binary(node)
        computed, owner = substituted(value, names), place.value
        result = evaluate(value, names)
        if isinstance(owner, list):  # it stays the same list under all of its names
            owner[:] = result
            result = owner
        place.put(result)
        stated = [_calc(computed, result, node.target, place, owner)]
        if isinstance(node.target, ast.Subscript):
            stated.append(_state(place, result, owner))
        self.settle(node, stated)

    def Expr(self, node, names):
        call, stated = node.value, []
        place = place_at(call.func.value, names)
        owner = place.value
        for argument in call.args:
            if not (looks_up(argument) or is_literal(argument)):
                computed = substituted(argument, names)
                value = repr(evaluate(argument, names))
                stated.append(_Stated(Fact("calc", computed, value)))
        evaluate(call, names)
        self.settle(node, [*stated, _state(place, owner, owner)])

    def settle(self, node: ast.stmt, stated: list["_Stated"]) -> None:
        """Judge a line that changed something, and continue with the values that it claims."""
        expected = [one.fact for one in stated]
        changes = [f"{one.place.text} = {one.fact.right}" for one in stated if one.place]
        claims = self.lines.facts(self.code(node), expected, False, changes)
        for one, claim in zip(stated, claims, strict=True):
            if one.place:
                one.take(claim)


class _Stated(NamedTuple):
    """A fact that a line must state, and the place whose value the fact gives.

    `owner` is the list or dict that the line changed in place.
    """

    fact: Fact
    place: Place | None = None
    value: Any = None
    owner: Any = None

    def take(self, claim: Fact) -> None:
        """Continue with the value that the text claims."""
        value = _claimed(self.value, self.fact, claim)
        if value is self.value:
            return
        if type(value) is type(self.owner) is list:
            self.owner[:] = value
        elif type(value) is type(self.owner) is dict:
            self.owner.clear()
            self.owner.update(value)
        else:
            self.place.put(value)


def _state(place: Place, value: Any, owner: Any = None) -> _Stated:
    return _Stated(Fact("state", place.text, repr(value)), place, value, owner)


def _calc(computed: str, value: Any, target: ast.expr, place: Place, owner: Any = None) -> _Stated:
    """The result of an expression; for an element, a later state gives the value."""
    fact = Fact("calc", computed, repr(value))
    return _Stated(fact, place, value, owner) if isinstance(target, ast.Name) else _Stated(fact)


def _claimed(value: Any, fact: Fact, claim: Fact) -> Any:
    """The value that a text claims; if the claim is right, the object `value` itself."""
    if claim.right == fact.right or (fact.kind == "state" and claim.left != fact.left):
        return value  # a statement about another place claims nothing about this one
    other = literal(claim.right)
    return value if same(other, value) else other


@lru_cache(maxsize=1024)
def _as_binary(node: ast.AugAssign) -> ast.BinOp:
    """The expression `a + b` of a statement `a += b`."""
    load = ast.parse(ast.unparse(node.target), mode="eval").body
    return ast.BinOp(load, node.op, node.value)


def _popped(node: ast.expr) -> ast.expr | None:
    """The container of a call such as `stack.pop()`, or None."""
    match node:
        case ast.Call(func=ast.Attribute(value=container, attr="pop")):
            return container
    return None


def _variable(place: ast.expr) -> str:
    """The variable that a place belongs to."""
    return place.id if isinstance(place, ast.Name) else _variable(place.value)


def _items(iterated: Any) -> Iterator[Any]:
    """The items of a loop; for a list, as the list is at each pass."""
    try:
        yield from iterated
    except (TypeError, RuntimeError) as error:  # a dict must not change during the loop
        raise Unclear(str(error)) from None


def _assign(target: ast.expr, places: list[Place], value: Any) -> None:
    """Assign a value to a place, or its parts to several places."""
    try:
        values = list(value) if isinstance(target, ast.Tuple) else [value]
        for place, item in zip(places, values, strict=True):
            place.put(item)
    except (TypeError, ValueError) as error:
        raise Unclear(str(error)) from None
