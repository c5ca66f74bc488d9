"""Random rules that train a model to read a rule, not remember it (the paper's Appendix A).

A rule is a loop `while a and b:` over two lists, and it returns the first list. Its body is a
random draw of the paper's 22 snippets; the roles of the lists are swapped at random. The names of
the lists and of the rule are meaningless words, and the constants are random. A draw whose loop
does not end soon is discarded.
"""

from functools import lru_cache
from random import Random

from metarfft_core.tasks.definition import Task
from metarfft_core.tracing.rule import StepLimit

SNIPPETS = (
    ("if {a}:", "    {a}[-1] += {c}"),
    ("if {a}:", "    {a}[0] += {c}"),
    ("if {a}:", "    {x} = {a}.pop(0)", "    {b}.append({x})"),
    ("if {a}:", "    {x} = {a}.pop()", "    {b}.append({x})"),
    ("{a}.insert(0, {c})",),
    ("{a}.sort()",),
    ("{a}.reverse()",),
    ("if {a}:", "    {a} = {a}[1:]"),
    ("if {b}:", "    {a}.insert(0, {b}[0])", "else:", "    {a}.insert(0, {c})"),
    ("if {b}:", "    {a}.append({b}[-1])", "else:", "    {a}.append({c})"),
    ("if {a} and {b} and {a}[0] > {b}[0]:", "    {a}.pop(0)"),
    ("if {a} and {b} and {a}[-1] < {b}[-1]:", "    {a}.pop()"),
    ("if {a}:", "    {a}.pop(0)"),
    ("if {a} and {b}:", "    {x} = {b}.pop()", "    {a}.append({x})"),
    ("if {a} and {a}[0] % 2 == 0:", "    {a}.pop(0)"),
    ("if {a} and {a}[0] % 2 == 1:", "    {a}.pop(0)"),
    ("if len({a}) > len({b}):", "    {x} = {a}.pop()", "    {b}.insert(0, {x})"),
    ("if {a} and {a}[0] > {c}:", "    {a}.pop(0)"),
    ("if {a} and {a}[0] < {c}:", "    {a}.pop(0)"),
    ("if {b}:", "    {x} = {b}.pop(0)", "    {a}.append({x})"),
    ("if {a}:", "    {a}.pop()"),
    ("if {b}:", "    {b}.pop()"),
)
"""The paper's snippets 0 to 21: a and b are the lists, c is a constant, x holds one item."""

PASSES = 12
"""The most passes of a loop that ends soon."""
LONGEST = 8
"""The most items of a list that a rule starts with; length counts the longer list's items."""


@lru_cache(maxsize=1024)  # plans of several parameter files count the same rules
def rule(seed: int, number: int) -> Task:
    """The synthetic rule with this number as a task, sampled and rendered like any other.

    The same arguments give the same rule on any machine. `sample` draws lengths 1 to LONGEST
    (the items of the longer list), and only instances whose loop ends within PASSES passes.
    """
    rng = Random(f"{seed}/synthetic/{number}")
    while True:
        task = _draw(rng, number)
        if all(_ends_soon(task, _lists(task, rng, length)) for length in task.lengths * 2):
            return task


def _ends_soon(task: Task, inputs: dict[str, list[int]]) -> bool:
    try:
        task.rule.execute(inputs)
    except StepLimit:
        return False
    return True


def _lists(task: Task, rng: Random, length: int) -> dict[str, list[int]]:
    """Two lists of numbers from 1 to 20, the longer one with `length` items."""
    sizes = [length, rng.randint(1, length)]
    rng.shuffle(sizes)
    return {name: [rng.randint(1, 20) for _ in range(size)]
            for name, size in zip(task.rule.arguments, sizes, strict=True)}


def _draw(rng: Random, number: int) -> Task:
    first, second, item, name = _names(rng, 4)
    body = []
    for snippet in rng.sample(SNIPPETS, rng.randint(2, 4)):
        a, b = (first, second) if rng.random() < 0.5 else (second, first)
        constant = rng.randint(1, 20)
        body += [line.format(a=a, b=b, c=constant, x=item) for line in snippet]
    lines = [f"def {name}({first}, {second}):", f"    while {first} and {second}:",
             *("        " + line for line in body), f"    return {first}"]

    def sample(rng: Random, length: int) -> dict[str, list[int]]:
        inputs = _lists(task, rng, length)
        while not _ends_soon(task, inputs):
            inputs = _lists(task, rng, length)
        return inputs

    task = Task(
        id=f"synthetic_{number}", name=name, source="synthetic", split="in_context",
        length_definition="length of the longer list", lengths=tuple(range(1, LONGEST + 1)),
        summary="A random rule over two lists.", rule_source="\n".join(lines) + "\n",
        question=f"{first} is {{{first}}} and {second} is {{{second}}}. What does {name} return?",
        sampler=sample, step_limit=PASSES)
    return task


def _names(rng: Random, count: int) -> list[str]:
    """Meaningless words of two or three syllables, all different and none a Python keyword."""
    names: list[str] = []
    while len(names) < count:
        word = "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou")
                       for _ in range(rng.randint(2, 3)))
        if word not in names:
            names.append(word)
    return names
