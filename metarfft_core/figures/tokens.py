"""What samples cost: the tokens of every task at a few lengths, grouped by kind of task."""

from typing import TYPE_CHECKING

from metarfft_core import tasks
from metarfft_core.figures import words
from metarfft_core.figures.picture import Drawn
from metarfft_core.figures.style import COLORS, PAGE, TEXTS, mark, save, short_title, style
from metarfft_core.params import Params

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

KINDS = {
    "leetcode_arrays": "Lists", "leetcode_arrays_comparing": "Lists: comparing",
    "leetcode_arrays_counting": "Lists: counting", "leetcode_strings": "Strings",
    "leetcode_strings_letters": "Strings: letters", "leetcode_strings_rewriting":
    "Strings: rewriting", "leetcode_words": "Words", "leetcode_games": "Games and processes",
    "leetcode_numbers": "Numbers (LeetCode)", "nupa": "Numbers (NUPA)", "bbh": "BIG-Bench Hard",
    "symbolic": "Symbols"}
"""The heading of each kind of task, by the file of the library that declares it."""

_NOTES = """tokens of prompt and completion, the mean over a few samples
hollow: a sample does not fit the context; a line goes from the fewest to the most
no square: the task has no instances of that length"""
_MARKS = ("o", "^", "s")  # of the shortest, a middle and the longest length
RANGE = "0.55"  # of the line from the fewest tokens to the most
_COLUMNS = 2
_ROW = 0.142  # inches


def token_figure(config: Params, frame: "DataFrame") -> Drawn:
    """Draw the mean tokens of samples: a row per task, a mark for three of the lengths.

    `frame` comes from `costs.tokens`. A mark is hollow if a sample does not fit the context. The
    CSV has every length. Returns the paths by "pdf", "png" and "csv".
    """
    with style():
        return save(config.folder / "figures", "tokens", draw_tokens(config, frame), frame,
                    [config], words.tokens(frame, config.model.context))


def draw_tokens(config: Params, frame: "DataFrame") -> "Figure":
    """Draw the figure of `token_figure`."""
    from matplotlib.figure import Figure

    columns = _in_columns(_by_kind(frame))
    rows = max(sum(1 + len(ids) for _, ids in column) for column in columns)
    figure = Figure(figsize=(PAGE, 1.45 + _ROW * rows), layout="constrained")
    panels = figure.subplots(1, len(columns), squeeze=False)[0]
    lengths = sorted(frame["length"].unique())
    shown = list(dict.fromkeys([lengths[0], lengths[len(lengths) // 2], lengths[-1]]))
    for axes, column in zip(panels, columns, strict=True):
        _draw_column(axes, column, frame, shown, config.model.context)
        _scale(axes, frame, config.model.context)
        axes.set_ylim(rows - 0.5, -0.5)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  frameon=False, title=_NOTES)
    if config.smoke:
        mark(figure)
    return figure


def _by_kind(frame: "DataFrame") -> list[tuple[str, list[str]]]:
    """Return the heading and the tasks of each kind, the cheapest task first."""
    dearest = frame.groupby("task")["mean"].max().sort_values()
    kinds: dict[str, list[str]] = {heading: [] for heading in KINDS.values()}
    for task in dearest.index:
        known = tasks.find(task)
        module = known.sampler.__module__.rpartition(".")[2] if known else ""
        kinds.setdefault(KINDS.get(module, "Other tasks"), []).append(task)
    return [(heading, ids) for heading, ids in kinds.items() if ids]


def _in_columns(kinds: list[tuple[str, list[str]]]) -> list[list[tuple[str, list[str]]]]:
    """Share the kinds out to columns of about the same height, in their order."""
    total = sum(1 + len(ids) for _, ids in kinds)
    columns, height = [[] for _ in range(min(_COLUMNS, len(kinds)))], 0
    for heading, ids in kinds:
        middle = height + (1 + len(ids)) / 2
        columns[min(int(middle / total * len(columns)), len(columns) - 1)].append((heading, ids))
        height += 1 + len(ids)
    return [column for column in columns if column]


def _draw_column(axes: "Axes", column: list[tuple[str, list[str]]], frame: "DataFrame",
                 shown: list[int], context: int) -> None:
    places = _places(column)
    rows = frame[frame["task"].isin(places)]
    ends = rows.groupby("task")["mean"].agg(["min", "max"])
    axes.hlines([places[task] for task in ends.index], ends["min"], ends["max"], color=RANGE,
                lw=0.8, zorder=1)
    for length, marker, color in zip(shown, _MARKS, ("blue", "orange", "ink"), strict=False):
        at = rows[rows["length"] == length]
        for hollow in (False, True):
            some = at[(at["max"] > context) == hollow]
            axes.plot(some["mean"], some["task"].map(places), marker, ms=3.2, mew=0.7, ls="",
                      color=COLORS[color], mfc="white" if hollow else COLORS[color],
                      label="" if hollow else f"length {length}")
    axes.axvline(context, color=TEXTS["note"], ls="--", lw=0.8, label=f"context, {context:,}")
    _name_rows(axes, column, places)


def _places(column: list[tuple[str, list[str]]]) -> dict[str, int]:
    """Return the row of each task; a heading takes a row of its own."""
    row, places = 0, {}
    for _, ids in column:
        places |= {task: row + 1 + position for position, task in enumerate(ids)}
        row += 1 + len(ids)
    return places


def _name_rows(axes: "Axes", column: list[tuple[str, list[str]]], places: dict) -> None:
    heads = {places[ids[0]] - 1: heading for heading, ids in column}
    names = {row: short_title(task, 34) for task, row in places.items()} | heads
    axes.set_yticks(list(names), list(names.values()), fontsize=5.5)
    for row, label in zip(names, axes.get_yticklabels(), strict=True):
        label.set_weight("bold" if row in heads else "normal")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _scale(axes: "Axes", frame: "DataFrame", context: int) -> None:
    """Use a logarithmic scale whose ticks are plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = frame["mean"].min() / 1.3, max(frame["mean"].max(), context) * 1.3
    ticks = [lead * 10 ** power for power in range(7) for lead in (1, 3)]
    axes.set(xscale="log", xlim=(low, high), xlabel="tokens (log scale)")
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
