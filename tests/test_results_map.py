"""The page docs/results_map.md: fresh, whole, and true of the parameter files that it names."""

import argparse
import ast
import shlex
from pathlib import Path

import pytest

from metarfft_core import cli, params
from metarfft_core.analysis import stored
from metarfft_core.bridges import mix
from metarfft_core.claims import results_map, verdicts
from metarfft_core.evaluation import general
from metarfft_core.params import METHODS, ParamsError
from metarfft_core.system import yaml_files
from metarfft_core.system.places import ROOT

ROADS = results_map.roads()
SPECS = {**stored.paper()["numbers"], **stored.paper()["figures"]}


def _file(name):
    return params.load(ROOT / "params" / f"{name}.yaml")


def _leads(config, line, table):
    """Whether a run of this file would speak to a line: its model, method, tasks and training."""
    metrics = SPECS[table].get("metrics", stored.METRICS)
    if line.method in general.STAGES and not set(metrics) & stored.METRICS.keys():
        return stored.model_name(config) == stored.full_name(line.model) and (
            line.method == "base" or stored.mixed(config, line.method) == line.mixed)
    if line.api:
        return any(api.name == line.api for api in config.evaluation.api)
    if line.method == "rl":
        return config.rl is not None and (stored.model_name(config)
                                          == stored.full_name(line.model))
    method = METHODS.get(line.method)
    if method is None or stored.model_name(config) != stored.full_name(line.model):
        return False
    made = stored.mixed(config, line.method) == line.mixed and (
        method.start == "base" or stored.pretraining(config) == line.pretraining)
    asked = {(cell.method, cell.task) for cell in config.cells}
    return made and all((name, task) in asked for task in line.tasks
                        for name in (line.method, line.minus) if name)


def test_page_is_fresh():
    """The page in docs/ is the one that the code makes, with the costs of the plans."""
    assert results_map.PAGE.read_text(encoding="utf-8") == results_map.page(), \
        f"docs/results_map.md is stale: run `{results_map.COMMAND}`"


def test_what_the_claims_say_of_the_roads_is_fresh():
    """The stored roads to the numbers are those of the files and plans; each number of the paper
    has one, whose file leads there and whose hours are the plan's."""
    told = yaml_files.read(verdicts.NUMBERS)
    assert told == results_map.numbers(), f"run `{results_map.COMMAND}`"
    wanted = {(name, line.label, metric): line for name, spec in stored.paper()["numbers"].items()
              for line in stored.lines(spec) for metric in spec["metrics"]}
    assert {(one["table"], one["line"], one["metric"]) for one in told} == set(wanted)
    for one in told:
        assert one["files"]
        assert all(any(_leads(_file(name), line, one["table"]) for line in stored.lines(
            SPECS[one["table"]]) if line.label == one["line"]) for name in one["files"])
        assert one["gpu_hours"] == pytest.approx(sum(
            sum(results_map.costs(name).values()) for name in one["files"]), abs=0.06)
    missing = {(one["table"], one["metric"]) for one in told if one["missing"]}
    assert missing == {("table_11", "Alpaca wins (LC)"), ("reinforcement_learning", "GPU hours")}


def test_every_file_beside_the_main_ones_leads_to_a_result():
    """Each is on the page, with its cost; the paper's wording costs more than the kit's in every
    stage."""
    beside = {path.stem for size in ("7b", "32b") for path in (ROOT / "params").glob(f"{size}_*")}
    assert len(beside) > 10
    assert beside <= {file for road in ROADS for file in road.params}
    for size in ("7b", "32b"):
        ours, kit = results_map.costs(f"{size}_paper_wording"), results_map.costs(size)
        assert all(ours[stage] > kit[stage] for stage in kit)


