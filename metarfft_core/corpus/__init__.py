"""The data of a run: seeded samples in Parquet files, with a manifest and a card.

    splits.py    the splits of a corpus, and the paths of their files
    meter.py     counts the tokens of samples; refuses those that exceed the context
    builder.py   writes the shards
    manifest.py  records what a corpus was made from, and the hash of every file
    card.py      writes its README, also for the Hub
"""

from metarfft_core.corpus.builder import TRIES, build
from metarfft_core.corpus.manifest import provenance
from metarfft_core.corpus.meter import check_context
from metarfft_core.corpus.splits import SCHEMA, SYNTHETIC, files, home, mean_characters, read

__all__ = ["SCHEMA", "SYNTHETIC", "TRIES", "build", "check_context", "files", "home",
           "mean_characters", "provenance", "read"]
