"""The tasks: their facts, their rules against oracles, and their seeded samples (Table 1)."""

import ast
import copy
import csv
import inspect
import io
import json
import os
import subprocess
import sys
import tokenize
from typing import ClassVar

import pytest
from oracles import EDGES, ORACLES
from samples import DATA, LONGEST, PINS, digest, draw, pins

from metarfft_core import formats, tasks
from metarfft_core.system.places import ROOT
from metarfft_core.tasks import definition
from metarfft_core.tracing.expressions import RuleError

ALL = tasks.select()
every_task = pytest.mark.parametrize("task", ALL, ids=lambda task: task.id)
FACTS = {row["id"]: row for row in csv.DictReader((DATA / "tasks.csv").open())}
ONE_ANSWER = {"bbh_hyperbaton": (1,), "bbh_navigate": (1,), "lc_1909": (1, 2), "lc_2423": (1, 2, 3),
              "lc_896": (1, 2), "lc_953": (1,), "lc_520": (1,), "lc_551": (1,), "lc_290": (1,)}
"""The lengths at which a yes/no task has only one possible answer."""


def plain(source: str):
    """The function that a reader of the rule's text would call: the last one it defines."""
    names: dict = {}
    exec(source, names)
    name = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)][-1]
    return names[name]


def has_type(value: object, type_: str) -> bool:
    """Is the value of the type, exactly and at every depth? `type_` as in list[tuple[str, int]]."""
    def check(value, node) -> bool:
        if isinstance(node, ast.Name):
            return type(value).__name__ == node.id
        if type(value).__name__ != node.value.id:
            return False
        if isinstance(node.slice, ast.Tuple):
            return len(value) == len(node.slice.elts) and all(
                map(check, value, node.slice.elts))
        return all(check(part, node.slice) for part in value)

    return check(value, ast.parse(type_, mode="eval").body)


def test_the_tasks_stand_in_the_papers_order():
    """The registry lists the ids of the paper's table, in its order, each once."""
    assert list(tasks.IDS) == list(FACTS)
    assert [task.id for task in ALL] == [id for id in FACTS if id in {task.id for task in ALL}]


@every_task
def test_facts(task):
    """Source, split, name and the names and order of the arguments are those of the paper."""
    facts = FACTS[task.id]
    arguments = [part.split(": ")[0] for part in facts["arguments"].split("; ")]
    assert [task.source, task.split, task.name] == [facts["source"], facts["split"], facts["name"]]
    assert list(inspect.signature(plain(task.rule_source)).parameters) == arguments
    assert list(task.rule.arguments) == arguments
    assert task.lengths == tuple(range(1, task.lengths[-1] + 1))
    assert task.length_definition


@every_task
def test_rule_text(task):
    """A rule's text is clean, without a comment or a blank line, and its last function its name."""
    assert plain(task.rule_source).__name__ == task.name
    assert task.rule_source.endswith("\n")
    assert all(line.strip() and line == line.rstrip() for line in task.rule_source[:-1].split("\n"))
    tokens = list(tokenize.generate_tokens(io.StringIO(task.rule_source).readline))
    assert [token.string for token in tokens if token.type == tokenize.COMMENT] == []


@every_task
def test_oracle_and_edges_exist(task):
    """Every task has an oracle, and at least four cases checked by hand."""
    assert task.id in ORACLES
    assert len(EDGES[task.id]) >= 4


def test_no_oracle_without_task():
    """Every oracle and every edge belongs to a task of the paper."""
    assert ORACLES.keys() <= FACTS.keys()
    assert EDGES.keys() == ORACLES.keys()


