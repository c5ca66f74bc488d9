"""The figures and tables of one run, in its folder `figures`.

They show accuracy by length as in the paper's Figure 3, the averages of its Table 2 beside the
paper's own, and the losses over the steps (its Figures 13 and 14).
"""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from metarfft_core import evaluation
from metarfft_core.analysis import stored
from metarfft_core.evaluation import metrics
from metarfft_core.figures import words
from metarfft_core.figures.curves import draw_accuracies, draw_losses, lenient_differs
from metarfft_core.figures.picture import Drawn, html_table
from metarfft_core.figures.style import (
    PAGE,
    PanelGroup,
    Title,
    finish,
    interval,
    legend,
    look,
    page,
    save,
    style,
    table,
    task_title,
)
from metarfft_core.params import LABELS, METHODS, Params, ParamsError
from metarfft_core.tasks import id_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def accuracy_figure(config: Params, methods: Sequence[str] | None = None,
                    tasks: Sequence[str] | None = None,
                    name: str = "accuracy_by_length") -> Drawn:
    """Draw accuracy by length with intervals: a panel per task, a line per method.

    The lengths that the adaptation trained on are shaded. The CSV has every row of the run.

    Args:
        config: The resolved parameters of the run.
        methods: The methods to draw; by default, those that the run adapts.
        tasks: Ids or names of the tasks to draw; by default, those that the run adapts to.
        name: The name of the files.

    Returns:
        The paths by "pdf", "png" and "csv".

    Raises:
        ParamsError: If the evaluation is not finished.
    """
    frame = accuracy_table(config, evaluation.read(config))
    with style():
        figure = draw_accuracy(config, frame, methods, tasks)
        alt = words.accuracies(_labelled(_drawn(config, frame, methods, tasks)))
        return save(config.folder / "figures", name, figure, frame, [config], alt)


def accuracy_table(config: Params, rows: "DataFrame") -> "DataFrame":
    """Return the counted outcomes, accuracy and its interval for each method, task and length.

    With 1-shot prompts or API models, accuracy_lenient is their accuracy by the lenient score.
    The interval is Wilson's. With several seeds it is one standard deviation over them on each
    side.
    """
    return accuracies(config, stored.count(rows))


def accuracies(config: Params, counts: "DataFrame") -> "DataFrame":
    """Return `accuracy_table`, given counted rows (see `stored.count`)."""
    from pandas import DataFrame

    lines = []
    for (method, task, length), group in counts.groupby(["method", "task", "length"], sort=False):
        right, total = int(group["right"].sum()), int(group["total"].sum())
        low, high = _bounds(config, group, right, total)
        lines.append({
            "method": method, "task": task, "length": length,
            "in_distribution": length in config.corpus.adaptation.lengths,
            **{outcome: int(group[outcome].sum()) for outcome in evaluation.OUTCOMES},
            "total": total, "seeds": len(group), "accuracy": right / total, "low": low,
            "high": high})
        if "right_lenient" in group:
            lines[-1]["accuracy_lenient"] = group["right_lenient"].sum(skipna=False) / total
    return DataFrame(lines)


def _bounds(config: Params, group: "DataFrame", right: int, total: int) -> tuple[float, float]:
    if len(group) == 1:
        return metrics.wilson(right, total, config.evaluation.confidence)
    deviation = float((group["right"] / group["total"]).std())
    return max(0.0, right / total - deviation), min(1.0, right / total + deviation)


def draw_accuracy(config: Params, frame: "DataFrame", methods: Sequence[str] | None = None,
                  tasks: Sequence[str] | None = None) -> "Figure":
    """Draw the figure of `accuracy_figure`, from the lines of `accuracy_table`."""
    ids = [id_of(task) for task in tasks or config.corpus.adaptation.tasks]
    methods = list(methods or _own_methods(config))
    frame = _drawn(config, frame, methods, tasks)
    trained = config.corpus.adaptation.lengths if adapted(methods) else []
    figure, [panels] = page([PanelGroup(None, [task_title(task) for task in ids])], config.smoke)
    for task, axes in zip(ids, panels, strict=True):
        parts = [(LABELS.get(method, method), look(method, position),
                  frame[(frame["task"] == task) & (frame["method"] == method)])
                 for position, method in enumerate(methods)]
        draw_accuracies(axes, parts, trained)
    finish(panels, "length", "accuracy")
    legend(figure, panels, accuracy_notes([config], frame))
    return figure


