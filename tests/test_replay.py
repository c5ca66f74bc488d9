"""The replay: no trace holds a false line, and a false line does not pass.

The mutants are made from the text alone, by regular expressions and a seeded generator.
"""

import ast
import json
import os
import re
import string
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from samples import draw

from metarfft_core import formats, tasks
from metarfft_core.formats import Example
from metarfft_core.tasks import Task
from metarfft_core.tracing.judge import replay
from metarfft_core.tracing.judge.literals import Unclear, literal, reads_back
from metarfft_core.tracing.judge.substitution import substituted

ROOT = Path(__file__).resolve().parent.parent
every_task = pytest.mark.parametrize("task", tasks.select(), ids=lambda task: task.id)
SLOW = pytest.param(300, marks=pytest.mark.slow)
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")


# --- true texts

@pytest.mark.parametrize("count", [None, pytest.param(200, marks=pytest.mark.slow)])
@every_task
def test_no_false_line(task, count):
    """The replay of the text alone finds nothing false in any trace or scratchpad."""
    for instance in draw(task, count or 5):
        assert replay.judge(*formats.render(task, instance, "rfft")) == [], instance
    for instance in draw(task, (count or 10) // 10):
        scratchpad = formats.render(task, instance, "scratchpad").completion
        assert replay.judge_scratchpad(task.rule_source, instance.inputs, scratchpad) == [], \
            instance


# --- false texts

def examples(task: Task, count: int, name: str = "rfft"):
    """(random generator, instance, example) of `count` short instances."""
    for index in range(count):
        rng = Random(f"{task.id}/{name}/{index}")
        length = rng.choice([length for length in task.lengths if 2 <= length <= 9])
        instance = task.sample(length=length, seed=1, index=index, stream="mutants")
        yield rng, instance, formats.render(task, instance, name)


def changed(rng: Random, literal: str) -> str | None:
    """A literal with one digit, one verdict or one letter changed; None where it has none."""
    for pattern, choices in ((r"\d", string.digits), (r"True|False", ("True", "False")),
                             (r"[A-Za-z]", string.ascii_lowercase)):
        if places := list(re.finditer(pattern, literal)):
            place = rng.choice(places)
            other = rng.choice([choice for choice in choices if choice != place[0]])
            return literal[:place.start()] + other + literal[place.end():]
    return None


def mutate(rng: Random, text: str) -> str:
    """A text with one digit, one name or one verdict changed."""
    pattern = rng.choice([r"\d", r"[A-Za-z_]\w*", r"(?<=-> )(?:True|False)"])
    place = rng.choice(list(re.finditer(pattern, text)) or list(re.finditer(r"\w+", text)))
    names = sorted(set(re.findall(r"[A-Za-z_]\w*", text)))
    choices = {"T": ("False",), "F": ("True",)}.get(place[0][0]) if "->" in pattern else None
    if choices is None:
        choices = string.digits if place[0].isdigit() else names
    other = rng.choice([choice for choice in choices if choice != place[0]])
    return text[:place.start()] + other + text[place.end():]


def first_difference(one: str, two: str) -> int:
    """The number of the first line that differs, from 1."""
    pairs = zip(one.split("\n"), two.split("\n"), strict=False)
    return next(number for number, (a, b) in enumerate(pairs, 1) if a != b)


@pytest.mark.parametrize("count", [40, SLOW])
@every_task
def test_one_change(task, count):
    """One digit, name or verdict changed is found, in the very line, in 99 of 100 mutants."""
    missed = []
    for rng, _, (prompt, completion) in examples(task, count):
        mutant = mutate(rng, completion)
        false = replay.judge(prompt, mutant)
        if not false or false[0].line != first_difference(completion, mutant):
            missed.append((prompt, mutant, false))
    assert len(missed) <= count // 100, missed


@pytest.mark.parametrize("count", [20, SLOW])
@every_task
def test_one_change_in_a_scratchpad(task, count):
    """One digit or name of a scratchpad changed is found in 99 of 100 mutants."""
    missed = []
    for rng, instance, (_, completion) in examples(task, count, "scratchpad"):
        mutant = mutate(rng, completion)
        if not replay.judge_scratchpad(task.rule_source, instance.inputs, mutant):
            missed.append((instance, mutant))
    assert len(missed) <= count // 100, missed


def replace_later(lines: list[str], old: str, new: str) -> list[str]:
    """The lines with a literal replaced wherever it is as a whole."""
    pattern = re.compile(rf"(?<![\w.'\"]){re.escape(old)}(?![\w.'\"])")
    return [pattern.sub(lambda _: new, line) for line in lines]


@pytest.mark.parametrize("count", [20, SLOW])
@every_task
def test_a_consistent_change(task, count):
    """A value changed where it arises and in every later line is found where it arises."""
    for rng, _, (prompt, completion) in examples(task, count):
        lines = completion.split("\n")
        arises = [number for number, line in enumerate(lines[1:-1], 1)
                  if re.search(r" = [^=]*\w[^=]*$", line.partition(" # ")[2])]
        if not arises:  # some short instances compute nothing
            continue
        number = rng.choice(arises)
        head, _, old = lines[number].rpartition(" = ")
        new = changed(rng, old)
        mutant = [*lines[:number], f"{head} = {new}", *replace_later(lines[number + 1:], old, new)]
        false = replay.judge(prompt, "\n".join(mutant))
        assert false, mutant
        assert false[0].line == number + 1, mutant


@every_task
def test_an_argument_changed_everywhere(task):
    """An argument changed in every line of the completion is found in the first line."""
    for rng, instance, (prompt, completion) in examples(task, 10):
        old = repr(rng.choice(list(instance.inputs.values())))
        if new := changed(rng, old):
            mutant = replace_later(completion.split("\n"), old, new)
            assert mutant[0] != completion.split("\n")[0]
            assert replay.judge(prompt, "\n".join(mutant))[0].line == 1


@every_task
def test_the_trace_of_another_instance(task):
    """A true trace of other inputs is no answer to the question."""
    drawn = [(instance.inputs, example) for _, instance, example in examples(task, 10)]
    for (inputs, one), (others, two) in pairwise(drawn):
        if inputs != others:
            assert replay.judge(one.prompt, two.completion)[0].line == 1


def dropped(rng, lines):
    place = rng.randrange(len(lines))
    return lines[:place] + lines[place + 1:]


def doubled(rng, lines):
    place = rng.randrange(len(lines))
    return lines[:place + 1] + lines[place:]


def swapped(rng, lines):
    place = rng.choice([number for number in range(len(lines) - 1)
                        if lines[number] != lines[number + 1]])
    return [*lines[:place], lines[place + 1], lines[place], *lines[place + 2:]]


def cut(rng, lines):
    return lines[:rng.randrange(len(lines))]


def added(rng, lines):
    place = rng.randrange(len(lines) + 1)
    return [*lines[:place], rng.choice([*lines, "", "Let me think."]), *lines[place:]]


@pytest.mark.parametrize("damage", [dropped, doubled, swapped, cut, added])
@every_task
def test_damaged_texts(task, damage):
    """A line dropped, doubled, swapped or added, and a text cut short, are found."""
    for rng, _, (prompt, completion) in examples(task, 6):
        mutant = "\n".join(damage(rng, completion.split("\n")))
        assert replay.judge(prompt, mutant), mutant


@every_task
def test_text_cut_within_a_line(task):
    """A text cut anywhere within a line is found."""
    for rng, _, (prompt, completion) in examples(task, 6):
        assert replay.judge(prompt, completion[:rng.randrange(len(completion))])


def test_every_line_is_judged_on_its_own():
    """After a false line the replay goes on with its claim and names the next false line too."""
    task = tasks.get("nupa_length")
    instance = task.sample(length=3, seed=0, index=0)
    prompt, completion = formats.render(task, instance, "rfft")
    one = completion.replace("length += 1 # 0 + 1 = 1", "length += 1 # 0 + 1 = 7")
    two = one.replace("# 1 + 1 = 2", "# 7 + 1 = 8").replace("# 2 + 1 = 3", "# 8 + 1 = 10")
    end = two.replace("length = 3", "length = 10").replace("answer is 3", "answer is 10")
    lines = [number for number, line in enumerate(end.split("\n"), 1)
             if line.endswith(("0 + 1 = 7", "8 + 1 = 10"))]
    assert len(lines) == 2
    assert [false.line for false in replay.judge(prompt, end)] == lines


@pytest.mark.parametrize(("expression", "values", "text"), [
    ("n ** 2", {"n": 3}, "3 ** 2"), ("n ** 2", {"n": -3}, "(-3) ** 2"),
    ("n - m", {"n": 3, "m": -4}, "3 - -4"), ("m * (n + 1)", {"n": 2, "m": -4}, "-4 * (2 + 1)"),
    ("x + y", {"x": "a'b", "y": "c\n"}, "\"a'b\" + 'c\\n'"),
    ("x + y[1:]", {"x": [-1], "y": [1, (2, 3)]}, "[-1] + [(2, 3)]"),
    ("(x + y)[n]", {"x": "a", "y": "b", "n": 0}, "('a' + 'b')[0]"),
    ("(x + y)[n]", {"x": {}, "y": {}, "n": (1, 2)}, "({} + {})[1, 2]"),
    ("max(n, d.get(k, 7))", {"n": 2, "d": {"a": 9}, "k": "a"}, "max(2, 9)"),
    ("x.index(n) + len(x)", {"x": [5, 6], "n": 6}, "[5, 6].index(6) + 2"),
    ("n if k else m", {"n": 1, "k": 2, "m": 3}, "1 if 2 else 3"),
    ("n + unknown", {"n": 1}, "1 + unknown")])
def test_a_value_stands_as_python_writes_it(expression, values, text):
    """A value replaces what looks it up, in parentheses where Python puts them, and whatever was
    looked up there before."""
    node = ast.parse(expression, mode="eval").body
    first = substituted(node, values)
    substituted(node, {name: type(value)() for name, value in values.items()} | {"n": 0})
    assert first == substituted(node, values) == text


@pytest.mark.parametrize("value", [
    0, -7, 10**40, True, None, "a; b # c", "", "it's", "\\", [], [0, -1, 12], ["a, b", "[1]", "0"],
    [7, "7", 10**20], [True], [[1], [-2, "x"]], (1,), {"a": [1, None]}, {1: {2: ()}}, 1.5, b"x"])
def test_a_value_is_read_as_python_reads_it(value):
    """A value in Python's spelling is read as itself, whether Python's parser is needed or not."""
    text = repr(value)
    assert repr(literal(text)) == repr(ast.literal_eval(text)) == text


@pytest.mark.parametrize("value", [range(3), [range(3)], 1e999, ("x", 1e999), "'\"\n"])
def test_only_literals_certainly_read_back(value):
    """Text that is no literal, or that a parser has to read, does not certainly read back."""
    assert not reads_back(repr(value))


def test_a_value_nested_beyond_python_is_unclear():
    """A value nested more deeply than Python parses is not stated."""
    value: list = []
    for _ in range(300):
        value = [value]
    with pytest.raises(Unclear, match="nested too deeply"):
        substituted(ast.parse("x + y", mode="eval").body, {"x": value, "y": []})


# --- the arguments in the question

LARGER = "rule:\ndef f(a, b):\n    if a > b:\n        return a\n    return b\n\nQ: "
CLAIMS = "def f(a, b): # a = {a}; b = {b}\nif a > b: # {a} > {b} -> False\nreturn b # b = {b}\n" \
         "So the answer is {b}"


@pytest.mark.parametrize(("template", "claimed"), [
    ("Of the 2 numbers 3 and {a}, {b}?", "2, 7"), ("Of 5 and {a}: {b}?", "5, 7"),
    ("Is it {a} or {b}?", "2, 7"), ("Is it {a} or {b}?", "3, 8"), ("Is it {a} or {b}?", "3, 77"),
    ("Is it {a} or {b}?", "3, 3"), ("{a}{b}", "3, 70"), ("{b} or {a}? Or {b}?", "3, 5")])
def test_a_wrong_argument_is_found_through_the_template(template, claimed):
    """With the template, an argument that only the question's own words hold is wrong."""
    a, b = claimed.split(", ")
    prompt = LARGER + template.format(a=3, b=7)
    assert replay.judge(prompt, CLAIMS.format(a=3, b=7), template) == []
    false = replay.judge(prompt, CLAIMS.format(a=a, b=b), template)
    assert [line.line for line in false] == [1]
    assert "the question does not give " in false[0].reason


@pytest.mark.parametrize(("question", "claimed"), [
    ("Of ({0}, {1})?", "(12, 5)"), ("Of ({0}, {1})?", "3, 51"), ("Of {0}x{1}?", "7, 5"),
    ("Of {0}-{1}?", "5, 3"), ("Of {0} and {1}?", "3, 3"), ("Of -{0} and {1}?", "3, 5"),
    ("Of {0}5 and {1}?", "3, 5"), ("Of 4{0} and {1}?", "3, 5")])
def test_a_wrong_argument_is_found_without_the_template(question, claimed):
    """Without it, a part of a number, another number or another order is still wrong."""
    numbers = claimed.strip("()").split(", ")
    prompt = LARGER + question.format(3, 5)
    assert replay.judge(prompt, CLAIMS.format(a=numbers[0], b=numbers[-1]))[0].line == 1


def test_a_question_of_another_template():
    """A template that the question is not made from is a ValueError."""
    with pytest.raises(ValueError, match="the question is not made from the template 'What is"):
        replay.judge(LARGER + "Of 3 and 7?", CLAIMS.format(a=3, b=7), "What is {a} to {b}?")


# --- deep and long

DEEP = "rule:\ndef f(n):\n    if n < 1:\n        return 0\n    n -= 1\n    x = f(n)\n" \
       "    return x\n\nQ: From {}."


def deep(n: int) -> list[str]:
    """The lines of the true trace of DEEP."""
    down = [line for k in range(n, 0, -1) for line in (
        f"def f(n): # n = {k}", f"if n < 1: # {k} < 1 -> False", f"n -= 1 # {k} - 1 = {k - 1}")]
    return [*down, "def f(n): # n = 0", "if n < 1: # 0 < 1 -> True", "return 0",
            *["x = f(n) # x = 0", "return x # x = 0"] * n, "So the answer is 0"]


def test_a_deep_recursion_is_followed():
    """The judge follows calls as deep as the text goes, and finds the false line there."""
    lines = deep(5_000)
    assert replay.judge(DEEP.format(5_000), "\n".join(lines)) == []
    lines[14_000] = lines[14_000].replace(" - 1 = ", " - 1 = 1")
    assert replay.judge(DEEP.format(5_000), "\n".join(lines))[0].line == 14_001


def test_a_recursion_without_end():
    """A text that calls without end is false where it goes on beyond all measure."""
    prompt = DEEP.replace("    n -= 1\n", "").format(1)
    text = "\n".join(["def f(n): # n = 1", "if n < 1: # 1 < 1 -> False"] * 30_000)
    false, = replay.judge(prompt, text)
    assert (false.line, false.reason) == (replay.LINE_LIMIT, "an execution without end")


# --- any text at all

ADDITION = Example("rule:\ndef f(n):\n    n = n + n\n    return n\n\nQ: Double {0}.",
                   "def f(n): # n = {0}\nn = n + n # {0} + {0} = 1\nreturn n # n = 1")
HUGE = "9" * 4300
RANGE = "rule:\ndef f(n):\n    n = n + 1\n    a = {}(range(n))\n    return a\n\nQ: From 3."
POWER = "rule:\ndef f(n):\n    n = n + 1\n    a = n ** n\n    return a\n\nQ: From 3."
CLAIM = "def f(n): # n = 3\nn = n + 1 # 3 + 1 = {}\na = 1 # 1 = 1"
NASTY = {
    "empty": "", "newlines": "\n" * 60_000, "zero": "\0", "half a character": "\ud800",
    "parentheses": "(" * 50_000, "brackets": "def f(n): # n = " + "[" * 3_000 + "]" * 3_000,
    "minus": "def f(n): # n = " + "-" * 50_000 + "1", "quotes": "def f(n): # " + "'" * 20_001,
    "escaped quotes": "def f(n): # " + "\\'" * 60_000, "backslashes": "def f(n): # '" + "\\" * 999,
    "facts": "def f(n): # n = 3" + "; n = 3" * 20_000, "indexes": "def f(n): # n" + "[0]" * 20_000,
    "a long number": "def f(n): # n = 3\nn = n + n # 3 + 3 = 0x" + "f" * 20_000,
    "half an escape": "def f(n): # n = '\\x'", "a set": "def f(n): # n = {1}",
}


def judged_apart(prompt: str, text: str) -> str:
    """Judge in a process that is killed above 2 GB, or after five minutes of computing, where less
    than one second is needed; what it prints."""
    program = """
import json, resource, sys
from metarfft_core.tracing.judge import replay
from metarfft_core.tracing.judge.literals import Unclear
from metarfft_core.tracing.judge.substitution import substituted
resource.setrlimit(resource.RLIMIT_CPU, (300, 300))
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
print("false lines" if replay.judge(*json.load(sys.stdin)) else "no false line")
"""
    result = subprocess.run([sys.executable, "-c", program], input=json.dumps([prompt, text]),
                            capture_output=True, text=True,
                            env=os.environ | {"PYTHONPATH": str(ROOT)})
    return result.stdout.strip() or f"status {result.returncode}: {result.stderr[-300:]}"


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_nasty_texts(text):
    """A text made to break a parser is false, and found so before endless work is given up."""
    assert judged_apart(ADDITION.prompt.format(3), text) == "false lines"


@pytest.mark.parametrize(("prompt", "claims"), [
    (ADDITION.prompt.format(HUGE), ADDITION.completion.format(HUGE)),
    (RANGE.format("list"), CLAIM.format(3 * 10**7)), (RANGE.format("max"), CLAIM.format(10**12)),
    (POWER, CLAIM.format(10**9)), (POWER, CLAIM.format(-(10**9)))],
    ids=["long number", "long list", "long range", "power", "negative power"])
def test_nasty_claims(prompt, claims):
    """A claim that would need endless time or memory to follow is found false without them."""
    assert judged_apart(prompt, claims) == "false lines"


def test_random_texts():
    """Random characters, random bytes and shuffled pieces of a trace are false, without a crash."""
    task, rng = tasks.get("bbh_word_sorting"), Random("random texts")
    prompt, completion = formats.render(task, task.sample(length=5, seed=0, index=0), "rfft")
    pieces = re.findall(r"\w+|\W", completion)
    for size in range(300):
        for text in ("".join(rng.choices(string.printable, k=size)),
                     rng.randbytes(size).decode("latin-1"),
                     "".join(chr(rng.randrange(0x110000)) for _ in range(size)),
                     "".join(rng.choices(pieces, k=size)),
                     "\n".join(rng.choices(completion.split("\n"), k=size))):
            assert replay.judge(prompt, text)


@pytest.mark.parametrize("prompt", ["", "rule:\n", "What is 3 + 4?", "Q: What?\n\nrule:\nx"])
def test_a_prompt_without_a_rule(prompt):
    """A prompt without rule and question is a ValueError."""
    with pytest.raises(ValueError, match=r"'rule:' and 'Q:'"):
        replay.judge(prompt, "So the answer is 7")


# --- independence

FORBIDDEN = {"metarfft_core.tasks", "metarfft_core.formats", "metarfft_core.tracing.compiler",
             "metarfft_core.tracing.rule", "metarfft_core.tracing.language",
             "metarfft_core.tracing.wordings.kit"}


@cache
def loaded_with_the_replay() -> dict[str, ast.Module]:
    """The kit's modules that a fresh process holds after importing the replay, as syntax trees."""
    program = ("import json, sys, metarfft_core.tracing.judge.replay; print(json.dumps({name: "
               "module.__file__ for name, module in sys.modules.items() if 'metarfft' in name}))")
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True,
                         text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}).stdout
    return {name: ast.parse(Path(path).read_text()) for name, path in json.loads(out).items()}


def test_loaded_modules():
    """Importing the replay in a fresh process loads neither the tracer nor the registry."""
    loaded = loaded_with_the_replay().keys()
    assert "metarfft_core.tracing.judge.replay" in loaded
    assert not loaded & FORBIDDEN


def test_no_late_imports():
    """None of the modules that the replay consists of imports anything later, inside a function."""
    for name, module in loaded_with_the_replay().items():
        imports = [node for node in ast.walk(module)
                   if isinstance(node, ast.Import | ast.ImportFrom)]
        assert all(node in module.body for node in imports), name


def test_nothing_is_executed():
    """What the replay consists of names neither eval nor exec nor compile."""
    for name, module in loaded_with_the_replay().items():
        names = {node.id for node in ast.walk(module) if isinstance(node, ast.Name)}
        assert not names & {"eval", "exec", "compile", "__import__"}, name
