"""Expressions of a rule as English phrases: nouns for values, clauses for conditions.

No phrase holds an apostrophe, because a trace is split into its facts outside of quotes.
"""

import ast

from metarfft_core.tracing.kinds import Kind, inner, is_text, of
from metarfft_core.tracing.subset import is_literal

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
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
_CALLS = {
    ("abs", 1): "the absolute value of {}", ("chr", 1): "the character with the code {}",
    ("dict", 0): "an empty table", ("dict", 1): "a copy of {}",
    ("divmod", 2): "{} divided by {} with its remainder",
    ("int", 1): "{} as a number", ("len", 1): "the length of {}", ("list", 1): "a list of {}",
    ("ord", 1): "the code of {}", ("str", 1): "{} as text", ("tuple", 1): "a tuple of {}",
    ("max", 2): "the larger of {} and {}", ("min", 2): "the smaller of {} and {}",
}
_METHODS = {
    ("count", 1): "the number of times that {1} occurs in {0}",
    ("find", 1): "the index where {1} first occurs in {0} (-1 where it does not)",
    ("get", 1): "the entry of {0} for {1} (None where it has none)",
    ("get", 2): "the entry of {0} for {1} ({2} where it has none)",
    ("index", 1): "the index where {1} first occurs in {0}",
    ("join", 1): "the items of {1} joined by {0}",
    ("lower", 0): "{0} in lower case", ("upper", 0): "{0} in upper case",
    ("lstrip", 0): "{0} without the blanks at its front",
    ("rstrip", 0): "{0} without the blanks at its end",
    ("strip", 0): "{0} without the blanks at both ends",
    ("lstrip", 1): "{0} without any {1} at its front",
    ("rstrip", 1): "{0} without any {1} at its end",
    ("strip", 1): "{0} without any {1} at both ends",
    ("replace", 2): "{0} with every occurrence of {1} replaced by {2}",
    ("replace", 3): "{0} with the first {3} occurrences of {1} replaced by {2}",
    ("split", 0): "the list of the words of {0}",
    ("split", 1): "the list of the parts of {0} split at every {1}",
}


def listed(parts: list[str], word: str = "and") -> str:
    """a; a and b; a, b and c"""
    return f" {word} ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def same(one: ast.expr, two: ast.expr) -> bool:
    """Are these the same expression?"""
    return ast.unparse(one) == ast.unparse(two)


def summands(node: ast.expr) -> list[ast.expr]:
    """The terms of a sum, from left to right."""
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [*summands(left), right]
    return [node]


def _is_table(kind: Kind) -> bool:
    return isinstance(kind, tuple) and kind[0] == "table"


def _bare_text(node: ast.expr) -> ast.expr:
    """What stands in `str(...)`: a text is made of it without saying so."""
    match node:
        case ast.Call(func=ast.Name(id="str"), args=[inside]):
            return inside
    return node


def _next_letter(node: ast.expr) -> ast.expr | None:
    """The x of `chr(ord(x) + 1)`."""
    match node:
        case ast.Call(args=[ast.BinOp(left=ast.Call(func=ast.Name(id="ord"), args=[letter]),
                                      op=ast.Add(), right=ast.Constant(value=1))]):
            return letter
    return None


