"""Every generation, scored and kept: the engines, the grid of method x task x length, metrics."""

from metarfft_core.evaluation.grid import (
    OUTCOMES,
    evaluate,
    header,
    is_finished,
    launch,
    main,
    path,
    plan,
    read,
    recompute,
    same_answer,
    score,
)

__all__ = ["OUTCOMES", "evaluate", "header", "is_finished", "launch", "main", "path", "plan",
           "read", "recompute", "same_answer", "score"]
