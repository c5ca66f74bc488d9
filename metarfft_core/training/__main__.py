"""`python -m metarfft_core.training`: the process that runs one training."""

import sys

from metarfft_core.training.process.worker import main

if __name__ == "__main__":
    sys.exit(main())
