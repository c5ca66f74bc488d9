"""`python -m metarfft_core.training.process.series` runs many adaptations in turn.

The launcher says which (see `system.workers`). Between adaptations the process keeps only what does
not change: the imported libraries, the frozen weights of the newest PiSSA start, and the hashes of
files. Everything else is created again, so each adaptation gives the same bytes as in a process of
its own. Only its times and its peak memory, which is that of the process so far, differ.
"""

import argparse
import gc
import sys

from metarfft_core import models
from metarfft_core.params import Cell, Params
from metarfft_core.system import elapsed, workers
from metarfft_core.training.job import Job
from metarfft_core.training.process.worker import status_of, train


def _run(config: Params) -> None:
    with models.keep_residual():
        for order in workers.orders():
            train(Job(config, "adapt", Cell(order["method"], order["task"], order["seed"])))
            _forget()
            elapsed.lap()  # the next one begins here


def _forget() -> None:
    """Release the memory of the last training, and the settings that accelerate keeps."""
    import torch
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    gc.collect()  # trainers hold their models in circles of references
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def main(arguments: list[str] | None = None) -> int:
    """Run the adaptations that standard input names, until it ends or one of them fails.

    Returns:
        0, 1 for an error of the system, 2 for a user's error.
    """
    parser = argparse.ArgumentParser(prog="python -m metarfft_core.training.process.series",
                                     description="Many adaptations of a run, in turn.")
    elapsed.begin()
    parser.add_argument("--params", required=True, metavar="FILE")
    return status_of(_run, parser.parse_args(arguments).params)


if __name__ == "__main__":
    sys.exit(main())
