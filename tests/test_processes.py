"""Processes side by side, with real ones."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from metarfft_core.system import processes
from metarfft_core.system.places import ROOT
from metarfft_core.system.processes import Command

WAIT = """
import os, pathlib, sys, time
own, other = map(pathlib.Path, sys.argv[1:])
own.write_text(os.environ["PLACE"])
for _ in range(300):
    if other.exists():
        break
    time.sleep(0.1)
else:
    sys.exit(3)
"""


def test_commands_run_at_once_each_in_a_place_of_its_own(tmp_path):
    """Two commands that wait for each other both end, and each sees the variables of one place."""
    paths = [tmp_path / "a", tmp_path / "b"]
    commands = [Command([sys.executable, "-c", WAIT, *map(str, pair)], pair[0].name)
                for pair in (paths, paths[::-1])]
    processes.follow_all(commands, [{"PLACE": "1"}, {"PLACE": "2"}])
    assert sorted(path.read_text() for path in paths) == ["1", "2"]


@pytest.mark.parametrize("places", [[], [{}, {}]], ids=["in turn", "at once"])
def test_a_failure_does_not_stop_the_others(tmp_path, places):
    """All others finish; the error has what each failed one said, and names them at last."""
    done = [tmp_path / "one", tmp_path / "two"]
    commands = [Command([sys.executable, "-c", f"open({str(path)!r}, 'w')"], path.name)
                for path in done]
    fails = [Command([sys.executable, "-c", f"print('gone: {name}'); raise SystemExit({status})"],
                     name) for name, status in (("first", 7), ("last", 8))]
    with pytest.raises(RuntimeError) as raised:
        processes.follow_all([fails[0], *commands, fails[1]], places)
    assert all(path.exists() for path in done)
    text = str(raised.value)
    assert "first failed with exit code 7:\ngone: first\n" in text
    assert "last failed with exit code 8:\ngone: last\n" in text
    assert text.splitlines()[-1] == "2 of 4 failed: first, last"
    assert not processes._running


INTERRUPTED = """
import signal, sys
from metarfft_core.system import processes
from metarfft_core.system.processes import Command
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind a shell's &
line = [sys.executable, "-c", "import os, sys, time; open(sys.argv[1], 'w').write("
        "str(os.getpid())); time.sleep(60)"]
processes.follow_all([Command([*line, path], path) for path in sys.argv[1:3]], [{}, {}])
"""


def test_an_interrupt_stops_all(tmp_path):
    """Ctrl-C ends every command that runs, and with them the waiting."""
    paths = [tmp_path / "a", tmp_path / "b"]
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, *map(str, paths)], cwd=ROOT,
                               stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not all(path.exists() and path.read_text() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=60)[1]
    assert not any(psutil.pid_exists(int(path.read_text())) for path in paths)


def test_the_places_of_a_cpu_share_its_cores(monkeypatch):
    """Each worker gets its part of the cores as threads, at least one, or what the user set."""
    monkeypatch.setattr(processes, "gpus", lambda: [])
    monkeypatch.setattr(processes, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert processes.places(1, 2) == [{"OMP_NUM_THREADS": "4"}] * 2
    assert processes.places(1, 20) == [{"OMP_NUM_THREADS": "1"}] * 20
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert processes.places(1, 2) == [{"OMP_NUM_THREADS": "3"}] * 2


def test_the_places_of_gpus_are_groups_of_them(monkeypatch):
    """Workers mean nothing there, and GPUs that do not fill a group are left out."""
    monkeypatch.setattr(processes, "gpus", lambda: ["0", "1", "2"])
    assert processes.places(2, 5) == [{"CUDA_VISIBLE_DEVICES": "0,1"}]
    assert len(processes.places(1, 1)) == 3


HOLD = """
import pathlib, sys, time
from metarfft_core.system import processes
folder, held, let_go = map(pathlib.Path, sys.argv[1:])
with processes.alone(folder):
    held.touch()
    while not let_go.exists():
        time.sleep(0.05)
"""


def test_who_waits_for_a_folder_says_so(tmp_path, capsys):
    """While another process is in the folder the lock's path is printed; then the turn comes."""
    paths = [tmp_path / name for name in ("folder", "held", "let_go")]
    with subprocess.Popen([sys.executable, "-c", HOLD, *map(str, paths)],
                          env=os.environ | {"PYTHONPATH": str(ROOT)}) as other:
        while not paths[1].exists():
            assert other.poll() is None
            time.sleep(0.05)
        threading.Timer(processes._PATIENCE + 1, paths[2].touch).start()
        with processes.alone(paths[0]):
            assert paths[2].exists()
    assert f"waiting for {paths[0] / '.lock'}" in capsys.readouterr().out


def test_no_process_sees_the_users_settings_of_accelerate(tmp_path, monkeypatch, capfd):
    """Variables that accelerate would take for settings stay behind; the kit's own arrive."""
    for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_MIXED_PRECISION", "FSDP_VERSION", "MINE"):
        monkeypatch.setenv(name, "for the test")
    code = "import os; print(sorted(n for n, v in os.environ.items() if v.endswith(' test')))"
    processes.follow(Command([sys.executable, "-c", code], "x", {"ACCELERATE_OWN": "own test"}))
    assert "['ACCELERATE_OWN', 'MINE']" in capfd.readouterr().out


def test_waiting_threads_give_their_core_away_unless_the_user_says_otherwise():
    """Whoever imports the kit gets threads that spin briefly; a variable of the user's stays."""
    code = ("import os, metarfft_core; "
            "print(os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT'])")
    said = [subprocess.run([sys.executable, "-c", code], env=environment, check=True, text=True,
                           capture_output=True).stdout
            for environment in ({"PATH": ""}, {"PATH": "", "OMP_WAIT_POLICY": "ACTIVE"})]
    assert said == ["PASSIVE 3000\n", "ACTIVE 3000\n"]
