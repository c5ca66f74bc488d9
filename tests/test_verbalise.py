"""Rules in words: the sentences, the traces that recite them, and the replay of those."""

import ast
import itertools
import re
import string
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from metarfft_core import formats, tasks
from metarfft_core.tasks import synthetic
from metarfft_core.tasks.definition import declare
from metarfft_core.tracing.expressions import RuleError
from metarfft_core.tracing.judge import parse, replay
from metarfft_core.tracing.rule import Rule
from metarfft_core.tracing.steps import ANSWER, BEHIND, BETWEEN, JOIN
from metarfft_core.tracing.wordings import kinds, sentences

ROOT = Path(__file__).resolve().parent.parent
TASKS = [*tasks.select(), *(task.counterfactual for task in tasks.select() if task.counterfactual)]
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
LENGTHS = (1, 2, 3, 5, 8, 13)
LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'|\[[\d, ]*\]|\{0: 0\}")


def draw(task, count, lengths=LENGTHS):
    """`count` instances of each of these lengths that the task allows."""
    for length in lengths:
        if length in task.lengths:
            for index in range(count):
                yield task.sample(length=length, seed=3, index=index, stream="words")


# --- how the sentences read

@every_task
def test_sentences_are_english(task):
    """Sentences are numbered from 1, end with a stop or a colon, and hold no Python but literals
    and names."""
    said = task.rule.in_words.splitlines()
    numbered = said[len(task.tables):]
    assert [int(line.partition(". ")[0]) for line in numbered] == list(range(1, len(numbered) + 1))
    for line in said:
        assert line[-1] in ".:", line
        bare = LITERAL.sub("0", line)
        assert not re.search(r"[=\[\]{}'\"%#]|//|\*|\+| - |[<>]|\w\.\w|\w\(|\b(?:def|elif|pop|len|"
                             r"append|not in [a-z]+ and not|ord|chr|str|int)\b", bare), line
        assert not re.search(r"\.\.|,,|  | ,|\( | \)", bare), line
        assert re.match(r"\d+\. [A-Z]|[A-Z]\w* is |The table ", line), line


def depth(line):
    return len(line) - len(line.lstrip())


def behind(lines, number, belongs):
    """The numbers of the lines directly after this one for which `belongs` holds."""
    end = number + 1
    while end < len(lines) and belongs(lines[end]):
        end += 1
    return range(number + 1, end)


def named(phrase):
    """The first and last step that a phrase names."""
    found = re.search(r"steps? (\d+)(?: (?:and|to) (\d+))?", phrase)
    return int(found[1]), int(found[2] or found[1])


def numbers(steps, block):
    """The first and last step that lines are."""
    found = [steps.index(line) + 1 for line in block if line in steps]
    return found[0], found[-1]


@every_task
def test_step_numbers_are_those_of_the_indentation(task):
    """A header names the steps that are nested in it, its `otherwise` those of the else."""
    lines = task.rule_source.split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("def "))
    steps = [number for number, line in enumerate(lines)
             if number >= start and line.strip() not in ("", "else:")]
    assert [number + 1 for number in steps] == list(task.rule.sentences)
    for number in steps:
        line, sentence = lines[number], task.rule.sentences[number + 1]
        if not line.endswith(":") or line.startswith("def "):
            continue

        body = behind(lines, number, lambda other, line=line: depth(other) > depth(line))
        rest = behind(lines, body[-1], lambda other, line=line: depth(other) > depth(line) or (
            depth(other) == depth(line) and other.strip().startswith(("else:", "elif "))))
        do, _, other = sentence.rpartition("; otherwise ")
        assert named((do or sentence).rpartition(", ")[2]) == numbers(steps, body), sentence
        if line.strip().startswith(("while ", "for ")):
            assert sentence.endswith(":")
        elif rest:
            assert named(other) == numbers(steps, rest), sentence
        else:
            assert other in ("skip it.", "skip them."), sentence


