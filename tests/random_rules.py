"""Random rules of the whole subset, with inputs: what a person might write, and what nobody would.

    Case(source, inputs) = case(Random(0))

A rule is written from the outside in: functions, blocks, statements, expressions, places. Every
variable has a type, so that most rules run; those that fail on their inputs are for the caller to
discard. Many types are lists in lists and the like, few names are new, and elements stand as
indexes of elements: what a line changes is often what it reads, under this name or another one.

A type is "int", "str", "bool", ("list", type), ("dict", type of keys, type of values),
("tuple", type, ...) or ("maybe", type), which may be None.
"""

from random import Random
from typing import NamedTuple

INTS = ("list", "int")
GRID = ("list", INTS)
PAIR = ("tuple", "int", "int")
COUNTS = ("dict", "str", "int")
GROUPS = ("dict", "int", INTS)
TYPES = ("int", "int", "int", "str", INTS, INTS, GRID, GRID, ("list", "str"), COUNTS, GROUPS, PAIR,
         ("tuple", "int", INTS), ("list", PAIR), ("list", COUNTS), ("list", ("tuple", "str", INTS)),
         ("list", GRID))
SORTED = (INTS, GRID, ("list", "str"), ("list", PAIR))
LETTERS = "abc"
TEXTS = ("", "a", "ab", "cab", "a # b", "x; y", " = ", "it's", '"', "\\", "%s{0}", "a -> b", "_r0_")
DEPTH = 3
"""The most blocks in each other."""


class Case(NamedTuple):
    """A rule and its arguments by name."""

    source: str
    inputs: dict


def case(rng: Random) -> Case:
    """A rule with its tables and helpers, and inputs for it."""
    tables, lines, helpers = {}, [], {}
    for number in range(rng.choice((0, 0, 1, 2))):
        kind = rng.choice([kind for kind in TYPES if kind != "int"])
        tables[f"TABLE_{LETTERS[number].upper()}"] = kind
        lines.append(f"TABLE_{LETTERS[number].upper()} = {value(rng, kind)!r}")
    for number in range(rng.choice((0, 0, 0, 1, 1, 2))):
        arguments = {f"p{place}": rng.choice(TYPES) for place in range(rng.choice((1, 2)))}
        result = rng.choice(TYPES)
        function = _Function(rng, tables, helpers, arguments)
        recursive = rng.random() < 0.15
        lines += function.text(f"helper{number}", result, recursive)
        helpers[f"helper{number}"] = (tuple(arguments.values()), result)
    arguments = {name: rng.choice(TYPES) for name in rng.choice(("a", "ab", "abc"))}
    function = _Function(rng, tables, helpers, arguments)
    lines += function.text("rule", rng.choice(TYPES), False)
    return Case("\n".join(lines) + "\n", {name: value(rng, kind)
                                          for name, kind in arguments.items()})


def value(rng: Random, kind):
    """A value of a type."""
    match kind:
        case "int":
            return rng.choice((0, 0, 0, 1, 1, 1, 2, 2, 3, -1, 12))
        case "str":
            return rng.choice(TEXTS) if rng.random() < 0.4 else rng.choice(LETTERS)
        case "bool":
            return rng.random() < 0.5
        case ("list", inner):
            return [value(rng, inner) for _ in range(rng.choice((0, 2, 2, 2, 3, 3)))]
        case ("dict", "int", inner):
            return {key: value(rng, inner) for key in range(rng.choice((1, 2, 2)))}
        case ("dict", _, inner):
            return {key: value(rng, inner) for key in LETTERS[:rng.choice((1, 2, 2, 3))]}
        case ("tuple", *parts):
            return tuple(value(rng, part) for part in parts)


def reaches(kind, wanted) -> bool:
    """Is a value of the wanted type in a value of this one, at any depth?"""
    return kind == wanted or any(reaches(part, wanted) for part in parts_of(kind))


def parts_of(kind) -> tuple:
    """The types of what a value of this type holds."""
    match kind:
        case ("list", inner) | ("dict", _, inner):
            return (inner,)
        case ("tuple", *parts):
            return tuple(parts)
    return ()


