"""Stored notebooks as readers without a kernel see them: exported, in a browser, offline."""

import lab_in_chromium
import nbformat
import pytest
from lab_in_chromium import ROOT, chromium, needs_chromium

needs_chromium()
pytestmark = pytest.mark.browser

NOTEBOOKS = sorted([*(ROOT / "notebooks").glob("[0-9]*.ipynb"),
                    *(ROOT / "notebooks/class").glob("*.ipynb")])
WIDTH, HEIGHT = 1280, 800
SCREENS = 15
"""The most screens that a reader scrolls through."""
BYTES = 1_000_000
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def exported(request, browser, tmp_path_factory):
    """A page that shows a notebook's export, and the addresses that it asked for."""
    from nbconvert import HTMLExporter

    # What nbconvert itself loads from a network is not the notebook's matter.
    exporter = HTMLExporter(mathjax_url="", require_js_url="", jquery_url="", mermaid_js_url="")
    path = tmp_path_factory.mktemp("export") / "notebooks" / f"{request.param.stem}.html"
    path.parent.mkdir()
    (path.parent.parent / "outputs").symlink_to(ROOT / "outputs")
    path.write_text(exporter.from_filename(str(request.param))[0], encoding="utf-8")
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    asked = []
    page.on("request", lambda one: asked.append(one.url))
    page.goto(path.as_uri())
    yield request.param, page, [url for url in asked if not url.startswith(("file:", "data:"))]
    page.close()


def test_an_export_asks_for_nothing_and_shows_no_broken_widget(exported):
    """No address on a network is asked for, and no output is a widget or says that it failed."""
    path, page, asked = exported
    assert asked == []
    assert "Error displaying widget" not in page.inner_text("body")
    stored = nbformat.read(path, as_version=4)
    kinds = {kind for cell in stored.cells for output in cell.get("outputs", [])
             for kind in output.get("data", {})}
    assert not [kind for kind in kinds if "widget" in kind]
    assert "widgets" not in stored.metadata


def test_an_export_is_read_at_one_sitting(exported):
    """A stored notebook is below a megabyte, and its export below fifteen screens."""
    path, page, _ = exported
    assert path.stat().st_size < BYTES
    assert page.evaluate("document.documentElement.scrollHeight") <= SCREENS * HEIGHT


def test_what_the_kit_shows_has_no_serious_barrier(exported):
    """axe finds nothing serious in the outputs; the frame around them is nbconvert's."""
    from axe_playwright_python.sync_playwright import Axe

    _, page, _ = exported
    if not page.locator(".jp-OutputArea-output").count():
        return
    found = Axe().run(page, context={"include": [[".jp-OutputArea-output"]]})
    faults = [f"{fault['id']}: {fault['nodes'][0]['html'][:200]}"
              for fault in found.response["violations"] if fault["impact"] in SERIOUS]
    assert faults == []


def test_the_start_notebook_shows_the_twin_of_the_explorer(browser):
    """Without a kernel a reader sees the rule, its first steps and what changed."""
    stored = nbformat.read(lab_in_chromium.ROOT / "notebooks/00_start_here.ipynb", as_version=4)
    twin = next(output.data["text/html"] for cell in stored.cells for output in cell.get(
        "outputs", []) if "text/html" in output.get("data", {}))
    page = browser.new_page()
    page.set_content(twin)
    text = page.inner_text("body")
    page.close()
    assert "def move_zeroes(nums):" in text
    assert "* nums = [3]" in text
    assert "<script" not in twin
    assert "style=" not in twin
