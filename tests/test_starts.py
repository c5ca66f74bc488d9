"""PiSSA starts: one decomposition for the ranks of a model, and residuals kept in memory."""

import json

import forked
import numpy as np
import pytest
import torch
from peft.helpers import disable_input_dtype_casting
from safetensors.torch import load_file
from tiny_model import tiny_run, write_tiny

from metarfft_core import corpus, models, params, training
from metarfft_core.params import Cell, ParamsError
from metarfft_core.system import processes
from metarfft_core.system.files import read_json
from metarfft_core.training import batches, merging

LARGE, SMALL = 16, 4


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def starts(tiny, tmp_path_factory):
    """The starts of a large and a small rank, both decomposed, and the small one cut."""
    folder = tmp_path_factory.mktemp("starts")
    large = models.pissa_start(tiny, LARGE, folder / "large")
    return (large, models.pissa_start(tiny, SMALL, folder / "small"),
            models.pissa_start(tiny, SMALL, folder / "cut", large))


def test_a_cut_start_has_the_bytes_of_a_decomposed_one(starts):
    """On a CPU, adapter, residual and their configurations are the same files."""
    _, small, cut = (read_json(start / "manifest.json") for start in starts)
    assert cut["files"] == small["files"]
    assert (cut["rank"], cut["made"]["cut_from_rank"]) == (SMALL, LARGE)
    assert small["made"]["cut_from_rank"] is None


def test_inputs_that_autocast_alone_casts_give_the_same_bits(starts):
    """A training leaves out peft's casts of an adapter's inputs to float32: with autocast, the loss
    and every gradient are the same with them and without."""
    model = models.load_pissa(starts[1], torch.bfloat16)
    tokens = torch.arange(40)[None] * 37 % 4000
    results = []
    for left_out in (False, True):
        model.zero_grad()
        with disable_input_dtype_casting(model, active=left_out), \
                torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        results.append([loss] + [value.grad for value in model.parameters() if value.requires_grad])
    assert len(results[0]) == 1 + 2 * 14
    assert all(map(torch.equal, *results))


def test_the_bytes_of_a_start_do_not_depend_on_the_threads(tiny, tmp_path):
    """With one thread or with two, a start has the same files; afterwards there are as many."""
    before, files = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            start = models.pissa_start(tiny, SMALL, tmp_path / str(threads))
            files.append(read_json(start / "manifest.json")["files"])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert files[0] == files[1]


def test_a_cut_start_is_the_best_approximation_of_its_rank(starts, tiny):
    """numpy's decomposition in float64 gives the same product of A and B, and with the residual it
    is the model again within bfloat16. The product's error is what float32 turns the space of the
    kept singular vectors by: the error of the matrix over the gap to the next singular value."""
    base, residual = (load_file(folder / "model.safetensors")
                      for folder in (tiny, starts[2] / "residual"))
    adapter = load_file(starts[2] / "adapter" / "adapter_model.safetensors")
    names = [name for name in adapter if ".lora_A." in name]
    assert len(names) == 14
    for name in names:
        layer = name.removeprefix("base_model.model.").replace(".lora_A", "")
        weight = base[layer].double().numpy()
        left, values, right = np.linalg.svd(weight, full_matrices=False)
        best = left[:, :SMALL] * values[:SMALL] @ right[:SMALL]
        product = (adapter[name.replace("lora_A", "lora_B")] @ adapter[name]).double().numpy()
        turned = np.finfo(np.float32).eps * values[0] / (values[SMALL - 1] - values[SMALL])
        assert np.linalg.norm(product - best, 2) < 10 * turned * values[0]
        again = product + residual[layer].double().numpy()
        assert np.abs(again - weight).max() <= 2**-8 * np.abs(weight).max()


def test_a_start_is_not_cut_from_another_model(starts, tmp_path):
    """The larger start names the model that it was made of."""
    other = write_tiny(tmp_path / "other")
    config = read_json(other / "config.json") | {"rms_norm_eps": 1e-3}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(ParamsError, match="PiSSA start of another base model"):
        models.pissa_start(other, SMALL, tmp_path / "cut", starts[0])


def two_ranks(tiny):
    values = tiny_run(tiny).model_dump()
    values["pretraining"]["rank"] = LARGE
    return params.check(values)


