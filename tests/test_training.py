"""Training: the samples it sees, its loss and log, kill and resume, refusals, the launcher."""

import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import forked
import pytest
import rounding
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tiny_model import PRODUCTS, SETTINGS, TERMS, tiny_run, write_tiny
from transformers import AutoModelForCausalLM
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from metarfft_core import corpus, models, params, training
from metarfft_core.models import shards
from metarfft_core.params import Cell, ParamsError
from metarfft_core.system.files import read_json, sha256, write_json
from metarfft_core.system.places import ROOT
from metarfft_core.training import batches, launcher
from metarfft_core.training.process import checkpoints
from metarfft_core.training.process.trainer import Trainer

STEPS = SETTINGS["steps"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def built(tiny, tmp_path_factory):
    """An outputs folder with the corpus of the tiny run."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(folder))
        corpus.build(tiny_run(tiny))
    return folder


@pytest.fixture(scope="module")
def pretrained(tiny, built, tmp_path_factory):
    """An outputs folder in which the tiny run has been pre-trained, without interruption and in
    float32, so that its numbers can be checked on any processor."""
    folder = tmp_path_factory.mktemp("outputs") / "done"
    shutil.copytree(built, folder)
    train_in_float32(folder, tiny_run(tiny))
    return folder


@pytest.fixture(scope="module")
def launched(tiny, built, tmp_path_factory):
    """The hashes of the weights that the process of a training leaves, without interruption."""
    folder = tmp_path_factory.mktemp("launched") / "outputs"
    shutil.copytree(built, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(folder))
        run = tiny_run(tiny)
        params.open_folder(run)
        ended = forked.run(training.main, ["--params", str(run.folder / "params.yaml"),
                                           "--stage", "pretrain"])
        assert ended.returncode == 0, ended.output
        return read_json(training.Job(run, "pretrain").folder / "manifest.json")["weights"]


@pytest.fixture(scope="module")
def reordered(tiny, tmp_path_factory):
    """The log of the same training, whose sums are added up in another order: four samples a micro
    batch instead of two."""
    folder = tmp_path_factory.mktemp("reordered")
    return training.read_log(train_in_float32(folder, tiny_run(tiny, micro_batch_size=4)))


def train_in_float32(outputs, run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(outputs))
        patch.setattr(models, "compute", lambda: "float32")
        corpus.build(run)
        return training.train(training.Job(run, "pretrain"))


@pytest.fixture
def run(tiny, built, tmp_path, monkeypatch):
    """The tiny run with its corpus, nothing trained."""
    return outputs_of(built, tiny, tmp_path, monkeypatch)


@pytest.fixture
def done(tiny, pretrained, tmp_path, monkeypatch):
    """The tiny run, pre-trained."""
    return outputs_of(pretrained, tiny, tmp_path, monkeypatch)


def outputs_of(folder, tiny, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "outputs")
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    return tiny_run(tiny)


def loss_of(model, tokenizer, rows):
    """Mean loss over the completions' tokens, by transformers' logits and the chat template, their
    number, and how far another float32 computation of it may be, as a share.

    The loss of a token is the logarithm of a sum over the vocabulary less its logit: both are off
    by what the logits are, an adapter's two products in each layer among theirs, and by that sum.
    """
    total, tokens, longest, largest = 0.0, 0, TERMS, 0.0
    for row in rows:
        chat = [{"role": "user", "content": row["prompt"]}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
        text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(text + row["completion"] + "<|im_end|>")["input_ids"]
        with torch.no_grad():
            scores = model(torch.tensor([ids])).logits[0, len(prompt) - 1:-1]
        target = torch.tensor(ids[len(prompt):])
        total += torch.nn.functional.cross_entropy(scores.float(), target, reduction="sum").item()
        tokens += len(target)
        longest, largest = max(longest, len(ids)), max(largest, scores.abs().max().item())
    off = 2 * largest * rounding.float32(2 * PRODUCTS, longest) + rounding.float32(
        1, len(tokenizer))
    return total / tokens, tokens, off * tokens / total


def steps_of(folder):
    return [line for line in training.read_log(folder) if "loss" in line]


def looks_of(folder):
    return [line for line in training.read_log(folder) if "validation_loss" in line]


def test_losses_are_those_of_the_completions(tiny, done, tmp_path):
    """The first step's and the first validation loss agree with the logits of the PiSSA start, by
    transformers and peft, to the rounding of float32."""
    tokenizer = models.load_tokenizer(str(tiny))
    model = models.load_pissa(models.pissa_start(tiny, 4, tmp_path / "start"), torch.float32)
    folder = training.Job(done, "pretrain").folder
    data = corpus.read(done, "pretrain", "rfft")
    first = data.select(batches.sample_order([len(data)], [1.0], 4, done.seed))
    loss, tokens, limit = loss_of(model, tokenizer, first)
    assert steps_of(folder)[0]["loss"] == pytest.approx(loss, rel=limit)
    assert steps_of(folder)[0]["completion_tokens"] == tokens
    loss, tokens, limit = loss_of(model, tokenizer, corpus.read(done, "validation", "rfft"))
    assert looks_of(folder)[0]["validation_loss"] == pytest.approx(loss, rel=limit)
    assert looks_of(folder)[0]["validation_tokens"] == tokens


def test_log_holds_every_step_once_with_the_schedule(done):
    """Steps 1 to the last, validation at 0, every third step and the end, warm-up then decay."""
    folder = training.Job(done, "pretrain").folder
    steps = steps_of(folder)
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert [line["step"] for line in looks_of(folder)] == [0, 3, 6, 8]
    rate = SETTINGS["learning_rate"]
    assert [line["learning_rate"] for line in steps] == pytest.approx(
        [0, rate / 2] + [rate * left / 6 for left in range(6, 0, -1)])
    # After a checkpoint at 2, 4 and 6; no step follows the last one.
    assert [line["step"] for line in steps if "checkpoint_seconds" in line] == [3, 5, 7]
    assert [line["epoch"] for line in steps] == pytest.approx([n / 5 for n in range(1, 9)])
    seconds = [line["seconds"] for line in training.read_log(folder)]
    assert seconds == sorted(seconds)


def test_validation_loss_falls_and_the_weights_change(tiny, done, tmp_path):
    """Training lowers the held-out loss; the stored adapter has it on its start, to the rounding of
    float32; the stored model, rounded to bfloat16, is nearer to it than to where it began."""
    folder = training.Job(done, "pretrain").folder
    first, *_, last = (look["validation_loss"] for look in looks_of(folder))
    assert last < first
    tokenizer = models.load_tokenizer(str(folder / "model"))
    data = corpus.read(done, "validation", "rfft")
    start = models.pissa_start(tiny, 4, tmp_path / "start")
    loss, _, limit = loss_of(trained_from(start, folder), tokenizer, data)
    assert loss == pytest.approx(last, rel=limit)
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    loss, *_ = loss_of(model, tokenizer, data)
    assert abs(loss - last) < abs(loss - first)
    assert read_json(folder / "manifest.json")["relative_change"] > 0


def trained_from(start, folder):
    """The PiSSA start with the adapter that a training left in `folder`, in float32."""
    model = models.load_pissa(start, torch.float32)
    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    model.load_state_dict({name.replace(".weight", ".default.weight"): tensor
                           for name, tensor in tensors.items()}, strict=False)
    return model


def test_a_training_in_bfloat16_has_the_losses_of_float32(tiny, built, done, tmp_path, monkeypatch):
    """Before the first step moves a weight, the two differ by bfloat16's rounding alone: half a
    unit for each product in a row, of the largest logit, in the logit and in the sum."""
    logits = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)(
        torch.arange(0, 4000, 8)[None], use_cache=False).logits
    expected = training.read_log(training.Job(done, "pretrain").folder)
    run = outputs_of(built, tiny, tmp_path / "rounded", monkeypatch)
    monkeypatch.setattr(models, "compute", lambda: "bfloat16")
    got = training.read_log(training.train(training.Job(run, "pretrain")))
    assert read_json(training.Job(run, "pretrain").folder / "manifest.json")[
        "compute"] == "bfloat16"
    limit = 2 * 2 * PRODUCTS * rounding.BFLOAT16 / 2 * logits.abs().max().item()
    for key, (one, other) in zip(("validation_loss", "loss"), zip(got, expected, strict=True),
                                 strict=False):
        assert one[key] == pytest.approx(other[key], abs=limit)
        assert one[key] != other[key]


def test_manifest_says_what_was_trained_on_what(tiny, done):
    """Its hashes and counts can be found again in the files, and no checkpoint is left."""
    folder = training.Job(done, "pretrain").folder
    manifest = read_json(folder / "manifest.json")
    steps = steps_of(folder)
    assert manifest["params_digest"] == done.digest
    assert manifest["base_model"]["sha256"] == models.weights_hash(tiny)
    assert sorted(manifest["data"]) == sorted(
        f"corpus/{split}/rfft/{task}.parquet" for split in ("pretrain", "validation")
        for task in ("sr_coin_flip", "sr_last_letter"))
    assert all(sha256(done.folder / path) == value for path, value in manifest["data"].items())
    assert manifest["weights"] == {
        name: sha256(folder / name) for name in (
            "model/model.safetensors", "adapter/adapter_model.safetensors",
            "lora/adapter_model.safetensors")}
    assert set(manifest["files"]) > {"log.jsonl", "model/config.json", "model/tokenizer.json",
                                     "adapter/adapter_config.json", "lora/adapter_config.json"}
    assert all(sha256(folder / name) == value for name, value in manifest["files"].items())
    assert manifest["chat_template"]["date"] is None
    assert (manifest["steps"], manifest["samples"]) == (STEPS, 4 * STEPS)
    assert manifest["tokens"] == sum(line["tokens"] for line in steps)
    assert {"torch", "transformers", "trl", "peft"} < set(manifest["versions"])
    assert not (folder / "checkpoints").exists()


def test_a_finished_training_is_skipped_without_torch(done):
    """Run again, it changes nothing and does not import torch."""
    path = training.model_folder(done) / "model.safetensors"
    before = path.stat().st_mtime_ns
    params.open_folder(done)
    code = ("import sys; from metarfft_core import training\n"
               "from metarfft_core.training.process import worker\n"
            "assert training.main(['--params', sys.argv[1], '--stage', 'pretrain']) == 0\n"
            "assert 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-c", code, str(done.folder / "params.yaml")], check=True)
    assert path.stat().st_mtime_ns == before


def test_other_parameters_are_refused(tiny, done):
    """A run with another learning rate does not take the folder of a finished training."""
    with pytest.raises(ParamsError, match="was trained with other parameters"):
        training.train(training.Job(tiny_run(tiny, learning_rate=1.0e-3), "pretrain"))


def test_full_training_keeps_float32_while_it_trains(tiny, tmp_path, monkeypatch):
    """Steps far below bfloat16's rounding move the weights, and add up."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    moved = {}
    for steps in (1, 7):
        run = tiny_run(tiny, method="full", rank=None, learning_rate=1.0e-6, scheduler="constant",
                       warmup_ratio=0.0, steps=steps)
        run = run.model_copy(update={"name": f"steps-{steps}"})
        corpus.build(run)
        folder = training.train(training.Job(run, "adapt", Cell("direct", "lc_2544", run.seed)))
        assert read_json(folder / "manifest.json")["steps"] == steps
        moved[steps] = read_json(folder / "manifest.json")["relative_change"]
    weights = torch.cat([tensor.flatten().float()
                         for tensor in load_file(tiny / "model.safetensors").values()])
    # AdamW's first step moves a weight by the learning rate or less.
    step = 1.0e-6 / weights.square().mean().sqrt().item()
    assert step < rounding.BFLOAT16 / 2
    assert moved[1] < step * (1 + rounding.float32(1, TERMS))
    assert moved[1] < moved[7] < rounding.BFLOAT16 / 2


def main_in_float32(arguments):
    """The process of a training, computing as the training that it is compared to."""
    models.compute = lambda: "float32"
    return training.main(arguments)


def test_killed_training_goes_on_from_its_checkpoint(run, pretrained, reordered):
    """Killed after a checkpoint, with a half-written one left behind, it ends with the log of a
    training that was never interrupted: no step twice, every loss the same, to what another order
    of the sums changes, times ten."""
    folder = training.Job(run, "pretrain").folder
    params.open_folder(run)
    arguments = ["--params", str(run.folder / "params.yaml"), "--stage", "pretrain"]
    process = forked.start(main_in_float32, arguments)
    while not (folder / "checkpoints" / "checkpoint-2" / "hashes.json").exists():
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    whole = checkpoints.last(folder / "checkpoints")
    shutil.copytree(whole, folder / "checkpoints" / "checkpoint-99")
    (folder / "checkpoints" / "checkpoint-99" / "hashes.json").unlink()
    assert checkpoints.last(folder / "checkpoints") == whole
    assert not training.finished(training.Job(run, "pretrain"))

    done = forked.run(main_in_float32, arguments)
    assert done.returncode == 0, done.output
    assert f"resuming from step {whole.name.removeprefix('checkpoint-')}" in done.output
    got, expected = training.read_log(folder), training.read_log(pretrained / "tiny" / "pretrain")
    assert [line["step"] for line in got] == [line["step"] for line in expected]
    for key in ("loss", "validation_loss", "learning_rate", "tokens"):
        logged, right, other = ([line[key] for line in log if key in line]
                                for log in (got, expected, reordered))
        assert logged == pytest.approx(right, rel=rounding.measured(other, right))
    assert [path.name for path in folder.glob("check*")] == []


def test_early_stopping_takes_the_best_step(tiny, built, tmp_path, monkeypatch):
    """A learning rate that breaks the model ends the training early, with its best weights, even
    where the process dies before the last checkpoint is whole, and the one of the best step is
    gone; and where it dies before the model is written."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(models, "compute", lambda: "float32")
    run = tiny_run(tiny, learning_rate=0.9, scheduler="constant", warmup_ratio=0.0, steps=40,
                   epochs=20, batch_size=2, max_grad_norm=1000.0, evaluate_every=1, save_every=1,
                   early_stopping_patience=2)
    corpus.build(run)
    with monkeypatch.context() as patch:
        patch.setattr(models, "save_adapter",
                      lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        job = training.Job(run, "adapt", Cell("direct", "lc_2544", run.seed))
        with pytest.raises(OSError, match="disk full"):
            training.train(job)
        folder = job.folder
        values = [(line["step"], line.get("loss"), line.get("validation_loss"))
                  for line in training.read_log(folder)]
        before, last = checkpoints.whole(folder / "checkpoints")
        assert shards.parts(last / "shards") == {"model"}
        assert shards.parts(before / "shards") == {"model", "optimizer", "best"}
        (last / "hashes.json").unlink()
        with pytest.raises(OSError, match="disk full"):
            training.train(job)
    log = training.read_log(folder)
    assert [(line["step"], line.get("loss"), line.get("validation_loss"))
            for line in log] == values
    training.train(job)
    assert training.read_log(folder) == log

    manifest, looks = read_json(folder / "manifest.json"), looks_of(folder)[1:]
    best = min(looks, key=lambda line: line["validation_loss"])
    assert manifest["steps"] == looks[-1]["step"] == best["step"] + 2 < 40
    assert manifest["model_step"] == best["step"]
    tokenizer = models.load_tokenizer(str(tiny))
    start = models.pissa_start(tiny, 4, tmp_path / "start")
    loss, _, limit = loss_of(trained_from(start, folder), tokenizer,
                             corpus.read(run, "adaptation_validation", "direct"))
    assert loss == pytest.approx(best["validation_loss"], rel=limit)
    with training.weights(run, Cell("direct", "lc_2544", run.seed)) as merged:
        model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    assert model.config.vocab_size == len(tokenizer)
    assert not list(folder.glob(".merged-*"))


def test_a_tracker_that_is_not_installed_is_refused(run):
    """A tracker is one line in the parameter file, and without its package one line of an error,
    before any sample is read."""
    name = "trackio"
    if importlib.util.find_spec(name):
        pytest.skip(f"{name} is installed here")
    tracked = run.model_copy(update={"trackers": [name]})
    with pytest.raises(ParamsError, match="trackers: the package trackio is not installed"):
        training.train(training.Job(tracked, "pretrain"))
    assert tracked.digest == run.digest


def test_meta_rfft_waits_for_the_pretraining(run):
    """The adaptation of the pre-trained model is refused before there is one."""
    with pytest.raises(ParamsError, match="finish the stage pretrain of run tiny first"):
        training.train(training.Job(run, "adapt", Cell("meta_rfft", "lc_2544", run.seed)))


@pytest.mark.parametrize(("stage", "task", "method", "message"), [
    ("tune", None, None, "expected pretrain or adapt"),
    ("pretrain", "lc_2544", None, "takes no task"),
    ("adapt", "lc_258", "direct", "task: expected one of lc_2544, got 'lc_258'"),
    ("adapt", "lc_2544", "scratchpad", "method: expected one of direct, vanilla_rfft")])
def test_wrong_stages_are_refused(run, stage, task, method, message):
    """A stage, task or method that the run does not have is named, with those that it has."""
    with pytest.raises(ParamsError, match=message):
        training.Job.named(run, stage, task=task, method=method)


def test_a_task_is_trained_by_its_name(run):
    """A training that is asked for by the name of a task is the one of its id."""
    by_id = training.Job(run, "adapt", Cell("direct", "lc_2544", run.seed))
    assert training.Job(run, "adapt", Cell("direct", "alternating_digit_sum", run.seed)) == by_id


def test_launched_adaptation_starts_from_the_pretrained_model(done, capfd, monkeypatch):
    """Under accelerate launch, meta_rfft trains from pretrain/model and prints its steps; a
    damaged PiSSA start then fails the next training with the file's name."""
    folder = training.launch(training.Job(done, "adapt", Cell("meta_rfft", "lc_2544", done.seed)))
    manifest = read_json(folder / "manifest.json")
    pretrained = training.model_folder(done)
    assert manifest["base_model"]["sha256"] == models.weights_hash(pretrained)
    printed = capfd.readouterr().out
    assert "step 7/7" in printed
    assert "Warning" not in printed
    job = training.Job(done, "adapt", Cell("meta_rfft", "lc_2544", done.seed))
    assert training.launch(job) == folder
    assert "finished" in capfd.readouterr().out

    damaged = done.folder / "pretrain" / "pissa-4" / "adapter" / "adapter_model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    (folder / "manifest.json").unlink()
    forked.fork_stages(monkeypatch)
    with pytest.raises(RuntimeError, match=f"{damaged} is damaged"):
        training.launch(training.Job(done, "adapt", Cell("meta_rfft", "lc_2544", done.seed)))


def test_labels_hold_the_completion_alone(run):
    """Unmasked labels decode to the completion and the end token, masked ones are the prompt's."""
    tokenizer = models.load_tokenizer(run.model.name)
    data = corpus.read(run, "adaptation", "rfft")
    for row in batches.encode(data, tokenizer):
        kept = row["input_ids"][-row["completion_tokens"]:]
        assert tokenizer.decode(kept) == row["completion"] + "<|im_end|>"
        assert len(row["input_ids"]) == row["tokens"]


@pytest.mark.parametrize("name", [
    "log.jsonl", "model/model.safetensors", "model/config.json", "adapter/adapter_config.json",
    "lora/adapter_model.safetensors", "manifest.json"])
def test_a_training_that_lost_a_file_is_not_finished(done, name):
    """Whatever a training made, without it, or with other bytes in it, there is work to do."""
    job = training.Job(done, "pretrain")
    assert training.finished(job)
    path = job.folder / name
    if name != "manifest.json":
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b" ")
        assert training.lost(job) == path
        assert not training.finished(job)
        path.write_bytes(content)
        assert training.finished(job)
    path.unlink()
    assert not training.finished(job)


