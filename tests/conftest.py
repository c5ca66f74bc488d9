"""What holds for all tests."""

import metarfft_core  # noqa: F401  (before torch is loaded: it sets how waiting threads behave)
