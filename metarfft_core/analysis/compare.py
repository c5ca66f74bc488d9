"""Compares two runs, from their folders alone.

`compare` covers the parameters one by one, the provenance in the manifests, the paper's figures of
merit (its Section 4) for every method, and the samples that only one of the runs answered rightly.
Unfinished parts are named and left out.
"""

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

from metarfft_core.analysis.run_folder import Row, RunFolder, facts, open_run
from metarfft_core.evaluation import metrics
from metarfft_core.params import Cell, Params
from metarfft_core.system.mappings import flat

ABSENT = "-"


class Figure(NamedTuple):
    """A figure of merit of one method in two runs, each value with its interval.

    Both values are computed over what the runs have in common: the same samples if `basis` is
    "paired", the same tasks and lengths if it is "unpaired". If a run does not have the method, or
    they have nothing in common, each value is over its own run and there is no difference.
    """

    method: str
    figure: str
    first: tuple[float, float, float] | None  # value, low, high
    other: tuple[float, float, float] | None
    difference: tuple[float, float, float] | None  # first less other
    basis: str  # "paired", "unpaired" or "-"
    samples: tuple[int, int]  # the number of answers that each value is computed from


@dataclass(frozen=True)
class Comparison:
    """A comparison of two runs; its texts are ready for display."""

    first: RunFolder
    other: RunFolder
    parameters: list[tuple[str, str, str]]  # only those that differ: key, first, other
    provenance: list[tuple[str, str, str]]  # all of it: name, first, other
    figures: list[Figure]
    pairs: list[tuple[str, metrics.Paired]]  # by method, over the samples that both answered
    cells: list[tuple[Cell, metrics.Paired]]  # over the samples of one length
    flips: list[Row]  # the samples that only one of the runs answered rightly


def compare(first: Params | str | os.PathLike, other: Params | str | os.PathLike) -> Comparison:
    """Compare two runs.

    Two samples are the same if task, length, index and prompt agree and both runs have the same
    seed. The first run's parameters decide the confidence and the draws of the intervals, and which
    lengths are in distribution.

    Args:
        first: A run, as `open_run` accepts it.
        other: Another run, as `open_run` accepts it.

    Raises:
        ParamsError: As `open_run` does, or if stored results were changed.
    """
    one, two = open_run(first), open_run(other)
    figures, pairs, cells, flips = [], [], [], []
    for method in dict.fromkeys([*one.rows, *two.rows]):
        rows = one.rows.get(method, []), two.rows.get(method, [])
        figures += _figures(one, method, *_common(rows, paired=one.seed == two.seed))
        if one.seed == two.seed:
            pairs += [(method, line) for line in _pairs(one, *rows)]
            cells += _cells(one, method, *rows)
            flips += _flips(*rows)
    return Comparison(one, two, _differing(one.parameters, two.parameters),
                      _provenance(one, two), figures, pairs, cells, flips)


def _differing(first: dict, other: dict) -> list[tuple[str, str, str]]:
    one, two = flat(first, lists=True), flat(other, lists=True)
    return [(key, *(_brief(leaves[key], others.get(key)) if key in leaves else ABSENT
                    for leaves, others in ((one, two), (two, one))))
            for key in one | two if key not in one or key not in two or one[key] != two[key]]


def _brief(value: Any, other: Any) -> str:
    """Format a parameter's value in short.

    Lengths are written as in a parameter file. Other lists omit most items that both runs share.
    """
    if not isinstance(value, list):
        return str(value)
    if value and all(isinstance(item, int) for item in value):
        whole = len(value) > 2 and value == list(range(value[0], value[-1] + 1))
        return f"{value[0]}-{value[-1]}" if whole else ", ".join(map(str, value))
    shared = [item for item in value if isinstance(other, list) and item in other]
    if len(shared) < 4 or shared == value:
        return ", ".join(map(str, value)) or "none"
    own = ", ".join(str(item) for item in value if item not in shared)
    return f"{own}, and {len(shared)} that both have"


def _provenance(first: RunFolder, other: RunFolder) -> list[tuple[str, str, str]]:
    one, two = facts(first), facts(other)
    return [(name, one.get(name, ABSENT), two.get(name, ABSENT)) for name in one | two]


