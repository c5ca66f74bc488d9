"""A process of a training or an evaluation that starts at once.

It is forked from a server that has imported torch and the trainer, which takes six seconds in a
process of its own. It gets this process's environment, and can be killed like any other. It
computes with the threads that the environment names. The server may have read another number when
it imported torch, and sums that are divided over threads round differently.
"""

import gc
import multiprocessing
import os
import resource
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pkgutil import iter_modules
from typing import TextIO

import pytest

from metarfft_core.system import processes
from metarfft_core.tasks import library

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([
    "metarfft_core.training.process.trainer", "metarfft_core.evaluation.engines", "peft",
    "transformers.models.llama.modeling_llama", "torch.distributed.checkpoint",
    *(module.name for module in iter_modules(library.__path__, f"{library.__name__}."))])


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it wrote to its two streams."""

    returncode: int
    output: str


def start(main: Callable[[list[str]], int], arguments: list[str], output=None,
          largest: int | None = None, environment: Mapping[str, str] = os.environ):
    """Start `main(arguments)` in a process.

    Args:
        main: A function of a module, whose result is the exit status.
        arguments: What it takes.
        output: The writing end of a pipe for both streams; otherwise they are dropped.
        largest: The largest size of a file that it may write, in bytes.
        environment: Its variables.
    """
    process = _SERVER.Process(target=_work, args=(main, arguments, dict(environment), output,
                                                  largest))
    process.start()
    return process


def run(main: Callable[[list[str]], int], arguments: list[str],
        largest: int | None = None) -> Ended:
    """Start `main(arguments)` in a process, as `start` does, and wait for its end."""
    with _followed(main, arguments, largest) as process:
        output = process.stdout.read()
    return Ended(process.returncode, output)


def run_program(program: str, *arguments: str) -> Ended:
    """Do as `python -c program arguments` in a process of the server."""
    return run(_execute, [program, *arguments])


def fork_stages(patch: pytest.MonkeyPatch) -> None:
    """Let the kit's launchers fork the processes of the stages, as long as `patch` holds."""
    patch.setattr(processes, "started", _started)


@dataclass
class _Followed:
    """What the kit's launchers use of a `subprocess.Popen`."""

    stdout: TextIO
    returncode: int | None = None


@contextmanager
def _started(line: list[str], environment: Mapping[str, str],
             stdin: int = subprocess.DEVNULL) -> Iterator[_Followed]:
    """Do as `processes.started` for the command line of a module that runs alone.

    The module's arguments and environment are the same. `accelerate launch` before it is left out.
    """
    assert stdin == subprocess.DEVNULL
    module = len(line) - line[::-1].index("-m")
    with _followed(_run_module, line[module:],
                   environment=processes.environment_with(environment)) as process:
        yield process


@contextmanager
def _followed(main, arguments, largest=None, environment=os.environ) -> Iterator[_Followed]:
    reading, writing = _SERVER.Pipe(duplex=False)
    process = start(main, arguments, writing, largest, environment)
    writing.close()
    with os.fdopen(os.dup(reading.fileno()), encoding="utf-8", errors="replace") as stdout:
        followed = _Followed(stdout)
        yield followed
    process.join()
    followed.returncode = process.exitcode


def _execute(line: list[str]) -> None:
    program, *arguments = line
    sys.argv = ["-c", *arguments]
    exec(program, {"__name__": "__main__"})


def _run_module(line: list[str]) -> None:
    sys.argv = line
    runpy.run_module(line[0], run_name="__main__", alter_sys=True)


def _work(main, arguments, environment, output, largest):
    import torch

    gc.freeze()  # what the server imported stays, so the collector need not look at it again
    os.environ.clear()
    os.environ.update(environment)
    stream = output.fileno() if output else os.open(os.devnull, os.O_WRONLY)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    if largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    torch.set_num_threads(int(processes.threads(1)))
    sys.exit(main(arguments))
