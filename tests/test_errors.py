"""The error analysis: planted errors are named, any text is taken, loops are counted rightly."""

import ast
import json
import os
import re
import string
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import planted
import pytest
from planted import TASKS, Right

from metarfft_core import errors, evaluation, formats, tasks
from metarfft_core.tracing.judge import replay
from metarfft_core.tracing.steps import ANSWER

ROOT = Path(__file__).resolve().parent.parent
FORMS = [("rfft", "kit"), ("rfft_nl", "kit"), ("rfft", "paper"), ("scratchpad", "kit"),
         ("direct", "kit")]
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
every_form = pytest.mark.parametrize(("format", "wording"), FORMS)


def sample(task, length, index=0):
    length = min(task.lengths, key=lambda other: abs(other - length))
    return task.sample(length=length, seed=3, index=index, stream="errors")


# --- planted errors

@pytest.fixture(scope="module")
def results():
    """Planted errors of every kind and task: (task, format, planted, diagnosis)."""
    return [(task, format, wrong, errors.diagnose(task, right.instance.inputs, wrong.text,
                                                  wrong.finish_reason, format))
            for task in TASKS for format in ("rfft", "rfft_nl")
            for right, wrong in planted.draw(task, 1, format)]


def test_a_walk_without_a_slip_writes_the_right_text():
    """The walk that plants errors writes the right text where it plants none."""
    for task in TASKS:
        for format in ("rfft", "rfft_nl"):
            right = Right(task, sample(task, 7), format)
            assert planted.walked(right, 0).written == right.lines


def test_every_kind_is_planted_in_many_tasks(results):
    """Every kind is planted, each in at least 50 tasks."""
    where = Counter(kind for kind, _ in {(wrong.kind, task.id) for task, _, wrong, _ in results})
    assert set(where) == set(errors.KINDS)
    assert min(where.values()) >= 50, where


@pytest.mark.parametrize("kind", errors.KINDS)
def test_planted_errors_are_named(results, kind):
    """At least 95% of the planted errors of each kind are named right, in code and in words."""
    for format in ("rfft", "rfft_nl"):
        named = [found.kind for _, one, wrong, found in results
                 if one == format and wrong.kind == kind]
        assert named.count(kind) >= 0.95 * len(named), Counter(named)


def test_each_way_of_planting_is_named(results):
    """No way of planting an error is named right in less than 90% of its texts."""
    hows = Counter((wrong.kind, wrong.how) for *_, wrong, _ in results)
    right = Counter((wrong.kind, wrong.how) for *_, wrong, found in results
                    if found.kind == wrong.kind)
    assert [how for how, count in hows.items() if right[how] < 0.9 * count] == []


def test_the_step_is_that_of_the_planting(results):
    """The first diverging step is exactly right in at least 98%, and its line is the rule's."""
    wrong_steps = [found for *_, wrong, found in results if found.step != wrong.step]
    assert len(wrong_steps) <= 0.02 * len(results), wrong_steps
    for task, format, wrong, found in results:
        if found.line:
            sentence = found.code if format == "rfft" else task.rule.sentences[found.line]
            assert found.expected.startswith(sentence)
            assert format != "rfft" or found.code == (
                task.rule_source.split("\n")[found.line - 1].strip())
        if found.at and wrong.how != "spaces":
            assert wrong.text.split("\n")[found.at - 1].strip() == found.got


def test_passes_are_those_of_the_walk(results):
    """Passes through each loop are those that the walk went through which wrote the text."""
    compared = wrong_counts = 0
    for *_, wrong, found in results:
        if wrong.passes is not None and wrong.finish_reason == "stop":
            compared += 1
            wrong_counts += {loop.line: loop.passes for loop in found.by_loop} != {
                loop.line: wrong.passes[loop.line] for loop in found.by_loop}
    assert compared > 500
    assert wrong_counts <= 0.01 * compared


