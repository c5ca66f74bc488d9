"""The documentation site: `make docs` builds it from these pages, the notebooks and the docstrings.

The source folder is the whole repository, so a link between two files is the same on GitHub and on
the site. Nothing is executed, and nothing is fetched.
"""

import gc
import posixpath
import re
import sys
from pathlib import Path

gc.set_threshold(100_000, 50, 100)  # saves a tenth of the time

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

project = "metarfft"
extensions = ["sphinx.ext.autodoc", "api_pages", "docstrings", "explorer_files", "myst_nb"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/api/*.rst", "notebooks/*.ipynb",
                    "notebooks/class/*"]
exclude_patterns = [".*", "benchmarks", "docs/_build", "metarfft_core", "outputs", "params",
                    "requirements", "shared", "tests"]

nb_execution_mode = "off"
myst_heading_anchors = 3
myst_enable_extensions = ["html_image"]  # <img>, whose width Markdown cannot say
highlight_language = "text"

autodoc_default_options = {"ignore-module-all": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
default_role = "literal"  # docstrings mark code with single backticks

nitpicky = True
# The site could know the names of other packages only by fetching the inventories of their sites.
# Private names of the kit have no entry, but signatures may show them.
nitpick_ignore_regex = [("py:.*", r"(?!metarfft_core\.)\w+\..*"), ("py:.*", r".*\._\w+"),
                        ("py:class", r"DataFrame|Dataset|Series|Axes|Figure|NoneType|list\[.*")]

html_theme = "pydata_sphinx_theme"
html_theme_options = {"header_links_before_dropdown": 4, "show_prev_next": False}
html_title = "metarfft"
html_show_sourcelink = False
html_sidebars = {"docs/architecture": [], "CONTRIBUTING": [], "CHANGELOG": []}  # nothing below them
html_extra_path = ["site"]  # index.html, which leads to the README

CONTENTS = {"README": (), "docs/results": (), "docs/notebooks": (), "docs/guides": (),
            "docs/teaching": (), "docs/reference": ("docs/api/index",)}
"""Pages whose lists of links are the table of contents, and what the site alone adds to it."""
ENTRY = re.compile(r"^- \[[^]]+\]\((?!https?:)([^)#]+)\.(?:md|ipynb)\)", re.MULTILINE)


def setup(app) -> None:
    """Connect what the site needs beyond what GitHub shows."""
    app.connect("source-read", _prepare)


def _prepare(app, name: str, source: list[str]) -> None:
    """Make a hidden table of contents out of a page's list of links, and anchors of the tasks'."""
    text = re.sub(r'^<a id="(\w+)"></a>$', r"(\1)=", source[0], flags=re.MULTILINE)
    if name in CONTENTS:
        linked = (posixpath.normpath(posixpath.join(posixpath.dirname(name), entry))
                  for entry in ENTRY.findall(text))
        entries = "\n".join(f"/{entry}" for entry in (*linked, *CONTENTS[name]))
        text += f"\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"
    source[0] = text
