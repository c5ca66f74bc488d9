"""The claims page: every number in the paper, the run that speaks to it, and a verdict.

Nothing here is written by hand. `data/paper_results.yaml` has the paper's numbers and what a run
needs to speak to each; our numbers are computed from the stored results. Smoke runs never speak.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from metarfft_core.analysis.stored import (
    METRICS,
    Found,
    Line,
    Stored,
    commit,
    common,
    find,
    find_general,
    full_name,
    lines,
    other_models,
    paper,
)
from metarfft_core.claims.deviations import deviations
from metarfft_core.evaluation import general
from metarfft_core.params import Params, written
from metarfft_core.system import files, yaml_files
from metarfft_core.system.markdown import csv_cell, table
from metarfft_core.training.rl.arms import arms

NUMBERS = Path(__file__).parent.parent / "data" / "paper_numbers.yaml"
"""The road to each number; `results_map` writes it."""

REPRODUCED, IN_LINE, UNDECIDED, DIFFERS, NOT_RUN = (
    "reproduced", "in line", "undecided", "differs", "not run")
VERDICTS = (REPRODUCED, IN_LINE, UNDECIDED, DIFFERS, NOT_RUN)

DEFINITIONS = """\
- **reproduced**: A run of the paper's model that deviates in nothing that the paper states: the
  tasks and lengths of the evaluation and at least its samples; the wording of the traces; tasks,
  lengths and samples of the trainings, their methods, ranks, learning rates, batch sizes and steps
  (`metarfft_core/data/paper_protocol.yaml`). The paper's number lies in our interval, whose ends
  are rounded to the paper's two decimals.
- **in line**: The run uses another model or deviates from the paper, but has the paper's order; the
  last column names each deviation. The number is compared with every other number of the same
  metric and group in the same table that the paper reports as different and that was run with the
  same model, over the tasks and lengths that both have. In every comparison, the number that is
  higher in the paper must be higher in ours, and the two intervals must not overlap. A number that
  is a difference of two methods must have the paper's sign, and its interval must exclude 0.
- **undecided**: The run is too small to tell. No comparison contradicts the paper, but in at least
  one of them the two intervals overlap, or the interval of a difference contains 0.
- **differs**: There is a run for the number, and none of the above applies.
- **not run**: There is no run for the number, or nothing was run to compare it with.

A run of the paper's model is preferred to a run of another model. Of runs of other models, the one
with results for most numbers of the group is used. Intervals are bootstrap intervals over samples
and seeds at the run's own confidence, widened if needed to contain our value. Smoke runs are left
out.
"""


_SIGNS = {IN_LINE: "has the paper's sign beyond its interval", UNDECIDED: "has 0 in its interval",
          DIFFERS: "has the other sign beyond its interval"}


@dataclass(frozen=True)
class Claim:
    """A number in the paper, our result that speaks to it, and the verdict."""

    table: str
    group: str
    line: str
    metric: str
    paper: float
    run: str | None = None
    model: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str = NOT_RUN
    why: str = ""
    files: str = ""  # the parameter files whose runs give the number
    gpu_hours: float = 0.0  # of those files, by their plans
    missing: str = ""  # what the kit cannot do for this number


def write(runs: Sequence[Params], folder: Path) -> Path:
    """Write claims.md and claims.csv into a folder, from the stored results of some runs.

    Returns the path of claims.md, which is elsewhere if the folder is in an archive (see
    `params.written`).

    Raises:
        ParamsError: If results were made with other parameters.
    """
    from pandas import DataFrame

    claims, path = judge(runs), written(folder) / "claims.md"
    about = {config.name: {"params_digest": config.digest, "commit": commit(config)}
             for config in runs}
    files.write_whole(path.with_suffix(".csv"), DataFrame(
        [asdict(claim) | about.get(claim.run, {}) for claim in claims]
    ).map(csv_cell).to_csv(index=False))
    files.write_whole(path, page(claims, runs))
    return path


def judge(runs: Sequence[Params]) -> list[Claim]:
    """Return a claim for every number in the paper, in the paper's order."""
    known = [Stored(config) for config in runs if not config.smoke]
    claims = []
    for name, spec in paper()["numbers"].items():
        wanted = lines(spec)
        for group in dict.fromkeys(line.group for line in wanted):
            members = [line for line in wanted if line.group == group]
            claims += _judge_group(name, group, members, spec["metrics"], known)
    return [replace(claim, **road) for claim, road in zip(claims, _roads(claims), strict=True)]


