"""The page docs/results_map.md: how to reproduce each figure and table of the paper.

    python -m metarfft_core.claims.results_map

The page is made from `data/paper_roads.yaml`, `data/paper_results.yaml`, the parameter files, their
plans, and the results that are kept in outputs/reference. Beside it the command writes what the
page of claims says of the road to each number, `data/paper_numbers.yaml`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from metarfft_core import params
from metarfft_core.analysis import stored
from metarfft_core.claims.verdicts import NUMBERS
from metarfft_core.evaluation import general
from metarfft_core.params import METHODS, Params
from metarfft_core.planning import plan
from metarfft_core.system import places, yaml_files
from metarfft_core.system.files import write_whole
from metarfft_core.system.markdown import table
from metarfft_core.system.places import ROOT

PAGE = ROOT / "docs" / "results_map.md"
COMMAND = "python -m metarfft_core.claims.results_map"
ROADS = Path(__file__).parent.parent / "data" / "paper_roads.yaml"
KEPT = ROOT / "outputs" / "reference"

RUN, IN_SMALL, IN_PART, NOT_RUN, NO_ROAD = (
    "run", "run on a small scale", "partly run on a small scale", "not run", "no command yet")

_HEAD = f"""\
# How to reproduce each result

Each figure and table of the paper, the commands that make it, what they cost, and what is missing.
`{COMMAND}` makes this page; do not edit it.

- **commands**: `metarfft run --params FILE` trains and evaluates. After the runs,
  `metarfft figures --params FILE ...` draws the result and judges the paper's numbers.
- **GPU hours**: the plan's estimate for the whole parameter file (an H100 at 40% of its peak,
  including starts and loading). Several results share a file, which has to run only once.
- **state**: what `outputs/reference/` holds. *{RUN}*: the result, with the paper's model.
  *{IN_SMALL}*: the result, with a small model. *{IN_PART}*: some of its lines, with a small model.
  *{NOT_RUN}*: nothing. *{NO_ROAD}*: no parameter file makes the result.
- **tested by**: the tests in `tests/` that run the same stages with a small or random model and
  the real libraries (`pytest -m ""` also runs the slow ones). Their numbers say nothing about the
  methods. `make smoke` runs all notebooks with SmolLM2.

