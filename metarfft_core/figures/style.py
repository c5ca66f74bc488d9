"""How figures and tables look, and how they are written: PDF, PNG and CSV with their provenance."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metarfft_core import tasks
from metarfft_core.analysis.stored import NOT_RUN, commit
from metarfft_core.figures.picture import ALT, Drawn, write_png
from metarfft_core.params import Params, written
from metarfft_core.system import files
from metarfft_core.system.markdown import csv_cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from pandas import DataFrame

SMOKE_MARK = "SMOKE RUN: says nothing about the methods"
COLUMN, PAGE = 3.3, 7.0  # inches: the width of a column, and of a page of four panels
_DPI = 200
_EMPTY_GROUP = 0.3  # inches: the height of a line that says "not run"
PAPER = "white"  # the background of every figure, also in a dark theme
COLORS = {  # each with a contrast of at least 3 to 1 on white and on the shade
    "blue": "#0063a3", "orange": "#b35900", "green": "#007a5a", "red": "#c0321f",
    "purple": "#9440a0", "brown": "#7a5230", "grey": "#666666", "ink": "#262626"}
TEXTS = {"small": "0.4", "empty": "0.4", "note": "0.3", "smoke": "#b00020"}
"""The colours of texts that are not black, each with at least 4.5 to 1 on white."""
SHADE = {"facecolor": "0.93", "edgecolor": "0.5", "linewidth": 0.6, "linestyle": ":", "zorder": 0}
"""The background of the trained lengths; its dotted edge is visible where its grey is not."""
_SMALL = {"color": TEXTS["small"], "fontsize": 6}
_SMOKE = {"color": TEXTS["smoke"], "weight": "bold", "fontsize": 8}
_LOOKS = {  # colour, marker, line, hatch
    "direct": ("blue", "o", ":", "...."),
    "scratchpad": ("orange", "s", "--", "////"),
    "vanilla_rfft": ("green", "^", "-.", "xxxx"),
    "meta_rfft": ("red", "D", "-", ""),
    "vanilla_rfft_nl": ("brown", "X", (0, (5, 1, 1, 1, 1, 1)), "||||"),
    "meta_rfft_nl": ("purple", "P", (0, (7, 1.5)), "----"),
    "base_1shot": ("grey", "v", (0, (3, 1, 1, 1)), "++++"),
    "meta_1shot": ("ink", "p", (0, (8, 2, 2, 2)), "oooo")}
_SPARE_LOOKS = [("blue", ">", (0, (3, 3)), "ooo"), ("orange", "<", (0, (1, 2)), "xxx"),
                ("purple", "h", (0, (4, 1, 4, 3)), "..."), ("brown", "d", (0, (9, 3)), "///")]


class Look(NamedTuple):
    """What distinguishes a line from the others; marker and dashes do so without colour, too."""

    color: str
    marker: str
    linestyle: str | tuple


def look(name: str, place: int = 0) -> Look:
    """Return the look of a method, or the look of any other line by its place among the lines."""
    color, marker, line, _ = _look(name, place)
    return Look(COLORS[color], marker, line)


def fill(name: str, place: int = 0) -> dict[str, str | float]:
    """Return the look of a method's bars: pale, with a dark edge and a hatch of its own."""
    color, _, _, hatch = _look(name, place)
    return {"facecolor": pale(COLORS[color]), "hatch": hatch, "edgecolor": COLORS[color],
            "linewidth": 0.6}


def pale(color: str) -> tuple[float, float, float]:
    """Return a colour mixed with four times as much white, to lie under a hatch."""
    from matplotlib.colors import to_rgb

    return tuple(1 - (1 - channel) / 5 for channel in to_rgb(color))


def _look(name: str, place: int) -> tuple:
    return _LOOKS.get(name) or _SPARE_LOOKS[place % len(_SPARE_LOOKS)]


