"""The synthetic rules: random, reproducible, ending, and made of the paper's 22 snippets."""

import ast
import builtins
import hashlib
import json
import keyword
import os
import re
import subprocess
import sys
from collections import Counter
from functools import lru_cache
from random import Random

import pytest

from metarfft_core import formats, tasks
from metarfft_core.authoring import checks
from metarfft_core.system.places import ROOT
from metarfft_core.tasks import synthetic
from metarfft_core.tracing.judge import parse

COUNT = 400
LENGTHS = (1, 2, 5, 8)


@lru_cache(maxsize=1)
def rules():
    return [synthetic.rule(0, number) for number in range(COUNT)]


def digests(count=20):
    """A hash of each of the first rules and of an instance of it."""
    found = []
    for number in range(count):
        task = synthetic.rule(0, number)
        instance = task.sample(length=4, seed=0, index=0)
        text = task.rule_source + repr((instance.inputs, instance.answer))
        found.append(hashlib.sha256(text.encode()).hexdigest()[:8])
    return found


def test_rules_are_pinned():
    """The rules stay what they were; a change here means that corpora stop being reproducible."""
    assert digests(5) == PINS


PINS = ["02e466a1", "9fd63168", "783117a0", "048b9aa8", "af19c2f8"]


def test_rules_in_another_process():
    """Another process with another hash seed draws the same rules."""
    program = "import json, test_synthetic as t; print(json.dumps(t.digests()))"
    paths = [os.path.dirname(__file__), str(ROOT)]
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(paths)}
        out = subprocess.run([sys.executable, "-c", program], env=environment, check=True,
                             capture_output=True, text=True).stdout
        assert json.loads(out) == digests()


def test_rules_are_distinct():
    """Every rule has another text, with another seed too, and bodies hardly repeat."""
    sources = {task.rule_source for task in rules()}
    assert len(sources) == COUNT
    assert synthetic.rule(1, 0).rule_source not in sources
    bodies = {tuple(sorted(snippets(task))) for task in rules()}
    assert len(bodies) > 0.9 * COUNT


def test_loops_end():
    """No loop takes more passes than it may; a quarter takes three and more."""
    passes = Counter()
    for task in rules():
        for length in LENGTHS:
            for index in range(3):
                records = task.trace(task.sample(length=length, seed=0, index=index).inputs)
                passes[sum(step.code.startswith("while ") for step in records.steps) - 1] += 1
    assert max(passes) <= synthetic.PASSES
    assert passes[0] == 0
    assert sum(passes[number] for number in range(3, 13)) > sum(passes.values()) / 4


def test_lists():
    """The longer list has the length that was asked for, the other one any up to it."""
    sizes = Counter()
    for task in rules():
        for length in LENGTHS:
            instance = task.sample(length=length, seed=0, index=0)
            one, two = map(len, instance.inputs.values())
            assert max(one, two) == length
            assert min(one, two) >= 1
            sizes[(one > two) - (one < two)] += 1
    assert min(sizes.values()) > COUNT / 10


# --- the snippets

def moved(source, at, target):
    target.append(source.pop(at))


EFFECTS = [  # what METHOD says of snippets 0 to 21, on (A, B, c)
    lambda a, b, c: a and a.append(a.pop() + c),
    lambda a, b, c: a and a.insert(0, a.pop(0) + c),
    lambda a, b, c: a and moved(a, 0, b),
    lambda a, b, c: a and moved(a, -1, b),
    lambda a, b, c: a.insert(0, c),
    lambda a, b, c: a.sort(),
    lambda a, b, c: a.reverse(),
    lambda a, b, c: a and a.pop(0),
    lambda a, b, c: a.insert(0, b[0] if b else c),
    lambda a, b, c: a.append(b[-1] if b else c),
    lambda a, b, c: a and b and a[0] > b[0] and a.pop(0),
    lambda a, b, c: a and b and a[-1] < b[-1] and a.pop(),
    lambda a, b, c: a and a.pop(0),
    lambda a, b, c: a and b and moved(b, -1, a),
    lambda a, b, c: a and a[0] in range(0, 100, 2) and a.pop(0),
    lambda a, b, c: a and a[0] in range(1, 100, 2) and a.pop(0),
    lambda a, b, c: len(a) > len(b) and b.insert(0, a.pop()),
    lambda a, b, c: a and a[0] > c and a.pop(0),
    lambda a, b, c: a and a[0] < c and a.pop(0),
    lambda a, b, c: b and moved(b, 0, a),
    lambda a, b, c: a and a.pop(),
    lambda a, b, c: b and b.pop(),
]


