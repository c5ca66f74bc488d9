"""Shows what a training trains on: the trained tokens coloured, the others grey.

The text is decoded from the encoded micro batch that the trainer receives. It therefore shows the
actual masks, not the intended ones (Section 4.1: the loss is computed on the completion alone).
"""

import html
from itertools import groupby
from typing import NamedTuple

from metarfft_core import models
from metarfft_core.params import ParamsError
from metarfft_core.training import batches
from metarfft_core.training.job import Job

_GREY, _GREEN, _END = "\033[90m", "\033[32m", "\033[0m"


class Piece(NamedTuple):
    """Consecutive tokens that are either all trained on or all not."""

    trained: bool
    text: str
    tokens: int


def pieces(job: Job, number: int = 0) -> list[Piece]:
    """Return sample `number` (from 0) of a training's first micro batch, as it is encoded.

    Raises:
        ParamsError: If the training uses no sample of that number.
    """
    tokenizer = models.load_tokenizer(job.config.model.name, job.config.model.chat_template)
    data = batches.load_training(job, tokenizer)
    samples, order = data.samples, data.order
    if not 0 <= number < len(order):
        raise ParamsError(f"number: {job.name} takes {len(order)} samples, numbered from 0 to "
                          f"{len(order) - 1}; got {number}")
    row = batches.packed(samples, [[order[number]]])[0]
    marked = zip(row["input_ids"], row["labels"], strict=True)
    found = []
    for trained, group in groupby(marked, key=lambda pair: pair[1] != -100):
        ids = [token for token, _ in group]
        found.append(Piece(trained, tokenizer.decode(ids), len(ids)))
    return found


def as_text(parts: list[Piece]) -> str:
    """Format for a terminal: trained text in green, the rest in grey."""
    coloured = "".join(f"{_GREEN if part.trained else _GREY}{part.text}{_END}" for part in parts)
    return f"{coloured}\n{_summary(parts)}"


def as_html(parts: list[Piece]) -> str:
    """Format for a notebook: trained text is marked and bold, which GitHub and a reader without
    colours show too."""
    told = "".join(f"<mark><b>{text}</b></mark>" if part.trained else text
                   for part in parts for text in [html.escape(part.text)])
    return f'<pre style="white-space:pre-wrap">{told}</pre><p>{_summary(parts)}</p>'


def _summary(parts: list[Piece]) -> str:
    trained = sum(part.tokens for part in parts if part.trained)
    return f"The loss is taken on {trained} of {sum(part.tokens for part in parts)} tokens."
