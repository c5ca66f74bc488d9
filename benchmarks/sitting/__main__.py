"""One item of a sitting in this process; the runner starts it.

The item's results go to standard output. All else that is printed goes to standard error.
"""

import argparse
import importlib
import os
import signal
import threading
from pathlib import Path

from sitting.record import Record


def _end_with_the_runner() -> None:
    """Stop this process and what it has started once the runner is gone: its pipe then ends."""
    os.read(0, 1)  # not through sys.stdin, whose lock the interpreter wants when it ends
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sitting")
    parser.add_argument("module")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    importlib.import_module(options.module).run(
        Record(results, options.out, options.work, options.seconds, options.rehearse))


if __name__ == "__main__":
    main()
