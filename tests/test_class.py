"""The class of 90 minutes: its exercises, its solutions, its notebook."""

import copy
import importlib.util
import json
import os
import re
import subprocess
import sys
from functools import cache
from html import unescape

import nbformat
import pytest
from nbclient import NotebookClient

from metarfft_core import lab, tasks
from metarfft_core.lab.classroom import class_data
from metarfft_core.lab.classroom.hints import HINTS
from metarfft_core.runner import ThisPython
from metarfft_core.system.places import ROOT

CLASS = ROOT / "notebooks" / "class"
NOTEBOOK = CLASS / "rule_following.ipynb"
NAMES = ("Ada", "Bo", "Chen", "Dora", "Émile", "Fatima", "Grace", "Hiro", "Ines", "João")
EXERCISES = range(1, 7)

_spec = importlib.util.spec_from_file_location("solutions", CLASS / "solutions.py")
solutions = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(solutions)


def in_place(text: str, line: int, new: str) -> str:
    """A text with another line, by its number from 1."""
    lines = text.split("\n")
    lines[line - 1] = new
    return "\n".join(lines)


# --- the traces and the instances

@pytest.mark.parametrize("task", tasks.select(), ids=lambda task: task.id)
def test_the_judges_walk_writes_the_trace_that_the_compiler_writes(task):
    """Two programs, one text: the class shows traces of the first, the models learn the second."""
    for length in {task.lengths[0], task.lengths[3]}:
        inputs = task.sample(length=length, seed=3, index=0).inputs
        before = copy.deepcopy(inputs)
        *lines, answer = class_data.write(task.rule_source, inputs).written
        assert "\n".join(lines) == task.rule.recite(inputs)
        assert answer == f"So the answer is {task.rule.execute(inputs)!r}"
        assert inputs == before


def test_an_instance_is_the_students_own():
    """Ten names have ten instances of each of the first two exercises, and case does not count."""
    for number in (1, 2):
        assert len({lab.exercise(number, name).trace for name in NAMES}) == len(NAMES)
    assert lab.exercise(2, "Ada") == lab.exercise(2, " ADA ")


def test_instances_do_not_depend_on_the_process():
    """Two processes with other hashes of texts show every exercise as this one does."""
    program = ("from metarfft_core import lab; "
               "print([repr(lab.exercise(n, 'João')) for n in range(1, 7)])")
    shown = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                            check=True, cwd=ROOT,
                            env=os.environ | {"PYTHONHASHSEED": seed}).stdout.strip()
             for seed in ("1", "2")}
    assert shown == {repr([repr(lab.exercise(number, "João")) for number in EXERCISES])}


def test_the_name_that_was_given_last_counts():
    """`lab.student` chooses the instances that are shown and judged without a name."""
    try:
        assert "Grace" in repr(lab.student("Grace"))
        assert lab.exercise(1) == lab.exercise(1, "Grace")
        assert lab.check(1, solutions.next_line(lab.exercise(1, "Grace"))).right
    finally:
        lab.student("")


@pytest.mark.parametrize("name", NAMES)
def test_the_ten_traces_of_a_student(name):
    """Ten different texts of the stored run, three of them right and one right by luck alone."""
    traces = lab.exercise(5, name).traces
    assert len({kept.text for kept in traces}) == 10
    kept = "".join(path.read_text(encoding="utf-8") for path in
                   (class_data.RUN / "evaluation").rglob("*.jsonl"))
    assert all(json.dumps(one.text, ensure_ascii=False) in kept for one in traces)
    assert sum(one.text == one.right for one in traces) == 3


def test_an_exercise_is_shown_as_html_without_script_or_style():
    """Its page holds what its text holds, and each part has a heading."""
    for number in EXERCISES:
        exercise = lab.exercise(number, "Ada")
        page = exercise._repr_html_()
        assert not re.search(r"<script|<style|style=|class=|src=|href=", page)
        assert page.count("<summary>") == len(exercise.parts) - bool(exercise.question)
        for text in (exercise.todo, exercise.question, *(text for _, text in exercise.parts)):
            assert text in unescape(page)


# --- answers

@pytest.mark.parametrize("number", EXERCISES)
@pytest.mark.parametrize("name", NAMES)
def test_solutions_are_right(name, number):
    """The teacher's solution of every exercise passes for every student."""
    verdict = lab.check(number, solutions.answer(number, lab.exercise(number, name)), student=name)
    assert repr(verdict) == "right"
    assert verdict.right is True


