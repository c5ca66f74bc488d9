"""The data of a run: seeded samples in Parquet files, with a manifest and a card.

    splits.py    the splits of a corpus, and where their files lie
    meter.py     the tokens that samples take; what exceeds the context is refused
    builder.py   writes the shards
    manifest.py  what a corpus was made of and by what, with the hash of every file
    card.py      its README, also for the Hub
"""

from metarfft_core.corpus.builder import TRIES, build
from metarfft_core.corpus.manifest import provenance
from metarfft_core.corpus.meter import check_context
from metarfft_core.corpus.splits import SCHEMA, SYNTHETIC, files, read

__all__ = ["SCHEMA", "SYNTHETIC", "TRIES", "build", "check_context", "files", "provenance", "read"]