def test_right_traces_and_right_answers(results):
    """What is right in the trace and in the answer can be told apart."""
    pairs = Counter((found.trace_right, found.answer_right, found.kind)
                    for *_, found in results)
    assert {kind for trace, _, kind in pairs if trace} == {"right", "answer_not_from_trace", "cut",
                                                           "line_invented"}
    assert {answer for _, answer, kind in pairs if kind == "answer_not_from_trace"} == {False}
    assert {answer for trace, answer, _ in pairs if not trace} == {True, False}


@pytest.mark.slow
def test_confusion_table(capsys):
    """The confusion table over many planted errors, to be read; 99% of all are named right."""
    counts = Counter()
    for format in ("rfft", "rfft_nl"):
        for task in TASKS:
            for right, wrong in planted.draw(task, 10, format):
                found = errors.diagnose(task, right.instance.inputs, wrong.text,
                                        wrong.finish_reason, format)
                counts[wrong.kind, found.kind] += 1
    with capsys.disabled():
        print("\n" + planted.table(counts))
    assert sum(counts[kind, kind] for kind in errors.KINDS) >= 0.99 * sum(counts.values())


# --- by hand

COUNTDOWN = tasks.get("nupa_get_digit")
STEPS = """def get_digit_integer(num, index): # num = '407'; index = 1
while index > 0: # 1 > 0 -> True
num = num[1:] # num = '07'
index -= 1 # 1 - 1 = 0
while index > 0: # 0 > 0 -> False
return num[0] # num[0] = '0'
So the answer is '0'"""
BY_HAND = [
    ("", "", "right", None),
    ("'07'", '"07"', "right", None), ("1 - 1", "1-1", "right", None),
    (" # ", "#", "right", None), ("while index > 0:", "while index>0 :", "right", None),
    ("'407'; index", "'407';index", "right", None),
    ("1 > 0 -> True", "1 > 0 -> False", "loop_left_early", 2),
    ("1 > 0 -> True", "0 > 0 -> False", "loop_left_early", 2),
    ("0 > 0 -> False", "0 > 0 -> True", "loop_not_left", 5),
    ("0 > 0 -> False", "-1 > 0 -> False", "wrong_copy", 5),
    ("'407'; index", "407; index", "wrong_copy", 1),
    ("num = '07'", "num = '7'", "wrong_copy", 3),
    ("num = '07'", "num = 07", "format", 3), ("num = '07'", "num = '07", "format", 3),
    ("num = '07'", "num", "format", 3), (" # num = '07'", "", "format", 3),
    ("1 - 1 = 0", "1 - 1 = 1", "wrong_arithmetic", 4), ("1 - 1 = 0", "2 - 1 = 1", "wrong_copy", 4),
    ("1 - 1 = 0", "1 - 1 = 9**9**9", "format", 4), ("1 - 1 = 0", "9**9**9 = 0", "wrong_copy", 4),
    ("1 - 1 = 0", "index = 0", "format", 4),
    ("index -= 1 #", "index -= 2 #", "wrong_recitation", 4),
    ("index -= 1 # 1 - 1 = 0", "num -= 1 # 1 - 1 = 0", "wrong_recitation", 4),
    ("index -= 1 #", "index = index - 1 #", "wrong_recitation", 4),
    ("index -= 1 # 1 - 1 = 0\n", "", "line_skipped", 4),
    ("num = num[1:] # num = '07'\n", "", "line_skipped", 3),
    ("while index > 0: # 0 > 0 -> False\n", "", "line_skipped", 5),
    ("index -= 1 #", "num = num[1:] # num = '7'\nindex -= 1 #", "line_invented", 4),
    ("index -= 1 #", "print(num)\nindex -= 1 #", "line_invented", 4),
    ("index -= 1 #", "So far, so good.\nindex -= 1 #", "format", 4),
    ("So the answer is '0'", "So the answer is 0", "answer_not_from_trace", 7),
    ("So the answer is '0'", "So the answer is '4'", "answer_not_from_trace", 7),
    ("\nSo the answer is '0'", "", "answer_not_from_trace", 7),
    ("So the answer is '0'", "The answer: '0'", "format", 7),
    ("So the answer is '0'", "So the answer is '0'\n\nQ: And now?", "line_invented", 8),
    ("return num[0] # num[0] = '0'\n", "", "line_skipped", 6),
    ("return num[0]", "num = num[1:] # num = '7'\nindex -= 1 # 0 - 1 = -1\n"
     "while index > 0: # -1 > 0 -> False\nreturn num[0]", "loop_not_left", 6),
    (STEPS[STEPS.index("while index > 0: # 1"):STEPS.index("return")], "", "loop_left_early", 2),
    (STEPS[STEPS.index("while index > 0: # 1"):STEPS.index("So")], "", "loop_left_early", 2),
    (STEPS, "", "line_skipped", 1), (STEPS, "I cannot tell.", "format", 1),
    (STEPS, "So the answer is '0'", "line_skipped", 1),
]


