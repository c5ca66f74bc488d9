"""English nouns for the values of a rule.

No phrase contains an apostrophe, because the judge splits a trace into facts outside quotes.
"""

import ast

from metarfft_core.tracing.expressions import is_literal
from metarfft_core.tracing.wordings.kinds import Kind, inner, is_text, of

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
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


def is_table(kind: Kind) -> bool:
    return isinstance(kind, tuple) and kind[0] == "table"


def _bare_text(node: ast.expr) -> ast.expr:
    """The argument of `str(...)`, because the sentence need not mention the conversion."""
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


class Values:
    """Puts expressions into words; `kinds` says what the variables hold."""

    def __init__(self, kinds: dict[str, Kind]):
        self.kinds = kinds

    def kind(self, node: ast.expr) -> Kind:
        return of(node, self.kinds)

    def value(self, node: ast.expr) -> str:
        """A value that is assigned or returned; a condition becomes `whether ...`."""
        match node:
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return f"whether {self.condition(node)}"
            case ast.BoolOp() | ast.Call() if self.kind(node) == "truth":
                return f"whether {self.condition(node)}"
        return self.noun(node)

    def part(self, node: ast.expr) -> str:
        """A noun within another phrase, in parentheses if its end would not be clear."""
        match node:
            case ast.Call(func=ast.Attribute(attr="get")):
                return self.noun(node)  # ends with parentheses of its own
            case ast.BinOp() | ast.BoolOp() | ast.Call() | ast.Subscript(slice=ast.Slice()):
                return f"({self.noun(node)})"
            case ast.Subscript(value=value) if is_table(self.kind(value)):
                return f"({self.noun(node)})"
        return self.noun(node)

    def side(self, node: ast.expr) -> str:
        """A noun next to a verb, in parentheses if it contains a comma."""
        noun = self.noun(node)
        return f"({noun})" if ", " in noun and not is_literal(node) else noun

    def noun(self, node: ast.expr) -> str:
        """The noun for a value."""
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
        """The word for one member of a text or a list."""
        if is_text(self.kind(owner)):
            return "character"
        return "number" if inner(self.kind(owner)) == "number" else "item"

    def element(self, node: ast.Subscript) -> str:
        owner, index = self.part(node.value), node.slice
        kind = self.kind(node.value)
        if is_table(kind):
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
        """A slice as (what it drops from its owner, "") or as ("", what it keeps `of it`)."""
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
        """The remark that a text or list may be too short for a slice."""
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
        """Texts or lists, one after the other."""
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
                return f"the {word} of {listed([self.part(argument) for argument in node.args])}"
            case ast.Name(id="list" | "tuple") if is_text(self.kind(node.args[0])):
                return f"a {node.func.id} of the characters of {self.part(node.args[0])}"
            case ast.Name(id=name):
                say = self.noun if name in ("list", "tuple") else self.part
                arguments = [say(argument) for argument in node.args]
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
        """`sentence into its words`, for a call of `split`."""
        owner = self.noun(node.func.value)
        if not node.args:
            return f"{owner} into its words"
        return f"{owner} at every {self.noun(node.args[0])} into parts"

    def taken(self, node: ast.expr) -> str | None:
        """`first item out of nums` for a call of `pop`; None for anything else."""
        match node:
            case ast.Call(func=ast.Attribute(value=owner, attr="pop"), args=arguments):
                last = ast.UnaryOp(ast.USub(), ast.Constant(1))
                index = arguments[0] if arguments else last
                kind = self.kind(owner)
                if is_table(kind):
                    return f"the entry for {self.part(index)} out of {self.noun(owner)}"
                return f"the {self.place(owner, index)} out of {self.noun(owner)}"
        return None

    def each(self, target: ast.expr, items: ast.expr) -> str:
        """The target and the items of a `for` loop."""
        if isinstance(items, ast.Call) and getattr(items.func, "id", None) == "range":
            return f"each number {target.id} {self.counted(items)}"
        owner, kind = self.noun(items), self.kind(items)
        if isinstance(target, ast.Tuple):
            names = [part.id for part in target.elts]
            return f"each item of {owner} in turn, its parts called {listed(names)}"
        unit = self.unit(items)
        if is_table(kind):
            unit = "key"
        return f"each {unit} {target.id} of {owner} in turn"
