"""The paper's tables: its numbers and ours side by side."""

import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from metarfft_core.analysis.groups import Group
from metarfft_core.analysis.stored import (
    METRICS,
    NOT_RUN,
    Found,
    Stored,
    find_general,
    other_models,
)
from metarfft_core.evaluation.general import Score
from metarfft_core.figures import words
from metarfft_core.figures.picture import html_table
from metarfft_core.figures.style import PAGE, interval, table
from metarfft_core.params import Params

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

LENIENT = ", lenient score"
"""What ends the label of a line that the lenient score judges (docs/metrics.md)."""

COLUMNS = ["group", "line", "metric", "paper", "run", "model", "value", "low", "high", "tasks",
           "longest"]


def numbers(parts: Sequence[Group], spec: dict, known: Sequence[Stored] = ()) -> "DataFrame":
    """Return the paper's number, and ours with its interval, for each line and metric of a table.

    An API model or a 1-shot prompt has a second line, by the lenient score. That line, and the
    lines of another model, have no number of the paper. `tasks` is how many of the line's tasks
    our number covers; `longest` is the longest length evaluated. Both are empty without a run, and
    for a general benchmark, whose results are those of the runs in `known`.
    """
    from pandas import DataFrame

    lines = []
    for group in parts:
        if group.ours and not METRICS.keys() & set(spec["metrics"]):
            continue
        for line, found in group.lines.items():
            for position, metric in enumerate(spec["metrics"]):
                theirs = math.nan if group.ours else line.paper[position]
                about = [group.name, line.label, metric, theirs]
                if found and metric in METRICS:
                    about += _about(found, metric)
                elif general := find_general(line, metric, known):
                    about += _about_general(*general)
                lines.append(_whole(about))
            if found and found.has_lenient:
                lines += [[group.name, f"{line.label}{LENIENT}", metric, math.nan,
                           *_about(found, metric, lenient=True)]
                          for metric in spec["metrics"] if metric in METRICS]
    lines += _general_of_others(parts, spec, known)
    return DataFrame(lines, columns=COLUMNS)


def _general_of_others(parts: Sequence[Group], spec: dict, known: Sequence[Stored]) -> list[list]:
    """The lines of general benchmarks of models that are not in the paper."""
    wanted, rows = [line for group in parts if not group.ours for line in group.lines], []
    for model, line in product(other_models(known), wanted):
        each = {metric: find_general(line.of(model), metric, known) for metric in spec["metrics"]}
        if any(each.values()):
            rows += [_whole([f"ours, {model}", line.label, metric, math.nan,
                              *(_about_general(*general) if general else ())])
                      for metric, general in each.items()]
    return rows


def _whole(line: list) -> list:
    """The line, with its missing columns empty."""
    return line + [None] * (len(COLUMNS) - len(line))


def _about(found: Found, metric: str, lenient: bool = False) -> list:
    return [found.config.name, found.stored.model, *found.value(metric, lenient=lenient),
            len(found.cells), max(map(max, found.cells.values()))]


def _about_general(stored: Stored, score: Score) -> list:
    """The columns of a benchmark's result, which has no tasks and lengths of ours."""
    return [stored.config.name, stored.model, score.value, score.low, score.high]


def draw_numbers(frame: "DataFrame", spec: dict, runs: Sequence[Params]) -> "Figure":
    """Draw a table of the paper, from the lines of `numbers`."""
    from matplotlib.figure import Figure

    metrics = spec["metrics"]
    width = 0.66 / len(metrics)
    starts = [0.34 + width * position for position in range(len(metrics))]
    centres = [0, *(start + width * offset for start in starts for offset in (0.2, 0.64))]
    body = [["", *["paper", "ours"] * len(metrics)]]
    for heading, lines in _rows(frame):
        body += [[heading], *([f"  {name}", *cells] for name, *cells in lines)]
    headings = [position for position, row in enumerate(body) if len(row) == 1]
    notes = _notes(frame, runs)
    figure = Figure(figsize=(PAGE, 0.2 * (len(body) + len(notes) + 3)))
    table(figure, body, centres,
          [(start + width / 2, metric) for start, metric in zip(starts, metrics, strict=True)],
          notes, any(config.smoke for config in runs), headings)
    return figure


def html_numbers(frame: "DataFrame", spec: dict) -> str:
    """Return the table of `draw_numbers` as HTML."""
    metrics = spec["metrics"]
    head = [[("", 1), *((metric, 2) for metric in metrics)],
            [("", 1), *(("paper", 1), ("ours", 1)) * len(metrics)]]
    body = [row for heading, lines in _rows(frame) for row in ([heading], *lines)]
    return html_table(head, body, spec["title"])


def say_numbers(frame: "DataFrame", spec: dict) -> str:
    """Return the alternative text of the table: ours beside the paper's, if there is any."""
    metrics = [f"{metric} {side}" for metric in spec["metrics"] for side in ("paper", "ours")]
    return words.numbers(spec["title"], [
        [f"{heading}, {name}", *(f"{about} {cell}" for about, cell in
                                 zip(metrics, cells, strict=True) if cell)]
        for heading, lines in _rows(frame) for name, *cells in lines])


def _rows(frame: "DataFrame") -> list[tuple[str, list[list[str]]]]:
    """Return each group's heading and its rows: the line's name, then the paper's and ours."""
    return [(heading, [[name, *(text for _, cell in cells.iterrows()
                                for text in (_number(cell["paper"]), _ours(cell)))]
                       for name, cells in rows.groupby("line", sort=False)])
            for heading, rows in frame.groupby("group", sort=False)]


def _number(value: float) -> str:
    """Format a number of the paper with as many digits as it has; nothing if there is none."""
    if math.isnan(value):
        return ""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:.4f}"


def _ours(cell) -> str:
    if not isinstance(cell["run"], str):
        return NOT_RUN
    return interval(cell["value"], cell["low"], cell["high"])


def _notes(frame: "DataFrame", runs: Sequence[Params]) -> list[str]:
    """Describe how our numbers were made, a line per run."""
    notes = []
    for config in runs:
        rows = frame[frame["run"] == config.name]
        if rows["tasks"].isna().any():
            notes.append(f"run {config.name}: {config.model.name}, by the LM Evaluation Harness, "
                         f"{config.evaluation.confidence:.0%} bootstrap intervals")
            continue
        tasks, longest = sorted(rows["tasks"].unique()), sorted(rows["longest"].unique())
        notes.append(
            f"run {config.name}: {config.model.name}, {_either(tasks)} task(s) to length "
            f"{_either(longest)}, {config.corpus.evaluation.samples_per_length} samples a length, "
            f"{config.evaluation.confidence:.0%} bootstrap intervals")
    if (frame["longest"].dropna() != 30).any():
        notes.append("ACC_Len30 of ours: at the longest evaluated length")
    return notes


def _either(values: Sequence[float]) -> str:
    return " or ".join(f"{value:.0f}" for value in values)
