"""What went wrong in the traces: loop counts (the paper's Figure 4) and the first divergences.

Each stored trace is held against the execution of its rule (`metarfft_core.errors`), once: the
diagnoses stay in the run's folder `figures` until the rows, or the code that judges them, change.
"""

import ast
import hashlib
import json
import math
import os
import textwrap
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from metarfft_core import errors, evaluation, files, tasks
from metarfft_core.figures.curves import draw_means, length_ticks
from metarfft_core.figures.style import (
    LABELS,
    Block,
    finish,
    legend,
    look,
    page,
    palette,
    save,
    style,
)
from metarfft_core.params import METHODS, Params, ParamsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

CLASSES = {"right": "right answer", "loops_right": "wrong, the loop count right",
           "too_few": "wrong, too few passes", "too_many": "wrong, too many passes"}
"""What `loop_table` counts, as the figure names it."""

ERROR_TITLE = "relative error\nof the loop count"
LOOP_NOTES = "shaded: the lengths trained on; lines with bars: the mean and its 95% interval"

_FILLS = {"right": ("0.88", ""), "loops_right": (8, ""), "too_few": (0, "////"),
          "too_many": (3, "....")}
_CODE = ("errors", "tracing", "tasks")
_ROW = ("method", "task", "seed", "length", "index", "outcome")
_DIAGNOSIS = ("kind", "step", "line", "steps", "loops", "gold_loops", "relative_loop_error")


def diagnoses(run: Params, methods: Sequence[str] | None = None) -> "DataFrame":
    """A line for each finished row with a rule-following trace: what is wrong with it.

    Columns: method, task, seed, length, index, outcome, and of `errors.Diagnosis` kind, step,
    line, steps, loops, gold_loops and relative_loop_error. Without `methods`, those of all
    methods that have such traces. They are kept as figures/diagnoses-<method>.csv; what lacks is
    computed in `run.corpus.workers` processes, about a millisecond a row.
    """
    from pandas import DataFrame, concat

    traced = [name for name, method in METHODS.items() if method.format in ("rfft", "rfft_nl")
              and (methods is None or name in methods)]
    frames = [_kept(run, method) for method in traced]
    frames = [frame for frame in frames if not frame.empty]
    return concat(frames, ignore_index=True) if frames else DataFrame(columns=[*_ROW, *_DIAGNOSIS])


def _kept(run: Params, method: str) -> "DataFrame":
    """`diagnoses` of one method: as they are kept, where rows and code are still the same."""
    import pandas

    cells = [cell for cell in run.cells if cell[0] == method and _finished(run, cell)]
    table = run.folder / "figures" / f"diagnoses-{method}.csv"
    about, made_from = table.with_suffix(".json"), _key(run, cells)
    if about.exists() and table.exists() and files.read_json(about)["made_from"] == made_from:
        return pandas.read_csv(table)
    frame = pandas.DataFrame(_diagnose_all(run, cells), columns=[*_ROW, *_DIAGNOSIS])
    if cells:
        files.write_whole(table, frame.to_csv(index=False))
        files.write_json(about, {"made_from": made_from, "params_digest": run.digest})
    return frame


def _finished(run: Params, cell: tuple[str, str, int]) -> bool:
    about = evaluation.path(run, *cell).with_suffix(".json")
    return about.exists() and files.read_json(about)["finished"]


def _key(run: Params, cells: Sequence[tuple[str, str, int]]) -> str:
    """A hash of stored rows and of the code that judges them."""
    package = Path(errors.__file__).parent.parent
    paths = [*(evaluation.path(run, *cell) for cell in cells),
             *(path for part in _CODE for path in sorted((package / part).rglob("*.py")))]
    return hashlib.sha256("".join(map(files.sha256, paths)).encode()).hexdigest()


def _diagnose_all(run: Params, cells: Sequence[tuple[str, str, int]]) -> list[list]:
    workers = min(run.corpus.workers, os.cpu_count() or 1, len(cells))
    if workers <= 1:
        parts = [_diagnose(run, cell) for cell in cells]
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            parts = list(pool.map(_diagnose, [run] * len(cells), cells))
    return [line for part in parts for line in part]


