"""The checks of a user's own task, and the page that tells how to declare one."""

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from itertools import count

import nbformat
import pytest
from nbclient import NotebookClient

from metarfft_core import formats, tasks
from metarfft_core.authoring import checks
from metarfft_core.system.places import ROOT
from metarfft_core.tasks.definition import declare
from metarfft_core.tracing.judge import replay

PAGE = ROOT / "docs" / "own_tasks.md"
NUMBERS = count()

FILE = '''
from metarfft_core import tasks


@tasks.task("{id}", source="own", split="own", length="n")
class OwnTask:
    """A task of the test."""

    question = "{question}"

    def rule(n):
        {rule}

    def sample(rng, length):
        {sampler}
'''


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """The kit's tasks alone, as in a new process: each file declares a class of the same name."""
    tasks.select()
    monkeypatch.setattr(tasks.registry, "_TASKS", dict(tasks.registry._TASKS))


def own(folder, rule, sampler="return {'n': length}", question="Count down from {n}."):
    """A file with a task whose rule and sampler have these lines."""
    def body(text):
        return textwrap.indent(textwrap.dedent(text).strip(), " " * 8).lstrip()

    path = folder / "own.py"
    path.write_text(FILE.format(id=f"own_{next(NUMBERS)}", question=question, rule=body(rule),
                                sampler=body(sampler)), encoding="utf-8")
    return path


def checked(path, **options):
    """What the checks say of the only task in a file."""
    task, = checks.load(path)
    return checks.check(task, **options)


GOOD = """
    total = 0
    while n > 0:
        total += n
        n -= 1
    return total
"""


@pytest.mark.parametrize("task", tasks.select(split="downstream"), ids=lambda task: task.id)
def test_the_kits_own_tasks_pass(task):
    """A task of the kit passes the checks of a user's task."""
    assert checks.check(task, lengths=[2, 9], samples=2, draws=10).task == task.id


def test_report(tmp_path):
    """A report counts by length what can be counted by hand."""
    report = checked(own(tmp_path, GOOD, "return {'n': rng.choice([length, length + 1])}"),
                     lengths=[4, 2], samples=3, draws=40, tokens=lambda prompt, completion: 7)
    assert [row.length for row in report.rows] == [2, 4]
    row = report.rows[0]
    assert (row.distinct, row.draws, row.answers, row.yes) == (2, 40, 2, None)
    assert 0.5 <= row.commonest <= 0.8
    assert 3 + 2 * 3 <= row.lines <= 4 + 3 * 3  # while, total and n for each pass
    question = len("Count down from 2.")
    assert row.characters["direct"] == question + len("So the answer is 3")
    assert row.tokens == dict.fromkeys(checks.TEXTS, 7)
    assert "yes" not in report.cells()[0]
    header, *lines = str(report).splitlines()[1:]
    assert header.split()[:3] == ["length", "distinct", "answers"]
    assert [line.split()[0] for line in lines] == ["2", "4"]


def test_report_of_a_yes_no_task(tmp_path):
    """The report of a yes/no task gives the share of yes."""
    report = checked(own(tmp_path, "return n > 5"), lengths=[5, 6], samples=1, draws=1)
    assert [row.yes for row in report.rows] == [0, 1]


