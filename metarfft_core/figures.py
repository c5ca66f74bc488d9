"""Figures and tables out of the stored results alone: nothing here trains or generates.

Accuracy by length as in the paper's Figure 3, the averages of its Table 2 beside the paper's own,
and the losses over the steps (its Figures 13 and 14). Each is written to <run folder>/figures as
PDF, PNG and the CSV of the numbers behind it. A smoke run is marked on every one of them.
"""

import math
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from metarfft_core import evaluation, files, metrics, tasks, training
from metarfft_core.params import METHODS, Params, ParamsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

LABELS = {"direct": "Direct answer", "scratchpad": "Scratchpad", "vanilla_rfft": "Vanilla RFFT",
          "meta_rfft": "Meta-RFFT"}
SMOKE_MARK = "SMOKE RUN: says nothing about the methods"
PAPER = Path(__file__).parent / "data" / "paper_results.yaml"

_MARKERS = dict(zip(METHODS, "os^D", strict=True))
_COLUMN, _PAGE = 3.3, 7.0  # inches: the width of a column, and of a page of four panels


def accuracy_figure(run: Params) -> dict[str, Path]:
    """Draw accuracy by length, a panel a task and a line a method, with Wilson intervals.

    The lengths that the adaptation trained on are shaded. Returns the paths by "pdf", "png" and
    "csv"; raises ParamsError where the evaluation is not finished.
    """
    frame = accuracy_table(run, evaluation.read(run))
    with _style():
        return _save(run, "accuracy_by_length", draw_accuracy(run, frame), frame)


def accuracy_table(run: Params, rows: "DataFrame") -> "DataFrame":
    """A line for each method, task and length: the outcomes counted, accuracy, its interval."""
    from pandas import DataFrame

    lines = []
    for (method, task, length), group in rows.groupby(["method", "task", "length"], sort=False):
        outcomes = Counter(group["outcome"])
        right, total = outcomes["right"], len(group)
        low, high = metrics.wilson(right, total, run.evaluation.confidence)
        lines.append({
            "method": method, "task": task, "length": length,
            "in_distribution": length in run.corpus.adaptation.lengths,
            **{outcome: outcomes[outcome] for outcome in evaluation.OUTCOMES}, "total": total,
            "accuracy": right / total, "low": low, "high": high})
    return DataFrame(lines)


def draw_accuracy(run: Params, frame: "DataFrame") -> "Figure":
    """The figure of `accuracy_figure`, from the lines of `accuracy_table`."""
    figure, panels = _panels(run, [_title(task) for task in run.corpus.adaptation.tasks])
    methods, trained = run.adaptation.methods, run.corpus.adaptation.lengths
    lengths = run.corpus.evaluation.lengths
    # Side by side, for the lines often lie on each other at 0% and at 100%.
    step = min(0.2, 0.015 * lengths[-1])
    for task, axes in zip(run.corpus.adaptation.tasks, panels, strict=True):
        axes.axvspan(trained[0] - 0.5, trained[-1] + 0.5, color="0.9", lw=0, zorder=0)
        for place, method in enumerate(methods):
            part = frame[(frame["task"] == task) & (frame["method"] == method)]
            x, accuracy = part["length"] + step * (place - (len(methods) - 1) / 2), part["accuracy"]
            axes.vlines(x, part["low"], part["high"], color=_colour(method), lw=0.6)
            axes.plot(x, accuracy, color=_colour(method), marker=_MARKERS[method],
                      markersize=3.5 if len(lengths) <= 12 else 1.8, label=LABELS[method])
        axes.set(xlim=(0.3, lengths[-1] + 0.7), ylim=(-0.04, 1.04), xticks=_ticks(lengths))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _finish(figure, panels, "length", "accuracy", "shaded: the lengths trained on")
    return figure


