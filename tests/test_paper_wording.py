"""The paper's wording: the same steps at greater length, read back and judged as the others are."""

import re
import string
from random import Random

import pytest

from metarfft_core import formats, tasks
from metarfft_core.tracing.judge import paper, replay
from metarfft_core.tracing.rule import Rule
from metarfft_core.tracing.steps import ANSWER

TASKS = [*tasks.select(), *(task.counterfactual for task in tasks.select() if task.counterfactual)]
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
LENGTHS = (1, 2, 3, 5, 8, 13)

COUNTDOWN = """def count_down(n):
    while n > 0:
        n -= 1
    return n
"""
AS_DESCRIBED = """1. Initialize
def count_down(n):
n = 2
2. Main loop
while n > 0:
n = 2
enter the loop
2.1 One iteration
n -= 1
n = 2
now, n = 2 - 1 = 1
while n > 0:
n = 1
enter the loop
2.1 One iteration
n -= 1
n = 1
now, n = 1 - 1 = 0
while n > 0:
n = 0
do not enter
3. Return
return n
n = 0"""

SHAPES = [
    ("a helper, a branch, an outer and an inner loop", """TABLE = {'a': 2}
def twice(n):
    n = n * 2
    return n
def f(word, pairs):
    total = 0
    for x, y in pairs:
        for i in range(y):
            if word and x > i:
                total += TABLE[word[0]]
            elif not word:
                break
        total = twice(total)
    return total + 1
""", {"word": "a", "pairs": [(1, 1)]}, """1. Initialize
def f(word, pairs):
word = 'a'
pairs = [(1, 1)]
total = 0
2. Outer loop
for x, y in pairs:
pairs = [(1, 1)]
x = 1
y = 1
enter the loop
2.1 One iteration
2.2 Inner loop
for i in range(y):
y = 1
i = 0
enter the loop
2.2.1 One iteration
if word and x > i:
word = 'a'
x = 1
i = 0
enter the branch
total += TABLE[word[0]]
total = 0
word = 'a'
now, total = 0 + 2 = 2
for i in range(y):
y = 1
do not enter
1. Initialize
def twice(n):
n = 2
n = n * 2
n = 2
now, n = 2 * 2 = 4
2. Return
return n
n = 4
total = twice(total)
total = 2
now, total = 4
for x, y in pairs:
pairs = [(1, 1)]
do not enter
3. Return
return total + 1
total = 4
so, 4 + 1 = 5"""),
    ("elements, containers and a choice", """def f(nums, d):
    nums[0] += 1
    d[nums[0]] = 5
    last = nums.pop()
    nums.append(last + 1)
    nums.reverse()
    sign = 1 if last > 3 else 0
    while True:
        break
    return nums[0]
""", {"nums": [1, 2], "d": {}}, """1. Initialize
def f(nums, d):
nums = [1, 2]
d = {}
nums[0] += 1
nums = [1, 2]
now, nums[0] = 1 + 1 = 2
now, nums[0] = 2
d[nums[0]] = 5
nums = [2, 2]
now, d[2] = 5
last = nums.pop()
nums = [2, 2]
now, last = 2
now, nums = [2]
nums.append(last + 1)
nums = [2]
last = 2
so, 2 + 1 = 3
now, nums = [2, 3]
nums.reverse()
nums = [2, 3]
now, nums = [3, 2]
sign = 1 if last > 3 else 0
last = 2
the condition does not hold
now, sign = 0
2. Main loop
while True:
2.1 One iteration
break
3. Return
return nums[0]
nums = [3, 2]
so, nums[0] = 3"""),
]


def prompt(source, question):
    return f"rule:\n{source}\nQ: {question}"


def test_as_the_paper_is_described():
    """The example of the paper's style reads as described, but for the line of the `def`."""
    assert Rule(COUNTDOWN).recite_at_length({"n": 2}) == AS_DESCRIBED


@pytest.mark.parametrize(("source", "inputs", "text"), [shape[1:] for shape in SHAPES],
                         ids=[shape[0] for shape in SHAPES])
def test_shapes(source, inputs, text):
    """Every shape of a rule reads as written by hand here, replays, and parses back."""
    rule = Rule(source)
    assert rule.recite_at_length(inputs) == text
    execution = rule.trace(inputs)
    completion = f"{text}\n{ANSWER}{execution.answer!r}"
    steps, answer = paper.steps(source, completion)
    assert (steps, answer) == (execution.steps, repr(execution.answer))
    question = " and ".join(map(repr, inputs.values()))
    assert replay.judge_at_length(prompt(source, question), completion) == []


