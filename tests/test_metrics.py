"""Metrics, against published values, exact fractions and brute force."""

import math
import random
from collections import Counter
from fractions import Fraction
from itertools import product
from statistics import NormalDist, fmean

import numpy as np
import pytest

from metarfft_core.evaluation import metrics


@pytest.mark.parametrize(("right", "total", "low", "high"), [
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718)])
def test_wilson_gives_the_published_intervals(right, total, low, high):
    """The 95% intervals are the score intervals in Newcombe (1998), who gives four decimals."""
    assert metrics.wilson(right, total, 0.95) == pytest.approx((low, high), abs=0.5e-4)


def test_wilson_ends_solve_the_score_equation():
    """At each end the observed share lies exactly z standard errors from the end."""
    for right, total in product(range(1, 12), (12, 13, 50, 100)):
        for end in metrics.wilson(right, total, 0.95):
            distance = abs(right / total - end) / math.sqrt(end * (1 - end) / total)
            assert distance == pytest.approx(1.959963984540054)


def test_wilson_includes_what_was_observed_at_the_borders():
    """No right sample gives an interval from exactly 0, all right one to exactly 1."""
    for total in range(1, 200):
        assert metrics.wilson(0, total, 0.95)[0] == 0.0
        assert metrics.wilson(total, total, 0.95)[1] == 1.0


