"""The rows of an evaluation, counted by cell and grouped by sample, by either score."""

from typing import TYPE_CHECKING

from metarfft_core import evaluation
from metarfft_core.evaluation import metrics
from metarfft_core.params import judged_twice

if TYPE_CHECKING:
    from pandas import DataFrame


def count(rows: "DataFrame") -> "DataFrame":
    """Count the rows of an evaluation: method, task, seed, length, the outcomes, total.

    For methods that are judged twice, right_lenient counts the right answers by the lenient score;
    it is missing where that is not known of every answer.
    """
    from pandas import DataFrame

    keys = ["method", "task", "seed", "length"]
    if rows.empty:
        return DataFrame(columns=[*keys, *evaluation.OUTCOMES, "total"])
    table = rows.groupby([*keys, "outcome"], sort=False).size().unstack(fill_value=0)
    table = table.reindex(columns=list(evaluation.OUTCOMES), fill_value=0)
    table = table.assign(total=table.sum(axis=1))
    twice = rows[rows["method"].map(judged_twice)]
    if not twice.empty:
        right = (twice["outcome_lenient"] == "right").astype(float)
        right = right.where(twice["outcome_lenient"].notna())
        table["right_lenient"] = right.groupby([twice[key] for key in keys]).agg(
            lambda answers: answers.sum(skipna=False))
    return table.reset_index().rename_axis(columns=None)


def answers(rows: "DataFrame") -> dict[tuple[str, str], metrics.Answers]:
    """Group the rows of an evaluation by method and task, sample by sample."""
    if rows.empty:
        return {}
    names = ["method", "task", "seed", "length", "index", "outcome"]
    columns = [rows[name].to_numpy(object) for name in names]  # a tenth of the time of to_dict
    return metrics.answers(dict(zip(names, row, strict=True))
                           for row in zip(*columns, strict=True))


def lenient_answers(rows: "DataFrame") -> dict[tuple[str, str], metrics.Answers]:
    """Group rows as `answers` does, by the lenient score, where it is known of every answer."""
    if rows.empty:
        return {}
    twice = rows[rows["method"].map(judged_twice)]
    known = twice.groupby(["method", "task"])["outcome_lenient"].transform(
        lambda outcomes: outcomes.notna().all()).astype(bool)
    kept = twice[known]
    return answers(kept.assign(outcome=kept["outcome_lenient"]))
