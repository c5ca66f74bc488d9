"""What went wrong in the stored traces: the first divergence of each, and its loop counts.

Each stored trace is compared once with the execution of its rule (`metarfft_core.errors`). The
diagnoses are kept in the folder `figures` of the run until the rows or the code that judges them
change.
"""

import ast
import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from metarfft_core import errors, evaluation, tasks
from metarfft_core.params import METHODS, Cell, Params
from metarfft_core.system import files

if TYPE_CHECKING:
    from pandas import DataFrame

CLASSES = {"right": "right answer", "loops_right": "wrong, the loop count right",
           "too_few": "wrong, too few passes", "too_many": "wrong, too many passes"}
"""The columns that `loop_table` counts, with their labels in the figure."""

_CODE = ("errors", "tracing", "tasks")
_ROW = ("method", "task", "seed", "length", "index", "outcome")
_DIAGNOSIS = ("kind", "step", "line", "steps", "loops", "gold_loops", "relative_loop_error")


def read(config: Params, methods: Sequence[str] | None = None) -> "DataFrame":
    """Diagnose every finished row that has a rule-following trace.

    The diagnoses are kept as figures/diagnoses-<method>.csv. Missing ones are computed in
    `config.corpus.workers` processes, at about a millisecond per row.

    Args:
        config: The resolved parameters of the run.
        methods: The methods to read; by default, all methods that have such traces.

    Returns:
        A line for each row, with the columns method, task, seed, length, index and outcome, and
            from `errors.Diagnosis` kind, step, line, steps, loops, gold_loops and
            relative_loop_error.
    """
    from pandas import DataFrame, concat

    traced = [name for name, method in METHODS.items() if method.format in ("rfft", "rfft_nl")
              and (methods is None or name in methods)]
    frames = [_kept(config, method) for method in traced]
    frames = [frame for frame in frames if not frame.empty]
    return concat(frames, ignore_index=True) if frames else DataFrame(columns=[*_ROW, *_DIAGNOSIS])


def _kept(config: Params, method: str) -> "DataFrame":
    """Do `read` for one method; reuses the kept diagnoses if rows and code have not changed."""
    import pandas

    cells = [cell for cell in config.cells if cell.method == method and _finished(config, cell)]
    table = config.folder / "figures" / f"diagnoses-{method}.csv"
    about, made_from = table.with_suffix(".json"), _key(config, cells)
    if about.exists() and table.exists() and files.read_json(about)["made_from"] == made_from:
        return pandas.read_csv(table)
    frame = pandas.DataFrame(_diagnose_all(config, cells), columns=[*_ROW, *_DIAGNOSIS])
    if cells:
        files.write_whole(table, frame.to_csv(index=False))
        files.write_json(about, {"made_from": made_from, "params_digest": config.digest})
    return frame


def _finished(config: Params, cell: Cell) -> bool:
    about = evaluation.path(config, cell).with_suffix(".json")
    return about.exists() and files.read_json(about)["finished"]


def _key(config: Params, cells: Sequence[Cell]) -> str:
    """Return a hash of stored rows and of the code that judges them."""
    package = Path(errors.__file__).parent.parent
    paths = [*(evaluation.path(config, cell) for cell in cells),
             *(path for part in _CODE for path in sorted((package / part).rglob("*.py")))]
    return hashlib.sha256("".join(map(files.sha256, paths)).encode()).hexdigest()


def _diagnose_all(config: Params, cells: Sequence[Cell]) -> list[list]:
    workers = min(config.corpus.workers, os.cpu_count() or 1, len(cells))
    if workers <= 1:
        parts = [_diagnose(config, cell) for cell in cells]
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            parts = list(pool.map(_diagnose, [config] * len(cells), cells))
    return [line for part in parts for line in part]


def _diagnose(config: Params, cell: Cell) -> list[list]:
    """Return the lines of `read` for one finished cell."""
    lines, format = [], METHODS[cell.method].format
    with open(evaluation.path(config, cell), encoding="utf-8", newline="\n") as file:
        for row in map(json.loads, file):
            found = errors.diagnose(tasks.get(row["task"]), ast.literal_eval(row["inputs"]),
                                    row["text"], row["finish_reason"], format,
                                    config.corpus.wording)
            lines.append([*(row[name] for name in _ROW),
                          *(getattr(found, name) for name in _DIAGNOSIS)])
    return lines


def loop_table(frame: "DataFrame") -> "DataFrame":
    """Count the diagnosed rows of each method and length by their loop counts.

    `right` counts the right answers. The others have the rule's number of passes through loops
    (`loops_right`), `too_few` or `too_many`. The mean relative error covers all rows whose rule
    goes through a loop; its 95% interval is normal.
    """
    from pandas import DataFrame

    lines = []
    for (method, length), group in frame.groupby(["method", "length"], sort=False):
        wrong = group[group["outcome"] != "right"]
        short, long = wrong["loops"] < wrong["gold_loops"], wrong["loops"] > wrong["gold_loops"]
        error = group["relative_loop_error"].dropna().astype(float)
        half = 1.96 * error.std() / math.sqrt(len(error)) if len(error) > 1 else 0.0
        lines.append({"method": method, "length": length, "rows": len(group),
                      "right": len(group) - len(wrong), "loops_right": int((~short & ~long).sum()),
                      "too_few": int(short.sum()), "too_many": int(long.sum()),
                      "relative_error": error.mean(), "low": max(0.0, error.mean() - half),
                      "high": error.mean() + half})
    return DataFrame(lines, columns=["method", "length", "rows", *CLASSES, "relative_error",
                                     "low", "high"])


def error_table(frame: "DataFrame") -> "DataFrame":
    """Return a line for each method and kind of `errors.KINDS`: its rows and their share."""
    from pandas import DataFrame

    return DataFrame([
        {"method": method, "kind": kind, "rows": int((group["kind"] == kind).sum()),
         "share": float((group["kind"] == kind).mean())}
        for method, group in frame.groupby("method", sort=False) for kind in errors.KINDS])
