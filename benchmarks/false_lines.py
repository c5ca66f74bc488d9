"""How many traces hold a false line, by the replay, over all tasks and lengths 1 to 31.

    python benchmarks/false_lines.py [--traces N] [--text rfft] [--workers N]

Renders N traces (200,000 unless told), the same number of each task, spread evenly over the
lengths that it allows, and lets the replay judge each from its text alone. Prints for each task
its traces, their lines, the traces with a false line and the first of those, then the sum and the
seconds it took. Expected are none; the exit status is 1 where there is one.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from metarfft_core import formats, tasks
from metarfft_core.authoring import checks

LONGEST = 31
PART = 100
"""Traces that a worker judges before it reports."""


class Count(NamedTuple):
    """What was found in some traces of a task."""

    traces: int
    lines: int
    false: int  # traces with a false line
    first: str = ""  # the first false line


def judge(text: str, task_id: str, start: int, stop: int) -> Count:
    """Render and judge the traces `start` to `stop` of a task."""
    task = tasks.get(task_id)
    lengths = [length for length in task.lengths if length <= LONGEST]
    lines, false, first = 0, 0, ""
    for number in range(start, stop):
        instance = task.sample(length=lengths[number % len(lengths)], seed=0,
                               index=number // len(lengths), stream="false lines")
        example = formats.render(task, instance, *checks.TEXTS[text])
        lines += example.completion.count("\n") + 1
        if found := checks.false_lines(task, instance, text, example):
            false += 1
            first = first or f"length {instance.length}, index {instance.index}: {found[0]}"
    return Count(stop - start, lines, false, first)


def total(parts: list[Count]) -> Count:
    """The sum of several counts, with the first of their false lines."""
    return Count(sum(part.traces for part in parts), sum(part.lines for part in parts),
                 sum(part.false for part in parts),
                 next((part.first for part in parts if part.first), ""))


def main() -> int:
    parser = argparse.ArgumentParser(description="Traces with a false line, by the replay.")
    parser.add_argument("--traces", type=int, default=200_000, help="in all (%(default)s)")
    parser.add_argument("--text", choices=list(checks.TEXTS), default="rfft", help="%(default)s")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="%(default)s")
    options = parser.parse_args()
    start, every = time.monotonic(), tasks.select()
    each = -(-options.traces // len(every))
    print(f"{'task':20} {'traces':>8} {'lines':>10} {'false':>6}")
    counts = []
    with ProcessPoolExecutor(options.workers) as workers:
        running = {task.id: [workers.submit(judge, options.text, task.id, at,
                                            min(at + PART, each))
                             for at in range(0, each, PART)] for task in every}
        for id, parts in running.items():
            counts.append(total([part.result() for part in parts]))
            print(f"{id:20} {counts[-1].traces:8,} {counts[-1].lines:10,} {counts[-1].false:6,}  "
                  f"{counts[-1].first}".rstrip(), flush=True)
    every_task, seconds = total(counts), time.monotonic() - start
    print(f"{'all':20} {every_task.traces:8,} {every_task.lines:10,} {every_task.false:6,}")
    print(f"{options.text}: {every_task.false:,} of {every_task.traces:,} traces hold a false "
          f"line; {seconds:,.0f} s with {options.workers} workers")
    return 1 if every_task.false else 0


if __name__ == "__main__":
    sys.exit(main())
