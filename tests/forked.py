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
from multiprocessing.process import BaseProcess
from pkgutil import iter_modules
from typing import TextIO

import pytest

from metarfft_core.system import processes
from metarfft_core.tasks import library

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([
    "metarfft_core.training.process.trainer", "metarfft_core.evaluation.engines", "peft",
    "transformers.models.llama.modeling_llama", "torch.distributed.checkpoint",
    *(module.name for module in iter_modules(library.__path__, f"{library.__name__}."))])


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it wrote to its two streams."""

    returncode: int
    output: str


@dataclass(frozen=True)
class Running:
    """A process whose two streams are read as one."""

    process: BaseProcess
    stdout: TextIO

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def read(self) -> str:
        """Wait for its end; return what it wrote."""
        with self.stdout:
            output = self.stdout.read()
        self.process.join()
        return output


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
    process = SERVER.Process(target=_work, args=(main, arguments, dict(environment), output,
                                                  largest))
    process.start()
    return process


def follow(main: Callable[[list[str]], int], arguments: list[str], largest: int | None = None,
           environment: Mapping[str, str] = os.environ) -> Running:
    """Start `main(arguments)` in a process, as `start` does, whose output is read here."""
    reading, writing = SERVER.Pipe(duplex=False)
    process = start(main, arguments, writing, largest, environment)
    writing.close()
    return Running(process, os.fdopen(os.dup(reading.fileno()), encoding="utf-8",
                                      errors="replace"))


def run(main: Callable[[list[str]], int], arguments: list[str],
        largest: int | None = None) -> Ended:
    """Start `main(arguments)` in a process, as `start` does, and wait for its end."""
    running = follow(main, arguments, largest)
    output = running.read()
    return Ended(running.returncode, output)


def run_program(program: str, *arguments: str) -> Ended:
    """Do as `python -c program arguments` in a process of the server."""
    return run(_execute, [program, *arguments])


def fork_stages(patch: pytest.MonkeyPatch) -> None:
    """Let the kit's launchers fork the processes of the stages, as long as `patch` holds."""
    patch.setattr(processes, "started", _started)


@contextmanager
def _started(line: list[str], environment: Mapping[str, str],
             stdin: int = subprocess.DEVNULL) -> Iterator[Running]:
    """Do as `processes.started` for the command line of a module that runs alone.

    The module's arguments and environment are the same. `accelerate launch` before it is left out.
    """
    assert stdin == subprocess.DEVNULL
    module = len(line) - line[::-1].index("-m")
    running = follow(_run_module, line[module:],
                     environment=processes.environment_with(environment))
    with running.stdout:
        yield running
    running.process.join()


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