@pytest.mark.parametrize(("old", "new", "kind", "step"), BY_HAND)
def test_by_hand(old, new, kind, step):
    """Errors written by hand, each with the kind and the step that a reader would name."""
    inputs = {"num": "407", "index": 1}
    assert formats.parse_answer(STEPS) == repr(COUNTDOWN.rule.execute(inputs))
    assert old in STEPS
    found = errors.diagnose(COUNTDOWN, inputs, STEPS.replace(old, new, 1))
    assert (found.kind, found.step) == (kind, step)


def test_a_cut_loop_that_never_ends_is_a_loop_not_left():
    """What went wrong before the limit came counts, not the limit."""
    inputs = {"num": "407", "index": 1}
    head = STEPS[:STEPS.index("0 > 0")]
    body = "num = num[1:] # num = ''\nindex -= 1 # -1 - 1 = -2\nwhile index > 0: # -2 > 0 -> True\n"
    found = errors.diagnose(COUNTDOWN, inputs, head + "0 > 0 -> True\n" + body * 50 + "num = nu",
                            "length")
    assert (found.kind, found.loops, found.gold_loops) == ("loop_not_left", 52, 1)
    assert found.relative_loop_error == 51
    assert errors.diagnose(COUNTDOWN, inputs, head, "length").kind == "cut"
    assert errors.diagnose(COUNTDOWN, inputs, STEPS, "length").kind == "cut"
    assert errors.diagnose(COUNTDOWN, inputs, head, "stop").kind == "format"
    assert errors.diagnose(COUNTDOWN, inputs, STEPS[:STEPS.index("07")] + "1", "length"
                           ).kind == "wrong_copy"
    assert errors.diagnose(COUNTDOWN, inputs, head[:head.rindex("while")] + "retu", "length"
                           ).kind == "line_skipped"


def test_no_loop_has_no_relative_error():
    """Where the rule goes through no loop the relative error of the count is not defined."""
    inputs = {"num": "407", "index": 0}
    text = formats.render(COUNTDOWN, tasks.Instance("", 3, 0, "", inputs, "4"), "rfft").completion
    found = errors.diagnose(COUNTDOWN, inputs, text)
    assert (found.kind, found.gold_loops, found.relative_loop_error) == ("right", 0, None)


def test_annotated_text():
    """The annotated text shows the kind of error, its position and the right line there."""
    text = STEPS.replace("1 - 1 = 0", "1 - 1 = 1")
    found = errors.diagnose(COUNTDOWN, {"num": "407", "index": 1}, text)
    head, *lines = errors.annotate(text, found, context=1).split("\n")
    assert head == ("wrong_arithmetic at step 4 of 6; passes through loops: 1, expected 1; "
                    "the answer is right")
    assert lines == ["      3  num = num[1:] # num = '07'", ">>    4  index -= 1 # 1 - 1 = 1",
                     "   right:  index -= 1 # 1 - 1 = 0",
                     "      5  while index > 0: # 0 > 0 -> False"]
    found = errors.diagnose(COUNTDOWN, {"num": "407", "index": 1}, "")
    assert errors.annotate("", found).endswith("right:  " + STEPS.split("\n")[0])


