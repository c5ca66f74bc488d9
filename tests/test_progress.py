"""The display of long work, in a real kernel with real child processes."""

import asyncio
import html
import json
import re
import sys
import time
from itertools import pairwise

import nbformat
import papermill
import psutil
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from metarfft_core.runner import ThisPython
from metarfft_core.system import processes, progress
from metarfft_core.system.places import ROOT
from metarfft_core.system.processes import Command

RECORDED = [ROOT / "outputs/reference/laptop/adapt/nupa_length" / method / "log.jsonl"
            for method in ("vanilla_rfft", "meta_rfft")]

REPLAY = """
import json, sys, time
path, pause = sys.argv[1], float(sys.argv[2])
steps = [json.loads(line) for line in open(path)]
last = max(step["step"] for step in steps)
for step in steps:
    if "loss" in step:
        print(f"step {step['step']}/{last}  loss {step['loss']:.4f}  "
              f"{step['tokens_per_second']:.0f} tokens/s  0.5 min left", flush=True)
    else:
        print(f"step {step['step']}/{last}  validation loss {step['validation_loss']:.4f}")
    time.sleep(pause)
"""
"""Prints a recorded log of a training as the trainer does."""

CELL = """
from pathlib import Path
from metarfft_core.system import processes, progress
from metarfft_core.system.processes import Command
with progress.work("training", Path({log!r})):
    processes.follow_all([Command(line, name) for line, name in {commands!r}], [{{}}, {{}}])
"""


class Watching(NotebookClient):
    """A client that keeps each state of the display with the time it came, and may interrupt."""

    def __init__(self, *arguments, interrupt_at=None, **options):
        super().__init__(*arguments, **options)
        self.seen, self.interrupt_at = [], interrupt_at

    def process_message(self, message, *arguments):
        content = message["content"]
        if "text/plain" in content.get("data", {}):
            self.seen.append((time.monotonic(), content["data"]))
            if self.interrupt_at and self.interrupt_at in content["data"]["text/html"]:
                self.interrupt_at = None
                self.interrupting = asyncio.ensure_future(self.km.interrupt_kernel())
        return super().process_message(message, *arguments)


def execute(*sources, **options):
    """Run cells in a kernel of this interpreter; return the cells and the client."""
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, sources)])
    client = Watching(notebook, timeout=60, kernel_manager_class=ThisPython, **options)
    client.execute(cwd=str(ROOT))
    return notebook.cells, client


def replays(pause=0.0):
    return [([sys.executable, "-c", REPLAY, str(path), str(pause)],
             f"training adapt nupa_length {path.parent.name}") for path in RECORDED]


def rows(text):
    """The cells of every row of a display's tables, without the heads."""
    found = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", text)]
    return [[html.unescape(re.sub("<.*?>", "", cell)) for cell in row] for row in found if row]


def test_two_trainings_leave_one_small_output_and_their_log_in_a_file(tmp_path):
    """The stored output has at most 15 lines, and the numbers of each log's last line."""
    log = tmp_path / "logs" / "training.log"
    (cell,), _ = execute(CELL.format(log=str(log), commands=replays(0.02)))
    output, = cell.outputs
    assert output.output_type == "display_data"
    assert len(output.data["text/plain"].splitlines()) <= 15
    assert output.data["text/plain"].startswith("training: finished after ")
    assert "2 of 2 finished" in output.data["text/plain"]
    assert not re.search("<script|<style|style=", output.data["text/html"])
    kept = log.read_text().splitlines()
    expected = {}
    for path in RECORDED:
        steps = [json.loads(line) for line in path.read_text().splitlines()]
        losses = [step for step in steps if "loss" in step]
        held_out = [step["validation_loss"] for step in steps if "validation_loss" in step]
        expected[f"adapt nupa_length {path.parent.name}"] = [
            f"{steps[-1]['step']} of {steps[-1]['step']}", f"{losses[-1]['loss']:.4f}",
            f"{held_out[-1]:.4f}", f"{losses[-1]['tokens_per_second']:.0f} tokens/s"]
        prefix = f"[training adapt nupa_length {path.parent.name}] step "
        assert sum(line.startswith(prefix) for line in kept) == len(steps)
    assert {name: numbers[:4] for name, *numbers in rows(output.data["text/html"])} == expected


def test_each_running_training_has_a_bar_with_the_numbers_of_its_newest_line(tmp_path):
    """Every state that was shown agrees with a line that the log holds for that training."""
    log = tmp_path / "training.log"
    _, client = execute(CELL.format(log=str(log), commands=replays(0.08)))
    kept = set(re.findall(r"(\w+)\] step (\d+)/\d+  loss (\S+)", log.read_text()))
    bars = []
    for _, data in client.seen:
        found = re.findall(r'<progress value="(\d+)" max="(\d+)" aria-label="\w+ \w+ (\w+)">',
                           data["text/html"])
        bars.append(len(found))
        losses = {name.split()[-1]: (done.split()[0], loss)
                  for name, done, loss, *_ in rows(data["text/html"])}
        for done, _, method in found:
            assert losses[method][0] == done
            assert done == "0" or (method, *losses[method]) in kept
    assert bars[-1] == 0
    assert max(bars) == 2
    times = [at for at, _ in client.seen]
    assert len(times) - 2 <= (times[-1] - times[0]) / progress._TICK


