"""How an answer is read and scored: the one rule, for evaluation, error analysis and rewards."""

import ast
import warnings
from collections.abc import Iterable, Mapping

from metarfft_core import formats

OUTCOMES = ("right", "wrong", "no_answer", "cut")


def same_answer(answer: str, gold: str) -> bool:
    """Whether a parsed answer is the stored one (a repr): the one rule of scoring.

    They are the same text, white space around it aside, or both are Python literals with the
    same repr: "[1,2]" is "[1, 2]", but "1" is neither "1.0" nor "True" nor "'1'".
    """
    if answer.strip() == gold.strip():
        return True
    literal = _literal(answer.strip())
    return literal is not None and literal == _literal(gold.strip())


def _literal(text: str) -> str | None:
    """The repr of the Python literal in `text`, None where it holds none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model may write what Python warns about
            return repr(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def score(text: str, finish_reason: str, gold: str) -> tuple[str | None, str]:
    """The parsed answer (None where there is none) and the outcome of a generated text."""
    if finish_reason == "refused":
        return None, "no_answer"
    answer = formats.parse_answer(text)
    if finish_reason == "length":
        return answer, "cut"
    if answer is None:
        return None, "no_answer"
    return answer, "right" if same_answer(answer, gold) else "wrong"


def recompute(rows: Iterable[Mapping]) -> list[str]:
    """The outcomes of stored rows once more, from text, finish reason and stored answer alone."""
    return [score(row["text"], row["finish_reason"], row["gold_answer"])[1] for row in rows]
