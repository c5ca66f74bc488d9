"""Right completions with one planted error, whose kind and step are known from the planting.

Made without the error analysis: out of the tracer's records, the lines of the right text, and a
walk through the rule that goes on with whatever was planted, as a model would. `python
tests/planted.py 3 rfft_nl` prints what is misnamed in three instances of each task, and a table.
"""

import ast
import re
import string
import sys
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from metarfft_core import errors, formats, tasks
from metarfft_core.tasks import Instance, Task
from metarfft_core.tracing.judge import walk
from metarfft_core.tracing.judge.claims import Lines, Lost
from metarfft_core.tracing.judge.evaluator import evaluate
from metarfft_core.tracing.judge.literals import Unclear
from metarfft_core.tracing.steps import ANSWER, BEHIND, BETWEEN, JOIN, Fact

TASKS = [*tasks.select(), *(task.counterfactual for task in tasks.select() if task.counterfactual)]
STRANGERS = ("total = total + 1 # 3 + 1 = 4", "print(result)", "offset = 7",
             "del answer[0] # answer = [2]", "assert depth >= 0")
NO_LINES = ("Let me think about this step by step.", "```python", "?!", "=> 3", "...",
            "Next, the loop is entered again", "))) # ((", "# 3 + 4 = 7", "1. 2. 3.")


class Planted(NamedTuple):
    """A text with one error, and what is known of it."""

    kind: str
    how: str
    text: str
    step: int | None  # the first that differs, from 1
    finish_reason: str = "stop"
    passes: dict[int, int] | None = None  # through each loop, where the walk counted them


class Right:
    """A right completion: its lines, and the records that they come from."""

    def __init__(self, task: Task, instance: Instance, format: str = "rfft"):
        self.task, self.instance = task, instance
        self.lines = formats.render(task, instance, format).completion.split("\n")
        self.records = task.trace(instance.inputs).records
        self.nodes = {node.lineno: node for node in ast.walk(ast.parse(task.rule_source))
                      if isinstance(node, ast.stmt)}
        self.recitals = {number: line.strip() for number, line
                         in enumerate(task.rule_source.split("\n"), start=1)}
        if format == "rfft_nl":
            self.recitals |= task.rule.sentences
        self.recited = set(self.recitals.values())

    def node(self, place: int) -> ast.stmt:
        return self.nodes[self.records[place][0].line]

    def planted(self, kind: str, how: str, lines: list[str], **more) -> Planted:
        pairs = zip([*lines, None], [*self.lines, None], strict=False)
        step = next((number for number, (a, b) in enumerate(pairs, 1) if a != b), None)
        return Planted(kind, how, "\n".join(lines), step, **more)

    def with_line(self, place: int, *lines: str) -> list[str]:
        return [*self.lines[:place], *lines, *self.lines[place + 1:]]

    def code(self, place: int) -> str:
        return self.lines[place].partition(BEHIND)[0]

    def enters(self, place: int) -> bool | None:
        """What a header of a loop says; None where the line is none."""
        if not isinstance(self.node(place), (ast.While, ast.For)):
            return None
        facts = self.records[place][0].facts
        return not facts or (facts[0][0] != "end" and facts[0][2] != "False")

    def left(self, place: int) -> int | None:
        """Where the loop whose header is at a place is left by that header, if it is."""
        line = self.records[place][0].line
        for other in range(place + 1, len(self.records)):
            if self.records[other][0].line == line and not self.enters(other):
                return other
        return None


def changed(rng: Random, literal: str) -> str | None:
    """A literal with one digit, one verdict or one letter changed; None where it has none."""
    for pattern, choices in ((r"(?<!\d)[1-9]|(?<=\d)\d|(?<!\d)0(?!\d)", string.digits[1:]),
                             (r"True|False", ("True", "False")),
                             (r"[A-Za-z]", string.ascii_lowercase)):
        if places := list(re.finditer(pattern, literal)):
            place = rng.choice(places)
            other = rng.choice([choice for choice in choices if choice != place[0]])
            return literal[:place.start()] + other + literal[place.end():]
    return None


def is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except ValueError:  # None may become Nine
        return False
    return True


