"""Reinforcement learning: its rewards, a real GRPO training, kill and resume, its refusals."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from tiny_model import tiny_run, write_tiny

from metarfft_core import corpus, formats, models, params, tasks, training
from metarfft_core.params import ParamsError
from metarfft_core.system.files import read_json, sha256
from metarfft_core.tracing.judge.replay import judge
from metarfft_core.training.rl import prompts, rewards, worker
from metarfft_core.training.rl.arms import Arm

TASK = "nupa_get_digit"
SETTINGS = {
    "tasks": [TASK], "starts": ["base"], "rewards": ["outcome", "process"], "prompt": "rfft",
    "lengths": [1, 2], "samples_per_length": 2,
    "evaluation": {"lengths": [1, 3], "samples_per_length": 1}, "engine": "transformers",
    "steps": 4, "prompts_per_step": 2, "group_size": 3, "micro_batch_size": 3,
    "max_completion_tokens": 72, "learning_rate": 1.0e-3, "kl": 0.0, "clip": 0.2,
    "temperature": 1.0, "max_grad_norm": 1.0, "evaluate_every": 2, "save_every": 1}


def rl_run(model, **changes):
    """The tiny run with reinforcement learning on a task of short traces."""
    values = tiny_run(model).model_dump()
    values["corpus"]["adaptation"]["tasks"] = [TASK]
    return params.check(values | {"rl": SETTINGS | changes})


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """An outputs folder with the corpus of the run."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(folder / "outputs"))
        run = rl_run(write_tiny(folder / "model"))
        corpus.build(run)
        teach(folder / "model", corpus.read(run, "rl", "rfft", TASK))
    return folder


def teach(folder, data):
    """Let the tiny model begin to learn the right traces by heart, so that some answers are right
    and others wrong."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = models.load_tokenizer(str(folder))
    samples = list(zip(models.encode_prompts(tokenizer, list(data["prompt"])),
                       models.encode_completions(tokenizer, list(data["completion"])),
                       strict=True))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(0)
    for step in range(int(os.environ.get("TEACH", 90))):
        prompt, completion = samples[step % len(samples)]
        ids = torch.tensor([prompt + completion])
        logits = model(ids, logits_to_keep=len(completion) + 1).logits
        loss = torch.nn.functional.cross_entropy(logits[0, :-1], torch.tensor(completion))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def trained(outputs, tmp_path_factory):
    """The run after both of its trainings, in an outputs folder of its own."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        run = copied(outputs, folder, patch)
        patch.setattr(worker.worker, "_fast_bfloat16", lambda: False)
        for arm in training.arms(run):
            worker.train(arm)
    return folder


def copied(outputs, folder, patch):
    shutil.copytree(outputs / "outputs", folder / "outputs")
    patch.setenv("METARFFT_OUTPUTS", str(folder / "outputs"))
    return rl_run(outputs / "model")


@pytest.fixture
def run(outputs, tmp_path, monkeypatch):
    """The run with its corpus, nothing trained."""
    return copied(outputs, tmp_path, monkeypatch)


def kept(arm, kind):
    """The answers of a training by step, as they are stored."""
    return {int(path.stem.rpartition("-")[2]): pq.read_table(path).to_pylist()
            for path in sorted((arm.folder / "answers").glob(f"{kind}-*.parquet"))}


def test_try(trained, outputs, monkeypatch):
    monkeypatch.setenv("METARFFT_OUTPUTS", str(trained / "outputs"))
    run = rl_run(outputs / "model")
    for arm in training.arms(run):
        print(arm.name)
        for line in training.read_log(arm.folder):
            print(json.dumps(line))
        print(json.dumps(read_json(arm.manifest), indent=1)[:3000])
