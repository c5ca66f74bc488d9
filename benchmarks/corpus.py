"""What the full pre-training corpus and the synthetic samples take to build.

    python benchmarks/corpus.py [--samples N] [--synthetic N] [--workers N]

Builds the pre-training split of params/7b.yaml (74 tasks, lengths 1 to 15, N samples of each) and N
samples of synthetic rules into a temporary folder, with the embedded model's tokenizer, and as
little of the other splits as a run may have. Prints samples, seconds, samples a second, seconds of
CPU time, an upper bound of the peak memory (the parent's peak and, for each worker, that of the
largest) and a hash over all shards, which depends on every option but the workers. Tokens are
counted for 20 samples of each length at the most, so fewer samples cost more each.
"""

import argparse
import hashlib
import os
import resource
import tempfile
import time

from metarfft_core import corpus, models, params
from metarfft_core.system import files
from metarfft_core.system.places import ROOT


def parameters(samples: int, synthetic: int, workers: int) -> params.Params:
    """The parameters of such a corpus."""
    values = params.read(ROOT / "params" / "7b.yaml")
    least = {"lengths": [1], "samples_per_length": 1}
    values["name"] = "benchmark"
    values["model"]["name"] = models.EMBEDDED
    part = values["corpus"]
    part |= {"workers": workers, "validation": least, "adaptation_validation": least,
             "evaluation": least, "adaptation": least | {"tasks": ["nupa_length"]},
             "in_context": least | {"tasks": ["sr_coin_flip"], "synthetic_samples": synthetic}}
    part["pretrain"]["samples_per_length"] = samples
    return params.check(values)


def main() -> None:
    parser = argparse.ArgumentParser(description="The time and memory of a full corpus.")
    parser.add_argument("--samples", type=int, default=300, help="of a length (%(default)s)")
    parser.add_argument("--synthetic", type=int, default=100_000, help="samples (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (%(default)s)")
    options = parser.parse_args()
    run = parameters(options.samples, options.synthetic, options.workers)
    models.token_counter(run.model.name)  # converts the model where that was never done
    with tempfile.TemporaryDirectory() as folder:
        os.environ["METARFFT_OUTPUTS"] = folder
        start = time.monotonic()
        manifest = files.read_json(corpus.build(run) / "manifest.json")
        seconds = time.monotonic() - start
    lines = "".join(f"{path} {shard['sha256']}\n" for path, shard in manifest["shards"].items())
    samples = sum(manifest["rows"].values())
    parent, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = sum(used.ru_utime + used.ru_stime for used in (parent, children))
    peak = (parent.ru_maxrss + options.workers * children.ru_maxrss) * 1024 / 1e9  # from KiB
    print(f"{samples:,} samples in {seconds:,.1f} s with {options.workers} workers: "
          f"{samples / seconds:,.0f} a second")
    print(f"CPU time: {cpu:,.1f} s, imports included; memory: at most {peak:.2f} GB")
    print(f"sha256: {hashlib.sha256(lines.encode()).hexdigest()}")


if __name__ == "__main__":
    main()
