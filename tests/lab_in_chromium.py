"""JupyterLab in a real browser: a server of its own on a free port, and Debian's Chromium.

    with server(folder) as lab, chromium() as browser:
        page = lab.open(browser, "small.ipynb")
        run_all(page)

The folder is the server's root, and its notebooks are opened there. The module is not called
`jupyterlab`, because it would hide the package of that name.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
START = 40.0
"""The most seconds that the server takes to start."""
NUMBERS = """[...document.querySelectorAll(".jp-Notebook .jp-CodeCell .jp-InputPrompt")].map(
    (prompt) => Number(/\\d+/.exec(prompt.textContent) ?? 0))"""
"""JavaScript: the numbers of the executions of all cells; 0 for a cell that has not ended."""
WAIT = 40_000
"""The most milliseconds that JupyterLab takes to show a notebook, or a kernel to run it."""


def needs_chromium() -> None:
    """Skip the calling test module where there is no browser to drive."""
    pytest.importorskip("playwright", reason="needs the Python package playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)", allow_module_level=True)


@dataclass(frozen=True)
class Lab:
    """A running server: its address, its token and the folder that is its root."""

    address: str
    token: str
    folder: Path

    def url(self, path: str) -> str:
        """The address of a notebook, alone in the window."""
        return f"{self.address}/doc/tree/{path}?token={self.token}&reset"

    def open(self, browser, path: str, width: int = 1300, height: int = 1000):
        """A new page that shows a notebook, whose kernel is ready."""
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(self.url(path))
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=WAIT)
        page.get_by_text("| Idle").wait_for(timeout=WAIT)  # in the status bar
        return page


def notebook(path: Path, *cells: str) -> None:
    """Write a notebook whose code cells are the given texts."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3",
                                   "language": "python"}
    nbformat.write(made, path)


@contextmanager
def server(folder: Path, **variables: str) -> Iterator[Lab]:
    """JupyterLab with a folder as its root, settings of its own, and `variables` in its kernels."""
    token, own = secrets.token_hex(16), folder / ".jupyter"
    places = {f"JUPYTER_{name}_DIR": str(own / name.lower()) for name in ("CONFIG", "RUNTIME")}
    places |= {f"JUPYTERLAB_{name}_DIR": str(own / name.lower())
               for name in ("SETTINGS", "WORKSPACES")}
    for place in places.values():
        Path(place).mkdir(parents=True)
    news = own / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false"}')
    places |= {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(own / "ipython")}
    log = (own / "log.txt").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--port=0", "--ip=127.0.0.1",
         "--allow-root", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}",
         "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
        cwd=folder, env=os.environ | places | variables, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield Lab(_address(process, own / "runtime", token), token, folder)
    finally:
        process.terminate()
        process.wait(timeout=20)
        log.close()


def _address(process: subprocess.Popen, runtime: Path, token: str) -> str:
    """The address of a server, as soon as it answers."""
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            try:
                address = json.loads(path.read_text())["url"].rstrip("/")
                with urlopen(f"{address}/api?token={token}", timeout=5):
                    return address
            except (ValueError, URLError):  # half written, or not listening yet
                pass
        time.sleep(0.1)
    raise RuntimeError("JupyterLab does not start: "
                       + (runtime.parent / "log.txt").read_text()[-2000:])


@contextmanager
def chromium() -> Iterator:
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def run_all(page) -> None:
    """Run all cells of the notebook that a page shows, and wait for the last one."""
    before = page.evaluate(NUMBERS)
    choose(page, "Run", "Run All Cells")
    page.wait_for_function(f"(before) => Math.min(...{NUMBERS}) > Math.max(...before)",
                           arg=before, timeout=WAIT)


def choose(page, menu: str, *entries: str) -> None:
    """Choose an entry of JupyterLab's menu bar; all but the last one open a submenu."""
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{menu}$")).click()
    labels = [page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{entry}$"))
              for entry in entries]
    for label in labels[:-1]:
        label.hover()
    labels[-1].click()


CONTRASTS = """(selector) => {
    const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
        .getContext("2d", { willReadFrequently: true });
    const over = (back, color) => {
        context.fillStyle = `rgb(${back})`;
        context.fillRect(0, 0, 1, 1);
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    };
    const light = (color) => color.map((value) => value / 255).map((value) => value <= 0.04045
        ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4).reduce(
        (sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
    const back = (element) => over(element.parentElement ? back(element.parentElement)
        : [255, 255, 255], getComputedStyle(element).backgroundColor);
    const found = [];
    for (const element of document.querySelector(selector).querySelectorAll("*")) {
        const text = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE)
            .map((node) => node.data.trim()).join("")
            || (element.matches("textarea, [type=number]") && element.value);
        if (!text || !element.checkVisibility()) continue;
        const behind = back(element);
        const pair = [light(behind), light(over(behind, getComputedStyle(element).color))];
        found.push([(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), String(text)]);
    }
    return found.sort((one, other) => one[0] - other[0]);
}"""


def contrasts(page, selector: str) -> list[tuple[float, str]]:
    """The contrast of each visible text inside an element, as WCAG defines it, the lowest first.

    The browser itself resolves the colours: axe passes over those that `color-mix` makes.
    """
    return [(ratio, text) for ratio, text in page.evaluate(CONTRASTS, selector)]


def dark(page) -> None:
    """Show a page in JupyterLab's dark theme."""
    choose(page, "Settings", "Theme", "JupyterLab Dark")
    page.wait_for_selector('body[data-jp-theme-light="false"]', timeout=WAIT, state="attached")
