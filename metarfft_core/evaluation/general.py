"""General ability: what a run's weights score on benchmarks of others (the paper's Tables 5, 11).

    general/<weights>/<benchmark>.json     the share of right answers, and what it was made with
    general/<weights>/<benchmark>.jsonl    a line per question: its score, what the model wrote

`bridges.general` and `bridges.alpaca` write these files; this module names and reads them. The
weights are those of the base model (`base`), of RF-pretraining (`pretrain`) or of an adaptation.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metarfft_core import models
from metarfft_core.params import Cell, Params, ParamsError
from metarfft_core.system import files

METRICS = {"GSM8K accuracy": "gsm8k", "ARC accuracy": "arc_challenge_chat",
           "Alpaca wins": "alpaca"}
"""The benchmark of each metric of the paper's tables. assumption: the paper's ARC accuracy is
that of letters which a chat model writes; that of likelihoods is `arc_challenge`."""

STAGES = {"base": "base", "meta_rfft": "pretrain"}
"""The weights of a line of the paper's tables. assumption: Meta-RFFT's are the RF-pretrained
model's, which all its adaptations start from."""


class Score(NamedTuple):
    """A stored result: the mean score of the questions, and its bootstrap interval."""

    value: float
    low: float
    high: float
    questions: int


def weights_name(config: Params, stage: str, cell: Cell | None = None) -> str:
    """Return the name of the weights of a stage: base, pretrain or that of an adaptation."""
    if cell is None:
        return stage
    return f"{cell.task}-{cell.method}" + (
        "" if cell.seed == config.seed else f"-seed{cell.seed}")


def path(config: Params, weights: str, benchmark: str) -> Path:
    """Return the JSON file of a benchmark's result."""
    return config.folder / "general" / weights / f"{benchmark}.json"


def write(config: Params, weights: str, benchmark: str, rows: Sequence[Mapping], folder: Path,
          limit: int | None, about: Mapping) -> Path:
    """Store a result; returns the JSON file.

    Args:
        config: The resolved parameters of the run.
        weights: The name of the weights.
        benchmark: The name of the benchmark.
        rows: A line for each question, with its `score` from 0 to 1.
        folder: The folder of the weights, for their hash.
        limit: The number of questions that were asked; None for all.
        about: What else the result was made with: data, settings, versions.
    """
    target = path(config, weights, benchmark)
    lines = target.with_suffix(".jsonl")
    files.write_whole(lines, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    scores = [row["score"] for row in rows]
    files.write_json(target, {
        "benchmark": benchmark, "weights": weights, "params": config.digest,
        "model_sha256": models.model_hash(folder), "questions": len(scores),
        "score": sum(scores) / len(scores), "limit": limit, "sha256": files.sha256(lines),
        **about})
    return target


def read(config: Params, weights: str, benchmark: str, limit: int | None = None) -> Score | None:
    """Read a result and compute its interval; None if there is none with this limit.

    Raises:
        ParamsError: The result is of another run, other weights or another benchmark, or it was
            changed.
    """
    target = path(config, weights, benchmark)
    if not target.exists():
        return None
    about, lines = files.read_json(target), target.with_suffix(".jsonl")
    if about["limit"] != limit:
        return None
    if (about["benchmark"], about["weights"]) != (benchmark, weights):
        raise ParamsError(f"{target} is the result of {about['weights']} on {about['benchmark']}: "
                          "delete it to evaluate again")
    if about["params"] != config.digest:
        raise ParamsError(f"{target} was made with other parameters (digest {about['params']}, "
                          f"this run has {config.digest}): delete it to evaluate again")
    if files.changed(lines, about["sha256"]):
        raise ParamsError(f"{lines} is missing or changed: restore it, or delete {target}")
    scores = [json.loads(line)["score"]
              for line in lines.read_text(encoding="utf-8").split("\n") if line]
    if (len(scores), sum(scores) / max(1, len(scores))) != (about["questions"], about["score"]):
        raise ParamsError(f"{target}: its score is not that of its lines: delete it to evaluate "
                          "again")
    return Score(about["score"], *_interval(config, scores), len(scores))


def _interval(config: Params, scores: list[float]) -> tuple[float, float]:
    """Return the percentile interval of the mean over redrawn questions."""
    import numpy

    settings = config.evaluation
    drawn = numpy.random.default_rng(config.seed).choice(
        scores, (settings.bootstrap_samples, len(scores))).mean(axis=1)
    half = (1 - settings.confidence) / 2
    low, high = numpy.quantile(drawn, [half, 1 - half])
    return float(low), float(high)