def test_unknown_forms_are_refused():
    """An unknown format or wording is a ValueError that lists the right ones."""
    with pytest.raises(ValueError, match="format: allowed are direct, scratchpad, rfft, rfft_nl"):
        errors.diagnose(COUNTDOWN, {}, "", format="code")
    with pytest.raises(ValueError, match="wording: allowed are kit, paper"):
        errors.diagnose(COUNTDOWN, {}, "", wording="papier")


# --- against independent references

@every_form
@every_task
def test_right_texts(task, format, wording):
    """A right completion is right, with as many passes as an instrumented rule goes through."""
    for length in (1, 6, 12):
        instance = sample(task, length)
        text = formats.render(task, instance, format, wording).completion
        found = errors.diagnose(task, instance.inputs, text, format=format, wording=wording)
        assert (found.kind, found.step, found.answer_right) == ("right", None, True)
        counted = instrumented(task.rule_source, instance.inputs)
        assert {loop.line: loop.gold for loop in found.by_loop} == counted
        if format.startswith("rfft"):
            assert {loop.line: loop.passes for loop in found.by_loop} == counted


def instrumented(source, inputs):
    """Passes through each loop of a rule that counts them itself."""
    module = ast.parse(source)
    counts = {}
    for node in ast.walk(module):
        if isinstance(node, (ast.While, ast.For)):
            counts[node.lineno] = 0
            node.body.insert(0, ast.parse(f"COUNTS[{node.lineno}] += 1").body[0])
    names = {"COUNTS": counts}
    exec(compile(ast.fix_missing_locations(module), "<rule>", "exec"), names)
    names[module.body[-1].name](*ast.literal_eval(repr(list(inputs.values()))))
    return counts


@every_task
def test_the_place_is_that_of_the_replay(task):
    """The first diverging line of a mutant is the first false line that the replay finds."""
    rng = Random(f"{task.id}/replay")
    for index in range(12):
        instance = sample(task, rng.randrange(2, 10), index)
        prompt, text = formats.render(task, instance, "rfft")
        place = rng.choice(list(re.finditer(r"\d|(?<=-> )(?:True|False)|[a-z]\w*", text)))
        other = {"True": "False", "False": "True"}.get(place[0]) or (
            rng.choice(string.digits) if place[0].isdigit() else place[0] + "x")
        mutant = text[:place.start()] + other + text[place.end():]
        found = errors.diagnose(task, instance.inputs, mutant)
        false = replay.judge(prompt, mutant)
        assert found.at == (false[0].line if false else None), mutant


@pytest.mark.parametrize("answer", [
    "5", " 5", "5 ", "'5'", "05", "5.0", "True", "[5]", "", "5\nSo the answer is 6", "6",
    "6\nSo the answer is 5", "0x5", "'", "(5)", "5 # five", "9" * 5000, "0x" + "f" * 9000,
    "-" * 9000 + "5", "[" * 9000])
def test_answers_are_right_as_the_evaluation_scores_them(answer):
    """Whether an answer is right is what the evaluation says."""
    task = tasks.get("nupa_length")
    text = f"So it is.\n{ANSWER}{answer}"
    for reason in ("stop", "length"):
        for format in formats.FORMATS:
            found = errors.diagnose(task, {"num": "40404"}, text, reason, format)
            assert found.answer_right == (evaluation.score(text, reason, "5")[1] == "right")


# --- the other formats

def line_of(place):
    """The line of the text that a match is on, up to its end."""
    return place.string[place.string.rindex("\n", 0, place.start()) + 1:place.end()]


