"""Texts that no rule writes: every one is judged, diagnosed and scored within a bound."""

import ast
import re
import time
import tracemalloc
from contextlib import suppress
from random import Random

import pytest

from metarfft_core import errors, formats, scoring, tasks
from metarfft_core.authoring import checks
from metarfft_core.errors import compare
from metarfft_core.system import places, yaml_files
from metarfft_core.tracing.judge import evaluator, literals, parse, replay
from metarfft_core.tracing.judge.claims import UNREADABLE
from metarfft_core.tracing.steps import ANSWER

TEXTS = ("rfft", "rfft_nl", "rfft_paper", "scratchpad")
SECONDS = 10
"""What one hostile text may take, on a slow machine."""


def judged(rule, given, text):
    """The reasons of the false lines of a text, without a template of the question."""
    return [false.reason for false in replay.judge_trace(rule, given, text)]


# --- comments

@pytest.mark.parametrize(("answer", "gold"), [
    ("7 # or 8", "7"), ("[1, 2] # [1]", "[1, 2]"), ("7\n# or 8", "7"), ("[1, # 2\n2]", "[1, 2]"),
    ("'a' # b", "'a'"), ("7#", "7")])
def test_an_answer_with_a_comment_is_wrong(answer, gold):
    """The text after a number sign is not a comment: the answer says two things."""
    assert scoring.score(f"{ANSWER}{answer}", "stop", gold)[1] == "wrong"
    assert scoring.score(f"{ANSWER}{gold}", "stop", gold)[1] == "right"


@pytest.mark.parametrize(("answer", "gold"), [
    ('"a # b"', "'a # b'"), ("['#',1]", "['#', 1]"), ('"""#"""', "'#'"), (r'"\"#"', "'\"#'")])
def test_a_number_sign_in_a_string_is_read(answer, gold):
    """Inside a string a number sign is a character as any other."""
    assert scoring.same_answer(answer, gold)


@pytest.mark.parametrize("answer", ["{1: 7, 1: 8}", "{'a': 7, \"a\": 8, 1: 8}", "{1: 7, True: 8}",
                                    "[{1: 8}, {2: {1: 7, 1: 8}}]"])
def test_a_dict_that_says_two_things_of_a_key_is_wrong(answer):
    """Python keeps the last one; an answer or a fact that gives two is no value."""
    gold = repr(ast.literal_eval(answer))
    assert not scoring.same_answer(answer, gold)
    assert scoring.same_answer(gold.replace(" ", ""), gold)
    rule = "def f(d):\n    return d\n"
    right = f"def f(d): # d = {gold}\nreturn d # d = {gold}\nSo the answer is {gold}"
    assert judged(rule, gold, right) == []
    assert judged(rule, gold, right.replace(f"return d # d = {gold}", f"return d # d = {answer}"))


RULE = "def f(nums):\n    total = 0\n    total = total + nums[1]\n    return total\n"
RIGHT = ("def f(nums): # nums = [0, 3]\ntotal = 0\ntotal = total + nums[1] # 0 + 3 = 3\n"
         "return total # total = 3\nSo the answer is 3")


@pytest.mark.parametrize(("old", "new"), [
    ("nums = [0, 3]", "nums = [0, 3] # but zeros is 99"), ("0 + 3 = 3", "0 + 3 # 7 = 3"),
    ("0 + 3 = 3", "0 + 3 = 3 # 4"), ("total = 3", "total = 3 # 4"), ("is 3", "is 3 # 4")])
def test_a_comment_in_a_trace_is_a_false_line(old, new):
    """A claim that only a comment makes true is false."""
    assert judged(RULE, "Of [0, 3]?", RIGHT) == []
    assert judged(RULE, "Of [0, 3]?", RIGHT.replace(old, new, 1))


def test_a_comment_is_found_by_the_diagnosis():
    """The error analysis does not read past a comment either."""
    task = tasks.get("lc_283")
    text = formats.render(task, task.sample(length=3, seed=0, index=0), "rfft").completion
    instance = task.sample(length=3, seed=0, index=0)
    line = next(line for line in text.split("\n") if re.search(r"= \[[\d, ]+\]$", line))
    found = errors.diagnose(task, instance.inputs, text.replace(line, f"{line} # but 7", 1))
    assert found.kind in ("format", "wrong_copy")


# --- hostile values

