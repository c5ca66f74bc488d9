"""A judge of traces that trusts nobody: every false line of a text, from the text alone.

The judge knows neither the tasks nor the tracer. It takes the rule and the question out of the
prompt, walks the rule's syntax tree with an evaluator of its own (nothing is ever executed), and
holds every line of the completion against it: is it the line that the rule executes next, do the
substituted values say what was read, is the arithmetic right, is the verdict right, is the state
what the line leaves behind, is the answer what the rule returns? After a false fact the walk goes
on with what the text claims, so that each line is judged on its own; where the text leaves the
rule altogether, the walk ends.
"""

import ast
import copy
import re
from typing import Any, NamedTuple

from metarfft_core.tracing import parse
from metarfft_core.tracing.evaluator import (
    Unclear,
    evaluate,
    is_literal,
    literal,
    looks_up,
    normal,
    place_of,
    same,
    substituted,
    truth,
)
from metarfft_core.tracing.steps import ANSWER, BETWEEN, Fact

LINE_LIMIT = 50_000
"""The most lines that are followed."""


class FalseLine(NamedTuple):
    """A false line: its number in the completion (from 1), its text, and what is wrong with it."""

    line: int
    text: str
    reason: str


class _Lost(Exception):
    """The text is no execution of the rule from here on."""


def judge(prompt: str, completion: str) -> list[FalseLine]:
    """Every false line of a rule-following completion, from the texts alone (empty: all true).

    Raises ValueError where the prompt holds no rule and question in the kit's form.
    """
    rule, question = split_prompt(prompt)
    return judge_trace(rule, question, completion)


def judge_trace(rule: str, question: str, completion: str) -> list[FalseLine]:
    """The same, with the rule's text and the question given apart."""
    return _Walk(rule, question, _CodeLines(completion)).judge()


def judge_scratchpad(rule: str, inputs: dict[str, Any], completion: str) -> list[FalseLine]:
    """Every false line of a scratchpad: does it state the changes that the rule makes?

    A scratchpad's prompt holds no rule, so the rule and its arguments are given apart.
    """
    return _Walk(rule, copy.deepcopy(inputs), _ScratchpadLines(completion)).judge()


def split_prompt(prompt: str) -> tuple[str, str]:
    """The rule's text and the question out of a prompt with a rule in Python."""
    match = re.search(r"^rule:\n(.*?)\n\nQ: (.*)\Z", prompt, re.DOTALL | re.MULTILINE)
    if match is None:
        raise ValueError("the prompt holds no 'rule:' and 'Q:' in the kit's form")
    return match[1], match[2]


# --- the lines of a text

