"""Exports the part of a run that is small enough for version control: no weights, few texts.

    metarfft export --params FILE --as results --to DIR

`metarfft report` accepts such a folder instead of a run's own, so that a rerun can be compared with
it sample by sample.
"""

import json
import shutil
from collections import Counter
from pathlib import Path

from metarfft_core import evaluation, training
from metarfft_core.evaluation import general
from metarfft_core.evaluation.kept import prompt_hash
from metarfft_core.params import Params, ParamsError, is_archive
from metarfft_core.system import files

WITH_TEXT = 2
"""How many samples of each length in every evaluated cell keep their prompt and generation, and how
many questions of each result of general ability keep what was written."""

_COPIED = ("params.yaml", "corpus/manifest.json", "corpus/README.md", "pretrain/manifest.json",
           "pretrain/log.jsonl", "adapt/*/*/manifest.json", "adapt/*/*/log.jsonl",
           "rl/*/*/manifest.json", "rl/*/*/log.jsonl",
           "evaluation/manifest.json", "figures/*.png", "figures/*.csv", "paper/claims.*")


def write(config: Params, folder: Path) -> Path:
    """Write the manifests, logs, figures with their numbers, and outcomes of a finished run.

    From the third sample of a length on, a row of the evaluation has no text, and a hash replaces
    its prompt. From the third question on, a result of general ability has the score alone.

    Raises:
        ParamsError: If a cell is not evaluated, a log was changed, a result of general ability was
            changed or is of another run, `folder` exists, or the run's folder is an archive itself.
    """
    folder = Path(folder)
    if folder.exists():
        raise ParamsError(f"{folder} exists: name a folder that does not")
    if is_archive(config.folder):
        raise ParamsError(f"{config.folder} is such a folder already: copy it instead")
    evaluation.read(config)  # refuses what is not finished, or another run's
    for job in [*training.jobs(config), *training.arms(config)]:
        training.stored_log(job)  # refuses a log that was changed
    _check_drawn(config)
    with files.whole_folder(folder) as made:
        for path in sorted(path for pattern in _COPIED for path in config.folder.glob(pattern)):
            target = made / path.relative_to(config.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        for cell in config.cells:
            path = evaluation.path(config, cell)
            _copy_cell(path, made / path.relative_to(config.folder), config.seed)
        for path in sorted((config.folder / "general").glob("*/*.json")):
            _copy_general(config, path, made / path.relative_to(config.folder))
    return folder


def _check_drawn(config: Params) -> None:
    """Refuse figures and claims that are not those that the notebooks recorded, if they did."""
    for record in sorted((config.folder / "notebooks").glob("[0-9]*.json")):
        for name, about in files.read_json(record).items():
            path = config.folder / name
            if any(path.relative_to(config.folder).match(kept) for kept in _COPIED) and (
                    files.changed(path, about["sha256"])):
                raise ParamsError(f"{path} is missing or changed: `metarfft run --params "
                                  f"{config.folder / 'params.yaml'}` makes it again")


def _copy_cell(path: Path, target: Path, seed: int) -> None:
    """Copy a file of rows without most texts, and its description with the new hash."""
    about = files.read_json(path.with_suffix(".json"))
    rows = evaluation.finished_rows(path, about, seed)
    of_length, lines = Counter(), []
    for row in rows:
        of_length[row["length"]] += 1
        kept = {"prompt_sha256": prompt_hash(row), **row}
        if of_length[row["length"]] > WITH_TEXT:
            del kept["prompt"], kept["text"]
        lines.append(json.dumps(kept, ensure_ascii=False) + "\n")
    files.write_whole(target, "".join(lines))
    files.write_json(target.with_suffix(".json"), about | {
        "sha256": files.sha256(target), "whole_sha256": about["sha256"]})


def _copy_general(config: Params, path: Path, target: Path) -> None:
    """Copy a result of general ability; of most questions the score alone."""
    about = files.read_json(path)
    general.read(config, path.parent.name, path.stem, about["limit"])  # refuses what was changed
    lines = path.with_suffix(".jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    kept = [*lines[:WITH_TEXT], *(json.dumps({name: row[name] for name in ("question", "score")})
                                  for row in map(json.loads, lines[WITH_TEXT:]))]
    rows = target.with_suffix(".jsonl")
    files.write_whole(rows, "".join(line + "\n" for line in kept))
    files.write_json(target, about | {"sha256": files.sha256(rows),
                                      "whole_sha256": about["sha256"]})