def test_a_training_that_lost_a_file_is_done_again(done, launched, capfd, monkeypatch, tmp_path):
    """Launched again it names the file and comes to the weights of a process without accelerate's
    launcher, whatever the user has set up for accelerate: neither deepspeed in its default
    configuration, nor sharding in variables."""
    folder = training.Job(done, "pretrain").folder
    config = tmp_path / "home" / "accelerate" / "default_config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("compute_environment: LOCAL_MACHINE\ndistributed_type: DEEPSPEED\n"
                      "deepspeed_config: {zero_stage: 3}\nnum_processes: 2\n"
                      "mixed_precision: fp16\nuse_cpu: false\n")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "FSDP_VERSION"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    (folder / "log.jsonl").unlink()
    training.launch(training.Job(done, "pretrain"))
    printed = capfd.readouterr().out
    assert f"{folder / 'log.jsonl'} is missing or changed" in printed
    after = read_json(folder / "manifest.json")
    assert (after["weights"], after["processes"]) == (launched, 1)
    assert [line["step"] for line in steps_of(folder)] == list(range(1, STEPS + 1))


def test_the_users_configuration_of_accelerate_is_never_read(done):
    """Every launch names a configuration of the kit's own."""
    options, _ = launcher._launch_options(training.Job(done, "pretrain"))
    path = Path(options[options.index("--config_file") + 1])
    assert path.is_file()
    assert path.is_relative_to(ROOT)


