"""The lines of a figure or table by model, each with the run that speaks to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metarfft_core.analysis.stored import (
    NOT_RUN,
    Found,
    Line,
    Stored,
    find,
    full_name,
    lines,
    other_models,
    paper,
)

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Group:
    """The lines of one model that belong together: a block of panels, or a part of a table."""

    name: str
    ours: bool  # whether the model is not in the paper
    lines: dict[Line, Found | None]

    @property
    def found(self) -> list[Found]:
        """The lines that a run speaks to."""
        return [found for found in self.lines.values() if found]

    def heading(self, frame: "DataFrame") -> str:
        """Return the group's name, the runs in its frame, and the lines that are missing in it."""
        if frame.empty:
            return f"{self.name}: {NOT_RUN}"
        runs = frame["run"].dropna().unique()
        names = f"run{'s' if len(runs) > 1 else ''} {', '.join(runs)}"
        missing = ", ".join(line.label for line in self.lines
                            if not (frame["line"] == line.label).any())
        return f"{self.name} ({names}{f'; {NOT_RUN}: {missing}' if missing else ''})"


def groups(spec: dict, runs: Sequence[Stored]) -> list[Group]:
    """Return the groups of a figure or table: the paper's own, then those of each other model.

    A group of the paper is included whether it was run or not. Another model is included only if
    it speaks to a line, and never if the figure has `others: false`.
    """
    wanted, logs = lines(spec), spec.get("draw") == "loss"
    shown = []
    for name in dict.fromkeys(line.group for line in wanted):
        members = [line for line in wanted if line.group == name]
        shown.append(Group(_title(name), False, {line: find(line, runs, logs) for line in members}))
    for model in other_models(runs) if spec.get("others", True) else ():
        theirs = list(dict.fromkeys(line.of(model) for line in wanted if not line.api))
        for name in dict.fromkeys(line.group for line in theirs):
            by_line = {line: find(line, runs, logs) for line in theirs if line.group == name}
            title = f"ours, {model}" + (f": {name}" if name else "")
            shown += [Group(title, True, by_line)] if any(by_line.values()) else []
    return shown


def _title(group: str) -> str:
    return (full_name(group) if group in paper()["models"] else group) or "API models"