def _drawn(config: Params, frame: "DataFrame", methods: Sequence[str] | None,
           tasks: Sequence[str] | None) -> "DataFrame":
    """Return the lines of `accuracy_table` that `draw_accuracy` draws."""
    ids = [id_of(task) for task in tasks or config.corpus.adaptation.tasks]
    return frame[frame["task"].isin(ids)
                 & frame["method"].isin(list(methods or _own_methods(config)))]


def _own_methods(config: Params) -> list[str]:
    """Return the methods that a run is about: those it adapts, else all that it evaluates."""
    return config.adaptation.methods or list(dict.fromkeys(cell.method for cell in config.cells))


def _labelled(frame: "DataFrame") -> list[tuple[str, "DataFrame"]]:
    """Return the label and the lines of each method, as `words` takes them."""
    return [(LABELS.get(method, method), rows)
            for method, rows in frame.groupby("method", sort=False)]


def adapted(methods: Iterable[str]) -> bool:
    """Whether a model of one of the methods was adapted to the tasks: a 1-shot prompt's was not."""
    return any(method in METHODS and METHODS[method].adapted for method in methods)


def accuracy_notes(runs: Sequence[Params], frame: "DataFrame") -> str:
    """Explain the shade, if there is one, and the bars of an accuracy figure."""
    shares = ", ".join(sorted({f"{config.evaluation.confidence:.0%}" for config in runs}))
    bars = [f"{shares} Wilson intervals"] if (frame["seeds"] == 1).any() else []
    bars += ["standard deviations over seeds"] if (frame["seeds"] > 1).any() else []
    shaded = "shaded: the lengths trained on; " if adapted(frame["method"].unique()) else ""
    lenient = "; dotted: the lenient score" if lenient_differs(frame) else ""
    return f"{shaded}bars: {', or '.join(bars)}{lenient}"


def table_2(config: Params) -> Drawn:
    """Draw the averages over the tasks, with bootstrap intervals, beside the paper's Table 2.

    Returns the paths by "pdf", "png" and "csv".

    Raises:
        ParamsError: If the evaluation is not finished.
    """
    frame = averages(config, evaluation.read(config))
    with style():
        head, body = _table_2(frame)
        title = f"Averages over the tasks, beside the paper's Table 2 ({config.name})"
        return save(config.folder / "figures", "table_2", draw_table_2(config, frame), frame,
                    [config], words.numbers(title, [line[:3] for line in body]),
                    html_table([_GROUPS, [(text, 1) for text in head]], body, title))


def averages(config: Params, rows: "DataFrame") -> "DataFrame":
    """Return, for each method, our averages over the tasks with intervals, and the paper's.

    ACC_Len<n> is the accuracy at the longest evaluated length n. Max_Len_90% requires every
    evaluated length up to it to reach 90%; Max_Len_90%_any requires only the length itself.
    """
    from pandas import DataFrame

    # The bootstrap draws task after task, so the paper's order gives the intervals of its tables.
    order = stored.task_ids("downstream")
    ids = sorted(config.corpus.adaptation.tasks,
                 key=lambda task: order.index(task) if task in order else len(order))
    answers = stored.answers(rows)
    cells = {method: [answers[method, task] for task in ids if (method, task) in answers]
             for method in _own_methods(config)}
    longest = max(length for part in cells.values() for count in part for length in count.indices)
    statistics = {f"ACC_Len{longest}": metrics.acc_longest,
                  "Max_Len_90%": metrics.mean_max_len_90,
                  "Max_Len_90%_any": partial(metrics.mean_max_len_90, prefix=False)}
    lines = []
    for method, part in cells.items():
        line = {"method": method, "tasks": len(part),
                f"tasks_at_{longest}": sum(longest in count.indices for count in part)}
        for name, statistic in statistics.items():
            value, low, high = stored.measure(config, statistic, part)
            line |= {name: value, f"{name}_low": low, f"{name}_high": high}
        for size in ("7b", "32b"):
            accuracy, length = _papers(size).get(method, (math.nan, math.nan))
            line |= {f"paper_{size}_ACC_Len30": accuracy, f"paper_{size}_Max_Len_90%": length}
        lines.append(line)
    return DataFrame(lines)


def _papers(model: str | None) -> dict[str, tuple[float, ...]]:
    """Return the paper's Table 2 by method, or by API model if `model` is None."""
    return {line.api or line.method: line.paper
            for line in stored.lines(stored.paper()["numbers"]["table_2"]) if line.model == model}


