"""Draws figures and tables from the stored results alone: nothing here trains or generates.

    from metarfft_core import figures
    figures.accuracy_figure(config)     of one run, in its folder
    figures.paper(configs)              every figure and table of the paper, from several runs

Each is written as PDF, PNG and the CSV of its numbers. All three name the runs shown, the
digests of their parameters and the commits that made them: the PDF and PNG in their metadata, the
CSV in columns. Every figure and table of a smoke run is marked. The PNG also holds an alternative
text, and a notebook that shows what is returned shows the picture with it.

    single.py    the figures and tables of one run
    several.py   the paper's figures, from several runs
    reinforcement.py  its Figure 7 and Table 9, if a run has reinforcement learning
    tables.py    the paper's tables
    loops.py     loop counts and error classes
    tokens.py    what samples cost
    curves.py    lines in a panel
    style.py     how all of them look, and how they are written
    words.py     what they show, in words
    picture.py   how they are shown in a notebook
"""

from collections.abc import Sequence
from pathlib import Path

from metarfft_core.figures import reinforcement, several
from metarfft_core.figures.loops import error_figure, loop_figure
from metarfft_core.figures.picture import Drawn
from metarfft_core.figures.single import (
    accuracy_figure,
    accuracy_table,
    averages,
    draw_accuracy,
    draw_loss,
    draw_table_2,
    loss_figure,
    loss_table,
    table_2,
)
from metarfft_core.figures.style import SMOKE_MARK
from metarfft_core.figures.tokens import draw_tokens, token_figure
from metarfft_core.params import LABELS, Params, ParamsError, with_kept, written

__all__ = ["LABELS", "SMOKE_MARK", "Drawn", "accuracy_figure", "accuracy_table", "averages",
           "draw_accuracy", "draw_loss", "draw_table_2", "draw_tokens", "error_figure",
           "loop_figure", "loss_figure", "loss_table", "paper", "table_2", "token_figure"]


def paper(runs: Sequence[Params], folder: Path | None = None) -> dict[str, Drawn]:
    """Draw every figure and table of the paper from the stored results of some runs.

    Args:
        runs: The resolved parameters of each run; those of their kept steps take part, too.
        folder: Where to write them; by default, the folder `paper` beside those of the runs.

    Returns:
        The paths by "pdf", "png" and "csv" for each name, such as figure_3 or table_2.

    Raises:
        ParamsError: If there is neither a run nor a folder, or if results were made with other
            parameters.
    """
    if folder is None and not runs:
        raise ParamsError("figures of the paper: expected a run or a folder, got neither")
    folder = written(folder or written(runs[0].folder).parent / "paper")
    return several.write(with_kept(runs), folder) | reinforcement.write(runs, folder)