# --- the walk of a model that makes one mistake

class Writer(Lines):
    """Writes the lines that a walk through the rule says, changed by `slip` at one of them."""

    def __init__(self, place: int, slip, limit: int):
        super().__init__("")
        self.place, self.slip, self.limit = place, slip, limit
        self.written: list[str] = []
        self.passes: Counter = Counter()
        self.cut = False

    def facts(self, code: str, expected: list[Fact], loops: bool, changed=()) -> list[Fact]:
        claims = expected
        if len(self.written) == self.place and self.slip:
            claims = self.slip(expected)
        self.write(code, claims)
        return claims

    def silent(self, code: str, changes: list[str]) -> None:
        self.write(code, [])

    def write(self, code: str, claims: list[Fact]) -> None:
        if len(self.written) >= self.limit:
            self.cut = True
            raise Lost
        said = BETWEEN.join(fact.left + JOIN[fact.kind] + fact.right if fact.kind != "end"
                            else "end" for fact in claims)
        self.written.append(code + (BEHIND + said if said else ""))

    def enter(self, node: ast.AST) -> None:
        self.passes[node.lineno] += 1

    def end(self, answer) -> None:
        self.written.append(f"{ANSWER}{answer!r}")


class Walk(walk.Walk):
    """A walk that leaves one statement out, or executes it twice."""

    def __init__(self, right: Right, lines: Writer, times: dict[int, int]):
        inputs = ast.literal_eval(repr(right.instance.inputs))
        super().__init__(right.task.rule_source, inputs, lines, right.recitals)
        self.times = times  # by the place of the line in the text

    def judge(self):
        names = [argument.arg for argument in self.rule.args.args]
        self.lines.end(self.walk(self.call(self.rule, dict(self.inputs(names)))))

    def block(self, statements, names):
        for statement in statements:
            for _ in range(self.times.pop(len(self.lines.written), 1)):
                yield from super().block([statement], names)


def walked(right: Right, place: int, slip=None, times: int = 1) -> Writer | None:
    """The text of a walk with a slip at a line, or with that line executed so many times."""
    writer = Writer(place, slip, 2 * len(right.lines) + 20)
    try:
        Walk(right, writer, {place: times}).judge()
    except Lost:
        pass  # cut by the limit
    except Unclear:
        return None  # the wrong value leads nowhere
    return writer


# --- planting

def plant(rng: Random, right: Right, kind: str) -> Iterator[Planted]:
    """Some texts with an error of that kind, of every way in which it is planted there."""
    yield from PLANTERS[kind](rng, right)


def flipped(fact: Fact) -> Fact:
    """A condition with the other verdict; one on emptiness says it of the variable too."""
    left = fact.left
    if re.fullmatch(r"\w+ is (not )?empty", left):
        left = left.replace(" is not ", " is ") if " not " in left else left.replace(
            " is ", " is not ")
    return Fact("test", left, str(fact.right == "False"))


def of_verdicts(rng, right, kind, places, bare):
    """The verdict at one of some places flipped; then the right text, or what follows from it."""
    if not places:
        return
    place = rng.choice(places)
    code, _, facts = right.lines[place].partition(BEHIND)
    first, *rest = facts.split(BETWEEN)
    left, _, verdict = first.rpartition(" -> ")
    fact = Fact("test", left, verdict)
    other = flipped(fact) if bare else Fact("test", left, str(verdict == "False"))
    line = code + BEHIND + BETWEEN.join([f"{other.left} -> {other.right}", *rest])
    yield right.planted(kind, "verdict, then right", right.with_line(place, line))
    if writer := walked(right, place, lambda facts: [other, *facts[1:]]):
        yield right.planted(kind, "verdict, then as it follows", writer.written,
                            finish_reason="length" if writer.cut else "stop",
                            passes=writer.passes)