def draw_table_2(config: Params, frame: "DataFrame") -> "Figure":
    """Draw the table of `table_2`, from the lines of `averages`."""
    from matplotlib.figure import Figure

    head, body = _table_2(frame)
    notes = _notes(config, frame, head[1])
    figure = Figure(figsize=(PAGE, 0.25 * (1 + len(body) + len(notes)) + 0.75))
    table(figure, [head, *body], [0, 0.22, 0.4, 0.555, 0.68, 0.81, 0.935],
          list(zip((0.31, 0.6175, 0.8725), (text for text, _ in _GROUPS[1:]), strict=True)), notes,
          config.smoke)
    return figure


_GROUPS = [("", 1), ("this run", 2), ("paper, 7B", 2), ("paper, 32B", 2)]
"""The heads over the columns of Table 2."""


def _table_2(frame: "DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return the heads of the columns and the rows of cells, from the lines of `averages`."""
    ours = next(name for name in frame.columns if name.startswith("ACC_Len"))
    theirs = [f"paper_{size}_{name}" for size in ("7b", "32b")
              for name in ("ACC_Len30", "Max_Len_90%")]
    body = []
    for line in frame.to_dict("records"):
        body.append([LABELS.get(line["method"], line["method"]), *(
            interval(*(line[name + end] for end in ("", "_low", "_high")))
            for name in (ours, "Max_Len_90%")),
            *("" if math.isnan(line[name]) else f"{line[name]:.2f}" for name in theirs)])
    return ["method", ours, "Max_Len_90%", *["ACC_Len30", "Max_Len_90%"] * 2], body


def _notes(config: Params, frame: "DataFrame", ours: str) -> list[str]:
    longest = ours.removeprefix("ACC_Len")
    tasks_all, tasks_longest = frame["tasks"].max(), frame[f"tasks_at_{longest}"].max()
    rivals = ", ".join(f"{name} {accuracy:.2f} and {length:.2f}"
                       for name, (accuracy, length) in _papers(None).items())
    notes = [f"{config.name}: {config.model.name}, averages over {tasks_all} task(s), "
             f"{config.corpus.evaluation.samples_per_length} samples a length, "
             f"{config.evaluation.confidence:.0%} bootstrap intervals over the samples.",
             "Max_Len_90%: the largest evaluated length up to which every evaluated length "
             "reaches 90%.",
             f"The paper averages over 12 tasks; it also reports {rivals}."]
    if tasks_longest < tasks_all:
        notes.insert(1, f"{ours}: over the {tasks_longest} task(s) evaluated at that length.")
    return notes


def loss_figure(config: Params) -> Drawn:
    """Draw training and validation loss over the steps, for RF-pretraining and each adaptation.

    Trainings that have not started are left out. Returns the paths by "pdf", "png" and "csv".

    Raises:
        ParamsError: If no training has started.
    """
    frame = loss_table(config)
    with style():
        alt = words.losses([("RF-pretraining", frame[frame["stage"] == "pretrain"]),
                            *_labelled(frame[frame["seed"] == config.seed])])
        return save(config.folder / "figures", "loss", draw_loss(config, frame), frame, [config],
                    alt)


def loss_table(config: Params) -> "DataFrame":
    """Return a line for each logged step of each training: loss, validation loss or both.

    Raises:
        ParamsError: If no training has a log.
    """
    frame = stored.logged(config)
    if frame.empty:
        raise ParamsError(f"{config.folder} has no training log")
    return frame


def draw_loss(config: Params, frame: "DataFrame") -> "Figure":
    """Draw the figure of `loss_figure`, from the lines of `loss_table` with the run's own seed."""
    frame = frame[frame["seed"].isna() | (frame["seed"] == config.seed)]
    pretraining = frame[frame["stage"] == "pretrain"]
    adapted = [task for task in config.corpus.adaptation.tasks if (frame["task"] == task).any()]
    titles = [task_title(task, "adaptation") for task in adapted]
    titles = titles if pretraining.empty else [Title("RF-pretraining"), *titles]
    figure, [panels] = page([PanelGroup(None, titles)], config.smoke)
    if not pretraining.empty:
        draw_losses(panels[0], [("RF-pretraining", look("pretrain"), pretraining)])
    for task, axes in zip(adapted, panels[len(panels) - len(adapted):], strict=True):
        rows = frame[frame["task"] == task]
        draw_losses(axes, [(LABELS[method], look(method), rows[rows["method"] == method])
                           for method in dict.fromkeys(rows["method"])])
    finish(panels, "step", "loss per token")
    legend(figure, panels, LOSS_NOTES)
    return figure


LOSS_NOTES = "marked: validation, thin: training"
