"""The error viewer in a real browser: what it shows, by keyboard alone, in both themes."""

import sys
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import pytest

from metarfft_core import lab
from metarfft_core.lab.error_viewer import CLASSES, FILES
from metarfft_core.system.places import ROOT

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright",
                          reason="axe-playwright-python is not installed")
CHROMIUM = which("chromium")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-sync"]
LAPTOP = ROOT / "outputs" / "reference" / "laptop"
THEMES = Path(sys.prefix) / "share" / "jupyter" / "lab" / "themes" / "@jupyterlab"

pytestmark = [pytest.mark.browser,
              pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

SHOW = """async ([code, state]) => {
  const url = URL.createObjectURL(new Blob([code], {type: "text/javascript"}));
  const widget = (await import(url)).default;
  const heard = {};
  const model = {
    get: (key) => state[key],
    set: (key, value) => { state[key] = value; },
    on: (event, hear) => { heard[event] = hear; },
    off: () => {},
    save_changes: async () => {
      state.view = await toPython(state.chosen, state.number);
      heard["change:view"]();
    },
  };
  widget.render({ model, el: document.querySelector("main") });
}"""
"""Renders the widget with a model whose changes go to Python and back, as anywidget's do."""


@pytest.fixture(scope="module")
def viewer():
    return lab.errors(LAPTOP)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield started
        started.close()


@contextmanager
def shown(browser, viewer, theme="light"):
    """A page that shows the widget in a theme of JupyterLab, with its requests."""
    page = browser.new_page(viewport={"width": 1180, "height": 900})
    page.requests = []
    page.on("request", lambda request: page.requests.append(request.url))
    colours = (THEMES / f"theme-{theme}-extension" / "index.css").read_text(encoding="utf-8")
    page.set_content(
        f"<!doctype html><html lang='en'><title>errors</title><style>{colours}</style>"
        f"<style>body {{ background: var(--jp-layout-color0); }}"
        f"{(FILES / 'errors.css').read_text(encoding='utf-8')}</style><main></main></html>")
    viewer.chosen, viewer.number = {}, 0

    def to_python(chosen, number):
        viewer.chosen, viewer.number = chosen, number
        return dict(viewer.view)

    page.expose_function("toPython", to_python)
    state = {"chosen": {}, "number": 0, "view": dict(viewer.view)}
    page.evaluate(SHOW, [(FILES / "errors.js").read_text(encoding="utf-8"), state])
    yield page
    page.close()


@pytest.fixture
def page(browser, viewer):
    with shown(browser, viewer) as page:
        yield page


def classes(page):
    """The count beside each class, as it is shown."""
    return {row.locator(".me-label").inner_text():
            int(row.locator(".me-count").inner_text().replace(",", ""))
            for row in page.locator(".me-class").all()}


def counted(lines):
    names = {kind: name for kind, (name, _) in CLASSES.items()}
    found = dict.fromkeys((names[kind] for kind in CLASSES), 0)
    for line in lines:
        found[names[line["kind"]]] += 1
    return found | {"all classes": len(lines)}


def assert_counts(page, lines):
    found, expected = classes(page), counted(lines)
    assert found == {name: expected[name] for name in found}
    assert sum(found.values()) == 2 * len(lines)


def test_the_counts_are_those_of_the_table(page, table):
    """Each class, method, task and length has the number of rows that the stored tables have."""
    assert_counts(page, table)
    lengths = page.get_by_label("Length").locator("option").all_inner_texts()
    assert lengths == ["all (1,512)", *(
        f"{length} ({sum(line['length'] == str(length) for line in table)})"
        for length in (3, 5, 8, 10, 12, 15))]
    luck = sum(line["outcome"] == "right" != line["kind"] for line in table)
    assert page.get_by_text(f"only right by luck ({luck})").is_visible()


def test_filters_by_keyboard_alone(page, table):
    """Tab reaches every filter; letters, space and arrows set it; the counts follow."""
    page.keyboard.press("Tab")
    page.keyboard.type("Meta")
    lines = [line for line in table if line["method"] == "meta_rfft"]
    page.wait_for_function("document.querySelector('.me-status').textContent.includes('720')")
    assert_counts(page, lines)
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    lines = [line for line in lines if line["outcome"] == "right" != line["kind"]]
    page.wait_for_function(
        f"document.querySelector('.me-status').textContent.includes('{len(lines)} traces')")
    assert_counts(page, lines)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    checked = page.locator(".me-class:has(:checked)")
    page.wait_for_function("!document.querySelector('.me-class input').checked")
    assert checked.locator(".me-label").inner_text() in counted([])
    assert_counts(page, lines)


def test_keys_in_the_trace_show_the_next_one(page):
    """Arrow right and left go through the traces, and the ends hold."""
    page.locator(".me-trace").focus()
    first = page.locator(".me-which").inner_text()
    page.keyboard.press("ArrowLeft")
    assert "Trace 1 of 252" in page.locator(".me-status").inner_text()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.me-status').textContent.includes('Trace 2')")
    assert page.locator(".me-which").inner_text() != first
    assert page.evaluate("document.activeElement.className") == "me-trace"


def test_the_first_divergence_is_centred_and_named(page, viewer):
    """The marked row is in the middle of what is visible of the trace, below its name."""
    page.get_by_label("Length").select_option(index=5)
    page.wait_for_function("document.querySelector('.me-which').textContent.includes('length 12')")
    example = viewer.view["example"]
    assert page.locator(".me-said").inner_text() == f"First divergence: {example['named']}"
    row, around = page.locator(".me-at").bounding_box(), page.locator(".me-trace").bounding_box()
    apart = (row["y"] + row["height"] / 2) - (around["y"] + around["height"] / 2)
    room = page.evaluate("(({scrollTop, scrollHeight, clientHeight}) => scrollTop > 0 && scrollTop "
                         "< scrollHeight - clientHeight)(document.querySelector('.me-trace'))")
    assert abs(apart) < 3 if room else 0 <= row["y"] - around["y"] < around["height"]
    model, right = page.locator(".me-at td").all_inner_texts()[1:]
    [at] = [step for step in example["steps"] if step[3] == "at"]
    assert [model, right] == at[1:3]


def test_shortcuts_of_jupyterlab_are_kept_away(page):
    """The root and whatever Tab reaches have the attribute; at the root alone, `b` adds a cell."""
    keeps = "(element) => element.dataset.lmSuppressShortcuts === 'true'"
    assert page.locator("main > *").evaluate(keeps)
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        focused = page.evaluate_handle("document.activeElement").as_element()
        if focused.evaluate("(element) => element === document.body"):
            break
        assert focused.evaluate(keeps)
        reached.add(focused.evaluate("(element) => element.className || element.localName"))
    assert reached == {"select", "input", "button", "me-trace"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_and_needs_no_network(browser, viewer, theme):
    """axe finds no serious violation in either theme, and nothing is requested."""
    with shown(browser, viewer, theme) as page:
        found = axe.Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        assert all(url.startswith(("blob:", "about:", "data:")) for url in page.requests)
