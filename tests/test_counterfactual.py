"""The counterfactual tasks: the same questions and instances, another rule, other answers."""

import copy
from dataclasses import replace

import pytest
from oracles import ORACLES
from samples import draw

from metarfft_core import formats, tasks
from metarfft_core.authoring import checks

ALL = [task for task in tasks.select() if task.counterfactual]
every_task = pytest.mark.parametrize("task", ALL, ids=lambda task: task.id)
SHARE = 0.4
"""At least this share of the answers is another one."""


def test_the_downstream_tasks_have_one():
    """Each of the 12 downstream tasks has a counterfactual."""
    assert {task.id for task in tasks.select(split="downstream")} <= {task.id for task in ALL}


def test_they_are_no_tasks_of_the_paper():
    """No selection holds a counterfactual, but each is found by its id and by its names."""
    assert not [task for task in tasks.select() if task.split == "counterfactual"]
    assert len(tasks.select()) == len(tasks.IDS)
    for task in ALL:
        for key in (f"{task.id}_cf", f"{task.name}_cf", f"{task.name}_counterfactual"):
            assert tasks.get(key) is task.counterfactual
        assert task.counterfactual.split == "counterfactual"
        assert task.counterfactual.counterfactual is None


@every_task
def test_a_counterfactual_knows_the_task_whose_rule_it_changes(task):
    """Both have the known task as their base, and only one is a counterfactual; the title says
    which. A changed copy of the known task is a task of its own."""
    other = task.counterfactual
    assert (task.is_counterfactual, other.is_counterfactual) == (False, True)
    assert task.base is other.base is task
    assert other.title == f"{task.title}, counterfactual"
    copied = replace(task, id="copied")
    assert copied.base is copied
    assert not copied.is_counterfactual


@every_task
def test_only_lines_of_the_rule_are_changed(task):
    """The rule has one to three other lines; everything else of the task is as it was."""
    other = task.counterfactual
    pairs = zip(task.rule_source.split("\n"), other.rule_source.split("\n"), strict=True)
    assert 1 <= sum(one != two for one, two in pairs) <= 3
    for key in ("question", "lengths", "length_definition", "source", "summary"):
        assert getattr(other, key) == getattr(task, key)
    assert (other.rule.name, other.rule.arguments) == (task.rule.name, task.rule.arguments)


@every_task
def test_same_instances_other_answers(task):
    """The instances are those of the well-known task; at least 40% of the answers are others."""
    names: dict = {}
    exec(task.counterfactual.rule_source, names)
    different = count = 0
    for known in draw(task, 10):
        instance = task.counterfactual.sample(length=known.length, seed=0, index=known.index,
                                              stream="test")
        assert repr(instance.inputs) == repr(known.inputs)
        answer = names[task.name](*copy.deepcopy(list(known.inputs.values())))
        assert repr(instance.answer) == repr(answer)
        if known.length >= 2:
            count += 1
            different += repr(answer) != repr(ORACLES[task.id](**copy.deepcopy(known.inputs)))
    assert different >= SHARE * count, (different, count)


@every_task
def test_texts_are_true(task):
    """The replay finds nothing false in any text of the changed rule; it is found in the prompt."""
    other = task.counterfactual
    for length in (1, 2, 6, 13):
        if length not in other.lengths:
            continue
        instance = other.sample(length=length, seed=0, index=0)
        for name, (format, wording) in checks.TEXTS.items():
            example = formats.render(other, instance, format, wording)
            assert checks.false_lines(other, instance, name, example) == [], (name, example)
        known = formats.render(task, instance, "rfft_nl").prompt
        assert formats.render(other, instance, "rfft_nl").prompt != known
        assert other.rule_source in formats.render(other, instance, "rfft").prompt
