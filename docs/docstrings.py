"""Docstrings as they are written here, made into reStructuredText for the site.

They are plain text with a little Markdown: `code` in single backticks, tables with bars, examples
that are indented. The sections Args, Returns and Raises are left to napoleon.
"""

import re

from pydantic import BaseModel
from sphinx.ext.napoleon import Config, GoogleDocstring

SECTION = re.compile(r"(Args|Arguments|Attributes|Examples?|Notes?|Raises|Returns|Yields):$")
BULLET = re.compile(r"([-*]|\d+\.) ")
MARKUP = re.compile(r"(`+[^`]+`+)|([*|\\]|_(?!\w))")


def setup(app) -> dict:
    """Connect to autodoc; napoleon is called from here and is no extension of its own."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _without_fields)
    return {"parallel_read_safe": True}


def _process(app, what, name, obj, options, lines: list[str]) -> None:
    lines[:] = converted(lines)
    if what in ("module", "class", "exception", "function", "method"):
        # Of an attribute napoleon would take the text before a colon for its type.
        lines[:] = GoogleDocstring(lines, Config(), app, what, name, obj, options).lines()


def _without_fields(app, what, name, obj, options, signature, returns):
    """No signature of a section of a parameter file: docs/parameters.md describes its fields."""
    return ("", None) if what == "class" and issubclass(obj, BaseModel) else None


def converted(lines: list[str]) -> list[str]:
    """The lines of a docstring, its examples and tables marked and all other text escaped."""
    result, previous = [], ""
    for block in _blocks(lines):
        indented = block[0].startswith("    ") and previous and not _opens(previous)
        if block[0].startswith("|") and len(block) > 2:
            result += _table(block)
        elif indented or _aligned(block):
            result += ["::", "", *("    " + line for line in block)]
        else:
            result += [_escaped(line) for line in block]
        result.append("")
        previous = "literal" if indented else block[-1]
    return result


def _opens(line: str) -> bool:
    """Whether the indented text after a line belongs to it: to a section or to a list."""
    return bool(SECTION.match(line.strip()) or BULLET.match(line.strip()))


def _aligned(block: list[str]) -> bool:
    """Whether a block is laid out by hand, with lines that stand deeper than its first."""
    return (any(_depth(line) > _depth(block[0]) for line in block)
            and not any(map(_opens, block)) and not BULLET.match(block[0].strip()))


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _blocks(lines: list[str]) -> list[list[str]]:
    """The lines between blank lines."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _escaped(line: str) -> str:
    """A line with the characters escaped that mean something in reStructuredText."""
    start = BULLET.match(line.lstrip())
    head = _depth(line) + (start.end() if start else 0)
    return line[:head] + MARKUP.sub(lambda found: found[1] or f"\\{found[2]}", line[head:])


def _table(block: list[str]) -> list[str]:
    """A Markdown table as a list-table; a row that goes on in the next line has an empty cell."""
    rows: list[list[str]] = []
    for line in block:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if set("".join(cells)) <= set("-: "):
            continue
        if rows and not cells[0]:
            rows[-1] = [f"{one} {more}".strip() for one, more in zip(rows[-1], cells, strict=True)]
        else:
            rows.append(cells)
    text = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        text += [f"   {'* -' if place == 0 else '  -'} {_escaped(cell)}"
                 for place, cell in enumerate(row)]
    return text
