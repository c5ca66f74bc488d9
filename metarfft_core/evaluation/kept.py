"""The rows of an archive: most have lost their prompt and their text (see `params.is_archive`)."""

import ast
import hashlib
import json
from collections.abc import Mapping

from metarfft_core import tasks
from metarfft_core.corpus.meter import render
from metarfft_core.corpus.splits import all_splits
from metarfft_core.evaluation import api
from metarfft_core.evaluation.cells import api_settings, asked, path
from metarfft_core.params import Cell, Params, is_archive


def prompt_hash(row: Mapping) -> str:
    """Return the identifier of a row's prompt: 16 digits of its SHA-256."""
    return row.get("prompt_sha256") or _hash(row["prompt"])


def _hash(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def with_prompt(config: Params, row: dict) -> dict:
    """Return a row with its prompt, which is made again from the inputs if it is not kept.

    The prompt is empty if this version of the code makes another one, as its hash shows. The text
    of the model cannot be made again: it is None.
    """
    if "prompt" in row:
        return row
    source = asked(Cell(row["method"], row["task"], row["seed"]))
    held = all_splits(config)[source["split"]]
    instance = tasks.Instance(row["task"], row["length"], row["index"], held.stream,
                              ast.literal_eval(row["inputs"]),
                              ast.literal_eval(row["gold_answer"]))
    prompt = render(config, held, tasks.get(source["task"]), instance,
                    source["format"]).prompt
    if api_settings(config, row["method"]):
        prompt = api.question(prompt)
    return row | {"prompt": prompt if _hash(prompt) == row["prompt_sha256"] else "", "text": None}


def note(config: Params) -> str:
    """Return a sentence that says how many texts an archive keeps; empty for another folder."""
    if not is_archive(config.folder):
        return ""
    kept = total = 0
    for cell in config.cells:
        with open(path(config, cell), encoding="utf-8", newline="\n") as file:
            for row in map(json.loads, file):
                kept, total = kept + ("text" in row), total + 1
    return (f"Stored results, in {config.folder}: {kept:,} of {total:,} texts are kept, the first "
            "ones of each length; of the others the answer and its outcome are kept. Tables and "
            "figures count every answer.")