REFUSED = {
    "import": ("import os\nreturn n", "line 2: Import is not in the subset"),
    "eval": ("x = n\nx = eval('x')\nreturn x", "line 3: eval is not in the subset"),
    "comprehension": ("x = [i for i in n]\nreturn x", "line 2: ListComp is not in the subset"),
    "unknown method": ("x = str(n)\nreturn x.swapcase()",
                       "line 3: the method swapcase is not in the subset"),
    "no answer": ("if n > 5:\n    return n", "line 2: a rule ends with return"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rule_outside_the_subset(tmp_path, name):
    """A rule outside the subset is refused when it is declared, with its line and the reason."""
    rule, reason = REFUSED[name]
    with pytest.raises(checks.CheckError, match=rf"own\.py: task own_\d+: {reason}"):
        checks.load(own(tmp_path, rule))


TABLES = {
    "annotated": ("TABLE: dict = {1: 2}", 1), "several names": ("A, B = 1, 2", 1),
    "two targets": ("A = B = 1", 1), "changed": ("A = {1: 2}\n    A[3] = 4", 2),
    "updated": ("A = {1: 2}\n    A.update({3: 4})", 2),
    "conditional": ("if True:\n        A = 1", 1),
}


@pytest.mark.parametrize("name", TABLES)
def test_table_in_another_form(tmp_path, name):
    """A table that is not NAME = literal is refused with its line, and never left out."""
    text, line = TABLES[name]
    path = own(tmp_path, "return n")
    path.write_text(path.read_text().replace("    question", f"    {text}\n\n    question"))
    with pytest.raises(checks.CheckError, match=rf"own\.py: task own_\d+: line {line}: beside "
                                                "rules a rule's text holds only tables: NAME = "):
        checks.load(path)


def test_header_over_several_lines(tmp_path):
    """A header over several lines is refused when it is declared, with its line."""
    path = own(tmp_path, "return n")
    path.write_text(path.read_text().replace("def rule(n):", "def rule(\n        n,\n    ):"))
    with pytest.raises(checks.CheckError, match=r"task own_\d+: line 1: a header takes one line"):
        checks.load(path)


RULES = {
    "endless while": ("while n > 0:\n    n += 1\nreturn n",
                      r"does not end: more than 50000 lines .* line [23]: (while n > 0:|n \+= 1)"),
    "endless for": ("x = [n]\nfor i in x:\n    x.append(i)\nreturn x",
                    r"does not end: more than 50000 lines .* line [34]: "),
    "endless inner loop": ("i = 0\nwhile i < n:\n    j = 0\n    while j < n:\n        i = 0\n"
                           "    i += 1\nreturn i", r"does not end: .* line [56]: "),
    "recursion": ("n -= 1\nx = own_task(n)\nreturn x",
                  r"calls itself without end: line [123]: .* \(more than 900 nested"),
    "number too long to be written": ("x = n\nx = 10 ** 4300\nx = x % 7\nreturn x",
                                      r"does not print, in line 3: x = 10 \*\* 4300"),
    "answer too long to be written": ("return 10 ** 4300",
                                      r"does not print, in line 2: return 10 \*\* "),
    "number too long to be judged": ("return n * 3 ** 90000 % 7",
                                     r"text cannot be judged in line \d, .*: the value is too "
                                     r"large to be judged \(at most 4,300 digits or 10,000 it"),
    "missing element": ("x = [n]\nreturn x[1]", "fails at line 3: return x\\[1\\]: IndexError"),
}


@pytest.mark.parametrize("name", RULES)
def test_rule_that_fails(tmp_path, name):
    """A rule that does not end, calls itself without end or fails is refused with its line."""
    rule, reason = RULES[name]
    with pytest.raises(checks.CheckError, match=rf"task own_\d+, length 1, index 0: .*{reason}"):
        checked(own(tmp_path, rule))


SAMPLERS = {
    "names": ("return {'m': length}", "sampler gives .*'m'.*the rule takes n"),
    "no dict": ("return length", "sampler gives 1, the rule takes n"),
    "not data": ("return {'n': range(length)}", r"n = range\(0, 1\): only numbers"),
    "not a literal": ("return {'n': float('nan')}", "n = nan: only numbers"),
    "fails": ("return {'n': rng.choice([])}", "fails: IndexError"),
    "number too long": ("return {'n': 10**4300}", "n = a number of more than 4,300 digits: only"),
    "global random": ("import random\nreturn {'n': random.randrange(10**9)}",
                      "another instance the second time"),
    "clock": ("import time\nreturn {'n': time.perf_counter_ns()}",
              "another instance the second time"),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_that_is_wrong(tmp_path, name):
    """A sampler that cannot be reproduced or stored, or has other arguments, is refused."""
    sampler, reason = SAMPLERS[name]
    with pytest.raises(checks.CheckError, match=rf"task own_\d+, length 1, index 0: .*{reason}"):
        checked(own(tmp_path, "return n", sampler), samples=1)


def test_sampler_that_counts_its_calls(tmp_path):
    """A sampler that keeps a state is found, because the samples are drawn in another order."""
    sampler = "OwnTask.calls = getattr(OwnTask, 'calls', 0) + 1\nreturn {'n': OwnTask.calls}"
    with pytest.raises(checks.CheckError, match="another instance the second time"):
        checked(own(tmp_path, "return n", sampler))


QUESTIONS = {
    "in parentheses": "Which is larger of ({a}, {b})?",
    "in brackets": "[{a}] and [{b}]?",
    "letters between": "What is the larger side of a sheet of {a}x{b}?",
    "an apostrophe after it": "Which is longer, {a}'s or {b}'s list?",
    "a unit after it": "The larger of {a}cm and {b}cm?",
    "a hyphen between": "The larger end of {a}-{b}?",
    "a letter before": "The larger of v{a} and v{b}?",
    "quotation marks": "The larger of '{a}' and \"{b}\"?",
    "braces of its own": "The larger of {{{a}, {b}}} in {{x}}?",
    "numbers of its own": "Of 3 numbers 1, 2 and 10 take none, but {a} and {b}: the larger?",
    "one named twice": "{a} or {b}: is it {a}?",
    "signs at both ends": "+{a}/{b}.",
    "a line separator": "The larger of {a}\u2028 and\x85\x0c{b}?",
}
VALUES = {
    "numbers": "rng.randint(-20, 20)", "lists": "[rng.randint(0, 9) for _ in range(length)]",
    "texts": "''.join(rng.choices('a\"{}\\'\\u2028\\x85\\x0c\\r #;', k=length))",
    "tuples": "(rng.randint(0, 9), 'x')",
}


LARGER = '''

@tasks.task("own_{id}", source="own", split="own", length="n")
class Larger{id}:
    question = {question!r}

    def rule(a, b):
        if a > b:
            return a
        return b

    def sample(rng, length):
        return {{"a": {value}, "b": {value}}}
'''


@pytest.mark.parametrize("kind", VALUES)
def test_any_question_that_names_the_arguments_is_good(tmp_path, kind):
    """Whatever is around the arguments of a question, check blames no text, and neither does
    the judge that does not know the question's template."""
    path = tmp_path / "own.py"
    path.write_text("from metarfft_core import tasks\n" + "".join(
        LARGER.format(id=next(NUMBERS), question=question, value=VALUES[kind])
        for question in QUESTIONS.values()), encoding="utf-8")
    found = checks.load(path)
    reports = checks.check_all(found, lengths=[1, 2, 9], samples=20, draws=1)
    for task, question, report in zip(found, QUESTIONS.values(), reports, strict=True):
        assert (task.id, task.question, report.note) == (report.task, question, "")
        for index in range(20):
            instance = task.sample(length=3, seed=1, index=index)
            assert replay.judge(*formats.render(task, instance, "rfft")) == [], question


TEMPLATES = {
    "{n!r}": r"\{n!r\} is not the name of an argument",
    "{n:>3}": r"\{n:>3\} is not the name of an argument",
    "{}": r"\{\} is not the name of an argument",
    "{n": "expected '}' before end of string", "n}": "Single '}' encountered",
    "{m}": r"names \['m'\], the rule takes \['n'\]", "n": r"names \[\], the rule takes",
    "{{n}}": r"names \[\], the rule takes",
    "What?\\n\\nQ: {n}": "an empty line and 'Q: '",
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_question_that_does_not_name_the_arguments(tmp_path, template):
    """A question whose braces are not just the arguments' names is refused when it is declared."""
    with pytest.raises(checks.CheckError, match=r"own\.py: task own_\d+: the question .*"
                                                + TEMPLATES[template]):
        checks.load(own(tmp_path, GOOD, question=template))


GOOD_RULES = {
    "a deep recursion": ("if n < 1:\n    return 0\nn -= 1\nx = own_task(n)\nx += 1\nreturn x",
                         "return {'n': 700 + length}"),
    "a deep recursion in loops": (
        "for i in range(2):\n    while n > 0:\n        if i == 0:\n            n -= 1\n"
        "            x = own_task(n)\n            return x\nreturn n", "return {'n': 700}"),
    "a long number": ("n = n ** 6000\nreturn n % 7", "return {'n': 2}"),
    "a number on the way": ("return n ** 20000 % 7", "return {'n': length + 1}"),
    "a long product": ("n = n * n\nreturn n", "return {'n': 10**2000 + length}"),
    "a long range left early": ("for i in range(10 ** 9):\n    if i >= n:\n        return i\n"
                                "return 0", "return {'n': length}"),
    "line separators": ("x = 'a\u2028b\x85c\x0cd\x0b\x1c'\nfor c in x:\n    if c == 'd':\n"
                        "        n += 1\nreturn n", "return {'n': length}"),
    "a comment's sign": ("x = 'a # b; c = d'\nn += len(x)\nreturn n", "return {'n': length}"),
}


@pytest.mark.parametrize("name", GOOD_RULES)
def test_rules_that_are_good(tmp_path, name):
    """The judge follows a rule as deep and as far as Python does."""
    rule, sampler = GOOD_RULES[name]
    checked(own(tmp_path, rule, sampler), lengths=[1], samples=1, draws=1)


@pytest.mark.parametrize("sentence", ["Take the number's half", "Don't # stop; n = 3 -> True",
                                      "Say \"n is {n}", "Add\u2028one\x85and\x0cgo on"])
def test_a_wording_with_any_characters(tmp_path, sentence):
    """A sentence of the user's own may hold apostrophes, and other text between facts."""
    path = own(tmp_path, GOOD)
    path.write_text(path.read_text() + f"""
    wording = {{"def own_task(n):": {sentence!r}, "total += n": {sentence!r},
               "while n > 0:": {sentence!r}}}
""")
    checked(path, lengths=[3], samples=2, draws=1)


def test_a_wording_of_two_lines(tmp_path):
    """A sentence of several lines is refused when it is declared."""
    path = own(tmp_path, GOOD)
    path.write_text(path.read_text() + "\n    wording = {'total += n': 'Add.\\nThen'}\n")
    with pytest.raises(checks.CheckError, match=r"wording: the sentence for 'total \+= n' takes"):
        checks.load(path)


@pytest.mark.parametrize(("sampler", "reason"), [
    ("return {'n': rng.choice(list({'ant', 'bee', 'cow', 'dog', 'elk'}))}", "PYTHONHASHSEED=[12]"),
    ("return {'n': WORDS[length % 5]}", "PYTHONHASHSEED=[12]"),
    ("import os\nreturn {'n': os.environ.get('LC_ALL', '')}", "LC_ALL="),
    ("import time\nreturn {'n': time.localtime(10**9).tm_hour}", "TZ=KIT"),
    ("import os\nreturn {'n': 1 // (os.environ.get('PYTHONHASHSEED') != '2')}",
     "ZeroDivisionError"),
], ids=["set", "set of the module", "locale", "time zone", "fails there"])
def test_sampler_that_depends_on_its_process(tmp_path, sampler, reason):
    """A sampler that draws otherwise under another hash seed, locale or time zone is found."""
    path = own(tmp_path, "return n", sampler)
    path.write_text("WORDS = list({'ant', 'bee', 'cow', 'dog', 'elk'})\n" + path.read_text())
    with pytest.raises(checks.CheckError, match=rf"task own_\d+, length \d, index \d+: the sampler "
                                                rf"gives another .*{reason}"):
        checked(path, lengths=[1, 2, 3])


def test_the_kits_tasks_are_the_same_in_any_process():
    """Every task of the kit is drawn again in other processes, and is the same there."""
    reports = checks.check_all(tasks.select(), lengths=[2], samples=1, draws=20)
    assert [report.note for report in reports] == [""] * 86


def test_a_file_that_prints_is_drawn_again(tmp_path):
    """What a file prints does not get into what the other processes say."""
    path = own(tmp_path, GOOD, "print('drawn')\nreturn {'n': length}")
    path.write_text("import os\nprint('imported')\nos.system('echo executed')\n" + path.read_text())
    assert checked(path, lengths=[2]).note == ""


def test_a_task_that_cannot_be_imported_again(tmp_path):
    """The report says in a line that a task was not drawn in another process, and why."""
    path = own(tmp_path, GOOD)
    task, = checks.load(path)
    path.write_text("x = 1\n")
    report = checks.check(task, lengths=[2])
    last = str(report).split("\n")[-1]
    assert last == report.note
    assert last.startswith("Not drawn again in another process: CheckError: ")
    assert "declares no task" in last


def test_question_with_a_word_for_a_value(tmp_path):
    """A question that hides an argument is found."""
    task, = checks.load(own(tmp_path, GOOD))
    task.ask = lambda inputs: "Count down from one."
    with pytest.raises(checks.CheckError, match="the question does not hold n = 1"):
        checks.check(task, lengths=[1])


def test_text_that_cannot_be_made(tmp_path):
    """A failure in a text is told in one line as well."""
    task, = checks.load(own(tmp_path, GOOD))
    task.trace = None
    with pytest.raises(checks.CheckError, match="its texts cannot be made: TypeError"):
        checks.check(task, lengths=[1])


def test_rule_that_is_not_what_its_text_says(tmp_path):
    """A trace that is false, because the task runs another rule than its text, is found."""
    task, = checks.load(own(tmp_path, GOOD))
    task.rule  # noqa: B018 - compiled from the text as it was
    task.rule_source = task.rule_source.replace("n -= 1", "n -= 2")
    with pytest.raises(checks.CheckError, match="the traced rule gives 6, the plain one 4"):
        checks.check(task, lengths=[3])


@pytest.mark.parametrize(("options", "reason"), [
    ({"lengths": [3, 61]}, "cannot draw length 61: it allows 1 to 60"),
    ({"samples": 0}, "samples: at least 1 is needed, got 0"),
])
def test_impossible_checks(options, reason):
    """Lengths that a task cannot draw, and no samples at all, are refused."""
    with pytest.raises(checks.CheckError, match=reason):
        checks.check(tasks.get("nupa_add"), **options)


@pytest.mark.parametrize(("text", "reason"), [
    (None, "a Python file that declares tasks is needed"),
    ("", "declares no task"),
    ("from metarfft_core import tasks\nadd = tasks.get('nupa_add')\n", "declares no task"),
    ("x = 1\nx.y\n", "line 2: AttributeError"),
    ("x = 1\ndef y(:\n", "line 2: SyntaxError"),
])
def test_file_without_tasks(tmp_path, text, reason):
    """A file that is not there, fails, or declares nothing is refused in one line."""
    path = tmp_path / "own.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(checks.CheckError, match=rf"own\.py.*{reason}"):
        checks.load(path)


def command(line, folder):
    """Run a line of the page in a process of its own."""
    program = "import sys; from metarfft_core.cli import main; sys.exit(main())"
    name, *arguments = shlex.split(line)
    assert name == "metarfft"
    return subprocess.run([sys.executable, "-c", program, *arguments], cwd=folder,
                          capture_output=True, text=True, check=False)


def test_command_refuses_in_one_line(tmp_path):
    """The command says in one line what is wrong with a file, and exits with 2."""
    process = command(f"metarfft check {own(tmp_path, REFUSED['eval'][0])}", tmp_path)
    assert process.returncode == 2
    assert process.stdout == ""
    assert re.fullmatch(r"metarfft: .*own\.py: task own_\d+: line 3: eval is not .*\n",
                        process.stderr)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_page_in_a_notebook(tmp_path):
    """Every Python block of the page runs as a cell of one notebook, in order."""
    cells = [nbformat.v4.new_code_cell(block) for block in blocks("python")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=300,
                   resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in cells]
    assert "task own_total: line 2: " in said[1]
    assert "def running_maximum(nums): # nums = [" in said[2]
    assert "own_running_maximum: nothing is wrong" in said[3]
    assert "Not drawn again in another process: it is declared in __main__" in said[3]
    table, = (output for output in cells[5].outputs if output.output_type == "execute_result")
    assert "rfft tokens" in table.data["text/plain"]
    assert (tmp_path / "running_maximum.parquet").stat().st_size > 1000


def test_a_line_separator_in_a_cell(tmp_path):
    """IPython ends lines at U+2028 inside strings; a cell with one is refused in one line."""
    text = own(tmp_path, "x = 'a\u2028b'\nreturn x").read_text(encoding="utf-8")
    program = ("import json, sys; from IPython.core.interactiveshell import InteractiveShell\n"
               "print(repr(InteractiveShell.instance().run_cell(json.load(sys.stdin)).error_in_exec))")
    done = subprocess.run([sys.executable, "-c", program], input=json.dumps(text),
                          capture_output=True, text=True, check=True)
    assert re.search(r"RuleError\(.task own_\d+: the file or cell cannot be read back at its "
                     r"line 11: .*; write line separators in strings", done.stdout.split("\n")[-2])


def test_page_on_the_command_line(tmp_path):
    """Every command of the page runs on a file with its first block, and reports its lengths."""
    (tmp_path / "my_tasks.py").write_text(blocks("python")[0])
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    lengths = []
    for line in lines:
        process = command(line, tmp_path)
        assert process.returncode == 0, process.stderr
        lengths.append(re.findall(r"^ +(\d+)", process.stdout, re.MULTILINE))
    assert lengths == [list(map(str, checks.LENGTHS)), ["2", "40"]]


def test_a_task_declared_without_the_registry():
    """A task that is declared by hand, without an id of the registry, can be checked as well."""
    class Double:
        """Twice a number."""

        question = "What is twice {n}?"

        def rule(n):
            return 2 * n

        def sample(rng, length):
            return {"n": rng.randrange(10**length)}

    task = declare(Double, "own_double", "own", "own", "digits of n", (1, 2))
    report = checks.check(task)
    assert [row.length for row in report.rows] == [1, 2]
    assert "test_checks does not declare it when it is imported again" in report.note


def beside(folder, imported, **files):
    """A file with a task that imports what lies beside it, in a folder of these files."""
    folder.mkdir(exist_ok=True)
    path = own(folder, GOOD, "return {'n': helpers.least() + length}")
    path.write_text(f"{imported}\n{path.read_text()}")
    for module, text in files.items():
        (folder / f"{module}.py").write_text(text)
    return path


def test_a_file_may_import_what_lies_beside_it(tmp_path):
    """A neighbour is found as with `python FILE`, from any folder, each file its own; the path of
    Python's imports is afterwards as it was."""
    before = list(sys.path)
    for number in (3, 40):
        path = beside(tmp_path / str(number), "import helpers",
                      helpers=f"def least():\n    return {number}\n")
        path.write_text(path.read_text().replace("OwnTask", f"OwnTask{number}"))
        task, = checks.load(path)
        assert task.sample(length=1, seed=0, index=0).inputs == {"n": number + 1}
        assert checks.check(task, lengths=[2], samples=1, draws=2).rows[0].distinct == 1
    assert sys.path == before


def test_tasks_of_a_neighbour_are_the_files_own(tmp_path):
    """A file that takes its tasks from a neighbour has them; those of the kit are not its own.
    A second file may take the same."""
    own(tmp_path, GOOD).rename(tmp_path / "my_rules.py")
    path = tmp_path / "gathered.py"
    path.write_text("from metarfft_core.tasks.library.symbolic import *\nfrom my_rules import *\n")
    again = tmp_path / "again.py"
    again.write_text("from my_rules import OwnTask\n")
    found, once_more = checks.load(path), checks.load(again)
    assert [task.name for task in found] == ["own_task"]
    assert once_more == found


@pytest.mark.parametrize(("imported", "said"), [
    ("import helpers", "line 1: ModuleNotFoundError: No module named 'helpers'"),
    ("\nfrom other import least", "line 2: ImportError: cannot import name 'least' from 'other'")])
def test_a_neighbour_that_is_missing_is_named(tmp_path, monkeypatch, imported, said):
    """The line of the import and the module's name are in the message, also where the file is
    named by a relative path."""
    path = beside(tmp_path, imported, other="")
    monkeypatch.chdir(tmp_path)
    for name in (path, path.name):
        with pytest.raises(checks.CheckError, match=re.escape(said)):
            checks.load(name)


def test_the_command_checks_a_file_with_a_neighbour(tmp_path):
    """`metarfft check FILE` finds the neighbour from another folder."""
    path = beside(tmp_path / "mine", "import helpers", helpers="def least():\n    return 1\n")
    done = subprocess.run(
        [sys.executable, "-c", "from metarfft_core.cli import main; import sys; sys.exit(main())",
         "check", f"mine/{path.name}", "--lengths", "2"], cwd=tmp_path, capture_output=True,
        text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "nothing is wrong" in done.stdout


UNENDING = {
    "sampler": ("return n", "while True:\n    length += 1", "takes more than 1 seconds"),
    "sampler in C": ("return n", "return {'n': 9 ** 9 ** 9}", "takes more than 1 seconds"),
    "rule in C": ("n = 9 ** 9 ** 9\nreturn n", "return {'n': length}", "takes more than 1 seconds"),
    "sampler's memory": ("return n", "return {'n': 'a' * 10 ** 11}", "more than 4 GiB of memory"),
    "rule's memory": ("x = 'a' * 10 ** 11\nreturn x", "return {'n': length}", "more than 4 GiB"),
    "rule that doubles": ("x = [n]\nfor i in range(64):\n    x = [x, x]\nreturn n",
                          "return {'n': length}", "too large to be judged"),
}


@pytest.mark.parametrize("name", UNENDING)
def test_what_does_not_end_is_refused(tmp_path, monkeypatch, name):
    """A sampler or a rule without end, or without bound, is ended in its own process."""
    rule, sampler, reason = UNENDING[name]
    monkeypatch.setattr(checks.elsewhere, "PATIENCE", 1 if "seconds" in reason else 9)
    with pytest.raises(checks.CheckError, match=rf"task own_\d+, length 1.*{reason}"):
        checked(own(tmp_path, rule, sampler), lengths=[1], samples=1, draws=1)


def test_a_task_with_endless_lengths(tmp_path):
    """A range of lengths is not expanded."""
    path = own(tmp_path, GOOD)
    path.write_text(path.read_text().replace('="n")', '="n", lengths=range(1, 10**12))'))
    assert len(checked(path, samples=1, draws=1).rows) == len(checks.LENGTHS)
