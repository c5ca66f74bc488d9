"""metarfft: a reproducibility kit for Meta Rule-Following Fine-Tuning (arXiv 2502.11525)."""

__version__ = "0.1.0"

import os

# Threads of OpenMP that wait for each other give their core away; by default they spin, which slows
# everything down if another program runs beside them. Libraries read these variables when they are
# loaded, so they are set here, before any of them; the user's values win (`benchmarks/waiting.py`).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
