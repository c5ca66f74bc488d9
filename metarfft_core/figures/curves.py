"""Draws lines in a panel: accuracy by length, losses by step, averages by training steps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metarfft_core.figures.style import SHADE, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


def draw_accuracies(axes: "Axes", parts: Sequence[tuple[str, Look, "DataFrame"]],
                    trained: Sequence[int]) -> None:
    """Draw accuracy by length: a line for each (label, look, lines of `single.accuracies`).

    A dotted line of the same colour is the accuracy by the lenient score, if it differs anywhere.

    `trained` are the lengths to shade; none if no line is of an adapted model. A part without
    lines is left out.
    """
    parts = [line for line in parts if not line[2].empty]
    lengths = sorted({length for *_, rows in parts for length in rows["length"]})
    # Draw side by side, because lines often overlap at 0% and at 100%.
    step = min(0.2, 0.015 * lengths[-1])
    shade(axes, trained)
    for position, (label, look, rows) in enumerate(parts):
        x = rows["length"] + step * (position - (len(parts) - 1) / 2)
        axes.vlines(x, rows["low"], rows["high"], color=look.color, lw=0.6)
        axes.plot(x, rows["accuracy"], label=label, **look._asdict(),
                  markersize=3.5 if len(lengths) <= 12 else 1.8)
        if lenient_differs(rows):
            axes.plot(x, rows["accuracy_lenient"], color=look.color, linestyle=":", lw=1, marker="")
    axes.set(xlim=(0.3, lengths[-1] + 0.7), ylim=(-0.04, 1.04), xticks=length_ticks(lengths))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def lenient_differs(part: "DataFrame") -> bool:
    """Return whether the lenient score gives another accuracy than the strict one in any line."""
    if "accuracy_lenient" not in part:
        return False
    known = part[part["accuracy_lenient"].notna()]
    return bool((known["accuracy_lenient"] != known["accuracy"]).any())


def shade(axes: "Axes", trained: Sequence[int]) -> None:
    """Shade the lengths trained on, if there are any."""
    if trained:
        axes.axvspan(trained[0] - 0.5, trained[-1] + 0.5, **SHADE)


def length_ticks(lengths: list[int]) -> list[int]:
    """Return every evaluated length if there are few, else the first one and round ones."""
    step = max(5, lengths[-1] // 30 * 5)
    return lengths if len(lengths) <= 8 else [lengths[0], *range(step, lengths[-1] + 1, step)]


def draw_losses(axes: "Axes", parts: Sequence[tuple[str, Look, "DataFrame"]]) -> None:
    """Draw training and validation loss by step for each (label, look, rows of `stored.logged`)."""
    from matplotlib.ticker import MaxNLocator

    for label, look, rows in parts:
        trained, looked = rows.dropna(subset="loss"), rows.dropna(subset="validation_loss")
        axes.plot(trained["step"], trained["loss"], color=look.color, lw=0.6,
                  linestyle=look.linestyle, marker="")
        axes.plot(looked["step"], looked["validation_loss"], label=label, **look._asdict(),
                  markersize=3.5)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def draw_steps(axes: "Axes", parts: Sequence[tuple[str, Look, "DataFrame"]], metric: str) -> None:
    """Draw a metric by training steps: a line for each (label, look, lines with its interval)."""
    for label, look, rows in parts:
        axes.vlines(rows["steps"], rows[f"{metric}_low"], rows[f"{metric}_high"],
                    color=look.color, lw=0.8)
        axes.plot(rows["steps"], rows[metric], label=label, **look._asdict(), markersize=3.5)
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted({step for *_, rows in parts for step in rows["steps"]}))


def draw_means(axes: "Axes", parts: Sequence[tuple[str, Look, "DataFrame"]],
               trained: Sequence[int]) -> None:
    """Draw the mean relative error of the loop count by length, for each (label, look, lines)."""
    shade(axes, trained)
    for label, look, rows in parts:
        rows = rows.sort_values("length")
        axes.vlines(rows["length"], rows["low"], rows["high"], color=look.color, lw=0.6)
        axes.plot(rows["length"], rows["relative_error"], label=label, **look._asdict(),
                  markersize=2.5)
    lengths = sorted({length for *_, rows in parts for length in rows["length"]})
    axes.set(xlim=(0.3, lengths[-1] + 0.7), xticks=length_ticks(lengths))
    axes.set_ylim(bottom=-0.04 * axes.get_ylim()[1])
