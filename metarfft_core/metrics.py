"""The figures of merit of the paper's Table 2, with intervals: pure functions.

Counts are `{length: (right, total)}` for one method on one task. An output that ran into its
decoding limit is not right; what else it is (cut, not wrong) stands with the stored rows.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from statistics import NormalDist, fmean

Counts = dict[int, tuple[int, int]]


def wilson(right: int, total: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a share: `right` of `total` samples, e.g. confidence 0.95."""
    if not 0 <= right <= total or total < 1:
        raise ValueError(f"expected 0 <= right <= total and total >= 1, got {right} of {total}")
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    share = right / total
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = math.sqrt(z2 * (share * (1 - share) / total + z2 / (4 * total**2))) / (1 + z2 / total)
    # The ends are exact where no sample or every sample is right; rounding would miss them.
    return (0.0 if right == 0 else centre - half, 1.0 if right == total else centre + half)


def accuracy_by_length(rows: Iterable[Mapping]) -> dict[tuple[str, str], Counts]:
    """Count the right ones among rows with method, task, length, outcome, in order of length.

    Returns {(method, task): {length: (right, total)}}.
    """
    cells: dict[tuple[str, str], Counts] = {}
    for row in rows:
        counts = cells.setdefault((row["method"], row["task"]), {})
        right, total = counts.get(row["length"], (0, 0))
        counts[row["length"]] = (right + (row["outcome"] == "right"), total + 1)
    return {key: dict(sorted(counts.items())) for key, counts in cells.items()}


def longest(tasks: list[Counts]) -> int:
    """The longest length that any of the tasks was evaluated at."""
    return max(length for counts in tasks for length in counts)


def acc_longest(tasks: list[Counts]) -> float:
    """Accuracy at the longest evaluated length, averaged over the tasks evaluated there.

    This is ACC_Len30 where that length is 30. A task whose samples of that length do not fit
    the model's context is not in the average.
    """
    length = longest(tasks)
    cells = [counts[length] for counts in tasks if length in counts]
    return fmean(right / total for right, total in cells)


def max_len_90(counts: Counts, prefix: bool = True) -> int:
    """The largest evaluated length with an accuracy of at least 90%; 0 where there is none.

    With `prefix`, the kit's reading of "keeps", every shorter evaluated length must reach 90%
    too; without it, a length counts wherever it stands.
    """
    best = 0
    for length in sorted(counts):
        right, total = counts[length]
        # In whole samples: 0.9 * 10 and the like are not exact as floating-point numbers.
        if 10 * right >= 9 * total:
            best = length
        elif prefix:
            break
    return best


def mean_max_len_90(tasks: list[Counts], prefix: bool = True) -> float:
    """Max_Len_90%: max_len_90 averaged over the tasks."""
    return fmean(max_len_90(counts, prefix) for counts in tasks)


def bootstrap(tasks: list[Counts], statistic: Callable[[list[Counts]], float], samples: int,
              confidence: float, seed: int) -> tuple[float, float]:
    """Percentile bootstrap interval of `statistic`: the samples of each cell are drawn anew.

    The tasks stay the same ones. A cell where every sample, or none, is right has no spread
    here; wilson() gives such a cell a width.
    """
    import numpy

    generator = numpy.random.default_rng(seed)
    cells = [(task, length, right, total) for task, counts in enumerate(tasks)
             for length, (right, total) in counts.items()]
    totals = numpy.array([total for *_, total in cells])
    shares = numpy.array([right for _, _, right, _ in cells]) / totals
    values = []
    for draw in generator.binomial(totals, shares, size=(samples, len(cells))).tolist():
        drawn: list[Counts] = [{} for _ in tasks]
        for (task, length, _, total), right in zip(cells, draw, strict=True):
            drawn[task][length] = (right, total)
        values.append(statistic(drawn))
    low, high = numpy.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
