"""Counts the tokens of a few samples of each task and length before a corpus is built.

Samples are drawn as the corpus draws them. If the folder of the model's tokenizer is not available,
the tokens of Qwen2.5's instruction models are counted without it (`models.qwen`), and those
of other models are estimated from the text.
"""

import random
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import NamedTuple

from metarfft_core import formats, models, params, tasks
from metarfft_core.models import qwen
from metarfft_core.params import Params, ParamsError
from metarfft_core.tasks import synthetic
from metarfft_core.training import Job, batches

TOKENS_PER_PIECE = 1.13
"""Tokens per piece of text (a group of letters, a digit, a group of other symbols, a newline),
measured with SmolLM2's tokenizer on our samples. Qwen2.5's tokenizer also splits digits."""
TEMPLATE_TOKENS = 30
"""Tokens that SmolLM2's chat template adds to a prompt."""
ADAPTATION_FACTOR = 5
"""How many times more samples are counted for adaptations, which have few and short lengths."""

_PIECES = re.compile(r"[A-Za-z]+|\d|\n|[^\sA-Za-z\d]+")
_STEPS = 40  # how many batches are packed to find the fullest micro batch
_GENERAL = 1000  # how many samples of general data to count


class Sample(NamedTuple):
    """The tokens of a sample, with template and end token, and the tokens of its completion."""

    tokens: int
    completion: int


GENERAL_SAMPLE = Sample(tokens=350, completion=200)
"""An assumed sample of general data, such as a question of GSM8K with a worked answer. A plan
without the tokenizer's folder takes it, so that it needs no file of general data either."""


class Pool(NamedTuple):
    """Counted samples, and the share of the trained samples that they represent."""

    share: float
    samples: list[Sample]


class Validation(NamedTuple):
    """One validation: all its tokens, the scored ones and the sum of squared lengths, and the mean
    tokens of a sample and of its completion."""

    tokens: int
    scored: float
    squares: float
    mean_tokens: float
    mean_completion: float


def estimate(text: str) -> int:
    """Estimate the tokens of a text: TOKENS_PER_PIECE for each of its pieces."""
    return round(TOKENS_PER_PIECE * len(_PIECES.findall(text)))


def mean(pools: list[Pool], value: Callable[[Sample], float]) -> float:
    """Return the mean of a value over the samples that a training draws."""
    return sum(pool.share * sum(map(value, pool.samples)) / len(pool.samples) for pool in pools)


