"""Separate processes for training and evaluation, and locks that give a folder to one process."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from metarfft_core.system import elapsed, progress
from metarfft_core.system.places import ROOT

_running: set[subprocess.Popen] = set()
_PATIENCE = 2.0  # seconds that a process waits for a folder before it prints that it waits

_OF_ACCELERATE = ("ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_", "MEGATRON_LM_", "FP8_")
"""Prefixes of accelerate's environment variables. Accelerate reads them as settings, so started
processes do not get the user's; settings come from a configuration file instead."""


class Command(NamedTuple):
    """A command line, its name in messages, and variables to add to this process's environment."""

    line: list[str]
    name: str
    environment: Mapping[str, str] = MappingProxyType({})


def cores() -> int:
    """The number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # missing on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them.

    The call does not initialise CUDA, because a process that has done so cannot start others.
    """
    import torch

    count = torch.cuda.device_count()  # counts through NVML
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return visible if len(visible) == count and visible[0] else [str(n) for n in range(count)]


def gpu_name() -> str | None:
    """The name of this process's GPU; None without one."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def peak_memory() -> float:
    """The most host memory that this process has used so far, in GiB."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**30
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, other systems KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def follow(command: Command, prefix: str = "") -> None:
    """Run a command offline, in its own process group, and report its output line by line.

    The command does not see the user's variables for accelerate.

    Args:
        command: What to run.
        prefix: Text to report before each line.

    Raises:
        RuntimeError: The command failed; the message has its name and its last lines.
    """
    last: deque[str] = deque(maxlen=30)
    progress.enter(command.name, "running")
    with started(command.line, command.environment) as process:
        for line in process.stdout:
            progress.report(line.rstrip("\n"), command.name, prefix)
            last.append(line)
    progress.enter(command.name, "failed" if process.returncode else "finished")
    if process.returncode:
        raise RuntimeError(failure(command.name, process.returncode, last))


@contextmanager
def started(line: list[str], environment: Mapping[str, str],
            stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen]:
    """Yield an offline process in its own process group; its output is one stream of text.

    The process does not see the user's variables for accelerate. It has ended when the block has
    ended; an error in the block stops it.

    Args:
        line: The command line.
        environment: Variables to add to this process's environment.
        stdin: What it reads. By default no question of a library is answered.
    """
    with subprocess.Popen(line, env=environment_with(environment), stdout=subprocess.PIPE,
                          stdin=stdin, stderr=subprocess.STDOUT, text=True, errors="replace",
                          start_new_session=True) as process:
        _running.add(process)
        try:
            yield process
        except BaseException:  # an interrupted notebook must not leave its process behind
            _stop(process)
            raise
        finally:
            _running.discard(process)


def environment_with(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a started process: this process's without the user's variables for
    accelerate, the kit's own, and `more`."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(_OF_ACCELERATE)}
    return kept | {
        elapsed.VARIABLE: str(time.time()), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore::FutureWarning",  # noise
        "PYTHONPATH": os.pathsep.join(filter(None, paths))} | dict(more)


def failure(name: str, status: int, last: Iterable[str]) -> str:
    """Say that a command or job failed, with the exit code of its process and its last lines."""
    why = " (a library has no code for this processor)" if status == -signal.SIGILL else ""
    return f"{name} failed with exit code {status}{why}:\n" + "".join(last)


def _stop(process: subprocess.Popen) -> None:
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):  # it has ended
            os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()


def follow_all(commands: list[Command], places: list[dict[str, str]]) -> None:
    """Run commands, as many at once as there are places.

    With fewer than two places the commands run one after the other. If one fails, the others run
    on. An interrupt stops them all.

    Args:
        commands: What to run.
        places: For each place, the environment variables of a command that runs there.

    Raises:
        RuntimeError: Some commands failed; the message has that of each (see `follow`), and its
            last line names them all.
    """
    for command in commands:
        progress.enter(command.name, "waiting")
    if len(places) < 2 or len(commands) < 2:
        raise_failed({command.name: _failure(command) for command in commands})
        return
    free = list(places)

    def run(command: Command) -> str | None:
        place = free.pop()
        try:
            return _failure(command._replace(environment={**command.environment, **place}),
                            f"[{command.name}] ")
        finally:
            free.append(place)

    names = [command.name for command in commands]
    raise_failed(dict(zip(names, at_once(run, commands, len(places)), strict=True)))


def at_once(work: Callable, items: Sequence, number: int) -> list:
    """Call `work` for each item, for `number` of them at once; an interrupt stops all processes.

    Returns:
        What the calls return, in the order of the items.
    """
    with ThreadPoolExecutor(number) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(_running):
                _stop(process)
            raise
    return [future.result() for future in futures]


def _failure(command: Command, prefix: str = "") -> str | None:
    """Run a command as `follow` does, and return what is said of its failure, if it fails."""
    try:
        follow(command, prefix)
    except RuntimeError as error:
        return str(error)
    return None


def raise_failed(failures: Mapping[str, str | None]) -> None:
    """Raise RuntimeError if jobs failed; a job alone is named by its own message.

    Args:
        failures: By the job's name, what is said of its failure, or None.
    """
    failed = {name: text for name, text in failures.items() if text is not None}
    if not failed:
        return
    texts = list(failed.values())
    if len(failures) > 1:
        texts.append(f"{len(failed)} of {len(failures)} failed: {', '.join(failed)}")
    raise RuntimeError("\n".join(texts))


def places(size: int, workers: int) -> list[dict[str, str]]:
    """The places where processes can run at once.

    With GPUs, each group of `size` GPUs is a place; GPUs that do not fill a group are left out.
    Without GPUs, there are `workers` places, each with an equal share of the cores.

    Returns:
        For each place, the environment variables that bind a process to it.
    """
    names = gpus()
    if not names:
        return [{"OMP_NUM_THREADS": threads(workers)}] * workers
    return [{"CUDA_VISIBLE_DEVICES": ",".join(names[first:first + size])}
            for first in range(0, len(names) - size + 1, size)]


def threads(workers: int) -> str:
    """The number of threads for one of `workers` processes; OMP_NUM_THREADS has precedence."""
    return os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // workers)))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make `folder`, and wait until no other process is in this block for it.

    A process that waits prints so after a moment. Waiting is needed even when a command is
    repeated after a kill, because a child of the killed launcher may still run. The system
    releases the lock however a process ends. The block is not reentrant: a process must not enter
    it twice for the same folder.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        progress.report(f"waiting for {lock.lock_file}: another process works in that folder")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