@pytest.mark.parametrize(("right", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(right, total):
    """Counts that cannot be are an error that names them."""
    with pytest.raises(ValueError, match=f"{right} of {total}"):
        metrics.wilson(right, total, 0.95)


def _rows(outcomes):
    return [{"method": "direct", "task": "a", "length": length, "outcome": outcome}
            for length, outcome in outcomes]


def test_accuracy_counts_cut_and_missing_answers_as_not_right():
    """Every outcome is in the total, only "right" is right, and lengths come in order."""
    rows = _rows([(3, "right"), (1, "right"), (1, "cut"), (1, "wrong"), (1, "no_answer")])
    counts = metrics.accuracy_by_length(rows)
    assert counts == {("direct", "a"): {1: (1, 4), 3: (1, 1)}}
    assert list(counts["direct", "a"]) == [1, 3]


def test_accuracy_at_the_longest_length_is_the_mean_over_tasks():
    """Each task counts the same, however many samples it has; one without that length is out."""
    tasks = [{1: (4, 4), 30: (1, 4)}, {1: (0, 9), 30: (9, 10)}, {1: (5, 5)}]
    assert metrics.longest(tasks) == 30
    assert metrics.acc_longest(tasks) == pytest.approx((0.25 + 0.9) / 2)


@pytest.mark.parametrize(("counts", "prefix", "anywhere"), [
    ({1: (10, 10), 2: (9, 10), 3: (8, 10)}, 2, 2),
    ({1: (10, 10), 2: (8, 10), 3: (9, 10)}, 1, 3),
    ({1: (8, 10), 2: (10, 10)}, 0, 2),
    ({1: (0, 10)}, 0, 0),
    ({1: (27, 30), 4: (27, 30), 6: (26, 30)}, 4, 4),
    ({5: (100, 100), 1: (90, 100), 3: (89, 100)}, 1, 5)])
def test_max_len_90_reads_both_ways(counts, prefix, anywhere):
    """The default asks 90% of every evaluated length up to it, the other of that length alone."""
    assert metrics.max_len_90(counts) == prefix
    assert metrics.max_len_90(counts, prefix=False) == anywhere


def test_max_len_90_is_its_definition():
    """Over random counts the result is what the definition says in exact fractions."""
    draw = random.Random(0)
    for _ in range(500):
        total = draw.choice([8, 10, 30, 100])
        counts = {length: (draw.randint(total * 4 // 5, total), total)
                  for length in draw.sample(range(1, 31), draw.randint(1, 8))}
        good = {length for length, (right, all_) in counts.items()
                if Fraction(right, all_) >= Fraction(9, 10)}
        kept = [length for length in counts if all(one in good for one in counts if one <= length)]
        assert metrics.max_len_90(counts) == max(kept, default=0)
        assert metrics.max_len_90(counts, prefix=False) == max(good, default=0)


def test_mean_max_len_90_averages_the_tasks():
    """One task that keeps 90% to length 4 and one that never does average 2."""
    tasks = [{2: (9, 10), 4: (10, 10)}, {2: (1, 10), 4: (10, 10)}]
    assert metrics.mean_max_len_90(tasks) == 2
    assert metrics.mean_max_len_90(tasks, prefix=False) == 4


def test_bootstrap_is_the_binomial_interval_for_one_cell():
    """For one cell the interval holds the binomial quantiles, which are exactly known."""
    right, total = 60, 100
    weights = [math.comb(total, k) * 0.6**k * 0.4**(total - k) for k in range(total + 1)]
    quantiles = [min(k for k in range(total + 1) if sum(weights[:k + 1]) >= q)
                 for q in (0.025, 0.975)]
    low, high = metrics.bootstrap([{30: (right, total)}], metrics.acc_longest, 20000, 0.95, seed=0)
    # Of 20,000 draws a quantile may be the next count.
    assert abs(round(low * total) - quantiles[0]) <= 1
    assert abs(round(high * total) - quantiles[1]) <= 1


def test_bootstrap_depends_on_the_seed_alone():
    """The same seed gives the same interval, another seed another one."""
    tasks = [{1: (70, 100), 30: (333, 1000)}, {30: (500, 999)}]
    intervals = [metrics.bootstrap(tasks, metrics.acc_longest, 200, 0.9, seed)
                 for seed in (1, 1, 2)]
    assert intervals[0] == intervals[1] != intervals[2]


def test_bootstrap_of_max_len_90_knows_its_uncertainty():
    """A length just at 90% is reached in some draws and missed in others."""
    interval = metrics.bootstrap([{1: (100, 100), 2: (90, 100), 3: (0, 100)}],
                                 metrics.mean_max_len_90, 500, 0.95, seed=0)
    assert interval == (1.0, 2.0)


def test_wilson_covers_the_true_accuracy_of_100_samples():
    """At each accuracy from 0.1 to 0.9 the exact coverage of the 95% interval is 93% to 97%."""
    for tenth in range(1, 10):
        accuracy, covered = tenth / 10, 0.0
        for right in range(101):
            low, high = metrics.wilson(right, 100, 0.95)
            if low <= accuracy <= high:
                covered += math.comb(100, right) * accuracy**right * (1 - accuracy)**(100 - right)
        assert 0.93 <= covered <= 0.97


TRUE = {("direct", "a"): {0: [10, 9, 3, 10], 1: [10, 9, 8, 0]},
        ("direct", "b"): {0: [9, 10, 9, 0], 1: [9, 10, 9, 0]},
        ("meta_rfft", "a"): {0: [10, 10, 10, 9], 1: [10, 10, 8, 9]},
        ("meta_rfft", "b"): {0: [10, 0, 10, 10], 1: [10, 9, 10, 10]}}
"""Right ones of 10 samples at the lengths 1, 2, 3 and 5 of a made-up run, by seed."""


@pytest.fixture(scope="module")
def rows():
    """The rows of the made-up run: which samples are right, and their order, are drawn."""
    draw = random.Random(0)
    rows = []
    for (method, task), seeds in TRUE.items():
        for seed, counts in seeds.items():
            for length, right in zip((1, 2, 3, 5), counts, strict=True):
                chosen = draw.sample(range(10), right)
                rows += [{"method": method, "task": task, "seed": seed, "length": length,
                          "index": index, "outcome": "right" if index in chosen else
                          draw.choice(["wrong", "no_answer", "cut"])} for index in range(10)]
    draw.shuffle(rows)
    return rows


def _of(cells, method):
    return [cells[method, task] for task in ("a", "b")]


def test_every_figure_of_a_made_up_run_is_the_true_one(rows):
    """Counts, accuracies and both readings are those that the run was made with."""
    cells = metrics.accuracy_by_length(rows)
    assert cells == {key: {length: (seeds[0][at] + seeds[1][at], 20)
                           for at, length in enumerate((1, 2, 3, 5))}
                     for key, seeds in TRUE.items()}
    assert metrics.accuracy(_of(cells, "direct")) == 115 / 160
    assert metrics.acc_longest(_of(cells, "direct")) == (10 / 20 + 0 / 20) / 2
    assert metrics.acc_longest(_of(cells, "meta_rfft")) == (18 / 20 + 20 / 20) / 2
    assert metrics.mean_max_len_90(_of(cells, "direct")) == (2 + 3) / 2
    assert metrics.mean_max_len_90(_of(cells, "meta_rfft")) == (5 + 1) / 2
    assert metrics.mean_max_len_90(_of(cells, "meta_rfft"), prefix=False) == 5
    assert metrics.readings_that_differ(cells) == {("meta_rfft", "b"): (1, 5)}


def test_seeds_are_counted_apart(rows):
    """Each seed has its own counts, and with one seed they are those of all rows."""
    cells = metrics.by_seed(rows)
    assert cells == {key: {seed: dict(zip((1, 2, 3, 5), ((right, 10) for right in counts),
                                          strict=True)) for seed, counts in seeds.items()}
                     for key, seeds in TRUE.items()}
    one = [row for row in rows if row["seed"] == 1]
    assert metrics.accuracy_by_length(one) == {key: seeds[1] for key, seeds in cells.items()}


def test_answers_hold_each_sample(rows):
    """Every answer is at its seed and index, and counted they are the counts."""
    answers = metrics.answers(rows)
    for row in rows:
        found = answers[row["method"], row["task"]]
        place = found.seeds.index(row["seed"]), found.indices[row["length"]].index(row["index"])
        assert found.right[row["length"]][place] == (row["outcome"] == "right")
    cells = metrics.accuracy_by_length(rows)
    assert {key: found.counts for key, found in answers.items()} == cells


def test_answers_refuse_a_sample_that_occurs_twice_or_lacks(rows):
    """A row that occurs twice, or that one seed alone has, is an error that names it."""
    with pytest.raises(ValueError, match=f"length {rows[0]['length']}, index .* occurs twice"):
        metrics.answers([*rows, rows[0]])
    with pytest.raises(ValueError, match="seeds 0 and 1 answered different samples"):
        metrics.answers(rows[1:])


def test_figures_of_many_draws_are_those_of_each():
    """A grid with draws gives what each draw alone gives, where tasks lack lengths too."""
    draw = np.random.default_rng(0)
    total = np.array([[10, 10, 0, 10, 10], [10, 10, 10, 0, 0], [0, 10, 10, 10, 10]])
    right = draw.binomial(total, 0.92, size=(50, *total.shape))
    grid = metrics.Grid(np.array([1, 2, 4, 7, 9]), right, total)
    each = [[{int(length): (int(one), int(all_)) for length, one, all_
              in zip(grid.lengths, counts, totals, strict=True) if all_}
             for counts, totals in zip(drawn, total, strict=True)] for drawn in right]
    for statistic in (metrics.acc_longest, metrics.mean_max_len_90, metrics.accuracy):
        assert statistic(grid) == pytest.approx([statistic(tasks) for tasks in each])
    for prefix in (True, False):
        assert metrics.mean_max_len_90(grid, prefix) == pytest.approx(
            [fmean(metrics.max_len_90(counts, prefix) for counts in tasks) for tasks in each])


def _answers(*right):
    """Answers at length 1 alone: a list for each seed."""
    cell = np.array(right, dtype=bool)
    return metrics.Answers(tuple(range(len(right))), {1: tuple(range(cell.shape[1]))}, {1: cell})


def _drawn(bootstrap):
    """The accuracies that a bootstrap draws, by calling it with a statistic that keeps them."""
    kept = []

    def statistic(grid):
        kept.append(metrics.accuracy(grid))
        return kept[-1]

    bootstrap(statistic)
    return kept


def _shares(values):
    """How often each value occurs; equal ones are told apart by rounding no more."""
    counts = Counter(round(float(value), 9) for value in values)
    return {value: count / counts.total() for value, count in counts.items()}


def _chance(draws):
    """How far a share of so many draws may be from the true one: four standard errors, at most."""
    return 4 * 0.5 / math.sqrt(draws)


def test_bootstrap_over_seeds_draws_what_it_says():
    """The draws are spread as in the full list of them: seeds, then samples the same for all."""
    cell = np.array([[1, 1, 0], [0, 1, 0]])
    exact = _shares([cell[np.ix_(seeds, samples)].mean()
                     for seeds in product(range(2), repeat=2)
                     for samples in product(range(3), repeat=3)])
    [drawn] = _drawn(lambda statistic: metrics.bootstrap_seeds(
        [_answers(*cell)], statistic, 100000, 0.95, seed=0))
    found = _shares(drawn)
    assert found.keys() == exact.keys()
    assert found == pytest.approx(exact, abs=_chance(100000))


def test_bootstrap_over_one_seed_is_the_bootstrap_over_samples(rows):
    """With one seed everywhere the interval is that of the counts, to the last digit."""
    found = metrics.answers(row for row in rows if row["seed"] == 0)
    tasks = _of(found, "direct")
    for statistic in (metrics.acc_longest, metrics.mean_max_len_90):
        assert (metrics.bootstrap_seeds(tasks, statistic, 300, 0.9, seed=3)
                == metrics.bootstrap([one.counts for one in tasks], statistic, 300, 0.9, seed=3))


def test_bootstrap_over_seeds_sees_that_they_differ():
    """Two seeds that are all right and all wrong leave everything open; samples alone do not."""
    tasks = [_answers([1] * 100, [0] * 100)]
    assert metrics.bootstrap_seeds(tasks, metrics.accuracy, 1000, 0.95, seed=0) == (0, 1)
    low, high = metrics.bootstrap([tasks[0].counts], metrics.accuracy, 1000, 0.95, seed=0)
    assert 0.4 < low < high < 0.6


@pytest.mark.parametrize("paired", [True, False])
def test_bootstrap_of_a_difference_draws_the_same_samples_for_both(paired):
    """Paired, each draw takes the same samples for both; otherwise each takes its own."""
    one, two = np.array([1, 1, 0]), np.array([0, 1, 0])
    draws = list(product(range(3), repeat=3))
    exact = _shares([one[list(samples)].mean() - two[list(other)].mean()
                     for samples in draws for other in ([samples] if paired else draws)])
    first, other = _drawn(lambda statistic: metrics.bootstrap_difference(
        [_answers(one)], [_answers(two)], statistic, 20000, 0.95, seed=0, paired=paired))
    assert _shares(first - other) == pytest.approx(exact, abs=_chance(20000))


def test_bootstrap_of_a_difference_refuses_samples_that_differ():
    """What was not asked the same questions cannot be paired."""
    with pytest.raises(ValueError, match="the same samples"):
        metrics.bootstrap_difference([_answers([1, 0])], [_answers([1, 0, 0])], metrics.accuracy,
                                     10, 0.95, seed=0)


@pytest.mark.parametrize(("table", "low", "high"), [
    ((36, 12, 2, 0), 0.0569, 0.3404), ((1, 1, 7, 12), -0.507, -0.026)])
def test_newcombe_gives_the_published_intervals(table, low, high):
    """The 95% intervals are those in Newcombe (1998) and in Fagerland et al. (2014), who give three
    decimals or four."""
    assert metrics.newcombe(*table, 0.95) == pytest.approx((low, high), abs=0.5e-3)


def test_newcombe_is_turned_around_with_the_methods():
    """The interval of the other less the first is the negative one, and holds the difference."""
    draw = random.Random(0)
    for _ in range(300):
        both, first, other, neither = (draw.choice([0, 1, 5, 40, 300]) for _ in range(4))
        if both + first + other + neither == 0:
            continue
        low, high = metrics.newcombe(both, first, other, neither, 0.95)
        assert metrics.newcombe(both, other, first, neither, 0.95) == pytest.approx((-high, -low))
        assert low <= (first - other) / (both + first + other + neither) <= high


@pytest.mark.parametrize("shares", [(0.4, 0.2, 0.1, 0.3), (0.7, 0.2, 0.05, 0.05),
                                    (0.25, 0.25, 0.25, 0.25)])
def test_newcombe_covers_the_true_difference(shares):
    """Over every table of 30 pairs the exact coverage of the 95% interval is 93% to 98%."""
    covered = 0.0
    for both, first, other in product(range(31), repeat=3):
        neither = 30 - both - first - other
        if neither < 0:
            continue
        low, high = metrics.newcombe(both, first, other, neither, 0.95)
        if low <= shares[1] - shares[2] <= high:
            ways = (math.factorial(30) // math.factorial(both) // math.factorial(first)
                    // math.factorial(other) // math.factorial(neither))
            covered += ways * math.prod(share**count for share, count in zip(
                shares, (both, first, other, neither), strict=True))
    assert 0.93 <= covered <= 0.98


def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs():
    """p is the probability of what is at least as one-sided, over all ways to part the pairs."""
    for first, other in product(range(7), repeat=2):
        ways = [sum(way) for way in product((0, 1), repeat=first + other)]
        extreme = sum(abs(2 * one - first - other) >= abs(first - other) for one in ways)
        assert metrics.mcnemar(first, other) == pytest.approx(extreme / len(ways))
    # Of many pairs by the normal distribution, corrected for continuity; for a fair coin that is
    # off by terms of the order of one in the number of pairs (Feller, section VII.2), in a tail of
    # z = 2.1 by less than z to the fourth of them.
    z = 399 / math.sqrt(35000)
    assert metrics.mcnemar(17700, 17300) == pytest.approx(2 * NormalDist().cdf(-z),
                                                          rel=z**4 / 35000)


def _only(rows, method, seed=None):
    return [row for row in rows if row["method"] == method and seed in (None, row["seed"])]


def test_a_paired_comparison_counts_the_same_samples(rows):
    """Counts, difference, interval and p of every group are those found row by row."""
    first, other = _only(rows, "meta_rfft", 0), _only(rows, "direct", 0)
    lacking, *rest = other
    lines = {line.group: line for line in metrics.compare(
        first, [*rest, {**lacking, "index": 99}], [1, 2], 100, 0.95, seed=0)}
    assert list(lines) == ["all", "in distribution", "out of distribution", "length 1",
                           "length 2", "length 3", "length 5"]
    groups = {"all": (1, 2, 3, 5), "in distribution": (1, 2), "out of distribution": (3, 5),
              "length 5": (5,)}
    for group, lengths in groups.items():
        table = [0, 0, 0, 0]
        for one, two in product(first, rest):
            if one["length"] in lengths and all(one[key] == two[key]
                                                for key in ("task", "length", "index")):
                table[2 * (one["outcome"] != "right") + (two["outcome"] != "right")] += 1
        line = lines[group]
        assert [line.both, line.first, line.other, line.neither] == table
        assert line.difference == pytest.approx((table[1] - table[2]) / sum(table))
        assert (line.low, line.high) == metrics.newcombe(*table, 0.95)
        assert line.p == metrics.mcnemar(table[1], table[2])
    assert lines["all"].both + lines["all"].first + lines["all"].other + lines["all"].neither == 79


def test_a_paired_comparison_over_seeds_draws_them(rows):
    """With several seeds the interval is the bootstrap's over them, and there is no exact test."""
    found = metrics.answers(rows)
    line = metrics.compare(_only(rows, "meta_rfft"), _only(rows, "direct"), [1, 2], 500, 0.95,
                           seed=0)[0]
    assert line.p is None
    assert line.both + line.first + line.other + line.neither == 160
    assert line.difference == pytest.approx(145 / 160 - 115 / 160)
    assert (line.low, line.high) == metrics.bootstrap_difference(
        _of(found, "meta_rfft"), _of(found, "direct"), metrics.accuracy, 500, 0.95, seed=0)
    assert line.low < line.difference < line.high


def test_a_paired_comparison_needs_samples_in_common(rows):
    """Methods without a sample in common, or with one twice, are an error that says so."""
    other = [{**row, "index": row["index"] + 10} for row in _only(rows, "direct")]
    with pytest.raises(ValueError, match="in common"):
        metrics.compare(_only(rows, "meta_rfft"), other, [1], 100, 0.95, seed=0)
    with pytest.raises(ValueError, match="got two for"):
        metrics.compare(_only(rows, "meta_rfft"), [*other, other[0]], [1], 100, 0.95, seed=0)