def test_the_solution_names_every_kept_trace_as_the_error_analysis_does():
    """The replay and the error analysis agree on the class of each trace that may be drawn."""
    pool = class_data._pool()
    assert sum(map(len, pool.values())) > 90
    for (kind, _), traces in pool.items():
        assert set(solutions.classes(class_data.Exercise(5, "", "", traces=tuple(traces)))) == {
            kind}


def wrong_answers() -> list[tuple[int, object, str]]:
    """Wrong answers of Ada's, with a part of the reason that each must get."""
    one, two, three, four = (lab.exercise(number, "Ada") for number in range(1, 5))
    false, classes = solutions.false_line(two), solutions.classes(lab.exercise(5, "Ada"))
    total = one.rule.split("\n")
    low, least = solutions.perfect(lab.exercise(6, "Ada"))
    trace, rule = three.trace, four.rule
    pop = rule.split("\n").index("        num = nums.pop(0)") + 1
    return [
        (1, 42, "expected a line as text, got int"),
        (1, "", "empty text"),
        (1, one.trace, "expected one line"),
        (1, total[0], "executes another line here"),
        (1, solutions.next_line(one).partition(" # ")[0], "needed, got 0"),
        (1, solutions.next_line(one)[:-1] + ", 5]", " is not ["),
        (2, "the fifth", "expected the number of a line"),
        (2, 0, "lines 1 to"),
        (2, 10 ** 5000, "lines 1 to"),
        (2, false - 1, "is true, and so is all above it"),
        (2, false + 1, "follows from the lines above it"),
        (3, ["a"], "expected a trace as text, got list"),
        (3, trace, "nothing is changed yet"),
        (3, "So the answer is 5", "change a line in its place"),
        (3, trace.replace("1 + 1 = 2", "1 + 1 = 3"), "does not follow from your slip"),
        (3, trace.replace("True", "False"), "lines are changed (3, 6, 9"),
        (3, in_place(trace, trace.count("\n") + 1, "So the answer is 77"), "no longer right"),
        (3, in_place(trace, 4, "x = 3"), "is not a line of the rule now"),
        (3, in_place(trace, 4, "num = num[1:]"), "claims no value"),
        (3, in_place(trace, 2, "length  =  0 "), "is not a line of the rule now"),
        (3, in_place(trace, 4, trace.split("\n")[3].replace("'", '"')), "only its spelling"),
        (4, None.__class__, "expected a rule as text"),
        (4, rule, "nothing is changed yet"),
        (4, "import os\nos.remove('a')", "the first line stays"),
        (4, in_place(rule, pop, "        import os"), "this is not a rule: line"),
        (4, in_place(rule, pop, "        num = open('a')"), "this is not a rule: line"),
        (4, in_place(rule, pop, "        num = nums[0]"), "an execution without end"),
        (4, in_place(rule, pop, "        num = 9 ** 9 ** 9"), "too large"),
        (4, in_place(rule, pop, "        num = nums.pop(99)"), "the rule gives no answer on"),
        (4, in_place(rule, pop, "        num = other"), "is never assigned"),
        (4, rule.replace("num > 0", "num >= 0"), "of 50 answers differ, 45 are needed"),
        (5, "right", "expected a list of 10 classes, got str"),
        (5, classes[:9], "expected a list of 10 classes, got 9"),
        (5, ["rigth", *classes[1:]], "did you mean right?"),
        (5, [[1], *classes[1:]], "is not a class (they are"),
        (5, ["cut", *classes[1:]], "9 of 10 are right: look again at 1"),
        (6, 1, "expected two numbers"),
        (6, (float("nan"), 3), "finite"),
        (6, (10 ** 400, 3), "expected two numbers"),
        (6, (68, least), "a share between 0 and 1"),
        (6, (1, least), "a wrong answer is impossible"),
        (6, (low + .1, least), "begins below"),
        (6, (low - .1, least), "begins above"),
        (6, (low, least - 1), "too few"),
        (6, (low, least + 1), "fewer than"),
    ]


@pytest.mark.parametrize("number", EXERCISES)
def test_a_wrong_answer_gets_its_reason_in_one_line(number):
    """At least four wrong answers to each exercise, with at least four different reasons."""
    cases = [(answer, reason) for one, answer, reason in wrong_answers() if one == number]
    assert len({reason for _, reason in cases}) >= 4
    for answer, reason in cases:
        verdict = lab.check(number, answer, student="Ada")
        assert verdict.right is False
        assert reason in repr(verdict)
        assert "\n" not in repr(verdict)
        assert len(repr(verdict)) < 300


@pytest.mark.parametrize("text", ["(" * 50_000, "x" * 500_000, "'" * 9, "\\d", "\0",
                                  "\ud800", "-" * 9999, "1 == " * 20_000 + "1",
                                  "9 ** 9 ** 9 ** 9", "\r", "\u2028", "# ; ->"])
