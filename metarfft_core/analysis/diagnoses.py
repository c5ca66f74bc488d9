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
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from metarfft_core import errors, evaluation, tasks
from metarfft_core.params import METHODS, Cell, Params, ParamsError, is_archive
from metarfft_core.system import files

if TYPE_CHECKING:
    from pandas import DataFrame

CLASSES = {"right": "right answer", "loops_right": "wrong, the loop count right",
           "too_few": "wrong, too few passes", "too_many": "wrong, too many passes"}
"""The columns that `loop_table` counts, with their labels in the figure."""

EARLIER = "an earlier version"
"""What `note` says of diagnoses that this version of the code would not make."""

_CODE = ("errors", "tracing", "tasks")
_ROW = ("method", "task", "seed", "length", "index", "outcome")
_DIAGNOSIS = ("kind", "step", "line", "steps", "loops", "gold_loops", "relative_loop_error")


def read(config: Params, methods: Sequence[str] | None = None) -> "DataFrame":
    """Diagnose every finished row that has a rule-following trace.

    The diagnoses are kept as figures/diagnoses-<method>.csv. Missing ones are computed in
    `config.corpus.workers` processes, at about a millisecond per row. In an archive (see
    `params.is_archive`), where most texts are not kept, the stored diagnoses are read as they are;
    if `note` finds that this version of the code judges otherwise, its sentence is printed.

    Args:
        config: The resolved parameters of the run.
        methods: The methods to read; by default, all methods that have such traces.

    Returns:
        A line for each row, with the columns method, task, seed, length, index and outcome, and
            from `errors.Diagnosis` kind, step, line, steps, loops, gold_loops and
            relative_loop_error.

    Raises:
        ParamsError: An archive holds no diagnoses, or those of other rows.
    """
    from pandas import DataFrame, concat

    frames = [_kept(config, method) for method in traced()
              if methods is None or method in methods]
    frames = [frame for frame in frames if not frame.empty]
    return concat(frames, ignore_index=True) if frames else DataFrame(columns=[*_ROW, *_DIAGNOSIS])


def traced() -> list[str]:
    """Return the methods whose completions are rule-following traces."""
    return [name for name, method in METHODS.items() if method.format in ("rfft", "rfft_nl")]


def _kept(config: Params, method: str) -> "DataFrame":
    """Do `read` for one method; reuses the kept diagnoses if rows and code have not changed."""
    import pandas

    if is_archive(config.folder):
        said = note(config, [method])
        if EARLIER in said:
            print(f"{method}: {said}")
        return _stored(config, method)
    cells = _cells(config, method)
    table = config.folder / "figures" / f"diagnoses-{method}.csv"
    about, made_from = table.with_suffix(".json"), _key(config, cells)
    if about.exists() and table.exists() and files.read_json(about)["made_from"] == made_from:
        return pandas.read_csv(table)
    frame = pandas.DataFrame(_diagnose_all(config, cells), columns=[*_ROW, *_DIAGNOSIS])
    if cells:
        files.write_whole(table, frame.to_csv(index=False))
        files.write_json(about, {"made_from": made_from, "params_digest": config.digest})
    return frame


def _cells(config: Params, method: str) -> list[Cell]:
    return [cell for cell in config.cells if cell.method == method and _finished(config, cell)]


def _stored(config: Params, method: str) -> "DataFrame":
    """Return the diagnoses of a method that an archive holds."""
    import pandas

    table = config.folder / "figures" / f"diagnoses-{method}.csv"
    rows = [tuple(row[name] for name in _ROW) for cell in _cells(config, method)
            for row in _rows(config, cell)]
    if not rows:
        return pandas.DataFrame(columns=[*_ROW, *_DIAGNOSIS])
    if not table.exists():
        raise ParamsError(f"{table} is missing, and an archive keeps too few texts to diagnose its "
                          "traces: run `metarfft figures` on the run itself, and export it again")
    frame = pandas.read_csv(table)
    if sorted(frame[list(_ROW)].itertuples(index=False, name=None)) != sorted(rows):
        raise ParamsError(f"{table} does not have the rows of the evaluation beside it: put back "
                          "what was exported")
    return frame


def note(config: Params, methods: Sequence[str] | None = None) -> str:
    """Return a sentence on the diagnoses of an archive; empty for another folder.

    The kept texts are diagnosed again. So the sentence says whether this version of the code judges
    like the one that made the stored diagnoses.

    Args:
        config: The resolved parameters of the run.
        methods: The methods to read; by default, all methods that have traces.
    """
    if not is_archive(config.folder):
        return ""
    kept = other = total = 0
    for method in traced() if methods is None else methods:
        stored = {line[:len(_ROW)]: _place(line)
                  for line in _stored(config, method).itertuples(index=False, name=None)}
        again = [tuple(line) for cell in _cells(config, method) for line in _diagnose(config, cell)]
        total, kept = total + len(stored), kept + len(again)
        other += sum(stored[line[:len(_ROW)]] != _place(line) for line in again)
    verdict = (f"this version of the code judges {other} of them otherwise, so they were made with "
               f"{EARLIER}" if other else "this version of the code judges all of them the same")
    return (f"The {total:,} diagnoses are the stored ones. {kept:,} of their texts are kept, and "
            f"{verdict}.")


def _place(line: Sequence) -> tuple[str, int | None, int | None]:
    """Return kind, step and line of a line of `read`."""
    kind, *numbers = line[len(_ROW):len(_ROW) + 3]
    return kind, *(None if number is None or math.isnan(number) else int(number)
                   for number in numbers)


def _finished(config: Params, cell: Cell) -> bool:
    about = evaluation.path(config, cell).with_suffix(".json")
    return about.exists() and files.read_json(about)["finished"]


def _key(config: Params, cells: Sequence[Cell]) -> str:
    """Return a hash of stored rows and of the code that judges them."""
    package = Path(errors.__file__).parent.parent
    paths = [*(evaluation.path(config, cell) for cell in cells),
             *(path for source in _CODE for path in sorted((package / source).rglob("*.py")))]
    return hashlib.sha256("".join(map(files.sha256, paths)).encode()).hexdigest()


def _diagnose_all(config: Params, cells: Sequence[Cell]) -> list[list]:
    workers = min(config.corpus.workers, os.cpu_count() or 1, len(cells))
    if workers <= 1:
        parts = [_diagnose(config, cell) for cell in cells]
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            parts = list(pool.map(_diagnose, [config] * len(cells), cells))
    return [line for lines in parts for line in lines]


def _diagnose(config: Params, cell: Cell) -> list[list]:
    """Return the lines of `read` for the kept texts of one finished cell."""
    lines = []
    for row in _rows(config, cell):
        if "text" in row:  # an archive keeps few texts
            diagnosis = diagnose(config, row)
            lines.append([*(row[name] for name in _ROW),
                          *(getattr(diagnosis, name) for name in _DIAGNOSIS)])
    return lines


def _rows(config: Params, cell: Cell) -> list[dict]:
    with open(evaluation.path(config, cell), encoding="utf-8", newline="\n") as file:
        return list(map(json.loads, file))


def diagnose(config: Params, row: Mapping) -> errors.Diagnosis:
    """Diagnose one row of `evaluation.read` whose text is kept."""
    return errors.diagnose(tasks.get(row["task"]), ast.literal_eval(row["inputs"]), row["text"],
                           row["finish_reason"], METHODS[row["method"]].format,
                           config.corpus.wording)


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
