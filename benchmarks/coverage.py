"""How often the 95% intervals hold the truth, on made-up runs whose true accuracies are known.

    python benchmarks/coverage.py [--runs N] [--draws N] [--workers N]

First Wilson's interval at 100 samples: exact, summed over all outcomes. Then the bootstrap: N runs
(200 unless told) of 12 tasks x 30 lengths x 100 samples for each kind of truth, with one seed and
with three; the trainings' logits differ by a normal spread between seeds, those of the samples by
one of 1. Prints the true figure, the mean of the measured ones, the share of the intervals that
hold the true one and their mean width, and the seconds of CPU time that an interval takes.
"""

import argparse
import math
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from metarfft_core.evaluation import metrics

TASKS, LENGTHS, SAMPLES, CONFIDENCE = 12, 30, 100, 0.95
FIGURES = {"ACC_Len30": metrics.acc_longest, "Max_Len_90%": metrics.mean_max_len_90,
           "Max_Len_90%, any": partial(metrics.mean_max_len_90, prefix=False)}


def _falling(top: float, width: np.ndarray | float) -> np.ndarray:
    """Accuracies (tasks, lengths) that fall from `top` to 0, each task at another length."""
    middle = np.linspace(4, 40, TASKS)[:, None]
    return top / (1 + np.exp((np.arange(1, LENGTHS + 1) - middle) / width))


TRUTHS = {
    "falls within a few lengths": _falling(0.995, 1.0),
    "falls over many lengths": _falling(0.995, np.linspace(1, 5, TASKS)[:, None]),
    "stays at 95%, then falls": _falling(0.95, 1.0),
    "98.5% everywhere": np.full((TASKS, LENGTHS), 0.985),
    "about 1% at the end": _falling(0.995, 1.0) * 0.02}
SPREADS = (0.0, 0.5, 1.0)
"""Between seeds, in logits: 0.5 makes 50% range from 38% to 62% in two of three trainings."""


def wilson_coverage(accuracy: float, samples: int) -> float:
    """The probability that the interval holds the true accuracy."""
    covered = 0.0
    for right in range(samples + 1):
        low, high = metrics.wilson(right, samples, CONFIDENCE)
        if low <= accuracy <= high:
            covered += (math.comb(samples, right) * accuracy**right
                        * (1 - accuracy)**(samples - right))
    return covered


def blurred(truth: np.ndarray, spread: float) -> np.ndarray:
    """The mean accuracy where logits have a normal spread, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    logits = np.log(truth / (1 - truth))
    values = 1 / (1 + np.exp(-(logits[..., None] + spread * nodes)))
    return values @ (weights / weights.sum())


def made_up(truth: np.ndarray, seeds: int, spread: float,
            generator: np.random.Generator) -> list[metrics.Answers]:
    """The answers of a made-up run, task by task; with one seed every sample is as hard."""
    logits = np.log(truth / (1 - truth))[:, None, :, None]
    if seeds > 1:
        logits = (logits + spread * generator.normal(size=(TASKS, seeds, 1, 1))
                  + generator.normal(size=(TASKS, 1, LENGTHS, SAMPLES)))
    right = generator.random((TASKS, seeds, LENGTHS, SAMPLES)) < 1 / (1 + np.exp(-logits))
    lengths = range(1, LENGTHS + 1)
    return [metrics.Answers(tuple(range(seeds)),
                            {length: tuple(range(SAMPLES)) for length in lengths},
                            {length: task[:, length - 1] for length in lengths})
            for task in right]


def measure(truth: np.ndarray, seeds: int, spread: float, draws: int,
            run: int) -> list[tuple[float, float, float, float]]:
    """Of one made-up run, for each figure: the measured one, low, high, seconds of CPU time."""
    # A stream of its own: the draws of the bootstrap come from the seed `run`.
    answers = made_up(truth, seeds, spread, np.random.default_rng([run, 1]))
    found = []
    for statistic in FIGURES.values():
        start = time.process_time()
        interval = metrics.bootstrap_seeds(answers, statistic, draws, CONFIDENCE, run)
        found.append((statistic([one.counts for one in answers]), *interval,
                      time.process_time() - start))
    return found


def report(workers: ProcessPoolExecutor, name: str, seeds: int, spread: float,
           options: argparse.Namespace) -> None:
    """Print a line for each figure of one kind of truth."""
    truth = TRUTHS[name]
    expected = blurred(truth, math.hypot(spread, 1)) if seeds > 1 else truth
    grid = metrics.Grid(np.arange(1, LENGTHS + 1), expected * SAMPLES,
                        np.full((TASKS, LENGTHS), SAMPLES))
    found = np.array(list(workers.map(
        partial(measure, truth, seeds, spread, options.draws), range(options.runs))))
    spread_text = f"{spread:.1f}" if seeds > 1 else "-"
    for place, (figure, statistic) in enumerate(FIGURES.items()):
        true, (measured, low, high, seconds) = statistic(grid), found[:, place].T
        # The figures are means over the tasks: rounding may part what is equal.
        held = (low <= true + 1e-9) & (true - 1e-9 <= high)
        print(f"| {name} | {seeds} | {spread_text} | {figure} | {true:.3f} "
              f"| {measured.mean():.3f} | {held.mean():.1%} | {(high - low).mean():.3f} "
              f"| {seconds.mean():.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="The coverage of the 95% intervals.")
    parser.add_argument("--runs", type=int, default=200, help="of each kind (%(default)s)")
    parser.add_argument("--draws", type=int, default=1000, help="of a bootstrap (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="%(default)s")
    options = parser.parse_args()
    print("| true accuracy | coverage of Wilson's interval |\n| --- | --- |")
    for tenth in range(1, 10):
        print(f"| {tenth / 10} | {wilson_coverage(tenth / 10, SAMPLES):.2%} |")
    fine = [wilson_coverage(thousandth / 1000, SAMPLES) for thousandth in range(100, 901)]
    print(f"| 0.100, 0.101, ... 0.900 | mean {np.mean(fine):.2%}, from {min(fine):.2%} to "
          f"{max(fine):.2%} |\n")
    print("| truth | seeds | spread | figure | true | measured | held | width | seconds |\n"
          "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with ProcessPoolExecutor(options.workers) as workers:
        for name in TRUTHS:
            report(workers, name, 1, 0.0, options)
        for name in list(TRUTHS)[:2]:
            for spread in SPREADS:
                report(workers, name, 3, spread, options)


if __name__ == "__main__":
    main()