@every_task
def test_edges(task):
    """Rule, tracer and oracle give the answer that was found by hand."""
    rule = plain(task.rule_source)
    for inputs, answer in EDGES[task.id]:
        for got in (rule(*copy.deepcopy(list(inputs.values()))), task.rule.execute(inputs),
                    task.trace(inputs).answer, ORACLES[task.id](**copy.deepcopy(inputs))):
            assert repr(got) == repr(answer), inputs


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
@every_task
def test_answers(task, count):
    """The rule's text as plain Python and an oracle give the stored answer; types are exact."""
    rule, oracle, facts = plain(task.rule_source), ORACLES[task.id], FACTS[task.id]
    types = [part.split(": ")[1] for part in facts["arguments"].split("; ")]
    for instance in draw(task, count):
        values = list(instance.inputs.values())
        assert repr(rule(*copy.deepcopy(values))) == repr(instance.answer), instance
        assert repr(oracle(**copy.deepcopy(instance.inputs))) == repr(instance.answer), instance
        assert all(map(has_type, values, types)), instance
        assert has_type(instance.answer, facts["returns"]), instance
        assert ast.literal_eval(repr(instance.inputs)) == instance.inputs


@every_task
def test_inputs_are_left_alone(task):
    """Running, tracing, asking and rendering leave the inputs as they were drawn."""
    for instance in draw(task, 1):
        before = repr(instance.inputs)
        task.rule.execute(instance.inputs)
        task.trace(instance.inputs)
        task.ask(instance.inputs)
        for name in formats.FORMATS:
            formats.render(task, instance, name)
        assert repr(instance.inputs) == before


@every_task
def test_question_holds_the_arguments(task):
    """The question holds every argument as a literal, in order."""
    for instance in draw(task, 1):
        position, question = 0, task.ask(instance.inputs)
        for value in instance.inputs.values():
            position = question.index(repr(value), position) + len(repr(value))


@every_task
def test_samples_do_not_depend_on_order(task):
    """A sample drawn alone, or after others in any order, is the same."""
    length = min(15, task.lengths[-1])
    keys = [(seed, index, stream) for seed in (0, 1) for index in range(4) for stream in "ab"]

    def drawn(key):
        seed, index, stream = key
        return digest(task.sample(length=length, seed=seed, index=index, stream=stream))

    forwards = {key: drawn(key) for key in keys}
    assert {key: drawn(key) for key in reversed(keys)} == forwards


@every_task
def test_seed_index_and_stream_count(task):
    """Another seed, another index and another stream each give other samples."""
    length = min(15, task.lengths[-1])
    for key in ("seed", "index", "stream"):
        fixed = {"length": length, "seed": 0, "index": 0, "stream": ""}
        values = map(str, range(20)) if key == "stream" else range(20)
        different = {digest(task.sample(**fixed | {key: value})) for value in values}
        assert len(different) >= 4, key


def test_samples_in_another_process():
    """Another process with another hash seed draws the same samples, in the opposite order."""
    program = ("import json, samples; from metarfft_core import tasks; "
               "print(json.dumps({t.id: samples.pins(t) for t in reversed(tasks.select())}))")
    paths = [str(DATA.parent), str(DATA.parent.parent)]
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(paths)}
        out = subprocess.run([sys.executable, "-c", program], env=environment, check=True,
                             capture_output=True, text=True).stdout
        assert json.loads(out) == {task.id: pins(task) for task in ALL}


@every_task
def test_pinned_samples(task):
    """Samples stay what they were; after a change on purpose run `python tests/samples.py`."""
    assert json.loads(PINS.read_text()).get(task.id) == pins(task)


@pytest.mark.parametrize("task", [task for task in ALL if FACTS[task.id]["returns"] == "bool"],
                         ids=lambda task: task.id)
def test_share_of_yes(task):
    """Between 35% and 65% of the answers are yes, at each length that allows both."""
    for length in (1, 2, 3, 4, 5, 8, 15, 22, 30, LONGEST, 60):
        if length in ONE_ANSWER.get(task.id, ()) or length not in task.lengths:
            continue
        answers = [task.sample(length=length, seed=0, index=index, stream="share").answer
                   for index in range(300)]
        assert 0.35 <= sum(answers) / 300 <= 0.65, length


@pytest.mark.parametrize("key", ["nupa_ad", "add_intger"])
def test_unknown_task(key):
    """An id or a name that does not exist is a KeyError that names the nearest tasks by both."""
    with pytest.raises(KeyError, match=r"nearest are add_integer \(nupa_add\), "):
        tasks.get(key)


