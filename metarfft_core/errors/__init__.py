"""The error analysis: where and how a completion leaves the rule (the paper's Figure 4).

    from metarfft_core import errors, tasks
    diagnosis = errors.diagnose(tasks.get("lc_283"), {"nums": [4, 0]}, text)
    diagnosis.kind, diagnosis.step, diagnosis.code      # "wrong_copy", 5, "num = nums.pop(0)"
    diagnosis.loops, diagnosis.gold_loops               # 3, 2
    print(errors.annotate(text, diagnosis))             # the text, with the first error marked

The analysis compares a completion with the execution of the rule on the same inputs, step by step.
It classifies only the first divergence, because later ones may follow from it. It accepts any
text: it executes nothing from the text, and its time is linear in the text's length.

| kind                    | at the first divergence                                             |
|-------------------------|---------------------------------------------------------------------|
| `right`                 | none: every step and the answer are right, and nothing follows      |
| `loop_left_early`       | the text leaves a loop, by its verdict or by going on after it, but |
|                         | the rule makes one more pass                                        |
| `loop_not_left`         | the text enters or continues a loop, but the rule leaves it         |
| `wrong_branch`          | the verdict of a condition is wrong; its operands are right         |
| `wrong_arithmetic`      | the result of an expression is wrong; its operands are right        |
| `wrong_copy`            | a value that is read or shown is not the variable's value           |
| `line_skipped`          | a line is missing: the text continues with a later line, or ends    |
| `line_invented`         | the text executes a line that the rule does not execute there       |
| `wrong_recitation`      | the line is the right one, but its recital is wrong                 |
| `format`                | the line is unreadable, or its facts are not of the expected form   |
| `cut`                   | the decoding limit ended the text; everything before is right       |
| `answer_not_from_trace` | the trace is right, but the answer is wrong or missing              |

A wrong verdict of a loop determines the kind, whatever its operands are. A direct completion has
no trace, so a wrong answer there is `answer_not_from_trace`. A scratchpad states only changed
values. It does not show wrong recitations, branches and verdicts; these appear as the wrong values
or passes that they lead to.

    structure.py   which loops hold a line of a rule; passes through loops
    reading.py     completions as steps, in every format and wording
    compare.py     two steps of the same line: the first fact that differs
    moves.py       two steps of different lines: skipped, invented, a loop left or not left
    scratchpad.py  the same for scratchpads
"""

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

from metarfft_core.errors import scratchpad
from metarfft_core.errors.moves import Divergence, first_divergence
from metarfft_core.errors.reading import Gold, Text
from metarfft_core.errors.structure import Structure, structure_of
from metarfft_core.formats import FORMATS, WORDINGS, parse_answer
from metarfft_core.scoring import same_answer
from metarfft_core.tasks.definition import Task

__all__ = ["KINDS", "Diagnosis", "Loop", "annotate", "diagnose"]

KINDS = ("right", "loop_left_early", "loop_not_left", "wrong_branch", "wrong_arithmetic",
         "wrong_copy", "line_skipped", "line_invented", "wrong_recitation", "format", "cut",
         "answer_not_from_trace")


class Loop(NamedTuple):
    """A loop of the rule, by the line of its header, and the passes through it."""

    line: int
    code: str
    passes: int | None  # in the text; None if its format does not show them
    gold: int  # in the right execution


@dataclass(frozen=True)
class Diagnosis:
    """The first error of a completion. If there is none, `step` to `at` are None.

    In a scratchpad a step is a change. The answer is the last step.
    """

    kind: str  # one of KINDS
    step: int | None  # the number of the step that differs, from 1
    line: int | None  # the line of the rule that is executed there, from 1; None at the answer
    code: str | None  # the text of that line
    expected: str | None  # the text of the right step
    got: str | None  # the text in its place; None if the text has ended
    at: int | None  # the line number of `got` in the text, from 1
    steps: int  # the steps of the right execution, without the answer
    by_loop: tuple[Loop, ...]
    trace_right: bool | None  # whether every step is right; None if the format has no trace
    answer_right: bool  # as the evaluation scores it: a cut text has no right answer

    @property
    def loops(self) -> int | None:
        """Passes through all loops in the text; in a cut text, up to its end."""
        counts = [loop.passes for loop in self.by_loop]
        return None if None in counts else sum(counts)

    @property
    def gold_loops(self) -> int:
        """Passes through all loops in the right execution."""
        return sum(loop.gold for loop in self.by_loop)

    @property
    def relative_loop_error(self) -> float | None:
        """|loops - gold_loops| / gold_loops; None if `loops` is unknown or `gold_loops` is 0."""
        if self.loops is None or self.gold_loops == 0:
            return None
        return abs(self.loops - self.gold_loops) / self.gold_loops