def test_an_adaptation_of_another_pretrained_model_is_refused(done):
    """Where RF-pretraining came to other weights since, one line names the folder to delete."""
    job = training.Job(done, "adapt", Cell("meta_rfft", "lc_2544", done.seed))
    training.train(training.Job(done, "adapt", Cell("meta_rfft", "lc_2544", done.seed)))
    manifest = read_json(job.manifest)
    manifest["base_model"]["sha256"] = "another"
    write_json(job.manifest, manifest)
    with pytest.raises(ParamsError, match=f"another RF-pretrained model .* delete {job.folder}"):
        training.finished(job)


@pytest.mark.parametrize("size", [1_000, 60_000, 400_000], ids=["log", "checkpoint", "model"])
def test_a_full_disk_ends_in_one_line_and_the_training_goes_on(run, launched, size):
    """No file may be longer than some bytes, as on a full disk: one line names what could not be
    written; then the same command comes to the weights of a training without that."""
    params.open_folder(run)
    arguments = ["--params", str(run.folder / "params.yaml"), "--stage", "pretrain"]
    full = forked.run(training.main, arguments, largest=size)
    assert full.returncode == 1
    assert re.fullmatch(rf"error: {run.folder}\S+: .+", full.output.splitlines()[-1])
    assert "Traceback" not in full.output
    done = forked.run(training.main, arguments)
    assert done.returncode == 0, done.output
    folder = training.Job(run, "pretrain").folder
    assert read_json(folder / "manifest.json")["weights"] == launched


