"""What a trace says, as data: the executed lines of a rule and the facts stated behind each.

Facts have five kinds (`left` and `right` are Python literals or literal expressions, as text):

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
    """One statement behind a recited line."""

    kind: str
    left: str
    right: str


class Step(NamedTuple):
    """One executed line of a rule: the line as it stands there, stripped, and its facts."""

    code: str
    facts: tuple[Fact, ...]


JOIN = {"calc": " = ", "state": " = ", "test": " -> ", "each": " -> ", "end": ""}
"""What stands between the two sides of a fact of each kind."""
BEHIND = " # "
"""What stands between a recited line and its facts."""
BETWEEN = "; "
"""What stands between two facts of one line."""
ANSWER = "So the answer is "
"""How the last line of every completion begins."""
