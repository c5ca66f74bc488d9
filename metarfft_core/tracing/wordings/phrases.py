"""English clauses for the conditions of a rule, in addition to the nouns for its values."""

import ast

from metarfft_core.tracing.expressions import is_literal
from metarfft_core.tracing.wordings.kinds import is_text
from metarfft_core.tracing.wordings.values import Values, is_table, listed

_NEGATED = {ast.Eq: ast.NotEq, ast.Lt: ast.GtE, ast.Gt: ast.LtE, ast.In: ast.NotIn,
            ast.Is: ast.IsNot}
_NEGATED |= {two: one for one, two in _NEGATED.items()}
_VERBS = {ast.Lt: "is less than", ast.LtE: "is at most", ast.Gt: "is greater than",
          ast.GtE: "is at least"}
_VERBS_OF_TEXTS = {ast.Lt: "comes before", ast.Gt: "comes after"}
_LENGTHS = {ast.Eq: "exactly", ast.Lt: "fewer than", ast.LtE: "at most", ast.Gt: "more than",
            ast.GtE: "at least"}
_TESTS = {"isalnum": ("a letter or digit", "letters and digits"),
          "isalpha": ("a letter", "letters"), "isdigit": ("a digit", "digits"),
          "isupper": ("an upper-case letter", "upper-case letters"),
          "islower": ("a lower-case letter", "lower-case letters")}


class Phrases(Values):
    """Puts conditions into words, as well as values."""

    def condition(self, node: ast.expr, holds: bool = True) -> str:
        """A clause that says that a condition holds, or that it does not."""
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.condition(operand, not holds)
            case ast.BoolOp(op=op, values=values):
                word = " and " if isinstance(op, ast.And) == holds else " or "
                clauses = [f"({self.condition(value, holds)})" if isinstance(value, ast.BoolOp)
                           else self.condition(value, holds) for value in values]
                return self.together(clauses, word) or word.join(clauses)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                kind = type(op)
                return self.compared(left, kind if holds else _NEGATED[kind], right)
            case ast.Compare(left=left, ops=ops, comparators=parts):
                clauses = [self.compared(one, type(op), two) for one, op, two
                           in zip([left, *parts], ops, parts, strict=False)]
                return " and ".join(clauses)
            case ast.Call(func=ast.Attribute(value=owner, attr=attr), args=arguments):
                if clause := self.tested(owner, attr, arguments, holds):
                    return clause
        return self.bare(node, holds)

    def together(self, clauses: list[str], word: str) -> str | None:
        """`a or b is not empty`, if the clauses say the same about several variables."""
        pairs = [clause.partition(" is ") for clause in clauses]
        subjects, ends = [pair[0] for pair in pairs], {pair[2] for pair in pairs}
        if len(ends) > 1 or not all(map(str.isidentifier, subjects)):
            return None
        verb = "are" if word == " and " else "is"
        return f"{listed(subjects, word.strip())} {verb} {ends.pop()}"

    def bare(self, node: ast.expr, holds: bool) -> str:
        """A clause for a value that serves as a condition."""
        noun, kind = self.noun(node), self.kind(node)
        match node:
            case ast.Subscript(slice=ast.Slice(lower=ast.Constant(value=int(number)), upper=None,
                                               step=None)):
                return self.length(node.value, ast.Gt if holds else ast.LtE, ast.Constant(number))
        if kind == "number":
            return f"{noun} is not 0" if holds else f"{noun} is 0"
        if is_text(kind) or isinstance(kind, tuple):
            return f"{noun} is not empty" if holds else f"{noun} is empty"
        return f"{noun} is {holds}"

    def tested(self, owner: ast.expr, attr: str, arguments: list[ast.expr],
               holds: bool) -> str | None:
        """A clause for a method that tests a text; None for any other method."""
        noun = self.noun(owner)
        if attr in _TESTS:
            one, many = _TESTS[attr]
            if self.kind(owner) == "character":
                return f"{noun} is {one}" if holds else f"{noun} is not {one}"
            return f"{noun} consists of {many}" if holds else f"{noun} does not consist of {many}"
        if attr in ("startswith", "endswith"):
            verb = "begin" if attr == "startswith" else "end"
            verb = f"{verb}s with" if holds else f"does not {verb} with"
            return f"{noun} {verb} {self.part(arguments[0])}"
        return None

    def compared(self, left: ast.expr, op: type, right: ast.expr) -> str:
        """A clause for one comparison."""
        one, two = self.side(left), self.side(right)
        match left, right:
            case ast.Call(func=ast.Name(id="len"), args=[owner]), ast.Constant(value=int()):
                return self.length(owner, op, right)
            case (ast.BinOp(left=number, op=ast.Mod(), right=ast.Constant(value=2)),
                  ast.Constant(value=0 | 1 as rest)) if op in (ast.Eq, ast.NotEq):
                even = (rest == 0) == (op is ast.Eq)
                return f"{self.noun(number)} is {'even' if even else 'odd'}"
            case _, ast.Constant(value="") if op in (ast.Eq, ast.NotEq):
                return f"{one} is {'' if op is ast.Eq else 'not '}empty"
        if op in (ast.In, ast.NotIn):
            return self.within(one, right, op is ast.In)
        if op in (ast.Eq, ast.Is):
            return f"{one} is {two}" if is_literal(right) else f"{one} equals {two}"
        if op in (ast.NotEq, ast.IsNot):
            return f"{one} is not {two}" if is_literal(right) else f"{one} differs from {two}"
        texts = is_text(self.kind(left)) or is_text(self.kind(right))
        return f"{one} {(texts and _VERBS_OF_TEXTS.get(op)) or _VERBS[op]} {two}"

    def length(self, owner: ast.expr, op: type, number: ast.Constant) -> str:
        """A clause that compares the number of items of a container with a number."""
        noun = self.noun(owner)
        things = f"{number.value} {self.unit(owner)}{'' if number.value == 1 else 's'}"
        if op is ast.NotEq:
            return f"{noun} does not have {things}"
        return f"{noun} has {_LENGTHS[op]} {things}"

    def within(self, one: str, container: ast.expr, holds: bool) -> str:
        """A clause that says whether a container holds something."""
        two, kind = self.noun(container), self.kind(container)
        no = "" if holds else "not "
        if is_text(kind):
            if isinstance(container, ast.Constant) or two.isupper():
                return f"{one} is {no}one of the characters in {two}"
            return f"{one} occurs in {two}" if holds else f"{one} does not occur in {two}"
        if is_table(kind):
            return f"{two} has {'an' if holds else 'no'} entry for {one}"
        if is_literal(container) and isinstance(container, ast.List | ast.Tuple) and container.elts:
            choices = [ast.unparse(part) for part in container.elts]
            return f"{one} is {no}{listed(choices, 'or' if holds else 'nor')}"
        return f"{one} is {no}in {two}"
