"""The compiler from a rule's text to a function that records what it executes.

The compiler writes the rule's syntax tree out again, with a record after each statement. A record
holds the site (the line of the rule and how its facts are worded) and the values as literals. The
result is compiled and runs at CPython's own speed. A record is data; `wordings/` turns it into
text later. A second form of the function serves callers that need only the text: it puts the
values directly into the site's template, in half the time.
"""

import ast
from typing import NamedTuple

from metarfft_core.tracing.expressions import (
    helper_of,
    is_literal,
    is_place,
    is_reading,
    mutating_call,
    reads_element,
    root,
)
from metarfft_core.tracing.sharing import Objects, Sharing
from metarfft_core.tracing.shown import Shown, brace, literal_code, place_of, show, truth
from metarfft_core.tracing.sites import Emitter, Site


def write(module: ast.Module, recited: list[str], records: str,
          sharing: Sharing) -> tuple[str, list[Site]]:
    """Write a rule's module out again, with functions that record.

    Args:
        recited: What a trace recites for each line of the module: the line, or a sentence.
        records: "none" (only a step limit in every loop), "data" or "text".

    Returns:
        The text of the module and the sites that it names `_s0`, `_s1`, ... If it records, each
        function takes two more arguments first: the list of records and its `append`.
    """
    writer = Writer(module, recited, records, sharing)
    return writer.text(), writer.sites


class _Changes(NamedTuple):
    """What a statement may change: the names that it assigns and the objects that it writes to."""

    names: frozenset[str]
    objects: Objects


_NO_LIST = "a list takes a list after +=: take extend for anything else"


