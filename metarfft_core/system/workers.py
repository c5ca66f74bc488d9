"""Processes that do many jobs one after the other, so that imports and loading are paid once.

The parent writes an order to the process's standard input, a line of JSON. The process does what it
says, prints what it likes, and at last a mark. A process that ends before the mark has failed its
job alone: a new one does the next job.
"""

import json
import os
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple

from metarfft_core.system import processes, progress

_DONE = "\x06job done"
"""The mark. It begins with the control character ACK, which no text of a job has."""


class Order(NamedTuple):
    """A job for a resident process.

    A process continues with jobs of one group if it can, because they share what it has in memory.
    """

    name: str  # in messages
    values: dict  # what the process is told, as JSON
    group: str = ""


def orders() -> Iterator[dict]:
    """Yield, in a resident process, the values of each order.

    When the next one is asked for, the order before is done. Libraries find an empty standard
    input.
    """
    source = os.fdopen(os.dup(0), encoding="utf-8")
    with open(os.devnull, encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 0)
    for line in source:
        yield json.loads(line)
        print(_DONE, flush=True)


def follow_all(line: list[str], waiting: list[Order], places: list[dict[str, str]]) -> None:
    """Let resident processes do jobs, one process in each place, and report their output.

    A job that fails does not stop the others. An interrupt stops them all.

    Args:
        line: The command line of a process, which calls `orders`.
        waiting: The jobs. A place does those of a group in this order, then another group's.
        places: For each place, the environment variables of the process that works there.

    Raises:
        RuntimeError: Some jobs failed; the message has the last lines of each, and its last line
            names them all.
    """
    for order in waiting:
        progress.enter(order.name, "waiting")
    number = min(len(places), len(waiting))
    left, said, lock = list(waiting), {}, threading.Lock()
    with ExitStack() as stack:
        free = [stack.enter_context(_Place(line, place)) for place in places[:number]]

        def work(_) -> None:
            with lock:
                place = free.pop()
                same = (order for order in left if order.group == place.group)
                order = next(same, left[0])
                left.remove(order)
            try:
                said[order.name] = place.do(order, f"[{order.name}] " if number > 1 else "")
            finally:
                free.append(place)

        processes.at_once(work, waiting, number)
    processes.raise_failed({order.name: said[order.name] for order in waiting})


class _Place(ExitStack):
    """A place with the process that works there, if one does. Leaving the block ends it."""

    def __init__(self, line: list[str], environment: dict[str, str]):
        super().__init__()
        self.line, self.environment = line, environment
        self.process: subprocess.Popen | None = None
        self.group: str | None = None

    def do(self, order: Order, prefix: str) -> str | None:
        """Have an order done; return what is said of its failure, if it fails."""
        self.group = order.group
        progress.enter(order.name, "running")
        last: deque[str] = deque(maxlen=30)
        if self._told(order.values):
            for line in self.process.stdout:
                text, mark, _ = line.rstrip("\n").partition(_DONE)
                if text or not mark:
                    progress.report(text, order.name, prefix)
                    last.append(text + "\n")
                if mark:
                    progress.enter(order.name, "finished")
                    return None
        status = self._end()
        progress.enter(order.name, "failed")
        return processes.failure(order.name, status, last)

    def _told(self, values: dict) -> bool:
        """Tell the process what to do, and start one if there is none; False if it has ended."""
        if self.process is not None and self.process.poll() is not None:
            self._end()  # it died while it had nothing to do
        if self.process is None:
            self.process = self.enter_context(
                processes.started(self.line, self.environment, subprocess.PIPE))
            self.callback(self._close)
        try:
            self.process.stdin.write(json.dumps(values) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def _close(self) -> None:
        """Let the process end by itself: there are no more orders."""
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        for line in self.process.stdout:
            progress.report(line.rstrip("\n"))

    def _end(self) -> int:
        """Wait for the end of the process; return its exit status."""
        process = self.process
        self.close()
        self.process = None
        return process.returncode