def test_a_wrong_mask_stops_the_training(run):
    """The look at the first micro batches finds a prompt token that has a label."""
    tokenizer = models.load_tokenizer(run.model.name)
    data = batches.encode(corpus.read(run, "adaptation", "rfft"), tokenizer)
    trainer = SimpleNamespace(
        args=SimpleNamespace(gradient_accumulation_steps=2, world_size=1),
        data_collator=DataCollatorForLanguageModeling(tokenizer.pad_token_id, padding_free=True),
        train_dataset=batches.packed(data, [[0, 1], [2]]), is_world_process_zero=lambda: True)
    Trainer.check_batches(trainer, tokenizer, data, [[0, 1], [2]])
    wrong = data.map(lambda row: {"completion_tokens": row["completion_tokens"] + 1})
    trainer.train_dataset = batches.packed(wrong, [[0, 1], [2]])
    with pytest.raises(RuntimeError, match=r"micro batch 0 .* labels differ"):
        Trainer.check_batches(trainer, tokenizer, data, [[0, 1], [2]])


def test_long_samples_are_refused_and_counted():
    """A sample beyond the context is refused with its task, length and tokens, never cut."""
    data = Dataset.from_dict({"task": ["a", "b", "c"], "length": [1, 7, 3], "tokens": [10, 12, 11],
                              "input_ids": [[1, 2]] * 3})
    batches.check_samples(data, 12, 2, "pretrain")
    with pytest.raises(ParamsError, match=r"2 of 3 samples .* 10 tokens; the longest, task b at "
                                          "length 7, takes 12"):
        batches.check_samples(data, 10, 2, "pretrain")


