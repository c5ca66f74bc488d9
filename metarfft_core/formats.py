"""The formats of a sample: the same instance and answer, said in different ways (Section 2).

| format       | prompt                      | completion                                  |
|--------------|-----------------------------|---------------------------------------------|
| `direct`     | question                    | the answer                                  |
| `scratchpad` | question                    | the values that changed, then the answer    |
| `rfft`       | rule as Python, question    | the recited execution, then the answer      |

Every completion ends with `So the answer is X`, X being the answer as a Python literal, and no
newline.
"""

from typing import NamedTuple

from metarfft_core.tasks.base import Instance, Task
from metarfft_core.tracing import wording
from metarfft_core.tracing.steps import ANSWER

FORMATS = ("direct", "scratchpad", "rfft")

INSTRUCTION = "Follow the given rule step by step to answer the question."


class Example(NamedTuple):
    """What a model is given and what it is to write."""

    prompt: str
    completion: str


def render(task: Task, instance: Instance, format: str) -> Example:
    """The prompt and completion of an instance; ValueError lists the formats."""
    if format not in FORMATS:
        raise ValueError(f"format: allowed are {', '.join(FORMATS)}; got {format!r}")
    question = task.ask(instance.inputs)
    answer = f"{ANSWER}{instance.answer!r}"
    if format == "direct":
        return Example(question, answer)
    if format == "scratchpad":
        values = wording.scratchpad(task.trace(instance.inputs).records)
        return Example(question, f"{values}\n{answer}")
    prompt = f"{INSTRUCTION}\n\nrule:\n{task.rule_source}\nQ: {question}"
    return Example(prompt, f"{task.rule.recite(instance.inputs)}\n{answer}")


def parse_answer(text: str) -> str | None:
    """The text behind the last "So the answer is", stripped, or None where there is none."""
    _, found, answer = text.rpartition(ANSWER.strip())
    return answer.strip() if found else None
