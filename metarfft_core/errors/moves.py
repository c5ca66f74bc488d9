"""The first divergence of a text from the execution of a rule, and its kind.

As long as text and execution are at the same line, `compare.py` says what differs. If the text
recites a line other than the one that the rule executes, this module decides why: a line is
missing, a line does not belong there, or a loop is left early or not left.
"""

import ast
import re
from difflib import SequenceMatcher
from typing import NamedTuple

from metarfft_core.errors.compare import difference, same_line, squeeze
from metarfft_core.errors.reading import Gold, Text, Unit, is_answer
from metarfft_core.errors.structure import Span, Structure, enters
from metarfft_core.scoring import same_answer
from metarfft_core.tracing.judge import paper
from metarfft_core.tracing.steps import ANSWER

IN_PLACE = 0.5
"""The similarity (0 to 1) from which a line is a bad recital of the right line if the next line is
right. The next line shows that the text is still in step, so half of the line is enough."""
NEAR = 0.7
"""The similarity from which a line is a bad recital of the right line if the next line does not
help and no other line of the rule is more similar. It is above IN_PLACE because three of four lines
in the paper's 86 rules have another line of their rule at 0.5 or more; only two of five at 0.7."""
SAME = 0.85
"""The similarity from which a line is a bad recital of another line of the rule. It then counts as
a move to that line, so it may differ only in a few characters; one of seven lines in the 86 rules
has another line of its rule that is as similar."""
CODE_LIMIT = 400
"""The most characters of a recited line that are compared with the lines of the rule. The time of a
comparison grows with the square of the length; the longest line of code in the 86 rules has 95."""
AHEAD = 30
"""The search tries fewer than this many missing or extra lines in a row. The longest of the 86
rules has 26 lines, so a whole pass through a loop can be missing."""
BRANCH = 4
"""The search tries fewer than this many lines of a wrong branch in place of fewer than this many of
the right one, because most branches of the rules are short."""
WINDOW = 6
"""How many lines are compared to see how well the rest of a text fits."""


class Divergence(NamedTuple):
    """The first divergence of a text; `errors.Diagnosis` explains the fields."""

    kind: str
    step: int | None
    line: int | None
    expected: str | None
    got: str | None
    at: int | None
    trace_right: bool


def first_divergence(gold: Gold, text: Text, structure: Structure, cut: bool) -> Divergence:
    """The first step of a text that differs; `cut` says that the decoding limit ended the text."""
    comparison = _Comparison(gold, text, structure, cut)
    for number, (want, got) in enumerate(zip(gold.texts, text.texts, strict=False)):
        if want != got and (kind := comparison.kind(number)):
            break
    else:
        number = min(len(gold.texts), len(text.texts))
        kind = comparison.kind_of_end()
    if kind == "right":
        return Divergence(kind, None, None, None, None, None, True)
    has, is_right = number < len(text.texts), number >= len(gold.records)
    return Divergence(
        kind, number + 1, gold.line(number),
        gold.texts[number] if number < len(gold.texts) else "",
        text.texts[number] if has else None, text.at[number] if has else None, is_right)


