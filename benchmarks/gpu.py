"""One sitting on a GPU: every number of docs/performance.md that needs one, in one command.

    python benchmarks/gpu.py --out DIR [--budget SECONDS] [--only N ...] [--rehearse]

The items (see benchmarks/sitting/__init__.py) run in turn, the most informative first, each in a
process with its own time limit. Each result is a line of DIR/results.jsonl, synced to the disk and
printed at once; DIR/sitting.log has all else that the items print. An item that fails or runs over
its limit has a line that says so, and the next one runs. An item that does not fit the rest of the
budget is not started. A second sitting in the same folder adds its lines.

--rehearse runs the same items at toy size, also without a GPU. Its figures mean nothing, and every
line says that it is a rehearsal. benchmarks/gpu_report.py makes a table of the lines.
"""

import argparse
import sys
from pathlib import Path

from sitting import ITEMS, record, runner

sys.path.insert(0, str(runner.ROOT))


def main() -> int:
    """Hold the sitting.

    Returns:
        0 if every item finished, 1 if one did not, 2 for a user's error.
    """
    parser = argparse.ArgumentParser(description="One sitting on a GPU.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the results")
    parser.add_argument("--budget", type=float, default=560.0, metavar="SECONDS",
                        help="of all items together (%(default)s)")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", choices=range(len(ITEMS)),
                        help="the items to run (all)")
    parser.add_argument("--rehearse", action="store_true", help="at toy size, also on a CPU")
    options = parser.parse_args()
    if not options.rehearse and not _has_gpu():
        print("error: there is no GPU here; --rehearse runs the items at toy size",
              file=sys.stderr)
        return 2
    items = [item for item in ITEMS if options.only is None or item.number in options.only]
    closed = runner.Sitting(options.out, options.budget, options.rehearse).hold(items)
    return int(any(line["status"] != record.FINISHED for line in closed))


def _has_gpu() -> bool:
    """Whether there is a GPU, found out without initialising it in this process."""
    import torch

    return torch.cuda.device_count() > 0


if __name__ == "__main__":
    sys.exit(main())
