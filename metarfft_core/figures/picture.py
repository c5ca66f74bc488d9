"""A drawn figure outside matplotlib: its files, its alternative text, how a page shows it.

The code that draws a figure also makes the alternative text, from the same numbers. The text is
stored in the PNG (the text chunk "Alternative text"), so picture and description stay together.

Where a picture is shown decides which form reaches the reader. JupyterLab, GitHub, nbconvert and
MyST-NB take HTML before an image, and only HTML keeps an alternative text in all of them:
JupyterLab and MyST-NB ignore the `alt` in the metadata of an image. The image itself stays for
exports without HTML, such as PDF.
"""

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALT = "Alternative text"
"""The text chunk of a PNG that says what the picture shows."""

_COLORS = 256  # a drawing has few colours and their blends with white


class Drawn(Mapping[str, Path]):
    """The files of a figure by "pdf", "png" and "csv"; a notebook that shows it shows the picture.

    A table is shown as an HTML table. The class is not a `dict`, which IPython would also show as
    text.

    Attributes:
        table: The table as HTML; empty for a figure.
    """

    def __init__(self, paths: Mapping[str, Path], table: str = "") -> None:
        self._paths = dict(paths)
        self.table = table

    def __getitem__(self, kind: str) -> Path:
        return self._paths[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __repr__(self) -> str:
        return f"Drawn({self['png']})"

    @property
    def alt(self) -> str:
        """What the picture shows, in words."""
        return alternative_text(self["png"])

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        if self.table:
            return {"text/html": self.table, "text/plain": self.alt}, {}
        data = base64.b64encode(self["png"].read_bytes()).decode()
        shown = f'<img alt="{html.escape(self.alt)}" src="data:image/png;base64,{data}">'
        return ({"text/html": shown, "image/png": data, "text/plain": self.alt},
                {"image/png": {"alt": self.alt}})


def alternative_text(png: Path) -> str:
    """Return what a picture of the kit shows, in words; empty for any other PNG."""
    from PIL import Image

    with Image.open(png) as image:
        return image.text.get(ALT, "")


def write_png(figure: "Figure", path: Path, dpi: int, texts: Mapping[str, str]) -> None:
    """Write a figure as a PNG with a palette, a third of the size of one with full colours.

    Args:
        texts: Its text chunks, by their names.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    notes = PngInfo()
    for name, text in texts.items():
        notes.add_itxt(name, text)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE).save(
            path, format="PNG", optimize=True, pnginfo=notes, dpi=(dpi, dpi))


def html_table(head: Sequence[Sequence[tuple[str, int]]], body: Sequence[Sequence[str]],
               caption: str) -> str:
    """Return a table of HTML with header cells and a caption.

    Args:
        head: Rows of header cells: the text, and how many columns it is over.
        body: Rows of cells; the first of each is a header of its row. A row of one cell is a
            heading over all columns.
    """
    width = sum(span for _, span in head[0])
    rows = [_row("".join(_header(text, "colgroup" if span > 1 else "col", span)
                         for text, span in cells)) for cells in head]
    lines = [_row(_header(first, "row" if cells else "rowgroup", 1 if cells else width)
                  + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
             for first, *cells in body]
    return (f"<table><caption>{html.escape(caption)}</caption><thead>{''.join(rows)}</thead>"
            f"<tbody>{''.join(lines)}</tbody></table>")


def _row(cells: str) -> str:
    return f"<tr>{cells}</tr>"


def _header(text: str, scope: str, span: int) -> str:
    over = f' colspan="{span}"' if span > 1 else ""
    return f'<th scope="{scope}"{over}>{html.escape(text)}</th>'