def diagnose(task: Task, inputs: dict[str, Any], text: str, finish_reason: str = "stop",
             format: str = "rfft", wording: str = "kit") -> Diagnosis:
    """Compare a completion with the execution of the task's rule on `inputs`.

    Args:
        inputs: The arguments of the rule, by name.
        text: The completion.
        finish_reason: "length" if the decoding limit ended the text.
        format: One of `formats.FORMATS`.
        wording: One of `formats.WORDINGS`.

    Raises:
        ValueError: The format or wording is unknown.
    """
    for value, allowed, key in ((format, FORMATS, "format"), (wording, WORDINGS, "wording")):
        if value not in allowed:
            raise ValueError(f"{key}: allowed are {', '.join(allowed)}; got {value!r}")
    cut = finish_reason == "length"
    gold = Gold(task, inputs, format, wording)
    structure = structure_of(task.rule_source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a model may write text that Python warns about
        answer = parse_answer(text)
        answer_right = not cut and answer is not None and same_answer(answer, gold.answer)
        if format in ("direct", "scratchpad"):
            divergence = scratchpad.first_divergence(gold, text, cut, format == "scratchpad")
            passes = {}
        else:
            read = Text(task, text, gold)
            divergence = first_divergence(gold, read, structure, cut)
            passes = structure.passes(read.lines, gold.recited, gold.headings)
    return _diagnosis(gold, structure, divergence, passes, format, answer_right)


def _diagnosis(gold: Gold, structure: Structure, divergence: Divergence, passes: dict[int, int],
               format: str, answer_right: bool) -> Diagnosis:
    right = structure.gold_passes(gold.records)
    loops = tuple(Loop(line, gold.recited[line], passes.get(line), right[line])
                  for line in structure.loops)
    line = divergence.line
    return Diagnosis(
        kind=divergence.kind, step=divergence.step, line=line,
        code=gold.recited[line] if line else None,
        expected=divergence.expected, got=divergence.got, at=divergence.at, steps=len(gold.records),
        by_loop=loops, answer_right=answer_right,
        trace_right=None if format == "direct" else divergence.trace_right)


def annotate(text: str, diagnosis: Diagnosis, context: int | None = None) -> str:
    """A completion with its diagnosis at the first error, for a person to read and label.

    Args:
        context: The number of lines to show before and after the error; all lines if None. They
            are numbered as in `diagnosis.at`.
    """
    lines = text.split("\n")
    centre = diagnosis.at or len(lines)
    first, last = 1, len(lines)
    if context is not None:
        first, last = max(1, centre - context), min(len(lines), centre + context)
    shown = []
    for number in range(first, last + 1):
        wrong = number == diagnosis.at
        shown.append(f"{'>>' if wrong else '  '}{number:5d}  {lines[number - 1]}")
        if wrong:
            shown.append(f"   right:  {diagnosis.expected}")
    if diagnosis.step and diagnosis.at is None and last == len(lines):
        shown.append(f">>  end    right:  {diagnosis.expected}")
    step = f" at step {diagnosis.step}" if diagnosis.step else ""
    loops = ""
    if diagnosis.loops is not None:
        step = step and f"{step} of {diagnosis.steps}"
        loops = f"; passes through loops: {diagnosis.loops}, expected {diagnosis.gold_loops}"
    answer = "right" if diagnosis.answer_right else "not right"
    return "\n".join([f"{diagnosis.kind}{step}{loops}; the answer is {answer}", *shown])
