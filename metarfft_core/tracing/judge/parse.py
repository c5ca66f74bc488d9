"""The parser of traces: it returns the steps that a text claims were executed.

It reads any text. A line that it does not understand becomes a step without facts, or with facts
of kind "text". `replay.py` judges which claims are true.
"""

import re
from collections.abc import Collection
from functools import cache

from metarfft_core.tracing.steps import ANSWER, BEHIND, BETWEEN, Fact, Step

_STRING = r"""'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?|"""  # one that is not closed ends the text
LINE_LIMIT = 100_000
"""The most characters of a line that are split into facts; what is longer is one fact."""
_PLACE = re.compile(r"[A-Za-z_]\w*(\[.*\])?")


def split(text: str, separator: str) -> list[str]:
    """Split at each separator outside string literals; a text beyond LINE_LIMIT stays whole."""
    if separator not in text or len(text) > LINE_LIMIT:
        return [text]
    head, _, tail = text.partition(separator)
    if separator not in tail and "'" not in head and '"' not in head:
        return [head, tail]
    if "'" not in text and '"' not in text:
        return text.split(separator)
    parts, start = [], 0
    for match in _outside(separator).finditer(text):
        if match[1]:
            parts.append(text[start:match.start()])
            start = match.end()
    return [*parts, text[start:]]


@cache
def _outside(separator: str) -> re.Pattern:
    """A pattern that finds string literals and, as its group, the separators outside them."""
    return re.compile(f"{_STRING}({re.escape(separator)})", re.DOTALL)


def fact(text: str) -> Fact:
    """Read one fact; a fact without a known form is of kind "text"."""
    if text == "end":
        return Fact("end", "", "")
    if " -> " in text:
        left, *rest = split(text, " -> ")
        if len(rest) == 1:
            return Fact("test" if rest[0] in ("True", "False") else "each", left, rest[0])
    sides = split(text, " = ")
    if len(sides) != 2:
        return Fact("text", text, "")
    return Fact("state" if _PLACE.fullmatch(sides[0]) else "calc", *sides)


def step(line: str, recited: Collection[str] = ()) -> Step:
    """Read one line of a trace.

    Args:
        recited: The lines that it may recite. If it begins with none of them, the recital ends at
            the first separator outside string literals; an apostrophe may hide that separator.
    """
    code, *rest = _recital(line, recited) or split(line, BEHIND)
    return Step(code, tuple(facts(BEHIND.join(rest))) if rest else ())


def facts(text: str) -> list[Fact]:
    """Read the facts behind the recital of a line."""
    return [fact(part) for part in split(text, BETWEEN)]


def recital(line: str, recited: Collection[str] = ()) -> str:
    """The part of a line of a trace that recites the rule; see `step`."""
    return (_recital(line, recited) or split(line, BEHIND))[0]


def _recital(line: str, recited: Collection[str]) -> list[str] | None:
    """The known recital that begins a line, and the text after it, if there is any."""
    if line in recited:
        return [line]
    place = line.find(BEHIND)
    while 0 <= place <= max(map(len, recited), default=-1):
        if line[:place] in recited:
            return [line[:place], line[place + len(BEHIND):]]
        place = line.find(BEHIND, place + 1)
    return None


def steps(completion: str) -> tuple[list[Step], str | None]:
    """The steps of a rule-following completion, and the answer that ends it, or None."""
    lines = completion.split("\n")
    answer = None
    if lines[-1].startswith(ANSWER):
        answer = lines.pop().removeprefix(ANSWER)
    return [step(line) for line in lines], answer
