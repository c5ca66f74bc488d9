"""The explorer in a real JupyterLab: what it shows, by keyboard alone, quickly and accessibly."""

import lab_in_chromium
import pytest

pytestmark = pytest.mark.browser
lab_in_chromium.needs_chromium()

EXPLORE = "lab.explore('move_zeroes', length=3, seed=0, index=7)"
SLOWEST = 200
"""The most milliseconds from a request of the browser to what it shows."""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A notebook that shows the explorer between two other cells."""
    folder = tmp_path_factory.mktemp("explorer")
    lab_in_chromium.notebook(folder / "small.ipynb", "from metarfft_core import lab", EXPLORE,
                             "1 + 1")
    with lab_in_chromium.server(folder) as lab, lab_in_chromium.chromium() as browser:
        page = lab.open(browser, "small.ipynb")
        lab_in_chromium.run_all(page)
        page.wait_for_selector(".mr-explorer", timeout=lab_in_chromium.WAIT)
        yield page


@pytest.fixture
def explorer(page):
    """The explorer, at its first step, with the slider in focus."""
    explorer = page.locator(".mr-explorer")
    explorer.evaluate("""(root) => {
        for (const line of root.querySelectorAll("li")) line.classList.add("old");
        [3, 0, 7].forEach((value, place) => {
            root.querySelectorAll("input[type=number]")[place].value = value;
        });
    }""")
    explorer.get_by_label("Task").select_option("lc_283")  # one request for all of it
    explorer.locator("li.old").first.wait_for(state="detached")
    explorer.locator("input[type=range]").focus()
    page.keyboard.press("Home")
    return explorer


def variables(explorer) -> dict[str, str]:
    """The table of variables: name (with its mark) to value."""
    rows = explorer.locator(".mr-variables tbody tr").all()
    return {row.locator("th").inner_text().strip(): row.locator("td").first.inner_text()
            for row in rows}


def step(explorer) -> int:
    return int(explorer.locator(".mr-status strong").inner_text().split()[1])


def line(explorer) -> int:
    """The number of the line that is marked beside the rule."""
    marked = explorer.locator(".mr-gutter div", has_text="▶").inner_text()
    return int(marked.replace("▶", ""))


def cells(page) -> list[str]:
    return page.locator(".jp-Notebook .jp-CodeCell .jp-InputArea-editor").all_inner_texts()


def test_eight_steps(page, explorer):
    """Eight steps by keyboard show `nums = [3]` and `num = 0`, marked as changed in line 5."""
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    assert variables(explorer) == {"* nums": "[3]", "result": "[4]", "zeros": "0", "* num": "0"}
    assert line(explorer) == 5
    assert explorer.locator("li[aria-current=step]").inner_text().split("\n")[-1] == (
        "num = nums.pop(0) # num = 0; nums = [3]")
    assert explorer.locator(".mr-passes").inner_text() == "Pass 2 of the loop in line 4"


@pytest.mark.parametrize(("keys", "wanted"), [
    ("ArrowRight ArrowRight ArrowLeft", 1), ("End", 20), ("End ArrowRight", 20), ("ArrowLeft", 0),
    ("n n", 2), ("n n n", 4),  # step 3 changes nothing
    ("n n n ArrowDown", 8), ("n n n ArrowDown ArrowDown", 12), ("End Home", 0),
    ("n n n ArrowDown ArrowDown ArrowDown", 12), ("n n n ArrowDown ArrowUp", 4),
])
def test_keys(page, explorer, keys, wanted):
    """Arrows step and go to the same line's other passes; Home, End and n do what they say."""
    for key in keys.split():
        page.keyboard.press(key)
    assert step(explorer) == wanted


def test_shortcuts_of_jupyterlab(page, explorer):
    """Outside of the explorer, `b` adds a cell and `d d` deletes it: what must not happen in it."""
    before = cells(page)
    page.locator(".jp-Notebook .jp-InputPrompt").last.click()
    press(page, "b")
    assert len(cells(page)) == 4
    press(page, "d", "d")
    assert cells(page) == before


@pytest.mark.parametrize("place", ["input[type=range]", "ol", ".mr-buttons button", "summary",
                                   "pre", ""])
def test_shortcuts_of_jupyterlab_stay_outside(page, explorer, place):
    """`b`, `d d`, `a` and `x` in any part of the explorer leave the cells as they are."""
    before = cells(page)
    explorer.locator("details").evaluate("(details) => { details.open = true; }")
    (explorer.locator(place).first if place else explorer).focus()
    for keys in ("b", "dd", "a", "x"):
        press(page, *keys)
        assert cells(page) == before


