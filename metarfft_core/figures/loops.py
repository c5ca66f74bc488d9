"""Figures of traces: loop counts by length (the paper's Figure 4) and first divergences."""

import textwrap
from typing import TYPE_CHECKING

from metarfft_core import errors
from metarfft_core.analysis import diagnoses
from metarfft_core.figures import words
from metarfft_core.figures.curves import draw_means, length_ticks
from metarfft_core.figures.picture import Drawn
from metarfft_core.figures.style import (
    PanelGroup,
    Title,
    fill,
    finish,
    legend,
    look,
    page,
    save,
    style,
)
from metarfft_core.params import LABELS, Params, ParamsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

ERROR_TITLE = Title("relative error\nof the loop count")
LOOP_NOTES = "shaded: the lengths trained on; lines with bars: the mean and its 95% interval"

EDGE = "0.15"  # of the bars, and of their hatches
FILLS = {"right": ("0.95", ""), "loops_right": ("#fff3c4", "..."),
         "too_few": ("#cfe3f5", "////"), "too_many": ("#f6cfc0", "xxxx")}
"""Pale colours and a hatch for each class of `diagnoses.CLASSES`."""


def loop_figure(config: Params) -> Drawn:
    """Draw the loop counts of the traces by length: the paper's Figure 4 for one run.

    Returns the paths by "pdf", "png" and "csv".

    Raises:
        ParamsError: If no trace is stored.
    """
    frame = diagnoses.loop_table(_some(config))
    methods = [name for name in LABELS if (frame["method"] == name).any()]
    with style():
        titles = [*(Title(textwrap.fill(LABELS[method], 20)) for method in methods), ERROR_TITLE]
        figure, [panels] = page([PanelGroup(None, titles)], config.smoke)
        for method, axes in zip(methods, panels, strict=False):
            draw_classes(axes, frame[frame["method"] == method])
        draw_means(panels[-1], [(LABELS[method], look(method), frame[frame["method"] == method])
                                for method in methods], config.corpus.adaptation.lengths)
        finish(panels, "length", "share of the traces")
        panels[-1].set_ylabel("")  # its title says what it shows, which is not a share
        legend(figure, panels, LOOP_NOTES)
        return save(config.folder / "figures", "loop_counts", figure, frame, [config],
                    words.loops(_labelled(frame)))


def draw_classes(axes: "Axes", rows: "DataFrame") -> None:
    """Draw the shares of `diagnoses.CLASSES` by length, from one method's lines of `loop_table`."""
    rows, bottom = rows.sort_values("length"), 0
    for name, label in diagnoses.CLASSES.items():
        color, hatch = FILLS[name]
        share = rows[name] / rows["rows"]
        axes.bar(rows["length"], share, 0.9, bottom, hatch=hatch, edgecolor=EDGE, linewidth=0.3,
                 facecolor=color, label=label)
        bottom = bottom + share
    axes.set(ylim=(0, 1), xlim=(rows["length"].min() - 0.6, rows["length"].max() + 0.6),
             xticks=length_ticks(list(rows["length"])))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(axis="x", visible=False)


def error_figure(config: Params) -> Drawn:
    """Draw what the traces of each method got wrong first: the share of each kind of error.

    Returns the paths by "pdf", "png" and "csv".

    Raises:
        ParamsError: If no trace is stored.
    """
    frame = diagnoses.error_table(_some(config))
    methods = [name for name in LABELS if (frame["method"] == name).any()]
    with style():
        figure, [[axes]] = page([PanelGroup(None, [Title("first divergence")])], config.smoke,
                                height=3.0)
        kinds = [kind for kind in errors.KINDS if kind != "right"]
        width = 0.8 / len(methods)
        for position, method in enumerate(methods):
            rows = frame[frame["method"] == method].set_index("kind").loc[kinds]
            offset = width * (position - (len(methods) - 1) / 2)
            y = [number + offset for number in range(len(kinds))]
            axes.barh(y, rows["share"], width, label=LABELS[method], **fill(method))
        axes.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
        axes.set(ylim=(len(kinds) - 0.5, -0.5), xlabel="share of the traces")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.grid(axis="y", visible=False)
        legend(figure, [axes], "")
        return save(config.folder / "figures", "errors", figure, frame, [config],
                    words.errors(_labelled(frame)))


def _labelled(frame: "DataFrame") -> list[tuple[str, "DataFrame"]]:
    return [(label, frame[frame["method"] == method]) for method, label in LABELS.items()]


def _some(config: Params) -> "DataFrame":
    """Read the diagnoses on the run's adaptation tasks only.

    Counterfactual tasks are left out, because not every method is evaluated on them.
    """
    frame = diagnoses.read(config)
    frame = frame[frame["task"].isin(config.corpus.adaptation.tasks)]
    if frame.empty:
        raise ParamsError(f"{config.folder} has no finished evaluation of rule-following traces")
    return frame
