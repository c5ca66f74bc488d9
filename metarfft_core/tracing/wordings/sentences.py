"""Rules in words: a numbered sentence for every line that a trace recites (Section 5).

The sentences are made from the rule's syntax tree. Numbers express nesting: a condition or a loop
names the steps that belong to it. Tables come first, without a number, because no trace recites
them. If the general wording of a line is clumsy, a task can supply its own: `wording` maps the
stripped line to its sentence, or to its condition if the line is a header.
"""

import ast
from collections.abc import Mapping
from types import MappingProxyType

from metarfft_core.tracing.expressions import RuleError
from metarfft_core.tracing.wordings import kinds
from metarfft_core.tracing.wordings.phrases import Phrases
from metarfft_core.tracing.wordings.values import listed, same, summands

NONE: Mapping = MappingProxyType({})


def sentences(source: str, wording: Mapping[str, str] = NONE,
              given: Mapping[str, kinds.Kind] = NONE) -> dict[int, str]:
    """The numbered sentences of a rule.

    Args:
        wording: A task's own sentences or conditions, by stripped line.
        given: The kinds of the rule's arguments (see `kinds.py`). Without them some characters
            and numbers are called items.

    Returns:
        Line of `source` (from 1) -> a sentence such as "5. Add 1 to x."

    Raises:
        RuleError: `wording` has a key that is not a line of the rule, or a value of several lines.
    """
    check(source, wording)
    module = ast.parse(source)
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    lines = source.split("\n")
    recited = sorted({node.lineno for function in functions for node in ast.walk(function)
                      if isinstance(node, ast.stmt)})
    numbers = {line: number for number, line in enumerate(recited, start=1)}
    own = {line: wording.get(lines[line - 1].strip()) for line in recited}
    held = kinds.infer(module, given)
    said = {}
    for function in functions:
        speaker = _Speaker(functions, function, held[function.name], numbers, own)
        said |= speaker.block([function])
    return {line: f"{numbers[line]}. {said[line]}" for line in recited}


def check(source: str, wording: Mapping[str, str]) -> None:
    """Raise RuleError if `wording` has a key that is not a line, or a sentence of several lines."""
    lines = {line.strip() for line in source.split("\n")} - {""}
    for line in wording:
        if line not in lines:
            raise RuleError(f"wording: {line!r} is not a line of the rule")
        if "\n" in wording[line] or "\r" in wording[line]:
            raise RuleError(f"wording: the sentence for {line!r} takes one line")


def tables(source: str) -> list[str]:
    """A sentence for each table of a rule."""
    return [_table(node) for node in ast.parse(source).body if isinstance(node, ast.Assign)]


def _table(node: ast.Assign) -> str:
    """A table of literals, in words."""
    name, value = node.targets[0].id, ast.literal_eval(node.value)
    if not isinstance(value, dict):
        return f"{name} is {value!r}."
    groups: dict[str, list[str]] = {}
    for key, entry in value.items():
        groups.setdefault(repr(entry), []).append(repr(key))
    entries = "; ".join(f"{entry} for {listed(keys)}" for entry, keys in groups.items())
    return f"The table {name} gives {entries}."


