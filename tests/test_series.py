"""Many adaptations in one process: the bytes of one process each, failures, and PiSSA starts."""

import json
import shutil
import time

import forked
import pytest
from tiny_model import tiny_run, write_tiny

from metarfft_core import corpus, training
from metarfft_core.system.files import read_json, sha256
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


@pytest.fixture
def outputs(trained, tmp_path, monkeypatch):
    """A copy of that folder in which adaptations are trained; its PiSSA starts are its own."""
    folder, config = trained
    shutil.copytree(folder / "outputs", tmp_path / "outputs")
    shutil.copytree(folder / "cache", tmp_path / "cache")
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    return tmp_path / "outputs", config


def adaptations(config) -> list[training.Job]:
    return [job for job in training.jobs(config) if job.stage == "adapt"]


def without_times(value):
    """A log or manifest without what is measured, and without the hash of the log in it."""
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items()
                if key not in (*MEASURED, "log.jsonl", "pissa_start")}
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


def test_a_series_comes_to_the_bytes_of_a_process_each(outputs, capfd):
    """The second adaptation of a model, and the first one of another, come to the same weights,
    logs and manifests, whether one process runs all or each has its own."""
    folder, config = outputs
    jobs = adaptations(config)
    assert [job.method for job in jobs] == ["direct", "vanilla_rfft", "meta_rfft"]
    for job in jobs[1:]:
        alone(job)
    expected = results(jobs[1:])
    for job in jobs[1:]:
        shutil.rmtree(job.folder)
    capfd.readouterr()
    began = time.monotonic()
    training.launch_adaptations(config)
    took = time.monotonic() - began
    found = results(jobs)
    assert {name: found[name] for name in expected} == expected
    assert len({json.dumps(weights) for weights, _, _ in found.values()}) == 3
    manifests = [read_json(job.manifest) for job in jobs]
    assert {made["pissa_start"]["device"] for made in manifests} == {"cpu"}
    assert 0 < sum(made["launch_seconds"] for made in manifests) <= took + 1  # each its own part
    assert not list(folder.rglob("checkpoints"))
    printed = capfd.readouterr().out
    for job in jobs:
        assert f"{job.name}: 7 steps, finished, in {job.folder}" in printed
    assert "min left" in printed
    training.launch_adaptations(config)
    assert capfd.readouterr().out.count(": finished, in") == 3


@pytest.mark.slow
def test_an_adaptation_that_fails_is_named_and_the_others_are_trained(outputs):
    """The first one's log cannot be written; its siblings finish, and the next launch trains it."""
    _, config = outputs
    bad, *others = adaptations(config)
    (bad.folder / "log.jsonl").mkdir(parents=True)
    with pytest.raises(RuntimeError, match="1 of 3 failed: training adapt lc_2544 direct") as told:
        training.launch_adaptations(config)
    assert f"{bad.folder / 'log.jsonl'}" in str(told.value)
    assert all(training.finished(job) for job in others)
    (bad.folder / "log.jsonl").rmdir()
    training.launch_adaptations(config)
    assert training.finished(bad)
