"""The kit's stages as processes, in folders of their own, for the items that use the whole kit."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile

from sitting.record import Record

COMMAND = [sys.executable, "-c",
           "import sys; from metarfft_core.cli import main; sys.exit(main(sys.argv[1:]))"]
_LAST = 300  # characters of the last line that a stage printed, in an error


def folders(record: Record, name: str) -> tuple[Path, dict[str, str]]:
    """The folder of results of an item, and the environment of its stages."""
    folder = record.work / name
    folder.mkdir(exist_ok=True)
    return folder, os.environ | {"METARFFT_OUTPUTS": str(folder / "outputs"),
                                 "METARFFT_CACHE": str(record.work / "cache")}


def metarfft(*arguments: str) -> list[str]:
    """A command of the kit."""
    return [*COMMAND, *arguments]


def stage(module: str, file: Path, *arguments: str) -> list[str]:
    """One training (module "training") or the evaluation of one cell ("evaluation")."""
    return [sys.executable, "-m", f"metarfft_core.{module}", "--params", str(file), *arguments]


def do(command: list[str], environment: dict[str, str],
       kill_when: Callable[[], bool] | None = None) -> float:
    """Run a stage; returns its seconds.

    Args:
        command: What to run.
        environment: Its environment.
        kill_when: If given, the stage is killed as soon as this is true.

    Raises:
        RuntimeError: The stage failed, or it ended before it could be killed.
    """
    [took] = do_all([command], environment, kill_when)
    return took


def do_all(commands: list[list[str]], environment: dict[str, str],
           kill_when: Callable[[], bool] | None = None, stop_at: float | None = None
           ) -> list[float]:
    """Run stages at once, as `do` runs one; returns the seconds of each.

    At `stop_at`, a time of the monotonic clock, the stages that still run are killed.
    """
    began, seconds, killed, stopped = time.monotonic(), {}, False, False
    with ExitStack() as stack:
        files = [stack.enter_context(TemporaryFile("w+")) for _ in commands]
        running = [stack.enter_context(subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT)) for command, file in zip(commands, files, strict=True)]
        while len(seconds) < len(commands):
            time.sleep(0.02)
            killed = killed or bool(kill_when and kill_when())
            stopped = stopped or bool(stop_at and time.monotonic() > stop_at)
            for number, process in enumerate(running):
                if killed or stopped:
                    process.kill()
                if number not in seconds and process.poll() is not None:
                    seconds[number] = time.monotonic() - began
        outputs = [_text(file) for file in files]
    print(*outputs, sep="\n", flush=True)
    if kill_when and not killed:
        raise RuntimeError("a stage ended before it could be killed")
    for command, process, output in zip(commands, running, outputs, strict=True):
        if process.returncode and not (killed or stopped):
            last = (output.strip().splitlines() or [""])[-1][-_LAST:]
            name = command[2 if command[1] == "-m" else 3]
            raise RuntimeError(f"{name}: exit code {process.returncode}: {last}")
    return [seconds[number] for number in range(len(commands))]


def _text(file) -> str:
    file.seek(0)
    return file.read()


def manifest(folder: Path) -> dict:
    """The manifest of a training."""
    return json.loads((folder / "manifest.json").read_text())


def log(folder: Path) -> list[dict]:
    """The log of a training."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def cell(run: Path, method: str, task: str) -> dict:
    """What the evaluation of a cell says of itself: rows, outcomes, seconds."""
    return json.loads((run / "evaluation" / method / f"{task}.json").read_text())
