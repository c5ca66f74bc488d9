"""Completions as steps: the right completion of an execution, and any text.

A step is a line of the text, or a block of lines in the paper's wording. The analysis compares the
texts of two steps first, and parses them only if they differ.
"""

import ast
from functools import cached_property
from typing import Any, NamedTuple

from metarfft_core.tasks.definition import Task
from metarfft_core.tracing.judge import paper, parse
from metarfft_core.tracing.shown import escape
from metarfft_core.tracing.steps import ANSWER, Fact
from metarfft_core.tracing.wordings.paper import headings

SIZE_LIMIT = 20_000
"""The most characters of a line or a value that are parsed."""
_BLOCKS_SPARE = 1_000
"""How many lines are read as blocks, beyond twice the number of lines of the right text."""


class Unit(NamedTuple):
    """A parsed step; only the paper's wording has `shown` and `headings`."""

    code: str
    facts: tuple[Fact, ...]
    shown: tuple[Fact, ...] = ()
    headings: tuple[str, ...] = ()


class Gold:
    """The execution of a rule as the steps of a completion; the last one is the answer's line."""

    def __init__(self, task: Task, inputs: dict[str, Any], format: str, wording: str):
        self.records, answer = task.trace(inputs)
        self.answer = repr(answer)
        self.at_length = format == "rfft" and wording == "paper"
        self.task, self.inputs = task, inputs
        self.in_words = format == "rfft_nl"

    @cached_property
    def recited(self) -> dict[int, str]:
        """What a trace recites for each line of the rule, from 1; tables are among the lines."""
        if self.in_words:
            return self.task.rule.sentences
        lines = self.task.rule_source.split("\n")
        return {number: line.strip() for number, line in enumerate(lines, start=1)}

    @cached_property
    def texts(self) -> list[str]:
        """The text of each step; the last one is the answer's line."""
        last = f"{ANSWER}{self.answer}"
        if self.at_length:
            return [text for text, _ in _blocks(self._blocks, self._lines)] + [last]
        if self.in_words:
            templates = {}
            for site, _ in self.records:
                if id(site) not in templates:
                    rest = site.template[len(escape(site.code)):]
                    templates[id(site)] = escape(self.recited[site.line]) + rest
            return [templates[id(site)] % values for site, values in self.records] + [last]
        return [site.template % values for site, values in self.records] + [last]

    @cached_property
    def headings(self) -> dict[int, str]:
        """The heading of each pass, by the line of its loop; the kit's wording has none."""
        if not self.at_length:
            return {}
        by_line = headings(ast.parse(self.task.rule_source))
        return {line: heading.each for line, heading in by_line.items() if heading.each}

    def line(self, number: int) -> int | None:
        """The line of the rule that a step executes; None at the answer. Steps count from 0."""
        return self.records[number][0].line if number < len(self.records) else None

    def code(self, number: int) -> str:
        """The line that a step recites, or the words that begin an answer."""
        line = self.line(number)
        return ANSWER if line is None else self.recited[line]

    def unit(self, number: int) -> Unit:
        """The parsed step with this number, from 0."""
        if number == len(self.records):
            return Unit(self.texts[-1], ())
        if self.at_length:
            block = self._blocks[number]
            return Unit(*block.step, block.reads, block.headings)
        site, values = self.records[number]
        return Unit(self.recited[site.line], site.step(values).facts)

    @cached_property
    def _lines(self) -> list[str]:
        return self.task.rule.recite_at_length(self.inputs).split("\n")

    @cached_property
    def _blocks(self) -> list[paper.Block]:
        return paper.blocks(self.task.rule_source, "\n".join([*self._lines, ""]))[0]


class Text:
    """Any text as steps, without blank lines and without the white space around a line."""

    def __init__(self, task: Task, text: str, gold: Gold):
        kept = [(line.strip(), number) for number, line in enumerate(text.split("\n"), start=1)]
        kept = [(line, number) for line, number in kept if line]
        self.lines = [line for line, _ in kept]
        self.recited = set(gold.recited.values())
        self.texts, self.at = self.lines, [number for _, number in kept]
        self.blocks: list[paper.Block] | None = None
        if gold.at_length:
            limit = 2 * len(gold._lines) + _BLOCKS_SPARE
            lines = [line[:SIZE_LIMIT] for line in self.lines[:limit]]
            self.blocks = paper.blocks(task.rule_source, "\n".join([*lines, ""]))[0]
            pairs = _blocks(self.blocks, lines)
            self.texts, self.at = [text for text, _ in pairs], [self.at[at] for _, at in pairs]

    def unit(self, number: int, text: str = "") -> Unit:
        """The parsed step with this number, from 0; `text`, if given, replaces its text."""
        if self.blocks is not None:
            block = self.blocks[number]
            return Unit(*block.step, block.reads, block.headings)
        return Unit(*parse.step((text or self.texts[number])[:SIZE_LIMIT], self.recited))

    def code(self, number: int) -> str:
        """The line that a step recites, or the words that begin an answer."""
        if self.blocks is not None:
            code = self.blocks[number].step.code
        else:
            code = parse.recital(self.texts[number][:SIZE_LIMIT], self.recited)
        return ANSWER if is_answer(code) else code


def is_answer(line: str) -> bool:
    """Does a line state an answer?"""
    return line.startswith(ANSWER.strip())


def _blocks(blocks: list[paper.Block], lines: list[str]) -> list[tuple[str, int]]:
    """The text of each block, and the index of its first line in `lines`."""
    texts, start = [], 0
    for block in blocks:
        texts.append(("\n".join(lines[start:block.end]), start))
        start = block.end
    return texts