def _ticks(lengths: list[int]) -> list[int]:
    """Every evaluated length where they are few, else the first one and round ones."""
    step = max(5, lengths[-1] // 30 * 5)
    return lengths if len(lengths) <= 8 else [lengths[0], *range(step, lengths[-1] + 1, step)]


def table_2(run: Params) -> dict[str, Path]:
    """Draw the averages over the tasks, with bootstrap intervals, beside the paper's Table 2.

    Returns the paths by "pdf", "png" and "csv"; raises ParamsError where the evaluation is not
    finished.
    """
    frame = averages(run, evaluation.read(run))
    with _style():
        return _save(run, "table_2", draw_table_2(run, frame), frame)


def averages(run: Params, rows: "DataFrame") -> "DataFrame":
    """A line for each method: our averages over the tasks, with intervals, and the paper's.

    ACC_Len<n> is the accuracy at the longest evaluated length n; Max_Len_90% takes every
    evaluated length up to it to reach 90%, Max_Len_90%_any only the length itself.
    """
    from pandas import DataFrame

    cells = metrics.accuracy_by_length(rows.to_dict("records"))
    longest = metrics.longest(list(cells.values()))
    statistics = {f"ACC_Len{longest}": metrics.acc_longest,
                  "Max_Len_90%": metrics.mean_max_len_90,
                  "Max_Len_90%_any": partial(metrics.mean_max_len_90, prefix=False)}
    paper = _paper()
    lines = []
    for method in run.adaptation.methods:
        counts = [cell for (name, _), cell in cells.items() if name == method]
        line = {"method": method, "tasks": len(counts),
                f"tasks_at_{longest}": sum(longest in one for one in counts)}
        for name, statistic in statistics.items():
            low, high = metrics.bootstrap(counts, statistic, run.evaluation.bootstrap_samples,
                                          run.evaluation.confidence, run.seed)
            line |= {name: statistic(counts), f"{name}_low": low, f"{name}_high": high}
        for size in ("7b", "32b"):
            accuracy, length = paper[size][method]
            line |= {f"paper_{size}_ACC_Len30": accuracy, f"paper_{size}_Max_Len_90%": length}
        lines.append(line)
    return DataFrame(lines)


def _paper() -> dict:
    return yaml.safe_load(PAPER.read_text(encoding="utf-8"))["table_2"]


def draw_table_2(run: Params, frame: "DataFrame") -> "Figure":
    """The table of `table_2`, from the lines of `averages`."""
    from matplotlib.figure import Figure

    ours = next(name for name in frame.columns if name.startswith("ACC_Len"))
    theirs = [f"paper_{size}_{name}" for size in ("7b", "32b")
              for name in ("ACC_Len30", "Max_Len_90%")]
    body = [["method", ours, "Max_Len_90%", *["ACC_Len30", "Max_Len_90%"] * 2]]
    for line in frame.to_dict("records"):
        body.append([LABELS[line["method"]], _interval(line, ours), _interval(line, "Max_Len_90%"),
                     *(f"{line[name]:.2f}" for name in theirs)])
    notes = _notes(run, frame, ours)
    figure = Figure(figsize=(_PAGE, 0.25 * (len(body) + len(notes)) + 0.75))
    _fill_table(figure, body, notes)
    if run.smoke:
        _mark(figure)
    return figure


def _interval(line: dict, name: str) -> str:
    return f"{line[name]:.2f} [{line[f'{name}_low']:.2f}, {line[f'{name}_high']:.2f}]"


def _notes(run: Params, frame: "DataFrame", ours: str) -> list[str]:
    longest = ours.removeprefix("ACC_Len")
    tasks_all, tasks_longest = frame["tasks"].max(), frame[f"tasks_at_{longest}"].max()
    rivals = ", ".join(f"{name} {accuracy:.2f} and {length:.2f}"
                       for name, (accuracy, length) in _paper()["reference"].items())
    notes = [f"{run.name}: {run.model.name}, averages over {tasks_all} task(s), "
             f"{run.corpus.evaluation.samples_per_length} samples a length, "
             f"{run.evaluation.confidence:.0%} bootstrap intervals over the samples.",
             "Max_Len_90%: the largest evaluated length up to which every evaluated length "
             "reaches 90%.",
             f"The paper averages over 12 tasks; it also reports {rivals}."]
    if tasks_longest < tasks_all:
        notes.insert(1, f"{ours}: over the {tasks_longest} task(s) evaluated at that length.")
    return notes


def _fill_table(figure: "Figure", body: list[list[str]], notes: list[str]) -> None:
    """Lay out text by hand: column heads over groups, rules between them, notes below."""
    axes = figure.add_axes((0.01, 0, 0.98, 1))
    lines = len(body) + len(notes) + 3
    axes.set(xlim=(0, 1), ylim=(lines, 0))
    axes.axis("off")
    centres = [0, 0.22, 0.4, 0.555, 0.68, 0.81, 0.935]
    for centre, text in ((0.31, "this run"), (0.6175, "paper, 7B"), (0.8725, "paper, 32B")):
        axes.text(centre, 1.5, text, ha="center", va="center", weight="bold")
    for number, row in enumerate(body):
        for centre, text in zip(centres, row, strict=True):
            axes.text(centre, 2.5 + number, text, ha="left" if centre == 0 else "center",
                      va="center", weight="bold" if number == 0 else "normal")
    for height in (1, 3, 2 + len(body)):
        axes.axhline(height, color="black", lw=0.8)
    for number, note in enumerate(notes):
        axes.text(0, 2.6 + len(body) + number, note, va="center", color="0.3", fontsize=7)


def loss_figure(run: Params) -> dict[str, Path]:
    """Draw training and validation loss over the steps, of RF-pretraining and each adaptation.

    Trainings that have not begun are left out. Returns the paths by "pdf", "png" and "csv";
    raises ParamsError where there is none.
    """
    frame = loss_table(run)
    with _style():
        return _save(run, "loss", draw_loss(run, frame), frame)


def loss_table(run: Params) -> "DataFrame":
    """A line for each step of each training that was logged: loss, validation loss or both."""
    from pandas import DataFrame

    stages = [("pretrain", None, None)] + [
        ("adapt", task, method) for task in run.corpus.adaptation.tasks
        for method in run.adaptation.methods]
    lines = []
    for stage, task, method in stages:
        log = training.read_log(training.stage_folder(run, stage, task, method))
        lines += [{"stage": stage, "task": task, "method": method, "step": line["step"],
                   "loss": line.get("loss", math.nan),
                   "validation_loss": line.get("validation_loss", math.nan)} for line in log]
    if not lines:
        raise ParamsError(f"{run.folder} holds no log of a training")
    return DataFrame(lines)


def draw_loss(run: Params, frame: "DataFrame") -> "Figure":
    """The figure of `loss_figure`, from the lines of `loss_table`."""
    from matplotlib.ticker import MaxNLocator

    pretraining = frame[frame["stage"] == "pretrain"]
    adapted = [task for task in run.corpus.adaptation.tasks if (frame["task"] == task).any()]
    titles = [f"adaptation\n{task}" for task in adapted]
    figure, panels = _panels(run, titles if pretraining.empty else ["RF-pretraining", *titles])
    if not pretraining.empty:
        _draw_losses(panels[0], pretraining, "0.2", "o", "RF-pretraining")
    for task, axes in zip(adapted, panels[len(panels) - len(adapted):], strict=True):
        for method in run.adaptation.methods:
            part = frame[(frame["task"] == task) & (frame["method"] == method)]
            _draw_losses(axes, part, _colour(method), _MARKERS[method], LABELS[method])
    for axes in panels:
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    _finish(figure, panels, "step", "loss per token", "marked: validation, thin: training")
    return figure


def _draw_losses(axes: "Axes", part: "DataFrame", colour, marker: str, label: str) -> None:
    trained, looked = part.dropna(subset="loss"), part.dropna(subset="validation_loss")
    axes.plot(trained["step"], trained["loss"], color=colour, lw=0.6, alpha=0.7, marker="")
    axes.plot(looked["step"], looked["validation_loss"], color=colour, marker=marker,
              markersize=3.5, label=label)


def token_figure(run: Params, frame: "DataFrame") -> dict[str, Path]:
    """Draw what samples cost: a row a task, a column a length, the mean tokens in each cell.

    `frame` is that of `costs.tokens`. A cell is grey where a sample does not fit the context.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from seaborn import heatmap

    grid = frame.pivot(index="task", columns="length", values="mean")
    longest = frame.pivot(index="task", columns="length", values="max")
    grid = grid.loc[grid.max(axis=1).sort_values().index]
    fits = longest.loc[grid.index] <= run.model.context
    with _style():
        figure = Figure(figsize=(_PAGE, 1.2 + 0.13 * len(grid)), layout="constrained")
        axes = figure.add_subplot()
        heatmap(grid.where(fits), norm=LogNorm(), cmap="viridis_r", ax=axes, annot=True, fmt=".0f",
                annot_kws={"size": 5}, yticklabels=True,
                cbar_kws={"label": "tokens of prompt and completion (mean)"})
        axes.set_facecolor("0.85")
        axes.set(xlabel="length", ylabel="")
        axes.tick_params(axis="y", labelsize=5)
        return _save(run, "tokens", figure, frame)


@contextmanager
def _style() -> Iterator[None]:
    """Small text, a light grid, fonts kept as text: for the block alone, whatever the notebook
    has set."""
    import matplotlib
    import seaborn

    with matplotlib.rc_context(seaborn.plotting_context("paper", font_scale=0.85)
                               | seaborn.axes_style("whitegrid")
                               | {"lines.linewidth": 1.1, "grid.linewidth": 0.5, "font.size": 8,
                                  "pdf.fonttype": 42}):
        yield


def _colour(method: str) -> tuple[float, float, float]:
    import seaborn

    return seaborn.color_palette("colorblind")[list(METHODS).index(method)]


def _title(task: str) -> str:
    """The id of a task and, below, its name as far as a panel holds it."""
    return f"{task}\n" + textwrap.shorten(tasks.get(task).name.replace("_", " "), 26,
                                          placeholder=" ...")


def _panels(run: Params, titles: list[str]) -> tuple["Figure", list["Axes"]]:
    """A figure of a panel for each title, four to a row at the most."""
    from matplotlib.figure import Figure

    columns = min(4, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = Figure(figsize=(_COLUMN if columns == 1 else _PAGE, 0.9 + 1.7 * rows),
                    layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid[len(titles):]:
        axes.remove()
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(title)
    if run.smoke:
        _mark(figure)
    return figure, list(grid[:len(titles)])


def _mark(figure: "Figure") -> None:
    figure.suptitle(SMOKE_MARK, color="#b00020", weight="bold", fontsize=8)


def _finish(figure: "Figure", panels: list["Axes"], x: str, y: str, legend: str) -> None:
    """Label the outer panels and set one legend below them all, each method once."""
    columns = panels[0].get_gridspec().ncols
    for place, axes in enumerate(panels):
        if place % columns == 0:
            axes.set_ylabel(y)
        if place + columns >= len(panels):
            axes.set_xlabel(x)
    entries = {label: handle for axes in panels
               for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(entries.values(), entries, loc="outside lower center", frameon=False,
                  ncols=2 if len(panels) == 1 else len(entries), title=legend)


def _save(run: Params, name: str, figure: "Figure", frame: "DataFrame") -> dict[str, Path]:
    """Write a figure and its numbers, the same bytes for the same results."""
    paths = {kind: run.folder / "figures" / f"{name}.{kind}" for kind in ("pdf", "png", "csv")}
    with files.whole(paths["pdf"]) as temporary:
        figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})
    with files.whole(paths["png"]) as temporary:
        figure.savefig(temporary, format="png", dpi=200)
    files.write_whole(paths["csv"], frame.to_csv(index=False))
    return paths