BIG = "0x" + "f" * 5_000
FORMS = [
    lambda rng: "n" + "[0]" * 40 + "x", lambda rng: "n" + "[" * 5_000, lambda rng: "[" * 90_000,
    lambda rng: BIG, lambda rng: f"[{BIG}]", lambda rng: f"-{BIG}", lambda rng: "9" * 20_000,
    lambda rng: "5", lambda rng: "None", lambda rng: "'a'", lambda rng: "[[1], 'a', None]",
    lambda rng: "{1: [2]}", lambda rng: "{'a', 2}", lambda rng: "b'a'", lambda rng: "1e999",
    lambda rng: "2j", lambda rng: "...", lambda rng: "()", lambda rng: "-1", lambda rng: "True",
    lambda rng: "'%3000000000d' % 2", lambda rng: "'%3000000000d'", lambda rng: "9 ** 9 ** 9",
    lambda rng: "[0] * 10 ** 12", lambda rng: "'" + "\\" * 9_999, lambda rng: "'" * 9_999,
    lambda rng: "[" + "1, " * 30_000 + "]", lambda rng: "'" + "ab" * 40_000 + "'",
    lambda rng: "[" * 95 + "]" * 95, lambda rng: "-" * 50_000 + "1", lambda rng: "1 = " * 9_000,
    lambda rng: "; " * 30_000, lambda rng: " -> " * 9_000, lambda rng: " # " * 9_000,
    lambda rng: "0o" + "7" * 6_000, lambda rng: "0b" + "1" * 20_000, lambda rng: "1 << 10 ** 9",
    lambda rng: "'a' * 10 ** 9", lambda rng: "{1: 7, 1: 8}", lambda rng: "{" * 9_000,
    lambda rng: "\\boxed{" + "\\'" * 9_000, lambda rng: "f'{" * 99, lambda rng: "lambda: 0",
    lambda rng: "1 + " * 20_000 + "1", lambda rng: "\0", lambda rng: "\ud800",
    lambda rng: "".join(rng.choices("[](){}'\"\\#=;-> 0n,.%*\f\u2028", k=200)),
]


def hostile(rng, text):
    """A text with one to three of its values or lines replaced by hostile ones."""
    lines = text.split("\n")
    for _ in range(rng.randint(1, 3)):
        number, form = rng.randrange(len(lines)), rng.choice(FORMS)(rng)
        places = [place.span() for place in re.finditer(
            r"(?<=[=>] )[^;=>#]+$|(?<=# )[^=;#]+(?= =)|(?<=is ).+$", lines[number])]
        start, end = rng.choice([*places * 3, (0, len(lines[number]))])
        lines[number] = lines[number][:start] + form + lines[number][end:]
    return "\n".join(lines)


FUZZED = [task.id for task in tasks.select()][::8]


@pytest.mark.parametrize("part", range(4))
def test_every_hostile_text_is_judged(part):
    """Judge, parser, diagnosis, figure and score take any value in any place of a text."""
    rng = Random(part)
    for _ in range(40):
        task = tasks.get(rng.choice(FUZZED))
        instance = task.sample(length=rng.randint(1, 6), seed=0, index=rng.randrange(99))
        name = rng.choice(TEXTS)
        example = formats.render(task, instance, *checks.TEXTS[name])
        text = hostile(rng, example.completion)
        began = time.monotonic()
        false = checks.false_lines(task, instance, name, example._replace(completion=text))
        assert text == example.completion or false or scoring.same_answer(
            formats.parse_answer(text) or "", repr(instance.answer))
        parse.steps(text)
        format, wording = checks.TEXTS[name]
        errors.annotate(text, errors.diagnose(task, instance.inputs, text, "stop", format, wording))
        scoring.score(text, "stop", repr(instance.answer))
        scoring.same_answer_lenient(text, repr(instance.answer))
        assert time.monotonic() - began < SECONDS


# --- bounds

BIG_TEXTS = {"list": "1, ", "quote": "'\\a", "lines": "x = [1]\n", "digits": "9", "signs": " # ",
             "facts": "a -> b; ", "brackets": "["}


@pytest.mark.parametrize(("name", "big"), [
    *(("rfft", big) for big in BIG_TEXTS), ("rfft_paper", "list"), ("rfft_paper", "brackets"),
    ("scratchpad", "quote"), ("scratchpad", "facts")])
