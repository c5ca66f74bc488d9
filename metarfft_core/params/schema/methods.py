"""The compared ways to answer a downstream task (the paper's Table 2)."""

from typing import Literal, NamedTuple


class Method(NamedTuple):
    """One of the compared ways to answer a downstream task."""

    label: str  # in figures and tables
    format: str  # of its samples
    start: Literal["base", "pretrained"]
    adapted: bool  # to each task, in weights
    in_context: bool  # with one exemplar in the prompt


METHODS = {
    "direct": Method("Direct answer", "direct", "base", True, False),
    "scratchpad": Method("Scratchpad", "scratchpad", "base", True, False),
    "vanilla_rfft": Method("Vanilla RFFT", "rfft", "base", True, False),
    "meta_rfft": Method("Meta-RFFT", "rfft", "pretrained", True, False),
    "vanilla_rfft_nl": Method("Vanilla RFFT, rule in words", "rfft_nl", "base", True, False),
    "meta_rfft_nl": Method("Meta-RFFT, rule in words", "rfft_nl", "pretrained", True, False),
    "base_1shot": Method("Base model, 1-shot", "rfft", "base", False, True),
    "meta_1shot": Method("RF-pretrained, 1-shot", "rfft", "pretrained", False, True)}
"""The compared methods: the paper's Table 2, its natural-language rules, and 1-shot prompts."""


def judged_twice(name: str) -> bool:
    """Whether figures and tables show the lenient score of a method beside the strict one.

    True of API models and of 1-shot prompts, which were not trained on the tasks' format.
    """
    return name not in METHODS or METHODS[name].in_context


LABELS = {name: method.label for name, method in METHODS.items()}
"""The labels of the methods in figures and tables."""
