"""The base of the widgets: alive in JupyterLab, a static twin everywhere else.

A notebook that is executed headlessly (papermill, nbval, the documentation) shows the twin alone. A
stored widget without its state shows an error, and one with its state loads code from a network.
"""

import os

import anywidget

STATIC = "METARFFT_STATIC"
"""If this variable is set, widgets show their static twin alone (the runner sets it)."""


class Widget(anywidget.AnyWidget):
    """A widget with a static twin.

    A subclass defines `twin`, which returns HTML without script or style, and `plain`, which
    returns one line of text. Every element of its `_esm` that can have the focus must have the
    attribute `data-lm-suppress-shortcuts="true"`: it keeps JupyterLab's shortcuts (such as `d d`,
    which deletes the cell) out of the widget. On the root alone it is not enough.
    """

    def twin(self) -> str:
        """The static HTML of what the widget shows now."""
        raise NotImplementedError

    def plain(self) -> str:
        """One line that says what the widget shows."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **options) -> dict | tuple[dict, dict] | None:
        bundle = {"text/plain": self.plain(), "text/html": self.twin()}
        if os.environ.get(STATIC):
            return bundle
        alive = super()._repr_mimebundle_(**options)
        if isinstance(alive, tuple):
            return alive[0] | bundle, alive[1]
        return (alive or {}) | bundle
