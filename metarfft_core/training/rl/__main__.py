"""`python -m metarfft_core.training.rl`: the process of one reinforcement learning."""

import sys

from metarfft_core.training.rl.worker import main

if __name__ == "__main__":
    sys.exit(main())
