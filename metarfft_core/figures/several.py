"""The paper's figures and tables, from the stored results of several runs.

`data/paper_results.yaml` defines what each shows and which run speaks to it. A figure has a group
of panels (a table has a section) for each of the paper's models, run or not, and for every other
model that speaks to it, named "ours". A group that was not run is one line at the figure's end.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metarfft_core.analysis import diagnoses
from metarfft_core.analysis.groups import Group, groups
from metarfft_core.analysis.stored import (
    METRICS,
    Found,
    Line,
    Stored,
    common,
    find_all,
    paper,
    rank,
)
from metarfft_core.figures import loops, single, words
from metarfft_core.figures.curves import draw_accuracies, draw_losses, draw_means, draw_steps
from metarfft_core.figures.picture import Drawn
from metarfft_core.figures.style import (
    Look,
    PanelGroup,
    Title,
    finish,
    legend,
    look,
    page,
    save,
    say_not_run,
    style,
    task_title,
)
from metarfft_core.figures.tables import draw_numbers, html_numbers, numbers, say_numbers
from metarfft_core.params import Params

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


def write(runs: Sequence[Params], folder: Path) -> dict[str, Drawn]:
    """Draw every figure and table of the paper into a folder, from the runs' stored results.

    What was not run is drawn empty, with a note that says so.

    Args:
        runs: The resolved parameters of each run.
        folder: Where to write them.

    Returns:
        The paths by "pdf", "png" and "csv" for each name, such as figure_3 or table_2.

    Raises:
        ParamsError: If results of a run were made with something else.
    """
    known, paths = [Stored(config) for config in runs], {}
    for name in names():
        with style():
            figure, frame = draw(name, known)
            shown = [config for config in runs if (frame["run"] == config.name).any()]
            spec = paper()["figures"].get(name) or paper()["numbers"][name]
            if name in paper()["figures"]:
                about = DRAWINGS[spec["draw"]].words(_parts(frame), spec), ""
            else:
                about = say_numbers(frame, spec), html_numbers(frame, spec)
            paths[name] = save(folder, name, figure, frame, shown, *about)
    return paths


def _parts(frame: "DataFrame") -> list[tuple[str, "DataFrame"]]:
    """Return the label and the numbers of each line of each group, as `words` takes them."""
    return [(f"{group}, {line}" if frame["group"].nunique() > 1 else line, rows)
            for (group, line), rows in frame.groupby(["group", "line"], sort=False)]


def names() -> list[str]:
    """Return the names of the figures and tables that `write` draws."""
    return [*paper()["figures"], *(name for name in paper()["numbers"] if name.startswith("table"))]


def draw(name: str, known: Sequence[Stored]) -> tuple["Figure", "DataFrame"]:
    """Draw a figure or table of the paper (see `names`); returns it and its numbers."""
    if name not in paper()["figures"]:
        spec = paper()["numbers"][name]
        frame = numbers(groups(spec, known), spec, known)
        return draw_numbers(frame, spec, _shown(frame, known)), frame
    spec = paper()["figures"][name]
    drawing = DRAWINGS[spec["draw"]]
    collected = [(group, drawing.collect(group, spec, known)) for group in groups(spec, known)]
    collected = [(group, part) for group, part in collected if not (group.ours and part.empty)]
    collected.sort(key=lambda pair: pair[1].empty)  # what was run comes first
    return _figure(drawing, collected, spec, known), _joined(collected, drawing)


class Drawing(NamedTuple):
    """A kind of figure: the numbers of a group, its panels, and what is drawn into each."""

    columns: tuple[str, ...]  # of its numbers, after group, line, run and model
    collect: Callable[[Group, dict, Sequence[Stored]], "DataFrame"]
    panels: Callable[[Group, dict], dict[str, Title]]  # the title of each panel, by its key
    draw: Callable[["Axes", str, Group, "DataFrame"], bool]  # False if there is nothing
    axes: Callable[[dict], tuple[str, str]]  # the labels of x and y
    notes: Callable[["DataFrame", list[Params]], str]
    words: Callable[[words.Parts, dict], str]  # the alternative text


def _figure(drawing: Drawing, collected: list, spec: dict, known: Sequence[Stored]) -> "Figure":
    titles = [drawing.panels(group, spec) for group, _ in collected]
    frame = _joined(collected, drawing)
    shown = _shown(frame, known)
    figure, panels = page([PanelGroup(group.heading(part), list(by_key.values()), part.empty)
                           for (group, part), by_key in zip(collected, titles, strict=True)],
                          any(config.smoke for config in shown))
    filled = []
    for (group, part), keys, axes in zip(collected, titles, panels, strict=True):
        if part.empty:
            continue
        for key, panel in zip(keys, axes, strict=True):
            if not drawing.draw(panel, key, group, part):
                say_not_run(panel)
        finish(axes, *drawing.axes(spec))
        filled += axes
    legend(figure, filled, drawing.notes(frame, shown) if filled else "")
    return figure


def _shown(frame: "DataFrame", known: Sequence[Stored]) -> list[Params]:
    return [stored.config for stored in known if (frame["run"] == stored.config.name).any()]


def _joined(collected: list, drawing: Drawing) -> "DataFrame":
    from pandas import DataFrame, concat

    parts = [rows for _, rows in collected if not rows.empty]
    return concat(parts, ignore_index=True) if parts else DataFrame(
        columns=[*_ABOUT, *drawing.columns])


_ABOUT = ("group", "line", "run", "model")


def _frame(parts: list[tuple[Group, Line, Stored, "DataFrame"]]) -> "DataFrame":
    """Concatenate the numbers of several lines of a group, each with its labels."""
    from pandas import DataFrame, concat

    about = [frame.assign(group=group.name, line=line.label, run=run.config.name, model=run.model)
             for group, line, run, frame in parts if not frame.empty]
    if not about:
        return DataFrame(columns=list(_ABOUT))
    frame = concat(about, ignore_index=True)
    return frame[[*_ABOUT, *(name for name in frame if name not in _ABOUT)]]


def _lines(group: Group, frame: "DataFrame") -> list[tuple[str, Look, "DataFrame"]]:
    """Return label, look and numbers of each line of a group that has any in `frame`."""
    parts, position = [], 0
    for line in group.lines:
        rows = frame[frame["line"] == line.label]
        if not rows.empty:
            parts.append((line.label, look(line.method if line.plain else "", position), rows))
        position += not line.plain
    return parts


def _trained(group: Group) -> list[int]:
    if not single.adapted(found.method for found in group.found):
        return []
    return group.found[0].config.corpus.adaptation.lengths


# Accuracy by length: a panel per task.

def _collect_accuracy(group: Group, spec: dict, known: Sequence[Stored]) -> "DataFrame":
    parts = []
    for found in group.found:
        counts = found.stored.counts
        counts = counts[(counts["method"] == found.method) & counts["task"].isin(found.cells)]
        parts.append((group, found.line, found.stored, single.accuracies(found.config, counts)))
    return _frame(parts)


def _task_panels(group: Group, spec: dict) -> dict[str, Title]:
    """Return a panel per task: every task for the paper's models, those with results for others."""
    ids = next(iter(group.lines)).tasks
    return {task: task_title(task) for task in ids
            if not group.ours or any(task in found.cells for found in group.found)}


