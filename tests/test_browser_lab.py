"""What `make lab` opens, in a real browser: JupyterLab as it starts it, on a copy of the kit."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import lab_in_chromium
import nbformat
import pytest
from lab_in_chromium import ROOT, WAIT, choose, chromium, needs_chromium

from metarfft_core.lab import start

needs_chromium()
if not shutil.which("git") or not (ROOT / ".git").exists():
    pytest.skip("needs a checkout with git", allow_module_level=True)
pytestmark = pytest.mark.browser

NAMES = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
DIRTY = ".lm-TabBar-tab.jp-mod-dirty"


def git(folder, *words):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, text=True,
                          capture_output=True).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project's files, committed in a repository of its own."""
    folder = tmp_path_factory.mktemp("project")
    for name in git(ROOT, "ls-files", "-z", "-c", "-o", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A copy")
    return folder


@contextmanager
def started(project, own, **variables):
    """The address that JupyterLab prints if the recipe of `make lab` starts it."""
    recipe = subprocess.run(["make", "--no-print-directory", "-n", "lab", "VENV=venv"], cwd=project,
                            text=True, check=True, capture_output=True).stdout.splitlines()[-1]
    python, *line = recipe.split()
    assert python == "venv/bin/python"
    token = secrets.token_hex(16)
    folders = {f"{program}_{name}_DIR": str(own / name.lower()) for program, name in (
        ("JUPYTER", "CONFIG"), ("JUPYTER", "RUNTIME"), ("JUPYTERLAB", "SETTINGS"),
        ("JUPYTERLAB", "WORKSPACES"))}
    environment = os.environ | folders | variables | {"PYTHONPATH": str(project),
                                                      "IPYTHONDIR": str(own / "i")}
    with open(own / "log.txt", "w") as log:
        process = subprocess.Popen(
            [sys.executable, *line, "--no-browser", "--port=0", "--ip=127.0.0.1", "--allow-root",
             f"--IdentityProvider.token={token}"],
            cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            base = lab_in_chromium._address(process, own / "runtime", token)
            yield f"{base}/start?token={token}"
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture(scope="module")
def address(project, tmp_path_factory):
    with started(project, tmp_path_factory.mktemp("jupyter"),
                 METARFFT_PARAMS="params/test.yaml") as found:
        yield found


@pytest.fixture(scope="module")
def stored_address(project, tmp_path_factory):
    """As `address`, for the stored results instead of a run of one's own."""
    with started(project, tmp_path_factory.mktemp("jupyter"), METARFFT_PARAMS="params/laptop.yaml",
                 METARFFT_OUTPUTS="outputs/reference") as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser, address):
    """A window with the first notebook in front, whose kernel is ready."""
    yield from window(browser, address)


@pytest.fixture
def stored_page(browser, stored_address):
    yield from window(browser, stored_address)


def window(browser, address):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(address)
    ready(page)
    yield page
    page.close()


def ready(page):
    page.locator(".jp-Notebook .jp-Cell:visible").first.wait_for(timeout=WAIT)
    page.get_by_text("| Idle").wait_for(timeout=WAIT)  # in the status bar
    page.wait_for_timeout(1500)  # what JupyterLab changes by itself, it changes now


def open_tab(page, name):
    """Open a notebook from the file browser; the others stay open behind it."""
    folder = page.locator(".jp-DirListing-item:visible", has_text=re.compile(f"^{start.WORK.name}"))
    if folder.count():
        folder.dblclick()
    page.locator(".jp-DirListing-item:visible", has_text=name).dblclick()
    page.locator(f".jp-mod-current:has-text('{name}')").first.wait_for(timeout=WAIT)
    page.wait_for_timeout(1000)  # from now on the status bar speaks of this notebook's kernel
    ready(page)


def test_it_opens_the_first_notebook_with_the_project_in_the_file_browser(page):
    """The start notebook is in front, nothing is covered, and every name is legible.

    A long one may lose letters of `.ipynb`, the ending of all."""
    assert page.locator(".jp-mod-current .lm-TabBar-tabLabel").first.inner_text() == start.FIRST
    assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0
    names = page.locator(".jp-DirListing-itemName")
    assert {"README.md", "docs", "params", "notebooks", "work"} <= set(names.all_inner_texts())
    assert page.locator(".jp-DirListing-itemModified:visible").count() == 0
    page.locator(".jp-DirListing-item", has_text="work").dblclick()
    page.get_by_text(NAMES[-1]).wait_for(timeout=WAIT)
    widths = names.locator("span:visible").evaluate_all(
        "spans => spans.map(span => [span.textContent, span.clientWidth, span.scrollWidth])")
    widths = [row for row in widths if row[0].endswith(".ipynb") and row[1]]
    assert len(widths) >= len(NAMES)
    for name, seen, whole in widths:
        assert seen / whole >= len(name.removesuffix(".ipynb")) / len(name), name


def test_the_first_screen_shows_a_picture_and_a_trace_before_anything_runs(page):
    """The picture is seen whole, and below it the first three steps of a trace."""
    picture = page.locator(".jp-Notebook img").first
    assert picture.get_attribute("alt").startswith("Accuracy at lengths")
    assert picture.evaluate("image => image.naturalWidth") > 0
    box = picture.bounding_box()
    assert box["y"] + box["height"] < 600
    third = page.locator(".jp-OutputArea-output td", has_text="zeros = 0").first
    assert third.bounding_box()["y"] < 900


def test_no_tab_opens_changed(page):
    """JupyterLab has nothing to save in a notebook that was only opened."""
    for name in NAMES:
        open_tab(page, name)
        assert page.locator(f".jp-mod-current:has-text('{name}')").count()
        assert page.locator(DIRTY).all_inner_texts() == []


@pytest.mark.parametrize("name", [*NAMES[:2], pytest.param(NAMES[2], marks=pytest.mark.slow)])
def test_running_all_interrupting_and_running_all_again(page, project, name):
    """The last run has no error, and no file that git tracks has changed after it was saved."""
    run_interrupt_run(page, project, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[3:])
def test_running_all_on_the_stored_results(stored_page, project, name):
    """Notebooks 3 to 8 on `outputs/reference`: run, interrupted and run again without an error."""
    run_interrupt_run(stored_page, project, name)


def run_interrupt_run(page, project, name):
    open_tab(page, name)
    run_all(page, interrupt=False)
    run_all(page, interrupt=True)
    run_all(page, interrupt=False)
    choose(page, "File", "Save Notebook")
    page.locator(DIRTY).wait_for(state="detached", timeout=WAIT)
    cells = nbformat.read(project / start.WORK.name / name, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert None not in [cell.execution_count for cell in code]
    errors = [output.evalue for cell in code for output in cell.outputs
              if output.output_type == "error"]
    assert errors == []
    assert git(project, "status", "--porcelain") == ""


PROMPTS = """() => [...document.querySelectorAll(".jp-InputPrompt")].map(
    prompt => prompt.textContent).join(" ")"""


def run_all(page, interrupt):
    """Run all cells, interrupt them on their way if asked for, and wait until nothing runs."""
    before = page.evaluate(PROMPTS)
    choose(page, "Run", "Run All Cells")
    page.wait_for_function(f"before => ({PROMPTS})() !== before", arg=before, timeout=WAIT)
    if interrupt:
        choose(page, "Kernel", "Interrupt Kernel")
    page.wait_for_function(f"() => !({PROMPTS})().includes('*')", timeout=15 * WAIT)  # 2 trains
    page.get_by_text("| Idle").wait_for(timeout=WAIT)


def test_the_settings_are_known_to_jupyterlab():
    """Each setting of the kit exists in the schema of its plugin."""
    schemas = Path(sys.prefix) / "share/jupyter/lab/schemas"
    settings = json.loads((start.SETTINGS / "overrides.json").read_text())
    for plugin, values in settings.items():
        package, _, name = plugin.partition(":")
        known = json.loads((schemas / package / f"{name}.json").read_text())["properties"]
        assert values.keys() <= known.keys()
