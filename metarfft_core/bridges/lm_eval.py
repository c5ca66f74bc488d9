"""The evaluation of a run as tasks of the LM Evaluation Harness (lm-eval), for all its backends.

    <folder>/<method>/<task>.yaml       the task metarfft_<method>_<task>
    <folder>/<method>/<task>.parquet    its samples

The prompts, the greedy decoding until the end token and the scoring are the kit's own. The folder
contains no code, but its tasks name a function of this module.

The harness has one decoding limit per task, while the kit has one per sample, and the harness does
not report whether an output was cut. An output that exceeds its own limit and still ends in the
right answer therefore counts as right in the harness, but as "cut" in the kit.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from metarfft_core import __version__, evaluation, scoring
from metarfft_core.bridges import new_folder
from metarfft_core.params import METHODS, Cell, Params, ParamsError
from metarfft_core.tasks import id_of

COLUMNS = ("task", "length", "index", "prompt", "gold_answer", "limit")
"""The columns of a task's samples; `limit` is the kit's own decoding limit, in tokens."""

_SCORING = "process_results: !function metarfft_core.bridges.lm_eval.process_results\n"


def process_results(doc: dict, results: list[str]) -> dict[str, float]:
    """Score one sample for lm-eval: `acc` is 1.0 if the kit calls the output right, else 0.0."""
    _, outcome = scoring.score(results[0] or "", "stop", doc["gold_answer"])
    return {"acc": float(outcome == "right")}


def write(config: Params, folder: Path, methods: Collection[str] = (),
          tasks: Collection[str] = ()) -> Path:
    """Write the evaluation of a run, or a part of it, to a new folder; returns the folder.

    Two methods with the same format have the same prompts, so their tasks differ only in name.

    Args:
        config: The parameters of the run.
        folder: The folder to write, which must be new or empty.
        methods: The methods to write; all if empty.
        tasks: The ids or names of the tasks to write; all if empty. The folder uses ids.

    Raises:
        ParamsError: The run does not evaluate such a method or task, its corpus is not built,
            `folder` is not empty, or no single decoding limit suits all samples of a task.
    """
    cells = list(dict.fromkeys(replace(cell, seed=config.seed) for cell in config.cells
                               if cell.method in METHODS))
    tasks = [id_of(task) for task in tasks]
    for key, given, held in (("method", methods, dict.fromkeys(cell.method for cell in cells)),
                             ("task", tasks, dict.fromkeys(cell.task for cell in cells))):
        for name in given:
            if name not in held:
                raise ParamsError(f"{key}: this run evaluates {', '.join(held)}; got {name!r}")
    folder = Path(folder).resolve()
    with new_folder(folder) as temporary:
        for cell in cells:
            if cell.method in (methods or METHODS) and (not tasks or cell.task in tasks):
                (temporary / cell.method).mkdir(exist_ok=True)
                _write_task(config, cell, temporary / cell.method, folder / cell.method)
    return folder


def _write_task(config: Params, cell: Cell, folder: Path, final: Path) -> None:
    """Write the samples and YAML of one task into `folder`, which is later renamed to `final`."""
    rows = evaluation.plan(config, cell)
    values = _config(config, cell, _limit(config, cell, rows),
                     str(final / f"{cell.task}.parquet"))
    pq.write_table(pa.Table.from_pylist([{name: row[name] for name in COLUMNS} for row in rows]),
                   folder / f"{cell.task}.parquet")
    text = yaml.safe_dump(values, sort_keys=False) + _SCORING
    (folder / f"{cell.task}.yaml").write_text(text, encoding="utf-8")


def _limit(config: Params, cell: Cell, rows: list[dict]) -> int:
    """The decoding limit of a task: the largest of its samples' limits that the context allows.

    The harness cuts the beginning of a prompt if prompt and limit exceed the context together.
    """
    room = config.model.context - max(row["prompt_tokens"] for row in rows)
    needed = max(row["gold_tokens"] for row in rows)
    if needed > room:
        raise ParamsError(f"{cell}: a completion takes {needed} tokens, the longest "
                          f"prompt leaves {room} of model.context; lm-eval has one limit for both")
    return min(room, max(row["limit"] for row in rows))


def _config(config: Params, cell: Cell, limit: int, data: str) -> dict[str, Any]:
    """The configuration of an lm-eval task, without the function that scores it.

    It sets the repetition penalty to 1, because a model's generation config may set another.
    """
    return {
        "task": f"metarfft_{cell.method}_{cell.task}",
        "tag": ["metarfft", f"metarfft_{cell.method}"],
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": data}},
        "test_split": "test",
        "num_fewshot": 0,
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "gold_answer",
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": limit,
                              "repetition_penalty": 1.0},
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": __version__, "run": config.name, "params": config.digest,
                     "format": METHODS[cell.method].format},
    }
