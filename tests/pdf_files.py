"""PDF files without fonts, for tests of all that is drawn beside them."""

from contextlib import contextmanager

import pytest
from matplotlib.backends.backend_pdf import PdfFile


@contextmanager
def without_fonts():
    """In this block PDF files get no fonts, which take half of the time of a figure; the tests in
    test_figures.py write them with their fonts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PdfFile, "writeFonts", lambda file: file.writeObject(file.fontObject, {}))
        yield
