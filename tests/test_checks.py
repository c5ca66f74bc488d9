"""The checks of a user's own task, and the page that tells how to declare one."""

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

from metarfft_core import tasks
from metarfft_core.authoring import checks
from metarfft_core.system.places import ROOT
from metarfft_core.tasks.definition import declare

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
                                sampler=body(sampler)))
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


RULES = {
    "endless while": ("while n > 0:\n    n += 1\nreturn n",
                      r"does not end: more than 50000 lines .* line [23]: (while n > 0:|n \+= 1)"),
    "endless for": ("x = [n]\nfor i in x:\n    x.append(i)\nreturn x",
                    r"does not end: more than 50000 lines .* line [34]: "),
    "endless inner loop": ("i = 0\nwhile i < n:\n    j = 0\n    while j < n:\n        i = 0\n"
                           "    i += 1\nreturn i", r"does not end: .* line [56]: "),
    "recursion": ("n -= 1\nx = own_task(n)\nreturn x",
                  r"calls itself without end: line [123]: "),
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
    table, = (output for output in cells[5].outputs if output.output_type == "execute_result")
    assert "rfft tokens" in table.data["text/plain"]
    assert (tmp_path / "running_maximum.parquet").stat().st_size > 1000


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
    assert [row.length for row in checks.check(task).rows] == [1, 2]


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
    Python's imports and its modules are afterwards as they were."""
    before = list(sys.path)
    for number in (3, 40):
        path = beside(tmp_path / str(number), "import helpers",
                      helpers=f"def least():\n    return {number}\n")
        path.write_text(path.read_text().replace("OwnTask", f"OwnTask{number}"))
        task, = checks.load(path)
        assert task.sample(length=1, seed=0, index=0).inputs == {"n": number + 1}
        assert checks.check(task, lengths=[2], samples=1, draws=2).rows[0].distinct == 1
    assert sys.path == before
    assert "helpers" not in sys.modules


def test_tasks_of_a_neighbour_are_the_files_own(tmp_path):
    """A file that takes its tasks from a neighbour has them; those of the kit are not its own."""
    rules = own(tmp_path, GOOD).rename(tmp_path / "my_rules.py")
    path = tmp_path / "gathered.py"
    path.write_text("from metarfft_core.tasks.library.symbolic import *\nfrom my_rules import *\n")
    assert [task.name for task in checks.load(path)] == ["own_task"]
    rules.unlink()


@pytest.mark.parametrize(("imported", "said"), [
    ("import helpers", "line 1: ModuleNotFoundError: No module named 'helpers'"),
    ("\nfrom other import least", "line 2: ImportError: cannot import name 'least' from 'other'")])
def test_a_neighbour_that_is_missing_is_named(tmp_path, monkeypatch, imported, said):
    """The line of the import and the module's name stand in the message, also where the file is
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
