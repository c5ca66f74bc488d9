"""A process of a training or an evaluation that starts at once.

It is forked from a server that has imported torch and the trainer, which takes ten seconds in a
process of its own. It gets this process's environment, and can be killed like any other. It
computes with the threads that the environment names. The server may have read another number when
it imported torch, and sums that are divided over threads round differently.
"""

import multiprocessing
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch

from metarfft_core.system import processes

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["metarfft_core.training.process.trainer",
                                "metarfft_core.evaluation.engines", "peft"])


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it wrote to its two streams."""

    returncode: int
    output: str


def start(main: Callable[[list[str]], int], arguments: list[str], output=None,
          largest: int | None = None):
    """Start `main(arguments)` in a process.

    Args:
        main: A function of a module, whose result is the exit status.
        arguments: What it takes.
        output: The writing end of a pipe for both streams; otherwise they are dropped.
        largest: The largest size of a file that it may write, in bytes.
    """
    process = _SERVER.Process(target=_work, args=(main, arguments, dict(os.environ), output,
                                                  largest))
    process.start()
    return process


def run(main: Callable[[list[str]], int], arguments: list[str],
        largest: int | None = None) -> Ended:
    """Start `main(arguments)` in a process, as `start` does, and wait for its end."""
    reading, writing = _SERVER.Pipe(duplex=False)
    process = start(main, arguments, writing, largest)
    writing.close()
    with os.fdopen(os.dup(reading.fileno()), encoding="utf-8") as file:
        output = file.read()
    process.join()
    return Ended(process.exitcode, output)


def _work(main, arguments, environment, output, largest):
    os.environ.clear()
    os.environ.update(environment)
    stream = output.fileno() if output else os.open(os.devnull, os.O_WRONLY)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    if largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    torch.set_num_threads(int(processes.threads(1)))
    sys.exit(main(arguments))