@contextmanager
def style() -> Iterator[None]:
    """Use small text, a light grid and fonts kept as text.

    The style applies inside the block alone, whatever the notebook has set.
    """
    import matplotlib
    import seaborn

    with matplotlib.rc_context(seaborn.plotting_context("paper", font_scale=0.85)
                               | seaborn.axes_style("whitegrid")
                               | {"lines.linewidth": 1.1, "grid.linewidth": 0.5, "font.size": 8,
                                  "figure.facecolor": PAPER, "axes.facecolor": PAPER,
                                  "hatch.linewidth": 0.5, "pdf.fonttype": 42}):
        yield


class Title(NamedTuple):
    """The title of a panel."""

    text: str
    small: str = ""  # a line in small letters, between the text and the panel


def short_title(task: str, width: int) -> str:
    """Return the title of a task in at most `width` letters; the id of an undeclared task."""
    known = tasks.find(task)
    return textwrap.shorten(known.title, width, placeholder=" ...") if known else task


def task_title(task: str, small: str = "") -> Title:
    """Return the shortened title of a task, with its id in small letters."""
    return Title(short_title(task, 30), f"{small}, {task}" if small else task)


class PanelGroup(NamedTuple):
    """The panels of one model: a heading (None for a single group) and a title for each panel."""

    heading: str | None
    titles: Sequence[Title]
    empty: bool = False  # nothing was run


