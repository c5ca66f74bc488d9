"""Texts that no rule writes: every one is judged, diagnosed and scored within a bound."""

import re
import time
from random import Random

import pytest

from metarfft_core import errors, formats, scoring, tasks
from metarfft_core.authoring import checks
from metarfft_core.tracing.judge import parse, replay
from metarfft_core.tracing.steps import ANSWER

TEXTS = ("rfft", "rfft_nl", "rfft_paper", "scratchpad")
SECONDS, MEGABYTES = 10, 300
"""What one hostile text may take; before the bounds, the worst ones took for ever and 3 GB."""


def judged(rule, given, text):
    """The reasons of the false lines of a text, without a template of the question."""
    return [false.reason for false in replay.judge_trace(rule, given, text)]


# --- comments

@pytest.mark.parametrize(("answer", "gold"), [
    ("7 # or 8", "7"), ("[1, 2] # [1]", "[1, 2]"), ("7\n# or 8", "7"), ("[1, # 2\n2]", "[1, 2]"),
    ("'a' # b", "'a'"), ("7#", "7")])
def test_an_answer_with_a_comment_is_wrong(answer, gold):
    """What stands behind a number sign is no comment: the answer says two things."""
    assert scoring.score(f"{ANSWER}{answer}", "stop", gold)[1] == "wrong"
    assert scoring.score(f"{ANSWER}{gold}", "stop", gold)[1] == "right"


@pytest.mark.parametrize(("answer", "gold"), [
    ('"a # b"', "'a # b'"), ("['#',1]", "['#', 1]"), ('"""#"""', "'#'"), (r'"\"#"', "'\"#'")])
def test_a_number_sign_in_a_string_is_read(answer, gold):
    """Inside a string a number sign is a character as any other."""
    assert scoring.same_answer(answer, gold)


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
        print(task.id, name, ascii(text)[:3000])
        began = time.monotonic()
        false = checks.false_lines(task, instance, name, example._replace(completion=text))
        assert text == example.completion or false or scoring.same_answer(
            formats.parse_answer(text) or "", repr(instance.answer))
        parse.steps(text)
        format, wording = checks.TEXTS[name]
        errors.annotate(text, errors.diagnose(task, instance.inputs, text, "stop", format, wording))
        scoring.score(text, "stop", repr(instance.answer))
        assert time.monotonic() - began < SECONDS