SAID = [
    ("s = s[1:]", "Drop the first character of s."),
    ("s = s[:-1]", "Drop the last character of s."),
    ("s = s[1:-1]", "Drop the first and the last character of s."),
    ("s = s[n:]", "Drop the first n characters of s."),
    ("s = s[:n]", "Keep the first n characters of s."),
    ("t = s[-3:]", "Set t to the last 3 characters of s."),
    ("t = s[2:4]", "Set t to the characters at index 2 to 3 of s."),
    ("t = s[::-1]", "Set t to the characters of s in opposite order."),
    ("s += t", "Append t to s."),
    ("s = t + s", "Put t in front of s."),
    ("s = s[:-1] + chr(ord(s[-1]) + 1)",
     "Replace the last character of s by the character after it."),
    ("s = s[1:] + s[0]", "Move the first character of s to its end."),
    ("s = s.replace(t, '', 1)", "Remove the first occurrence of t from s."),
    ("t = s.upper()", "Set t to s in upper case."),
    ("a = s.split()", "Split s into its words and call the list of them a."),
    ("n += 1", "Add 1 to n."), ("n -= m", "Subtract m from n."), ("n *= 2", "Double n."),
    ("n //= 10", "Divide n by 10 and round down."), ("n = -n", "Change the sign of n."),
    ("m = n % 10", "Set m to the remainder of n divided by 10."),
    ("m = n // 10", "Set m to n divided by 10, rounded down."),
    ("m = (n + 1) * 2", "Set m to (n plus 1) times 2."),
    ("m = n + m + 1", "Set m to the sum of n, m and 1."),
    ("m = max(n, m)", "Set m to the larger of n and m."),
    ("m = min(a)", "Set m to the smallest number of a."),
    ("m = int(s[0])", "Set m to the first character of s as a number."),
    ("b = not b", "Turn b into its opposite."),
    ("b = n == 0 or n > m", "Set b to whether n is 0 or n is greater than m."),
    ("n = a.pop(0)", "Take the first number out of a and call it n."),
    ("n = a.pop()", "Take the last number out of a and call it n."),
    ("a.pop(0)", "Remove the first number from a."),
    ("a.append(n)", "Append n to a."), ("a.insert(0, n)", "Insert n at the front of a."),
    ("a.insert(n, m)", "Insert m into a at index n."), ("a.sort()", "Sort a in ascending order."),
    ("a[n] = m", "Set the number at index n of a to m."), ("a = []", "Set a to an empty list."),
    ("d[s] = d.get(s, 0) + 1", "Add 1 to the entry of d for s, which starts as 0."),
    ("d[s] -= 1", "Subtract 1 from the entry of d for s."),
    ("n, m = m, n", "Swap n and m."),
    ("m = n if a else 0", "Set m to n if a is not empty, otherwise to 0."),
    ("return not a", "Return whether a is empty."),
    ("return s", "Return s."),
]
GIVEN = {"s": "text", "t": "text", "n": "number", "m": "number", "b": "truth",
         "a": ("list", "number"), "d": ("table", "number")}
CONDITIONS = [
    ("a", "a is not empty"), ("not a", "a is empty"), ("n", "n is not 0"), ("b", "b is True"),
    ("not b", "b is False"), ("a and s", "a and s are not empty"),
    ("s or t", "s or t is not empty"), ("n == 0", "n is 0"), ("n == m", "n equals m"),
    ("n != m", "n differs from m"), ("n % 2 == 0", "n is even"), ("n % 2 != 0", "n is odd"),
    ("n % 2 == 1", "n is odd"), ("s < t", "s comes before t"), ("n >= m", "n is at least m"),
    ("1 < n < m", "1 is less than n and n is less than m"), ("s == ''", "s is empty"),
    ("n in a", "n is in a"), ("n not in a", "n is not in a"), ("s in t", "s occurs in t"),
    ("s[0] in 'aeiou'", "the first character of s is one of the characters in 'aeiou'"),
    ("n in d", "d has an entry for n"), ("n in (1, 2)", "n is 1 or 2"),
    ("s[0].isdigit()", "the first character of s is a digit"),
    ("not s.isalpha()", "s does not consist of letters"),
    ("s.startswith(t)", "s begins with t"), ("s[2:]", "s has more than 2 characters"),
    ("len(a) == 1", "a has exactly 1 number"), ("len(a) > m", "the length of a is greater than m"),
    ("n == 0 or m == 0 and n == m", "n is 0 or (m is 0 and n equals m)"),
    ("not n == 0", "n is not 0"), ("d.get(n, 0) > 0", "the entry of d for n (0 where it has none) "
                                                      "is greater than 0"),
]


@pytest.mark.parametrize(("line", "sentence"), SAID)
def test_how_a_line_reads(line, sentence):
    """A line of Python reads as a person would write it."""
    source = f"def f({', '.join(GIVEN)}):\n    {line}\n    return n\n"
    assert sentences.sentences(source, given=GIVEN)[2] == f"2. {sentence}"


