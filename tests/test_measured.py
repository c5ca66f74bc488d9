"""The plan of a run beside what it took."""

import json
import math
import shutil

import pytest

from metarfft_core import cli, params
from metarfft_core.claims import verdicts
from metarfft_core.params.loading import merge
from metarfft_core.planning import measured, plan
from metarfft_core.system import yaml_files
from metarfft_core.system.places import ROOT

STORED = ROOT / "outputs" / "reference" / "laptop"


@pytest.fixture(scope="module")
def compared():
    """The stored laptop run."""
    return measured.compare(STORED)


def row(compared, stage, method=""):
    return compared[(compared.stage == stage) & (compared.method == method)].iloc[0]


def logged(pattern):
    """The tokens of all steps of the logs of a kind."""
    lines = [json.loads(line) for path in STORED.glob(pattern)
             for line in path.read_text().splitlines()]
    return sum(line.get("tokens", 0) for line in lines), len(lines)


def test_what_was_trained_is_what_the_logs_hold(compared):
    """The measured tokens of each method are those of its steps; the plan is within 5% of them."""
    for stage, method, pattern in (("pretrain", "", "pretrain/log.jsonl"),
                                   ("adapt", "direct", "adapt/*/direct/log.jsonl"),
                                   ("adapt", "meta_rfft", "adapt/*/meta_rfft*/log.jsonl")):
        tokens, lines = logged(pattern)
        assert lines
        one = row(compared, stage, method)
        assert one.took_tokens == pytest.approx(tokens / 1e3)
        assert one.tokens == pytest.approx(one.took_tokens, rel=0.05)
        assert one.trained == pytest.approx(one.took_trained, rel=0.05)


def test_answers_are_those_of_the_rows(compared):
    """The generated tokens of an evaluated method are the sum over all of its stored rows."""
    rows = [json.loads(line) for path in (STORED / "evaluation" / "vanilla_rfft").glob("*.jsonl")
            for line in path.read_text().splitlines()]
    one = row(compared, "evaluation", "vanilla_rfft")
    assert one.took_trained == pytest.approx(sum(line["completion_tokens"] for line in rows) / 1e3)
    assert one.parts == len(list((STORED / "evaluation" / "vanilla_rfft").glob("*.jsonl")))


def test_every_finished_part_is_compared(compared):
    """All trainings and cells of the stored run are in the table."""
    assert compared[compared.stage != "evaluation"].parts.sum() == len(
        list(STORED.glob("adapt/*/*/manifest.json"))) + 1
    assert compared[compared.stage == "evaluation"].parts.sum() == len(
        list(STORED.glob("evaluation/*/*.json")))


def test_hours_and_memory_of_a_gpu(tmp_path):
    """A run on two GPUs is compared in GPU hours, with its memory; what is missing is left out."""
    run = shutil.copytree(STORED, tmp_path / "laptop")
    shutil.rmtree(run / "adapt" / "lc_461" / "direct")
    for path in [run / "pretrain" / "manifest.json", *run.glob("adapt/*/direct/manifest.json")]:
        values = json.loads(path.read_text()) | {
            "device": "cuda", "processes": 2, "seconds": 900.0, "peak_memory_gib": {"gpu": 7.5}}
        path.write_text(json.dumps(values))
    for path in (run / "evaluation" / "direct").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"gpu": "H100", "seconds": 60.0}))
    made = measured.compare(run)
    stages = plan.plan(params.load(run / "params.yaml")).stages
    one, two = row(made, "pretrain"), row(made, "adapt", "direct")
    assert (one.took_hours, one.took_memory) == (0.5, 7.5)
    assert one.hours == pytest.approx(stages.iloc[0].gpu_hours)
    assert one.memory == pytest.approx(stages.iloc[0].total)
    assert (two.parts, two.took_hours) == (2, 1.0)
    cells = len(list((run / "evaluation" / "direct").glob("*.json")))
    assert row(made, "evaluation", "direct").took_hours == pytest.approx(cells / 60)


def test_changed_rows_are_refused(tmp_path):
    """Rows that are not those that the evaluation finished are refused by their file."""
    run = shutil.copytree(STORED, tmp_path / "laptop")
    with open(run / "evaluation" / "direct" / "lc_461.jsonl", "a") as file:
        file.write("{}\n")
    with pytest.raises(params.ParamsError, match=r"lc_461\.jsonl is not what"):
        measured.compare(run)


