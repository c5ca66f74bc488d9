"""Processes of their own for training and evaluation, and folders that one process works in."""

import fcntl
import os
import signal
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metarfft_core.params import ROOT


def follow(command: list[str], name: str) -> None:
    """Run a command offline, in a process group of its own, its output line by line on ours.

    Raises RuntimeError with `name` and the last lines where it fails.
    """
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore::FutureWarning",  # noise
        "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    last: deque[str] = deque(maxlen=30)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace",
                          start_new_session=True) as process:
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                last.append(line)
        except BaseException:  # an interrupted notebook must not leave its process behind
            os.killpg(process.pid, signal.SIGTERM)
            raise
    if process.returncode:
        raise RuntimeError(f"{name} failed with exit code {process.returncode}:\n"
                           + "".join(last))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is in this block for `folder`, and make the folder.

    The child of a killed launcher may still be there when the same command is run again. The
    system gives the lock back however a process ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
