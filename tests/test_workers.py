"""Resident processes: many jobs in one process, failures, and groups; with real processes."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from metarfft_core.system import progress, workers
from metarfft_core.system.places import ROOT
from metarfft_core.system.workers import Order

WORKS = """
import os, signal, sys
from metarfft_core.system import workers
print("loading", flush=True)
for order in workers.orders():
    if order.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if order.get("fail"):
        raise SystemExit(f"no {order['fail']}")
    with open(order["file"], "a") as file:
        file.write(f"{os.getpid()} {os.environ['PLACE']}\\n")
    print(f"did {order['file']}", end="", flush=True)
"""
LINE = [sys.executable, "-c", WORKS]
PLACES = [{"PLACE": "a"}, {"PLACE": "b"}]


def orders(folder, number: int, groups: str = "") -> list[Order]:
    return [Order(f"job {name}", {"file": str(folder / f"{name}")}, groups[name:name + 1])
            for name in range(number)]


def done(folder, number: int) -> list[list[str]]:
    """The process and the place of each job."""
    return [(folder / str(name)).read_text().split() for name in range(number)]


def test_one_process_does_all_jobs_of_a_place(tmp_path, capfd):
    """The process starts once, and every line is printed, also one without its line break."""
    workers.follow_all(LINE, orders(tmp_path, 3), PLACES[:1])
    assert len({tuple(about) for about in done(tmp_path, 3)}) == 1
    assert capfd.readouterr().out.splitlines() == [
        "loading", *(f"did {tmp_path / str(name)}" for name in range(3))]


def test_two_places_share_the_jobs_and_name_their_lines(tmp_path, capfd):
    """Each place has a process of its own, and a line begins with the job that it is of."""
    workers.follow_all(LINE, orders(tmp_path, 6), PLACES)
    found = {tuple(about) for about in done(tmp_path, 6)}
    assert sorted(place for _, place in found) == ["a", "b"]
    printed = capfd.readouterr().out.splitlines()
    assert all(f"[job {name}] did {tmp_path / str(name)}" in printed for name in range(6))


def test_lines_of_several_threads_stay_whole(capfd):
    """Jobs that report at the same time do not write into each other's lines."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: progress.report("x" * 50, prefix=f"[job {number}] "),
                          range(4000)))
    finally:
        sys.setswitchinterval(before)
    printed = capfd.readouterr().out.split("\n")
    assert sorted(printed) == sorted(["", *(f"[job {number}] " + "x" * 50
                                            for number in range(4000))])


@pytest.mark.parametrize(("bad", "said"), [
    ({"fail": "memory"}, "job bad failed with exit code 1:\n(loading\n)?no memory\n"),
    ({"kill": True}, "job bad failed with exit code -9:\n")])
@pytest.mark.parametrize("places", [PLACES[:1], PLACES], ids=["one place", "two places"])
def test_a_failed_job_does_not_stop_its_siblings(tmp_path, bad, said, places):
    """A job that fails, or whose process is killed, is named at the end; the others are done, by a
    new process where the old one is gone."""
    waiting = orders(tmp_path, 4)
    waiting.insert(1, Order("job bad", bad))
    with pytest.raises(RuntimeError, match=said) as raised:
        workers.follow_all(LINE, waiting, places)
    assert str(raised.value).splitlines()[-1] == "1 of 5 failed: job bad"
    assert len(done(tmp_path, 4)) == 4


AWAITED = """
    open(f"{order['file']} begun", "w").close()
    for _ in range(3000):
        if any(os.path.exists(f"{one} begun") for one in order["awaits"]):
            break
        time.sleep(0.01)
"""


def test_a_place_keeps_to_its_group(tmp_path):
    """Two groups and two places: no place does jobs of both while both have work of their own.

    When job 0 ends, jobs 2 and 3 are left, and its place has to take the second of them."""
    awaits = WORKS.replace("    with open", f"    import time{AWAITED}    with open")
    awaited = {0: [1], 1: [2, 3], 2: [2], 3: [2]}  # one of these has to have begun
    waiting = orders(tmp_path, 4, "xyyx")
    for number, order in enumerate(waiting):
        order.values["awaits"] = [str(tmp_path / f"{one}") for one in awaited[number]]
    workers.follow_all([sys.executable, "-c", awaits], waiting, PLACES)
    places = [place for _, place in done(tmp_path, 4)]
    assert places[0] == places[3] != places[1] == places[2]


def test_a_library_that_reads_standard_input_takes_no_order(tmp_path):
    """A question of a library finds an empty standard input, and the next job is done too."""
    asks = WORKS.replace("    with open", "    assert sys.stdin.read() == ''\n    with open")
    workers.follow_all([sys.executable, "-c", asks], orders(tmp_path, 2), PLACES[:1])
    assert len(done(tmp_path, 2)) == 2


INTERRUPTED = """
import signal, sys
from metarfft_core.system import workers
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind a shell's &
orders = [workers.Order(path, {"file": path}) for path in sys.argv[2:]]
workers.follow_all([sys.executable, "-c", sys.argv[1]], orders, [{"PLACE": "a"}, {"PLACE": "b"}])
"""


def test_an_interrupt_stops_all_and_begins_nothing(tmp_path):
    """Ctrl-C ends both processes at their first job; no waiting job is begun."""
    stays = WORKS.replace("    print(f", "    __import__('time').sleep(60)\n    print(f")
    paths = [tmp_path / name for name in "abcd"]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, stays, *map(str, paths)], text=True,
        stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 60
    while not all(path.exists() and path.read_text() for path in paths[:2]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=60)[1]
    assert not any(psutil.pid_exists(int(path.read_text().split()[0])) for path in paths[:2])
    assert not any(path.exists() for path in paths[2:])
