"""How long what should answer at once takes on this machine, in seconds.

    python benchmarks/times.py [--rounds N]

Prints the shortest of N rounds (3 unless told) for each: a command that answers at once or refuses,
in a process of its own; and in this process the plans of the large runs. The tests hold no seconds,
because a busy machine or another processor would fail them; they hold what is loaded and ratios.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

from metarfft_core import params
from metarfft_core.planning import plan
from metarfft_core.system.places import ROOT

COMMANDS = {
    "a sample": ["sample", "nupa_add", "--length", "3", "--format", "rfft"],
    "a parameter file that is not there": ["build", "--params", "nowhere.yaml"],
    "the plan of the test run": ["plan", "--params", str(ROOT / "params" / "test.yaml")]}


def command(arguments: list[str]) -> None:
    """Run `metarfft` with these arguments; what it prints is left out."""
    subprocess.run([sys.executable, "-c", "import sys; from metarfft_core.cli import main; "
                    "sys.exit(main(sys.argv[1:]))", *arguments], check=False,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def shortest(action: Callable[[], object], rounds: int) -> float:
    """The seconds of the quickest of several rounds, because machines are noisy."""
    found = []
    for _ in range(rounds):
        start = time.monotonic()
        action()
        found.append(time.monotonic() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of what should answer at once.")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for name, arguments in COMMANDS.items():
        taken = shortest(lambda given=arguments: command(given), rounds)
        print(f"{name:36} {taken:6.2f}", flush=True)
    for name in ("7b", "32b"):
        run = params.load(ROOT / "params" / f"{name}.yaml")
        taken = shortest(lambda given=run: plan.plan(given, samples=1), 1)
        print(f"{f'the plan of {name}, a sample a length':36} {taken:6.2f}", flush=True)


if __name__ == "__main__":
    main()