def test_every_figure_and_table_has_an_entry():
    """Each number and figure of the paper's file has a road of its own, and so have the tables that
    hold no number to compare; no road is of something else."""
    others = yaml_files.read(results_map.ROADS)["others"]
    assert [road.name for road in ROADS] == [*SPECS, *others]
    assert {"figure_1", "table_1", "table_6", "table_8", "table_9", "paper_wording",
            "without_exemplars"} == set(others)
    text = results_map.PAGE.read_text(encoding="utf-8")
    assert all(f"| {road.title} |" in text for road in ROADS)


@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.name)
def test_a_road_says_how_or_what_is_missing(road):
    """Without a command it has the state "no command yet" and says what is missing; its state is
    about kept results only where there is one."""
    assert bool(road.commands) != (road.state == results_map.NO_ROAD)
    assert road.commands or road.missing
    assert bool(road.kept) == (road.state in (results_map.IN_SMALL, results_map.IN_PART)) or (
        road.state == results_map.RUN)


@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.name)
def test_a_road_names_the_tests_that_walk_it(road):
    """There is a walk for each of its files, and each names a test that exists, with its case."""
    assert road.walks
    text = results_map.PAGE.read_text(encoding="utf-8")
    for walk in road.walks:
        file, _, name = walk.partition("::")
        name, _, case = name.rstrip("]").partition("[")
        code = (ROOT / "tests" / file).read_text(encoding="utf-8")
        functions = [node.name for node in ast.parse(code).body
                     if isinstance(node, ast.FunctionDef)]
        assert name in functions, walk
        assert f'"{case}"' in code or not case, walk
        assert f"`{walk}`" in text


@pytest.mark.parametrize("command", sorted({one for road in ROADS for one in road.commands}))
def test_a_command_of_a_road_is_one_that_there_is(command):
    """Each command parses with its own parser, and the parameter file that it names exists."""
    words = shlex.split(command)
    if words[0] == "metarfft":
        asked = cli._parser().parse_args(words[1:])
    else:
        assert words[:3] == ["python", "-m", "metarfft_core.bridges.mix"]
        with pytest.raises(ParamsError, match="name a file that does not"):
            mix.build(words[3], _file(Path(words[5]).stem), Path(__file__))
        asked = argparse.Namespace(params=words[5])
    if hasattr(asked, "params"):
        names = [asked.params] if isinstance(asked.params, str | Path) else asked.params
        assert all((ROOT / name).exists() for name in names)


@pytest.mark.parametrize("road", [road for road in ROADS if road.name in SPECS and road.params],
                         ids=lambda road: road.name)
def test_the_named_files_lead_there(road):
    """Each named parameter file speaks to a line of the result, and if nothing is said to be
    missing, they speak to every line."""
    lines = stored.lines(SPECS[road.name])
    files = [_file(name) for name in road.params]
    assert all(any(_leads(config, line, road.name) for line in lines) for config in files)
    missed = [line.label for line in lines
              if not any(_leads(config, line, road.name) for config in files)]
    assert bool(missed) <= bool(road.missing), missed


@pytest.mark.parametrize("road", [road for road in ROADS if road.state == results_map.NO_ROAD],
                         ids=lambda road: road.name)
def test_no_file_leads_where_the_page_says_none(road):
    """No parameter file of the project speaks to a measured line of a result without a road."""
    spec = SPECS.get(road.name, {"lines": []})
    if set(spec.get("metrics", stored.METRICS)) & stored.METRICS.keys():
        assert not [path.name for path in (ROOT / "params").glob("*.yaml")
                    for line in stored.lines(spec) if _leads(params.load(path), line, road.name)]


def test_an_entry_that_is_missing_is_an_error(monkeypatch):
    """A new figure of the paper's file without a road stops the page with its name."""
    told = yaml_files.read(results_map.ROADS)
    del told["figures"]["figure_9"]
    monkeypatch.setattr(results_map.yaml_files, "read", lambda path: told)
    with pytest.raises(KeyError, match="figure_9"):
        results_map.roads()