@every_task
def test_a_task_is_found_by_its_name(task):
    """The paper's name finds the task as its id does, and no id or name means two tasks."""
    name = FACTS[task.id]["name"]
    assert tasks.get(name) is tasks.get(task.id) is task
    assert tasks.id_of(name) == task.id
    others = [one for one in ALL if one is not task]
    assert not set(task.keys) & {key for one in others for key in one.keys}


def test_titles_are_for_people():
    """A title has the words of the name, its capitals are those of the language, each is unique."""
    for task in ALL:
        words = task.title.lower().replace("-", " ").split()
        assert set(words) <= set(task.name.split("_")), task.title
        assert task.title[0].isupper()
    assert len({task.title for task in ALL}) == len(ALL)
    assert [tasks.get(id).title for id in (
        "lc_461", "lc_1275", "lc_557", "lc_705", "nupa_add", "nupa_get_digit",
        "bbh_dyck_languages")] == [
        "Hamming distance", "Find winner on a tic-tac-toe game", "Reverse words in a string III",
        "Design HashSet", "Add integer", "Get digit", "Dyck languages"]
    assert tasks.label("add_integer") == tasks.label("nupa_add") == "Add integer (nupa_add)"


def test_what_is_no_task_keeps_its_own_name():
    """The look-ups for stored results pass on what no task is called."""
    assert tasks.find("airline") is None
    assert tasks.id_of("airline") == tasks.label("airline") == "airline"


@pytest.mark.parametrize("key", ["split", "source"])
def test_unknown_selection(key):
    """An unknown split or source is a ValueError that lists the right ones and what it got."""
    with pytest.raises(ValueError, match=r"allowed are .*(downstream|leetcode).*; got 'x'"):
        tasks.select(**{key: "x"})


def test_selection():
    """Split and source select, together as well; the 12 downstream tasks are complete."""
    assert len(tasks.select(split="downstream")) == 12
    assert {task.id for task in tasks.select(split="downstream", source="nupa")} == {
        "nupa_get_digit", "nupa_add", "nupa_digit_max", "nupa_length"}
    assert [task.id for task in tasks.select(source="symbolic")] == ["sr_coin_flip",
                                                                     "sr_last_letter"]


@pytest.mark.parametrize("length", [0, -1, 61, "3", None, 2.5])
def test_impossible_length(length):
    """A length that a task cannot draw is a ValueError naming task, range and what was got."""
    with pytest.raises(ValueError, match=r"nupa_add cannot draw .*1 to 60"):
        tasks.get("nupa_add").sample(length=length, seed=0, index=0)


def declare_own(id="own", **changes):
    """Declare a small task of the test's own, through the machinery that the registry uses."""
    class OwnTask:
        """A task of the test."""

        question = "Increase {n}."

        def rule(n):
            return n + 1

        def sample(rng, length):
            return {"n": length}

    for name, value in changes.items():
        setattr(OwnTask, name, value)
    return tasks.declare(OwnTask, id, "user", "user", "n", None)


def test_own_task():
    """A declared class becomes a task, named after it, with its rule under that name."""
    task = declare_own()
    assert task.rule_source == "def own_task(n):\n    return n + 1\n"
    assert task.sample(length=4, seed=0, index=0).answer == 5


def test_question_must_name_the_arguments():
    """A question without one of the arguments is refused when the task is declared."""
    with pytest.raises(RuleError, match=r"own.*question"):
        declare_own(question="Increase it.")


@pytest.mark.parametrize("task", [tasks.get(id) for id in tasks.IDS + tasks.OTHERS],
                         ids=lambda task: task.id)
def test_the_kits_tasks_are_what_a_declaration_asks_for(task):
    """Each passes the checks that a task of one's own passes when it is declared."""
    definition.check(task)