class _Comparison:
    """The kinds of the differences between a text and an execution."""

    def __init__(self, gold: Gold, text: Text, structure: Structure, cut: bool):
        self.gold = gold
        self.text = text
        self.structure = structure
        self.cut = cut
        self.steps = len(gold.records)

    def kind_of_end(self) -> str:
        """The kind of a text that is right up to the end of the text or of the execution."""
        if len(self.text.texts) > self.steps + 1:
            return "line_invented"  # after the answer
        if self.cut:
            return "cut"
        if len(self.text.texts) > self.steps:
            return "right"
        return "answer_not_from_trace" if len(self.text.texts) == self.steps else "line_skipped"

    def kind(self, number: int) -> str | None:
        """The kind of the difference at a step; None if it is harmless."""
        want, got = self.gold.texts[number], self.text.texts[number]
        if self.cut and number == len(self.text.texts) - 1:
            if want.startswith(got):
                return "cut"
            got += want[len(got):]  # the text so far, completed with the right end
        if same_line(want, got):
            return None
        if number == self.steps:
            return self.behind_the_trace(number, got)
        want, got = self.gold.unit(number), self.unit(number, got)
        if squeeze(want.code) == squeeze(got.code):
            return difference(want, got, self.gold.line(number) in self.structure.loops)
        lines = self.lines(got.code)
        if lines or is_answer(got.code):
            return self.moved(number, lines)
        return self.strange(number, want, got)

    def unit(self, number: int, text: str) -> Unit:
        """A parsed step of the text; a step that the limit cut is completed with its right end."""
        if self.text.blocks is None and text != self.text.texts[number]:
            unfinished = self.text.texts[number]
            codes = [code for code in self.gold.recited.values() if code.startswith(unfinished)]
            if codes or ANSWER.startswith(unfinished):
                return Unit((codes or [ANSWER])[0], ())
        return self.text.unit(number, text)

    def lines(self, code: str) -> list[int]:
        """The lines of the rule that a text recites."""
        code = squeeze(code)
        return [line for line, recited in self.gold.recited.items() if squeeze(recited) == code]

    def behind_the_trace(self, number: int, got: str) -> str | None:
        """The kind of the step in the place of the answer; None if it is right."""
        if is_answer(got):
            right = same_answer(got.removeprefix(ANSWER.strip()), self.gold.answer)
            return None if right else "answer_not_from_trace"
        unit = self.unit(number, got)
        lines = self.lines(unit.code)
        return self.moved(number, lines) if lines else self.unknown(unit.code)

    # --- another line of the rule

    def moved(self, number: int, lines: list[int]) -> str:
        """The kind of error if the text continues with another line of the rule or the answer.

        Args:
            lines: The lines of the rule that the step may recite; empty for the answer.
        """
        if self.follows(number + 1, number) or self.repeated(number):
            return "line_invented"
        if self.recites(number, number + 1) and not self.recites(number + 1, number):
            return "line_skipped"  # it is the next line of the rule, whatever its values are
        return self.of_loops(number, lines) or self.aligned(number, lines)

    def follows(self, number: int, want: int) -> bool:
        """Is step `number` of the text equal to step `want` of the execution?"""
        return number < len(self.text.texts) and want < len(self.gold.texts) and same_line(
            self.text.texts[number], self.gold.texts[want])

    def recites(self, number: int, want: int) -> bool:
        """Does step `number` of the text recite the line of step `want` of the execution?"""
        return number < len(self.text.texts) and want <= self.steps and (
            self.text.code(number) == self.gold.code(want))

    def repeated(self, number: int) -> bool:
        """Does the text recite the line before again, although the next right step does not?"""
        return (number > 0 and self.text.code(number) == self.text.code(number - 1)
                and not self.recites(number, number + 1))

    def of_loops(self, number: int, lines: list[int]) -> str | None:
        """The kind of error if the text leaves or continues a loop against the rule, else None."""
        here = self.gold.line(number)
        before = self.gold.line(number - 1) if number else None
        if left := self.left(number - 1, before):
            if self.in_body(left, lines):
                return "loop_not_left"
        elif (loop := self.structure.loops.get(before)) and self.after(loop, lines):
            return "loop_left_early"
        if loop := self.structure.loops.get(here):  # its header is missing
            if self.enters(number):
                return "loop_left_early" if self.after(loop, lines) else None
            return "loop_not_left" if self.in_body(loop, lines) else None
        if any(self.inside(loop, lines) for loop in self.leaves(here)):
            return "loop_not_left"
        return None

    def leaves(self, line: int | None) -> list[Span]:
        """The loops that the rule leaves by executing this line."""
        if line is None:  # the rule has ended
            return list(self.structure.loops.values())
        around = self.structure.around(line)
        statement = type(self.structure.nodes[line])
        return {ast.Return: around, ast.Break: around[-1:]}.get(statement, [])

    def left(self, number: int, line: int | None) -> Span | None:
        """The loop that the rule leaves with step `number` on that line, or None."""
        if isinstance(self.structure.nodes.get(line), ast.Break):
            return self.structure.around(line)[-1]
        loop = self.structure.loops.get(line)
        return loop if loop and not self.enters(number) else None

    def enters(self, number: int) -> bool:
        """Does the rule begin another pass with the loop header of this step?"""
        return enters(self.gold.records[number][0].facts)

    def in_body(self, loop: Span, lines: list[int]) -> bool:
        return any(map(loop.holds, lines))

    def inside(self, loop: Span, lines: list[int]) -> bool:
        return loop.line in lines or self.in_body(loop, lines)

    def after(self, loop: Span, lines: list[int]) -> bool:
        """Does the text continue after a loop: with the answer, further down, or further out?"""
        headers = [outer.line for outer in self.structure.around(loop.line)]
        return not lines or any(line > loop.last or line in headers for line in lines)

    def aligned(self, number: int, lines: list[int]) -> str:
        """Whether a line is missing or extra: whichever makes the rest fit better."""
        if number >= self.steps:
            return "line_invented"
        if not lines:
            return "line_skipped"
        cases = [(0, missing) for missing in range(1, AHEAD)]
        cases += [(extra, 0) for extra in range(1, AHEAD)]
        cases += [(extra, missing) for extra in range(1, BRANCH) for missing in range(1, BRANCH)]
        extra, missing = max(cases, key=lambda case: self.fit(number, *case))
        skipped = extra == 0 and self.fit(number, extra, missing)[0] > -missing
        ends = any(isinstance(self.structure.nodes.get(line), ast.Return) and
                   self.gold.records[-1][0].line == line for line in lines)
        return "line_skipped" if skipped or ends else "line_invented"

    def fit(self, number: int, extra: int, missing: int) -> tuple[int, int]:
        """How well the text, without `extra` lines, follows the rule, without `missing` lines.

        Returns:
            The number of following lines that agree, less the missing and extra ones; then the
            number of those that also state the right values.
        """
        codes = values = 0
        for ahead in range(WINDOW):
            want, got = number + missing + ahead, number + extra + ahead
            if want > self.steps or got >= len(self.text.texts):
                if want > self.steps and got >= len(self.text.texts):
                    codes = WINDOW  # text and rule both end here
                break
            if self.gold.code(want) != self.text.code(got):
                break
            codes += 1
            values += self.gold.texts[want] == self.text.texts[got]
        return codes - extra - missing, values

    # --- not a line of the rule

    def strange(self, number: int, want: Unit, got: Unit) -> str:
        """The kind of error if the text does not recite a line of the rule."""
        rest = got.code.removeprefix(want.code)
        if rest != got.code and re.search(r"^\s*#| -> | = ", rest):
            return "format"  # the right line, run together with what follows it
        if got.facts and got.facts == want.facts:
            return "wrong_recitation"
        if self.follows(number + 1, number):
            return self.unknown(got.code)
        line = self.gold.line(number)
        alike = {other: _alike(recited, got.code) for other, recited in self.gold.recited.items()}
        nearest = max(alike, key=lambda other: alike[other])
        in_place = self.recites(number + 1, number + 1) and alike[line] >= IN_PLACE
        if in_place or alike[line] >= max(NEAR, alike[nearest]):
            return "wrong_recitation"
        if alike[nearest] >= SAME:
            return self.moved(number, [nearest])
        return self.unknown(got.code)

    def unknown(self, code: str) -> str:
        """The kind of a line that is not in the rule."""
        if self.gold.in_words and re.match(r"\d+\. [A-Z]", code):
            return "line_invented"
        node = paper.statement(code) if len(code) <= CODE_LIMIT else None
        says = node and not (isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call))
        return "line_invented" if says else "format"


def _alike(recited: str, code: str) -> float:
    code = code[:CODE_LIMIT]
    return SequenceMatcher(None, recited, code, autojunk=False).ratio()
