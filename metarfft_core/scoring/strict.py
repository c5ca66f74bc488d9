"""The one way to read and score an answer, for evaluation, error analysis and rewards."""

import warnings
from collections.abc import Iterable, Mapping

from metarfft_core import formats
from metarfft_core.tracing.judge.literals import Unclear, literal
from metarfft_core.tracing.steps import ANSWER

OUTCOMES = ("right", "wrong", "no_answer", "cut")


def same_answer(answer: str, gold: str) -> bool:
    """Whether a parsed answer equals the stored answer, which is a repr.

    Two answers are equal if they are the same text apart from surrounding white space, or if both
    are Python literals with the same repr: "[1,2]" equals "[1, 2]", but "1" does not equal "1.0",
    "True" or "'1'", and "7 # or 8" is not a literal.
    """
    if answer.strip() == gold.strip():
        return True
    literal = _literal(answer.strip())
    return literal is not None and literal == _literal(gold.strip())


def _literal(text: str) -> str | None:
    """The repr of the Python literal in `text`; None if `text` is not a literal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model may write text that Python warns about
            return repr(literal(text))
    except (Unclear, ValueError, RecursionError):  # a huge number has no decimal digits
        return None


def score(text: str, finish_reason: str, gold: str) -> tuple[str | None, str]:
    """Read and score the answer of a generated text.

    Args:
        finish_reason: "length" for a text that the decoding limit ended, "refused" for a prompt
            that a server refused; any other value is a finished text.
        gold: The stored answer, a repr.

    Returns:
        The parsed answer, or None if there is none, and one of OUTCOMES.
    """
    if finish_reason == "refused":
        return None, "no_answer"
    answer = formats.parse_answer(text)
    if finish_reason == "length":
        return answer, "cut"
    if answer is None:
        return None, "no_answer"
    return answer, "right" if same_answer(answer, gold) else "wrong"


def recompute(rows: Iterable[Mapping]) -> list[str]:
    """Recompute the outcomes of stored rows from text, finish reason and right answer alone.

    Where a text is not kept, as in most rows of an archive, the parsed answer replaces it.
    """
    return [score(_text(row), row["finish_reason"], row["gold_answer"])[1] for row in rows]


def _text(row: Mapping) -> str:
    if isinstance(row.get("text"), str):
        return row["text"]
    return f"{ANSWER}{row['answer']}" if isinstance(row["answer"], str) else ""
