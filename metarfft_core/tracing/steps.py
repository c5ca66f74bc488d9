"""The content of a trace as data: the executed lines of a rule, each with its facts.

There are five kinds of facts (`left` and `right` are Python literals or literal expressions, as
text):

| kind  | in a trace                 | says                                                  |
|-------|----------------------------|-------------------------------------------------------|
| calc  | `3 + 4 = 7`                | an expression, its readings substituted, and its value|
| state | `nums = [1, 2]`            | the value of a variable or element after the line     |
| test  | `3 > 2 -> True`            | a condition, what it read substituted, and the verdict|
| each  | `range(3) -> i = 1`        | the next item of a range                              |
| end   | `end`                      | a `for` loop has no further item                      |
"""

from typing import NamedTuple


class Fact(NamedTuple):
    """One fact that a trace states after a recited line."""

    kind: str
    left: str
    right: str


class Step(NamedTuple):
    """One executed line of a rule: its text, stripped, and its facts."""

    code: str
    facts: tuple[Fact, ...]


JOIN = {"calc": " = ", "state": " = ", "test": " -> ", "each": " -> ", "end": ""}
"""The text between the two sides of a fact, by kind."""
BEHIND = " # "
"""The text between a recited line and its facts."""
BETWEEN = "; "
"""The text between two facts of one line."""
ANSWER = "So the answer is "
"""The beginning of the last line of every completion."""