def _draw_accuracy(axes: "Axes", task: str, group: Group, frame: "DataFrame") -> bool:
    parts = _lines(group, frame[frame["task"] == task])
    if parts:
        draw_accuracies(axes, parts, _trained(group))
    return bool(parts)


# Losses by step: a panel per task.

def _collect_losses(group: Group, spec: dict, known: Sequence[Stored]) -> "DataFrame":
    parts = []
    for found in group.found:
        logs = found.stored.losses
        logs = logs[(logs["method"] == found.method) & (logs["seed"] == found.config.seed)
                    & logs["task"].isin(found.cells)]
        parts.append((group, found.line, found.stored, logs))
    return _frame(parts)


def _draw_losses(axes: "Axes", task: str, group: Group, frame: "DataFrame") -> bool:
    parts = _lines(group, frame[frame["task"] == task])
    if parts:
        draw_losses(axes, parts)
    return bool(parts)


# The averages by training steps: a panel per metric.

def _collect_steps(group: Group, spec: dict, known: Sequence[Stored]) -> "DataFrame":
    """Collect the runs that are alike but for the steps of the stage.

    A line with only one such run is left out.
    """
    from pandas import DataFrame

    parts = []
    for found in group.found:
        best = _series(found, spec["stage"], known)
        cells = common(list(best.values()))
        if len(best) < 2 or not cells:
            continue
        for steps, run in sorted(best.items()):
            values = {metric + end: value for metric in METRICS for end, value in zip(
                ("", "_low", "_high"), run.value(metric, cells), strict=True)}
            parts.append((group, found.line, run.stored, DataFrame([{"steps": steps, **values}])))
    return _frame(parts)