def test_the_kits_tasks_are_not_checked_at_each_start():
    """A command that finds a task makes none of the kit's rules executable."""
    program = """
from metarfft_core.tracing import rule
made = []
rule.Rule.__init__ = lambda *arguments: made.append(arguments)
from metarfft_core import tasks
assert tasks.get("nupa_add").counterfactual and not made, made
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_class_without_source():
    """A class whose source Python does not know is refused in one line."""
    names = {}
    exec("class Own:\n    question = '{n}'\n    def rule(n):\n        return n\n"
         "    def sample(rng, length):\n        return {'n': length}\n", names)
    with pytest.raises(RuleError, match="task own: its source cannot be found"):
        tasks.declare(names["Own"], "own", "user", "user", "n", None)


def test_sampler_must_give_the_arguments():
    """A sampler that gives other arguments than the rule takes is refused at the first sample."""
    task = declare_own(sample=lambda rng, length: {"m": length})
    with pytest.raises(RuleError, match=r"own.*'m'"):
        task.sample(length=4, seed=0, index=0)


def test_declared_twice():
    """An id can be taken once."""
    with pytest.raises(ValueError, match="nupa_add is declared twice"):
        tasks.task("nupa_add", source="nupa", length="x")(type("Again", (), {}))


@pytest.fixture
def registry(monkeypatch):
    """A registry of the test's own, which begins with the kit's tasks."""
    tasks.select()
    monkeypatch.setattr(tasks.registry, "_TASKS", dict(tasks.registry._TASKS))


class Doubled:
    """A task of the test."""

    question = "Double {n}."
    counterfactual: ClassVar = {"return n + n": "return n + n + 1"}

    def rule(n):
        return n + n

    def sample(rng, length):
        return {"n": length}


class CoinFlip:
    """A task of the test, named as one of the kit's is."""

    question = "Keep {n}."

    def rule(n):
        return n

    def sample(rng, length):
        return {"n": length}


class Kept:
    """A task of the test without a counterfactual."""

    question = "Keep {n}."

    def rule(n):
        return n

    def sample(rng, length):
        return {"n": length}


def register(id, cls=Doubled):
    """Declare a task as the decorator in a user's file does."""
    return tasks.task(id, source="own", length="n")(cls)


@pytest.mark.parametrize(("id", "cls", "said"), [
    ("own", CoinFlip, r"coin_flip already means coin_flip \(sr_coin_flip\)"),
    ("coin_flip", Doubled, r"coin_flip already means coin_flip \(sr_coin_flip\)"),
    ("lc_461_cf", Doubled, "lc_461_cf is declared twice"),
    ("add_integer_cf", Doubled, r"add_integer_cf already means add_integer_counterfactual"),
    ("sr_coin_flip", CoinFlip, "sr_coin_flip is declared twice")])
def test_a_task_of_ones_own_takes_no_name_of_the_kits(registry, id, cls, said):
    """An id or a name that already means a task is refused, and nothing is entered."""
    before = dict(tasks.registry._TASKS)
    with pytest.raises(ValueError, match=said):
        register(id, cls)
    assert before == tasks.registry._TASKS


def test_two_tasks_of_ones_own_need_two_names(registry):
    """A second id for a class of the same name is refused; the first task stays."""
    first = register("one")
    with pytest.raises(ValueError, match=r"doubled already means doubled \(one\)"):
        register("two")
    assert tasks.get("doubled") is first
    assert tasks.find("two") is None


def test_a_notebook_may_declare_its_own_task_again(registry, monkeypatch):
    """The new declaration takes the place of the old one under all ids and names, also where the
    class has another name or no counterfactual any more."""
    for cls in (Doubled, Kept):
        monkeypatch.setattr(cls, "__module__", "__main__")
    first, again = register("own"), register("own")
    assert tasks.get("own") is tasks.get("doubled") is again
    assert again is not first
    assert tasks.get("own_cf") is again.counterfactual
    with pytest.raises(ValueError, match="own_cf is declared twice"):
        register("own_cf", Kept)
    assert register("own", Kept) is tasks.get("own") is tasks.get("kept")
    assert tasks.find("doubled") is tasks.find("own_cf") is None


def test_tasks_of_a_file_are_held_against_a_library_that_is_not_loaded_yet():
    """A name of the kit's is refused in the first declaration of a process, too."""
    program = ("from metarfft_core import tasks\n"
               "class CoinFlip:\n    question = rule = sample = None\n"
               "tasks.task('lc_461', source='own', length='n')(CoinFlip)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "task lc_461 is declared twice: hamming_distance, CoinFlip" in done.stderr
