"""Pieces of HTML without script or style sheet, which look the same wherever they are shown.

They are the static twins of the widgets: what is seen on GitHub, in an export, on the
documentation site, or without a kernel. GitHub removes `style` and `class`; therefore nothing that
a reader needs may depend on them.
"""

from collections.abc import Iterable
from html import escape


class Html(str):
    """Text that is HTML already; everything else is escaped."""


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element with its children.

    Args:
        children: `Html` is taken as it is, any other object as escaped text.
        attributes: By name; `True` means an attribute without a value, and `None` and `False`
            for none. A trailing underscore is dropped (`class_`), an inner one is a hyphen.
    """
    text = ""
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            text += f" {key}"
        elif value is not None and value is not False:
            text += f' {key}="{escape(str(value))}"'
    return Html(f"<{name}{text}>{join(children)}</{name}>")


def table(header: Iterable[object], rows: Iterable[Iterable[object]], caption: object = "") -> Html:
    """A table with column headings, and a caption above it."""
    head = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in header)))
    body = tag("tbody", *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows))
    return tag("table", *([tag("caption", caption)] if caption else []), head, body)


def details(summary: object, *children: object, open: bool = False) -> Html:
    """Children that a click on the summary shows or hides."""
    return tag("details", tag("summary", summary), *children, open=open)


def join(pieces: Iterable[object]) -> Html:
    """Pieces one after another; what is not `Html` is escaped."""
    return Html("".join(piece if isinstance(piece, Html) else escape(str(piece), quote=False)
                        for piece in pieces))
