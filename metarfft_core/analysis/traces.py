"""What stored traces and answers show of a method: replies to changed rules, luck, loop counts.

Functions of frames alone. `rows` are those of `evaluation.read`, `diagnosed` those of
`diagnoses.read`.
"""

import ast
from collections.abc import Collection
from typing import TYPE_CHECKING

from metarfft_core import tasks
from metarfft_core.evaluation import metrics
from metarfft_core.scoring import same_answer

_KEY = ["method", "task", "seed", "length", "index"]
_NO_DIVERGENCE = ("right", "cut", "format", "answer_not_from_trace")
"""The kinds of traces that do not leave their rule at a step that can be read."""

if TYPE_CHECKING:
    from pandas import DataFrame, Series

REPLIES = ("followed", "remembered", "neither", "cut", "no_answer", "the answers do not differ")
"""What a model may reply to a counterfactual question."""


def replies(rows: "DataFrame") -> "Series":
    """Classify the reply in each row of a counterfactual task.

    "followed" is the answer of the rule in the prompt, "remembered" that of the well-known rule.
    An output that has no answer or was cut keeps its outcome. If both rules give the same answer,
    the reply shows nothing.

    Args:
        rows: Rows with the columns task, inputs, gold_answer, answer and outcome.

    Returns:
        One of `REPLIES` for each row, with the index of the rows.
    """
    from pandas import Series

    return Series([_reply(row) for row in rows.itertuples()], rows.index, dtype=object,
                  name="reply")


def _reply(row) -> str:
    known = repr(tasks.get(row.task).base.rule.execute(ast.literal_eval(row.inputs)))
    if same_answer(row.gold_answer, known):
        return "the answers do not differ"
    if row.outcome in ("cut", "no_answer"):
        return row.outcome
    if row.outcome == "right":
        return "followed"
    return "remembered" if same_answer(row.answer, known) else "neither"


def luck(diagnosed: "DataFrame") -> "DataFrame":
    """Return the shares of right traces, right answers, and right answers with a wrong trace.

    The index is method and length; the columns are traces_right, answers_right and right_by_luck.
    """
    traces, answers = diagnosed["kind"] == "right", diagnosed["outcome"] == "right"
    shares = diagnosed.assign(traces_right=traces, answers_right=answers,
                              right_by_luck=answers & ~traces)
    return shares.groupby(["method", "length"])[
        ["traces_right", "answers_right", "right_by_luck"]].mean()


def example(rows: "DataFrame", diagnosed: "DataFrame") -> "Series | None":
    """The row to show as an error: the shortest trace that follows its rule and then leaves it.

    Its first step is right, a later one is wrong in a way that can be named, and its text is kept.
    Of traces of the same length, the first one by method, task, seed and index is taken. Returns
    None if there is no such trace.
    """
    leaving = diagnosed[~diagnosed["kind"].isin(_NO_DIVERGENCE) & (diagnosed["step"] > 1)]
    kept = rows[rows["text"].notna()].merge(leaving[_KEY])
    return None if kept.empty else kept.sort_values(["length", *_KEY], kind="stable").iloc[0]


def paired(diagnosed: "DataFrame", trained: Collection[int], samples: int, confidence: float,
           seed: int, first: str = "meta_rfft", other: str = "vanilla_rfft") -> "DataFrame":
    """Compare answers, passes through loops and whole traces of two methods, sample by sample.

    Each of the three is right or wrong. The function compares the first method with the other in
    each of them, and the answers of each method with its traces.

    Args:
        diagnosed: The rows of `diagnoses.read`. The tests are exact if the rows have one seed; see
            `metrics.compare` for several.
        trained: The lengths that are in distribution.
        samples: The number of bootstrap draws, used if there are several seeds.
        confidence: The level of the intervals, such as 0.95.
        seed: The seed of the bootstrap.
        first: The first method.
        other: The method that it is compared with.

    Returns:
        Two lines for each comparison, in and out of distribution. The columns are right and less
            (what is compared, such as "meta_rfft answers") and the fields of `metrics.Paired`. A
            comparison with a method that has no rows is left out.

    Raises:
        ValueError: If the two methods share no sample.
    """
    from pandas import DataFrame

    sides = [((first, what), (other, what)) for what in ("answers", "passes", "traces")]
    sides += [((method, "answers"), (method, "traces")) for method in (other, first)]
    there = set(diagnosed["method"])
    return DataFrame([
        {"right": " ".join(one), "less": " ".join(two), **line._asdict()}
        for one, two in sides if {one[0], two[0]} <= there
        for line in metrics.compare(_judged(diagnosed, *one), _judged(diagnosed, *two), trained,
                                    samples, confidence, seed)
        if line.group.endswith("distribution")],
        columns=["right", "less", *metrics.Paired._fields])


def _judged(diagnosed: "DataFrame", method: str, what: str) -> list[dict]:
    """Return a method's rows with the outcome of its answers, passes or traces."""
    rows = diagnosed[diagnosed["method"] == method]
    right = {"answers": rows["outcome"] == "right", "passes": rows["loops"] == rows["gold_loops"],
             "traces": rows["kind"] == "right"}[what]
    return rows.assign(outcome=right.map({True: "right", False: "wrong"})).to_dict("records")


def wrong_passes(diagnosed: "DataFrame", confidence: float) -> "DataFrame":
    """Count the wrong answers whose trace has a wrong number of passes through its loops.

    A cut trace counts with the passes that it has.

    Returns:
        A line for each task and method, in the order of the rows, with the share and its Wilson
            interval (from, to).
    """
    from pandas import DataFrame

    wrong = diagnosed[diagnosed["outcome"] != "right"]
    lines = []
    for (task, method), rows in wrong.groupby(["task", "method"], sort=False):
        astray = int((rows["loops"] != rows["gold_loops"]).sum())
        lines.append((task, method, astray, len(rows), astray / len(rows),
                      *metrics.wilson(astray, len(rows), confidence)))
    return DataFrame(lines, columns=["task", "method", "wrong passes", "of wrong answers", "share",
                                     "from", "to"])
