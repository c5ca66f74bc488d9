"""What samples cost in tokens of the embedded model, whose context is 8,192."""

import pytest

from metarfft_core import formats, models, params, tasks
from metarfft_core.planning import costs
from metarfft_core.tasks import Instance


@pytest.fixture(scope="module")
def run():
    """The smoke run, for its model."""
    return params.load(params.DEFAULT_FILE)


def test_downstream_tasks_fit_at_length_30(run):
    """No sample of a downstream task at length 30 takes more than 8,000 tokens."""
    cost = costs.tokens(run, lengths=[30], samples=5).set_index("task")
    downstream = [task.id for task in tasks.select(split="downstream")]
    assert cost.loc[downstream, "max"].max() <= 8000
    assert (cost["mean"] <= cost["max"]).all()


def test_the_longest_addition_fits():
    """The addition with a carry in every column, the longest trace of all, fits too."""
    add, number = tasks.get("nupa_add"), "9" * 30
    instance = Instance(add.id, 30, 0, "", {"num1": number, "num2": number},
                        str(2 * int(number)))
    count = models.token_counter(models.EMBEDDED)
    assert 7000 < count(*formats.render(add, instance, "rfft")) <= 8000


def test_a_task_that_does_not_fit_is_listed(run):
    """Word sorting is listed with the longest length that fits, and one more does not."""
    longest = costs.longest_that_fits(run, samples=2).set_index("task").longest
    assert longest["nupa_length"] == 31
    assert longest["lc_1275"] == 9
    assert 15 <= longest["bbh_word_sorting"] < 31
    cost = costs.tokens(run, lengths=[longest["bbh_word_sorting"] + 1], samples=2)
    assert cost.set_index("task").loc["bbh_word_sorting", "max"] > run.model.context
