"""Tables for readers of a notebook: a caption, names for ids, short numbers.

    tables.show(frame, "Right answers by method and task")
"""

import math
from numbers import Integral, Real
from typing import TYPE_CHECKING

from metarfft_core import tasks
from metarfft_core.figures.picture import html_table
from metarfft_core.params import LABELS

if TYPE_CHECKING:
    from pandas import DataFrame, Series

NOTHING = "-"
"""What a table shows for a missing number."""

_SMALLEST_P = 0.001


class Table:
    """A table as a notebook shows it: HTML with a caption and header cells, and plain text."""

    def __init__(self, head: list[str], body: list[list[str]], caption: str) -> None:
        self.head, self.body, self.caption = head, body, caption

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": html_table([[(text, 1) for text in self.head]], self.body,
                                        self.caption),
                "text/plain": str(self)}

    def __str__(self) -> str:
        rows = [self.head, *self.body]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                 for row in rows]
        return "\n".join([self.caption, *map(str.rstrip, lines)])


def show(frame: "DataFrame", caption: str) -> Table:
    """Return a frame as a table for readers.

    A task or method in a column or index level of that name, and a method that heads a column, has
    its name instead of its id. A number has at most three decimals, a p below 0.001 says so, and a
    missing value is a dash. The index is shown unless it only numbers the rows.
    """
    from pandas import RangeIndex

    if not isinstance(frame.index, RangeIndex):
        frame = frame.reset_index(names=[name or "" for name in frame.index.names])
    head = [_named(str(name)).replace("_", " ") for name in frame.columns]
    columns = [_column(name, frame[name]) for name in frame.columns]
    return Table(head, [list(row) for row in zip(*columns, strict=True)], caption)


def _column(name: object, values: "Series") -> list[str]:
    """Return the cells of a column; beside a number of a hundred or more none has decimals."""
    large = values.dtype.kind == "f" and values.abs().max() >= 100
    return [_cell(name, value, large) for value in values]


def _cell(column: object, value: object, large: bool) -> str:
    if column == "task":
        known = tasks.find(str(value))
        return known.title if known else str(value)
    if value is None or (isinstance(value, Real) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, Real):
        return _named(str(value)) if _tells_methods(str(column)) else str(value)
    if column == "p" and value < _SMALLEST_P:
        return f"< {_SMALLEST_P}"
    return f"{value:,.0f}" if large else _number(value)


def _tells_methods(column: str) -> bool:
    """Whether texts of a column start with a method; some formats have the ids of methods."""
    return column in ("method", "right", "less") or column.endswith(" against")


def _named(text: str) -> str:
    """Put a method's label for its id at the start of a text."""
    first, space, rest = text.partition(" ")
    return LABELS.get(first, first) + space + rest


def _number(value: Real) -> str:
    if isinstance(value, Integral) or abs(value) >= 100:
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:.3f}".rstrip("0").rstrip(".")