def test_a_sample_without_end_token_is_refused():
    """Every sample must end with the end token, else the model would not learn to stop."""
    data = Dataset.from_dict({"task": ["a", "b"], "length": [1, 7], "tokens": [2, 2],
                              "input_ids": [[1, 2], [2, 1]]})
    with pytest.raises(ParamsError, match="task b at length 7 does not end with the end token 2"):
        batches.check_samples(data, 12, 2, "pretrain")


@pytest.mark.parametrize(("batch", "micro", "processes"), [
    (32, 1, 1), (32, 4, 8), (256, 2, 8), (6, 2, 3), (32, 8, 8), (4, 1, 3), (4, 4, 2)])
def test_the_global_batch_stays_what_the_file_says(tiny, batch, micro, processes):
    """Accumulation makes up the batch for any number of processes, or the training is refused."""
    settings = tiny_run(tiny, batch_size=batch, micro_batch_size=micro).pretraining
    possible = [n for n in range(1, batch + 1) if n * micro * processes == batch]
    if possible:
        assert batches.accumulation_steps(settings, processes) == possible[0]
    else:
        with pytest.raises(ParamsError, match=f"batch_size {batch} .* {processes} processes"):
            batches.accumulation_steps(settings, processes)


def test_every_pass_takes_every_sample_once():
    """Whole passes are permutations, each another one, and a shorter order is a prefix."""
    order = batches.sample_order([10], [1.0], 25, seed=3)
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert order[:10] != order[10:20]
    assert len(set(order[20:])) == 5
    assert batches.sample_order([10], [1.0], 7, seed=3) == order[:7]
    assert batches.sample_order([10], [1.0], 10, seed=4) != order[:10]