class _Function:
    """Writes one function."""

    def __init__(self, rng: Random, tables: dict, helpers: dict, arguments: dict):
        self.rng = rng
        self.tables = tables
        self.helpers = helpers
        self.arguments = arguments
        self.names = dict(arguments)
        self.lines: list[str] = []
        self.depth = 1
        self.loops = 0
        self.fixed: set[str] = set()  # the counters of the loops around
        self.perhaps: set[str] = set()  # integers that may not be bound

    def text(self, name: str, result, recursive: bool) -> list[str]:
        rng = self.rng
        self.say(f"def {name}({', '.join(self.arguments)}):", 0)
        for number in range(rng.choice((1, 2, 2))):
            self.initial(f"v{number}", rng.choice(TYPES))
        if recursive:
            self.recursion(name, result)
        for _ in range(rng.choice((1, 1, 2) if name != "rule" else (2, 2, 3, 4))):
            self.statement()
        self.returns(result)
        return self.lines

    def say(self, line: str, depth: int | None = None) -> None:
        self.lines.append("    " * (self.depth if depth is None else depth) + line)

    def maybe(self, share: float) -> bool:
        return self.rng.random() < share

    def initial(self, name: str, kind) -> None:
        self.say(f"{name} = {value(self.rng, kind)!r}")
        self.names[name] = kind

    def recursion(self, name: str, result) -> None:
        """The function calls itself with less, as its first integer says."""
        counts = [one for one, kind in self.arguments.items() if kind == "int"]
        if not counts:
            return
        self.say(f"if {counts[0]} > 3 or {counts[0]} < 1:")
        self.depth += 1
        self.returns(result)
        self.depth -= 1
        self.say(f"{counts[0]} -= 1")
        self.say(f"again = {name}({', '.join(self.arguments)})")
        self.names["again"] = result

    def returns(self, kind) -> None:
        self.say(f"return {self.expression(kind) if self.maybe(0.4) else self.reading(kind)}")

    # --- statements

    def block(self, count: int | None = None) -> None:
        self.depth += 1
        known = dict(self.names)
        for _ in range(count or self.rng.choice((1, 1, 2))):
            self.statement()
        self.perhaps |= {name for name, kind in self.names.items() if kind == "int"} - set(known)
        self.names = known  # what is new in a block may not be bound after it
        self.depth -= 1

    def statement(self) -> None:
        rng = self.rng
        simple = (self.assign, self.assign, self.assign_place, self.add, self.add_place, self.add,
                  self.mutate, self.mutate, self.mutate, self.take, self.take, self.unpack,
                  self.choice, self.help, self.help)
        compound = (self.branch, self.branch, self.each, self.each, self.count, self.empty,
                    self.repeat)
        if self.depth <= DEPTH and self.maybe(0.3):
            rng.choice(compound)()
        elif self.loops and self.depth > 1 and self.maybe(0.06):
            self.leave()
        else:
            rng.choice(simple)()

    def leave(self) -> None:
        """The loop is left or gone on with, mostly under a condition."""
        self.say(f"if {self.condition()}:")
        self.say(f"    {self.rng.choice(('break', 'continue'))}")

    def target(self, kind) -> str:
        """A variable to assign, old or new."""
        old = [name for name, one in self.names.items() if one == kind and name not in self.fixed]
        if old and self.maybe(0.7):
            return self.rng.choice(old)
        name = f"n{len(self.names)}"
        return name if name not in self.names else f"n{len(self.lines)}_{len(self.names)}"

    def assign(self) -> None:
        kind = self.rng.choice((*TYPES, "bool"))
        found = self.place(COUNTS) if self.maybe(0.05) else None
        if found:
            kind = ("maybe", "int")
        target = self.target(kind)
        if found:
            text = f"{found}.get({self.key(COUNTS)})"
        elif kind != "bool" and self.maybe(0.45):
            text = self.reading(kind)
        else:
            text = self.expression(kind)
        self.say(f"{target} = {text}")
        self.names[target] = kind

    def assign_place(self) -> None:
        kind = self.rng.choice(TYPES)
        if place := self.element(kind):
            text = self.reading(kind) if self.maybe(0.4) else self.expression(kind)
            if self.maybe(0.15) and (name := self.name(("list", kind))):
                text = f"{name}.pop({self.rng.choice(('', '0', '-1'))})"
            self.say(f"{place} = {text}")
        else:
            self.assign()

    def added(self, kind) -> str | None:
        """What may stand after a place of this type in `place op= ...`."""
        match kind:
            case "int":
                op = self.rng.choice(("+=", "+=", "-=", "*=", "//=", "%="))
                return f"{op} {self.expression('int')}"
            case "str":
                return f"+= {self.expression('str')}"
            case ("list", inner):
                if self.maybe(0.12):
                    return f"*= {self.rng.choice((0, 1, 2, 2))}"
                if self.maybe(0.08):
                    return f"+= {self.reading(('tuple', inner))}"  # refused where it is traced
                return f"+= {self.expression(kind) if self.maybe(0.6) else self.reading(kind)}"
        return None

    def add(self) -> None:
        kind = self.rng.choice(("int", "str", INTS, INTS, GRID))
        names = [name for name, one in self.names.items() if one == kind and name not in self.fixed]
        if names:
            self.say(f"{self.rng.choice(names)} {self.added(kind)}")
        else:
            self.assign()

    def add_place(self) -> None:
        kind = self.rng.choice(("int", "int", "str", INTS, INTS, GRID))
        if place := self.element(kind):
            self.say(f"{place} {self.added(kind)}")
        else:
            self.add()

    def container(self) -> tuple[str, tuple] | None:
        """A list or dict to be changed, a variable or an element, and its type."""
        kinds = [kind for kind in TYPES if kind[0] in ("list", "dict")]
        for _ in range(4):
            kind = self.rng.choice(kinds)
            if place := self.place(kind, changed=True):
                return place, kind
        return None

    def mutate(self) -> None:
        if not (found := self.container()):
            return self.assign()
        place, kind = found
        if kind[0] == "dict":
            self.say(f"{place}[{self.key(kind)}] = {self.reading(kind[2])}")
            return None
        inner = kind[1]
        item = self.expression(inner) if self.maybe(0.4) else self.reading(inner)
        calls = [f"append({item})", f"append({item})", f"insert({self.index(place)}, {item})",
                 "reverse()", f"extend({self.reading(kind)})", f"extend({self.expression(kind)})",
                 "pop()", "pop(0)"]
        if kind in SORTED:
            calls += ["sort()", f"remove({place}[0])", f"remove({item})"]
        self.say(f"{place}.{self.rng.choice(calls)}")
        return None

    def take(self) -> None:
        """`name = container.pop()`"""
        if not (found := self.container()):
            return self.assign()
        place, kind = found
        where = self.key(kind) if kind[0] == "dict" else self.rng.choice(("", "", "0", "-1", "1"))
        if kind[0] == "list" and self.maybe(0.2):
            where = self.index(place)
        inner = kind[-1]
        if inner[0] == "tuple" and self.maybe(0.6):
            targets = [self.target(part) for part in inner[1:]]
            self.say(f"{', '.join(targets)} = {place}.pop({where})")
            self.names |= dict(zip(targets, inner[1:], strict=True))
            return None
        target = self.target(inner)
        self.say(f"{target} = {place}.pop({where})")
        self.names[target] = inner
        return None

    def unpack(self) -> None:
        """Several targets at once."""
        if self.maybe(0.3) and (place := self.place(PAIR)):
            targets = [self.target("int"), self.target("int")]
            self.say(f"{', '.join(targets)} = {place}")
            self.names |= dict.fromkeys(targets, "int")
            return
        kinds = [self.rng.choice(TYPES) for _ in range(self.rng.choice((2, 2, 3)))]
        if self.maybe(0.4):
            kinds[1] = kinds[0]
        targets = [self.target(kind) for kind in kinds]
        values = [self.reading(kind) for kind in kinds]
        if self.maybe(0.3) and kinds[0] == kinds[1] and len(kinds) == 2:
            values = [name if name in self.names else one
                      for name, one in zip(reversed(targets), values, strict=True)]
        self.say(f"{', '.join(targets)} = {', '.join(values)}")
        self.names |= dict(zip(targets, kinds, strict=True))

    def choice(self) -> None:
        """A conditional expression."""
        kind = self.rng.choice(TYPES)
        target = self.target(kind)
        one, two = (self.expression(kind) if self.maybe(0.5) else self.reading(kind)
                    for _ in range(2))
        self.say(f"{target} = {one} if {self.condition()} else {two}")
        self.names[target] = kind

    def help(self) -> None:
        if not self.helpers:
            return self.assign()
        name = self.rng.choice(sorted(self.helpers))
        kinds, result = self.helpers[name]
        target = self.target(result)
        self.say(f"{target} = {name}({', '.join(map(self.reading, kinds))})")
        self.names[target] = result
        return None

    def branch(self) -> None:
        self.say(f"if {self.condition()}:")
        self.block()
        if self.maybe(0.3):
            self.say(f"elif {self.condition()}:")
            self.block()
        if self.maybe(0.4):
            self.say("else:")
            self.block()

    def loop(self, header: str, first: str = "", names: dict | None = None) -> None:
        self.say(header)
        known, self.names = self.names, self.names | (names or {})
        if first:
            self.say(f"    {first}")
        self.loops += 1
        self.block(None if not first else self.rng.choice((1, 2)))
        self.loops -= 1
        self.names = known

    def each(self) -> None:
        """A loop over items."""
        kind = self.rng.choice((INTS, GRID, GRID, ("list", PAIR), COUNTS, "str", ("list", "str"),
                                ("list", ("tuple", "str", INTS)), ("list", GRID)))
        iterated = self.reading(kind) if self.maybe(0.9) else repr(value(self.rng, kind))
        inner = {"str": "str"}.get(kind) or (kind[1])
        if inner[0] == "tuple" and self.maybe(0.7):
            targets = [self.target(part) for part in inner[1:]]
            return self.loop(f"for {', '.join(targets)} in {iterated}:", "",
                             dict(zip(targets, inner[1:], strict=True)))
        target = self.target(inner)
        first = ""
        if iterated in self.names and kind[0] == "list" and self.maybe(0.4):  # it changes meanwhile
            first = self.rng.choice((f"{iterated}.pop()", f"{iterated}.pop(0)",
                                     f"{iterated}.remove({target})", f"{iterated}.reverse()",
                                     f"{iterated} += {iterated}[3:]",
                                     f"{iterated} = {iterated}[1:]"))
        return self.loop(f"for {target} in {iterated}:", first, {target: inner})

    def count(self) -> None:
        """A loop over a range, its bounds possibly changed meanwhile."""
        end = self.rng.choice((self.reading("int"), self.reading("int"), "3", "len({})",
                               "len({}) - 1", "len({}) // 2 + 1"))
        if "{}" in end:
            end = end.format(self.reading(self.rng.choice((INTS, GRID))))
        bounds = self.rng.choice((end, end, f"1, {end}", f"{end}, -1, -1", f"{self.reading('int')},"
                                  f" {end}"))
        target = self.target("int")
        self.loop(f"for {target} in range({bounds}):", "", {target: "int"})

    def empty(self) -> None:
        """`while container:` and what is taken from it."""
        if not (found := self.container()) or found[1][0] == "dict":
            return self.each()
        place, kind = found
        target = self.target(kind[1])
        test = self.rng.choice((place, f"len({place}) > 1", f"{place} and {self.condition()}"))
        return self.loop(f"while {test}:", f"{target} = {place}.pop({self.rng.choice(('', '0'))})",
                         {target: kind[1]})

    def repeat(self) -> None:
        """`while` with a counter."""
        names = [name for name, one in self.names.items()
                 if one == "int" and name not in self.fixed]
        if not names:
            return self.each()
        name = self.rng.choice(names)
        self.fixed.add(name)
        test = self.rng.choice((f"{name} < 4", f"{name} < 3 or {self.condition()}",
                                f"not {name} > 2"))
        self.loop(f"while {test}:", f"{name} += 1")
        self.fixed.discard(name)
        return None

    # --- places

    def name(self, kind) -> str | None:
        names = [name for name, one in self.names.items() if one == kind]
        return self.rng.choice(names) if names else None

    def place(self, kind, changed: bool = False) -> str | None:
        """A variable of this type or an element, at any depth, of one; a table rarely changed."""
        known = dict(self.names)
        if not changed or self.maybe(0.04):
            known |= self.tables
        known = {name: one for name, one in known.items() if reaches(one, kind)}
        if not known:
            return None
        name = self.rng.choice(sorted(known))
        return self.down(name, known[name], kind)

    def element(self, kind) -> str | None:
        """An element that can be assigned."""
        known = {name: one for name, one in self.names.items()
                 if one != kind and reaches(one, kind)}
        if self.maybe(0.03):
            known |= {name: one for name, one in self.tables.items()
                      if one != kind and reaches(one, kind)}
        for name in self.rng.sample(sorted(known), len(known)):
            text, holder = self.way(name, known[name], kind)
            if holder[0] != "tuple":
                return text
        return None

    def down(self, text: str, here, wanted) -> str:
        return self.way(text, here, wanted)[0]

    def way(self, text: str, here, wanted) -> tuple[str, object]:
        """A way down from a place to one of the wanted type, and the type of what holds it."""
        holder = here
        while here != wanted:
            parts = parts_of(here)
            ways = [number for number, part in enumerate(parts) if reaches(part, wanted)]
            number = self.rng.choice(ways)
            index = str(number) if here[0] == "tuple" else (
                self.key(here) if here[0] == "dict" else self.index(text))
            text, here, holder = f"{text}[{index}]", parts[number], here
        return text, holder

    def key(self, kind) -> str:
        if kind[1] == "int":
            return self.index("") if self.maybe(0.3) else self.rng.choice(("0", "0", "1"))
        return self.name("str") if self.maybe(0.2) and self.name("str") else repr(
            self.rng.choice(LETTERS))

    def index(self, owner: str) -> str:
        """An index: a constant, a variable, a sum, a length or an element."""
        rng, number = self.rng, self.name("int")
        if number and self.maybe(0.15):
            return rng.choice((number, number, f"{number} - 1", f"{number} + 1"))
        if owner and self.maybe(0.1):
            return f"len({owner}) - 1"
        lists = [name for name, one in self.names.items() if one == INTS]
        if lists and self.maybe(0.2):
            name = rng.choice(lists)
            return rng.choice((f"{name}[0]", f"{name}[0]", f"{name}[-1]", f"{name}[{name}[0]]",
                               f"{name}[0] - 1"))
        return rng.choice(("0", "0", "0", "1", "-1"))

    # --- readings, expressions and conditions

    def reading(self, kind) -> str:
        """What looks a value up, or a literal where there is none."""
        rng = self.rng
        if kind == "int" and self.maybe(0.15) and (
                found := self.place(rng.choice((INTS, GRID, "str")))):
            return f"len({found})"
        if kind == "int" and self.maybe(0.08) and (found := self.place(COUNTS)):
            return f"{found}.get({self.key(COUNTS)}, {rng.choice(('0', self.index('')))})"
        if (kind == "str" or kind[0] == "list") and self.maybe(0.2) and (found := self.place(kind)):
            return f"{found}[{rng.choice(('1:', ':-1', '::-1', ':', f'{self.index(found)}:'))}]"
        if kind == "int" and self.maybe(0.03) and (found := self.place(GROUPS)):
            return f"{found}.get({self.index('')})[0]"
        if self.maybe(0.9) and (found := self.place(kind)):
            return found
        return repr(value(rng, kind))

    def part(self, kind) -> str:
        return self.reading(kind) if self.maybe(0.8) else repr(value(self.rng, kind))

    def expression(self, kind) -> str:
        """What computes a value."""
        rng, part = self.rng, self.part
        match kind:
            case "int":
                a, b, number = part("int"), part("int"), rng.choice((2, 3))
                texts = [f"{a} + {b}", f"{a} - {b}", f"{a} * {b}", f"{a} // {number}",
                         f"{a} % {number}", f"-{a}", f"abs({a})", f"max({a}, {b})",
                         f"({a} + {b}) % {number}", f"{a} ** 2", f"{a} // {b}",
                         f"min({part(INTS)})", f"{part(INTS)}.count({a})",
                         f"{part(INTS)}.index({a})", f"len({part('str')} + 'x')",
                         f"{part('str')}.find({part('str')})", f"{part('str')}.count('a')"]
                if self.name("int"):
                    texts.append(f"{self.name('int')} or {self.name('int')} + 1")
            case "str":
                a, b = part("str"), part("str")
                texts = [f"{a} + {b}", f"{a} + ' = ' + {b}", f"{a} * 2", f"str({part('int')})",
                         f"{a}.upper()", f"{a}.replace('a', {b})", f"{a}.strip()", f"min({a}, {b})",
                         f"','.join({part(('list', 'str'))})", f"{b} + str({part('int')} + 1)",
                         f"chr({part('int')} % 26 + 97)"]
            case "bool":
                text = self.comparison()
                return "1 < 2" if text.count("<") > 1 and ("[" in text or ".get(" in text) else text
            case ("list", inner):
                a, b, one = part(kind), part(kind), part(inner)
                texts = [f"{a} + {b}", f"{a} + [{one}]", f"list({a})", f"[{one}, {part(inner)}]",
                         f"[{one}]", f"{a} * 2", f"[{one}] + {b}"]
                if kind == INTS:
                    texts += [f"list({part(('tuple', 'int', 'int'))})", f"max({a}, {b})",
                              f"max({part(GRID)})", f"list({part(GROUPS)})"]
                if kind == ("list", "str"):
                    texts += [f"{part('str')}.split(',')", f"list({part('str')})",
                              f"list({part(COUNTS)})"]
            case ("dict", *_):
                texts = [f"dict({part(kind)})", repr(value(rng, kind))]
            case ("tuple", *kinds):
                texts = [f"({', '.join(map(part, kinds))}{',' * (len(kinds) == 1)})"]
                if kind == PAIR:
                    texts.append(f"divmod({part('int')}, {rng.choice((2, 3))})")
        return rng.choice(texts)

    def comparison(self) -> str:
        rng, part = self.rng, self.part
        a, b = part("int"), part("int")
        op = rng.choice(("<", "<=", ">", ">=", "==", "!="))
        texts = [f"{a} {op} {b}", f"{a} {op} {b}", f"0 <= {a} < len({part(INTS)})",
                 f"{a} < {b} < {part('int')}",
                 f"{part('str')} {rng.choice(('==', '!=', '<'))} {part('str')}",
                 f"{a} {rng.choice(('in', 'not in'))} {part(INTS)}",
                 f"{part('str')} in {part('str')}", f"{part('str')} in {part(COUNTS)}",
                 f"{part(INTS)} == {part(INTS)}", f"{part(INTS)} in {part(GRID)}",
                 f"len({part(GRID)}) {op} {rng.choice((0, 1, 2))}", f"{a} + 1 {op} {b}",
                 f"{part('str')}.isdigit()", f"{part('str')}.startswith('a')"]
        if name := self.name(("maybe", "int")):
            texts += [f"{name} is None", f"{name} is not None"]
        return rng.choice(texts)

    def condition(self) -> str:
        rng = self.rng
        if self.maybe(0.2):
            parts = [self.condition() if self.maybe(0.2) else self.single() for _ in range(2)]
            if self.perhaps and self.maybe(0.3):
                parts[1] = f"{rng.choice(sorted(self.perhaps))} > 0"
            parts = [f"({part})" if " and " in part or " or " in part else part for part in parts]
            return rng.choice((" and ", " or ")).join(parts)
        return self.single()

    def single(self) -> str:
        if self.maybe(0.3):
            place = self.place(self.rng.choice((*TYPES, "bool", ("maybe", "int")))) or "True"
            return place if self.maybe(0.6) else f"not {place}"
        return f"not {self.comparison()}" if self.maybe(0.1) else self.comparison()
