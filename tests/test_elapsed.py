"""How long a process works, from its launch on."""

import os
import subprocess
import sys
import time

from metarfft_core.system import elapsed, processes
from metarfft_core.system.places import ROOT

CHILD = ("import time; time.sleep(0.5); from metarfft_core.system import elapsed; elapsed.begin(); "
         "first = elapsed.lap(); time.sleep(0.3); print('laps', first, elapsed.lap())")


def laps(lines):
    [line] = [line for line in lines.splitlines() if "laps" in line]
    return [float(part) for part in line.split()[-2:]]


def test_the_first_lap_counts_from_the_launch(capfd):
    """What the process did before it started its clock is in the first lap; the laps together are
    at most what its launcher saw."""
    start = time.monotonic()
    processes.follow(processes.Command([sys.executable, "-c", CHILD], "child"))
    whole = time.monotonic() - start
    first, second = laps(capfd.readouterr().out)
    assert first > 0.5
    assert second > 0.29
    assert first + second <= whole + 0.1


def test_a_process_that_is_started_by_hand_counts_from_its_own_start():
    """Without a launcher's word the system says when the process started."""
    environment = {name: value for name, value in os.environ.items() if name != elapsed.VARIABLE}
    done = subprocess.run([sys.executable, "-c", CHILD], cwd=ROOT, env=environment, check=True,
                          capture_output=True, text=True)
    first, _ = laps(done.stdout)
    assert 0.4 < first < 60


def test_without_a_clock_nothing_is_claimed():
    """A training that is called in another program's process has no launch."""
    done = subprocess.run([sys.executable, "-c", "from metarfft_core.system import elapsed; "
                           "print(elapsed.lap())"], cwd=ROOT, check=True, capture_output=True,
                          text=True)
    assert done.stdout == "None\n"
