"""The paper's Figure 7 and Table 9: reinforcement learning beside Meta-RFFT.

The numbers come from the logs of the trainings, and from the evaluation of Meta-RFFT in the same
run. Runs without reinforcement learning leave the figure as `several` draws it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metarfft_core.analysis.stored import Stored, model_name, paper
from metarfft_core.evaluation.metrics import wilson
from metarfft_core.figures import single, words
from metarfft_core.figures.curves import draw_accuracies
from metarfft_core.figures.picture import Drawn, html_table
from metarfft_core.figures.style import (
    PAGE,
    Look,
    PanelGroup,
    Title,
    finish,
    legend,
    look,
    page,
    save,
    short_title,
    style,
    table,
)
from metarfft_core.params import LABELS, Params
from metarfft_core.training.rl.results import evaluations

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

STARTS = {"base": "base model", "pretrained": "RF-pretrained model"}
TITLE_9 = "Table 9: reinforcement learning"
_HEAD = ("steps", "GPU hours", "accuracy", "longest length", "tokens", "with a trace", "true share")
"""The columns of Table 9. The true share is that of a trace before its first false line."""


def write(runs: Sequence[Params], folder: Path) -> dict[str, Drawn]:
    """Draw Figure 7 and Table 9 into a folder, if any run has logs of reinforcement learning.

    Returns:
        The paths by "pdf", "png" and "csv" for figure_7 and table_9; nothing without such a run.
    """
    runs = [config for config in runs if config.rl]
    frame = collect(runs) if runs else None
    if frame is None or frame.empty:
        return {}
    shown = [config for config in runs if (frame["run"] == config.name).any()]
    with style():
        figure, lines = draw(frame, shown)
        rows = _rows(frame)
        told = [[name, *(f"{about} {cell}" for about, cell in zip(_HEAD, cells, strict=True)
                         if cell)] for name, *cells in rows]
        accuracy = words.accuracies(list(lines.groupby("line", sort=False)))
        alt = f"{accuracy} {words.numbers('From the first evaluation to the last one', told)}"
        return {
            "figure_7": save(folder, "figure_7", figure, lines, shown, alt),
            "table_9": save(folder, "table_9", _draw_table(rows, shown), frame, shown,
                            words.numbers(TITLE_9, told),
                            html_table([[("", 1), *((head, 1) for head in _HEAD)]], rows, TITLE_9))}


def collect(runs: Sequence[Params]) -> "DataFrame":
    """Return the lines of `results.evaluations` of some runs, each with its run and its label."""
    from pandas import concat

    parts = []
    for config in runs:
        rows = evaluations(config)
        several = rows["task"].nunique() > 1
        parts.append(rows.assign(run=config.name, line=[
            _label(config, row, several, len(runs) > 1) for row in rows.itertuples()]))
    return concat([rows for rows in parts if not rows.empty] or parts[:1], ignore_index=True)


def _label(config: Params, row, tasks: bool, runs: bool) -> str:
    about = [f"RL from the {STARTS[row.start]}, {row.reward}"]
    about += [short_title(row.task, 30)] if tasks else []
    return ", ".join(about + ([f"run {config.name}"] if runs else []))


def draw(frame: "DataFrame", runs: Sequence[Params]) -> tuple["Figure", "DataFrame"]:
    """Draw Figure 7 from the lines of `collect`.

    Returns:
        The figure, and the accuracies by length of its first panel, after the last evaluation of
        each training and of Meta-RFFT.
    """
    from pandas import concat

    after = frame[frame["step"] == frame.groupby("line")["step"].transform("max")]
    config = runs[0]
    compared = [part for one in runs for part in [_meta(one)] if not part.empty]
    lines = concat([_accuracies(config, after), *compared], ignore_index=True)
    hours = frame["gpu_hours"].notna().all()
    x = "GPU hours" if hours else "hours on a CPU"
    frame = frame.assign(hours=frame["gpu_hours"] if hours else frame["seconds"] / 3600)
    titles = [Title("Accuracy by length", "after training"), Title("Accuracy", "all lengths"),
              Title("Tokens an answer"), Title("Answers with a trace")]
    figure, [panels] = page([PanelGroup(None, titles)], any(one.smoke for one in runs), height=2.0)
    labels = list(dict.fromkeys([*frame["line"], *lines["line"]]))
    looks = {label: look("meta_rfft" if label == LABELS["meta_rfft"] else "", position)
             for position, label in enumerate(labels)}
    draw_accuracies(panels[0], [(label, looks[label], part) for label, part in
                                lines.groupby("line", sort=False)], config.rl.lengths)
    for axes, value in zip(panels[1:], (
            lambda part: part["right"].sum() / part["answers"].sum(),
            lambda part: (part["tokens"] * part["answers"]).sum() / part["answers"].sum(),
            lambda part: part["traces"].sum(min_count=1) / part["answers"].sum()), strict=True):
        _draw_course(axes, frame, looks, value)
    finish(panels, x, "")
    panels[0].set_xlabel("length")
    for axes in (panels[1], panels[3]):
        axes.set_ylim(-0.04, 1.04)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    legend(figure, panels, _notes(runs))
    return figure, lines


def _accuracies(config: Params, after: "DataFrame") -> "DataFrame":
    bounds = [wilson(right, answers, config.evaluation.confidence)
              for right, answers in zip(after["right"], after["answers"], strict=True)]
    return after.assign(accuracy=after["right"] / after["answers"],
                        low=[low for low, _ in bounds], high=[high for _, high in bounds])[
        ["run", "line", "task", "step", "length", "answers", "right", "accuracy", "low", "high"]]


def _meta(config: Params) -> "DataFrame":
    """Return the accuracy of Meta-RFFT on the tasks of a run's reinforcement learning."""
    counts = Stored(config).counts
    counts = counts[(counts["method"] == "meta_rfft") & counts["task"].isin(config.rl.tasks)]
    accuracies = single.accuracies(config, counts)
    if accuracies.empty:
        return accuracies
    named = accuracies.rename(columns={"total": "answers"})
    return named.assign(run=config.name, line=LABELS["meta_rfft"])[
        ["run", "line", "task", "length", "answers", "right", "accuracy", "low", "high"]]


