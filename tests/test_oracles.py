"""The oracles are no copies: a rule with a mistake in it fails its oracle test.

A mutant is a rule with one thing changed: a constant, a comparison, a branch, an index or an
update. It is killed by an instance or an edge on which it does not give the oracle's answer (it
may fail or not end instead). A mutant that agrees with the oracle on all edges and on thousands of
instances of all lengths is taken for equivalent: no test of answers could tell it.
"""

import ast
import copy
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from random import Random
from typing import Any

import pytest
from oracles import EDGES, ORACLES
from samples import draw

from metarfft_core import tasks
from metarfft_core.tasks import Task
from metarfft_core.tracing.rule import Rule, StepLimit

KINDS = ("constant", "comparison", "branch", "index", "update")
STEPS = (100, 400, 2_000, 10_000, 50_000)
"""The passes of its loops after which a mutant does not end: the least that the rule itself does
with, because a mutant without end may build something larger in each pass."""
TRIED = 5
"""Mutants of each kind in the fast test."""
SAMPLES = 5
"""Instances of each length in the fast test, as in the test of answers."""
EQUIVALENT = 5_000
"""Instances, all agreeing, after which a mutant is taken for equivalent."""

every_task = pytest.mark.parametrize("task", tasks.select(), ids=lambda task: task.id)

OTHER = {
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Add,), ast.FloorDiv: (ast.Mod,),
    ast.Mod: (ast.FloorDiv,), ast.Pow: (ast.Mult,),
}
METHODS = {"append": ("insert", 0), "insert": ("append",), "pop": ("pop",)}


# --- mutants

