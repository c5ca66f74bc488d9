"""A judge of traces that trusts nobody: every false line of a text, from the text alone.

The judge knows neither the tasks nor the tracer. It takes the rule and the question out of the
prompt, walks the rule's syntax tree with an evaluator of its own (nothing is ever executed), and
holds every line of the completion against it: is it the line that the rule executes next, do the
substituted values say what was read, is the arithmetic right, is the verdict right, is the state
what the line leaves behind, is the answer what the rule returns? After a false fact the walk goes
on with what the text claims, so that each line is judged on its own; where the text leaves the
rule altogether, the walk ends.
"""

import ast
import copy
import re
from typing import Any

from metarfft_core.tracing.judge.claims import (
    LINE_LIMIT,
    AtLength,
    FalseLine,
    Lines,
    Scratchpad,
)
from metarfft_core.tracing.judge.walk import Walk

__all__ = ["LINE_LIMIT", "FalseLine", "judge", "judge_at_length", "judge_in_words",
           "judge_recital", "judge_scratchpad", "judge_trace", "split_prompt"]


def judge(prompt: str, completion: str, template: str | None = None) -> list[FalseLine]:
    """Every false line of a rule-following completion, from the texts alone (empty: all true).

    `template` is that of the question (`task.question`), as in the functions below. With it the
    arguments are found exactly; without it they are searched for in the question (see
    `question.missing` for what that cannot see).
    Raises ValueError where the prompt holds no rule and question in the kit's form, or where the
    question does not begin as the template does.
    """
    rule, question = split_prompt(prompt)
    return judge_trace(rule, question, completion, template)


def judge_trace(rule: str, question: str, completion: str,
                template: str | None = None) -> list[FalseLine]:
    """The same, with the rule's text and the question given apart."""
    return Walk(rule, question, Lines(completion), template=template).judge()


def judge_recital(rule: str, recitals: dict[int, str], question: str, completion: str,
                  template: str | None = None) -> list[FalseLine]:
    """The same, of a completion that recites `recitals` for the lines of the rule (from 1)."""
    return Walk(rule, question, Lines(completion), recitals, template).judge()


def judge_in_words(rule: str, prompt: str, completion: str,
                   template: str | None = None) -> list[FalseLine]:
    """Every false line of a completion that recites the numbered sentences of its prompt.

    The sentences say nothing to a judge, so the rule that they word is given too. Raises ValueError
    where the prompt does not have one sentence for each of its lines.
    """
    words, question = split_prompt(prompt)
    sentences = re.findall(r"^\d+\. .*$", words, re.MULTILINE)
    lines = sorted({node.lineno for function in ast.parse(rule).body
                    if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
                    if isinstance(node, ast.stmt)})
    if len(lines) != len(sentences):
        raise ValueError(f"the prompt has {len(sentences)} sentences, the rule {len(lines)} lines")
    recitals = dict(zip(lines, sentences, strict=True))
    return judge_recital(rule, recitals, question, completion, template)


def judge_at_length(prompt: str, completion: str,
                    template: str | None = None) -> list[FalseLine]:
    """Every step of a completion in the paper's wording that has a false line; the number is that
    of its last line. Raises ValueError as `judge` does."""
    rule, question = split_prompt(prompt)
    return Walk(rule, question, AtLength(rule, completion), template=template).judge()


def judge_scratchpad(rule: str, inputs: dict[str, Any], completion: str) -> list[FalseLine]:
    """Every false line of a scratchpad: does it state the changes that the rule makes?

    A scratchpad's prompt holds no rule, so the rule and its arguments are given apart.
    """
    return Walk(rule, copy.deepcopy(inputs), Scratchpad(completion)).judge()


def split_prompt(prompt: str) -> tuple[str, str]:
    """The rule's text and the question, the last one, out of a prompt with a rule."""
    match = re.search(r"^rule:\n(.*?)\n\nQ: ", prompt, re.DOTALL | re.MULTILINE)
    if match is None:
        raise ValueError("the prompt holds no 'rule:' and 'Q:' in the kit's form")
    return match[1], prompt.rpartition("\n\nQ: ")[2]