def test_a_silent_child_has_a_heartbeat(tmp_path):
    """In the first 12 silent seconds the display moves within 5 s, and again within 10 s more."""
    silent = [([sys.executable, "-c", "import time; time.sleep(12)"], "training")]
    _, client = execute(CELL.format(log=str(tmp_path / "log"), commands=silent))
    times = [at for at, _ in client.seen]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) < 6
    assert len(times) < 8
    assert "10 s so far" in client.seen[-2][1]["text/plain"]


@pytest.mark.parametrize("names", [["one"], ["one", "two"]])
def test_an_interrupt_gives_one_line_and_leaves_no_process(tmp_path, names):
    """The children end, the kernel lives, and running the cell again shows a new display."""
    pids = tmp_path / "pids"
    wait = f"import os, time; open({str(pids)!r}, 'a').write(f'{{os.getpid()}} ')\n" \
           "print('step 3/9  loss 0.5000  1 tokens/s  9.0 min left', flush=True); time.sleep(60)"
    commands = [([sys.executable, "-c", wait], f"training {name}") for name in names]
    cell = CELL.format(log=str(tmp_path / "log"), commands=commands)
    after = "import psutil; [p.pid for p in psutil.Process().children(recursive=True)]"
    cells, _ = execute(cell, after, interrupt_at='<progress value="3"', allow_errors=True)
    shown, error = cells[0].outputs
    assert "training: stopped after" in shown.data["text/plain"]
    assert error.traceback == ["stopped; run this cell again to go on"]
    assert cells[1].outputs[0].data["text/plain"] == "[]"
    started = [int(pid) for pid in pids.read_text().split()]
    assert started
    assert not any(psutil.pid_exists(pid) for pid in started)


def test_papermill_logs_and_stores_a_few_lines(tmp_path, caplog):
    """Its console gets the first state alone, and the executed notebook holds the last one."""
    source = CELL.format(log=str(tmp_path / "log"), commands=replays(0.02))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(notebook, tmp_path / "in.ipynb")
    with caplog.at_level("INFO", logger="papermill"):
        papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", cwd=str(ROOT),
                                   kernel_name="python3", kernel_manager_class=ThisPython,
                                   log_output=True, progress_bar=False)
    assert "training: 0 s so far, starting" in caplog.text
    assert len(caplog.text.splitlines()) <= 15
    output, = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1].outputs
    assert output.data["text/plain"].startswith("training: finished after ")


def test_a_failed_command_is_named_in_the_display(tmp_path):
    """The display says failed, and the error still holds the command's last lines."""
    commands = [([sys.executable, "-c", "print('no room'); raise SystemExit(7)"], "training a")]
    with pytest.raises(CellExecutionError, match="exit code 7:\nno room"):
        execute(CELL.format(log=str(tmp_path / "log"), commands=commands))


def test_a_terminal_gets_every_line(tmp_path, capsys):
    """Outside of a kernel the lines are printed as they come, and no log is written."""
    log = tmp_path / "logs" / "training.log"
    with progress.work("training", log):
        processes.follow_all([Command(*replays()[0])], [{}])
    assert capsys.readouterr().out.count("\nstep ") >= 10
    assert not log.parent.exists()


@pytest.mark.parametrize(("line", "numbers"), [
    ("step 7/30  loss 0.1207  139 tokens/s  0.7 min left", (7, 30, "0.1207", "", "139 tokens/s",
                                                           "0.7 min")),
    ("step 0/30  validation loss 2.7127", (0, 30, "", "2.7127", "", "")),
    ("  36 of 1,072 samples, 230 tokens/s, about 30 s left", (36, 1072, "", "", "230 tokens/s",
                                                             "30 s")),
    ("corpus: 105 of 105 shards, 3,654 samples, 2,021 a second, 0 s left",
     (105, 105, "", "", "2,021 a second", "0 s")),
    ("loss on 8 of 60 tokens of a sample, up to its 'So'", (0, 0, "", "", "", "")),
    ("direct on lc_461: 12 of 24 samples to generate", (0, 0, "", "", "", "")),
])
def test_the_numbers_of_a_line(line, numbers):
    """Each kind of line that the kit prints gives its numbers, and other lines give none."""
    job = progress.Status()
    job.read(line)
    assert (job.done, job.total, job.loss, job.held_out, job.rate, job.left) == numbers
