"""The structure of a rule: which loops hold a line, and how many passes of them a text makes."""

import ast
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple


class Span(NamedTuple):
    """The lines of a loop: its header, the first line of its body, the last line."""

    line: int
    first: int
    last: int

    def holds(self, line: int) -> bool:
        """Is the line in the loop's body?"""
        return self.first <= line <= self.last


class Structure:
    """The statements and loops of a rule by line, numbered from 1."""

    def __init__(self, source: str):
        functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
        self.nodes = {node.lineno: node for function in functions for node in ast.walk(function)
                      if isinstance(node, ast.stmt)}
        self.loops = {line: Span(line, node.body[0].lineno, node.end_lineno)
                      for line, node in sorted(self.nodes.items())
                      if isinstance(node, (ast.While, ast.For))}

    def around(self, line: int) -> list[Span]:
        """The loops whose bodies hold a line, outermost first."""
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

        A pass begins with the loop's header, unless the header says to leave. If the header is
        missing or recited wrongly, the pass begins with the first line of the body, provided that
        this line is unique in the rule and does not only repeat the line before. In a wording
        with headings, each pass has its own heading.

        Args:
            recited: What a trace recites for each line of the rule.
            headings: The heading of each pass, by the line of its loop.

        Returns:
            The number of passes, by the line of the loop's header.
        """
        counts = dict.fromkeys(self.loops, 0)
        if headings:
            loops = {heading: line for line, heading in reversed(headings.items())}
            for text in lines:
                if text in loops:
                    counts[loops[text]] += 1
            return counts
        marks = self._marks(recited)
        begun = dict.fromkeys(self.loops, False)  # the header says to enter; no body line yet
        before = 0  # the loop whose body began on the line before
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
        return sorted(marks, key=lambda mark: -len(mark[0]))  # one may be the beginning of another


def _mark(text: str, marks: list[tuple[str, int, bool]]) -> tuple[int, bool]:
    """The loop that a line of a text marks (0: none), and whether it is the loop's header."""
    for code, line, is_header in marks:
        if text.startswith(code) and not text[len(code):len(code) + 1].strip(" #"):
            return line, is_header
    return 0, False


def enters(facts: Sequence[tuple[str, str, str]]) -> bool:
    """Do the facts of a loop's header say that another pass follows?"""
    return not facts or (facts[0][0] != "end" and facts[0][2] != "False")


@lru_cache(maxsize=256)
def structure_of(source: str) -> Structure:
    """The structure of a rule's text, cached for the next completion of the same rule."""
    return Structure(source)
