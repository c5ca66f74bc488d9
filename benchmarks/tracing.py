"""What a finished trace costs beside the bare rule, for additions of 30 and of 5 digits.

    python benchmarks/tracing.py [--rounds N]

Prints the time of one call of the rule as plain Python, the time of one trace with its text, how
many such traces one core makes in a second, and the ratio. All are minima over interleaved
repetitions, so that other load on the machine counts little. For comparison: the hand-written
templates of two published code bases were measured at 15,000 and 2,600 additions of 30 digits a
second on one core, of which the faster one's hold false lines.
"""

import argparse
import time
from collections.abc import Callable

from metarfft_core import tasks

DIGITS = (30, 5)
CALLS = 5
"""Calls in one measurement."""


def seconds(call: Callable[[], object]) -> float:
    """Seconds that one call takes, over CALLS calls."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS


def measure(digits: int, rounds: int) -> tuple[float, float]:
    """Seconds of the bare rule and of a trace with its text: the minima over `rounds` each."""
    task = tasks.get("nupa_add")
    inputs = {"num1": "7" * digits, "num2": "5" * digits}
    names: dict = {}
    exec(task.rule_source, names)
    rule = names[task.name]

    def traced() -> str:
        return task.rule.recite(inputs)

    bare, trace = float("inf"), float("inf")
    for _ in range(rounds):
        bare = min(bare, seconds(lambda: rule(**inputs)))
        trace = min(trace, seconds(traced))
    return bare, trace


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of a trace beside the bare rule.")
    parser.add_argument("--rounds", type=int, default=2000, help="repetitions (default 2000)")
    rounds = parser.parse_args().rounds
    print("digits  rule (us)  trace (us)  traces/s  ratio")
    for digits in DIGITS:
        bare, trace = measure(digits, rounds)
        print(f"{digits:6}  {bare * 1e6:9.2f}  {trace * 1e6:10.2f}  {1 / trace:8.0f}  "
              f"{trace / bare:5.2f}")


if __name__ == "__main__":
    main()