class _CodeLines:
    """The lines of a rule-following trace, taken one after the other."""

    def __init__(self, completion: str):
        self.lines = completion.split("\n")
        self.position = 0  # lines taken
        self.executed = 0  # lines of the rule
        self.false: list[FalseLine] = []

    def wrong(self, reason: str) -> None:
        number = min(self.position, len(self.lines))
        if number == 0 or not self.false or self.false[-1].line != number:
            self.false.append(FalseLine(number, self.lines[number - 1] if number else "", reason))

    def count(self) -> None:
        """Give up on an execution without end."""
        self.executed += 1
        if self.executed > LINE_LIMIT:
            self.wrong("an execution without end")
            raise _Lost

    def take(self, code: str) -> list[Fact]:
        """The facts of the next line, which has to recite `code`."""
        self.position += 1
        if self.position > len(self.lines):
            self.wrong(f"the text ends where the rule executes: {code}")
            raise _Lost
        step = parse.step(self.lines[self.position - 1])
        if step.code != code:
            self.wrong(f"the rule executes here: {code}")
            raise _Lost
        return list(step.facts)

    def facts(self, code: str, expected: list[Fact], loops: bool) -> list[Fact]:
        """Judge the facts of the next line; returns what it claims, in the expected's place."""
        self.count()
        claimed = self.take(code)
        if len(claimed) != len(expected):
            self.wrong(f"expected {len(expected)} facts, got {len(claimed)}")
        result = []
        for number, fact in enumerate(expected):
            claim = claimed[number] if number < len(claimed) else fact
            result.append(self.fact(fact, claim))
        return result

    def fact(self, fact: Fact, claim: Fact) -> Fact:
        """Judge one fact; returns the claim where it can be gone on with, else the truth."""
        try:
            if claim.kind != fact.kind:
                self.wrong(f"expected {' '.join(fact)}, got {' '.join(claim)}")
                return fact
            if claim.left != fact.left and (fact.kind not in ("calc", "test")
                                            or normal(claim.left) != normal(fact.left)):
                self.wrong(f"wrong copy: the line reads {fact.left}, not {claim.left}")
            elif claim.right != fact.right and (fact.kind == "each" or not same(
                    literal(claim.right), literal(fact.right))):
                self.wrong(f"{fact.left} gives {fact.right}, not {claim.right}")
            if fact.kind in ("calc", "state", "test"):
                literal(claim.right)
                return claim
        except Unclear as error:
            self.wrong(str(error))
        return fact

    def silent(self, code: str, changes: list[str]) -> None:
        """A line that says nothing behind the recital."""
        if self.take(code):
            self.wrong("nothing is left to say behind this line")

    def end(self, answer: Any) -> None:
        """The last line, which states the answer."""
        self.position += 1
        if self.position > len(self.lines):
            self.wrong(f"the text ends without an answer: {answer!r}")
        elif self.lines[self.position - 1] != f"{ANSWER}{answer!r}":
            self.wrong(f"the rule returns {answer!r}")
        elif self.position < len(self.lines):
            self.position += 1
            self.wrong("the text goes on behind the answer")


class _ScratchpadLines(_CodeLines):
    """The lines of a scratchpad: the changed values, a line for each pass of a loop."""

    def __init__(self, completion: str):
        super().__init__(completion)
        self.claims: list[str] = []

    def next_change(self, expected: str) -> str:
        if not self.claims:
            self.position += 1
            if self.position > len(self.lines):
                self.wrong(f"the text ends before: {expected}")
                raise _Lost
            self.claims = parse.split(self.lines[self.position - 1], BETWEEN)
        return self.claims.pop(0)

    def facts(self, code: str, expected: list[Fact], loops: bool) -> list[Fact]:
        self.count()
        if loops and self.claims:
            self.wrong(f"nothing else changes in this pass: {self.claims[0]}")
            raise _Lost
        target = code.partition(" = ")[0] if " = " in code else code.partition(" ")[0]
        alone = all(fact.kind != "state" for fact in expected)
        for fact in expected:
            if fact.kind == "each":
                self.change(fact.right)
            elif fact.kind == "state" and not code.startswith(("def ", "return ")):
                self.change(f"{fact.left} = {fact.right}")
            elif fact.kind == "calc" and alone and not code.startswith("return "):
                self.change(f"{target} = {fact.right}")
        return expected

    def change(self, expected: str) -> None:
        claim = self.next_change(expected)
        if claim != expected:
            self.wrong(f"the rule makes {expected}")
            if claim.partition(" = ")[0] != expected.partition(" = ")[0]:
                raise _Lost

    def silent(self, code: str, changes: list[str]) -> None:
        for change in changes:
            self.change(change)

    def end(self, answer: Any) -> None:
        if self.claims:
            self.wrong(f"the rule ends here, but the text says {self.claims[0]}")
        super().end(answer)


# --- the walk through the rule

