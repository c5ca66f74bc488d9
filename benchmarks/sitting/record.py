"""What an item writes its results with.

A result is a JSON object of one line:

    item, name  of the item; null and "sitting" for the line that opens a sitting
    case        what was measured; null in the line that closes an item
    status      one of STATUSES
    rehearsal   whether it is a rehearsal at toy size
    at          seconds since the sitting began
    values      what was measured
    error       why there is nothing, or not all
"""

import json
import tarfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

BEGAN, MEASURED, FAILED, LEFT_OUT = "began", "measured", "failed", "left out"
FINISHED, OVER_LIMIT, NOT_STARTED = "finished", "over its limit", "not started"
STATUSES = (BEGAN, MEASURED, FAILED, LEFT_OUT, FINISHED, OVER_LIMIT, NOT_STARTED)
RESULTS, LOG = "results.jsonl", "sitting.log"
"""The files of a sitting in its folder."""


class Record:
    """The results of one item.

    Args:
        lines: Where the results go, line by line; the runner reads them.
        out: The folder of the sitting.
        work: A folder that all items of a sitting share; it is deleted with the sitting.
        seconds: The time limit of the item, from now on.
        rehearsal: Whether the item works at toy size.
    """

    def __init__(self, lines: TextIO, out: Path, work: Path, seconds: float, rehearsal: bool):
        self._lines, self._out = lines, out
        self.work, self.rehearsal = work, rehearsal
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds that are left to the item."""
        return self._end - time.monotonic()

    def pick(self, real: Any, toy: Any) -> Any:
        """The real value, or that of a rehearsal."""
        return toy if self.rehearsal else real

    @property
    def device(self) -> str:
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def write(self, case: str, status: str, values: dict | None = None,
              error: str | None = None) -> None:
        line = {"case": case, "status": status, "values": values or {}}
        self._lines.write(json.dumps(line | ({"error": error} if error else {})) + "\n")
        self._lines.flush()

    @contextmanager
    def case(self, name: str) -> Iterator[dict]:
        """Measure one case: what the block puts into the dict is its result.

        If the block fails, the line says so and holds what was measured before; the item goes on.
        """
        free_memory()
        values: dict = {}
        try:
            yield values
        except Exception as error:
            traceback.print_exc()
            self.write(name, FAILED, values, f"{type(error).__name__}: {error}"[:600])
        else:
            self.write(name, MEASURED, values)

    def leave_out(self, name: str, why: str) -> None:
        """Write that a case is not measured here, and why."""
        self.write(name, LEFT_OUT, error=why)

    def keep(self, name: str, folder: Path, patterns: list[str]) -> None:
        """Keep the files of a folder that match, as `name`.tar.gz in the folder of the sitting."""
        whole = self._out / f"{name}.tar.gz"
        part = whole.with_suffix(".part")
        with tarfile.open(part, "w:gz") as archive:
            for path in sorted({path for form in patterns for path in folder.rglob(form)}):
                archive.add(path, str(path.relative_to(folder)))
        part.replace(whole)


def free_memory() -> None:
    """Give back what the case before has left on the GPU, also if it ran out of memory."""
    import gc
    import sys

    gc.collect()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()


def read(folder: Path) -> list[dict]:
    """The lines of a sitting, without one that a kill cut off."""
    path, lines = folder / RESULTS, []
    for text in path.read_text(encoding="utf-8").split("\n") if path.exists() else []:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and line.get("status") in STATUSES:
            lines.append(line)
    return lines
