"""The data of a run: seeded samples in Parquet files, with a manifest and a card."""

from metarfft_core.corpus.builder import (
    SCHEMA,
    SYNTHETIC,
    TRIES,
    build,
    check_context,
    files,
    provenance,
    read,
)

__all__ = ["SCHEMA", "SYNTHETIC", "TRIES", "build", "check_context", "files", "provenance", "read"]