class _Return(Exception):
    def __init__(self, value: Any):
        self.value = value


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Walk:
    """Walks a rule along the lines of a text."""

    def __init__(self, rule: str, given: str | dict[str, Any], lines: _CodeLines):
        self.source = rule.splitlines()
        self.given = given  # the question, or the arguments themselves
        self.lines = lines
        module = ast.parse(rule)
        self.functions = {node.name: node for node in module.body
                          if isinstance(node, ast.FunctionDef)}
        self.tables = {node.targets[0].id: ast.literal_eval(node.value) for node in module.body
                       if isinstance(node, ast.Assign)}
        self.rule = module.body[-1]
        self.depth = 0

    def judge(self) -> list[FalseLine]:
        names = [argument.arg for argument in self.rule.args.args]
        try:
            self.lines.end(self.call(self.rule, self.inputs(names)))
        except _Lost:
            pass
        except Unclear as error:
            self.lines.position += 1
            self.lines.wrong(f"the claims lead nowhere: {error}")
        except RecursionError:
            self.lines.wrong("the claims lead into a recursion without end")
        return self.lines.false

    def inputs(self, names: list[str]) -> dict[str, Any]:
        """The arguments: what the first line claims, if the question has it too, in order."""
        if isinstance(self.given, dict):
            return {name: self.given[name] for name in names}
        claims = {fact.left: fact.right for fact in
                  parse.step(self.lines.lines[0]).facts if fact.kind == "state"}
        position, values = 0, {}
        for name in names:
            text = claims.get(name, "")
            found = text and re.compile(
                rf"(?<![\w'\"\[(\-]){re.escape(text)}(?![\w'\"])").search(self.given, position)
            if not found:
                self.lines.position = 1
                self.lines.wrong(f"the question does not give {name} = {text}")
            else:
                position = found.end()
            values[name] = literal(text)
        return values

    def call(self, function: ast.FunctionDef, names: dict[str, Any]) -> Any:
        """Walk one call of a function; `names` are its arguments."""
        self.depth += 1
        if self.depth > 100:
            raise Unclear("a recursion without end")
        expected = [Fact("state", name, repr(value)) for name, value in names.items()]
        scope = dict(self.tables)
        claims = self.lines.facts(self.code(function), expected, False)
        scope |= {claim.left: literal(claim.right) for claim in claims}
        try:
            self.block(function.body, scope)
        except _Return as result:
            return result.value
        finally:
            self.depth -= 1
        raise Unclear("the rule ends without return")

    def code(self, node: ast.AST) -> str:
        return self.source[node.lineno - 1].strip()

    def block(self, statements: list[ast.stmt], names: dict[str, Any]) -> None:
        for statement in statements:
            getattr(self, type(statement).__name__)(statement, names)

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
        if isinstance(node.value, (ast.Name, ast.Subscript)) and looks_up(node.value):
            expected = Fact("state", place_of(node.value, names), repr(value))
        else:
            expected = Fact("calc", ast.unparse(substituted(node.value, names)), repr(value))
        claim, = self.lines.facts(self.code(node), [expected], False)
        raise _Return(literal(claim.right))

    def If(self, node, names):
        self.block(node.body if self.verdict(node, names, False) else node.orelse, names)

    def verdict(self, node: ast.If | ast.While, names: dict[str, Any], loops: bool) -> bool:
        """The verdict that the text claims for a condition."""
        if isinstance(node.test, ast.Constant):
            self.lines.facts(self.code(node), [], loops)
            return bool(node.test.value)
        text, verdict = truth(node.test, names)
        claim, = self.lines.facts(self.code(node), [Fact("test", text, repr(verdict))], loops)
        return claim.right == "True"

    def While(self, node, names):
        while self.verdict(node, names, True):
            try:
                self.block(node.body, names)
            except _Continue:
                continue
            except _Break:
                return

    def For(self, node, names):
        targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
        ranged = isinstance(node.iter, ast.Call)
        shown = ast.unparse(substituted(node.iter, names)) if ranged else ""
        for item in evaluate(node.iter, names):
            if ranged:
                shown = ast.unparse(substituted(node.iter, names))
                expected = [Fact("each", shown, f"{targets[0].id} = {item!r}")]
            else:
                items = item if isinstance(node.target, ast.Tuple) else [item]
                expected = [Fact("state", target.id, repr(value))
                            for target, value in zip(targets, items, strict=True)]
            claims = self.lines.facts(self.code(node), expected, True)
            if ranged:
                names[targets[0].id] = item
            else:
                names |= {claim.left: literal(claim.right) for claim in claims}
            try:
                self.block(node.body, names)
            except _Continue:
                continue
            except _Break:
                return
        self.lines.facts(self.code(node), [Fact("end", "", "")], True)

    def Assign(self, node, names):
        target, value = node.targets[0], node.value
        expected, places = [], list(target.elts) if isinstance(target, ast.Tuple) else [target]
        if isinstance(value, ast.IfExp):
            text, verdict = truth(value.test, names)
            expected.append(Fact("test", text, repr(verdict)))
            value = value.body if verdict else value.orelse
        elif isinstance(target, ast.Name) and is_literal(value):
            self.lines.silent(self.code(node), [f"{target.id} = {ast.unparse(value)}"])
            names[target.id] = evaluate(value, names)
            return
        call = value.func if isinstance(value, ast.Call) else None
        if isinstance(call, ast.Name) and call.id in self.functions:
            function = self.functions[call.id]
            arguments = [evaluate(argument, names) for argument in value.args]
            parameters = [argument.arg for argument in function.args.args]
            result = self.call(function, dict(zip(parameters, arguments, strict=True)))
        else:
            shown = ast.unparse(substituted(value, names)) if call is None or not (
                isinstance(call, ast.Attribute) and call.attr == "pop") else ""
            result = evaluate(value, names)
            if isinstance(call, ast.Attribute) and call.attr == "pop":
                places.append(call.value)
            elif not (isinstance(target, ast.Tuple) or looks_up(value) or is_literal(value)):
                expected.append(Fact("calc", shown, repr(result)))
                places = places if isinstance(target, ast.Subscript) else []
        self.store(target, result, names)
        self.settle(node, expected, places, names, target)

    def AugAssign(self, node, names):
        load = ast.parse(ast.unparse(node.target), mode="eval").body
        value = ast.BinOp(load, node.op, node.value)
        result = evaluate(value, names)
        expected = [Fact("calc", ast.unparse(substituted(value, names)), repr(result))]
        self.store(node.target, result, names)
        places = [node.target] if isinstance(node.target, ast.Subscript) else []
        self.settle(node, expected, places, names, node.target)

    def Expr(self, node, names):
        call, expected = node.value, []
        for argument in call.args:
            if not (looks_up(argument) or is_literal(argument)):
                value = repr(evaluate(argument, names))
                expected.append(Fact("calc", ast.unparse(substituted(argument, names)), value))
        evaluate(call, names)
        self.settle(node, expected, [call.func.value], names, None)

    def store(self, target: ast.expr, value: Any, names: dict[str, Any]) -> None:
        """Assign a value to a name, to several names or to an element."""
        try:
            if isinstance(target, ast.Tuple):
                for part, item in zip(target.elts, value, strict=True):
                    names[part.id] = item
            elif isinstance(target, ast.Name):
                names[target.id] = value
            else:
                evaluate(target.value, names)[evaluate(target.slice, names)] = value
        except (TypeError, ValueError, LookupError) as error:
            raise Unclear(str(error)) from None

    def settle(self, node, expected, places, names, target) -> None:
        """Judge a line that changed `places`, and go on with the values that it claims."""
        expected = expected + [Fact("state", place_of(place, names), repr(evaluate(place, names)))
                               for place in places]
        claims = self.lines.facts(self.code(node), expected, False)
        for fact, claim in zip(expected, claims, strict=True):
            if claim.right == fact.right or claim.kind == "test":
                continue
            if claim.kind == "state":
                place = places[[one for one in expected if one.kind == "state"].index(fact)]
                self.store(place, literal(claim.right), names)
            elif isinstance(target, ast.Name):
                self.store(target, literal(claim.right), names)
