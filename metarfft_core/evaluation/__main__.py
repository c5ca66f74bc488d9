"""`python -m metarfft_core.evaluation`: the grid, or one method on one task."""

import sys

from metarfft_core.evaluation.grid import main

if __name__ == "__main__":
    sys.exit(main())
