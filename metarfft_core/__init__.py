"""metarfft: a reproducibility kit for Meta Rule-Following Fine-Tuning (arXiv 2502.11525)."""

__version__ = "0.1.0"

import os

# Threads of OpenMP that wait for each other soon give their core away. By default they spin for
# long, which slows everything down if another program runs beside them; without any spinning a
# training alone is a quarter slower (`benchmarks/waiting.py`). Libraries read these variables
# when they are loaded, so they are set here, before any of them; the user's values win.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