@pytest.mark.parametrize(("condition", "clause"), CONDITIONS)
def test_how_a_condition_reads(condition, clause):
    """A condition reads as a person would write it."""
    source = f"def f({', '.join(GIVEN)}):\n    if {condition}:\n        n = 1\n    return n\n"
    said = sentences.sentences(source, given=GIVEN)
    assert said[2] == f"2. If {clause}, do step 3; otherwise skip it."


SHAPES = """PRICE = {'a': 1, 'b': 1, 'c': 2}
def cost(word):
    return len(word)
def f(words, pairs, n):
    while True:
        for i in range(n + 1):
            if i == 3:
                break
            continue
        for x, y in pairs:
            n += x * y
        m = cost(words)
        break
    return m
"""


CUTS = ["[:]", "[n:]", "[:n]", "[2:]", "[:-1]", "[n:m]", "[::2]", "[:n:2]", "[n::2]"]


def test_a_text_made_of_two_slices_of_itself():
    """Every pair of slices has a sentence; only `s[:n] + t + s[n:]` inserts t into s."""
    read = {}
    for one, two in itertools.product(CUTS, CUTS):
        source = f"def f({', '.join(GIVEN)}):\n    s = s{one} + t + s{two}\n    return s\n"
        read[one, two] = sentences.sentences(source, given=GIVEN)[2]
    assert [pair for pair, said in read.items() if "Insert" in said] == [("[:n]", "[n:]")]
    assert read["[:n]", "[n:]"] == "2. Insert t into s at index n."


def test_a_slice_that_goes_backwards_as_a_condition():
    """`s[2::-1]` is not empty where s has one character, so it is not said to have more than 2."""
    source = f"def f({', '.join(GIVEN)}):\n    if s[2::-1]:\n        n = 1\n    return n\n"
    assert "more than 2" not in sentences.sentences(source, given=GIVEN)[2]


def test_structure():
    """Tables, helpers, both kinds of loops, break and continue are said with the right numbers."""
    rule = Rule(SHAPES)
    assert rule.in_words.splitlines() == [
        "The table PRICE gives 1 for 'a' and 'b'; 2 for 'c'.",
        "1. The helper cost (step 2) is given word.",
        "2. Return the length of word.",
        "3. Start here: you are given words, pairs and n.",
        "4. Repeat steps 5 to 12 until you leave the loop:",
        "5. For each number i from 0 to n, do steps 6 to 8:",
        "6. If i is 3, do step 7; otherwise skip it.",
        "7. Leave the loop of step 5.",
        "8. Go back to step 5.",
        "9. For each item of pairs in turn, its parts called x and y, do step 10:",
        "10. Add x times y to n.",
        "11. Apply the helper cost (step 1) to words and call what it returns m.",
        "12. Leave the loop of step 4.",
        "13. Return m.",
    ]


REAL = {bool: "truth", int: "number", str: "text", list: "list", dict: "table", tuple: "tuple"}


@every_task
def test_kinds_are_those_of_the_values(task):
    """Every variable holds values of the kind that was found for it, wherever one was found."""
    function = ast.parse(task.rule_source).body[-1].name
    found = kinds.infer(ast.parse(task.rule_source), task.rule.given())[function]
    for instance in draw(task, 2, (3, 8)):
        for step in task.trace(instance.inputs).steps:
            for fact in step.facts:
                kind = found.get(fact.left)
                if fact.kind == "state" and kind:
                    name = kind[0] if isinstance(kind, tuple) else kind
                    real = REAL[type(ast.literal_eval(fact.right))]
                    assert {"character": "text"}.get(name, name) == real, fact


# --- a task's own wording

class Halves:
    """Halve a number until one is left."""

    question = "Halve {n}."
    wording = {"while n > 1:": "there is something to halve",  # noqa: RUF012
               "n = n // 2": "Halve n and forget the rest."}

    def rule(n):
        while n > 1:
            n = n // 2
        return n

    def sample(rng, length):
        return {"n": rng.randrange(2 ** length)}


def test_own_wording():
    """A task's own words replace the general ones; a header keeps its step numbers."""
    task = declare(Halves, "halves", "own", "own", "bits", None)
    assert task.rule.in_words.splitlines() == [
        "1. You are given n.", "2. While there is something to halve, repeat step 3:",
        "3. Halve n and forget the rest.", "4. Return n."]
    instance = task.sample(length=5, seed=0, index=0)
    example = formats.render(task, instance, "rfft_nl")
    assert replay.judge_in_words(task.rule_source, *example) == []