"""


@dataclass(frozen=True)
class Road:
    """The way to one figure or table of the paper."""

    name: str  # as in paper_results.yaml
    title: str
    params: tuple[str, ...]  # names of parameter files
    commands: tuple[str, ...]  # one after the other
    missing: str
    state: str
    kept: tuple[str, ...]  # names of kept results that speak to it
    walks: tuple[str, ...]  # the tests that walk it in small


def roads() -> list[Road]:
    """Return the road to each figure and table, in the order of the paper's file.

    Raises:
        KeyError: `data/paper_roads.yaml` lacks an entry of `data/paper_results.yaml`, or the walk
            of a parameter file.
    """
    told = yaml_files.read(ROADS)
    specs = [(name, spec, told[part][name]) for part in ("numbers", "figures")
             for name, spec in stored.paper()[part].items()]
    specs += [(name, {"title": entry["title"], "lines": []}, entry)
              for name, entry in told["others"].items()]
    return [_road(name, spec, entry, told["walks"]) for name, spec, entry in specs]


def _road(name: str, spec: dict, entry: dict[str, Any], walks: dict[str, str]) -> Road:
    files = tuple(entry["params"])
    runs = [f"metarfft run --params params/{file}.yaml" for file in files]
    commands = (entry["command"],) if entry.get("command") else (
        *entry.get("before", ()), *runs, *entry.get("after", ()))
    state, kept = _state(spec) if files else (RUN if commands else NO_ROAD, ())
    walked = dict.fromkeys([*(walks[file] for file in files), *entry.get("walks", ())])
    return Road(name, spec["title"], files, commands, entry.get("missing", ""), state, kept,
                tuple(walked))


def _state(spec: dict) -> tuple[str, tuple[str, ...]]:
    """Return the state of a result that has a road, and the names of the kept runs behind it."""
    lines = stored.lines(spec)
    speaking = {line: [config for config in _kept() if _speaks(config, line)] for line in lines}
    found = {config.name: config for one in speaking.values() for config in one}
    steps = {getattr(config, spec["stage"]).steps for config in found.values()} \
        if "stage" in spec else ()
    measured = set(spec.get("metrics", stored.METRICS)) & stored.METRICS.keys()
    if not found or not measured or len(steps) == 1:
        return NOT_RUN, ()
    own = all(any(stored.model_name(config) == stored.full_name(line.model) for config in one)
              for line, one in speaking.items())
    return (RUN if own else IN_SMALL if all(speaking.values()) else IN_PART), tuple(found)


@cache
def _kept() -> tuple[Params, ...]:
    """Return the parameters of the runs whose results are kept."""
    return tuple(params.load(path) for path in sorted(KEPT.glob("*/params.yaml")))


def _speaks(config: Params, line: stored.Line) -> bool:
    """Return whether a kept run has results on a task of a line, made as the line asks."""
    if line.api or line.method not in METHODS or config.smoke:
        return False
    return _made(config, line) and all(any(cell.method == name and cell.task in line.tasks
                            for cell in config.cells)
                        for name in (line.method, line.minus) if name)


def numbers() -> list[dict[str, Any]]:
    """Return what speaks to each number of the paper: files, their GPU hours, what is missing."""
    told = []
    by_name = {road.name: road for road in roads()}
    for table_name, spec in stored.paper()["numbers"].items():
        road = by_name[table_name]
        for line in stored.lines(spec):
            for metric, value in zip(spec["metrics"], line.paper, strict=True):
                files = [name for name in road.params if _leads(_of(name), line, metric)]
                known = metric in {*stored.METRICS, *general.METRICS} and files
                told.append({
                    "table": table_name, "group": stored.full_name(line.group) or "",
                    "line": line.label, "metric": metric, "paper": value, "files": files,
                    "gpu_hours": round(sum(sum(costs(name).values()) for name in files), 1),
                    "missing": "" if known else road.missing})
    return told


@cache
def _of(file: str) -> Params:
    return params.load(ROOT / "params" / f"{file}.yaml")


def _leads(config: Params, line: stored.Line, metric: str) -> bool:
    """Return whether a run of these parameters gives a number of a line, on all of its tasks."""
    if line.api:
        return any(api.name == line.api for api in config.evaluation.api)
    if stored.model_name(config) != stored.full_name(line.model):
        return False
    if line.method not in METHODS:
        return line.method == "base" or config.rl is not None
    if not _made(config, line):
        return False
    asked = {(cell.method, cell.task) for cell in config.cells}
    return metric in general.METRICS or all(
        (name, task) in asked for task in line.tasks for name in (line.method, line.minus) if name)


def _made(config: Params, line: stored.Line) -> bool:
    """Return whether a run mixes in and is pre-trained on what a line says."""
    return stored.mixed(config, line.method) == line.mixed and (
        METHODS[line.method].start == "base" or stored.pretraining(config) == line.pretraining)


counted: dict = {}
"""The samples that the plans of the files have counted, which many files share."""


@cache
def costs(file: str) -> dict[str, float]:
    """Return the planned GPU hours of a parameter file by stage, as `plan.Plan` names them.

    They include those of the runs of its kept steps.
    """
    stages = plan.plan(_of(file), estimate=True, counted=counted).whole
    return stages.groupby("stage")["gpu_hours"].sum().to_dict()


def page() -> str:
    """Return the page as Markdown."""
    found = roads()
    counts = ", ".join(f"{sum(road.state == state for road in found)} {state}"
                       for state in (RUN, IN_SMALL, IN_PART, NOT_RUN, NO_ROAD))
    rows = [[road.title, ", ".join(f"`{one}`" for one in road.commands) or "none", _cost(road),
             road.state + (f" ({', '.join(road.kept)})" if road.kept else ""), road.missing,
             ", ".join(f"`{one}`" for one in road.walks)]
            for road in found]
    files = list(dict.fromkeys(file for road in found for file in road.params))
    return "\n".join([
        f"{_HEAD}{len(found)} results: {counts}.\n",
        table(["result", "commands", "GPU hours", "state", "what is missing", "tested by"],
              rows, aligned=False),
        "## What a parameter file costs\n",
        table(["file", "model", *("GPU hours, " + stage for stage in
                                  ("RF-pretraining", "adaptations", "reinforcement learning",
                                   "evaluation")), "results"],
              list(_files(files, found)), aligned=False)])


def _cost(road: Road) -> str:
    return " + ".join(f"{sum(costs(file).values()):.0f}" for file in road.params)


def _files(files: list[str], found: list[Road]) -> Iterator[list[str]]:
    for file in files:
        config = _of(file)
        hours = [f"{costs(file).get(stage, 0):.1f}" for stage in ("pretrain", "adapt", "rl",
                                                                  "evaluation")]
        yield [f"`params/{file}.yaml`", config.model.name, *hours,
               str(sum(file in road.params for road in found))]


if __name__ == "__main__":
    places.need_checkout("the page docs/results_map.md needs")
    write_whole(NUMBERS, yaml_files.dump(numbers()))
    write_whole(PAGE, page())
    print(PAGE)
