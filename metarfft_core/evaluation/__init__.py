"""Generates, scores and stores every answer.

    cells.py    one method on one task: its samples, its results file, whether it is finished
    resident.py one process that evaluates cell after cell with one engine
    grid.py     shares the cells among processes, and reads what is stored
    kept.py     the rows of an archive
    engines.py  vLLM and transformers
    api.py      models on an OpenAI-compatible server; streams.py reads their responses
    metrics.py  accuracies with intervals, paired comparisons
"""

from metarfft_core.evaluation.cells import finished_rows, header, is_finished, path, plan
from metarfft_core.evaluation.grid import launch, main, read
from metarfft_core.evaluation.kept import note
from metarfft_core.evaluation.resident import evaluate
from metarfft_core.scoring import OUTCOMES, recompute, same_answer, same_answer_lenient, score

__all__ = ["OUTCOMES", "evaluate", "finished_rows", "header", "is_finished", "launch", "main",
           "note", "path", "plan", "read", "recompute", "same_answer", "same_answer_lenient",
           "score"]