def loop_left_early(rng, right):
    places = [place for place in range(len(right.records)) if right.enters(place)
              and right.records[place][0].facts]
    whiles = [place for place in places if isinstance(right.node(place), ast.While)]
    yield from of_verdicts(rng, right, "loop_left_early", whiles, rng.random() < 0.5)
    jumps = [place for place in places if right.left(place) is not None]
    if jumps:
        place = rng.choice(jumps)
        rest = right.lines[right.left(place) + 1:]
        yield right.planted("loop_left_early", "without a word", right.lines[:place] + rest)
        if isinstance(right.node(place), ast.For):
            line = right.code(place) + BEHIND + "end"
            yield right.planted("loop_left_early", "end of a for", [*right.lines[:place], line,
                                                                    *rest])


def loop_not_left(rng, right):
    places = [place for place in range(len(right.records)) if right.enters(place) is False]
    whiles = [place for place in places if isinstance(right.node(place), ast.While)]
    yield from of_verdicts(rng, right, "loop_not_left", whiles, rng.random() < 0.5)
    again = [(place, start) for place in places if (start := last_pass(right, place)) is not None]
    if again:
        place, start = rng.choice(again)
        once_more = right.lines[start + 1:place + 1]
        lines = [*right.lines[:place + 1], *once_more, *right.lines[place + 1:]]
        yield right.planted("loop_not_left", "without a word", lines)
        lines = [*right.lines[:place + 1], *once_more * 5]
        yield right.planted("loop_not_left", "for ever", lines, finish_reason="length")
        if isinstance(right.node(place), ast.For):
            lines = [*right.lines[:place], right.lines[start], *once_more,
                     *right.lines[place + 1:]]
            yield right.planted("loop_not_left", "an item more", lines)


def last_pass(right: Right, place: int) -> int | None:
    """Where the last pass of the loop begins that is left at a place."""
    line = right.records[place][0].line
    passes = [other for other in range(place) if right.records[other][0].line == line]
    return passes[-1] if passes and right.enters(passes[-1]) else None


def wrong_branch(rng, right):
    places = [place for place, (site, _) in enumerate(right.records)
              if site.facts and site.facts[0][0] == "test" and not site.loops]
    ifs = [place for place in places if isinstance(right.node(place), ast.If)]
    yield from of_verdicts(rng, right, "wrong_branch", places, False)
    yield from of_verdicts(rng, right, "wrong_branch", ifs, True)


def slots(right: Right) -> Iterator[tuple[int, int, str, str]]:
    """(place, number of a value there, kind of the fact, side) of every value of a text."""
    for place, (site, values) in enumerate(right.records):
        number = 0
        for kind, *templates in site.facts:
            for side, template in zip(("left", "right"), templates, strict=True):
                for _ in range(template.replace("%%", "").count("%s")):
                    if values[number] not in ("empty", "not empty"):
                        yield place, number, kind, side
                    number += 1


def of_values(rng, right, kind, chosen):
    """One of the values changed; then the right text, or what follows from it."""
    for place, number in rng.sample(chosen, min(2, len(chosen))):
        site, values = right.records[place]
        new = changed(rng, values[number])
        if not new or not is_literal(new):
            continue
        facts = list(site.step((*values[:number], new, *values[number + 1:])).facts)
        try:
            facts = [consistent(fact) if fact not in site.step(values).facts else fact
                     for fact in facts] if kind == "wrong_copy" else facts
        except (Unclear, SyntaxError):
            continue
        if site.loops and facts[0].kind == "test" and facts[0].right != site.facts[0][2]:
            continue  # that is an error of a loop
        said = BETWEEN.join(fact.left + JOIN[fact.kind] + fact.right for fact in facts)
        line = right.code(place) + BEHIND + said
        yield right.planted(kind, "value, then right", right.with_line(place, line))
        if writer := walked(right, place, lambda _, facts=facts: facts):
            yield right.planted(kind, "value, then as it follows", writer.written,
                                finish_reason="length" if writer.cut else "stop",
                                passes=writer.passes)


def consistent(fact: Fact) -> Fact:
    """A fact with the result that its operands give; what cannot be computed stays."""
    bare = re.fullmatch(r"\w+(\[.*\])? is (.*)", fact.left)
    if fact.kind == "test":
        value = evaluate(ast.parse(bare[2] if bare else fact.left, mode="eval").body, {})
        return fact._replace(right=str(bool(value)))
    if fact.kind == "calc":
        return fact._replace(right=repr(evaluate(ast.parse(fact.left, mode="eval").body, {})))
    return fact


