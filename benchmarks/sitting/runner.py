"""Starts the items of a sitting, each as a process with its own time limit, and keeps the results.

Every line is written, synced to the disk and printed as soon as an item has it. So a sitting that
is cut off keeps all that it had measured. An item ends with its sitting, however that ends.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from sitting import Item, record

ROOT = Path(__file__).resolve().parent.parent.parent
RESERVE = 5.0  # seconds of the budget that no item gets
SLOWER = 10  # how many times longer an item may take in a rehearsal, whose machine may be busy
_LAST = 300  # characters of the last line that an item printed, in the line that it failed

# The folder comes last, because it holds names, such as coverage.py, that packages have too.
_ITEM = (f"import sys; sys.path.append({str(ROOT / 'benchmarks')!r}); "
         "from sitting.__main__ import main; main()")


class Sitting:
    """One sitting: its folder, and the seconds that it may take."""

    def __init__(self, out: Path, budget: float, rehearsal: bool):
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.budget, self.rehearsal = out, budget, rehearsal
        self._began = time.monotonic()

    def left(self) -> float:
        return self.budget - (time.monotonic() - self._began)

    def hold(self, items: Iterable[Item]) -> list[dict]:
        """Run the items in turn, as far as the budget goes; returns the lines that close them."""
        self._write(None, "sitting", {"case": None, "status": record.BEGAN, "values": {
            "budget": self.budget, "commit": _commit(), "time": time.strftime("%Y-%m-%d %H:%M")}})
        with TemporaryDirectory(prefix="sitting-") as work:
            return [self._item(item, Path(work)) for item in items]

    def _item(self, item: Item, work: Path) -> dict:
        limit = min(item.seconds * (SLOWER if self.rehearsal else 1), self.left() - RESERVE)
        if self.left() - RESERVE < item.least:
            return self._close(item, record.NOT_STARTED, 0.0,
                               f"{max(0.0, self.left()):.0f} s are left, it needs {item.least:.0f}")
        began = time.monotonic()
        log = self.out / record.LOG
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"\n== {item.number} {item.name}\n")
            file.flush()
            start = file.tell()
            code, over = self._follow(item, work, limit, file)
        took = time.monotonic() - began
        if over:
            return self._close(item, record.OVER_LIMIT, took, f"stopped after {limit:.0f} s")
        if code:
            with open(log, encoding="utf-8", errors="replace") as file:
                file.seek(start)
                last = (file.read().strip().splitlines() or [""])[-1][-_LAST:]
            return self._close(item, record.FAILED, took, f"exit code {code}: {last}")
        return self._close(item, record.FINISHED, took)

    def _follow(self, item: Item, work: Path, limit: float, log: TextIO) -> tuple[int, bool]:
        """Run an item; returns its exit code, and whether it was stopped at its limit."""
        command = [sys.executable, "-c", _ITEM, item.module, "--out", str(self.out),
                   "--work", str(work), "--seconds", f"{limit:.0f}"]
        command += ["--rehearse"] if self.rehearsal else []
        over = threading.Event()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                              text=True, env=_environment(), process_group=0) as process:

            def stop() -> None:
                over.set()
                _kill(process)

            timer = threading.Timer(limit, stop)
            timer.start()
            try:
                for line in process.stdout:
                    self._write(item.number, item.name, json.loads(line))
                process.wait()  # before its input ends, which would stop it
            except BaseException:
                _kill(process)
                raise
            finally:
                timer.cancel()
        _kill(process)  # what the item has started, if it left anything
        return process.returncode, over.is_set()

    def _close(self, item: Item, status: str, took: float, error: str | None = None) -> dict:
        line = {"case": None, "status": status, "values": {"seconds": round(took, 1)}}
        return self._write(item.number, item.name, line | ({"error": error} if error else {}))

    def _write(self, number: int | None, name: str, line: dict) -> dict:
        line = {"item": number, "name": name, "rehearsal": self.rehearsal,
                "at": round(time.monotonic() - self._began, 1)} | line
        with open(self.out / record.RESULTS, "a+b") as file:
            if file.tell() and not _ends_a_line(file):
                file.write(b"\n")  # a kill cut off the line before
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        print(json.dumps(line), flush=True)
        return line


def _ends_a_line(file) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _environment() -> dict[str, str]:
    """What items see: this project, no network, no telemetry."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def _kill(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _commit() -> str | None:
    """The commit of the code, or None where the project came without its repository."""
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True,
                          text=True)
    return done.stdout.strip() or None