class Thirds:
    """Its wording names a line that its rule does not have."""

    question = "Divide {n}."
    wording = {"n = n // 3": "Take a third."}  # noqa: RUF012

    def rule(n):
        n = n // 2
        return n

    def sample(rng, length):
        return {"n": length}


def test_own_wording_of_no_line():
    """A wording for a line that the rule does not have is refused, with the line."""
    with pytest.raises(RuleError, match=r"task thirds: .*'n = n // 3' is not a line of the rule"):
        declare(Thirds, "thirds", "own", "own", "any", None)


# --- traces in words

@pytest.mark.parametrize("count", [1, pytest.param(20, marks=pytest.mark.slow)])
@every_task
def test_traces_are_the_executed_steps_and_true(task, count):
    """A trace recites the sentence of each executed line with the facts of that line, and the
    replay, with the sentences out of the prompt, finds nothing false in it."""
    for instance in draw(task, count):
        prompt, completion = formats.render(task, instance, "rfft_nl")
        assert replay.judge_in_words(task.rule_source, prompt, completion) == []
        records = task.trace(instance.inputs).records
        lines = []
        for site, values in records:
            facts = [fact.left + JOIN[fact.kind] + fact.right if fact.kind != "end" else "end"
                     for fact in site.step(values).facts]
            lines.append(task.rule.sentences[site.line]
                         + (BEHIND + BETWEEN.join(facts) if facts else ""))
        assert completion == "\n".join([*lines, f"{ANSWER}{instance.answer!r}"])
        steps, answer = parse.steps(completion)
        assert [step.facts for step in steps] == [site.step(values).facts
                                                  for site, values in records]
        assert [step.code for step in steps] == [task.rule.sentences[site.line]
                                                 for site, _ in records]
        assert answer == repr(instance.answer)


def mutate(rng, text):
    """A text with one digit, one word or one verdict changed."""
    pattern = rng.choice([r"\d", r"[A-Za-z_]\w*", r"(?<=-> )(?:True|False)", r"^\d+(?=\. )"])
    places = list(re.finditer(pattern, text, re.MULTILINE)) or list(re.finditer(r"\w+", text))
    place = rng.choice(places)
    if "->" in pattern and place[0] in ("True", "False"):
        other = {"True": "False", "False": "True"}[place[0]]
    elif place[0].isdigit():
        other = rng.choice([one for one in string.digits if one != place[0]])
    else:
        other = rng.choice(sorted(set(re.findall(r"[A-Za-z_]\w*", text)) - {place[0]}))
    return text[:place.start()] + other + text[place.end():]


@pytest.mark.parametrize("count", [15, pytest.param(300, marks=pytest.mark.slow)])
@every_task
def test_one_change_is_found(task, count):
    """One digit, word, verdict or sentence number changed is found in 99 of 100 mutants."""
    missed = []
    for index in range(count):
        rng = Random(f"{task.id}/words/{index}")
        length = rng.choice([length for length in task.lengths if 2 <= length <= 8])
        instance = task.sample(length=length, seed=4, index=index, stream="mutants")
        prompt, completion = formats.render(task, instance, "rfft_nl")
        mutant = mutate(rng, completion)
        if not replay.judge_in_words(task.rule_source, prompt, mutant):
            missed.append(mutant)
    assert len(missed) <= count // 100, missed


def test_prompt_without_its_sentences():
    """A prompt that lacks a sentence of the rule is refused by the judge."""
    task = tasks.get("nupa_length")
    prompt, completion = formats.render(task, task.sample(length=2, seed=0, index=0), "rfft_nl")
    with pytest.raises(ValueError, match="5 sentences, the rule 6 lines"):
        replay.judge_in_words(task.rule_source, prompt.replace("\n6. Return length.", ""),
                              completion)


def test_synthetic_rules():
    """Synthetic rules are put into words, and their traces replay."""
    for number in range(20):
        task = synthetic.rule(0, number)
        example = formats.render(task, task.sample(length=4, seed=0, index=0), "rfft_nl")
        assert replay.judge_in_words(task.rule_source, *example) == []
        assert "character" not in task.rule.in_words
        assert "is True" not in task.rule.in_words


def test_standard_library_alone():
    """Rules are put into words without any installed package."""
    program = (f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
               "from metarfft_core import formats, tasks\n"
               "task = tasks.get('lc_283')\n"
               "instance = task.sample(length=2, seed=0, index=0)\n"
               "for name in formats.FORMATS:\n"
               "    formats.render(task, instance, name, 'paper')\n")
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True)