def wrong_arithmetic(rng, right):
    yield from of_values(rng, right, "wrong_arithmetic", [
        (place, number) for place, number, kind, side in slots(right)
        if kind == "calc" and side == "right"])


def wrong_copy(rng, right):
    for wanted in (("state", "right"), ("calc", "left"), ("test", "left"), ("each", "right")):
        yield from of_values(rng, right, "wrong_copy", [
            (place, number) for place, number, *slot in slots(right) if tuple(slot) == wanted])


def line_skipped(rng, right):
    place = rng.randrange(len(right.records))
    yield right.planted("line_skipped", "then right", right.with_line(place))
    simple = [place for place in range(1, len(right.records)) if isinstance(
        right.node(place), (ast.Assign, ast.AugAssign, ast.Expr))]
    if simple:
        place = rng.choice(simple)
        writer = walked(right, place, times=0)
        if writer and writer.written[:place + 1] != right.lines[:place + 1]:
            yield right.planted("line_skipped", "then as it follows", writer.written,
                                finish_reason="length" if writer.cut else "stop",
                                passes=writer.passes)
    place = rng.randrange(1, len(right.records))
    if not right.enters(place) and not right.enters(place - 1):
        yield right.planted("line_skipped", "all the rest",
                            [*right.lines[:place], right.lines[-1]])


def line_invented(rng, right):
    place = rng.randrange(1, len(right.lines))
    others = [line for number, line in enumerate(right.lines[:-1]) if number == place - 1
              or line.partition(BEHIND)[0] != right.code(place)]
    for how, line in (("another line", rng.choice(others)), ("a stranger", rng.choice(STRANGERS))):
        lines = [*right.lines[:place], line, *right.lines[place:]]
        yield right.planted("line_invented", f"{how}, then right", lines)
    simple = [place for place in range(1, len(right.records)) if isinstance(
        right.node(place), (ast.Assign, ast.AugAssign, ast.Expr))]
    if simple and (writer := walked(right, rng.choice(simple), times=2)):
        yield right.planted("line_invented", "twice, then as it follows", writer.written,
                            finish_reason="length" if writer.cut else "stop",
                            passes=writer.passes)
    yield right.planted("line_invented", "after the answer", [*right.lines, "Q: And now?"])


def wrong_recitation(rng, right):
    place = rng.randrange(len(right.records))
    code = right.code(place)
    others = set(re.findall(r"\w+", "\n".join(right.recited)))
    word = rng.choice(list(re.finditer(r"\w+", code)))
    character = rng.choice(list(re.finditer(r"\w|[-+<>=*]", code)))
    mutants = {
        "a word": code[:word.start()] + rng.choice(sorted(others - {word[0]})) + code[word.end():],
        "a character": code[:character.start()] + rng.choice(
            [one for one in "abxyz017+-<" if one != character[0]]) + code[character.end():],
        "a character less": code[:character.start()] + code[character.end():],
    }
    for how, mutant in mutants.items():
        if mutant.strip() not in right.recited and mutant != code:
            line = mutant + right.lines[place].removeprefix(code)
            yield right.planted("wrong_recitation", how, right.with_line(place, line))


def unreadable(rng, right):
    place = rng.randrange(len(right.records))
    code, behind, facts = right.lines[place].partition(BEHIND)
    yield right.planted("format", "no line", right.with_line(place, rng.choice(NO_LINES)))
    noise = "".join(rng.choices("#;=()[]{}!?%&$ ", k=rng.randrange(3, 40)))
    yield right.planted("format", "noise", right.with_line(place, noise.strip() + "!"))
    if behind:
        yield right.planted("format", "no facts", right.with_line(place, code))
        yield right.planted("format", "run together", right.with_line(place, f"{code} {facts}"))
        side = re.split(" = | -> ", facts)[0]
        yield right.planted("format", "half a fact", right.with_line(
            place, f"{code}{behind}{side} ="))