_Rows = tuple[list[Row], list[Row]]


def _common(rows: _Rows, paired: bool) -> tuple[_Rows, str]:
    """Return the rows of both runs that can be compared, and on which basis."""
    for basis, key in (("paired", _sample), ("unpaired", lambda row: (row["task"], row["length"]))):
        if basis == "paired" and not paired:
            continue
        shared = set(map(key, rows[0])) & set(map(key, rows[1]))
        if shared:
            return tuple([row for row in side if key(row) in shared] for side in rows), basis
    return rows, ABSENT


def _sample(row: Row) -> tuple:
    return row["task"], row["length"], row["index"], row["prompt"]


def _figures(run: RunFolder, method: str, rows: _Rows, basis: str) -> list[Figure]:
    draws = (run.parameters["evaluation"]["bootstrap_samples"],
             run.parameters["evaluation"]["confidence"], run.seed)
    sides = [[answers for _, answers in sorted(metrics.answers(side).items())] for side in rows]
    samples, lines = tuple(map(len, rows)), []
    for name, statistic in _statistics(rows, basis):
        values = [(statistic(list(metrics.accuracy_by_length(side).values())),
                   *metrics.bootstrap_seeds(answers, statistic, *draws)) if answers else None
                  for side, answers in zip(rows, sides, strict=True)]
        difference = None
        if basis != ABSENT:
            difference = (values[0][0] - values[1][0], *metrics.bootstrap_difference(
                *sides, statistic, *draws, paired=basis == "paired"))
        lines.append(Figure(method, name, *values, difference, basis, samples))
    return lines


def _statistics(rows: _Rows, basis: str) -> list[tuple[str, metrics.Statistic]]:
    longest = [max((row["length"] for row in side), default=0) for side in rows]
    name = f"ACC_Len{max(longest)}"
    if basis == ABSENT and 0 not in longest and longest[0] != longest[1]:
        name = f"ACC_Len{longest[0]} and {longest[1]}"
    return [(name, metrics.acc_longest), ("Max_Len_90%", metrics.mean_max_len_90),
            ("accuracy, all lengths", metrics.accuracy)]


def _pairs(run: RunFolder, first: list[Row], other: list[Row]) -> list[metrics.Paired]:
    """Compare all samples that both answered, those in distribution and those out of it."""
    return [line for line in _lines(run, first, other) if not line.group.startswith("length")]


def _cells(run: RunFolder, method: str, first: list[Row],
           other: list[Row]) -> list[tuple[Cell, metrics.Paired]]:
    """Compare the samples that both answered with a method, for each task, seed and length."""
    cells = []
    for task, seed in dict.fromkeys((row["task"], row["seed"]) for row in first):
        sides = [[row for row in side if (row["task"], row["seed"]) == (task, seed)]
                 for side in (first, other)]
        cells += [(Cell(method, task, seed), line) for line in _lines(run, *sides)
                  if line.group.startswith("length")]
    return cells


def _lines(run: RunFolder, first: list[Row], other: list[Row]) -> list[metrics.Paired]:
    shared = set(map(_key, first)) & set(map(_key, other))
    sides = [[row for row in side if _key(row) in shared] for side in (first, other)]
    if not sides[0]:
        return []
    settings = run.parameters["evaluation"]
    return metrics.compare(*sides, run.parameters["corpus"]["adaptation"]["lengths"],
                           settings["bootstrap_samples"], settings["confidence"], run.seed)


def _key(row: Row) -> tuple:
    return *_sample(row), row["seed"]


def _flips(first: list[Row], other: list[Row]) -> list[Row]:
    before, flips = {_key(row): row for row in first}, []
    for row in other:
        old = before.get(_key(row))
        if old is None or (old["outcome"] == "right") == (row["outcome"] == "right"):
            continue
        flips.append({
            **{key: row[key] for key in ("method", "task", "seed", "length", "index")},
            "flip": "right -> wrong" if old["outcome"] == "right" else "wrong -> right",
            "gold_answer": row["gold_answer"],
            "first_outcome": old["outcome"], "first_answer": old["answer"],
            "other_outcome": row["outcome"], "other_answer": row["answer"]})
    return sorted(flips, key=lambda flip: (flip["task"], flip["seed"], flip["length"],
                                           flip["index"]))