@every_task
def test_the_papers_wording(task):
    """Results, verdicts and shown values of the paper's wording are told apart, step by step."""
    rng = Random(f"{task.id}/paper")
    for index in range(4):
        instance = sample(task, rng.randrange(2, 9), index)
        text = formats.render(task, instance, "rfft", "paper").completion
        steps = task.rule.recite(instance.inputs).split("\n")

        def check(place, new, kinds, text=text, inputs=instance.inputs, steps=steps):
            mutant = text[:place.start()] + new + text[place.end():]
            found = errors.diagnose(task, inputs, mutant, wording="paper")
            assert found.kind in kinds, errors.annotate(mutant, found, 5)
            assert found.at <= text.count("\n", 0, place.start()) + 1
            if found.line:
                assert found.code == steps[found.step - 1].partition(" # ")[0]

        places = [place for place in re.finditer(r"(?<= = )\d+$", text, re.MULTILINE)
                  if not re.search(rf"^ *{re.escape(line_of(place))}$", task.rule_source, re.M)]
        if places:
            place = rng.choice(places)
            line = line_of(place)
            computed = line.startswith("so, ") or (
                line.startswith("now") and line.count(" = ") == 2)
            check(place, str(int(place[0]) + 1), {"wrong_arithmetic", "wrong_copy"} if computed
                  else {"wrong_copy"})
        for words, kinds in (("enter the loop", {"loop_left_early"} | (
                                {"format"} if "for " in task.rule_source else set())),
                             ("enter the branch", {"wrong_branch"})):
            if places := list(re.finditer(f"^{words}$", text, re.MULTILINE)):
                check(rng.choice(places), "do not enter", kinds)  # no format for an item
        place = rng.choice(list(re.finditer(r"^[a-z].*", text, re.MULTILINE)))
        check(place, "?!", {"format"})


@every_task
def test_scratchpads(task):
    """A wrong value, a line too few, one too many and a wrong answer of a scratchpad are named."""
    rng = Random(f"{task.id}/scratchpad")
    for index in range(4):
        instance = sample(task, rng.randrange(3, 9), index)
        lines = formats.render(task, instance, "scratchpad").completion.split("\n")

        def kind(*lines, inputs=instance.inputs, **more):
            return errors.diagnose(task, inputs, "\n".join(lines), format="scratchpad", **more).kind

        assert kind(*lines[:-1], ANSWER + "'none of these'") == "answer_not_from_trace"
        assert kind("!", *lines) == "format"
        assert kind(*lines[:-1], lines[-1][:-1], finish_reason="length") == "cut"
        if len(lines) < 3:
            continue
        assert kind(*lines[:-2], lines[-1]) == "loop_left_early"
        assert kind(*lines[:-1], lines[-2], lines[-1]) == "loop_not_left"
        place = rng.randrange(len(lines) - 1)
        if changed := planted.changed(rng, lines[place].rpartition(" = ")[2]):
            line = f"{lines[place].rpartition(' = ')[0]} = {changed}"
            named = kind(*lines[:place], line, *lines[place + 1:])
            assert named in ("wrong_copy", "wrong_arithmetic") or not planted.is_literal(changed)


def test_direct_answers():
    """A direct completion is right, wrong, cut or unreadable, and has no trace."""
    inputs = {"num": "40404"}
    for text, reason, kind in [("So the answer is 5", "stop", "right"), ("", "length", "cut"),
                               ("So the answer is 6", "stop", "answer_not_from_trace"),
                               ("Five.", "stop", "format"), ("So the an", "length", "cut"),
                               ("", "stop", "answer_not_from_trace")]:
        found = errors.diagnose(tasks.get("nupa_length"), inputs, text, reason, "direct")
        assert (found.kind, found.trace_right, found.loops, found.gold_loops) == (
            kind, None, None, 5)


# --- any text at all

