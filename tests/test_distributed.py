"""The same training on two processes (gloo) as on one, killed and resumed, and early stopped."""

import os
import shutil
import socket
import time
from pathlib import Path

import forked
import pytest
import rounding
from tiny_model import tiny_run, write_tiny

from metarfft_core import corpus, models, params, training
from metarfft_core.system.files import read_json

SETTINGS = {"steps": 20, "epochs": 8, "batch_size": 8, "micro_batch_size": 2,
            "evaluate_every": 4, "save_every": 4, "early_stopping_patience": 9}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A run with its corpus and nothing trained."""
    folder = tmp_path_factory.mktemp("built")
    run = tiny_run(write_tiny(folder / "model"), **SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(folder / "outputs"))
        corpus.build(run)
        params.open_folder(run)
    return folder / "outputs"


@pytest.fixture(scope="module")
def alone(built, tmp_path_factory):
    """The folder of the training that one process made without interruption."""
    outputs = shutil.copytree(built, tmp_path_factory.mktemp("one") / "outputs")
    finish(start(outputs, 1))
    return outputs / "tiny" / "pretrain"


@pytest.fixture(scope="module")
def reordered(built, tmp_path_factory):
    """The folder of the same training on one process, whose sums are added up in another order:
    four samples a micro batch instead of two."""
    outputs = tmp_path_factory.mktemp("reordered") / "outputs"
    changed(built, outputs, micro_batch_size=4)
    finish(start(outputs, 1))
    return outputs / "tiny" / "pretrain"


def changed(built, outputs, **settings):
    """A copy of the run, its corpus built, with other settings of the pre-training."""
    values = params.read(built / "tiny" / "params.yaml")
    values["pretraining"] |= settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(outputs))
        run = params.check(values)
        corpus.build(run)
        params.open_folder(run)


def main_in_float32(arguments):
    """The process of a training, with the same sums on any machine."""
    models.compute = lambda: "float32"
    return training.main(arguments)


def start(outputs, count):
    """Start the training on `count` processes, as a launcher would."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    arguments = ["--params", str(outputs / "tiny" / "params.yaml"), "--stage", "pretrain"]
    environment = os.environ | {
        "METARFFT_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    several = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    return [forked.follow(main_in_float32, arguments, environment=environment | (
        several | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}))
            for rank in range(count)]


def finish(ranks):
    outputs = [rank.read() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * len(ranks), outputs
    return outputs[0]


def kill_after(outputs, count, checkpoint):
    """Start the training on `count` processes and kill them all once a checkpoint is whole."""
    ranks = start(outputs, count)
    while not (checkpoint / "hashes.json").exists():
        assert all(rank.process.is_alive() for rank in ranks), finish(ranks)
        time.sleep(0.05)
    for rank in ranks:
        rank.process.kill()
        rank.read()


def assert_same_curve(folder, expected, reordered):
    """Two logs hold the same steps; what they give at each is as near as in a training whose sums
    are added up in another order, times ten."""
    logs = [training.read_log(one) for one in (folder, expected, reordered)]
    assert [line["step"] for line in logs[0]] == [line["step"] for line in logs[1]]
    for key in ("loss", "validation_loss", "learning_rate", "tokens", "grad_norm"):
        got, right, other = ([line[key] for line in log if key in line] for log in logs)
        assert got == pytest.approx(right, rel=rounding.measured(other, right)), key


def test_two_processes_give_the_losses_of_one_and_go_on_after_a_kill(alone, reordered, built,
                                                                     tmp_path):
    """Twenty steps in float32: every loss, gradient norm and validation loss of two processes is
    that of one, though both were killed after a checkpoint and started again."""
    outputs = shutil.copytree(built, tmp_path / "outputs")
    folder = outputs / "tiny" / "pretrain"
    kill_after(outputs, 2, folder / "checkpoints" / "checkpoint-8")
    assert not (folder / "manifest.json").exists()
    printed = finish(start(outputs, 2))
    assert "resuming from step " in printed
    assert len([line for line in training.read_log(folder) if "loss" in line]) == 20
    assert_same_curve(folder, alone, reordered)
    assert read_json(folder / "manifest.json")["processes"] == 2


@pytest.mark.slow
def test_another_number_of_processes_goes_on_with_the_same_curve(alone, reordered, built,
                                                                     tmp_path):
    """A training begun on two processes and killed ends on one with the curve of one."""
    outputs = shutil.copytree(built, tmp_path / "outputs")
    folder = outputs / "tiny" / "pretrain"
    kill_after(outputs, 2, folder / "checkpoints" / "checkpoint-4")
    finish(start(outputs, 1))
    assert_same_curve(folder, alone, reordered)


@pytest.mark.slow
def test_two_processes_stop_early_at_the_step_of_one(built, tmp_path):
    """With a learning rate that breaks the model, two processes stop where one does, and keep the
    same best step."""
    ended = []
    for count in (1, 2):
        outputs = tmp_path / f"outputs{count}"
        changed(built, outputs, learning_rate=0.5, early_stopping_patience=1,
                scheduler="constant", warmup_ratio=0.0, max_grad_norm=1000.0, evaluate_every=1,
                save_every=1)
        finish(start(outputs, count))
        manifest = read_json(Path(outputs) / "tiny" / "pretrain" / "manifest.json")
        ended.append((manifest["steps"], manifest["model_step"]))
    assert ended[0] == ended[1]
    assert ended[0][0] < 20


def test_a_number_of_processes_that_does_not_divide_the_batch_is_refused(built, tmp_path):
    """Three processes for a batch of 8 end at once, each with the line that says what works."""
    outputs = shutil.copytree(built, tmp_path / "outputs")
    for rank in start(outputs, 3):
        printed = rank.read()
        assert rank.returncode == 2
        assert ("error: batch_size 8 is not a multiple of micro_batch_size 2 x 3 processes"
                in printed)
        assert "the number of processes can be 1, 2, 4" in printed