def _diagnose(run: Params, cell: tuple[str, str, int]) -> list[list]:
    """The lines of `diagnoses` of one finished cell."""
    lines, format = [], METHODS[cell[0]].format
    with open(evaluation.path(run, *cell), encoding="utf-8", newline="\n") as file:
        for row in map(json.loads, file):
            found = errors.diagnose(tasks.get(row["task"]), ast.literal_eval(row["inputs"]),
                                    row["text"], row["finish_reason"], format, run.corpus.wording)
            lines.append([*(row[name] for name in _ROW),
                          *(getattr(found, name) for name in _DIAGNOSIS)])
    return lines


def loop_table(frame: "DataFrame") -> "DataFrame":
    """A line for each method and length of diagnoses: rows by loop count, and its error.

    `right` are right answers; the others have the rule's number of passes through loops
    (`loops_right`), `too_few` or `too_many`. The mean of the relative error is over all rows whose
    rule goes through a loop, with its 95% interval (normal).
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


def loop_figure(run: Params) -> dict[str, Path]:
    """Draw how the loops of the traces went, by length: the paper's Figure 4 for one run.

    Returns the paths by "pdf", "png" and "csv"; raises ParamsError without a stored trace.
    """
    frame = loop_table(_some(run))
    methods = [name for name in LABELS if (frame["method"] == name).any()]
    with style():
        titles = [*(textwrap.fill(LABELS[method], 20) for method in methods), ERROR_TITLE]
        figure, [panels] = page([Block(None, titles)], run.smoke)
        for method, axes in zip(methods, panels, strict=False):
            draw_classes(axes, frame[frame["method"] == method])
        draw_means(panels[-1], [(LABELS[method], look(method), frame[frame["method"] == method])
                                for method in methods], run.corpus.adaptation.lengths)
        finish(panels, "length", "share of the traces")
        panels[-1].set_ylabel("")  # its title names what it shows, which is no share
        legend(figure, panels, LOOP_NOTES)
        return save(run.folder / "figures", "loop_counts", figure, frame, [run])


def draw_classes(axes: "Axes", part: "DataFrame") -> None:
    """The shares of `CLASSES` by length, of one method's lines of `loop_table`."""
    part, bottom = part.sort_values("length"), 0
    for name, label in CLASSES.items():
        fill, hatch = _FILLS[name]
        share = part[name] / part["rows"]
        axes.bar(part["length"], share, 0.9, bottom, hatch=hatch, edgecolor="white", linewidth=0,
                 color=fill if isinstance(fill, str) else palette(fill), label=label)
        bottom = bottom + share
    axes.set(ylim=(0, 1), xlim=(part["length"].min() - 0.6, part["length"].max() + 0.6),
             xticks=length_ticks(list(part["length"])))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(axis="x", visible=False)


def error_figure(run: Params) -> dict[str, Path]:
    """Draw what the traces of each method got wrong first: the share of each kind of error.

    Returns the paths by "pdf", "png" and "csv"; raises ParamsError without a stored trace.
    """
    frame = error_table(_some(run))
    methods = [name for name in LABELS if (frame["method"] == name).any()]
    with style():
        figure, [[axes]] = page([Block(None, ["first divergence"])], run.smoke, height=3.0)
        kinds = [kind for kind in errors.KINDS if kind != "right"]
        width = 0.8 / len(methods)
        for place, method in enumerate(methods):
            part = frame[frame["method"] == method].set_index("kind").loc[kinds]
            y = [number + width * (place - (len(methods) - 1) / 2) for number in range(len(kinds))]
            axes.barh(y, part["share"], width, color=look(method).color, label=LABELS[method])
        axes.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
        axes.set(ylim=(len(kinds) - 0.5, -0.5), xlabel="share of the traces")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.grid(axis="y", visible=False)
        legend(figure, [axes], "")
        return save(run.folder / "figures", "errors", figure, frame, [run])


def error_table(frame: "DataFrame") -> "DataFrame":
    """A line for each method and kind of `errors.KINDS`: its rows and their share."""
    from pandas import DataFrame

    return DataFrame([
        {"method": method, "kind": kind, "rows": int((group["kind"] == kind).sum()),
         "share": float((group["kind"] == kind).mean())}
        for method, group in frame.groupby("method", sort=False) for kind in errors.KINDS])


def _some(run: Params) -> "DataFrame":
    """The diagnoses on the run's tasks: a counterfactual is not asked of every method."""
    frame = diagnoses(run)
    frame = frame[frame["task"].isin(run.corpus.adaptation.tasks)]
    if frame.empty:
        raise ParamsError(f"{run.folder} holds no finished evaluation of rule-following traces")
    return frame
