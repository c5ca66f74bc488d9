"""Tables in Markdown."""

from collections.abc import Iterable
from typing import Any


def table(header: Iterable[str], lines: Iterable[Iterable], aligned: bool = True) -> str:
    """A Markdown table, or "None." if there are no lines.

    Args:
        header: The column titles.
        lines: The rows; each cell is turned into text on one line.
        aligned: Whether to pad the columns, so that the table also reads well in a terminal.
    """
    body = [[_cell(cell) for cell in line] for line in lines]
    if not body:
        return "None.\n"
    rows = [[*header], ["---"] * len(body[0]), *body]
    if aligned:
        widths = [max(3, *map(len, column)) for column in zip(rows[0], *body, strict=True)]
        rows[1] = ["-" * width for width in widths]
        rows = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
                for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(value: Any) -> str:
    """A cell's text on one line; model output may contain any character."""
    text = "".join(one if one.isprintable() else " " for one in str(value))
    return text.replace("|", "\\|")
