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
from collections.abc import Generator
from typing import Any

from metarfft_core.tracing import question as questions
from metarfft_core.tracing.claims import LINE_LIMIT, AtLength, FalseLine, Lines, Lost, Scratchpad
from metarfft_core.tracing.evaluator import (
    TOO_LARGE,
    Unclear,
    evaluate,
    is_literal,
    literal,
    looks_up,
    place_of,
    substituted,
    truth,
)
from metarfft_core.tracing.steps import Fact

__all__ = ["LINE_LIMIT", "FalseLine", "judge", "judge_at_length", "judge_in_words",
           "judge_recital", "judge_scratchpad", "judge_trace", "split_prompt"]


def judge(prompt: str, completion: str, template: str | None = None) -> list[FalseLine]:
    """Every false line of a rule-following completion, from the texts alone (empty: all true).

    `template` is that of the question (`task.question`), as in the functions below. With it the
    arguments are found exactly; without it they are searched for in the question (see
    `question.missing` for what that cannot see).
    Raises ValueError where the prompt holds no rule and question in the kit's form, or where the
    question does not begin as the template does.
    """
    rule, question = split_prompt(prompt)
    return judge_trace(rule, question, completion, template)


def judge_trace(rule: str, question: str, completion: str,
                template: str | None = None) -> list[FalseLine]:
    """The same, with the rule's text and the question given apart."""
    return _Walk(rule, question, Lines(completion), template=template).judge()


def judge_recital(rule: str, recitals: dict[int, str], question: str, completion: str,
                  template: str | None = None) -> list[FalseLine]:
    """The same, of a completion that recites `recitals` for the lines of the rule (from 1)."""
    return _Walk(rule, question, Lines(completion), recitals, template).judge()


def judge_in_words(rule: str, prompt: str, completion: str,
                   template: str | None = None) -> list[FalseLine]:
    """Every false line of a completion that recites the numbered sentences of its prompt.

    The sentences say nothing to a judge, so the rule that they word is given too. Raises ValueError
    where the prompt does not have one sentence for each of its lines.
    """
    words, question = split_prompt(prompt)
    sentences = re.findall(r"^\d+\. .*$", words, re.MULTILINE)
    lines = sorted({node.lineno for function in ast.parse(rule).body
                    if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
                    if isinstance(node, ast.stmt)})
    if len(lines) != len(sentences):
        raise ValueError(f"the prompt has {len(sentences)} sentences, the rule {len(lines)} lines")
    recitals = dict(zip(lines, sentences, strict=True))
    return judge_recital(rule, recitals, question, completion, template)


def judge_at_length(prompt: str, completion: str,
                    template: str | None = None) -> list[FalseLine]:
    """Every step of a completion in the paper's wording that has a false line; the number is that
    of its last line. Raises ValueError as `judge` does."""
    rule, question = split_prompt(prompt)
    return _Walk(rule, question, AtLength(rule, completion), template=template).judge()


def judge_scratchpad(rule: str, inputs: dict[str, Any], completion: str) -> list[FalseLine]:
    """Every false line of a scratchpad: does it state the changes that the rule makes?

    A scratchpad's prompt holds no rule, so the rule and its arguments are given apart.
    """
    return _Walk(rule, copy.deepcopy(inputs), Scratchpad(completion)).judge()


def split_prompt(prompt: str) -> tuple[str, str]:
    """The rule's text and the question, the last one, out of a prompt with a rule."""
    match = re.search(r"^rule:\n(.*?)\n\nQ: ", prompt, re.DOTALL | re.MULTILINE)
    if match is None:
        raise ValueError("the prompt holds no 'rule:' and 'Q:' in the kit's form")
    return match[1], prompt.rpartition("\n\nQ: ")[2]


# --- the walk through the rule

class _Return(Exception):
    def __init__(self, value: Any):
        self.value = value


class _Break(Exception):
    """The walk met `break`."""


class _Continue(Exception):
    """The walk met `continue`."""


class _Walk:
    """Walks a rule along the lines of a text."""

    def __init__(self, rule: str, given: str | dict[str, Any], lines: Lines,
                 recitals: dict[int, str] | None = None, template: str | None = None):
        self.recitals = recitals or {number: line.strip() for number, line
                                     in enumerate(rule.split("\n"), start=1)}
        self.given = given  # the question, or the arguments themselves
        self.template = template  # of the question
        self.lines = lines
        module = ast.parse(rule)
        self.functions = {node.name: node for node in module.body
                          if isinstance(node, ast.FunctionDef)}
        self.tables = {node.targets[0].id: ast.literal_eval(node.value) for node in module.body
                       if isinstance(node, ast.Assign)}
        self.rule = module.body[-1]

    def judge(self) -> list[FalseLine]:
        names = [argument.arg for argument in self.rule.args.args]
        try:
            self.lines.end(self.walk(self.call(self.rule, self.inputs(names))))
        except Lost:
            pass  # the line where the text left the rule is among the false ones already
        except Unclear as error:
            self.lines.position += 1
            what = "the value is" if str(error) == TOO_LARGE else "the claims lead nowhere:"
            self.lines.wrong(f"{what} {error}")
        except RecursionError:
            self.lines.wrong("the claims are nested without end")
        return self.lines.false

    def inputs(self, names: list[str]) -> dict[str, Any]:
        """The arguments: what the first line claims, if the question has it too."""
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
            self.lines.position = 0  # the line itself is still to be judged
        return {name: literal(text) for name, text in texts.items()}

    def walk(self, call: Generator) -> Any:
        """Walk a call and every call inside it; its value.

        The calls in progress stand in a list and not on Python's stack, so a rule may call itself
        as often as its text says.
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
        scope |= {claim.left: literal(claim.right) for claim in claims}
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
        if isinstance(node.value, (ast.Name, ast.Subscript)) and looks_up(node.value):
            expected = Fact("state", place_of(node.value, names), repr(value))
        else:
            expected = Fact("calc", ast.unparse(substituted(node.value, names)), repr(value))
        claim, = self.lines.facts(self.code(node), [expected], False)
        raise _Return(literal(claim.right))

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
        shown = ast.unparse(substituted(node.iter, names)) if ranged else ""
        for item in evaluate(node.iter, names):
            self.lines.look(node, names)
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
            result = yield self.call(function, dict(zip(parameters, arguments, strict=True)))
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