def _roads(claims: Sequence[Claim]) -> Iterator[dict]:
    """Yield the road to each number, as `results_map` found it."""
    told = _numbers()
    for claim in claims:
        road = told[claim.table, claim.group, claim.line, claim.metric]
        yield {"files": ", ".join(f"params/{name}.yaml" for name in road["files"]),
               "gpu_hours": road["gpu_hours"], "missing": road["missing"]}


@cache
def _numbers() -> dict[tuple, dict]:
    """The content of NUMBERS: the road to each number, by table, group, line and metric."""
    return {(one["table"], one["group"], one["line"], one["metric"]): one
            for one in yaml_files.read(NUMBERS)}


def _judge_group(table: str, group: str, members: list[Line], metrics: list[str],
                 known: list[Stored]) -> list[Claim]:
    own = {line: find(line, known) for line in members}
    other = _other_model(members, known)
    claims = []
    for line in members:
        for index, metric in enumerate(metrics):
            speaking = own[line] or other.get(line)
            claim = Claim(table, full_name(group) or "", line.label, metric, line.paper[index])
            if metric == "GPU hours":
                claim = _hours(claim, line, known)
            elif metric not in METRICS:
                claim = _general(claim, line, known)
            elif speaking is None:
                claim = replace(claim, why="no run speaks to it")
            else:
                rivals = own if own[line] else other
                claim = _judge(claim, line, index, speaking, rivals, own[line] is not None)
            claims.append(claim)
    return claims


def _general(claim: Claim, line: Line, known: list[Stored]) -> Claim:
    """Return the claim with our result of a general benchmark, without a verdict."""
    if claim.metric not in general.METRICS:
        return replace(claim, why="the kit does not measure it")
    result = find_general(line, claim.metric, known)
    if result is None:
        return replace(claim, why="no run speaks to it (`metarfft evaluate --general`)")
    stored, score = result
    return replace(claim, run=stored.config.name, model=stored.model, value=score.value,
                   low=score.low, high=score.high, verdict=UNDECIDED,
                   why="the paper does not state how it asked these questions")


def _hours(claim: Claim, line: Line, known: list[Stored]) -> Claim:
    """Return the claim with our GPU hours of a reinforcement learning, from launch to last byte.

    They are those of the paper's reward, not held against the paper's.
    """
    made = [(stored, files.read_json(arm.manifest)) for stored in known
            if stored.model == full_name(line.model) for arm in arms(stored.config)
            if arm.reward == "outcome" and arm.manifest.exists()]
    hours = {stored: one["launch_seconds"] * one["processes"] / 3600 for stored, one in made
             if one["device"] != "cpu" and one.get("launch_seconds")}
    if not hours:
        return replace(claim, why="no run speaks to it")
    stored, value = next(iter(hours.items()))
    return replace(claim, run=stored.config.name, model=stored.model, value=value, low=value,
                   high=value, verdict=UNDECIDED,
                   why="one training with GRPO, where the paper has PPO")


def _other_model(members: list[Line], known: list[Stored]) -> dict[Line, Found]:
    """Return what speaks to the lines of a group, for the one model that speaks to most of them."""
    each = []
    for model in other_models(known):
        by_line = {line: find(line if line.api else line.of(model), known) for line in members}
        each.append({line: run for line, run in by_line.items() if run})
    return max(each, key=len, default={})