def page(groups: Sequence[PanelGroup], smoke: bool, height: float = 1.7
         ) -> tuple["Figure", list[list["Axes"]]]:
    """Return a figure of groups, one below the other, with at most four panels per row.

    `height` is the height of a row in inches. Also returns the panels of each group. An empty
    group is a single line that says that it was not run.
    """
    from matplotlib.figure import Figure

    columns = min(4, max((len(group.titles) for group in groups if not group.empty), default=4))
    heights = [_EMPTY_GROUP if group.empty else
               math.ceil(len(group.titles) / columns) * height + (0.3 if group.heading else 0)
               for group in groups]
    below = 0.2 if all(group.empty for group in groups) else 0.9  # the legend
    figure = Figure(figsize=(COLUMN if columns == 1 else PAGE, sum(heights) + below),
                    layout="constrained")
    parts = figure.subfigures(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
    panels = [_empty_group(part, group) if group.empty else _panels(part, group, columns)
              for part, group in zip(parts, groups, strict=True)]
    if smoke:
        mark(figure)
    return figure, panels


def _empty_group(part: "SubFigure", group: PanelGroup) -> list["Axes"]:
    axes = part.subplots()
    axes.axis("off")
    say_not_run(axes, f"{group.heading} ({len(group.titles)} panel"
                      f"{'s' if len(group.titles) > 1 else ''})")
    return [axes]


def _panels(part: "SubFigure", group: PanelGroup, columns: int) -> list["Axes"]:
    if group.heading:
        part.suptitle(textwrap.fill(group.heading, 48 if columns == 1 else 110),
                      weight="bold", fontsize=8)
    count = len(group.titles)
    grid = part.subplots(math.ceil(count / columns), columns, squeeze=False).flatten()
    for axes in grid[count:]:
        axes.remove()
    for axes, title in zip(grid, group.titles, strict=False):
        _set_title(axes, title)
    return list(grid[:count])


def _set_title(axes: "Axes", title: Title) -> None:
    if not title.small:
        axes.set_title(title.text)
        return
    axes.set_title(title.text, pad=_SMALL["fontsize"] + 6)  # points
    axes.annotate(title.small, (0.5, 1), (0, 3), xycoords="axes fraction",
                  textcoords="offset points", ha="center", va="bottom", **_SMALL)


def say_not_run(axes: "Axes", text: str = NOT_RUN) -> None:
    """Leave a panel empty except for the words "not run" or a longer text."""
    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    axes.text(0.5, 0.5, text, ha="center", va="center", color=TEXTS["empty"])


def mark(figure: "Figure") -> None:
    """Mark a figure as showing a smoke run."""
    figure.suptitle(SMOKE_MARK, **_SMOKE)


def finish(panels: Sequence["Axes"], x: str, y: str) -> None:
    """Label the outer panels with `x` and `y`."""
    if not panels:
        return
    columns = panels[0].get_gridspec().ncols
    for position, axes in enumerate(panels):
        if position % columns == 0:
            axes.set_ylabel(y)
        if position + columns >= len(panels):
            axes.set_xlabel(x)


def legend(figure: "Figure", panels: Sequence["Axes"], notes: str) -> None:
    """Place one legend below all panels, each line once, under a line of notes."""
    entries = {label: handle for axes in panels
               for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if not entries:
        return
    width = figure.get_figwidth()
    columns = max(1, int(width / (0.065 * max(map(len, entries)) + 0.6)))
    figure.legend(entries.values(), entries, loc="outside lower center", frameon=False,
                  ncols=min(columns, len(entries)), handlelength=3,
                  title=textwrap.fill(notes, int(16 * width)))


def table(figure: "Figure", body: Sequence[Sequence[str]], centres: Sequence[float],
          groups: Sequence[tuple[float, str]], notes: Sequence[str], smoke: bool,
          headings: Sequence[int] = ()) -> None:
    """Lay out a table by hand: heads over columns, rules between them, notes below.

    The first row of `body` holds the column heads. The first column is aligned left. The rows at
    the positions in `headings` are headings.
    """
    lines = len(body) + len(notes) + 3
    axes = figure.add_axes((0.01, 0, 0.98, 1))
    axes.set(xlim=(0, 1), ylim=(lines, 0))
    axes.axis("off")
    if smoke:
        axes.text(0.5, 0.5, SMOKE_MARK, ha="center", va="center", **_SMOKE)
    for centre, text in groups:
        axes.text(centre, 1.5, text, ha="center", va="center", weight="bold")
    for number, row in enumerate(body):
        bold = number == 0 or number in headings
        for centre, text in zip(centres, row, strict=False):
            axes.text(centre, 2.5 + number, text, ha="left" if centre == 0 else "center",
                      va="center", weight="bold" if bold else "normal")
    for height in (1, 3, 2 + len(body)):
        axes.axhline(height, color="black", lw=0.8)
    for number, note in enumerate(notes):
        axes.text(0, 2.6 + len(body) + number, note, va="center", color=TEXTS["note"], fontsize=7)


def interval(value: float, low: float, high: float) -> str:
    """Format a value with its interval for a table."""
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def save(folder: Path, name: str, figure: "Figure", frame: "DataFrame",
         runs: Sequence[Params], alt: str, table: str = "") -> Drawn:
    """Write a figure and its numbers; the same results give the same bytes.

    The files name the runs shown, the digests of their parameters and the commits that made them:
    the PNG and PDF in their metadata, the CSV in the columns run, params_digest and commit.

    Args:
        alt: The alternative text, without a word on smoke runs.
        table: The same as a table of HTML, if the figure is a table.

    Returns:
        The paths by "pdf", "png" and "csv"; they are elsewhere if the folder is in an archive (see
        `params.written`).
    """
    folder = written(folder)
    paths = {kind: folder / f"{name}.{kind}" for kind in ("pdf", "png", "csv")}
    made = "; ".join(f"run {config.name}, parameters {config.digest}, commit {commit(config)}"
                     for config in runs) or NOT_RUN
    if any(config.smoke for config in runs):
        alt = f"{SMOKE_MARK}. {alt}"
    lay_out(figure)
    with files.whole(paths["pdf"]) as temporary:
        figure.savefig(temporary, format="pdf",
                       metadata={"CreationDate": None, "Title": name, "Subject": made})
    with files.whole(paths["png"]) as temporary:
        write_png(figure, temporary, _DPI, {"Title": name, "Description": made, ALT: alt})
    files.write_whole(paths["csv"], _with_provenance(frame, runs).map(csv_cell).to_csv(index=False))
    return Drawn(paths, table)


def lay_out(figure: "Figure") -> None:
    """Place everything in a figure, once for all its files.

    It uses the resolution of the PNG, because letters are some per cent narrower at a lower one.
    """
    figure.set_dpi(_DPI)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _with_provenance(frame: "DataFrame", runs: Sequence[Params]) -> "DataFrame":
    frame = frame if "run" in frame else frame.assign(run=runs[0].name)
    return frame.assign(
        params_digest=frame["run"].map({config.name: config.digest for config in runs}),
        commit=frame["run"].map({config.name: commit(config) for config in runs}))
