"""The figures of merit of the paper's Section 4 and Table 2, with intervals: pure functions.

Counts are `{length: (right, total)}` for one method on one task, over all its seeds. An output that
reached its decoding limit is not right; the stored rows call it cut, not wrong. docs/metrics.md
defines each figure and says what its interval is worth.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

Counts = dict[int, tuple[int, int]]


class Grid(NamedTuple):
    """The counts of several tasks as arrays; the first axis of `right` may be bootstrap draws."""

    lengths: np.ndarray  # (lengths,), ascending
    right: np.ndarray  # (..., tasks, lengths)
    total: np.ndarray  # (tasks, lengths); 0 if a task was not evaluated at a length


@dataclass(frozen=True)
class Answers:
    """Which samples a method answered rightly on one task, for each seed of its training."""

    seeds: tuple[int, ...]
    indices: dict[int, tuple[int, ...]]  # by length, ascending
    right: dict[int, np.ndarray]  # by length: bool, (seeds, samples) in the order of the indices

    @property
    def counts(self) -> Counts:
        """The counts over all seeds."""
        return {length: (int(cell.sum()), cell.size) for length, cell in self.right.items()}


class Paired(NamedTuple):
    """Two methods on the same samples: counts of pairs, and the difference of their accuracies.

    `difference` is the first's accuracy less the other's. `p` is that of the exact two-sided
    McNemar test. It is None with several seeds, because the answers to one sample are not
    independent.
    """

    group: str  # "all", "in distribution", "out of distribution", "length 1", ...
    both: int  # pairs that both answered rightly
    first: int  # only the first method
    other: int  # only the other method
    neither: int
    difference: float
    low: float
    high: float
    p: float | None


Statistic = Callable[[list[Counts] | Grid], float | np.ndarray]
"""A figure of merit: a number for counts, an array over the draws for a Grid with draws."""


@lru_cache(maxsize=4096)
def wilson(right: int, total: int, confidence: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share, `right` of `total`, e.g. at confidence 0.95."""
    if not 0 <= right <= total or total < 1:
        raise ValueError(f"expected 0 <= right <= total and total >= 1, got {right} of {total}")
    from scipy.stats import binomtest  # takes half a second to import

    interval = binomtest(right, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def accuracy_by_length(rows: Iterable[Mapping]) -> dict[tuple[str, str], Counts]:
    """Count the right answers among rows with method, task, length and outcome.

    Returns {(method, task): {length: (right, total)}}, in order of length. Seeds are counted
    together.
    """
    cells: dict[tuple[str, str], Counts] = {}
    for row in rows:
        counts = cells.setdefault((row["method"], row["task"]), {})
        right, total = counts.get(row["length"], (0, 0))
        counts[row["length"]] = (right + (row["outcome"] == "right"), total + 1)
    return {key: dict(sorted(counts.items())) for key, counts in cells.items()}


def by_seed(rows: Iterable[Mapping]) -> dict[tuple[str, str], dict[int, Counts]]:
    """Return `accuracy_by_length` by seed: {(method, task): {seed: {length: (right, total)}}}."""
    parts: dict[int, list[Mapping]] = {}
    for row in rows:
        parts.setdefault(row["seed"], []).append(row)
    cells: dict[tuple[str, str], dict[int, Counts]] = {}
    for seed in sorted(parts):
        for key, counts in accuracy_by_length(parts[seed]).items():
            cells.setdefault(key, {})[seed] = counts
    return cells


def answers(rows: Iterable[Mapping]) -> dict[tuple[str, str], Answers]:
    """Group rows (method, task, seed, length, index, outcome) by method and task, sample by sample.

    Raises:
        ValueError: If the seeds of a cell did not answer the same samples once each.
    """
    cells: dict[tuple[str, str], dict[int, dict[tuple[int, int], bool]]] = {}
    for row in rows:
        key, sample = (row["method"], row["task"]), (row["length"], row["index"])
        found = cells.setdefault(key, {}).setdefault(row["seed"], {})
        if sample in found:
            raise ValueError(f"{key[0]} on {key[1]}, seed {row['seed']}: length {sample[0]}, index "
                             f"{sample[1]} occurs twice")
        found[sample] = row["outcome"] == "right"
    return {key: _answers(f"{key[0]} on {key[1]}", found) for key, found in cells.items()}


def _answers(name: str, found: dict[int, dict[tuple[int, int], bool]]) -> Answers:
    seeds = tuple(sorted(found))
    for seed in seeds[1:]:
        if found[seed].keys() != found[seeds[0]].keys():
            raise ValueError(f"{name}: seeds {seeds[0]} and {seed} answered different samples")
    indices: dict[int, list[int]] = {}
    for length, index in sorted(found[seeds[0]]):
        indices.setdefault(length, []).append(index)
    right = {length: np.array([[found[seed][length, index] for index in one] for seed in seeds])
             for length, one in indices.items()}
    return Answers(seeds, {length: tuple(one) for length, one in indices.items()}, right)


def longest(tasks: list[Counts]) -> int:
    """Return the longest length that any of the tasks was evaluated at."""
    return max(length for counts in tasks for length in counts)


def accuracy(tasks: list[Counts] | Grid) -> float | np.ndarray:
    """Return the share of right answers among all samples of all tasks and lengths together."""
    grid = _grid(tasks)
    return _plain(grid.right.sum(axis=(-2, -1)) / grid.total.sum())


def acc_longest(tasks: list[Counts] | Grid) -> float | np.ndarray:
    """Return the accuracy at the longest evaluated length, averaged over the tasks evaluated there.

    This is ACC_Len30 if that length is 30. The average omits a task whose samples of that length do
    not fit the model's context.
    """
    grid = _grid(tasks)
    there = grid.total[:, -1] > 0
    return _plain((grid.right[..., there, -1] / grid.total[there, -1]).mean(axis=-1))


def max_len_90(counts: Counts, prefix: bool = True) -> int:
    """Return the largest evaluated length with an accuracy of at least 90%; 0 if there is none.

    With `prefix`, the kit's reading of "keeps", every shorter evaluated length must also reach 90%.
    Without it, only the length itself must.
    """
    best = 0
    for length in sorted(counts):
        right, total = counts[length]
        # Compare whole samples: products such as 0.9 * 10 are not exact in floating point.
        if 10 * right >= 9 * total:
            best = length
        elif prefix:
            break
    return best


def mean_max_len_90(tasks: list[Counts] | Grid, prefix: bool = True) -> float | np.ndarray:
    """Return Max_Len_90%: max_len_90 averaged over the tasks."""
    grid = _grid(tasks)
    reached = 10 * grid.right >= 9 * grid.total  # also true if a length was not evaluated
    if prefix:
        reached = np.logical_and.accumulate(reached, axis=-1)
    reached = reached & (grid.total > 0)
    return _plain((reached * grid.lengths).max(axis=-1).mean(axis=-1))


def readings_that_differ(cells: Mapping[tuple[str, str], Counts]
                         ) -> dict[tuple[str, str], tuple[int, int]]:
    """Return {(method, task): (prefix, anywhere)} if the readings of Max_Len_90% differ."""
    both = {key: (max_len_90(counts), max_len_90(counts, prefix=False))
            for key, counts in cells.items()}
    return {key: pair for key, pair in both.items() if pair[0] != pair[1]}


def bootstrap(tasks: list[Counts], statistic: Statistic, samples: int,
              confidence: float, seed: int) -> tuple[float, float]:
    """Return the percentile bootstrap interval of `statistic`; redraws the samples of each cell.

    The tasks stay the same. A cell in which every sample, or none, is right has no spread here;
    wilson() gives such a cell a width.
    """
    generator = np.random.default_rng(seed)
    grid = _grid(tasks)
    there = grid.total > 0
    totals = grid.total[there]
    right = np.zeros((samples, *there.shape), dtype=np.int64)
    right[:, there] = generator.binomial(totals, grid.right[there] / totals,
                                         size=(samples, len(totals)))
    return _interval(statistic(grid._replace(right=right)), confidence)


def bootstrap_seeds(tasks: list[Answers], statistic: Statistic, samples: int,
                    confidence: float, seed: int) -> tuple[float, float]:
    """Return the percentile bootstrap interval of `statistic`, over the seeds and the samples.

    The seeds of each task are drawn with replacement, then the samples of each cell. Every drawn
    seed gets the same samples, because all seeds answered the same ones. If every task has one
    seed, this is `bootstrap`.
    """
    if all(len(answered.seeds) == 1 for answered in tasks):
        counts = [answered.counts for answered in tasks]
        return bootstrap(counts, statistic, samples, confidence, seed)
    generator = np.random.default_rng(seed)
    drawn = [_redraw(generator, [answered], samples)[0] for answered in tasks]
    return _interval(statistic(_drawn_grid(tasks, drawn)), confidence)


def bootstrap_difference(first: list[Answers], other: list[Answers], statistic: Statistic,
                         samples: int, confidence: float, seed: int,
                         paired: bool = True) -> tuple[float, float]:
    """Return the interval of `statistic` of `first` less that of `other`, over the same tasks.

    It draws as `bootstrap_seeds` does. If `paired`, each draw takes the same samples for both. The
    seeds are drawn for each separately, because each training is an independent event.

    Raises:
        ValueError: If `paired` and the two did not answer the same samples.
    """
    generator = np.random.default_rng(seed)
    drawn = []
    for one, two in zip(first, other, strict=True):
        if not paired:
            drawn.append([_redraw(generator, [each], samples)[0] for each in (one, two)])
        elif one.indices != two.indices:
            raise ValueError("the two did not answer the same samples, so they cannot be paired")
        else:
            drawn.append(_redraw(generator, [one, two], samples))
    values = [statistic(_drawn_grid(tasks, [pair[side] for pair in drawn]))
              for side, tasks in enumerate((first, other))]
    return _interval(values[0] - values[1], confidence)


def _redraw(generator: np.random.Generator, group: list[Answers],
            draws: int) -> list[np.ndarray]:
    """Draw the seeds of each member of the group, and the samples of all of them together.

    Returns the right answers of each, (draws, lengths). Samples with the same pattern of right and
    wrong over all seeds are equivalent, so only their numbers are drawn.
    """
    lengths = group[0].right
    stacked = {length: np.concatenate([member.right[length] for member in group])
               for length in lengths}
    totals = np.array([cell.shape[1] for cell in stacked.values()])
    patterns, which = np.unique(np.concatenate(list(stacked.values()), axis=1), axis=1,
                                return_inverse=True)
    counts = np.array([np.bincount(cell, minlength=patterns.shape[1])
                       for cell in np.split(which.ravel(), np.cumsum(totals)[:-1])])
    drawn = generator.multinomial(totals, counts / totals[:, None], size=(draws, len(totals)))
    ends = np.cumsum([len(member.seeds) for member in group])[:-1]
    right = []
    for seeds in np.split(patterns.astype(np.int64), ends):
        times = generator.multinomial(len(seeds), [1 / len(seeds)] * len(seeds), size=draws)
        right.append(np.einsum("dlp,dp->dl", drawn, times @ seeds))
    return right


def _drawn_grid(tasks: list[Answers], drawn: list[np.ndarray]) -> Grid:
    """Return the grid of drawn answers; `drawn` has an array (draws, its lengths) for each task."""
    grid = _grid([answered.counts for answered in tasks])
    right = np.zeros((len(drawn[0]), *grid.total.shape), dtype=np.int64)
    for task, counts in enumerate(drawn):
        right[:, task, grid.total[task] > 0] = counts
    return grid._replace(right=right)


def _grid(tasks: list[Counts] | Grid) -> Grid:
    if isinstance(tasks, Grid):
        return tasks
    lengths = sorted({length for counts in tasks for length in counts})
    cells = np.array([[counts.get(length, (0, 0)) for length in lengths] for counts in tasks])
    return Grid(np.array(lengths), cells[..., 0], cells[..., 1])


def _plain(value: np.ndarray) -> float | np.ndarray:
    return float(value) if value.ndim == 0 else value


def _interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def compare(first: Iterable[Mapping], other: Iterable[Mapping], trained: Collection[int],
            samples: int, confidence: float, seed: int) -> list[Paired]:
    """Compare two methods on the samples (task, length, index, seed) that both have rows of.

    The interval is Newcombe's. With several seeds it is `bootstrap_difference` with `samples`
    draws.

    Returns:
        A line for all samples, one for the lengths in `trained` and one for the others (if there
            are any), and one for each length.

    Raises:
        ValueError: If they share no sample.
    """
    pairs = _pairs(first, other)
    lengths = sorted({key[1] for key in pairs})
    groups = {"all": lengths,
              "in distribution": [length for length in lengths if length in trained],
              "out of distribution": [length for length in lengths if length not in trained],
              **{f"length {length}": [length] for length in lengths}}
    several = len({(task, seed) for task, _, _, seed in pairs}) > len({key[0] for key in pairs})
    lines = []
    for name, members in groups.items():
        group = {key: pair for key, pair in pairs.items() if key[1] in members}
        if not group:
            continue
        counts = Counter(group.values())
        table = [counts[pair] for pair in ((True, True), (True, False), (False, True),
                                           (False, False))]
        if several:
            interval = bootstrap_difference(*_sides(group), accuracy, samples, confidence, seed)
        else:
            interval = newcombe(*table, confidence)
        lines.append(Paired(name, *table, (table[1] - table[2]) / len(group), *interval,
                            None if several else mcnemar(table[1], table[2])))
    return lines


_Key = tuple[str, int, int, int]  # task, length, index, seed


def _pairs(first: Iterable[Mapping], other: Iterable[Mapping]) -> dict[_Key, tuple[bool, bool]]:
    sides: list[dict[_Key, bool]] = []
    for rows in (first, other):
        side: dict[_Key, bool] = {}
        for row in rows:
            key = (row["task"], row["length"], row["index"], row["seed"])
            if key in side:
                raise ValueError("expected one row for a task, length, index and seed, "
                                 f"got two for {key}")
            side[key] = row["outcome"] == "right"
        sides.append(side)
    shared = {key: (right, sides[1][key]) for key, right in sides[0].items() if key in sides[1]}
    if not shared:
        raise ValueError("the two answered no sample (task, length, index, seed) in common")
    return shared


def _sides(pairs: dict[_Key, tuple[bool, bool]]) -> list[list[Answers]]:
    """Return the pairs as the answers of the first method and of the other one, task by task."""
    sides = []
    for side in (0, 1):
        rows = [{"method": "", "task": task, "length": length, "index": index, "seed": seed,
                 "outcome": "right" if pair[side] else "wrong"}
                for (task, length, index, seed), pair in pairs.items()]
        sides.append([found for _, found in sorted(answers(rows).items())])
    return sides


def newcombe(both: int, first: int, other: int, neither: int,
             confidence: float) -> tuple[float, float]:
    """Return Newcombe's score interval of the difference of two paired shares, first less other.

    The arguments are the counts of `Paired`. This is method 10 of Newcombe (1998), "Improved
    confidence intervals for the difference between binomial proportions based on paired data".
    """
    total = both + first + other + neither
    one, two = (both + first) / total, (both + other) / total
    low_1, high_1 = wilson(both + first, total, confidence)
    low_2, high_2 = wilson(both + other, total, confidence)
    margins = (both + first) * (other + neither) * (both + other) * (first + neither)
    covariance = both * neither - first * other
    if covariance > 0:
        covariance = max(covariance - total / 2, 0)
    phi = covariance / math.sqrt(margins) if margins else 0.0

    def distance(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))

    return (one - two - distance(one - low_1, high_2 - two),
            one - two + distance(high_1 - one, two - low_2))


def mcnemar(first: int, other: int) -> float:
    """Return the exact two-sided p of McNemar's test.

    The arguments count the pairs that only the first, or only the other, answered rightly.
    """
    from scipy.stats import binomtest

    return float(binomtest(first, first + other).pvalue) if first + other else 1.0
