"""The evaluation samples of a run as a data set in the format of the Hub (the paper's Section 4).

The folder holds the Parquet files of the corpus, a configuration for each split and format, the
manifest and a data set card: `datasets.load_dataset(folder, "evaluation-rfft")` opens it, and
`hf upload NAME FOLDER --repo-type dataset` publishes it.
"""

import shutil
from pathlib import Path

from metarfft_core.bridges import new_folder
from metarfft_core.corpus import card
from metarfft_core.params import Params, ParamsError
from metarfft_core.system import files


def write(config: Params, folder: Path) -> Path:
    """Write the evaluation splits of a built corpus to a new folder; returns the folder.

    Raises:
        ParamsError: The corpus is not built, one of its files is damaged, or `folder` is not empty.
    """
    folder, source = Path(folder).resolve(), config.folder / "corpus"
    manifest = _evaluation_part(card.read_manifest(config))
    with new_folder(folder) as temporary:
        for name, about in manifest["shards"].items():
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target)
            if files.sha256(target) != about["sha256"]:
                raise ParamsError(f"{source / name} is damaged: delete it and build the corpus "
                                  "again")
        files.write_json(temporary / "manifest.json", manifest)
        files.write_whole(temporary / "README.md", card.text(config, manifest))
    return folder


def _evaluation_part(manifest: dict) -> dict:
    """The manifest of the corpus without the splits for training and validation."""
    def kept(values: dict) -> dict:
        return {key: value for key, value in values.items()
                if key.split("/")[0].startswith("evaluation")}

    return manifest | {part: kept(manifest[part])
                       for part in ("rows", "left_out", "counts", "shards")}