def _judge(claim: Claim, line: Line, index: int, found: Found,
           rivals: dict[Line, Found | None], same_model: bool) -> Claim:
    """Return the verdict on a number that a run speaks to."""
    value, low, high = found.value(claim.metric)
    claim = replace(claim, run=found.config.name, model=found.stored.model, value=value, low=low,
                  high=high)
    deviating = deviations(found) if same_model else []
    if same_model and not deviating:
        inside = round(low, 2) <= claim.paper <= round(high, 2)
        return replace(claim, verdict=REPRODUCED if inside else DIFFERS,
                       why=f"the paper's number lies {'in' if inside else 'outside'} our interval")
    claim = _judge_other(claim, line, index, found, rivals)
    return replace(claim, why="; ".join([claim.why, *deviating]))


def _judge_other(claim: Claim, line: Line, index: int, found: Found,
                 rivals: dict[Line, Found | None]) -> Claim:
    """Return the verdict on a number that a run speaks to which is not the paper's own."""
    low, high = claim.low, claim.high
    if line.minus:
        right = low > 0 if claim.paper > 0 else high < 0
        verdict = IN_LINE if right else UNDECIDED if low <= 0 <= high else DIFFERS
        return replace(claim, verdict=verdict, why=f"our difference {_SIGNS[verdict]}")
    return _judge_order(claim, line, index, found, rivals)


def _judge_order(claim: Claim, line: Line, index: int, found: Found,
                 rivals: dict[Line, Found | None]) -> Claim:
    """Return the verdict on a number by its order among the others of its group."""
    right, open_, wrong = [], [], []
    for other, rival in rivals.items():
        cells = common([found, rival]) if rival else {}
        if other == line or other.minus or not cells or other.paper[index] == claim.paper:
            continue
        higher, lower = found.value(claim.metric, cells), rival.value(claim.metric, cells)
        if other.paper[index] > claim.paper:
            higher, lower = lower, higher
        (right if higher[1] > lower[2] else wrong if higher[2] < lower[1] else open_).append(
            other.label)
    if not right + open_ + wrong:
        return replace(claim, why="nothing that it could be compared with was run")
    why = [f"{text} {', '.join(names)}" for text, names in (
        ("the paper's order with", right), ("within the intervals of", open_),
        ("the other order with", wrong)) if names]
    verdict = DIFFERS if wrong else UNDECIDED if open_ else IN_LINE
    return replace(claim, verdict=verdict, why="; ".join(why))


def page(claims: Sequence[Claim], runs: Sequence[Params]) -> str:
    """Format the claims as a page of Markdown."""
    counts = Counter(claim.verdict for claim in claims)
    parts = ["# The paper's numbers, and ours\n\n"
             f"{len(claims)} numbers: "
             + ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS) + ".\n",
             DEFINITIONS, _runs(runs)]
    for name, spec in paper()["numbers"].items():
        rows = [_row(claim) for claim in claims if claim.table == name]
        parts.append(f"## {spec['title']}\n\n" + table(
            ["group", "line", "metric", "paper", "ours", "run", "verdict", "why", "file of the run",
             "GPU hours by plan", "missing"], rows, aligned=False))
    return "\n".join(parts)


def _runs(runs: Sequence[Params]) -> str:
    rows = [[config.name, config.model.name, config.digest, commit(config),
             "left out: a smoke run" if config.smoke else ""] for config in runs]
    return "## Runs\n\n" + table(["run", "model", "parameters", "commit", ""], rows, aligned=False)


def _row(claim: Claim) -> list[str]:
    ours = "" if claim.value is None else (f"{claim.value:.2f} "
                                           f"[{claim.low:.2f}, {claim.high:.2f}]")
    run = f"{claim.run} ({claim.model})" if claim.run else ""
    return [claim.group, claim.line, claim.metric, f"{claim.paper:g}", ours, run, claim.verdict,
            claim.why, claim.files, f"{claim.gpu_hours:g}", claim.missing]