@pytest.mark.parametrize(("samples", "epochs", "steps"), [
    (1000, 1, 8), (31, 1, 7), (30, 1, 7), (5, 3, 3), (4, 1, 1)])
def test_steps_stop_at_the_epochs(tiny, samples, epochs, steps):
    """There are `steps` of them, or as many whole batches as `epochs` passes hold."""
    settings = tiny_run(tiny, epochs=epochs).pretraining
    assert batches.count_steps(settings, samples, "pretrain") == steps


def test_too_few_samples_are_refused(tiny):
    """Data that do not fill one batch are refused, with the counts."""
    with pytest.raises(ParamsError, match="pretrain: 3 samples in 1 epochs"):
        batches.count_steps(tiny_run(tiny, epochs=1).pretraining, 3, "pretrain")


def test_a_cut_last_line_of_a_log_is_left_out(tmp_path):
    """A line that a kill cut in the middle does not keep the log from being read."""
    (tmp_path / "log.jsonl").write_text(json.dumps({"step": 1}) + '\n{"step": 2, "lo')
    assert training.read_log(tmp_path) == [{"step": 1}]
    assert training.read_log(tmp_path / "none") == []


def test_a_missing_model_is_a_users_error(tiny, tmp_path, capsys, monkeypatch):
    """The process ends with code 2 and one line, and leaves no folder of a training."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = tiny_run(tmp_path / "nowhere")
    params.open_folder(run)
    status = training.main(["--params", str(run.folder / "params.yaml"), "--stage", "pretrain"])
    assert status == 2
    error = capsys.readouterr().err
    assert error.startswith("error: model.name: ")
    assert error.count("\n") == 1


@pytest.mark.slow
def test_the_embedded_model_learns(tmp_path, monkeypatch):
    """Two steps of the real model lower the loss on held-out samples."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = tiny_run(models.resolve(models.EMBEDDED), steps=3, learning_rate=5.0e-4,
                   scheduler="constant", warmup_ratio=0.0, rank=32)
    corpus.build(run)
    folder = training.launch(training.Job(run, "pretrain"))
    looks = looks_of(folder)
    assert looks[-1]["validation_loss"] < looks[0]["validation_loss"]
    assert math.isfinite(read_json(folder / "manifest.json")["relative_change"])
    assert os.listdir(folder / "model")
