"""The answers of a reinforcement learning, scored and kept.

    answers/step-00001.parquet         what a step learnt from
    answers/evaluation-00000.parquet   what an evaluation asked
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from metarfft_core import scoring, tasks
from metarfft_core.system.files import whole
from metarfft_core.training.rl.arms import Arm
from metarfft_core.training.rl.rewards import has_trace, process

SCHEMA = pa.schema([
    ("task", pa.string()), ("length", pa.int64()), ("index", pa.int64()), ("prompt", pa.string()),
    ("gold_answer", pa.string()), ("text", pa.string()), ("finish_reason", pa.string()),
    ("tokens", pa.int64()), ("outcome", pa.string()), ("process", pa.float64()),
    ("trace", pa.bool_())])
"""What is known of an answer. `tokens` holds the end token; `outcome` is one of scoring.OUTCOMES;
`process` and `trace` (see `rewards`) are null if the prompt holds no rule."""


def answer(arm: Arm, tokenizer, end: int, asked: dict[str, Any], ids: list[int]) -> dict[str, Any]:
    """Decode and score an answer, as the evaluation of a run does.

    Args:
        arm: The training.
        tokenizer: The tokenizer of its model.
        end: The id of the end token.
        asked: A row of the training's prompts.
        ids: The token ids of the answer.
    """
    stopped = bool(ids) and ids[-1] == end
    text = tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=False,
                            clean_up_tokenization_spaces=False)
    found = {"task": asked["task"], "length": asked["length"], "index": asked["index"],
             "prompt": asked["prompt"][0]["content"], "gold_answer": asked["gold_answer"],
             "text": text, "finish_reason": "stop" if stopped else "length", "tokens": len(ids)}
    return found | judged(arm, found, asked["gold"])


def judged(arm: Arm, row: dict[str, Any], gold: str) -> dict[str, Any]:
    """Return the outcome, the process and the trace of an answer, from its text alone.

    Args:
        arm: The training.
        row: The answer, with what was asked.
        gold: The right completion.
    """
    prompt, text, wording = row["prompt"], row["text"], arm.config.corpus.wording
    outcome = scoring.score(text, row["finish_reason"], row["gold_answer"])[1]
    if arm.format != "rfft":
        return {"outcome": outcome, "process": None, "trace": None}
    template = tasks.get(row["task"]).question
    return {"outcome": outcome, "process": process(prompt, text, gold, template, wording),
            "trace": has_trace(prompt, text, wording)}


def path(folder: Path, kind: str, step: int) -> Path:
    """The file of the answers of a step or an evaluation; `kind` is "step" or "evaluation"."""
    return folder / "answers" / f"{kind}-{step:05}.parquet"


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write answers to a file, all or nothing."""
    with whole(file) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), temporary, compression="zstd")


def read(file: Path) -> list[dict[str, Any]]:
    """Read the answers of a step or an evaluation."""
    return pq.read_table(file).to_pylist()


def summary(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Count answers: how many, how many are right, cut and traces, mean process and mean tokens."""
    rows = list(rows)
    judged = [row for row in rows if row["process"] is not None]
    return {"answers": len(rows), "right": sum(row["outcome"] == "right" for row in rows),
            "cut": sum(row["outcome"] == "cut" for row in rows),
            "traces": sum(row["trace"] for row in judged) if judged else None,
            "process": _mean([row["process"] for row in judged]) if judged else None,
            "tokens": _mean([row["tokens"] for row in rows])}


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 6)
