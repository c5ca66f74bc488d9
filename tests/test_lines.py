"""Lines end at a newline and nowhere else, whatever characters are in them."""

import json
import linecache
import re
from pathlib import Path

import pytest
from made_up_run import make, plain

from metarfft_core import errors, evaluation, formats, training
from metarfft_core.analysis import archive, run_folder
from metarfft_core.evaluation import resident
from metarfft_core.params import Mix
from metarfft_core.system import files
from metarfft_core.tasks.definition import declare
from metarfft_core.tracing.expressions import RuleError
from metarfft_core.tracing.judge import parse, replay
from metarfft_core.tracing.steps import Fact, Step
from metarfft_core.training import batches

PACKAGE = Path(evaluation.__file__).parent.parent
ENDS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""What `str.splitlines` takes for the end of a line, beside a newline and a carriage return."""
ODD = "a" + "b".join(ENDS) + "\r\n'c"


SOURCE = f"""
class Odd:
    question = "How often has {{text}} a letter of a{ENDS}b?"

    SIGNS = "a{ENDS}c"

    def rule(text):
        count = 0
        for sign in text:
            if sign in "x{ENDS}y" or sign in SIGNS:
                count += 1
        return count

    wording = {{"count += 1": "Add one{ENDS}to the count's value"}}

    def sample(rng, length):
        return {{"text": "".join(rng.choices({ODD!r}, k=length))}}
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A task with the characters themselves in its rule, its question, its words, its values."""
    path = tmp_path_factory.mktemp("odd") / "odd.py"
    path.write_text(SOURCE, encoding="utf-8")
    names = {"__name__": "odd"}
    exec(compile(SOURCE, str(path), "exec"), names)
    return declare(names["Odd"], "odd", "own", "own", "signs", None)


def test_a_sample(task):
    """A sample with every such character is said, read back and judged line by line."""
    assert task.rule_source.count("\u2028") == 2
    for index in range(20):
        instance = task.sample(length=12, seed=0, index=index)
        example = formats.render(task, instance, "rfft")
        assert parse.steps(example.completion)[0] == task.trace(instance.inputs).steps
        assert replay.judge(*example) == replay.judge(*example, task.question) == []
        assert replay.judge_at_length(*formats.render(task, instance, "rfft", "paper")) == []
        said = formats.render(task, instance, "rfft_nl")
        assert replay.judge_in_words(task.rule_source, *said) == []


@pytest.mark.parametrize("format", ["rfft", "rfft_nl"])
def test_a_diagnosis(task, format):
    """The error analysis names the line in the rule and in the text, and finds the wrong sum."""
    drawn = (task.sample(length=9, seed=0, index=index) for index in range(99))
    instance = next(one for one in drawn if one.answer > 2)
    text = formats.render(task, instance, format).completion
    assert errors.diagnose(task, instance.inputs, text, "stop", format).kind == "right"
    wrong = text.replace("1 + 1 = 2", "1 + 1 = 3")
    found = errors.diagnose(task, instance.inputs, wrong, "stop", format)
    assert (found.kind, found.line) == ("wrong_arithmetic", 6)
    assert wrong.split("\n")[found.at - 1].endswith("1 + 1 = 3")
    assert ">>" in errors.annotate(wrong, found)


@pytest.mark.parametrize("recited", ["Take it's end", "It's"])
def test_a_known_recital_ends_where_facts_follow(recited):
    """An apostrophe hides the separator only where the recital is unknown."""
    line, known = f"{recited} # n = 0", ["Take it's end", "It's"]
    assert parse.step(line, known) == Step(recited, (Fact("state", "n", "0"),))
    assert parse.step(line) == Step(line, ())
    assert parse.recital(recited, known) == recited


@pytest.mark.parametrize(("right", "wrong", "kind"), [
    ("1 + 1 = 2", "1 + 1 = 3", "wrong_arithmetic"), ("1 + 1 = 2", "1 + 0 = 1", "wrong_copy"),
    (" # 1 + 1 = 2", " #  1 + 1 = 2", "right")])
def test_a_diagnosis_behind_an_apostrophe(task, right, wrong, kind):
    """The facts after a sentence with an apostrophe are compared one by one."""
    drawn = (task.sample(length=9, seed=0, index=index) for index in range(99))
    instance = next(one for one in drawn if one.answer > 2)
    text = formats.render(task, instance, "rfft_nl").completion
    assert f"count's value # {right.removeprefix(' # ')}" in text
    found = errors.diagnose(task, instance.inputs, text.replace(right, wrong, 1), "stop", "rfft_nl")
    assert found.kind == kind


@pytest.mark.parametrize("sign", ENDS)
def test_a_cell_with_a_line_end_above_the_rule(sign, monkeypatch):
    """A notebook ends lines at these signs, so it reads another rule back than was executed."""
    good = ("class Same:\n    question = '{n}?'\n\n    def rule(n):\n        return n\n\n"
            "    def sample(rng, length):\n        return {'n': length}\n")
    for name, note in {"plain": "# a note", "odd": f"# a{sign}# note"}.items():
        cell = f"{good}\n{note}\n{good}"
        stored = [f"{line}\n" for line in str.splitlines(cell)]  # as IPython does
        monkeypatch.setitem(linecache.cache, f"<{name}>", (len(cell), None, stored, f"<{name}>"))
        names = {"__name__": "odd"}
        exec(compile(cell, f"<{name}>", "exec"), names)
        if name == "plain":
            same = declare(names["Same"], "same", "own", "own", "n", None)
            assert same.rule.execute({"n": 3}) == 3
        else:
            with pytest.raises(RuleError, match="the cell has a line separator"):
                declare(names["Same"], "same", "own", "own", "n", None)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A made-up run whose rows hold the characters themselves."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = make(plain(), lambda *_: 0.5)
    for cell in run.cells:
        path = evaluation.path(run, cell)
        rows = [json.loads(line) | {"text": ODD, "prompt": ODD, "answer": ODD}
                for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_bytes(text.encode())
        files.write_json(path.with_suffix(".json"), {
            "params": run.digest, "finished": True, "sha256": files.sha256(path)})
    return run


def test_stored_rows(run, tmp_path):
    """Rows of an evaluation are read back whole, by the evaluation, the report and the archive."""
    rows = evaluation.read(run)
    assert set(rows["text"]) == set(rows["answer"]) == {ODD}
    with open(evaluation.path(run, run.cells[0]), "a+b") as file:
        stored = resident.stored_rows(file)
    assert {row["text"] for row in stored} == {ODD}
    assert {row["answer"] for row in run_folder.open_run(run).rows[run.cells[0].method]} == {ODD}
    kept = archive.write(run, tmp_path / "kept") / evaluation.path(run, run.cells[0]).relative_to(
        run.folder)
    assert json.loads(kept.read_bytes().split(b"\n")[0])["text"] == ODD


def test_a_training_log(tmp_path):
    """A log with such characters is read to its end."""
    lines = [{"step": step, "note": ODD} for step in range(3)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (tmp_path / "log.jsonl").write_bytes(text.encode() + b'{"step": 3, "no')
    assert training.read_log(tmp_path) == lines


def test_general_data(tmp_path):
    """General data of a mix may hold such characters, and lines that end as on Windows."""
    row = {"prompt": ODD, "completion": ODD}
    path = tmp_path / "general.jsonl"
    for end in ("\n", "\r\n"):
        path.write_bytes(f"{json.dumps(row, ensure_ascii=False)}{end}".encode() * 2)
        read = batches.general(Mix(file=str(path), share=0.5))
        assert [read[number]["prompt"] for number in range(2)] == [ODD, ODD]


@pytest.mark.parametrize("word", ["splitlines", "readlines"])
def test_the_package_splits_at_newlines_alone(word):
    """Nothing in the package splits a text at what only some programs take for line ends."""
    found = [path.name for path in sorted(PACKAGE.rglob("*.py"))
             if re.search(rf"\.{word}\(", path.read_text(encoding="utf-8"))]
    assert found == []