def _draw_course(axes: "Axes", frame: "DataFrame", looks: dict[str, Look],
                 value: Callable[["DataFrame"], float]) -> None:
    """Draw a value of each evaluation by the hours into its training."""
    for label, rows in frame.groupby("line", sort=False):
        points = [(evaluation["hours"].iloc[0], value(evaluation))
                  for _, evaluation in rows.groupby("step")]
        axes.plot(*zip(*points, strict=True), label=label, **looks[label]._asdict(), markersize=3.5)
    axes.set_ylim(bottom=0)


def _notes(runs: Sequence[Params]) -> str:
    return "; ".join(
        f"run {config.name}: {model_name(config)}, GRPO (the paper: PPO), prompts "
        f"{config.rl.prompt}, {config.rl.evaluation.samples_per_length} answers a length"
        for config in runs)


def _rows(frame: "DataFrame") -> list[list[str]]:
    """Return a row for each training: its label, then its values from the first evaluation to the
    last one; and the paper's."""
    rows = []
    for label, part in frame.groupby("line", sort=False):
        first, last = (part[part["step"] == step] for step in (part["step"].min(),
                                                               part["step"].max()))
        longest = [one[one["length"] == one["length"].max()] for one in (first, last)]
        hours = last["gpu_hours"].iloc[0]
        rows.append([
            label, f"{last['step'].iloc[0]}", "" if hours != hours or hours is None
            else f"{hours:.3g}",
            _course([one["right"].sum() / one["answers"].sum() for one in (first, last)], "%"),
            _course([one["right"].sum() / one["answers"].sum() for one in longest], "%"),
            _course([_mean(one, "tokens") for one in (first, last)], ""),
            _course([one["traces"].sum(min_count=1) / one["answers"].sum()
                     for one in (first, last)], "%"),
            _course([_mean(one, "process") for one in (first, last)], "%")])
    [theirs] = paper()["numbers"]["reinforcement_learning"]["lines"]
    return [*rows, ["the paper, PPO", "", f"{theirs['paper'][0]}", *[""] * (len(_HEAD) - 2)]]


def _mean(part: "DataFrame", name: str) -> float:
    return float((part[name].astype(float) * part["answers"]).sum(min_count=1)
                 / part["answers"].sum())


def _course(values: Sequence[float], unit: str) -> str:
    if any(value != value for value in values):  # NaN: the prompt holds no rule
        return ""
    return " to ".join(f"{value:.0%}" if unit else f"{value:.0f}" for value in values)


def _draw_table(rows: list[list[str]], runs: Sequence[Params]) -> "Figure":
    from matplotlib.figure import Figure

    body = [["", *_HEAD], *rows]
    notes = [_notes([config]) for config in runs] + [
        "From the first evaluation to the last one: greedy answers to held-out prompts, their "
        "tokens, those with a trace, and the share of it before the first false line."]
    width = 0.62 / len(_HEAD)
    centres = [0, *(0.38 + width * (position + 0.5) for position in range(len(_HEAD)))]
    figure = Figure(figsize=(1.7 * PAGE, 0.2 * (len(body) + len(notes) + 3)))
    table(figure, body, centres, [], notes, any(config.smoke for config in runs))
    return figure
