"""The subset of Python that a rule may use, and the check that refuses everything else.

A language model reads and executes a rule line by line, so each line has to be one step that a
reader can follow. The subset has assignments, `while`, `for`, `if`, `break`, `continue`, `return`,
small expressions, the built-ins and methods listed here, tables of literals and helper rules.
Everything else is refused when the task is defined, with the line and the reason.

A *reading* looks a value up without computing anything: a variable, an element or a slice of one,
its length, or `get` of a dict. A trace shows a reading by its value.
"""
import ast

from metarfft_core.tracing import lines
from metarfft_core.tracing.expressions import (
    MUTATING,
    RuleError,
    helper_of,
    is_literal,
    is_reading,
    mutating_call,
    reads_element,
    refuse,
)

BUILTINS = {"abs", "bool", "chr", "dict", "divmod", "int", "len", "list", "max", "min", "ord",
            "range", "str", "tuple"}
METHODS = {"count", "endswith", "find", "get", "index", "isalnum", "isalpha", "isdigit", "islower",
           "isupper", "join", "lower", "lstrip", "replace", "rstrip", "split", "startswith",
           "strip", "upper"}
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.Pow)
COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn,
               ast.Is, ast.IsNot)
STATEMENTS = (ast.Assign, ast.AugAssign, ast.Expr, ast.If, ast.While, ast.For, ast.Break,
              ast.Continue, ast.Return)


def check(source: str) -> ast.Module:
    """Parse a rule's text and refuse what is outside the subset.

    Returns:
        The syntax tree. It holds tables (assignments of literals to upper-case names), helper
        rules, and last the rule itself.

    Raises:
        RuleError: The rule leaves the subset; the message gives the line and the reason.
    """
    try:
        return _checked(source)
    except (RecursionError, MemoryError):
        raise RuleError("line 1: not a rule: nested too deeply") from None


def _checked(source: str) -> ast.Module:
    lines.refuse_other_line_ends(source)
    try:
        module = ast.parse(source)
    except SyntaxError as error:
        raise RuleError(f"line {error.lineno or 1}: not Python: {error.msg}") from None
    except ValueError as error:  # a null byte, or half of a character
        raise RuleError(f"line 1: not Python: {error}") from None
    if not module.body or not isinstance(module.body[-1], ast.FunctionDef):
        raise RuleError("line 1: a rule's text ends with the function that is the rule")
    found = lines.tokens(source)
    lines.refuse_tokens(found)
    if "\f" in source or "\\" in source:
        lines.refuse_gaps(source, found)
    names: set[str] = set()
    tables: set[str] = set()
    for node in module.body:
        match node:
            case ast.FunctionDef(name=name):
                group = names
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name.isupper():
                if not is_literal(value):
                    refuse(node, f"the table {name} is not a literal")
                group = tables
            case _:
                refuse(node, "beside rules a rule's text holds only tables: NAME = literal")
        if name in names | tables:
            refuse(node, f"{name} is defined twice")
        group.add(name)
    checker = _Checker(names, tables, lines.ends(found), source.split("\n"))
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            checker.function(node)
    return module


