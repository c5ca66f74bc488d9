"""The formats of a sample: one instance and its answer in different forms (Section 2).

| format       | prompt                      | completion                                  |
|--------------|-----------------------------|---------------------------------------------|
| `direct`     | question                    | the answer                                  |
| `scratchpad` | question                    | the values that changed, then the answer    |
| `rfft`       | rule as Python, question    | the recited execution, then the answer      |
| `rfft_nl`    | rule in sentences, question | the same, recited in those sentences        |

Every completion ends with `So the answer is X`, without a newline; X is the answer as a Python
literal. The execution of `rfft` has two wordings: the kit's, with one line for each executed line
of the rule, and the paper's, which says the same at greater length.
"""

from random import Random
from typing import NamedTuple

from metarfft_core.tasks.definition import Instance, Task
from metarfft_core.tracing.steps import ANSWER
from metarfft_core.tracing.wordings.kit import scratchpad

FORMATS = ("direct", "scratchpad", "rfft", "rfft_nl")
WORDINGS = ("kit", "paper")

INSTRUCTION = "Follow the given rule step by step to answer the question."
EXEMPLAR_LENGTHS = range(1, 5)
"""The paper's exemplars take fewer than 5 steps, which we read as a length below 5."""
EXEMPLAR_DRAWS = 100
"""The number of draws, before giving up, for an exemplar that differs from the question."""


class Example(NamedTuple):
    """The prompt that a model is given and the completion that it should write."""

    prompt: str
    completion: str


def render(task: Task, instance: Instance, format: str, wording: str = "kit") -> Example:
    """The prompt and completion of an instance.

    Args:
        format: One of FORMATS.
        wording: One of WORDINGS, for `rfft`; the other formats have only one wording.

    Raises:
        ValueError: The format or wording is unknown; the message lists those that exist.
    """
    rule = _rule(task, format, wording)
    question, completion = task.ask(instance.inputs), _completion(task, instance, format, wording)
    return Example(f"{rule}Q: {question}" if rule else question, completion)


def render_in_context(task: Task, instance: Instance, format: str, seed: int,
                      wording: str = "kit") -> Example:
    """The prompt and completion of an instance, with a worked exemplar before the question.

    The exemplar is a short instance of the same task with other inputs. `seed` and the instance
    determine it; it is drawn from the stream "exemplar".

    Args:
        format: One of FORMATS.
        wording: One of WORDINGS, for `rfft`; the other formats have only one wording.

    Raises:
        ValueError: The format or wording is unknown, or the task has no exemplar.
    """
    rule = _rule(task, format, wording)
    shown = exemplar(task, instance, seed)
    worked = f"Q: {task.ask(shown.inputs)}\n{_completion(task, shown, format, wording)}"
    return Example(f"{rule}{worked}\n\nQ: {task.ask(instance.inputs)}",
                   _completion(task, instance, format, wording))


def exemplar(task: Task, instance: Instance, seed: int) -> Instance:
    """The exemplar for an instance; raises ValueError if no draw differs from the instance."""
    lengths = [length for length in EXEMPLAR_LENGTHS if length in task.lengths]
    rng = Random(f"{seed}/exemplar/{task.id}/{instance.stream}/{instance.length}/{instance.index}")
    for _ in range(EXEMPLAR_DRAWS if lengths else 0):
        drawn = task.sample(length=rng.choice(lengths), seed=seed, index=rng.randrange(10**6),
                            stream="exemplar")
        if repr(drawn.inputs) != repr(instance.inputs):
            return drawn
    raise ValueError(f"task {task.id} has no exemplar below length {EXEMPLAR_LENGTHS.stop} other "
                     f"than {instance.inputs}")


def _rule(task: Task, format: str, wording: str) -> str:
    """The text of a prompt before its question: instruction and rule, or nothing."""
    for value, allowed, key in ((format, FORMATS, "format"), (wording, WORDINGS, "wording")):
        if value not in allowed:
            raise ValueError(f"{key}: allowed are {', '.join(allowed)}; got {value!r}")
    if format in ("direct", "scratchpad"):
        return ""
    text = task.rule.in_words if format == "rfft_nl" else task.rule_source
    return f"{INSTRUCTION}\n\nrule:\n{text}\n"


def _completion(task: Task, instance: Instance, format: str, wording: str) -> str:
    answer = f"{ANSWER}{instance.answer!r}"
    if format == "direct":
        return answer
    if format == "scratchpad":
        text = scratchpad(task.trace(instance.inputs).records)
    elif format == "rfft_nl":
        text = task.rule.recite_in_words(instance.inputs)
    elif wording == "paper":
        text = task.rule.recite_at_length(instance.inputs)
    else:
        text = task.rule.recite(instance.inputs)
    return f"{text}\n{answer}" if text else answer  # a scratchpad may have nothing to note


def parse_answer(text: str) -> str | None:
    """The text after the last "So the answer is", stripped; None if the phrase is missing."""
    _, separator, answer = text.rpartition(ANSWER.strip())
    return answer.strip() if separator else None