@pytest.mark.parametrize(("source", "inputs", "text"), [shape[1:] for shape in SHAPES],
                         ids=[shape[0] for shape in SHAPES])
def test_every_line_is_judged(source, inputs, text):
    """Any line left out, doubled, or with its last character changed is found."""
    question = prompt(source, " and ".join(map(repr, inputs.values())))
    lines = [*text.split("\n"), f"{ANSWER}{Rule(source).execute(inputs)!r}"]
    for number, line in enumerate(lines):
        other = "1" if line[-1] != "1" else "2"
        for changed in ([], [line, line], [line[:-1] + other]):
            mutant = "\n".join([*lines[:number], *changed, *lines[number + 1:]])
            assert replay.judge_at_length(question, mutant), mutant


@pytest.mark.parametrize("count", [1, pytest.param(20, marks=pytest.mark.slow)])
@every_task
def test_true_and_the_executed_steps(task, count):
    """The replay finds nothing false, and parsing gives the very steps of the kit's wording."""
    for length in set(LENGTHS) & set(task.lengths):
        for index in range(count):
            instance = task.sample(length=length, seed=5, index=index, stream="paper")
            example = formats.render(task, instance, "rfft", wording="paper")
            assert replay.judge_at_length(*example) == []
            steps, answer = paper.steps(task.rule_source, example.completion)
            assert steps == task.trace(instance.inputs).steps
            assert answer == repr(instance.answer)
            assert example.prompt == formats.render(task, instance, "rfft").prompt


def mutate(rng, text):
    """A text with one digit, one word, or one verdict changed."""
    pattern = rng.choice([r"\d", r"[A-Za-z_]\w*", r"^(?:enter the (?:loop|branch)|do not enter)$"])
    places = list(re.finditer(pattern, text, re.MULTILINE)) or list(re.finditer(r"\w+", text))
    place = rng.choice(places)
    if place[0] == "do not enter":
        other = rng.choice(["enter the loop", "enter the branch"])
    elif place[0].startswith("enter the "):
        other = "do not enter"
    elif place[0].isdigit():
        other = rng.choice([one for one in string.digits if one != place[0]])
    else:
        other = rng.choice(sorted(set(re.findall(r"[A-Za-z_]\w*", text)) - {place[0]}))
    return text[:place.start()] + other + text[place.end():]


@pytest.mark.parametrize("count", [15, pytest.param(300, marks=pytest.mark.slow)])
@every_task
def test_one_change_is_found(task, count):
    """One digit, word or verdict changed is found in 99 of 100 mutants."""
    missed = []
    for index in range(count):
        rng = Random(f"{task.id}/paper/{index}")
        length = rng.choice([length for length in task.lengths if 2 <= length <= 8])
        instance = task.sample(length=length, seed=6, index=index, stream="mutants")
        question, completion = formats.render(task, instance, "rfft", wording="paper")
        mutant = mutate(rng, completion)
        if not replay.judge_at_length(question, mutant):
            missed.append(mutant)
    assert len(missed) <= count // 100, missed


@pytest.mark.parametrize("text", ["", "\n" * 500, "2. Main loop\n" * 50, "while n > 0:\n" * 50,
                                  "def count_down(n):", "1. Initialize\ndef count_down(n):\nn = ",
                                  "def f(", "'" * 1000, "now, " * 1000, "for x in " + "(" * 5000])
def test_nasty_texts(text):
    """A text that is no trace at all is false, without a crash."""
    question = prompt(COUNTDOWN, "Count down from 2.")
    assert replay.judge_at_length(question, text)
    assert replay.judge_at_length(question, f"{text}\n{AS_DESCRIBED}\n{ANSWER}0") or not text


def test_other_formats_have_one_wording():
    """The wording changes nothing but the completions of rfft; an unknown one is refused."""
    task = tasks.get("nupa_length")
    instance = task.sample(length=3, seed=0, index=0)
    for name in formats.FORMATS:
        same = formats.render(task, instance, name, "paper") == formats.render(task, instance, name)
        assert same == (name != "rfft")
    with pytest.raises(ValueError, match="wording: allowed are kit, paper; got 'papier'"):
        formats.render(task, instance, "rfft", "papier")