class _Checker:
    """Checks one function.

    Args:
        helpers: The names of all functions in the rule's text.
        tables: The names of its tables.
        ends: The line on which each statement or header ends (see `lines.ends`).
        text: The lines of the rule's text.
    """

    def __init__(self, helpers: set[str], tables: set[str], ends: dict[int, int],
                 text: list[str]):
        self.helpers = helpers
        self.tables = tables
        self.ends = ends
        self.text = text
        self.used: set[int] = set()  # lines that already hold a statement

    def function(self, node: ast.FunctionDef) -> None:
        arguments = node.args
        if (arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults
                or arguments.posonlyargs or node.decorator_list or node.returns):
            refuse(node, "a rule has plain positional arguments, no defaults or decorators")
        if any(argument.annotation for argument in arguments.args):
            refuse(node, "a rule has no annotations")
        self.used.add(node.lineno)
        self.header(node)
        self.block(node.body)
        for part in ast.walk(node):
            name = getattr(part, "id", getattr(part, "arg", ""))
            if name.startswith("_"):
                refuse(part, f"the name {name} begins with an underscore, as the tracer's own do")
        self.names(node)
        for line, end in self.ends.items():
            if line != end and node.lineno <= line <= node.end_lineno:
                raise RuleError(f"line {line}: a statement takes one line")
        if not _returns(node.body[-1]):
            refuse(node.body[-1], "a rule ends with return, whichever way it takes")

    def names(self, node: ast.FunctionDef) -> None:
        """Check that a function reads only names that it is given or assigns, and tables."""
        if node.name in BUILTINS:
            refuse(node, f"{node.name} is a built-in: give the function another name")
        known = {argument.arg: argument for argument in node.args.args}
        parts = list(ast.walk(node))
        known |= {part.id: part for part in parts
                  if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        for name, place in known.items():
            for what, taken in (("a built-in", BUILTINS), ("a table", self.tables),
                                ("a function", self.helpers)):
                if name in taken:
                    refuse(place, f"{name} is {what}: give the variable another name")
        called = {id(part.func) for part in parts if isinstance(part, ast.Call)}
        readable = known.keys() | self.tables
        for part in parts:
            if not isinstance(part, ast.Name) or isinstance(part.ctx, ast.Store):
                continue
            if id(part) not in called and part.id not in readable:
                refuse(part, f"{part.id} is no variable of the rule: it is never assigned")

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if not isinstance(statement, STATEMENTS):
                refuse(statement, f"{_name(statement)} is not in the subset of rules")
            self.one_line(statement)
            getattr(self, "check_" + type(statement).__name__.lower())(statement)

    def one_line(self, statement: ast.stmt) -> None:
        """Check that a statement, or the header of a compound one, has one line to itself."""
        if hasattr(statement, "body"):
            self.header(statement)
        elif statement.end_lineno != statement.lineno:
            refuse(statement, "a statement takes one line")
        before = self.text[statement.lineno - 1].encode()[:statement.col_offset]
        if statement.lineno in self.used or before.strip():
            refuse(statement, "each statement takes a line of its own, because a trace recites "
                              "lines")
        self.used.add(statement.lineno)

    def header(self, node: ast.stmt) -> None:
        """Check that the header of a function, a loop or a condition ends on its own line."""
        if self.ends.get(node.lineno, node.lineno) != node.lineno:
            what = "header" if isinstance(node, ast.FunctionDef) else "statement"
            refuse(node, f"a {what} takes one line, because a trace recites lines")

    def check_break(self, statement) -> None:
        pass  # always allowed

    check_continue = check_break

    def check_assign(self, statement: ast.Assign) -> None:
        if len(statement.targets) != 1:
            refuse(statement, "one target for each assignment")
        target, value = statement.targets[0], statement.value
        if isinstance(target, ast.Tuple):
            if not all(isinstance(part, ast.Name) for part in target.elts):
                refuse(statement, "several targets are plain names")
            parts = value.elts if isinstance(value, ast.Tuple) else [value]
            if mutating_call(value) is None and not all(
                    is_reading(part) or is_literal(part) for part in parts):
                refuse(statement, "assign a computation to one name, on a line of its own")
        elif not (isinstance(target, ast.Name) or self.is_place(target)):
            refuse(statement, "assign to a name or to an element of one")
        if isinstance(value, ast.IfExp):
            if not isinstance(target, ast.Name):
                refuse(statement, "assign a conditional expression to a plain name")
            self.condition(value.test)
            self.expression(value.body)
            self.expression(value.orelse)
        elif mutating_call(value) is not None:
            self.taking(target, value)
        elif helper_of(value, self.helpers):
            if not isinstance(target, ast.Name):
                refuse(statement, "assign a helper's answer to a plain name")
            for argument in value.args:
                if not (is_reading(argument) or is_literal(argument)):
                    refuse(statement, "a helper takes names and literals")
                self.expression(argument)
        else:
            self.expression(value)

    def check_augassign(self, statement: ast.AugAssign) -> None:
        if not (isinstance(statement.target, ast.Name) or self.is_place(statement.target)):
            refuse(statement, "change a name or an element of one")
        if not isinstance(statement.op, OPERATORS):
            refuse(statement, f"{_name(statement.op)} is not in the subset of rules")
        self.expression(statement.value)

    def check_expr(self, statement: ast.Expr) -> None:
        if mutating_call(statement.value) is None:
            refuse(statement, "an expression alone on a line changes nothing: allowed are the "
                              f"methods {', '.join(sorted(MUTATING))}")
        self.mutation(statement.value)

    def check_if(self, statement: ast.If) -> None:
        self.condition(statement.test)
        self.block(statement.body)
        self.block(statement.orelse)

    def check_while(self, statement: ast.While) -> None:
        if statement.orelse:
            refuse(statement, "no else after a loop")
        self.condition(statement.test)
        self.block(statement.body)

    def check_for(self, statement: ast.For) -> None:
        if statement.orelse:
            refuse(statement, "no else after a loop")
        targets = (statement.target.elts if isinstance(statement.target, ast.Tuple)
                   else [statement.target])
        if not all(isinstance(target, ast.Name) for target in targets):
            refuse(statement, "a loop's targets are plain names")
        if not (is_reading(statement.iter) or is_literal(statement.iter)
                or _is_range(statement.iter)):
            refuse(statement, "a loop goes over a name, a literal or a range")
        self.expression(statement.iter)
        self.block(statement.body)

    def check_return(self, statement: ast.Return) -> None:
        if statement.value is None:
            refuse(statement, "return a value")
        self.expression(statement.value)

    def is_place(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Subscript) or isinstance(node.slice, ast.Slice):
            return False
        self.expression(node)
        return isinstance(node.value, ast.Name) or self.is_place(node.value)

    def taking(self, target: ast.expr, call: ast.Call) -> None:
        """Check `target = container.pop()`."""
        if call.func.attr != "pop":
            refuse(call, f"{call.func.attr} gives nothing that could be assigned")
        if isinstance(target, ast.Subscript) and isinstance(call.func.value, ast.Subscript):
            refuse(call, "give what is taken from an element a name first, because the line may "
                         "replace that element")
        self.mutation(call)

    def mutation(self, call: ast.Call) -> None:
        container = call.func.value
        if not (isinstance(container, ast.Name) or self.is_place(container)):
            refuse(call, "change a name or an element of one")
        if call.keywords:
            refuse(call, "no keyword arguments")
        for argument in call.args:
            self.expression(argument)

    def condition(self, node: ast.expr) -> None:
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                self.condition(value)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            if isinstance(node.operand, (ast.BoolOp, ast.UnaryOp)):
                refuse(node, "`not` stands before a single condition")
            self.condition(node.operand)
        elif isinstance(node, ast.Compare):
            self.comparison(node)
        else:
            self.expression(node)

    def comparison(self, node: ast.Compare) -> None:
        for op in node.ops:
            if not isinstance(op, COMPARISONS):
                refuse(node, f"{_name(op)} is not in the subset of rules")
        for part in (node.left, *node.comparators):
            self.expression(part)

    def expression(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=value):
                if not isinstance(value, (int, str, type(None))):
                    refuse(node, f"{type(value).__name__} is not in the subset of rules")
            case ast.Name():
                pass
            case ast.Subscript():
                self.expression(node.value)
                self.index(node.slice)
            case ast.BinOp(left=left, op=op, right=right):
                if not isinstance(op, OPERATORS):
                    refuse(node, f"{_name(op)} is not in the subset of rules")
                if isinstance(op, ast.Mod) and isinstance(getattr(left, "value", None), str):
                    refuse(node, "formatting a text with % is not in the subset of rules")
                self.expression(left)
                self.expression(right)
            case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
                self.expression(operand)
            case ast.Compare(comparators=parts):
                self.comparison(node)
                if any(map(reads_element, parts[1:])):
                    refuse(node, "a chain of comparisons with an element after the second place "
                                 "belongs into a condition")
            case ast.BoolOp(values=values):
                for value in values:
                    if reads_element(value):
                        refuse(node, "and/or beside an element belongs into a condition")
                    self.expression(value)
                if any(map(_takes_length, values[1:])):
                    refuse(node, "and/or beside a length belongs into a condition")
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                for part in parts:
                    self.expression(part)
            case ast.Dict() if is_literal(node):
                pass
            case ast.Call():
                self.call(node)
            case _:
                refuse(node, f"{_name(node)} is not in the subset of rules")

    def index(self, node: ast.expr) -> None:
        """Check that an index is a name, a constant, a sum or a difference of them."""
        match node:
            case ast.Slice(lower=lower, upper=upper, step=step):
                for part in (lower, upper, step):
                    if part is not None:
                        self.index(part)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                self.index(left)
                self.index(right)
            case ast.Subscript() | ast.Name() | ast.Constant() | ast.UnaryOp():
                self.expression(node)
            case ast.Call(func=ast.Name(id="len")):
                self.expression(node)
            case _:
                refuse(node, "an index is a name or a constant, or a sum of them")

    def call(self, node: ast.Call) -> None:
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            refuse(node, "no keyword or starred arguments")
        match node.func:
            case ast.Name(id=name):
                if name in self.helpers:
                    refuse(node, f"assign the answer of the helper {name} to a name first")
                if name not in BUILTINS:
                    refuse(node, f"{name} is not in the subset of rules "
                                 f"(allowed: {', '.join(sorted(BUILTINS))})")
            case ast.Attribute(attr=attr, value=value):
                if attr in MUTATING:
                    refuse(node, f"{attr} changes a container: it takes a line of its own")
                if attr not in METHODS:
                    refuse(node, f"the method {attr} is not in the subset of rules")
                self.expression(value)
            case _:
                refuse(node, "call a function or a method by its name")
        for argument in node.args:
            self.expression(argument)


def _returns(statement: ast.stmt) -> bool:
    """Does every path through this last statement of a rule end with return?"""
    match statement:
        case ast.If(body=body, orelse=orelse):
            return bool(orelse) and _returns(body[-1]) and _returns(orelse[-1])
        case ast.While(test=ast.Constant(value=True), body=body):
            return not any(isinstance(part, ast.Break) for one in body for part in ast.walk(one))
    return isinstance(statement, ast.Return)


def _takes_length(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id == "len" for part in ast.walk(node))


def _is_range(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", None) == "range"


def _name(node: ast.AST) -> str:
    return type(node).__name__
