"""The shape of a rule: which line stands in which loop, and how often a text goes through them."""

import ast
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple


class Span(NamedTuple):
    """The lines of a loop: its header, the first of its body, the last."""

    line: int
    first: int
    last: int

    def holds(self, line: int) -> bool:
        """Does the line stand in the loop's body?"""
        return self.first <= line <= self.last


class Shape:
    """What stands on the lines of a rule, numbered from 1."""

    def __init__(self, source: str):
        functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
        self.nodes = {node.lineno: node for function in functions for node in ast.walk(function)
                      if isinstance(node, ast.stmt)}
        self.loops = {line: Span(line, node.body[0].lineno, node.end_lineno)
                      for line, node in sorted(self.nodes.items())
                      if isinstance(node, (ast.While, ast.For))}

    def around(self, line: int) -> list[Span]:
        """The loops in whose bodies a line stands, the outermost first."""
        return [loop for loop in self.loops.values() if loop.holds(line)]

    def gold_passes(self, records: Sequence) -> dict[int, int]:
        """Passes through each loop, by the line of its header, in an execution's records."""
        counts = dict.fromkeys(self.loops, 0)
        for site, _ in records:
            if site.line in counts:
                counts[site.line] += enters(site.facts)
        return counts

    def passes(self, lines: Sequence[str], recited: Mapping[int, str],
               headings: Mapping[int, str]) -> dict[int, int]:
        """Passes through each loop in the lines of a text.

        A pass begins with the loop's header, unless that says to leave. Where the header is
        missing or recited wrongly it begins with the first line of the body, if that line stands
        nowhere else in the rule and is not only said twice. A wording with headings has one for
        each pass.
        """
        counts = dict.fromkeys(self.loops, 0)
        if headings:
            loops = {heading: line for line, heading in reversed(headings.items())}
            for text in lines:
                if text in loops:
                    counts[loops[text]] += 1
            return counts
        marks = self._marks(recited)
        begun = dict.fromkeys(self.loops, False)  # a header said to enter, the body has not come
        before = 0  # the loop whose body began with the line before
        for text in lines:
            line, is_header = _mark(text, marks)
            if is_header:
                begun[line] = not text.endswith(("-> False", "# end"))
                counts[line] += begun[line]
            elif line and line != before:
                counts[line] += not begun[line]
                begun[line] = False
            before = 0 if is_header else line
        return counts

    def _marks(self, recited: Mapping[int, str]) -> list[tuple[str, int, bool]]:
        """The lines that begin a pass: (line as recited, line of the loop, is it the header?)."""
        codes = list(recited.values())
        marks = [(recited[line], line, True) for line in self.loops]
        marks += [(recited[loop.first], line, False) for line, loop in self.loops.items()
                  if loop.first not in self.loops and codes.count(recited[loop.first]) == 1]
        return sorted(marks, key=lambda mark: -len(mark[0]))  # one may begin as another does


def _mark(text: str, marks: list[tuple[str, int, bool]]) -> tuple[int, bool]:
    """The loop that a line of a text marks (0: none), and whether it is the loop's header."""
    for code, line, is_header in marks:
        if text.startswith(code) and not text[len(code):len(code) + 1].strip(" #"):
            return line, is_header
    return 0, False


def enters(facts: Sequence[tuple[str, str, str]]) -> bool:
    """Do the facts of a loop's header say to go through it once more?"""
    return not facts or (facts[0][0] != "end" and facts[0][2] != "False")


@lru_cache(maxsize=256)
def shape_of(source: str) -> Shape:
    """The shape of a rule's text, kept for the next completion of the same rule."""
    return Shape(source)