@pytest.mark.parametrize("number", range(22))
def test_snippet_does_what_the_paper_says(number):
    """Each snippet, run as plain Python, has the effect that the paper describes."""
    text = "\n".join(synthetic.SNIPPETS[number])
    rng = Random(number)
    changed = 0
    for _ in range(300):
        lists = [[rng.randint(1, 9) for _ in range(rng.randrange(4))] for _ in "ab"]
        c = rng.randint(1, 9)
        expected = [list(one) for one in lists]
        EFFECTS[number](*expected, c)
        names = {"a": list(lists[0]), "b": list(lists[1])}
        exec(text.format(a="a", b="b", c=c, x="x"), names)
        assert [names["a"], names["b"]] == expected
        changed += expected != lists
    assert changed > 20


def snippets(task) -> list[tuple[int, bool]]:
    """(snippet, are the lists swapped?) for each part of a rule's body, read off its text."""
    first, second = task.rule.arguments
    lines = [line[8:] for line in task.rule_source.splitlines()[2:-1]]
    found = []
    while lines:
        number, swapped, size = next(
            (number, swapped, len(snippet))
            for size in (4, 3, 2, 1) for number, snippet in enumerate(synthetic.SNIPPETS)
            for swapped in (False, True)
            if len(snippet) == size and matches(snippet, lines, *(
                (second, first) if swapped else (first, second))))
        found.append((number, swapped))
        del lines[:size]
    return found


def matches(snippet, lines, a, b) -> bool:
    text = "\n".join(lines[:len(snippet)])
    pattern = re.escape("\n".join(snippet))
    for name, value in (("a", a), ("b", b), ("c", r"\d+"), ("x", r"\w+")):
        pattern = pattern.replace(re.escape(f"{{{name}}}"), value)
    return re.fullmatch(pattern, text) is not None


def test_every_snippet_occurs_with_either_role():
    """All 22 snippets occur, each with the lists in both roles, about equally often."""
    found = Counter(part for task in rules() for part in snippets(task))
    for one, two in ((2, 19), (20, 21)):  # each is the other with the lists swapped
        for swapped in (False, True):
            found[two, swapped] = found[one, not swapped] = (
                found[two, swapped] + found[one, not swapped]) / 2
    for number in range(22):
        assert found[number, False] > 10, number
        assert found[number, True] > 10, number
    assert len(synthetic.SNIPPETS) == 22


def test_rule_text():
    """A rule is a loop over two lists that returns the first; its names are no words of Python."""
    constants = set()
    for task in rules():
        function, = ast.parse(task.rule_source).body
        first, second = task.rule.arguments
        loop, end = function.body
        assert ast.unparse(loop.test) == f"{first} and {second}"
        assert ast.unparse(end) == f"return {first}"
        names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        names |= {function.name, first, second}
        assert 3 <= len(names - {"len"}) <= 4
        for name in names - {"len"}:
            assert not keyword.iskeyword(name)
            assert not hasattr(builtins, name)
        constants |= {node.value for node in ast.walk(function) if isinstance(node, ast.Constant)
                      and isinstance(node.value, int)}
    assert set(range(1, 21)) <= constants <= set(range(21))


@pytest.mark.parametrize("count", [60, pytest.param(COUNT, marks=pytest.mark.slow)])
def test_texts_are_true(count):
    """Traces parse to what was executed, and the replay finds nothing false in any format."""
    for task in rules()[:count]:
        instance = task.sample(length=5, seed=0, index=0)
        steps, answer = parse.steps(formats.render(task, instance, "rfft").completion)
        assert steps == task.trace(instance.inputs).steps
        assert answer == repr(instance.answer)
        for name, (format, wording) in checks.TEXTS.items():
            example = formats.render(task, instance, format, wording)
            assert checks.false_lines(task, instance, name, example) == [], task.rule_source


def test_rules_are_no_tasks_of_the_registry():
    """A synthetic rule is not among the paper's tasks, and passes a user's checks."""
    assert not {task.source for task in tasks.select()} & {"synthetic"}
    with pytest.raises(KeyError):
        tasks.get(rules()[0].id)
    assert checks.check(rules()[0], samples=2, draws=10).task == "synthetic_0"
