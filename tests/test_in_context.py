"""The in-context variant: rule, a short worked exemplar, question."""

import pytest

from metarfft_core import formats, tasks
from metarfft_core.tracing.judge import replay

every_task = pytest.mark.parametrize("task", tasks.select(), ids=lambda task: task.id)
JUDGES = {
    ("rfft", "kit"): lambda task, *texts: replay.judge(*texts),
    ("rfft", "paper"): lambda task, *texts: replay.judge_at_length(*texts),
    ("rfft_nl", "kit"): lambda task, *texts: replay.judge_in_words(task.rule_source, *texts),
}


def drawn(task, index=0):
    length = next(length for length in (6, 4, 1) if length in task.lengths)
    return task.sample(length=length, seed=0, index=index, stream="evaluation")


@every_task
def test_the_parts_of_a_prompt(task):
    """A prompt holds the rule once, one exemplar with its whole completion, and the question; the
    completion is that of the plain variant."""
    for index in range(3):
        instance = drawn(task, index)
        shown = formats.exemplar(task, instance, seed=0)
        for name in formats.FORMATS:
            plain = formats.render(task, instance, name)
            worked = formats.render(task, shown, name)
            prompt, completion = formats.render_in_context(task, instance, name, seed=0)
            head = plain.prompt.removesuffix(task.ask(instance.inputs))
            assert completion == plain.completion
            assert prompt == (f"{head or 'Q: '}{task.ask(shown.inputs)}\n{worked.completion}\n\n"
                              f"Q: {task.ask(instance.inputs)}")


@every_task
def test_an_exemplar_is_short_and_another_instance(task):
    """An exemplar has fewer than 5 steps by the task's own length, and other inputs."""
    seen = set()
    for index in range(20):
        for length in (1, 5):
            instance = task.sample(length=length, seed=0, index=index)
            shown = formats.exemplar(task, instance, seed=0)
            assert shown.length < 5
            assert shown.stream == "exemplar"
            assert repr(shown.inputs) != repr(instance.inputs)
            assert shown == formats.exemplar(task, instance, seed=0)
            seen.add(repr(shown.inputs))
    assert len(seen) > 4


@pytest.mark.parametrize("variant", JUDGES, ids=" ".join)
@every_task
def test_the_judge_judges_the_question(task, variant):
    """The replay judges the completion by the last question: true texts pass, and the exemplar's
    completion is no answer to it."""
    instance = drawn(task)
    prompt, completion = formats.render_in_context(task, instance, variant[0], 0, variant[1])
    assert JUDGES[variant](task, prompt, completion) == []
    shown = formats.exemplar(task, instance, seed=0)
    other = formats.render(task, shown, *variant).completion
    assert JUDGES[variant](task, prompt, other)


def test_another_seed_another_exemplar():
    """The seed and the instance choose the exemplar."""
    task = tasks.get("nupa_add")
    one, two = drawn(task), drawn(task, 1)
    inputs = [repr(formats.exemplar(task, instance, seed).inputs)
              for instance in (one, two) for seed in (0, 1)]
    assert len(set(inputs)) == 4


def test_a_task_without_short_instances():
    """A task that cannot draw a length below 5 is refused by name."""
    from dataclasses import replace

    task = replace(tasks.get("nupa_length"), lengths=(5, 6))
    with pytest.raises(ValueError, match="task nupa_length has no exemplar below length 5"):
        formats.render_in_context(task, task.sample(length=5, seed=0, index=0), "rfft", 0)
