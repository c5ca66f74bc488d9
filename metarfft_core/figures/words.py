"""Says in words what a figure shows, from the numbers that it draws: its alternative text."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from metarfft_core.analysis import diagnoses
from metarfft_core.analysis.stored import METRICS
from metarfft_core.figures.style import short_title

if TYPE_CHECKING:
    from pandas import DataFrame

Parts = Sequence[tuple[str, "DataFrame"]]
"""The label of each line of a figure, and its numbers."""


def accuracies(parts: Parts) -> str:
    """Describe accuracy by length: where each line starts and ends, averaged over its tasks."""
    return _sentences("Accuracy by length", parts, _accuracy)


def _accuracy(part: "DataFrame") -> str:
    means = part.groupby("length")["accuracy"].mean().sort_index()
    return _course([f"{value:.0%}" for value in means], means,
                   [f"length {at}" for at in means.index])


def losses(parts: Parts) -> str:
    """Describe losses: the held-out loss at the first and at the last step."""
    return _sentences("Loss per token by step of training", parts, _loss)


def _loss(part: "DataFrame") -> str:
    held_out = part.dropna(subset="validation_loss")
    if held_out.empty:
        return "no held-out loss yet"
    means = held_out.groupby("step")["validation_loss"].mean().sort_index()
    return "held-out loss " + _course([f"{value:.2g}" for value in means], means,
                                      [f"step {at}" for at in means.index])


def steps(parts: Parts, stage: str) -> str:
    """Describe the averages by steps of training."""
    def course(rows: "DataFrame") -> str:
        rows = rows.sort_values("steps")
        return ", ".join(f"{metric} " + _course(
            [f"{value:.2f}" for value in rows[metric]], rows[metric],
            [f"{at} steps" for at in rows["steps"]]) for metric in METRICS)
    return _sentences(f"Averages over the tasks by steps of {stage}", parts, course)


def loops(parts: Parts) -> str:
    """Describe loop counts: the share of each class of traces."""
    def shares(part: "DataFrame") -> str:
        return ", ".join(f"{part[name].sum() / part['rows'].sum():.0%} {label}"
                         for name, label in diagnoses.CLASSES.items())
    return _sentences("Traces by length, by their passes through loops; over all lengths", parts,
                      shares)


def errors(parts: Parts) -> str:
    """Describe first divergences: how many traces are right, and the two kinds that are most."""
    def most(part: "DataFrame") -> str:
        share = part.set_index("kind")["share"]
        wrong = share.drop("right", errors="ignore").sort_values(ascending=False, kind="stable")
        kinds = [f"{value:.0%} {kind.replace('_', ' ')}" for kind, value in wrong.items() if value]
        return ", ".join([f"{share.get('right', 0):.0%} of the traces are right", *kinds[:2]])
    return _sentences("What the traces of each method get wrong first", parts, most)


def tokens(frame: "DataFrame", context: int) -> str:
    """Describe the tokens of samples: the cheapest and the dearest task, and what does not fit."""
    longest = frame["length"].max()
    means = frame[frame["length"] == longest].set_index("task")["mean"]
    over = frame.loc[frame["max"] > context, "task"].nunique()
    return (f"Tokens of prompt and completion by length, for {frame['task'].nunique()} tasks. At "
            f"length {longest} they go from {means.min():,.0f} ({short_title(means.idxmin(), 60)}) "
            f"to {means.max():,.0f} ({short_title(means.idxmax(), 60)}). "
            f"{over} {'task has' if over == 1 else 'tasks have'} samples that do not fit the "
            f"context of {context:,} tokens.")


def numbers(title: str, lines: Iterable[Sequence[str]]) -> str:
    """Describe a table: its title and its lines."""
    told = [f"{name}: {', '.join(cell for cell in cells if cell)}" for name, *cells in lines]
    return f"{title}. {'; '.join(told)}." if told else f"{title}. It has no lines."


def _sentences(what: str, parts: Parts, say: Callable[["DataFrame"], str]) -> str:
    told = [f"{label}: {say(rows)}" for label, rows in parts if not rows.empty]
    return f"{what}. {'; '.join(told)}." if told else f"{what}: nothing of it was run."


def _course(texts: Sequence[str], values: Iterable[float], places: Sequence[str]) -> str:
    """Say how values go from the first place to the last one."""
    if texts[0] == texts[-1]:
        where = places[0] if len(places) == 1 else f"{places[0]} and at {places[-1]}"
        return f"{texts[0]} at {where}"
    values = list(values)
    way = "falls" if values[-1] < values[0] else "rises"
    return f"{way} from {texts[0]} at {places[0]} to {texts[-1]} at {places[-1]}"
