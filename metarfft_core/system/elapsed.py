"""What the work of a process took, from the launch of the process on.

A process that is launched by another one is told when (`VARIABLE`), so that the start of Python and
of accelerate counts, too. Each part of its work ends with `lap`; all laps together are the whole
time.
"""

import os
import time

VARIABLE = "METARFFT_LAUNCHED"
"""The environment variable with the time of the launch, in seconds since 1970."""

_last: list[float] = []
"""When the last lap of this process ended; empty in a process that `begin` was not called in."""


def begin() -> None:
    """Start the clock of a process, at its launch; called first of all by the process' command."""
    told = os.environ.get(VARIABLE)
    if told is None:  # started by hand
        import psutil

        told = psutil.Process().create_time()
    _last[:] = [float(told)]


def lap() -> float | None:
    """Return the seconds since the launch, or since the last lap; None without `begin`."""
    if not _last:
        return None
    now = time.time()
    took, _last[0] = now - _last[0], now
    return round(took, 2)