def _series(found: Found, stage: str, known: Sequence[Stored]) -> dict[int, Found]:
    """Return runs by their steps of a stage: the most that share all else with each other.

    Their steps of the other stage are those of the line's own run.
    """
    other = {"pretraining": "adaptation", "adaptation": "pretraining"}[stage]
    series: dict[tuple, dict[int, Found]] = {}
    for candidate in sorted(find_all(found.line, known), key=rank):
        config = candidate.config
        if getattr(config, other).steps == getattr(found.config, other).steps:
            alike = config.corpus.wording, config.pretraining.in_context_share
            series.setdefault(alike, {}).setdefault(getattr(config, stage).steps, candidate)
    return max(series.values(), key=len)


def _metric_panels(group: Group, spec: dict) -> dict[str, Title]:
    return {metric: Title(metric) for metric in METRICS}


def _draw_steps(axes: "Axes", metric: str, group: Group, frame: "DataFrame") -> bool:
    draw_steps(axes, _lines(group, frame), metric)
    return True


# Loop counts by length: a panel per method, and one for the error of the count.

def _collect_loops(group: Group, spec: dict, known: Sequence[Stored]) -> "DataFrame":
    parts = []
    for found in group.found:
        frame = diagnoses.read(found.config, [found.method])
        frame = frame[frame["task"].isin(found.cells)]
        parts.append((group, found.line, found.stored, diagnoses.loop_table(frame)))
    return _frame(parts)


def _loop_panels(group: Group, spec: dict) -> dict[str, Title]:
    return {line.method: Title(line.label) for line in group.lines} | {"error": loops.ERROR_TITLE}


def _draw_loops(axes: "Axes", key: str, group: Group, frame: "DataFrame") -> bool:
    if key == "error":
        draw_means(axes, _lines(group, frame), _trained(group))
        return True
    rows = frame[frame["method"] == key]
    if not rows.empty:
        loops.draw_classes(axes, rows)
    return not rows.empty


DRAWINGS = {
    "accuracy": Drawing(
        ("method", "task", "length", "accuracy", "low", "high"), _collect_accuracy,
        _task_panels, _draw_accuracy, lambda spec: ("length", "accuracy"),
        lambda frame, runs: single.accuracy_notes(runs, frame),
        lambda parts, spec: words.accuracies(parts)),
    "loss": Drawing(
        ("task", "method", "step", "loss", "validation_loss"), _collect_losses,
        _task_panels, _draw_losses, lambda spec: ("step", "loss per token"),
        lambda frame, runs: single.LOSS_NOTES, lambda parts, spec: words.losses(parts)),
    "steps": Drawing(
        ("steps", *METRICS), _collect_steps, _metric_panels, _draw_steps,
        lambda spec: (f"steps of {spec['stage']}", "average over the tasks"),
        lambda frame, runs: "bars: bootstrap intervals",
        lambda parts, spec: words.steps(parts, spec["stage"])),
    "loops": Drawing(
        ("method", "length", "rows", *diagnoses.CLASSES, "relative_error"), _collect_loops,
        _loop_panels, _draw_loops, lambda spec: ("length", "share of the traces"),
        lambda frame, runs: loops.LOOP_NOTES, lambda parts, spec: words.loops(parts))}
"""The kinds of figures, by the value of `draw` in `data/paper_results.yaml`."""
