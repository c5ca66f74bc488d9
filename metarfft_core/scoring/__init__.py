"""The one way to read and score an answer, for evaluation, error analysis and rewards.

    strict.py    the score of every model that was trained on the format
    lenient.py   a second score beside it, for models that were not
    patterns.py  how such models announce, write, explain and take back an answer
"""

from metarfft_core.scoring.lenient import lenient_outcome, same_answer_lenient
from metarfft_core.scoring.strict import OUTCOMES, recompute, same_answer, score

__all__ = ["OUTCOMES", "lenient_outcome", "recompute", "same_answer", "same_answer_lenient",
           "score"]