class _Speaker:
    """Puts the statements of one function into words."""

    def __init__(self, functions: list[ast.FunctionDef], function: ast.FunctionDef,
                 held: dict[str, kinds.Kind], numbers: dict[int, int],
                 own: dict[int, str | None]):
        self.functions = {one.name: one for one in functions}
        self.is_main = function is functions[-1]
        self.phrases = Phrases(held)
        self.numbers = numbers
        self.own = own
        self.loop = 0  # the number of the innermost loop

    def block(self, statements: list[ast.stmt]) -> dict[int, str]:
        """The sentences of these statements and of all statements inside them, by line."""
        said = {}
        for node in statements:
            said[node.lineno] = self.sentence(node)
            outer = self.loop
            if isinstance(node, (ast.While, ast.For)):
                self.loop = self.numbers[node.lineno]
            said |= self.block(getattr(node, "body", []))
            said |= self.block(getattr(node, "orelse", []))
            self.loop = outer
        return said

    def sentence(self, node: ast.stmt) -> str:
        own = self.own[node.lineno]
        if isinstance(node, (ast.If, ast.While)):
            return self.header(node, own or self.phrases.condition(node.test))
        if own:
            return own
        return getattr(self, type(node).__name__)(node)

    def steps(self, body: list[ast.stmt]) -> str:
        """The numbers of the steps of a block."""
        first = self.numbers[body[0].lineno]
        last = max(self.numbers[node.lineno] for statement in body
                   for node in ast.walk(statement) if isinstance(node, ast.stmt))
        if first == last:
            return f"step {first}"
        return f"steps {first} {'and' if last == first + 1 else 'to'} {last}"

    # --- headers

    def FunctionDef(self, node: ast.FunctionDef) -> str:
        given = listed([argument.arg for argument in node.args.args])
        if not self.is_main:
            return f"The helper {node.name} ({self.steps(node.body)}) is given {given}."
        start = "Start here: you" if len(self.functions) > 1 else "You"
        return f"{start} are given {given}."

    def header(self, node: ast.If | ast.While, condition: str) -> str:
        body = self.steps(node.body)
        if isinstance(node, ast.While):
            if isinstance(node.test, ast.Constant):
                return f"Repeat {body} until you leave the loop:"
            return f"While {condition}, repeat {body}:"
        other = f"do {self.steps(node.orelse)}" if node.orelse else "skip " + (
            "it" if body.startswith("step ") else "them")
        return f"If {condition}, do {body}; otherwise {other}."

    def For(self, node: ast.For) -> str:
        return f"For {self.phrases.each(node.target, node.iter)}, do {self.steps(node.body)}:"

    def Break(self, node: ast.Break) -> str:
        return f"Leave the loop of step {self.loop}."

    def Continue(self, node: ast.Continue) -> str:
        return f"Go back to step {self.loop}."

    # --- statements

    def Return(self, node: ast.Return) -> str:
        return f"Return {self.phrases.value(node.value)}."

    def Assign(self, node: ast.Assign) -> str:
        target, value = node.targets[0], node.value
        if isinstance(value, ast.Call) and getattr(value.func, "id", None) in self.functions:
            helper = self.functions[value.func.id]
            given = listed([self.phrases.noun(argument) for argument in value.args])
            return (f"Apply the helper {helper.name} (step {self.numbers[helper.lineno]}) to "
                    f"{given} and call what it returns {target.id}.")
        if isinstance(target, ast.Tuple):
            return self.unpack(target.elts, value)
        place = self.phrases.noun(target)
        if isinstance(value, ast.IfExp):
            return (f"Set {place} to {self.phrases.value(value.body)} if "
                    f"{self.phrases.condition(value.test)}, otherwise to "
                    f"{self.phrases.value(value.orelse)}.")
        if isinstance(value, ast.Call) and getattr(value.func, "attr", None) == "split":
            return f"Split {self.phrases.split(value)} and call the list of them {place}."
        if taken := self.phrases.taken(value):
            return f"Take {taken} and call it {place}."
        return self.change(target, value) or f"Set {place} to {self.phrases.value(value)}."

    def unpack(self, targets: list[ast.expr], value: ast.expr) -> str:
        """A sentence that assigns several names at once."""
        names = [target.id for target in targets]
        if isinstance(value, ast.Tuple):
            nouns = [self.phrases.value(part) for part in value.elts]
            if len(names) == 2 and nouns == names[::-1]:
                return f"Swap {names[0]} and {names[1]}."
            pairs = [f"{name} to {noun}" for name, noun in zip(names, nouns, strict=True)]
            return f"Set, both at once, {listed(pairs)}."
        source = self.phrases.taken(value) or self.phrases.noun(value)
        return f"Take {source} and call its parts {listed(names)}."

    def change(self, target: ast.expr, value: ast.expr) -> str | None:
        """A sentence for a target whose new value is made from itself; None for any other."""
        place = self.phrases.noun(target)
        match value:
            case ast.Subscript(value=owner, slice=ast.Slice()) if same(owner, target):
                dropped, kept = self.phrases.cut(value)
                return (f"Drop {dropped} of {place}." if dropped
                        else f"Keep {kept.replace(' of it', f' of {place}', 1)}.")
            case ast.UnaryOp(op=ast.USub(), operand=owner) if same(owner, target):
                return f"Change the sign of {place}."
            case ast.UnaryOp(op=ast.Not(), operand=owner) if same(owner, target):
                return f"Turn {place} into its opposite."
            case ast.BinOp(op=ast.Add()) if kinds.is_text(self.phrases.kind(value)):
                return self.rebuilt(target, summands(value))
            case ast.BinOp(left=ast.Call(func=ast.Attribute(value=owner, attr="get"),
                                         args=[key, start]), op=ast.Add(), right=added) if (
                    isinstance(target, ast.Subscript) and same(owner, target.value)
                    and same(key, target.slice)):
                return (f"Add {self.phrases.noun(added)} to {place}, which starts as "
                        f"{self.phrases.noun(start)}.")
            case ast.Call(func=ast.Attribute(value=owner, attr="replace"),
                          args=[old, ast.Constant(value=""), ast.Constant(value=1)]
                          ) if same(owner, target):
                return f"Remove the first occurrence of {self.phrases.noun(old)} from {place}."
        return None

    def rebuilt(self, target: ast.expr, parts: list[ast.expr]) -> str | None:
        """A sentence for a text that is made from itself and other texts; None for any other."""
        place, (first, *_, last) = self.phrases.noun(target), parts
        if same(last, target):
            return f"Put {self.phrases.chain(parts[:-1])} in front of {place}."
        if same(first, target):
            return f"Append {self.phrases.chain(parts[1:])} to {place}."
        match parts:
            case [ast.Subscript(value=owner,
                                slice=ast.Slice(lower=None, upper=ast.expr() as upper, step=None)),
                  added,
                  ast.Subscript(value=other,
                                slice=ast.Slice(lower=ast.expr() as lower, upper=None, step=None))
                  ] if same(owner, target) and same(other, target) and same(upper, lower):
                index = self.phrases.noun(upper)
                return f"Insert {self.phrases.noun(added)} into {place} at index {index}."
            case [ast.Subscript(value=owner, slice=ast.Slice()) as kept,
                  ast.Subscript(value=other, slice=ast.Constant(value=0))
                  ] if same(owner, target) and same(other, target):
                if self.phrases.cut(kept)[0] == "the first character":
                    return f"Move the first character of {place} to its end."
            case [ast.Subscript(value=owner, slice=ast.Slice(lower=None)) as kept, *added
                  ] if same(owner, target):
                if dropped := self.phrases.cut(kept)[0]:
                    new = self.phrases.chain(added).replace(f"{dropped} of {place}", "it")
                    return f"Replace {dropped} of {place} by {new}."
        return None

    def AugAssign(self, node: ast.AugAssign) -> str:
        place, value = self.phrases.noun(node.target), self.phrases.noun(node.value)
        match node.op:
            case ast.Add() if kinds.is_text(self.phrases.kind(node.target)):
                return f"Append {value} to {place}."
            case ast.Add() if isinstance(self.phrases.kind(node.target), tuple):
                return f"Append the items of {value} to {place}."
            case ast.Add():
                return f"Add {value} to {place}."
            case ast.Sub():
                return f"Subtract {value} from {place}."
            case ast.Mult() if value == "2":
                return f"Double {place}."
            case ast.Mult() if value == "-1":
                return f"Change the sign of {place}."
            case ast.Mult():
                return f"Multiply {place} by {value}."
            case ast.FloorDiv():
                return f"Divide {place} by {value} and round down."
        result = ast.BinOp(node.target, node.op, node.value)
        return f"Set {place} to {self.phrases.noun(result)}."

    def Expr(self, node: ast.Expr) -> str:
        call = node.value
        place = self.phrases.noun(call.func.value)
        values = [self.phrases.value(argument) for argument in call.args]
        match call.func.attr, values:
            case "append", [value]:
                return f"Append {value} to {place}."
            case "extend", [value]:
                return f"Append the items of {value} to {place}."
            case "insert", ["0", value]:
                return f"Insert {value} at the front of {place}."
            case "insert", [index, value]:
                return f"Insert {value} into {place} at index {index}."
            case "remove", [value]:
                return f"Remove the first item of {place} that equals {value}."
            case "reverse", []:
                return f"Reverse the order of {place}."
            case "sort", []:
                return f"Sort {place} in ascending order."
        return f"Remove {self.phrases.taken(call)}.".replace(" out of ", " from ")

