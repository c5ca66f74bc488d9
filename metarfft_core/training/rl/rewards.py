"""What an answer of a reinforcement learning earns: the paper's outcome, and the process.

The outcome is 1 if the kit's scoring calls the final answer right, else 0. The process is the share
of the trace before its first false line, by the independent judge. It is 1 only for a trace without
any false line, whose answer is then right too.
"""

from typing import Any

from metarfft_core import scoring
from metarfft_core.tracing.judge import paper, parse
from metarfft_core.tracing.judge.replay import judge, judge_at_length, split_prompt
from metarfft_core.tracing.steps import Fact


def outcome(completions: list, gold_answer: list[str], **_: Any) -> list[float]:
    """Reward completions by their final answers: 1.0 if right, else 0.0.

    This is a reward function of trl's trainers, which do not say whether a text was cut.

    Args:
        completions: Texts, or conversations whose last message is the model's.
        gold_answer: The column of the data set, one value per completion.
        **_: The other columns, which trl passes too.
    """
    texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
    return [float(scoring.score(text, "stop", gold)[1] == "right")
            for text, gold in zip(texts, gold_answer, strict=True)]


def process(prompt: str, text: str, gold: str, template: str, wording: str = "kit") -> float:
    """Return the share of a trace before its first false line, from 0 to 1.

    The share is relative to the lines of the text or of the right trace, whichever has more. So
    neither an early end nor additional text increases it. The last line of a text that ends too
    early counts as false. In the paper's wording a step has several lines, and a false step
    counts from its first line.

    Args:
        prompt: A prompt with the rule and the question, with or without an exemplar.
        text: The answer.
        gold: The right completion.
        template: The question's template (`task.question`).
        wording: One of `formats.WORDINGS`.
    """
    find = judge_at_length if wording == "paper" else judge
    false = find(prompt, text, template)
    if not false:
        return 1.0
    right = max(0, min(one.line for one in false) - 1)
    if wording == "paper":
        steps, _ = paper.blocks(split_prompt(prompt)[0], text)
        right = max((step.end for step in steps if step.end <= right), default=0)
    return right / max(text.count("\n") + 1, gold.count("\n") + 1)


def has_trace(prompt: str, text: str, wording: str = "kit") -> bool:
    """Return whether a text executes the rule of its prompt at all, rightly or wrongly.

    It does if at least one of its lines recites a line of the rule and states a fact after it. A
    mere copy of the rule is not a trace.
    """
    rule, _ = split_prompt(prompt)
    recited = {line.strip() for line in rule.split("\n")}
    if wording == "paper":
        found = [(block.step.code, (*block.step.facts, *block.reads))
                 for block in paper.blocks(rule, f"{text}\n")[0]]
    else:
        steps = (parse.step(line.strip(), recited) for line in text.split("\n"))
        found = [(step.code, step.facts) for step in steps]
    return any(code in recited and any(_told(fact) not in recited for fact in facts
                                       if fact.kind != "text") for code, facts in found)


def _told(fact: Fact) -> str:
    """The line that states a fact in the paper's wording, where a line of the rule may follow."""
    return (fact.right if fact.kind == "each" else f"{fact.left} = {fact.right}").strip()
