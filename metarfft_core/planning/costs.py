"""Counts the tokens of samples, by task and length, for the model of a run."""

import pandas as pd

from metarfft_core import formats, models, params, tasks


def tokens(config: params.Params, lengths: list[int], samples: int,
           format: str = "rfft") -> pd.DataFrame:
    """Count the tokens of templated prompts and completions.

    Args:
        config: The resolved parameters; gives the model and the seed.
        lengths: The lengths to count; a task skips those that it cannot draw.
        samples: How many samples of each task and length to count.
        format: The format of the samples.

    Returns:
        A row for each task and length, with the columns task, length, mean and max.
    """
    count = models.token_counter(config.model.name, config.model.chat_template)
    rows = []
    for task in tasks.select():
        for length in lengths:
            if length not in task.lengths:
                continue
            drawn = [task.sample(length=length, seed=config.seed, index=index, stream="costs")
                     for index in range(samples)]
            costs = [count(*formats.render(task, instance, format)) for instance in drawn]
            rows.append((task.id, length, sum(costs) / samples, max(costs)))
    return pd.DataFrame(rows, columns=["task", "length", "mean", "max"])


def longest_that_fits(config: params.Params, samples: int, upto: int = 31) -> pd.DataFrame:
    """Find the longest length at which every counted sample of a task fits the model's context.

    Args:
        config: The resolved parameters; gives the model and the seed.
        samples: How many samples of each length to count.
        upto: The longest length to try.

    Returns:
        A row for each task, with the columns task and longest (0 if not even the shortest fits).
    """
    count = models.token_counter(config.model.name, config.model.chat_template)

    def fits(task: tasks.Task, length: int) -> bool:
        drawn = (task.sample(length=length, seed=config.seed, index=index, stream="costs")
                 for index in range(samples))
        return all(count(*formats.render(task, instance, "rfft")) <= config.model.context
                   for instance in drawn)

    rows = []
    for task in tasks.select():
        candidates = [length for length in reversed(task.lengths) if length <= upto]
        rows.append((task.id, next((length for length in candidates if fits(task, length)), 0)))
    return pd.DataFrame(rows, columns=["task", "longest"])
