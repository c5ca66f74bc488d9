"""Processes of their own for training and evaluation, and folders that one process works in."""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from metarfft_core.system.places import ROOT

_running: set[subprocess.Popen] = set()
_PATIENCE = 2.0  # seconds that a process waits for a folder before it says so

_OF_ACCELERATE = ("ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_", "MEGATRON_LM_", "FP8_")
"""What accelerate's variables begin with. It takes them for settings, so a process gets none of
the user's: what is to hold stands in a configuration file."""


class Command(NamedTuple):
    """A command line, what it is called in messages, and what its environment has beside ours."""

    line: list[str]
    name: str
    environment: Mapping[str, str] = MappingProxyType({})


def cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on a Mac, not on Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; CUDA stays
    untouched, for a process that has touched it cannot start others."""
    import torch

    count = torch.cuda.device_count()  # counts through NVML
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return visible if len(visible) == count and visible[0] else [str(n) for n in range(count)]


def peak_memory() -> float:
    """The most host memory that this process took so far, in GiB."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**30
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def follow(command: Command, prefix: str = "") -> None:
    """Run a command offline, in a process group of its own, its output line by line on ours.

    It does not see the user's variables for accelerate.
    Raises RuntimeError with the command's name and last lines where it fails.
    """
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(_OF_ACCELERATE)}
    environment = kept | {
        "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore::FutureWarning",  # noise
        "PYTHONPATH": os.pathsep.join(filter(None, paths))} | dict(command.environment)
    last: deque[str] = deque(maxlen=30)
    with subprocess.Popen(command.line, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace",
                          start_new_session=True) as process:
        _running.add(process)
        try:
            for line in process.stdout:
                print(prefix + line, end="", flush=True)
                last.append(line)
        except BaseException:  # an interrupted notebook must not leave its process behind
            _stop(process)
            raise
        finally:
            _running.discard(process)
    if process.returncode:
        raise RuntimeError(f"{command.name} failed with exit code {process.returncode}:\n"
                           + "".join(last))


def _stop(process: subprocess.Popen) -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()


def follow_all(commands: list[Command], places: list[dict[str, str]]) -> None:
    """Run commands, as many at once as there are places, each in the environment of its place.

    With fewer than two places they run one after the other. Where one fails the others are
    stopped.
    """
    if len(places) < 2 or len(commands) < 2:
        for command in commands:
            follow(command)
        return
    free = list(places)

    def run(command: Command) -> None:
        place = free.pop()
        try:
            follow(command._replace(environment={**command.environment, **place}),
                   f"[{command.name}] ")
        finally:
            free.append(place)

    with ThreadPoolExecutor(len(places)) as pool:
        futures = [pool.submit(run, command) for command in commands]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(_running):
                _stop(process)
            raise


def places(size: int, workers: int) -> list[dict[str, str]]:
    """Where processes can run at once, each place as the variables that bind a process to it.

    On GPUs every group of `size` of them (what does not fill a group is left out), on a CPU
    `workers` shares of the cores.
    """
    names = gpus()
    if not names:
        return [{"OMP_NUM_THREADS": threads(workers)}] * workers
    return [{"CUDA_VISIBLE_DEVICES": ",".join(names[first:first + size])}
            for first in range(0, len(names) - size + 1, size)]


def threads(workers: int) -> str:
    """The threads of one of `workers` processes: what the user has set has precedence."""
    return os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // workers)))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is in this block for `folder`, and make the folder.

    Who waits says so after a moment. The child of a killed launcher may still be there when the
    same command is run again. The system gives the lock back however a process ends. A process
    that is in this block for a folder must not enter it again for the same one.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        print(f"waiting for {lock.lock_file}: another process works in that folder", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