HEAD = "def word_sorting(words): # words = "
PIECES = {
    "newlines": "\n", "zero": "\0", "half a character": "\ud800", "parentheses": "(",
    "brackets": HEAD + "[" * 3_000 + "]" * 3_000 + "\n", "minus": HEAD + "-" * 30_000 + "1\n",
    "quotes": HEAD + "'", "escaped quotes": "def f(n): # " + "\\'", "backslashes": "\\",
    "sums": HEAD + "1+" * 9_000 + "1\n", "powers": HEAD + "9**9**9\n", "digits": "9",
    "facts": HEAD + "; words = 3" * 500, "indexes": "words[0]", "answers": f"{ANSWER}5\n",
    "hexadecimal": HEAD + "0x" + "f" * 19_000 + "\n", "headers": "while words:\n",
    "half an escape": HEAD + "'\\x'\n", "spaces": " ", "hashes": " # ", "arrows": " -> ",
    "steps": "while words: # words is not empty -> True\nword = words.pop(0)\n",
    "headings": "2. Outer loop\n2.1 One iteration\n", "semicolons": "; ", "lambda": "lambda: ",
    "sentences": "1. You are given words. # words = []\n", "not": "not ", "f-strings": "f'{",
    "bytes": "b'\\x00' ", "carriage returns": "\r", "calls": "exit() #", "dicts": "{" * 100,
}
SIZE = 1_000_000


@every_form
def test_a_million_characters(format, wording):
    """A million characters of any kind are diagnosed in time and memory that a text in proportion
    needs, and never as right: what backtracks or copies would take hours, or more than 2 GB."""
    program = """
import json, resource, sys
from metarfft_core import errors, tasks
resource.setrlimit(resource.RLIMIT_CPU, (300, 300))
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
task, inputs = tasks.get("bbh_word_sorting"), {"words": ["b", "a"]}
format, wording, size, pieces = json.load(sys.stdin)
kinds = []
for name, piece in pieces.items():
    text = (piece * (size // len(piece) + 1))[:size]
    reason = "length" if len(kinds) % 2 else "stop"
    kinds.append(errors.diagnose(task, inputs, text, reason, format, wording).kind)
print(json.dumps(kinds))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                            input=json.dumps([format, wording, SIZE, PIECES]),
                            env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert result.returncode == 0, result.stderr[-500:]
    kinds = set(json.loads(result.stdout))
    assert kinds <= set(errors.KINDS) - {"right"}


@every_form
def test_random_texts(format, wording):
    """Random characters and bytes, and shuffled and damaged right texts, are never right."""
    rng = Random(f"random texts/{format}/{wording}")
    for number in range(50):
        task = rng.choice(TASKS)
        instance = sample(task, rng.randrange(1, 8), number)
        text = formats.render(task, instance, format, wording).completion
        pieces, lines, size = re.findall(r"\w+|\W", text), text.split("\n"), rng.randrange(400)
        place = rng.randrange(len(text))
        for wrong in ("".join(rng.choices(string.printable, k=size)),
                      rng.randbytes(size).decode("latin-1"),
                      "".join(chr(rng.randrange(0x110000)) for _ in range(size)),
                      "".join(rng.choices(pieces, k=size)),
                      "\n".join(rng.choices(lines, k=size % 40)),
                      text[:place] + "".join(rng.choices(string.printable, k=9)) + text[place:],
                      text[place:], text[:place]):
            for reason in ("stop", "length"):
                found = errors.diagnose(task, instance.inputs, wrong, reason, format, wording)
                assert found.kind in errors.KINDS
                assert (found.kind == "right") == (found.step is None)
                assert found.kind != "right" or found.answer_right, wrong
                errors.annotate(wrong, found, 2)


def test_standard_library_alone():
    """Errors are analysed without any installed package."""
    program = (f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
               "from metarfft_core import errors, tasks\n"
               "print(errors.diagnose(tasks.get('nupa_length'), {'num': '4'}, '').kind)\n")
    result = subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True,
                            capture_output=True, text=True)
    assert result.stdout == "line_skipped\n"


def test_inputs_stay_as_they_are():
    """Neither the inputs nor a later diagnosis are changed by a diagnosis."""
    right = Right(tasks.get("lc_283"), sample(tasks.get("lc_283"), 5))
    inputs, text = right.instance.inputs, "\n".join(right.lines)
    before = repr(inputs)
    first = errors.diagnose(right.task, inputs, text[:90])
    assert errors.diagnose(right.task, inputs, text).kind == "right"
    assert (repr(inputs), errors.diagnose(right.task, inputs, text[:90])) == (before, first)