def test_any_text_is_judged(text):
    """Whatever is in a line of an answer, the reply is one line, without an exception."""
    for number in (1, 3, 4):
        exercise = lab.exercise(number, "Ada")
        whole = exercise.trace if number == 3 else exercise.rule
        lines = (f"num = {text}", f"num = num[1:] # num = {text}", f"    return {text}", text)
        for line in lines:
            answer = line if number == 1 else in_place(whole, 4, line)
            reply = lab.check(number, answer, student="Ada")
            assert reply.right is False
            assert "\n" not in repr(reply)


def test_exercises_need_the_standard_library_alone():
    """Where nothing else is installed, as in a browser, all but the last are drawn and judged."""
    program = ("from metarfft_core import lab\n"
               "print([lab.check(n, 'x', 'Bo').right for n in range(1, 6)])")
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True,
                          check=True, cwd=ROOT)
    assert done.stdout.strip() == repr([False] * 5)


def test_no_answer_is_executed(tmp_path):
    """A rule that would write a file if Python executed it writes none, whatever is said of it."""
    target = tmp_path / "executed"
    rule = lab.exercise(4, "Ada").rule
    place = rule.split("\n").index("        num = nums.pop(0)") + 1
    for line in (f"        num = open({str(target)!r}, 'w')",
                 f"        num = __import__('os').mkdir({str(target)!r})"):
        for number in EXERCISES:
            assert lab.check(number, in_place(rule, place, line), student="Ada").right is False
        assert lab.check(1, line.strip(), student="Ada").right is False
    assert not target.exists()


def test_a_reason_does_not_give_the_next_line_away():
    """The replay's own reasons say what would be right; those of exercise 1 do not."""
    for name in NAMES:
        exercise = lab.exercise(1, name)
        right = solutions.next_line(exercise)
        code, _, facts = right.partition(" # ")
        tried = {line.strip() for line in exercise.rule.split("\n")}
        tried |= {*exercise.trace.split("\n"), right[:-1] + "9", right.replace("1", "4")}
        for answer in sorted(tried - {right, ""}):
            reason = repr(lab.check(1, answer, student=name))
            assert code not in reason
            assert facts not in reason


def test_no_answer_yet():
    """An untouched cell is not a mistake; the number of no exercise is one."""
    for number in EXERCISES:
        for answer in (None, ...):
            verdict = lab.check(number, answer)
            assert (verdict.right, repr(verdict)) == (None, "not answered yet")
    for call in (lab.exercise, lab.hint, lambda number: lab.check(number, 1)):
        with pytest.raises(ValueError, match="allowed are 1 to 6; got 7"):
            call(7)
    with pytest.raises(ValueError, match="allowed are 1, 2 and 3; got 4"):
        lab.hint(1, 4)
    with pytest.raises(ValueError, match="expected a name as text"):
        lab.student(3)


def test_three_hints_an_exercise():
    """Each exercise has three hints, which differ."""
    assert sorted(HINTS) == list(EXERCISES)
    assert len({repr(lab.hint(number, stage)) for number in EXERCISES for stage in (1, 2, 3)}) == 18


# --- the tracer

@cache
def plain(task: str):
    """The rule of a task as plain Python."""
    names = {}
    exec(compile(tasks.get(task).rule_source, task, "exec"), names)
    return names[tasks.get(task).rule.name]


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("task", ["nupa_length", "lc_485", "lc_461"])
def test_the_tracer_of_the_solution_agrees_with_the_kits(task, index):
    """Twenty lines with sys.settrace see the lines and variables that the compiled rule records."""
    inputs = tasks.get(task).sample(length=6, seed=2, index=index).inputs
    steps = solutions.tracer(plain(task), *copy.deepcopy(list(inputs.values())))
    recited = tasks.get(task).rule.recite(inputs).split("\n")
    rule = tasks.get(task).rule_source.split("\n")
    assert [rule[line - 1].strip() for line, _ in steps] == [
        line.partition(" # ")[0] for line in recited]
    verdict = lab.check_tracer(steps, task, inputs)
    assert repr(verdict) == f"right: {len(recited)} steps, each with the same line and variables"


def test_the_tracer_is_twenty_lines():
    """What the class promises: twenty lines, without the docstring and blank lines."""
    text = (CLASS / "solutions.py").read_text(encoding="utf-8")
    body = re.search(r"^def tracer.*?(?=^def )", text, re.DOTALL | re.MULTILINE)[0]
    assert len([line for line in body.split("\n") if line.strip()]) - 1 <= 20


