"""Tables in Markdown, and text in CSV files, that show a text and do nothing else.

Answers of models and names out of files may hold any characters. In Markdown they make no HTML and
no link, and in a spreadsheet they are not formulas.
"""

import re
from collections.abc import Iterable
from typing import Any

_INERT = {r"<": "&lt;", r"\]\(": r"]\\(", r"://": "&#58;//", r"(www)\.": r"\1&#46;",
          r"(?<=\w)@(?=\w)": "&#64;"}
"""What begins an HTML element or a link, as a pattern, and how it is written as plain text."""
_COMPUTED = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


class Markup(str):
    """Text that is Markdown already, and whose links are wanted."""


def plain(text: str) -> str:
    """A text as Markdown that shows it, without HTML and links."""
    for begins, shown in _INERT.items():
        text = re.sub(begins, shown, text, flags=re.IGNORECASE)
    return text


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file that no spreadsheet reads as a formula.

    A text that begins with = + - @, also in wide letters, a tab or the end of a line gets an
    apostrophe before it. Numbers stay, and so does a text that is a number, such as "-5".
    """
    if isinstance(value, str) and value.startswith(_COMPUTED) and (
            not _NUMBER.fullmatch(value)):
        return f"'{value}"
    return value


def table(header: Iterable[str], lines: Iterable[Iterable], aligned: bool = True) -> str:
    """A Markdown table, or "None." if there are no lines.

    Args:
        header: The column titles.
        lines: The rows; each cell is turned into plain text on one line, except `Markup`.
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
    text = "".join(character if character.isprintable() else " " for character in str(value))
    # A backslash before a bar would undo the backslash that the bar gets.
    return re.sub(r"(\\*)\|", r"\1\1\\|", text if isinstance(value, Markup) else plain(text))
