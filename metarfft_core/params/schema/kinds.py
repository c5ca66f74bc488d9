"""The kinds of values in a parameter file: counts, lengths, tasks, and optional keys."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from metarfft_core import tasks

LONGEST = 10_000
"""The upper limit of a range of lengths, which is expanded before it is checked. The kit's tasks
draw lengths up to 60."""


def _expand_lengths(value: Any) -> Any:
    """Turn "1-15" into [1, ..., 15]; leave everything else to the schema."""
    if isinstance(value, str):
        first, dash, last = value.partition("-")
        if not (dash and re.fullmatch("[0-9]{1,9}", first.strip())
                and re.fullmatch("[0-9]{1,9}", last.strip()) and int(last) <= LONGEST):
            raise ValueError(f"expected a range such as 1-15, up to {LONGEST}, or a list of "
                             f"lengths, got {value!r}")
        return list(range(int(first), int(last) + 1))
    return value


def _check_lengths(lengths: list[int]) -> list[int]:
    if not lengths or lengths != sorted(set(lengths)) or lengths[0] < 1:
        raise ValueError(f"expected ascending lengths from 1, without repeats, got {lengths}")
    return lengths


def _expand_tasks(value: Any) -> Any:
    """Turn the name of a split into the ids of its tasks; leave everything else as it is."""
    if isinstance(value, str):
        if value not in ("pretrain", "downstream"):
            raise ValueError(f"expected pretrain, downstream or a list of tasks, got {value!r}")
        return [task.id for task in tasks.select(split=value)]
    return value


def _check_tasks(keys: list[str]) -> list[str]:
    """Turn names into ids, so that a file with names and one with ids are the same parameters."""
    try:
        named = [tasks.get(key) for key in keys]
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    changed = [task.label for task in named if task.is_counterfactual]
    if changed:
        raise ValueError("expected tasks without a changed rule (evaluation.counterfactual asks "
                         f"those), got {', '.join(changed)}")
    ids = [task.id for task in named]
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(f"expected at least one task, without repeats, got {ids}")
    return ids


Lengths = Annotated[list[int], BeforeValidator(_expand_lengths), AfterValidator(_check_lengths)]
TaskIds = Annotated[list[str], BeforeValidator(_expand_tasks), AfterValidator(_check_tasks)]
Count = Annotated[int, Field(ge=1, lt=2**63)]  # the range of the libraries that take it
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # the range of numpy and transformers


class Section(BaseModel):
    """A part of a parameter file. Unknown keys, wrong types and numbers that are not finite are
    errors; values never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def optional(value: Any) -> Any:
    """An optional key, which is not dumped if it has its default."""
    return Field(default=value, exclude_if=lambda given: given == value)