def test_ten_megabytes_are_unreadable(name, big):
    """The judge says so at once; parser, diagnosis, score and figure stay within their bound."""
    task, big = tasks.get("lc_283"), BIG_TEXTS[big] * (10_000_000 // len(BIG_TEXTS[big]))
    instance = task.sample(length=5, seed=0, index=0)
    example = formats.render(task, instance, *checks.TEXTS[name])
    text = example.completion.replace("\n", f"\n{big}\n", 1)
    began = time.process_time()
    false, = checks.false_lines(task, instance, name, example._replace(completion=text))
    assert false.reason == UNREADABLE
    parse.steps(text)
    format, wording = checks.TEXTS[name]
    found = errors.diagnose(task, instance.inputs, text, "stop", format, wording)
    assert found.kind != "right"
    errors.annotate(text, found, context=2)
    assert scoring.score(f"{ANSWER}{big}", "stop", "[1]")[1] == "wrong"
    assert time.process_time() - began < 3 * SECONDS


def test_many_large_values_are_unreadable():
    """Small lines that make the rule state a large value again and again end at the bound."""
    rule = "def f(a, n):\n    while n in a:\n        n = 0\n    return n\n"
    numbers = [*range(9_999)]
    text = f"def f(a, n): # a = {numbers}; n = 0\n" + "while n in a:\nn = 0\n" * 2_000
    began = time.process_time()
    assert judged(rule, f"{numbers} 0", text)[-1] == UNREADABLE
    assert time.process_time() - began < 3 * SECONDS


def test_many_looks_at_a_large_value():
    """A condition that states nothing of a large value does not measure it again and again."""
    rule = "def f(a, n):\n    while a:\n        n = 0\n    return n\n"
    text = f"def f(a, n): # a = {[0] * 9_999}; n = 0\n" + (
        "while a: # a is not empty -> True\nn = 0\n" * 10_000)
    began = time.process_time()
    assert judged(rule, f"{[0] * 9_999} 0", text) == ["the rule executes here: while a:"]
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("expression", [
    "'%3000000000d' % 2", "b'%3000000000d' % 2", "('a' * 9999).replace('a', 'b' * 9999)",
    "('a' * 9999).join(['b'] * 9999)", "[[[0] * 99] * 99] * 99", "[10 ** 5000]", "{1: 10 ** 5000}",
    "max([['a' * 9999] * 9999])", "9 ** 9 ** 9"])
def test_an_expression_beyond_the_bounds(expression):
    """A small expression with a huge value is refused, and never held in memory."""
    node = ast.parse(expression, mode="eval").body
    tracemalloc.start()
    try:
        with pytest.raises(evaluator.Unclear):
            evaluator.evaluate(node, {})
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


# --- regular expressions

def patterns():
    """Every pattern that is in the package; what an f-string fills in counts as an x."""
    for path in sorted(places.ROOT.glob("metarfft_core/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            owner = getattr(node.func, "value", None) if isinstance(node, ast.Call) else None
            if isinstance(owner, ast.Name) and owner.id == "re":
                yield from ((path.name, text) for one in node.args[:1] for text in _texts(one))
        if path.name == "yaml_files.py":
            yield from ((path.name, one.pattern) for one in yaml_files._PLAIN.values())


def _texts(node):
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(getattr(part, "value", "x") if isinstance(part, ast.Constant) else "x"
                          for part in parts)


def nests(parsed, inside=False):
    """Does a pattern repeat without bound what itself repeats without bound?"""
    for op, argument in parsed:
        repeats = str(op) in ("MAX_REPEAT", "MIN_REPEAT") and argument[1] > 1_000
        if repeats and inside:
            return True
        parts = argument if isinstance(argument, tuple | list) else [argument]
        for part in [*parts, *(one for each in parts if isinstance(each, list) for one in each)]:
            if isinstance(part, re._parser.SubPattern) and nests(part, inside or repeats):
                return True
    return False


PATTERNS = sorted({*patterns(), ("parse.py", parse._STRING),
                   ("compare.py", compare._STRING.pattern)})
HOSTILE = ["a", "1", "0", " ", "[", "]", "[0]", "'", "\\", "\\'", "#", " # ", ".", "1.", "_", "-",
           "(os error ", "a_", "1. A", "`", "rule:\n", "\n", "=", "1e", "1_", '"', "a.", ".9"]


def test_the_patterns_are_found():
    """The search finds the patterns of the package, and a nested one is known as such."""
    assert len(PATTERNS) > 30
    for nested in (r"(a+)+", r"\w*(\[.*\])*", r"(?:(\d+)x)*"):
        assert nests(re._parser.parse(nested))
    assert not nests(re._parser.parse(r"a+(b*)?c+"))


@pytest.mark.parametrize(("file", "pattern"), PATTERNS)
def test_no_pattern_takes_long(file, pattern):
    """No pattern nests its repeats, and none takes long on what is made to mislead it."""
    assert not nests(re._parser.parse(pattern)), file
    compiled = re.compile(pattern, re.DOTALL | re.MULTILINE)
    began = time.process_time()
    for unit in HOSTILE:
        text = unit * (1_000 // len(unit))
        for one in (text, f"a{text}", f"n{text}x", f"'{text}\0"):
            compiled.fullmatch(one)
            compiled.match(one)
            compiled.search(one)
    assert time.process_time() - began < SECONDS, file


@pytest.mark.parametrize("text", [
    "[" + "1, " * 30_000 + "1", "[" + "1" * 90_000, "[" + "'a', " * 18_000 + "'a'",
    "['" + "a" * 90_000, "[" + ", " * 45_000, "[" + "'" * 90_000 + "]", "[" + "', " * 30_000 + "]",
    "[" + "'a', " * 18_000 + "'a'}", "[" + "-" * 90_000 + "]", "'a' " * 22_000 + "x"],
    ids=lambda text: f"{text[:7]}...{text[-3:]}")
def test_no_list_takes_long(text):
    """The short ways to read a value end soon on what is almost a list: their patterns, made of
    parts, repeat a string inside a list, which the search above cannot see."""
    began = time.process_time()
    with suppress(literals.Unclear):
        literals.literal(text)
    literals.reads_back(text)
    assert time.process_time() - began < SECONDS
