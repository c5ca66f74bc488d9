"""Whether what a finished reinforcement learning reports follows from its kept answers."""

import math
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from metarfft_core import corpus, scoring
from metarfft_core.system.files import read_json
from metarfft_core.training.job import stored_log
from metarfft_core.training.rl import answers
from metarfft_core.training.rl.arms import Arm


def problems(arm: Arm) -> list[str]:
    """List what is wrong with a finished training: its weights, its log, its answers.

    The log has to be whole and to say what the kept answers say; every outcome is scored again. To
    judge the process of an answer takes milliseconds, so of the steps only the first and the last
    one are judged again, and of the evaluations all. Weights that did not change are wrong unless
    nothing could be learnt: the answers of each group earned the same.

    Raises:
        ParamsError: The log is not the one that the training wrote.
    """
    settings, log = arm.settings, stored_log(arm)
    steps = {line["step"]: line for line in log if "reward" in line}
    evaluations = {line["step"]: line["evaluation"] for line in log if "evaluation" in line}
    found = [*_missing("reward", list(steps), range(1, settings.steps + 1)),
             *_missing("evaluation", list(evaluations),
                       range(0, settings.steps + 1, settings.evaluate_every))]
    learnt = any(line["tied_groups"] < 1 for line in steps.values())
    if learnt and not read_json(arm.manifest)["relative_change"] > 0:
        found.append("the weights did not change")
    gold = _right_completions(arm, "rl")
    for step, line in steps.items():
        found += _of_step(arm, step, line, gold if step in (1, settings.steps) else None)
    gold = _right_completions(arm, "rl_evaluation")
    for step, by_length in evaluations.items():
        found += _of_evaluation(arm, step, by_length, gold)
    return found


def _missing(kind: str, steps: list[int], expected: range) -> Iterator[str]:
    if steps != list(expected):
        yield (f"the log has the {kind} of {len(steps)} steps, expected the {len(expected)} from "
               f"{expected[0]} to {expected[-1]}")


def _right_completions(arm: Arm, split: str) -> dict[tuple[int, int], str]:
    return {(row["length"], row["index"]): row["completion"]
            for row in corpus.read(arm.config, split, arm.format, arm.task)}


def _of_step(arm: Arm, step: int, line: Mapping, gold: Mapping | None) -> Iterator[str]:
    rows = _scored(arm, "step", step, gold)
    if len(rows) != arm.settings.completions:
        yield f"step {step}: {len(rows)} answers are kept, expected {arm.settings.completions}"
        return
    told = answers.summary(rows)
    values = {"outcome": told["right"] / len(rows), "cut": told["cut"] / len(rows),
              "answer_tokens": told["tokens"]}
    if arm.format == "rfft":
        values |= {"process": told["process"], "traces": told["traces"] / len(rows)}
    yield from _differing(f"step {step}", values | {"reward": values[arm.reward]}, line)


def _of_evaluation(arm: Arm, step: int, by_length: Mapping, gold: Mapping) -> Iterator[str]:
    where = f"evaluation at step {step}"
    found = {str(length): answers.summary(part) for length, part in groupby(
        _scored(arm, "evaluation", step, gold), lambda row: row["length"])}
    if found.keys() != by_length.keys():
        yield (f"{where}: the log has the lengths {', '.join(by_length)}, the kept answers "
               f"{', '.join(found) or 'none'}")
    for length in found.keys() & by_length.keys():
        yield from _differing(f"{where}, length {length}", found[length], by_length[length])


def _scored(arm: Arm, kind: str, step: int, gold: Mapping | None) -> list[dict[str, Any]]:
    """Return kept answers with their outcomes scored again, and with `gold` judged again.

    There are none if the file is missing.
    """
    path = answers.path(arm.folder, kind, step)
    rows = answers.read(path) if path.exists() else []
    if gold is None:
        outcomes = scoring.recompute(rows)
        return [row | {"outcome": outcome} for row, outcome in zip(rows, outcomes, strict=True)]
    return [row | answers.judged(arm, row, gold[row["length"], row["index"]]) for row in rows]


def _differing(where: str, found: Mapping, logged: Mapping) -> Iterator[str]:
    """Yield a line for each value that the log states otherwise than the answers."""
    for name, value in found.items():
        said = logged.get(name)
        if value != said and (value is None or said is None
                              or not math.isclose(value, said, abs_tol=1e-5)):
            yield f"{where}: the log says {name} {said}, the answers {value}"