class Writer(Emitter):
    """Writes the functions of a module out again, with or without records."""

    def function(self, node: ast.FunctionDef) -> None:
        self.function_name = node.name
        names = [argument.arg for argument in node.args.args]
        extra = ["_r", "_t"] if self.recording else []

        def body():
            if any(isinstance(part, (ast.While, ast.For)) for part in ast.walk(node)):
                self.emit("_n = 0")
            facts = [("state", name, "%s") for name in names]
            self.record(node, facts, [literal_code(ast.Name(name)) for name in names])
            for statement in node.body:
                self.statement(statement)

        self.block(f"def {node.name}({', '.join(extra + names)}):", body)

    def statement(self, node: ast.stmt) -> None:
        getattr(self, "write_" + type(node).__name__.lower())(node)

    def write_break(self, node: ast.stmt) -> None:
        self.record(node)
        self.emit(ast.unparse(node))

    write_continue = write_break

    def write_return(self, node: ast.Return) -> None:
        value = node.value
        if is_literal(value):
            self.record(node)
        elif is_place(value):
            place, indexes = place_of(value)
            self.record(node, [("state", place, "%s")], map(literal_code, [*indexes, value]))
        else:
            shown = show(value)
            self.emit(f"_v = {ast.unparse(value)}")
            self.record(node, [("calc", shown.template, "%s")],
                        [*map(literal_code, shown.readings), literal_code(ast.Name("_v"))])
            self.emit("return _v")
            return
        self.emit(ast.unparse(node))

    def write_assign(self, node: ast.Assign) -> None:
        target, value = node.targets[0], node.value
        if isinstance(value, ast.IfExp):
            def chosen(verdict: bool, shown: Shown) -> None:
                test = ("test", shown.template, str(verdict))
                values = self.before(shown.readings, self.changes(node))
                self.assign(node, target, value.body if verdict else value.orelse, [test], values)

            self.decide(value.test, chosen)
        elif isinstance(target, ast.Name) and is_literal(value):  # the line itself says it all
            self.emit(ast.unparse(node))
            self.record(node, changes=[brace(ast.unparse(node))])
        else:
            self.assign(node, target, value)

    def assign(self, node: ast.stmt, target: ast.expr, value: ast.expr, facts=(), values=()):
        """Write `target = value` and its record, which begins with `facts` and their `values`."""
        if mutating_call(value) is not None:
            return self.take(node, target, value)
        if helper_of(value, self.helpers):
            extra = map(ast.Name, ["_r", "_t"] if self.recording else [])
            value = ast.Call(value.func, [*extra, *value.args], [])
        elif not (isinstance(target, ast.Tuple) or is_literal(value) or is_reading(value)):
            return self.compute(node, target, value, facts, values)
        target = self.fixed(target, self.changes(node))
        self.emit(f"{ast.unparse(target)} = {ast.unparse(value)}")
        places = target.elts if isinstance(target, ast.Tuple) else [target]
        self.state(node, places, facts, values)

    def take(self, node: ast.Assign, target: ast.expr, call: ast.Call) -> None:
        """Write `target = container.pop()` and its record."""
        changes = self.changes(node)
        container = self.fixed(call.func.value, changes)
        code = ast.unparse(ast.Call(ast.Attribute(container, "pop"), call.args, []))
        if isinstance(target, ast.Subscript) and self.recording:
            code = self.taken(code)  # the target is looked up after the pop
            target = self.fixed(target, changes)
        self.emit(f"{ast.unparse(target)} = {code}")
        places = list(target.elts) if isinstance(target, ast.Tuple) else [target]
        if root(container) not in changes.names:  # otherwise no name refers to what is left
            places.append(container)
        self.state(node, places)

    def state(self, node: ast.stmt, places: list[ast.expr], facts=(), values=()) -> None:
        """Record the values of `places` after a line, following the given facts."""
        facts, values, changes = list(facts), list(values), []
        for place in places:
            name, indexes = place_of(place)
            facts.append(("state", name, "%s"))
            parts = [literal_code(part) for part in (*indexes, place)]
            slots = tuple(f"{{{len(values) + number}}}" for number in range(len(parts)))
            changes.append((brace(name) + " = %s") % slots)
            values += parts
        self.record(node, facts, values, changes)

    def compute(self, node: ast.stmt, target: ast.expr, value: ast.expr, facts=(), values=()):
        """Write a line that computes `value` for its target, and its record."""
        shown, changes = show(value), self.changes(node)
        values = [*values, *self.before(shown.readings, changes)]
        target = self.fixed(target, changes)
        if isinstance(node, ast.AugAssign):
            self.refuse_joins(node, target)
            self.emit(ast.unparse(ast.AugAssign(target, node.op, node.value)))
        else:
            self.emit(f"{ast.unparse(target)} = {ast.unparse(value)}")
        facts = [*facts, ("calc", shown.template, "%s")]
        values.append(literal_code(target))
        if isinstance(target, ast.Name):
            self.record(node, facts, values, [f"{target.id} = {{{len(values) - 1}}}"])
        else:
            self.state(node, [target], facts, values)

    def refuse_joins(self, node: ast.AugAssign, target: ast.expr) -> None:
        """Write a check that refuses `list += text`: a trace would state it as `list + text`."""
        lists = isinstance(node.op, ast.Add) and self.recording and not isinstance(
            node.value, ast.List) and self.sharing.may_be_list(self.function_name, node.target)
        if lists:
            own, other = ast.unparse(target), ast.unparse(node.value)
            self.block(f"if {own}.__class__ is _list and ({other}).__class__ is not _list:",
                       lambda: self.emit(f"raise _RuleError('line {node.lineno}: {_NO_LIST}')"))

    # --- values that a statement changes are read before it

    def changes(self, node: ast.stmt) -> _Changes:
        """What a simple statement (not a header) may change."""
        targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
        parts = targets[0].elts if isinstance(targets[0], ast.Tuple) else targets
        names = frozenset(part.id for part in parts if isinstance(part, ast.Name))
        if not self.recording or (isinstance(node, ast.Assign) and names
                                  and mutating_call(node.value) is None):
            return _Changes(names, set())
        return _Changes(names, self.sharing.changed(self.function_name, node))

    def touches(self, changes: _Changes, node: ast.expr) -> bool:
        """Can these changes alter the value of `node`?"""
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        return not names.isdisjoint(changes.names) or (bool(changes.objects) and (
            self.sharing.reaches(self.function_name, node, changes.objects)))

    def taken(self, code: str) -> str:
        """Write an assignment that saves the value of `code`; return the new name."""
        self.emit(f"_b{len(self.out)} = {code}")
        return f"_b{len(self.out) - 1}"

    def before(self, readings: list[ast.expr], changes: _Changes) -> list[str]:
        """The code of readings; those that the statement may change are read before it."""
        codes = []
        for reading in readings:
            code = literal_code(reading)
            if self.recording and self.touches(changes, reading):
                code = self.taken(code)
            codes.append(code)
        return codes

    def fixed(self, place: ast.expr, changes: _Changes) -> ast.expr:
        """A place; its indexes are looked up now if the statement may change them."""
        if not self.recording or not isinstance(place, ast.Subscript):
            return place
        index = place.slice
        if any(isinstance(part, ast.Subscript | ast.Call) for part in ast.walk(index)):
            looked_up = self.touches(changes, index)
        else:  # numbers and texts, which are immutable
            looked_up = self.touches(_Changes(changes.names, set()), index)
        if looked_up:
            index = ast.Name(self.taken(ast.unparse(index)))
        return ast.Subscript(self.fixed(place.value, changes), index)

    def write_augassign(self, node: ast.AugAssign) -> None:
        load = ast.parse(ast.unparse(node.target), mode="eval").body
        self.compute(node, node.target, ast.BinOp(load, node.op, node.value))

    def write_expr(self, node: ast.Expr) -> None:
        """Write a method that changes its container, such as `stack.append(x)`."""
        call, changes = node.value, self.changes(node)
        container = self.fixed(call.func.value, changes)
        facts, values, arguments = [], [], []
        for number, argument in enumerate(call.args):
            if is_reading(argument) or is_literal(argument):
                arguments.append(argument)
                continue
            shown = show(argument)
            values += self.before(shown.readings, changes)
            self.emit(f"_a{number} = {ast.unparse(argument)}")
            arguments.append(ast.Name(f"_a{number}"))
            code = literal_code(arguments[-1])
            values.append(self.taken(code) if self.recording and self.touches(changes, argument)
                          else code)
            facts.append(("calc", shown.template, "%s"))
        method = ast.Attribute(container, call.func.attr)
        self.emit(ast.unparse(ast.Call(method, arguments, [])))
        self.state(node, [container], facts, values)

    # --- branches and loops

    def write_if(self, node: ast.If) -> None:
        if not self.recording:
            self.block(f"if {ast.unparse(node.test)}:", node.body)
            if node.orelse:
                self.block("else:", node.orelse)
            return
        self.test(node, loops=False)
        self.block("if _c:", node.body)
        if node.orelse:
            self.block("else:", node.orelse)

    def pass_of_loop(self, statements: list[ast.stmt]) -> None:
        """Write the body of a loop and count its passes against the step limit."""
        self.emit("_n += 1")
        self.block("if _n > _limit:", lambda: self.emit("raise _StepLimit(_limit)"))
        for statement in statements:
            self.statement(statement)

    def write_while(self, node: ast.While) -> None:
        def body():
            if self.recording:
                self.test(node, loops=True)
                self.block("if not _c:", lambda: self.emit("break"))
            self.pass_of_loop(node.body)

        self.block("while True:" if self.recording else f"while {ast.unparse(node.test)}:", body)

    def test(self, node: ast.If | ast.While, loops: bool) -> None:
        """Write the condition of a statement: `_c` is its verdict; a record gives the reason."""

        def verdict(value: bool, shown: Shown) -> None:
            self.emit(f"_c = {value}")
            fact = ("test", shown.template, str(value))
            self.record(node, [fact], map(literal_code, shown.readings), loops=loops)

        if isinstance(node.test, ast.Constant):
            self.emit(f"_c = {bool(node.test.value)}")
            self.record(node, loops=loops)
        else:
            self.decide(node.test, verdict)

    def decide(self, test: ast.expr, then) -> None:
        """Write the evaluation of a condition; `then(verdict, shown)` writes each outcome.

        Only the operands of and/or that were evaluated are shown.
        """
        if not isinstance(test, ast.BoolOp):
            return self.decide_one(test, then)
        stops = isinstance(test.op, ast.Or)  # the verdict that ends the evaluation
        word = " or " if stops else " and "

        def go(number: int, parts: list[Shown]) -> None:
            def operand_done(value: bool, shown: Shown) -> None:
                if isinstance(test.values[number], ast.BoolOp):
                    shown = shown._replace(template=f"({shown.template})")
                shown_now = [*parts, shown]
                if value == stops or number == len(test.values) - 1:
                    joined = Shown(word.join(part.template for part in shown_now),
                                    [reading for part in shown_now for reading in part.readings])
                    then(value, joined)
                else:
                    go(number + 1, shown_now)

            self.decide(test.values[number], operand_done)

        go(0, [])

    def decide_one(self, test: ast.expr, then, count: int = 1) -> None:
        """Write the evaluation of a condition without and/or. `count` is how many comparisons of
        a chain are evaluated: if the chain reads elements, only these are shown."""
        negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        chain = test.operand if negated else test
        if isinstance(chain, ast.Compare) and count < len(chain.ops) and any(
                map(reads_element, chain.comparators[1:])):
            part = ast.Compare(chain.left, chain.ops[:count], chain.comparators[:count])
            shown = truth(ast.UnaryOp(ast.Not(), part) if negated else part)
            self.block(f"if {ast.unparse(part)}:", lambda: self.decide_one(test, then, count + 1))
            self.block("else:", lambda: then(negated, shown))
        else:
            shown = truth(test)
            self.block(f"if {ast.unparse(test)}:", lambda: then(True, shown))
            self.block("else:", lambda: then(False, shown))

    def write_for(self, node: ast.For) -> None:
        header = f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}:"
        targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
        names = [target.id for target in targets]
        values = [literal_code(target) for target in targets]
        is_range = isinstance(node.iter, ast.Call) and getattr(node.iter.func, "id", "") == "range"
        if is_range and self.recording:  # Python reads it once, whatever the passes change
            shown = show(node.iter)
            readings = [self.taken(literal_code(reading)) for reading in shown.readings]

        def body():
            if is_range and self.recording:
                self.record(node, [("each", shown.template, f"{names[0]} = %s")],
                            readings + values, [f"{names[0]} = {{{len(readings)}}}"], loops=True)
            else:
                self.record(node, [("state", name, "%s") for name in names], values,
                            [f"{name} = {{{number}}}" for number, name in enumerate(names)],
                            loops=True)
            self.pass_of_loop(node.body)

        self.block(header, body)
        if self.recording:
            self.block("else:", lambda: self.record(node, [("end", "", "")], loops=True))