@pytest.mark.parametrize(("spoil", "reason"), [
    (lambda steps: steps[:-1], "your tracer has 9 steps, the kit 10"),
    (lambda steps: [*steps[:2], *steps[3:]], "step 3: your tracer is at line 4, the kit at line 3"),
    (lambda steps: [(line, {}) for line, _ in steps], "step 1, line 1: after it"),
    (lambda steps: [(line, before) for (line, _), (_, before) in zip(
        steps, [(0, {}), *steps], strict=False)], "step 1, line 1"),
    (lambda steps: ..., "not answered yet")])
def test_a_wrong_tracer_is_told_its_first_wrong_step(spoil, reason):
    """The line names the first step that differs, and how."""
    steps = solutions.tracer(plain("nupa_length"), "42")
    verdict = lab.check_tracer(spoil(steps), "nupa_length", {"num": "42"})
    assert not verdict.right
    assert reason in repr(verdict)
    assert "\n" not in repr(verdict)


# --- the notebook

def executed(notebook, folder):
    """A notebook, executed in a folder without any of the kit's variables in the environment."""
    NotebookClient(notebook, timeout=120, coalesce_streams=True,
                   resources={"metadata": {"path": str(folder)}},
                   kernel_manager_class=ThisPython).execute()
    return notebook


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def shown(cell):
    """The text of a cell's outputs."""
    return "".join(output.get("text") or output.data["text/plain"] for output in cell.outputs)


@pytest.fixture
def bare(monkeypatch):
    """An environment without the kit's variables, which finds the package of this checkout."""
    for name in [name for name in os.environ if name.startswith("METARFFT")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_the_minutes_add_up():
    """The sections take the minutes of the table, 90 in all, and each begins with its goal."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    sections = [text for text in texts if text.startswith("## ")]
    minutes = [int(re.match(r"## .* \((\d+) minutes\)", text)[1]) for text in sections]
    table = [int(found) for found in re.findall(r"^\| \d .*?\| (\d+) \|", texts[0], re.MULTILINE)]
    teacher = re.findall(r"^\| \d .*?\| (\d+) \|", (CLASS / "TEACHER.md").read_text("utf-8"),
                         re.MULTILINE)
    assert minutes == table == [*map(int, teacher)]
    assert sum(minutes) == 90
    assert all("**Goal:**" in text for text in sections[:-1])


def test_the_untouched_notebook_runs_as_it_is_stored(bare, tmp_path):
    """Unanswered exercises are no errors, and the stored outputs are those of a run today."""
    stored = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(stored)
    notebook = executed(copy.deepcopy(stored), tmp_path)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell, kept in zip(notebook.cells, stored.cells, strict=True):
        if cell.cell_type == "code":
            assert shown(cell) == shown(kept), cell.source
    for number in EXERCISES:
        cell, = tagged(notebook, f"exercise-{number}")
        assert shown(cell) == "not answered yet"


def test_the_notebook_with_the_solutions_filled_in(bare, tmp_path):
    """Every exercise says right, and every instance of the tracer, for a name in the first cell."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cell, = tagged(notebook, "student")
    cell.source = (cell.source.replace('student("")', 'student("Ada")')
                   + f"\nimport sys; sys.path.append({str(CLASS)!r}); import solutions")
    cell, = tagged(notebook, "tracer")
    cell.source = "tracer = solutions.tracer"
    for number in EXERCISES:
        cell, = tagged(notebook, f"exercise-{number}")
        assert "answer = ..." in cell.source
        cell.source = cell.source.replace(
            "...", f"solutions.answer({number}, lab.exercise({number}))")
    executed(notebook, tmp_path)
    assert [shown(tagged(notebook, f"exercise-{number}")[0]) for number in EXERCISES] == [
        "right"] * 6
    assert shown(tagged(notebook, "tracer-check")[0]).count("right: ") == 3


def test_stored_outputs_are_plain_text_static_html_and_described_pictures():
    """No widget, script or style; under 1 MB; each picture says what it shows."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert NOTEBOOK.stat().st_size < 1_000_000
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [output for output in outputs if output.output_type != "stream"]
    kinds = {kind for output in data for kind in output.data}
    assert kinds == {"text/plain", "text/html", "image/png"}
    assert not [output for output in data if re.search("<script|<style|style=",
                                                       output.data.get("text/html", ""))]
    pictures = [output for output in data if "image/png" in output.data]
    assert len(pictures) == 2
    assert all(len(output.metadata["image/png"]["alt"]) > 80 for output in pictures)
    assert str(ROOT) not in NOTEBOOK.read_text(encoding="utf-8")