def cut(rng, right):
    text = "\n".join(right.lines)
    kept = text[:rng.randrange(len(text) + 1)]
    whole = [a == b for a, b in zip(kept.split("\n"), right.lines, strict=False)]
    yield Planted("cut", "anywhere", kept, sum(whole) + 1, "length")


def answer_not_from_trace(rng, right):
    yield right.planted("answer_not_from_trace", "none", right.lines[:-1])
    if new := changed(rng, right.lines[-1].removeprefix(ANSWER)):
        yield right.planted("answer_not_from_trace", "another",
                            [*right.lines[:-1], ANSWER + new])


def spaced(rng, right):
    """Right texts with other white space; their step is none."""
    lines = []
    for line in right.lines:
        if "'" not in line and '"' not in line:
            old, new = rng.choice([(", ", ","), (" ", "  "), (" = ", "="), ("(", "( "), ("x", "x")])
            code, behind, facts = line.partition(BEHIND)
            line = code + behind + (facts.replace(old, new) if old != " = " else facts)
            line = line.replace(BEHIND, rng.choice([BEHIND, "  # "]))
        lines.append(rng.choice(["", "    ", "\t"]) + line + rng.choice(["", "  ", "\r", "\n\n"]))
    yield Planted("right", "spaces", "\n".join(lines), None)
    yield Planted("right", "as it is", "\n".join(right.lines), None)


PLANTERS = {"right": spaced, "loop_left_early": loop_left_early, "loop_not_left": loop_not_left,
            "wrong_branch": wrong_branch, "wrong_arithmetic": wrong_arithmetic,
            "wrong_copy": wrong_copy, "line_skipped": line_skipped, "line_invented": line_invented,
            "wrong_recitation": wrong_recitation, "format": unreadable, "cut": cut,
            "answer_not_from_trace": answer_not_from_trace}


def draw(task: Task, draws: int, format: str = "rfft") -> Iterator[tuple[Right, Planted]]:
    """Planted errors of every kind in `draws` instances of a task."""
    for index in range(draws):
        rng = Random(f"{task.id}/planted/{index}")
        length = rng.choice([length for length in task.lengths if length <= 12])
        right = Right(task, task.sample(length=length, seed=2, index=index, stream="planted"),
                      format)
        for kind in PLANTERS:
            for planted in plant(rng, right, kind):
                yield right, planted


def table(counts: Counter) -> str:
    """The confusion table of (planted, named) -> count, a line for each planted kind."""
    lines = []
    for kind in errors.KINDS:
        row = {named: count for (planted, named), count in counts.items() if planted == kind}
        total = sum(row.values())
        wrong = ", ".join(f"{named} {count}" for named, count in
                          sorted(row.items(), key=lambda item: -item[1]) if named != kind)
        if total:
            lines.append(f"{kind:22s} {row.get(kind, 0):6d} of {total:6d} "
                         f"{row.get(kind, 0) / total:7.2%}  {wrong}")
    return "\n".join(lines)


def main(draws: int, format: str = "rfft") -> None:
    kinds, hows, steps, total, shown = Counter(), Counter(), 0, 0, Counter()
    for task in TASKS:
        for right, planted in draw(task, draws, format):
            found = errors.diagnose(task, right.instance.inputs, planted.text,
                                    planted.finish_reason, format)
            kinds[planted.kind, found.kind] += 1
            hows[planted.kind, planted.how, found.kind] += 1
            total += 1
            steps += found.step == planted.step
            if (found.kind, found.step) != (planted.kind, planted.step) and (
                    shown[planted.kind, planted.how] < 40):
                shown[planted.kind, planted.how] += 1
                print(f"--- {task.id}: {planted.kind} ({planted.how}) at {planted.step}")
                print(errors.annotate(planted.text, found, 4))
    print(table(kinds))
    for (kind, how, named), count in sorted(hows.items()):
        if kind != named:
            print(f"{kind} ({how}): {named} {count} of "
                  f"{sum(n for key, n in hows.items() if key[:2] == (kind, how))}")
    right = sum(count for (planted, named), count in kinds.items() if planted == named)
    print(f"{total} planted, {right / total:.2%} named right, {steps / total:.2%} steps right")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
