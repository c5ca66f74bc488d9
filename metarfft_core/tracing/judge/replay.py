"""An independent judge of traces: it finds every false line of a text from the text alone.

The judge imports neither the tasks nor the tracer. It takes the rule and the question from the
prompt and walks the rule's syntax tree with its own evaluator; it never executes code. It checks
each line of the completion:

- Is it the line that the rule executes next?
- Are the substituted values the values that the line reads?
- Are the arithmetic, the verdict and the state after the line right?
- Is the answer the value that the rule returns?

After a false fact the walk continues with the value that the text claims, so that each line is
judged separately. If the text leaves the rule altogether, the walk ends.
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
    """Find every false line of a rule-following completion, from the texts alone.

    Args:
        prompt: A prompt of format `rfft`, with the rule and the question.
        completion: The text to judge.
        template: The question's template (`task.question`), here and in the functions below. With
            it the positions of the arguments are exact. Without it the judge searches for them
            (see `question.missing` for the limits of that).

    Returns:
        The false lines; an empty list if every line is true.

    Raises:
        ValueError: The prompt holds no rule and question in the kit's form, or the question does
            not begin as the template does.
    """
    rule, question = split_prompt(prompt)
    return judge_trace(rule, question, completion, template)


def judge_trace(rule: str, question: str, completion: str,
                template: str | None = None) -> list[FalseLine]:
    """Judge as `judge` does, with the rule's text and the question as separate arguments."""
    return Walk(rule, question, Lines(completion), template=template).judge()


def judge_recital(rule: str, recitals: dict[int, str], question: str, completion: str,
                  template: str | None = None) -> list[FalseLine]:
    """Judge a completion that recites `recitals`, by number of the rule's line (from 1)."""
    return Walk(rule, question, Lines(completion), recitals, template).judge()


def judge_in_words(rule: str, prompt: str, completion: str,
                   template: str | None = None) -> list[FalseLine]:
    """Find every false line of a completion that recites the numbered sentences of its prompt.

    The judge cannot interpret the sentences, so it also needs the rule that they describe.

    Raises:
        ValueError: As in `judge`, or the prompt does not have one sentence for each line of the
            rule.
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
    """Find every step with a false line in a completion in the paper's wording.

    Returns:
        A FalseLine for each such step, with the number of the step's last line.

    Raises:
        ValueError: As in `judge`.
    """
    rule, question = split_prompt(prompt)
    return Walk(rule, question, AtLength(rule, completion), template=template).judge()


def judge_scratchpad(rule: str, inputs: dict[str, Any], completion: str) -> list[FalseLine]:
    """Find every line of a scratchpad that does not state the changes that the rule makes.

    A scratchpad's prompt holds no rule, so the rule and its arguments are separate arguments.
    """
    return Walk(rule, copy.deepcopy(inputs), Scratchpad(completion)).judge()


def split_prompt(prompt: str) -> tuple[str, str]:
    """The rule's text and the last question of a prompt; raises ValueError if one is missing."""
    rule, asked, _ = f"\n{prompt}".partition("\nrule:\n")[2].partition("\n\nQ: ")
    if not asked:
        raise ValueError("the prompt has no 'rule:' and 'Q:' in the kit's form")
    return rule, prompt.rpartition("\n\nQ: ")[2]