class Phrases:
    """Words expressions; `kinds` says what the variables hold."""

    def __init__(self, kinds: dict[str, Kind]):
        self.kinds = kinds

    def kind(self, node: ast.expr) -> Kind:
        return of(node, self.kinds)

    # --- values

    def value(self, node: ast.expr) -> str:
        """A value to be assigned or returned; a condition becomes `whether ...`."""
        match node:
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return f"whether {self.condition(node)}"
            case ast.BoolOp() | ast.Call() if self.kind(node) == "truth":
                return f"whether {self.condition(node)}"
        return self.noun(node)

    def part(self, node: ast.expr) -> str:
        """A noun within another phrase, in parentheses where its end would not be clear."""
        match node:
            case ast.Call(func=ast.Attribute(attr="get")):
                return self.noun(node)  # ends with parentheses of its own
            case ast.BinOp() | ast.BoolOp() | ast.Call() | ast.Subscript(slice=ast.Slice()):
                return f"({self.noun(node)})"
            case ast.Subscript(value=value) if _is_table(self.kind(value)):
                return f"({self.noun(node)})"
        return self.noun(node)

    def side(self, node: ast.expr) -> str:
        """A noun beside a verb, in parentheses where it holds a comma."""
        noun = self.noun(node)
        return f"({noun})" if ", " in noun and not is_literal(node) else noun

    def noun(self, node: ast.expr) -> str:
        """What a value is called."""
        match node:
            case ast.Constant(value=""):
                return "an empty text"
            case ast.List(elts=[]):
                return "an empty list"
            case ast.Dict(keys=[]):
                return "an empty table"
            case ast.Name() | ast.Constant():
                return ast.unparse(node)
            case ast.List() | ast.Tuple() | ast.Dict() if is_literal(node):
                return ast.unparse(node)
            case ast.List(elts=parts):
                return f"a list of {listed([self.part(part) for part in parts])}"
            case ast.Tuple(elts=parts):
                return f"a tuple of {listed([self.part(part) for part in parts])}"
            case ast.Subscript(slice=ast.Slice()):
                dropped, kept = self.cut(node)
                owner = self.part(node.value)
                return (f"{owner} without {dropped.replace('the ', 'its ', 1)}" if dropped
                        else kept.replace(" of it", f" of {owner}", 1))
            case ast.Subscript():
                return self.element(node)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)):
                return f"-{value}"
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"minus {self.part(operand)}"
            case ast.BinOp():
                return self.computed(node)
            case ast.BoolOp(op=ast.Or(), values=[value, other]):
                lacks = "0" if self.kind(value) == "number" else "empty"
                return f"{self.noun(value)}, or {self.noun(other)} if that is {lacks}"
            case ast.Call():
                return self.called(node)
        return self.value(node) if self.kind(node) == "truth" else ast.unparse(node)

    def unit(self, owner: ast.expr) -> str:
        """What one of the things in a text or a list is called."""
        if is_text(self.kind(owner)):
            return "character"
        return "number" if inner(self.kind(owner)) == "number" else "item"

    def element(self, node: ast.Subscript) -> str:
        owner, index = self.part(node.value), node.slice
        kind = self.kind(node.value)
        if _is_table(kind):
            return f"the entry of {owner} for {self.part(index)}"
        return f"the {self.place(node.value, index)} of {owner}"

    def place(self, owner: ast.expr, index: ast.expr) -> str:
        """first character, last item, number at index i, ..."""
        unit = self.unit(owner)
        match index:
            case ast.Constant(value=int(number)) if number < len(_ORDINALS):
                return f"{_ORDINALS[number]} {unit}"
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)):
                return f"last {unit}"
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=2)):
                return f"second to last {unit}"
        return f"{unit} at index {self.part(index)}"

    def cut(self, node: ast.Subscript) -> tuple[str, str]:
        """A slice, as what it drops of its owner, or else as what it keeps `of it`."""
        unit, cut = self.unit(node.value), node.slice

        def some(which: str, number: ast.expr) -> str:
            if isinstance(number, ast.Constant) and number.value == 1:
                return f"the {which} {unit}"
            return f"the {which} {self.part(number)} {unit}s"

        match cut.lower, cut.upper, cut.step:
            case (None, None, ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1))):
                return "", f"the {unit}s of it in opposite order"
            case (ast.UnaryOp(op=ast.USub(), operand=number), None, None):
                return "", f"{some('last', number)} of it" + self.maybe(number)
            case (None, ast.UnaryOp(op=ast.USub(), operand=number), None):
                return some("last", number), ""
            case (None, upper, None) if upper:
                return "", f"{some('first', upper)} of it" + self.maybe(upper)
            case (lower, None, None) if lower:
                return some("first", lower), ""
            case (ast.Constant(value=1), ast.UnaryOp(operand=ast.Constant(value=1)), None):
                return f"the first and the last {unit}", ""
            case (ast.Constant(value=lower), ast.Constant(value=int(upper)), None):
                return "", f"the {unit}s at index {lower} to {upper - 1} of it"
        start = self.part(cut.lower) if cut.lower else "0"
        end = f" up to, but not including, {self.part(cut.upper)}" if cut.upper else " on"
        step = f", in steps of {self.part(cut.step)}" if cut.step else ""
        return "", f"the {unit}s of it from index {start}{end}{step}"

    def maybe(self, number: ast.expr) -> str:
        """A text that may be too short for a slice gives what it has."""
        single = isinstance(number, ast.Constant) and number.value == 1
        return " (if there is one)" if single else ""

    def computed(self, node: ast.BinOp) -> str:
        terms = summands(node)
        if len(terms) > 1:
            if is_text(self.kind(node)) or isinstance(self.kind(node), tuple):
                return self.chain(terms)
            if len(terms) > 2:
                return f"the sum of {listed([self.part(term) for term in terms])}"
        left, right = self.part(node.left), self.part(node.right)
        match node.op:
            case ast.Add():
                return f"{left} plus {right}"
            case ast.Sub():
                return f"{left} minus {right}"
            case ast.Mult():
                return f"{left} times {right}"
            case ast.FloorDiv():
                return f"{left} divided by {right}, rounded down"
            case ast.Mod():
                return f"the remainder of {left} divided by {right}"
        return f"{left} to the power of {right}"

    def chain(self, terms: list[ast.expr]) -> str:
        """Texts or lists, one behind the other."""
        if len(terms) < 3:
            return " followed by ".join(map(self.noun, terms))
        whole = "text" if any(is_text(self.kind(term)) for term in terms) else "list"
        return f"the {whole} made of {listed([self.noun(_bare_text(term)) for term in terms])}"

    def called(self, node: ast.Call) -> str:
        match node.func:
            case ast.Name(id="chr") if letter := _next_letter(node):
                return f"the character after {self.noun(letter)}"
            case ast.Name(id="range"):
                return f"the numbers {self.counted(node)}"
            case ast.Name(id="max" | "min" as name) if len(node.args) != 2:
                word = "largest" if name == "max" else "smallest"
                if len(node.args) == 1:
                    return f"the {word} {self.unit(node.args[0])} of {self.part(node.args[0])}"
                return f"the {word} of {listed([self.part(one) for one in node.args])}"
            case ast.Name(id="list" | "tuple") if is_text(self.kind(node.args[0])):
                return f"a {node.func.id} of the characters of {self.part(node.args[0])}"
            case ast.Name(id=name):
                say = self.noun if name in ("list", "tuple") else self.part
                arguments = [say(one) for one in node.args]
                template = _CALLS.get((name, len(arguments)))
            case ast.Attribute(value=owner, attr=name):
                arguments = [self.part(owner), *map(self.part, node.args)]
                template = _METHODS.get((name, len(node.args)))
        if template:
            return template.format(*arguments)
        return f"whether {self.condition(node)}"

    def counted(self, node: ast.Call) -> str:
        """A range: from ... to ..."""
        start, end = ([ast.Constant(0), *node.args] if len(node.args) == 1 else node.args)[:2]
        match end:
            case ast.Constant(value=int(value)):
                last = f"to {value - 1}"
            case ast.BinOp(left=last, op=ast.Add(), right=ast.Constant(value=1)):
                last = f"to {self.part(last)}"
            case _:
                last = f"up to, but not including, {self.noun(end)}"
        steps = f" in steps of {self.part(node.args[2])}" if len(node.args) > 2 else ""
        return f"from {self.part(start)} {last}{steps}"

    def split(self, node: ast.Call) -> str:
        """`sentence into its words`, for a call of split."""
        owner = self.noun(node.func.value)
        if not node.args:
            return f"{owner} into its words"
        return f"{owner} at every {self.noun(node.args[0])} into parts"

    def taken(self, node: ast.expr) -> str | None:
        """`first item out of nums` for a pop, None for anything else."""
        match node:
            case ast.Call(func=ast.Attribute(value=owner, attr="pop"), args=arguments):
                last = ast.UnaryOp(ast.USub(), ast.Constant(1))
                index = arguments[0] if arguments else last
                kind = self.kind(owner)
                if _is_table(kind):
                    return f"the entry for {self.part(index)} out of {self.noun(owner)}"
                return f"the {self.place(owner, index)} out of {self.noun(owner)}"
        return None

    def each(self, target: ast.expr, items: ast.expr) -> str:
        """What a `for` loop goes over."""
        if isinstance(items, ast.Call) and getattr(items.func, "id", None) == "range":
            return f"each number {target.id} {self.counted(items)}"
        owner, kind = self.noun(items), self.kind(items)
        if isinstance(target, ast.Tuple):
            names = [part.id for part in target.elts]
            return f"each item of {owner} in turn, its parts called {listed(names)}"
        unit = self.unit(items)
        if _is_table(kind):
            unit = "key"
        return f"each {unit} {target.id} of {owner} in turn"

    # --- conditions

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
        """`a or b is not empty`, where the clauses say the same of several variables."""
        pairs = [clause.partition(" is ") for clause in clauses]
        subjects, ends = [pair[0] for pair in pairs], {pair[2] for pair in pairs}
        if len(ends) > 1 or not all(map(str.isidentifier, subjects)):
            return None
        verb = "are" if word == " and " else "is"
        return f"{listed(subjects, word.strip())} {verb} {ends.pop()}"

    def bare(self, node: ast.expr, holds: bool) -> str:
        """A value that is taken for a condition."""
        noun, kind = self.noun(node), self.kind(node)
        match node:
            case ast.Subscript(slice=ast.Slice(lower=ast.Constant(value=int(number)), upper=None)):
                return self.length(node.value, ast.Gt if holds else ast.LtE, ast.Constant(number))
        if kind == "number":
            return f"{noun} is not 0" if holds else f"{noun} is 0"
        if is_text(kind) or isinstance(kind, tuple):
            return f"{noun} is not empty" if holds else f"{noun} is empty"
        return f"{noun} is {holds}"

    def tested(self, owner: ast.expr, attr: str, arguments: list[ast.expr],
               holds: bool) -> str | None:
        """A method that asks something of a text; None where it is no such method."""
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
        """One comparison."""
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
        """How many items something has, held against a number."""
        noun = self.noun(owner)
        things = f"{number.value} {self.unit(owner)}{'' if number.value == 1 else 's'}"
        if op is ast.NotEq:
            return f"{noun} does not have {things}"
        return f"{noun} has {_LENGTHS[op]} {things}"

    def within(self, one: str, container: ast.expr, holds: bool) -> str:
        """Is something in a container?"""
        two, kind = self.noun(container), self.kind(container)
        no = "" if holds else "not "
        if is_text(kind):
            if isinstance(container, ast.Constant) or two.isupper():
                return f"{one} is {no}one of the characters in {two}"
            return f"{one} occurs in {two}" if holds else f"{one} does not occur in {two}"
        if _is_table(kind):
            return f"{two} has {'an' if holds else 'no'} entry for {one}"
        if is_literal(container) and isinstance(container, ast.List | ast.Tuple) and container.elts:
            choices = [ast.unparse(part) for part in container.elts]
            return f"{one} is {no}{listed(choices, 'or' if holds else 'nor')}"
        return f"{one} is {no}in {two}"
