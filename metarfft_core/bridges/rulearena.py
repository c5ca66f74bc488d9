"""Compare the task `airline_baggage` with a user's own copy of RuleArena's airline problems.

    python -m metarfft_core.bridges.rulearena FILE.jsonl [FILE.jsonl ...]

A line of a file is a problem with its `total_cost`. RuleArena's own files
(airline/synthesized_problems/comp_0.jsonl) have no totals, because its program computes them:
docs/bridges.md shows how to add them.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

from metarfft_core import tasks
from metarfft_core.params import ParamsError
from metarfft_core.system import files
from metarfft_core.tasks.library import airline

TASK = "airline_baggage"


class Agreement(NamedTuple):
    """How many problems were checked, and those in which the task's rule gives another total."""

    checked: int
    differing: list[str]  # a line for each


def check(path: Path) -> Agreement:
    """Compare the totals of a file of problems with the answers of the task's rule.

    Raises:
        ParamsError: The file is not one of problems with totals; names the line.
    """
    rule, checked, differing = tasks.get(TASK).rule, 0, []
    with files.naming(path), open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            total, inputs = _problem(f"{path}, line {number}", line)
            answer = rule.execute(inputs)
            checked += 1
            if answer != total:
                differing.append(f"{path}, line {number}: the benchmark says {total}, "
                                 f"the rule {answer}")
    return Agreement(checked, differing)


def _problem(where: str, line: bytes) -> tuple[int, dict]:
    """The total and the task's inputs of one line."""
    try:
        problem = json.loads(line)
        if "total_cost" not in problem:
            raise ValueError("expected total_cost, got none (docs/bridges.md shows how to add it)")
        total = airline.whole_number("total_cost", problem["total_cost"])
        return total, airline.from_rulearena(problem)
    except (ValueError, TypeError, RecursionError) as error:
        raise ParamsError(f"{where}: not a problem of RuleArena: {error}") from None


def main(arguments: list[str] | None = None) -> int:
    """Check files of problems; returns 0 if all agree, 1 if one differs, 2 for a user's error."""
    parser = argparse.ArgumentParser(
        prog="metarfft_core.bridges.rulearena",
        description="Compare RuleArena's totals with the answers of the task airline_baggage.")
    parser.add_argument("files", nargs="+", metavar="FILE.jsonl", type=Path)
    try:
        agreements = [check(path) for path in parser.parse_args(arguments).files]
    except (ParamsError, OSError) as error:
        reason = files.explain(error) if isinstance(error, OSError) else error
        print(f"error: {reason}", file=sys.stderr)
        return 2
    differing = [line for agreement in agreements for line in agreement.differing]
    checked = sum(agreement.checked for agreement in agreements)
    print("\n".join([*differing, f"{checked - len(differing)} of {checked} problems agree"]))
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