def test_a_run_of_two_ranks_decomposes_its_model_once(tiny, starts, tmp_path, monkeypatch):
    """The start of the adaptations is cut from RF-pretraining's, which is made first; each of the
    14 matrices is decomposed once. A run of one rank cuts nothing."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "cache"))
    svd, calls = torch.linalg.svd, []
    monkeypatch.setattr(torch.linalg, "svd",
                        lambda *given, **options: calls.append(0) or svd(*given, **options))
    config = two_ranks(tiny)
    job = training.Job(config, "adapt", Cell("direct", "lc_2544", config.seed))
    start = merging.pissa_start_of(job, str(tiny))
    assert read_json(start / "manifest.json")["made"]["cut_from_rank"] == LARGE
    large = merging.pissa_start_of(training.Job(config, "pretrain"), str(tiny))
    assert len(calls) == 14
    for made, expected in ((large, starts[0]), (start, starts[1])):
        assert read_json(made / "manifest.json")["files"] == read_json(
            expected / "manifest.json")["files"]
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "another"))
    job = training.Job(tiny_run(tiny), "adapt", Cell("direct", "lc_2544", config.seed))
    start = merging.pissa_start_of(job, str(tiny))
    assert read_json(start / "manifest.json")["made"]["cut_from_rank"] is None


def test_the_launcher_makes_missing_starts_in_a_process_of_their_own(tiny, tmp_path, monkeypatch,
                                                                     capfd):
    """Its lines are in the log, with the time; a start that is there is not made again."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "cache"))
    forked.fork_stages(monkeypatch)
    config = two_ranks(tiny)
    corpus.build(config)
    job = training.Job(config, "pretrain")
    training.launch_starts([job])
    printed = capfd.readouterr().out
    assert f"Computing the PiSSA start of rank {LARGE} into {tmp_path / 'cache'}" in printed
    assert f"The PiSSA start of rank {LARGE} took " in printed
    training.launch_starts([job])
    assert "PiSSA start" not in capfd.readouterr().out


def test_a_missing_start_alone_is_made_by_all_cores(tiny, tmp_path, monkeypatch):
    """Two adaptations that run at once and wait for one start leave it all cores, not half."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(processes, "cores", lambda: 8)
    started = []
    monkeypatch.setattr(processes, "follow_all",
                        lambda commands, places: started.append((commands, places)))
    values = two_ranks(tiny).model_dump()
    values["adaptation"]["workers"] = 2
    config = params.check(values)
    launch = [training.Job(config, "adapt", Cell(method, "lc_2544", config.seed))
              for method in ("direct", "vanilla_rfft")]
    training.launch_starts(launch)
    [([command], places)] = started
    assert places == [command.environment] == [{"OMP_NUM_THREADS": "8"}]


def test_a_kept_residual_is_loaded_once_and_stays_as_it_was(starts):
    """Models of one start share their frozen weights and nothing else; another start releases
    them, and outside the block each load is its own."""
    large, small, _ = starts

    def weight(model):
        return model.get_base_model().model.layers[0].self_attn.q_proj.base_layer.weight

    with models.keep_residual():
        first = models.load_pissa(small, torch.float32)
        first.enable_input_require_grads()
        first.get_base_model().forward = None
        with torch.no_grad():
            for name, parameter in first.named_parameters():
                if "lora" in name:
                    parameter.zero_()
        second = models.load_pissa(small, torch.float32)
        assert weight(second) is weight(first)
        assert not weight(second).requires_grad
        assert second.get_base_model().forward is not None
        assert not second.get_input_embeddings()._forward_hooks
        fresh = models.load_pissa(large, torch.float32)
        assert weight(fresh) is not weight(second)
        assert weight(models.load_pissa(small, torch.float32)) is not weight(second)
    alone, other = (models.load_pissa(small, torch.float32) for _ in range(2))
    assert weight(alone) is not weight(other)
    expected, got = alone.state_dict(), second.state_dict()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_encoding_pickles_nothing(monkeypatch):
    """A fingerprint of the function that encodes would pickle the tokenizer and the residual that a
    series keeps, a gigabyte for a small model; nothing asks for one."""
    import datasets

    def refused(*_):
        raise AssertionError("a fingerprint was asked for")

    tokenizer = models.load_tokenizer(models.EMBEDDED)
    data = datasets.Dataset.from_dict({"prompt": ["1 + 1 ="], "completion": [" 2"]})
    monkeypatch.setattr(datasets.arrow_dataset, "update_fingerprint", refused)  # of map
    row = batches.encode(data, tokenizer)[0]
    assert tokenizer.decode(row["input_ids"][-row["completion_tokens"]:]) == " 2<|im_end|>"
