"""Many adaptations in one process: the bytes of one process each, failures, and PiSSA starts."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stdout
from types import SimpleNamespace

import forked
import pytest
from tiny_model import tiny_run, write_tiny

from metarfft_core import corpus, params, training
from metarfft_core.system.files import read_json, sha256
from metarfft_core.system.places import ROOT
from metarfft_core.training import launcher

MEASURED = ("seconds", "tokens_per_second", "memory_gib", "peak_memory_gib", "launch_seconds",
            "checkpoint_seconds")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An outputs folder with the corpus and the RF-pretrained model of a tiny run, and the run."""
    folder = tmp_path_factory.mktemp("series")
    config = tiny_run(write_tiny(folder / "model"), rank=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(folder / "outputs"))
        patch.setenv("METARFFT_CACHE", str(folder / "cache"))
        corpus.build(config)
        training.train(training.Job(config, "pretrain"))
    return folder, config


@contextmanager
def fresh(folder):
    """Make a copy of that folder in which adaptations are trained. It is always at the same place,
    because an adapter names the model that it belongs to; PiSSA starts are its own."""
    copy = folder / "copy"
    for name in ("outputs", "cache"):
        shutil.copytree(folder / name, copy / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(copy / "outputs"))
        patch.setenv("METARFFT_CACHE", str(copy / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("ACCELERATE_USE_CPU", "true")
        yield
    shutil.rmtree(copy)


@pytest.fixture(scope="module")
def series(trained):
    """What a series that is never interrupted leaves and prints, and what a second launch says."""
    folder, config = trained
    with fresh(folder):
        began = time.monotonic()
        with redirect_stdout(io.StringIO()) as printed:
            training.launch_adaptations(config)
        took = time.monotonic() - began
        with redirect_stdout(io.StringIO()) as again:
            training.launch_adaptations(config)
        jobs = adaptations(config)
        return SimpleNamespace(
            results=results(jobs), manifests=[read_json(job.manifest) for job in jobs], took=took,
            checkpoints=list(folder.rglob("checkpoints")), printed=printed.getvalue(),
            again=again.getvalue())


@pytest.fixture
def config(trained, series):
    """The run, in such a copy; the series that is compared to comes first, at the same place."""
    folder, config = trained
    with fresh(folder):
        yield config


def adaptations(config) -> list[training.Job]:
    return [job for job in training.jobs(config) if job.stage == "adapt"]


def without_times(value):
    """A log or manifest without what is measured, and without the hashes of files that hold it."""
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items()
                if key not in (*MEASURED, "log.jsonl", "adapter/start.json", "pissa_start")}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def results(jobs) -> dict:
    """Of each training: the hashes of its weights, its manifest and its log, without times."""
    return {job.name: ({str(path.relative_to(job.folder)): sha256(path)
                        for path in sorted(job.folder.rglob("*.safetensors"))},
                       without_times(read_json(job.manifest)),
                       without_times(training.read_log(job.folder))) for job in jobs}


def alone(job) -> None:
    """Train in a process of its own, as by hand."""
    ended = forked.run(training.main, launcher._named(job))
    assert ended.returncode == 0, ended.output


def test_a_series_comes_to_the_bytes_of_a_process_each(config, series):
    """The second adaptation of a model, and the first one of another, come to the same weights,
    logs and manifests, whether one process runs all or each has its own."""
    jobs = adaptations(config)
    assert [job.method for job in jobs] == ["direct", "vanilla_rfft", "meta_rfft"]
    for job in jobs[1:]:
        alone(job)
    expected = results(jobs[1:])
    assert {name: series.results[name] for name in expected} == expected
    assert len({json.dumps(weights) for weights, _, _ in series.results.values()}) == 3


def test_a_series_says_what_it_trained_and_trains_it_once(trained, series):
    """Its output names each training, its manifests share out its seconds, no checkpoint is left,
    and a second launch trains nothing."""
    assert {made["pissa_start"]["device"] for made in series.manifests} == {"cpu"}
    assert 0 < sum(made["launch_seconds"] for made in series.manifests) <= series.took + 1
    assert series.checkpoints == []
    for job in adaptations(trained[1]):
        assert f"{job.name}: 7 steps, finished, in " in series.printed
    assert "min left" in series.printed
    assert series.again.count(": finished, in") == 3


@pytest.mark.parametrize("number", [1, 2])
def test_workers_begin_with_the_longest_samples(config, monkeypatch, number):
    """Two workers take the adaptations by the length of their samples, as the corpus has them; a
    single one keeps the run's order."""
    taken = []
    monkeypatch.setattr(launcher, "launch_starts", lambda *_: None)
    monkeypatch.setattr(launcher.workers, "follow_all",
                        lambda line, waiting, places: taken.extend(one.name for one in waiting))
    values = config.model_dump()
    values["adaptation"]["workers"] = number
    training.launch_adaptations(params.check(values))

    def characters(job):
        return sum(len(row["prompt"]) + len(row["completion"]) for row in corpus.read(
            config, "adaptation", job.format, job.task))

    jobs = adaptations(config)
    if number == 2:
        jobs.sort(key=characters, reverse=True)
        assert jobs[-1].method == "direct"
    assert taken == [f"training {job.name}" for job in jobs]


LAUNCH = """
import sys
from metarfft_core import params, training
training.launch_adaptations(params.load(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_series_that_is_killed_goes_on_to_the_same_bytes(config, series, capfd):
    """Launcher and series are killed after a checkpoint of the second adaptation. The same command
    skips the first, resumes the second, trains the third, and all are as if never interrupted."""
    first, second, third = adaptations(config)
    killed = subprocess.Popen([sys.executable, "-c", LAUNCH, str(config.folder / "params.yaml")],
                              env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True)
    while not list(second.folder.glob("checkpoints/checkpoint-*/hashes.json")):
        assert killed.poll() is None
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert [training.finished(job) for job in (first, second, third)] == [True, False, False]
    capfd.readouterr()
    training.launch_adaptations(config)
    printed = capfd.readouterr().out
    assert f"{first.name}: finished, in {first.folder}" in printed
    assert printed.count("resuming from step") == 1
    assert results([first, second, third]) == series.results


@pytest.mark.slow
def test_an_adaptation_that_fails_is_named_and_the_others_are_trained(config):
    """The first one's log cannot be written; its siblings finish, and the next launch trains it."""
    bad, *others = adaptations(config)
    (bad.folder / "log.jsonl").mkdir(parents=True)
    with pytest.raises(RuntimeError, match="1 of 3 failed: training adapt lc_2544 direct") as told:
        training.launch_adaptations(config)
    assert f"{bad.folder / 'log.jsonl'}" in str(told.value)
    assert all(training.finished(job) for job in others)
    (bad.folder / "log.jsonl").rmdir()
    training.launch_adaptations(config)
    assert training.finished(bad)
