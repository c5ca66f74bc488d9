"""Metrics, against published values, exact fractions and brute force."""

import math
import random
from fractions import Fraction
from itertools import product

import pytest

from metarfft_core import metrics


@pytest.mark.parametrize(("right", "total", "low", "high"), [
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718)])
def test_wilson_gives_the_published_intervals(right, total, low, high):
    """The 95% intervals are the score intervals in Newcombe (1998)."""
    assert metrics.wilson(right, total, 0.95) == pytest.approx((low, high), abs=5e-5)


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
    assert low == pytest.approx(quantiles[0] / total, abs=0.011)
    assert high == pytest.approx(quantiles[1] / total, abs=0.011)


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
