"""metarfft: a reproducibility kit for Meta Rule-Following Fine-Tuning (arXiv 2502.11525)."""

__version__ = "0.1.0"