class Counter:
    """Draws samples of each task and length of a run, and counts their tokens once.

    Args:
        config: The resolved parameters of the run.
        samples: How many samples of each task and length to draw.
        folder: The folder of the model's tokenizer; None if it is not available.
        counted: What other counters have counted, to be used and added to.
    """

    def __init__(self, config: Params, samples: int, folder: str | None,
                 counted: dict[tuple, list[Sample]] | None = None):
        self.config, self.samples, self.folder = config, samples, folder
        self._qwen = not folder and qwen.is_qwen(config.model.name)
        self._counted = {} if counted is None else counted

    @property
    def exact(self) -> bool:
        """Whether tokens are counted by the model's tokenizer; otherwise they are estimated."""
        return bool(self.folder) or self._qwen

    @cached_property
    def _count(self) -> Callable[[str, str], int] | None:
        if self._qwen:
            return qwen.counter()
        return models.token_counter(self.folder, self.config.model.chat_template) \
            if self.folder else None

    @cached_property
    def _empty(self) -> int:
        """The tokens of an empty sample: those of the template, and the end token."""
        return self._count("", "")

    def of_text(self, prompt: str, completion: str) -> Sample:
        """Count the tokens of one sample."""
        if self._count is None:
            written = estimate(completion) + 1  # the end token
            return Sample(TEMPLATE_TOKENS + estimate(prompt) + written, written)
        added = self._count("", completion) - self._empty
        return Sample(self._count(prompt, "") + added, added + 1)

    def of_tasks(self, ids: Iterable[str], lengths: list[int], stream: str, format: str,
                 exemplar: bool = False) -> list[Sample]:
        """Count samples of each task and length.

        As in the corpus, a length is left out if the task cannot draw it, or if a sample of it does
        not fit the model's context.
        """
        counts = []
        for task in ids:
            for length in lengths:
                drawn = self._once(self._draw, task, length, stream, format, exemplar)
                if drawn and max(drawn).tokens <= self.config.model.context:
                    counts += drawn
        return counts

    def _once(self, draw: Callable[..., list[Sample]], *key: object) -> list[Sample]:
        """Draw and count samples, or return them if they were counted before."""
        config = self.config
        whole = (self.folder, self._qwen, config.seed, config.corpus.wording, self.samples, *key)
        if whole not in self._counted:
            self._counted[whole] = draw(*key)
        return self._counted[whole]

    def _draw(self, task_id: str, length: int, stream: str, format: str,
              exemplar: bool) -> list[Sample]:
        task, seed, wording = tasks.get(task_id), self.config.seed, self.config.corpus.wording
        if length not in task.lengths:
            return []
        drawn = []
        for index in range(self.each(stream)):
            instance = task.sample(length=length, seed=seed, index=index, stream=stream)
            example = (formats.render_in_context(task, instance, format, seed, wording) if exemplar
                       else formats.render(task, instance, format, wording))
            drawn.append(self.of_text(*example))
        return drawn

    def of_general(self, mix: params.Mix) -> list[Sample]:
        """Count some samples of general data; without the tokenizer's folder, GENERAL_SAMPLE.

        Raises:
            ParamsError: If the file is needed and is not what `batches.general` reads.
        """
        if self.folder is None:
            return [GENERAL_SAMPLE]
        rows = batches.general(mix).select_columns(["prompt", "completion"])
        few = rows.select(range(0, len(rows), -(-len(rows) // _GENERAL)))
        return [self.of_text(row["prompt"], row["completion"]) for row in few]

    def each(self, stream: str) -> int:
        """Return how many samples of a task and length are counted."""
        return self.samples * (ADAPTATION_FACTOR if stream.startswith("adaptation") else 1)

    def of_rules(self, count: int) -> list[Sample]:
        """Count samples of `count` synthetic rules, one of each, with an exemplar."""
        return self._once(self._draw_of_rules, count)

    def _draw_of_rules(self, count: int) -> list[Sample]:
        counts = []
        for number in range(count):
            rule = synthetic.rule(self.config.seed, number)
            instance = rule.sample(length=rule.lengths[number % len(rule.lengths)],
                                   seed=self.config.seed, index=0, stream="in_context")
            counts.append(self.of_text(*formats.render_in_context(
                rule, instance, "rfft", self.config.seed, self.config.corpus.wording)))
        return counts


def trained_on(job: Job, counter: Counter) -> tuple[list[Pool], int]:
    """Count the samples that a training draws from.

    Returns:
        The pools, that of the tasks first, and how many samples of the tasks the corpus will hold.

    Raises:
        ParamsError: If every length of every task is left out.
    """
    config, settings = job.config, job.settings
    pretrain = job.stage == "pretrain"
    samples = config.corpus.pretrain if pretrain else config.corpus.adaptation
    stream, _ = job.splits
    ids = samples.tasks if pretrain else [job.task]
    own = counter.of_tasks(ids, samples.lengths, stream, job.format)
    if not own:
        raise ParamsError(f"{job.name}: every length of every task was left out")
    others = []
    if pretrain and settings.in_context_share:
        others.append(Pool(settings.in_context_share, _in_context(config, counter)))
    if settings.mix:
        others.append(Pool(settings.mix.share, counter.of_general(settings.mix)))
    share = 1 - sum(pool.share for pool in others)
    return ([Pool(share, own), *others],
            len(own) * samples.samples_per_length // counter.each(stream))


def _in_context(config: Params, counter: Counter) -> list[Sample]:
    """Count in-context samples; tasks and synthetic rules have the proportion of the corpus."""
    samples = config.corpus.in_context
    drawn = counter.of_tasks(samples.tasks, samples.lengths, "in_context", "rfft", exemplar=True)
    counted = counter.each("in_context") / samples.samples_per_length  # share of a task's samples
    return drawn + counter.of_rules(round(counted * samples.synthetic_samples))


def validated_on(job: Job, counter: Counter) -> Validation:
    """Count the tokens of one validation of a training."""
    corpus = job.config.corpus
    if job.stage == "pretrain":
        samples, ids = corpus.validation, corpus.pretrain.tasks
    else:
        samples, ids = corpus.adaptation_validation, [job.task]
    _, stream = job.splits
    pool = counter.of_tasks(ids, samples.lengths, stream, job.format)
    if not pool:
        return Validation(0, 0.0, 0.0, 0.0, 0.0)
    tokens, completions = (sum(column) for column in zip(*pool, strict=True))
    each = samples.samples_per_length / counter.each(stream)
    return Validation(round(each * tokens), each * completions,
                      each * sum(sample.tokens**2 for sample in pool),
                      tokens / len(pool), completions / len(pool))


def fullest(pools: list[Pool], batch_size: int, micro_batch_size: int) -> Sample:
    """Return the fullest micro batch of some random batches: all tokens, completion tokens.

    It is at least the longest sample, which a training draws sooner or later.
    """
    rng, most = random.Random("plan"), max(max(pool.samples) for pool in pools)
    for _ in range(_STEPS):
        chosen = rng.choices(pools, [pool.share for pool in pools], k=batch_size)
        drawn = [rng.choice(pool.samples) for pool in chosen]
        bins = max(1, batch_size // micro_batch_size)
        first = batches.pack([sample.tokens for sample in drawn], bins)[0]
        together = zip(*(drawn[position] for position in first), strict=True)
        most = max(most, Sample(*map(sum, together)))
    return most