def mutants(source: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of every mutant of a rule's text, each with one thing changed."""
    count = sum(1 for _ in _places(ast.parse(source)))
    for number in range(count):
        for choice in range(3):
            module = ast.parse(source)
            kind, changes = next(place for at, place in enumerate(_places(module)) if at == number)
            if choice < len(changes):
                changes[choice]()
                yield kind, ast.unparse(ast.fix_missing_locations(module)) + "\n"


def _places(module: ast.Module) -> Iterator[tuple[str, list]]:
    """(kind, functions that change the tree) for each thing in a rule that can be mutated."""
    for function in module.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        indexes = {id(part) for node in ast.walk(function) if isinstance(node, ast.Subscript)
                   for part in ast.walk(node.slice)}
        for node in ast.walk(function):
            if id(node) not in indexes:
                yield from _of_node(node)
            for name in ("body", "orelse"):
                block = getattr(node, name, None)
                if isinstance(block, list):
                    yield from _of_block(block)


def _setter(node: ast.AST, name: str, value: Any):
    return lambda: setattr(node, name, value)


def _of_node(node: ast.AST) -> Iterator[tuple[str, list]]:
    match node:
        case ast.Constant(value=bool(value)):
            yield "constant", [_setter(node, "value", not value)]
        case ast.Constant(value=int(value)):
            yield "constant", [_setter(node, "value", value + 1), _setter(node, "value", value - 1)]
        case ast.Constant(value=str(value)):
            yield "constant", [_setter(node, "value", value[:-1] + "#" if value else "#")]
        case ast.Compare(ops=[op]):
            yield "comparison", [_setter(node, "ops", [other()]) for other in OTHER[type(op)]]
        case ast.BoolOp(op=op, values=values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield "comparison", [_setter(node, "op", other), _setter(node, "values", values[:-1]),
                                 _setter(node, "values", values[1:])]
        case ast.If(test=test) | ast.IfExp(test=test):
            yield "branch", [_setter(node, "test", _negated(test))]
        case ast.Subscript(slice=ast.Slice() as cut):
            for name in ("lower", "upper"):
                if (bound := getattr(cut, name)) is not None:
                    yield "index", [_setter(cut, name, _moved(bound, by)) for by in (1, -1)]
        case ast.Subscript(slice=index):
            yield "index", [_setter(node, "slice", _moved(index, by)) for by in (1, -1)]
        case ast.Call(func=ast.Attribute(attr="pop"), args=arguments):
            yield "index", [_setter(node, "args", [] if arguments else [ast.Constant(0)])]
        case ast.Call(func=ast.Attribute(attr="append") as function, args=[value]):
            def insert():
                function.attr, node.args = "insert", [ast.Constant(0), value]
            yield "index", [insert]
        case ast.AugAssign(op=op) | ast.BinOp(op=op):
            yield "update", [_setter(node, "op", other()) for other in OTHER[type(op)]]
        case ast.Call(func=ast.Name(id="max" | "min" as name) as function):
            yield "update", [_setter(function, "id", "min" if name == "max" else "max")]


def _negated(test: ast.expr) -> ast.expr:
    """The opposite condition, in the subset of rules."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
        case ast.BoolOp(op=ast.And(), values=values):
            return ast.BoolOp(ast.Or(), list(map(_negated, values)))
        case ast.BoolOp(values=values):
            return ast.BoolOp(ast.And(), list(map(_negated, values)))
    return ast.UnaryOp(ast.Not(), test)


def _moved(index: ast.expr, by: int) -> ast.expr:
    match index:
        case ast.Constant(value=int(value)):
            return ast.Constant(value + by)
        case ast.Constant():
            return ast.Constant(index.value + "#")
    return ast.BinOp(index, ast.Add(), ast.Constant(by))


def _of_block(block: list[ast.stmt]) -> Iterator[tuple[str, list]]:
    """A statement left out, or the other branch left out."""
    for number, node in enumerate(block):
        if isinstance(node, (ast.AugAssign, ast.Expr)) and len(block) > 1:
            yield "update", [lambda number=number: block.pop(number)]
        if isinstance(node, (ast.Break, ast.Continue)) and len(block) > 1:
            yield "branch", [lambda number=number: block.pop(number)]
        if isinstance(node, ast.If) and node.orelse:
            yield "branch", [_setter(node, "orelse", [])]


# --- their end

@lru_cache(maxsize=4)
def _cases(task: Task, count: int) -> "_Lazy":
    instances = (instance.inputs for instance in draw(task, count))
    return _Lazy(task, chain((inputs for inputs, _ in EDGES[task.id]), instances))


class _Lazy:
    """(inputs, the oracle's answer) pairs, found when they are first wanted."""

    def __init__(self, task: Task, inputs: Iterator[dict]):
        self.oracle = ORACLES[task.id]
        self.inputs = inputs
        self.found: list[tuple[dict, str]] = []

    def __iter__(self) -> Iterator[tuple[dict, str]]:
        yield from self.found
        for inputs in self.inputs:
            self.found.append((inputs, repr(self.oracle(**copy.deepcopy(inputs)))))
            yield self.found[-1]


@lru_cache(maxsize=1)
def step_limit(task: Task) -> int:
    """Enough passes for the edges and for the longest instances, twice over."""
    inputs = [inputs for inputs, _ in EDGES[task.id]] + [
        task.sample(length=task.lengths[-1], seed=0, index=index).inputs for index in range(20)]

    def ends(limit: int) -> bool:
        try:
            for one in inputs:
                Rule(task.rule_source, limit // 2).execute(one)
        except StepLimit:
            return False
        return True

    return next(filter(ends, STEPS))


def killed(task: Task, source: str, cases) -> bool:
    """Does a mutant give another answer than the oracle on one of the cases?"""
    rule = Rule(source, step_limit(task))
    for inputs, answer in cases:
        try:
            if repr(rule.execute(inputs)) != answer:
                return True
        except (StepLimit, ArithmeticError, AttributeError, LookupError, MemoryError, NameError,
                RecursionError, TypeError, ValueError):
            return True
    return False


def equivalent(task: Task, source: str) -> bool:
    """Does a mutant agree with the oracle on EQUIVALENT further instances, of all lengths?"""
    inputs = (task.sample(length=length, seed=1, index=index, stream="equivalent").inputs
              for index in range(-(-EQUIVALENT // len(task.lengths))) for length in task.lengths)
    return not killed(task, source, _Lazy(task, inputs))


def shuffled(task: Task) -> dict[str, list[str]]:
    """The mutants of a task by kind, in a random order that is always the same."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for kind, text in dict.fromkeys(mutants(task.rule_source)):
        found[kind].append(text)
    for kind, texts in found.items():
        Random(f"{task.id}/{kind}").shuffle(texts)
    return found


@every_task
def test_mistakes_are_found(task):
    """Of each kind of mistake that a rule can have, five are found, those without effect aside."""
    for kind, texts in shuffled(task).items():
        found, left = 0, []
        for text in texts:
            if found == TRIED:
                break
            if killed(task, text, _cases(task, SAMPLES)):
                found += 1
            else:
                left.append(text)
        assert found or all(equivalent(task, text) for text in left), (kind, left)


@pytest.mark.slow
@every_task
def test_every_mistake_is_found_or_has_no_effect(task):
    """No mutant that the test of answers lets pass fails on thousands of further instances."""
    missed = [text for texts in shuffled(task).values() for text in texts
              if not killed(task, text, _cases(task, SAMPLES)) and not equivalent(task, text)]
    assert missed == []
