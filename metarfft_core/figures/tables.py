"""The paper's tables: its numbers and ours side by side."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from metarfft_core.analysis.stored import METRICS, NOT_RUN, Found, Group
from metarfft_core.figures.style import PAGE, interval, table
from metarfft_core.params import Params

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

LENIENT = ", lenient score"
"""What ends the label of a line that the lenient score judges (docs/metrics.md)."""

COLUMNS = ["group", "line", "metric", "paper", "run", "model", "value", "low", "high", "tasks",
           "longest"]


def numbers(parts: Sequence[Group], spec: dict) -> "DataFrame":
    """Return the paper's number, and ours with its interval, for each line and metric of a table.

    An API model or a 1-shot prompt has a second line, by the lenient score. That line, and the
    lines of another model, have no number of the paper. `tasks` is how many of the line's tasks
    our number covers; `longest` is the longest length evaluated. Both are empty without a run.
    """
    from pandas import DataFrame

    lines = []
    for group in parts:
        if group.ours and not METRICS.keys() & set(spec["metrics"]):
            continue
        for line, found in group.lines.items():
            for place, metric in enumerate(spec["metrics"]):
                theirs = math.nan if group.ours else line.paper[place]
                about = [group.name, line.label, metric, theirs]
                if found and metric in METRICS:
                    about += _about(found, metric)
                lines.append(about + [None] * (len(COLUMNS) - len(about)))
            if found and found.has_lenient:
                lines += [[group.name, f"{line.label}{LENIENT}", metric, math.nan,
                           *_about(found, metric, lenient=True)]
                          for metric in spec["metrics"] if metric in METRICS]
    return DataFrame(lines, columns=COLUMNS)


def _about(found: Found, metric: str, lenient: bool = False) -> list:
    return [found.config.name, found.stored.model, *found.value(metric, lenient=lenient),
            len(found.cells), max(map(max, found.cells.values()))]


def draw_numbers(frame: "DataFrame", spec: dict, runs: Sequence[Params]) -> "Figure":
    """Draw a table of the paper, from the lines of `numbers`."""
    from matplotlib.figure import Figure

    metrics = spec["metrics"]
    width = 0.66 / len(metrics)
    starts = [0.34 + width * place for place in range(len(metrics))]
    centres = [0, *(start + width * part for start in starts for part in (0.2, 0.64))]
    body, headings = [["", *["paper", "ours"] * len(metrics)]], []
    for group, part in frame.groupby("group", sort=False):
        headings.append(len(body))
        body.append([group])
        for line, cells in part.groupby("line", sort=False):
            body.append([f"  {line}", *(text for _, cell in cells.iterrows()
                                        for text in (_number(cell["paper"]), _ours(cell)))])
    notes = _notes(frame, runs)
    figure = Figure(figsize=(PAGE, 0.2 * (len(body) + len(notes) + 3)))
    table(figure, body, centres,
          [(start + width / 2, metric) for start, metric in zip(starts, metrics, strict=True)],
          notes, any(config.smoke for config in runs), headings)
    return figure


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
    """Describe what is behind our numbers, a line per run."""
    notes = []
    for config in runs:
        part = frame[frame["run"] == config.name]
        tasks, longest = sorted(part["tasks"].unique()), sorted(part["longest"].unique())
        notes.append(
            f"run {config.name}: {config.model.name}, {_either(tasks)} task(s) to length "
            f"{_either(longest)}, {config.corpus.evaluation.samples_per_length} samples a length, "
            f"{config.evaluation.confidence:.0%} bootstrap intervals")
    if (frame["longest"].dropna() != 30).any():
        notes.append("ACC_Len30 of ours: at the longest evaluated length")
    return notes


def _either(values: Sequence[float]) -> str:
    return " or ".join(f"{value:.0f}" for value in values)
