"""Counts the tokens of samples, and refuses samples that exceed the model's context."""

from metarfft_core import formats, tasks
from metarfft_core.corpus.splits import (
    Split,
    all_splits,
)
from metarfft_core.models import token_counter
from metarfft_core.params import Params, ParamsError
from metarfft_core.tasks import Instance, Task

_PROBES = 5  # samples of the longest length that are counted before anything is built


_MARGIN = 16  # tokens; joining a text to the chat template adds far fewer


class Meter:
    """Counts the tokens of samples with the tokenizer of the run's model."""

    def __init__(self, config: Params):
        self.count = token_counter(config.model.name, config.model.chat_template)
        self.context = config.model.context
        self._around = self.count("", "") + _MARGIN

    def excess(self, prompt: str, completion: str) -> int | None:
        """The number of tokens of a sample that exceeds the context, or None if it fits."""
        if self._around + len((prompt + completion).encode()) <= self.context:
            return None  # every token takes at least one byte
        tokens = self.count(prompt, completion)
        return tokens if tokens > self.context else None

    def refuse(self, split: str, task: Task, length: int, tokens: int) -> ParamsError:
        """Make the error for a sample that does not fit."""
        return ParamsError(f"corpus.{split}: task {task.id} at length {length} takes {tokens} "
                           f"tokens, model.context allows {self.context}")


def check_context(config: Params) -> None:
    """Check, before anything is built, that the longest samples fit the model's context.

    The check counts the first samples of the longest length of every task; the build counts all
    samples. Sections with `leave_out` are not checked, because the build leaves such lengths out.

    Raises:
        ParamsError: A sample exceeds the context; the message names its task and length.
    """
    meter = Meter(config)
    for name, split in all_splits(config).items():
        if split.tasks.leave_out:
            continue
        length = split.samples.lengths[-1]
        for task in map(tasks.get, split.task_ids):
            for index in range(min(_PROBES, split.samples.samples_per_length)):
                instance = task.sample(length=length, seed=config.seed, index=index,
                                       stream=split.stream)
                for format in split.formats:
                    tokens = meter.excess(*render(config, split, task, instance, format))
                    if tokens:
                        raise meter.refuse(name, task, length, tokens)


def render(config: Params, split: Split, task: Task, instance: Instance,
            format: str) -> formats.Example:
    """Render a sample in the run's wording, with an exemplar if its split has exemplars.

    Raises:
        ParamsError: The task has no exemplar for this sample.
    """
    if not split.exemplar:
        return formats.render(task, instance, format, config.corpus.wording)
    try:
        return formats.render_in_context(task, instance, format, config.seed, config.corpus.wording)
    except ValueError as error:
        raise ParamsError(f"corpus.{split.stream}: {error}") from None
