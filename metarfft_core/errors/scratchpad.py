"""The analysis of completions that recite no rule: scratchpads and direct answers.

A scratchpad states the changed values, one line for each pass of a loop. The analysis compares its
changes with those of the execution, one by one; here a step is a change.
"""

import re
from typing import NamedTuple

from metarfft_core.errors.compare import squeeze, value
from metarfft_core.errors.moves import Divergence
from metarfft_core.errors.reading import SIZE_LIMIT, Gold, is_answer
from metarfft_core.scoring import same_answer
from metarfft_core.tracing.judge import parse
from metarfft_core.tracing.steps import ANSWER, BETWEEN


class _Change(NamedTuple):
    """One changed value, in an execution or in a text."""

    text: str
    begins: bool  # whether a line of the scratchpad begins with it
    line: int  # in an execution, the line of the rule; in a completion, the line of the text
    computed: bool = False  # whether it is the result of an expression

    @property
    def sides(self) -> tuple[str, str]:
        name, _, right = self.text.partition(" = ")
        return squeeze(name), right


def first_divergence(gold: Gold, text: str, cut: bool, has_trace: bool) -> Divergence:
    """The first change that differs from the execution; a direct answer has no changes."""
    wants = _right(gold) if has_trace else []
    gots = _stated(text, len(wants) + 2)
    number = 0
    for want, got in zip(wants, gots, strict=False):
        if want.begins != got.begins or squeeze(want.text) != squeeze(got.text):
            break
        number += 1
    kind = _kind(gold, wants[number:], gots[number:], cut)
    if kind == "right":
        return Divergence(kind, None, None, None, None, None, True)
    want = wants[number] if number < len(wants) else None
    got = gots[number] if number < len(gots) else None
    return Divergence(kind, number + 1, want and want.line,
                      want.text if want else f"{ANSWER}{gold.answer}", got and got.text,
                      got and got.line, number >= len(wants))


def _right(gold: Gold) -> list[_Change]:
    """The changes of an execution, on the lines where `wordings.kit.scratchpad` puts them."""
    changes, begins = [], True
    for site, values in gold.records:
        begins = begins or site.loops
        results = [fact.right for fact in site.step(values).facts if fact.kind == "calc"]
        for template in site.changes:
            text = template.format(*values)
            changes.append(_Change(text, begins, site.line, text.partition(" = ")[2] in results))
            begins = False
    return changes


def _stated(text: str, limit: int) -> list[_Change]:
    """The changes that a text states, its answer among them; stops after about `limit` of them."""
    changes = []
    for number, line in enumerate(text.split("\n"), start=1):
        if len(changes) >= limit:
            break
        if line := line.strip()[:SIZE_LIMIT]:
            parts = [line] if is_answer(line) else parse.split(line, BETWEEN)
            changes += [_Change(part, position == 0, number) for position, part in enumerate(parts)]
    return changes


def _kind(gold: Gold, wants: list[_Change], gots: list[_Change], cut: bool) -> str:
    """The kind of the first difference; `wants` and `gots` begin with it."""
    if not gots:
        return "cut" if cut else "line_skipped" if wants else "answer_not_from_trace"
    got = gots[0]
    if cut and len(gots) == 1 and (wants[0].text if wants else ANSWER + gold.answer).startswith(
            got.text):
        return "cut"
    if not wants:
        if not is_answer(got.text):
            return "loop_not_left" if _is_change(got) else "format"
        if not same_answer(got.text.removeprefix(ANSWER.strip()), gold.answer):
            return "answer_not_from_trace"
        return "line_invented" if len(gots) > 1 else "right"
    if is_answer(got.text):
        return "loop_left_early" if wants[0].begins else "line_skipped"
    return _of_change(wants, gots) if _is_change(got) else "format"


def _is_change(change: _Change) -> bool:
    return bool(re.match(r"[A-Za-z_]\w*(\[.*\])? ?= ?\S", change.text))


def _of_change(wants: list[_Change], gots: list[_Change]) -> str:
    """The kind of error if the text states a change other than the right one."""
    want, got = wants[0], gots[0]
    if want.sides[0] == got.sides[0]:
        if value(got.sides[1]) is None:
            return "format"
        if value(want.sides[1]) != value(got.sides[1]):
            return "wrong_arithmetic" if want.computed else "wrong_copy"
        return "format"  # the line ends at another place
    if len(gots) > 1 and gots[1].text == want.text:
        return "line_invented"
    later = any(wanted.sides[0] == got.sides[0] for wanted in wants)
    return "line_skipped" if later else "line_invented"