def test_the_command_prints_the_table(capsys):
    """`metarfft plan --measured` takes a run's folder and prints at most 100 columns."""
    cli.main(["plan", "--params", str(STORED), "--measured"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "parts", "tokens", "took", "trained", "took", "hours",
                                "took"]
    assert any(line.split()[0] == "pretrain" for line in lines[1:])
    assert max(map(len, lines)) <= 100


def test_hours_stand_beside_the_plan_s_and_the_paper_s(tmp_path):
    """A 7B run on eight GPUs has the hours of all of them from the launch on, their name, and the
    paper's of as many trainings; a resumed training says that it took at least its steps. Few
    lengths and rules are enough for its plan."""
    run = tmp_path / "7b"
    (run / "pretrain").mkdir(parents=True)
    values = params.read(ROOT / "params" / "7b.yaml")
    for part in ("pretrain", "in_context", "evaluation"):
        values["corpus"][part]["lengths"] = [2]
    values["corpus"]["pretrain"]["samples_per_length"] = 5000  # enough for all steps
    values["corpus"]["in_context"]["synthetic_samples"] = 3000
    (run / "params.yaml").write_text(yaml_files.dump(values))
    about = {"device": "cuda", "gpu": "H100", "tokens": 1, "completion_tokens": 1,
             "peak_memory_gib": {"gpu": 7.5}, "seconds": 3600.0}
    (run / "pretrain" / "manifest.json").write_text(
        json.dumps(about | {"processes": 8, "launch_seconds": 4500.0}))
    for task, launched in (("lc_258", 1800.0), ("lc_283", None)):
        folder = run / "adapt" / task / "direct"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(
            json.dumps(about | {"processes": 1, "launch_seconds": launched}))
    made = measured.compare(run)
    one, two = row(made, "pretrain"), row(made, "adapt", "direct")
    assert (one.devices, one.whole_hours, one.least) == ("8 x H100", 10.0, False)
    assert (one.paper_low, one.paper_high) == (144.0, 144.0)
    assert (two.devices, two.whole_hours, two.least) == ("1 x H100", 1.5, True)
    assert (two.paper_low, two.paper_high) == (4.8, 8.8)
    told = measured.show(made).splitlines()
    assert ["pretrain", "1", "8", "x", "H100", "10", f"{one.hours:.4g}", "144"] in [
        line.split() for line in told]
    assert any("at least 1.5" in line and line.endswith("4.8 to 8.8") for line in told)
    assert max(map(len, told)) <= 100


ABOUT = {"device": "cuda", "gpu": "H100", "processes": 8, "tokens": 4000, "completion_tokens": 3000,
         "peak_memory_gib": {"gpu": 7.5}, "seconds": 1800.0, "launch_seconds": 3600.0}


def small(file, **changes):
    """A small run of the project, for the model and with the parts of a large one."""
    values = params.read(ROOT / "params" / "rl_test.yaml")
    values["model"]["name"] = params.read(ROOT / "params" / f"{file}.yaml")["model"]["name"]
    return params.check(merge(values, {"name": file, **changes}))


def write(config, *trainings):
    """Write the folder of a run, with the manifests of some trainings."""
    params.open_folder(config)
    for name in trainings:
        (config.folder / name).mkdir(parents=True)
        (config.folder / name / "manifest.json").write_text(json.dumps(ABOUT))


def test_reinforcement_learning_stands_beside_its_plan(tmp_path, monkeypatch):
    """Each start and reward that is finished has a row, with the hours of all GPUs; the one with
    the paper's reward has the paper's 64 hours beside it."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    config = small("7b_rl")
    write(config, "rl/nupa_length/base_outcome", "rl/nupa_length/base_process")
    made = measured.compare(config.folder)
    assert made.method.to_list() == ["base outcome", "base process"]
    planned = plan.plan(config).stages
    planned = planned[(planned.stage == "rl") & (planned.method == "base outcome")].iloc[0]
    one = row(made, "rl", "base outcome")
    assert (one.parts, one.took_tokens, one.took_trained) == (1, 4.0, 3.0)
    assert (one.took_hours, one.whole_hours, one.took_memory) == (4.0, 8.0, 7.5)
    assert one.hours == pytest.approx(planned.gpu_hours)
    assert one.tokens == pytest.approx(planned.tokens / 1e3)
    assert (one.paper_low, one.least) == (64.0, False)
    assert row(made, "rl", "base process").paper_low != 64.0
    *_, claim = verdicts.judge([config.model_copy(update={"smoke": False})])
    assert (claim.metric, claim.paper, claim.value, claim.run, claim.verdict) == (
        "GPU hours", 64.0, 8.0, "7b_rl", "undecided")
    assert (claim.files, claim.missing[:16]) == ("params/7b_rl.yaml", "the paper's PPO,")
    path = config.folder / "rl" / "nupa_length" / "base_process" / "manifest.json"
    early = {name: value for name, value in ABOUT.items() if name != "completion_tokens"}
    path.write_text(json.dumps(early))  # of an earlier version of the kit
    assert math.isnan(row(measured.compare(config.folder), "rl", "base process").took_trained)
    line = next(line for line in measured.show(made).splitlines() if line.endswith(" 64"))
    assert line.split()[:8] == ["rl", "base", "outcome", "1", "8", "x", "H100", "8"]


def test_kept_steps_follow_the_run_that_keeps_them(tmp_path, monkeypatch, capsys):
    """The command also prints the table of each kept step's run that has finished parts; the folder
    of the run leads to those beside it."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "first"))
    config = small("7b_steps", rl=None, pretraining={"steps": 4, "keep_steps": [1, 2, 3]})
    [one, two, three] = params.kept_runs(config)
    write(config, "pretrain")
    write(one, "adapt/nupa_length/meta_rfft")
    write(two)
    assert not three.folder.exists()
    moved = shutil.move(tmp_path / "first", tmp_path / "second") / config.folder.name
    assert cli.main(["plan", "--params", str(moved), "--measured"]) == 0
    main, kept = capsys.readouterr().out.split(f"Of the kept step, run {one.name}\n")
    assert "pretrain" in main
    assert "adapt" not in main
    assert "adapt meta_rfft" in kept
    assert two.name not in kept
