"""The page that steps through a rule in the browser: Pyodide gives what CPython gives.

Pyodide runs under Node, from the package that `npm ci --prefix tests/pyodide` installs. No test
uses a network.
"""

import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import lab_in_chromium
import pytest

from metarfft_core import formats, tasks
from metarfft_core.lab import view

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "docs"))
import explorer_files  # noqa: E402  (a module of the documentation, which is no package)

SITE = ROOT / "docs" / "site" / "explorer"
LENGTHS = (1, 8, 30)

needs_pyodide = [
    pytest.mark.skipif(shutil.which("node") is None, reason="needs Node"),
    pytest.mark.skipif(not explorer_files.PYODIDE.is_dir(),
                       reason="needs Pyodide: npm ci --prefix tests/pyodide")]


def requests() -> list[dict]:
    """An instance of every task at three lengths."""
    return [{"task": task.id, "length": length, "seed": 0, "index": 7, "rule": None, "again": 0}
            for task in tasks.select()
            for length in sorted({min(length, task.lengths[-1]) for length in LENGTHS})]


def in_pyodide(folder: Path, calls: list) -> list:
    """The answers of the kit in Pyodide, from the files that the site would have."""
    explorer_files.write(folder)
    asked, answered = folder / "calls.json", folder / "answers.json"
    asked.write_text(json.dumps(calls))
    done = subprocess.run(
        ["node", "answers.mjs", SITE / "kit.mjs", folder / "metarfft.zip", asked, answered],
        capture_output=True, text=True, cwd=ROOT / "tests" / "pyodide", timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(answered.read_text(encoding="utf-8"))


def completion(request: dict) -> str:
    task = tasks.get(request["task"])
    instance = task.sample(length=request["length"], seed=request["seed"], index=request["index"])
    return formats.render(task, instance, "rfft").completion


class TestPyodide:
    """What the kit answers in Pyodide."""

    pytestmark = needs_pyodide

    def test_every_task_is_traced_as_in_cpython(self, tmp_path):
        """Trace, states and formats of all 86 tasks, at three lengths, are the same bytes."""
        asked = requests()
        found = in_pyodide(tmp_path, [["answer", {"request": one, "position": 0}] for one in asked])
        assert len({one["task"] for one in asked}) == 86
        for one, answer in zip(asked, found, strict=True):
            assert json.dumps(answer) == json.dumps(view.answer(one)), one
            assert answer["view"]["formats"][2]["completion"] == completion(one)

    def test_a_text_is_judged(self, tmp_path):
        """A right trace has no false line, a changed one has the one that was changed."""
        asked = requests()[1::3]
        calls = []
        for one in asked:
            right = completion(one)
            head, _, _ = right.rpartition("\n")
            calls += [["judged", {"request": one, "text": right}],
                      ["judged", {"request": one, "text": f"{head}\nSo the answer is 'no'"}]]
        found = in_pyodide(tmp_path, calls)
        assert found[::2] == [{"false": []}] * len(asked)
        assert [[false["text"] for false in answer["false"]] for answer in found[1::2]] == [
            ["So the answer is 'no'"]] * len(asked)

    def test_the_options_and_a_refused_rule(self, tmp_path):
        """The tasks to choose from are all of them, and a refused rule has the subset's reason."""
        request = {**requests()[0], "rule": "def f(:"}
        options, refused, judged = in_pyodide(tmp_path, [
            ["options", None], ["answer", {"request": request, "position": 0}],
            ["judged", {"request": {**request, "rule": None}, "text": ""}]])
        assert options == view.options()
        assert refused["problem"]["text"].startswith("line 1: not Python")
        assert judged["false"]


def test_the_lock_file_names_no_host():
    """package-lock.json holds versions and hashes, but no address of a registry."""
    lock = (ROOT / "tests" / "pyodide" / "package-lock.json").read_text()
    assert '"integrity"' in lock
    assert "resolved" not in lock
    assert "://" not in lock


def page(folder: Path, pyodide: bool) -> None:
    """The page as the site has it, without the site's frame, in folder/docs."""
    shutil.copytree(SITE, folder / "explorer")
    explorer_files.write(folder / "explorer")
    if not pyodide:
        shutil.rmtree(folder / "explorer" / "pyodide", ignore_errors=True)
    source = (ROOT / "docs" / "explorer.md").read_text(encoding="utf-8")
    body = source[source.index("<link"):source.index("## Keys")]
    (folder / "docs").mkdir()
    (folder / "docs" / "explorer.html").write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Step through a rule</title>"
        + body.replace(explorer_files.TWIN, explorer_files.twin()), encoding="utf-8")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, *arguments):
        pass


@pytest.fixture
def open_page(tmp_path):
    """Opens the page in Chromium; every request beyond the own server fails the test."""
    lab_in_chromium.needs_chromium()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    foreign = []
    with lab_in_chromium.chromium() as browser:
        shown = browser.new_page(viewport={"width": 1100, "height": 1200})
        shown.on("request", lambda request: request.url.startswith((address, "blob:", "data:"))
                 or foreign.append(request.url))

        def opened(pyodide: bool):
            page(tmp_path, pyodide)
            shown.goto(f"{address}/docs/explorer.html")
            return shown

        yield opened
    server.shutdown()
    assert foreign == []


@pytest.mark.browser
def test_the_page_without_pyodide_shows_a_table(open_page):
    """Without Pyodide the page shows the steps as a table, and says that Python is missing."""
    shown = open_page(pyodide=False)
    shown.get_by_text("Python is not part of this copy of the site").wait_for(timeout=20_000)
    assert shown.locator(".metarfft-twin code").all_inner_texts()[8] == (
        "num = nums.pop(0) # num = 0; nums = [3]")
    assert not shown.locator(".metarfft-exercise").is_visible()


@pytest.mark.browser
@pytest.mark.skipif(not explorer_files.PYODIDE.is_dir(),
                    reason="needs Pyodide: npm ci --prefix tests/pyodide")
def test_the_page_steps_and_judges(open_page):
    """With Pyodide the page steps through a rule and judges the trace that a reader types."""
    shown = open_page(pyodide=True)
    shown.locator(".mr-explorer").wait_for(timeout=60_000)
    shown.locator(".mr-explorer input[type=range]").focus()
    for _ in range(8):
        shown.keyboard.press("ArrowRight")
    assert shown.locator(".mr-changed").all_inner_texts() == ["* nums\t[3]\t[0, 3]", "* num\t0\t4"]
    own = shown.get_by_label("Your trace")
    verdict = shown.locator(".metarfft-exercise [role=status]")
    own.fill("def move_zeroes(nums): # nums = [4, 0, 3]\nresult = []\nzeros = 1")
    shown.locator(".metarfft-exercise li", has_text="Line 3: the rule executes here: zeros = 0"
                  ).wait_for()
    own.fill(completion({"task": "lc_283", "length": 3, "seed": 0, "index": 7}))
    verdict.filter(has_text="Every line is true").wait_for()
    shown.get_by_label("Task", exact=True).select_option("lc_461")
    shown.locator(".mr-question", has_text="At how many places").wait_for()
    verdict.filter(has_text="1 of 1 lines must change").wait_for()
