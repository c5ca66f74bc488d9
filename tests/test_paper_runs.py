"""The paper's runs in small: its parameter files with a small random Qwen2 for the model."""

import json
from pathlib import Path

import pytest
import yaml
from tiny_model import VOCABULARY, write_tokenizer

from metarfft_core import corpus, evaluation, figures, params, training
from metarfft_core.analysis import verify
from metarfft_core.evaluation import grid
from metarfft_core.params import Cell
from metarfft_core.system.files import read_json
from metarfft_core.system.places import ROOT
from metarfft_core.training import batches
from metarfft_core.training.process import worker

PROTOCOL = yaml.safe_load((Path(__file__).parent / "data" / "protocol.yaml").read_text())


def write_qwen(folder):
    """A random model of two layers with Qwen2.5's architecture, and the tests' tokenizer."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    write_tokenizer(folder)
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32768,
        tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=2))
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return write_qwen(tmp_path_factory.mktemp("qwen") / "model")


def load(size, **model):
    values = params.read(ROOT / "params" / f"{size}.yaml")
    values["model"] |= model
    return values


def shrunk(size, model):
    """The file's values: every stage, method and batch as it says, with fewer samples and steps."""
    values = load(size, name=str(model))
    corpus_values, adaptation = values["corpus"], values["adaptation"]
    corpus_values["workers"] = 2
    corpus_values["pretrain"] |= {"lengths": "1-2", "samples_per_length": 2}
    corpus_values["in_context"] |= {"samples_per_length": 1, "lengths": [2], "synthetic_samples": 8}
    corpus_values["validation"] = {"lengths": [3], "samples_per_length": 1}
    corpus_values["adaptation"] |= {"tasks": ["lc_258"], "samples_per_length": 8}
    corpus_values["adaptation_validation"]["samples_per_length"] = 1
    corpus_values["evaluation"] = {"lengths": [1, 2], "samples_per_length": 1}
    once = {"steps": 1, "evaluate_every": 1, "save_every": 1}
    values["pretraining"] |= once
    adaptation |= once | {"learning_rate": 1.0e-3}
    adaptation["further"] = [
        {"methods": ["meta_rfft"], "tasks": ["lc_258"], "seeds": [1]}, adaptation["further"][1]]
    values["evaluation"] |= {"engine": "transformers", "limit_factor": 1.0, "limit_extra": 1}
    values["evaluation"].pop("tensor_parallel", None)
    return params.check(values)


@pytest.mark.parametrize("size", ["7b", "32b"])
@pytest.mark.parametrize("stage", ["pretrain", "adapt"])
def test_the_resolved_arguments_are_the_papers(qwen, tmp_path, monkeypatch, size, stage):
    """What the trainer is given holds the protocol's values, on as many GPUs as the paper took."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    run = params.check(load(size, name=str(qwen)))
    job = training.Job(run, "pretrain") if stage == "pretrain" else \
        training.Job(run, "adapt", Cell("meta_rfft", "nupa_add", run.seed))
    paper = PROTOCOL["rf_pretraining" if stage == "pretrain" else "adaptation"][size]
    samples = PROTOCOL["pretraining_samples_about"] if stage == "pretrain" else \
        5 * PROTOCOL["corpus"]["adaptation"]["samples_per_length"]
    gpus = PROTOCOL["gpus"][stage][size]
    steps = batches.count_steps(job.settings, samples, "run")
    accumulation = batches.accumulation_steps(job.settings, gpus)
    resolved = worker._arguments(job, str(qwen), steps, accumulation, 4096)

    assert resolved.max_steps == paper["steps"]
    micro = job.settings.micro_batch_size
    assert resolved.per_device_train_batch_size == 1  # one row, a micro batch laid end to end
    assert micro * resolved.gradient_accumulation_steps * gpus == paper["batch_size"]
    if paper["learning_rate"] is not None:
        assert resolved.learning_rate == paper["learning_rate"]
    assert (job.settings.method, job.settings.rank) == (paper["method"], paper.get("rank"))
    assert job.settings.epochs == 1
    assert resolved.max_length is None
    assert resolved.padding_free
    assert not resolved.packing
    early = stage == "pretrain"
    assert (resolved.metric_for_best_model == "eval_loss") == early
    assert resolved.restore_callback_states_from_checkpoint == early
    assert resolved.optim == "adamw_torch_fused"
    assert resolved.seed == run.seed


@pytest.mark.parametrize("size", ["7b", pytest.param("32b", marks=pytest.mark.slow)])
def test_the_whole_sequence_runs(qwen, tmp_path, monkeypatch, size):
    """Corpus, RF-pretraining on every task with in-context samples among them, adaptation with
    each method, seeds and rules in words, evaluation with 1-shot and counterfactual cells, and
    the figures: all from the file, with the paper's batches."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "cache"))
    run = shrunk(size, qwen)
    corpus.build(run)
    for job in training.jobs(run):
        training.train(training.Job(run, job.stage, Cell(job.method, job.task, job.seed)))
    manifest = read_json(training.Job(run, "pretrain").folder / "manifest.json")
    paper = PROTOCOL["rf_pretraining"][size]
    assert manifest["samples"] == paper["batch_size"]
    assert "corpus/in_context/rfft/synthetic-000.parquet" in manifest["data"]
    config = json.loads((training.model_folder(run) / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    monkeypatch.setattr(grid, "follow_all", lambda commands, _: [
        evaluation.main(command.line[3:]) for command in commands])
    evaluation.launch(run)
    rows = evaluation.read(run)
    assert set(map(Cell, rows["method"], rows["task"], rows["seed"])) == set(run.cells)
    assert Cell("meta_rfft", "lc_258_cf", 1) in run.cells
    shots = rows[rows["method"] == "meta_1shot"]
    assert all(prompt.count("So the answer is") == 1 for prompt in shots["prompt"])
    figures.accuracy_figure(run)
    figures.loss_figure(run)
    figures.table_2(run)
    assert not [problem for problem in verify.verify(run) if "held-out" not in problem]