def press(page, *keys: str) -> None:
    """Press keys one after another, and leave JupyterLab the time to act on them."""
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_timeout(150)


def test_keyboard_alone(page, explorer):
    """Tab reaches every control in order, passes through the editor, and leaves the widget."""
    explorer.get_by_label("Task").focus()
    seen = []
    for _ in range(40):
        inside, name = page.evaluate("""() => [Boolean(document.activeElement.closest(
            ".mr-explorer")), document.activeElement.getAttribute("aria-label")
            ?? document.activeElement.localName]""")
        if not inside:
            break
        seen.append(name.split(";")[0])
        page.keyboard.press("Tab")
    assert not inside
    assert [name for name in seen if name in ("select", "Step", "Rule", "Trace", "summary")] == [
        "select", "Step", "Rule", "Trace", "summary"]


def test_a_rule_is_edited(page, explorer):
    """A typed rule is traced anew; a refused one is named, and the last trace stays."""
    trace, editor = explorer.locator("ol"), explorer.locator("textarea")
    before = trace.inner_text()
    editor.focus()
    for key in ("Control+Home", "ArrowDown", "ArrowDown", "End"):
        page.keyboard.press(key)
    page.keyboard.type(" + {1}")
    refused = explorer.locator(".mr-problem")
    refused.filter(has_text="line 3").wait_for()
    assert refused.inner_text() == ("✗ line 3: Set is not in the subset of rules. "
                                    "The last trace stays.")
    assert explorer.locator(".mr-gutter .mr-wrong").inner_text().split() == ["✗", "3"]
    assert trace.inner_text() == before
    for _ in " + {1}":
        page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.type("2")
    explorer.locator("li", has_text="3 > 0 -> True").wait_for()
    assert refused.inner_text() == ""
    page.keyboard.type("{")
    refused.filter(has_text="line 3").wait_for()
    page.keyboard.press("Backspace")
    refused.filter(has_text="line 3").wait_for(state="detached")
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    assert variables(explorer)["result"] == "[4, 3, 0, 0, 0]"


def test_the_task_s_rule_comes_back(page, explorer):
    """After a refused text, the button brings back the task's rule, and the message goes."""
    editor = explorer.locator("textarea")
    before = editor.input_value()
    editor.press("End")
    page.keyboard.type("!")
    explorer.locator(".mr-problem", has_text="not Python").wait_for()
    explorer.locator(".mr-reset").click()
    explorer.locator(".mr-problem", has_text="not Python").wait_for(state="detached")
    assert editor.input_value() == before
    assert not explorer.locator(".mr-reset").is_visible()


def test_length_30_answers_quickly(page, explorer):
    """From the change of a field to the new trace on the screen: under SLOWEST milliseconds.

    The browser measures it, with the way to the kernel and back. The best of three counts, because
    other programs share the machine.
    """
    times = [page.evaluate("""async (seed) => {
        const root = document.querySelector(".mr-explorer");
        const [length, field] = root.querySelectorAll("input[type=number]");
        length.value = 30;
        field.value = seed;
        const start = performance.now();
        const seen = new Promise((done) => new MutationObserver(done).observe(
            root.querySelector("ol"), { childList: true }));
        field.dispatchEvent(new Event("change"));
        await seen;
        await new Promise(requestAnimationFrame);
        return performance.now() - start;
    }""", seed) for seed in (1, 2, 3)]
    assert explorer.locator("li").count() > 150
    assert min(times) < SLOWEST, times


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessible(page, explorer, theme):
    """No serious violation and no contrast below 4.5, with a refused rule and all parts open."""
    from axe_playwright_python.sync_playwright import Axe

    if theme == "dark":
        lab_in_chromium.dark(page)
    explorer.locator("details").evaluate("(details) => { details.open = true; }")
    explorer.locator("textarea").press("End")
    page.keyboard.type("!")
    explorer.locator(".mr-problem", has_text="not Python").wait_for()
    explorer.locator("input[type=range]").focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    found = Axe().run(page, context=".mr-explorer")
    serious = [(one["id"], [node["html"] for node in one["nodes"]])
               for one in found.response["violations"] if one["impact"] in ("serious", "critical")]
    assert serious == []
    assert found.response["passes"]
    ratios = lab_in_chromium.contrasts(page, ".mr-explorer")
    assert len(ratios) > 100
    assert ratios[0][0] >= 4.5, ratios[:5]
