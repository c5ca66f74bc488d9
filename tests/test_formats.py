"""The formats: what a prompt and a completion look like, to the character (Section 2)."""

import pytest

from metarfft_core import formats, tasks

every_task = pytest.mark.parametrize("task", tasks.select(), ids=lambda task: task.id)
LENGTH_INSTANCE = tasks.Instance("nupa_length", 2, 0, "", {"num": "40"}, 2)


def test_direct():
    """The direct format is the question, and the answer alone."""
    example = formats.render(tasks.get("nupa_length"), LENGTH_INSTANCE, "direct")
    assert example.prompt == "How many digits does the number '40' have?"
    assert example.completion == "So the answer is 2"


def test_scratchpad():
    """A scratchpad is the question, then the changed values, a line for each pass of a loop."""
    example = formats.render(tasks.get("nupa_length"), LENGTH_INSTANCE, "scratchpad")
    assert example.prompt == "How many digits does the number '40' have?"
    assert example.completion == ("length = 0\n"
                                  "num = '0'; length = 1\n"
                                  "num = ''; length = 2\n"
                                  "So the answer is 2")


def test_rfft():
    """Rule-following: instruction, rule and question; the recited execution, then the answer."""
    example = formats.render(tasks.get("nupa_length"), LENGTH_INSTANCE, "rfft")
    assert example.prompt == """\
Follow the given rule step by step to answer the question.

rule:
def length_integer(num):
    length = 0
    while num:
        num = num[1:]
        length += 1
    return length

Q: How many digits does the number '40' have?"""
    assert example.completion == """\
def length_integer(num): # num = '40'
length = 0
while num: # num is not empty -> True
num = num[1:] # num = '0'
length += 1 # 0 + 1 = 1
while num: # num is not empty -> True
num = num[1:] # num = ''
length += 1 # 1 + 1 = 2
while num: # num is empty -> False
return length # length = 2
So the answer is 2"""


@every_task
def test_every_format(task):
    """In every format a completion ends with the answer, and no line of any text is empty."""
    length = min(7, task.lengths[-1])
    for index in range(20):
        instance = task.sample(length=length, seed=0, index=index)
        answer = repr(instance.answer)
        for name in formats.FORMATS:
            prompt, completion = formats.render(task, instance, name)
            assert completion.endswith(f"So the answer is {answer}")
            assert "" not in completion.split("\n")
            assert prompt.endswith(task.ask(instance.inputs))
            assert (task.rule_source in prompt) == (name == "rfft")
            assert formats.parse_answer(completion) == answer


@pytest.mark.parametrize("name", ["", "RFFT", "rfft_nl ", None])
def test_unknown_format(name):
    """An unknown format is a ValueError that lists the formats and says what it got."""
    with pytest.raises(ValueError, match=r"allowed are direct, scratchpad, rfft.*; got"):
        formats.render(tasks.get("nupa_length"), LENGTH_INSTANCE, name)


@pytest.mark.parametrize(("text", "answer"), [
    ("So the answer is 7", "7"),
    ("So the answer is 7\n", "7"),
    ("x = 1\nSo the answer is 'a b'", "'a b'"),
    ("So the answer is 1\nno, wait\nSo the answer is  [1, 2] ", "[1, 2]"),
    ("I think. So the answer is True", "True"),
    ("So the answer is", ""),
    ("So the answer is \n", ""),
    ("The answer is 7", None),
    ("so the answer is 7", None),
    ("", None),
])
def test_parse_answer(text, answer):
    """The answer is the text after the last "So the answer is", stripped; else None."""
    assert formats.parse_answer(text) == answer
