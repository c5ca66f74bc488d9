"""The manifest of a corpus: what it was made from, by which code, and the hash of every file."""

import json
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import pyarrow.parquet as pq

from metarfft_core import __version__
from metarfft_core.corpus.splits import (
    all_splits,
    shard_path,
)
from metarfft_core.params import Params, ParamsError, commit
from metarfft_core.system.files import (
    changed,
    read_json,
    sha256,
    write_json,
)


def write_manifest(config: Params, folder: Path) -> None:
    """Write the manifest from the statistics of all shards.

    Raises:
        ParamsError: A split has no samples, because every length was left out.
    """
    splits = all_splits(config)
    rows, counts, left_out, shards = dict.fromkeys(splits, 0), {}, {}, {}
    for name, split in splits.items():
        counts[name] = {}
        for format in split.formats:
            for task in split.shards:
                path = shard_path(config, name, format, task)
                metadata = json.loads(pq.read_metadata(path).metadata[b"metarfft"])
                counts[name][task] = metadata.pop("lengths")
                left_out |= {f"{name}/{task}/{length}": reason
                             for length, reason in metadata.pop("left_out").items()}
                rows[name] += metadata["rows"]
                shards[str(path.relative_to(folder))] = metadata | {"sha256": sha256(path)}
        if not rows[name]:
            raise ParamsError(f"corpus.{name}: every length of every task was left out")
    write_json(folder / "manifest.json", provenance(config) | {
        "rows": rows, "left_out": left_out, "counts": counts, "shards": shards})
    if left_out:
        print(f"corpus: {len(left_out)} lengths of tasks are left out, or some of their samples; "
              "the manifest names them")


def provenance(config: Params) -> dict:
    """What made a corpus: parameters, versions, and the git commit (None outside git)."""
    return {
        "params_digest": config.digest,
        "params": config.model_dump(),
        "versions": {"metarfft": __version__, "python": python_version(),
                     **{name: version(name) for name in ("datasets", "pyarrow")}},
        "git_commit": commit.of(config),
    }


def lost_files(folder: Path) -> list[Path] | None:
    """The shards that are missing or differ from the manifest; None without a manifest."""
    path = folder / "manifest.json"
    if not path.exists():
        return None
    return [folder / name for name, about in read_json(path)["shards"].items()
            if changed(folder / name, about["sha256"])]


def summary(values: list[int]) -> dict[str, float]:
    """The mean (to one decimal) and the maximum; both are 0 without values."""
    return {"mean": round(sum(values) / max(len(values), 1), 1), "maximum": max(values, default=0)}
