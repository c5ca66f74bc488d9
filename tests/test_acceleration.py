"""What a training keeps for its backward pass, and when it computes that again."""

import json

import pytest
import torch
import varlen_on_a_cpu
from peft import LoraConfig, get_peft_model
from tiny_model import tiny_run, write_tiny
from transformers import Qwen2Config, Qwen2ForCausalLM

from metarfft_core import corpus, params, training
from metarfft_core.models import memory, packed_attention
from metarfft_core.params import ParamsError
from metarfft_core.planning import plan
from metarfft_core.system.files import read_json
from metarfft_core.training.process import acceleration

RANK = 4
CASES = [("full", 1), ("full", 8), ("pissa", 8)]
"""The kind of training, and the GPUs that share the weights, which are then in bfloat16."""


@pytest.fixture(scope="module", autouse=True)
def _kernel():
    varlen_on_a_cpu.register()
    packed_attention.register()


def kept(kind, shards, layers, tokens, device, folder):
    """The bytes that the layers keep for the backward pass, as autograd asks to keep them."""
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=64, hidden_size=96, intermediate_size=160, num_hidden_layers=layers, head_dim=16,
        num_attention_heads=4, num_key_value_heads=2, attn_implementation="varlen",
        tie_word_embeddings=False))
    model.config.save_pretrained(folder)
    if shards > 1:
        model.to(torch.bfloat16)
    if kind == "pissa":
        model = get_peft_model(model, LoraConfig(r=RANK, target_modules="all-linear"))
    model.to(device)
    if device == "cuda":
        acceleration.fuse(model, folder)
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    held = {}

    def hold(tensor):
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = (storage.nbytes(), tensor)  # the tensor keeps its address taken
        return tensor

    layered = (model.get_base_model() if kind == "pissa" else model).model
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor), \
            torch.autocast(device, torch.bfloat16):
        output = layered(input_ids=torch.arange(tokens, device=device)[None] % 64, use_cache=False)
    assert output.last_hidden_state.requires_grad
    return sum(size for address, (size, _) in held.items() if address not in weights)


@pytest.mark.parametrize(("kind", "shards"), CASES)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_layer_keeps_what_the_formula_says(tmp_path, kind, shards, device):
    """A token takes in each layer exactly the bytes of the formula: with PyTorch's own operations
    on a CPU, with liger-kernel's on a GPU."""
    if device == "cuda":
        pytest.importorskip("liger_kernel")
    # Two differences: of tokens, which leaves copies of weights out, and of layers.
    per_token = [(kept(kind, shards, layers, 96, device, tmp_path)
                  - kept(kind, shards, layers, 32, device, tmp_path)) / 64 for layers in (1, 3)]
    load = memory.Load(memory.shape(tmp_path), None if kind == "full" else RANK, 96, 96,
                       shards=shards, fused=device == "cuda")
    assert (per_token[1] - per_token[0]) / 2 == memory._kept(load)


@pytest.mark.parametrize("shards", [1, 8])
@pytest.mark.parametrize("rank", [None, 8])
def test_recomputation_takes_less_memory(shards, rank):
    """Without recomputation a micro batch takes more, fused layers take less; the largest micro
    batch that fits without is found to the token."""
    load = memory.Load(memory.KNOWN["Qwen/Qwen2.5-7B-Instruct"], rank, 8000, 6000, shards=shards)
    whole = memory.Load(**(vars(load) | {"recompute": False}))
    fused = memory.Load(**(vars(whole) | {"fused": True}))
    again, plain, less = (memory.training(one).total for one in (load, whole, fused))
    assert again < less < plain
    enough = plain / memory.ROOMY + 1
    assert memory.recomputes(load, enough - 2)
    assert not memory.recomputes(load, enough)
    assert memory.largest(load, enough) == 8000
    assert memory.largest(load, enough - 1e6) < 8000
    assert memory.largest(load, 1e9) == 0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model"))


def test_a_gpu_decides_as_the_plan(tiny, monkeypatch):
    """A training recomputes where the plan for one such GPU says so, and not where it does not.

    It may recompute a little earlier: it takes all tokens for trained ones.
    """
    monkeypatch.setattr(acceleration, "fused", lambda base: "as the plan takes for granted")
    run = tiny_run(tiny, method="full", rank=None)
    without = plan.plan(run, processes=1).stages.iloc[0].without
    decided = []
    for gib in (0.6 * without, 2 * without):
        row = plan.plan(run, processes=1, gpu_memory_gib=gib).stages.iloc[0]
        decided.append(row.recompute)
        tokens = int(row.micro_batch)
        assert acceleration.outgrows(tiny, None, tokens, False, gib * 2**30) == row.recompute
    assert decided == [True, False]


def test_another_family_recomputes(tmp_path):
    """A model whose memory is not known is trained as before: with recomputation."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    assert acceleration.outgrows(tmp_path, None, 10, False, 1e15)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a CPU does")
def test_a_variable_overrides(tiny, monkeypatch):
    """On a CPU large micro batches alone recompute; a variable overrides that, and another value
    is refused with those that are allowed."""
    monkeypatch.delenv("METARFFT_RECOMPUTE", raising=False)
    limit = acceleration.RECOMPUTE_FROM
    asked = [(tiny, None, tokens, False) for tokens in (limit, limit + 1)]
    assert [acceleration.recomputes(*one) for one in asked] == [False, True]
    for value in ("always", "never"):
        monkeypatch.setenv("METARFFT_RECOMPUTE", value)
        assert {acceleration.recomputes(*one) for one in asked} == {value == "always"}
    monkeypatch.setenv("METARFFT_RECOMPUTE", "yes")
    with pytest.raises(ParamsError, match="METARFFT_RECOMPUTE: expected always or never, got 'ye"):
        acceleration.recomputes(*asked[0])


def test_the_manifest_says_what_was_used(tiny, tmp_path, monkeypatch):
    """A training on a CPU notes its attention, whether it recomputed, and that nothing is fused or
    compiled; recomputation changes no loss."""
    losses = []
    for wanted in ("always", "never"):
        monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / wanted))
        monkeypatch.setenv("METARFFT_RECOMPUTE", wanted)
        run = tiny_run(tiny, steps=2, epochs=1)
        corpus.build(run)
        folder = training.train(training.Job(run, "pretrain"))
        used = {key: read_json(folder / "manifest.json")[key]
                for key in ("attention", "recomputation", "fused_layers", "compiled")}
        assert used == {"attention": "split", "recomputation": wanted == "always",
                        "fused_layers": None, "compiled": False}
        losses.append([line["loss"] for line in training.read_log(folder) if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a CPU does")
def test_a_wrong_attention_stops_before_a_model_is_loaded(tiny, tmp_path, monkeypatch):
    """A training with an attention that is unknown is refused by name."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("METARFFT_ATTENTION", "flash3")
    run = tiny_run(tiny)
    corpus.build(run)
    params.open_folder(run)
    with pytest.raises(ParamsError, match="METARFFT_ATTENTION: expected sdpa, split, varlen"):
        training.train(training.Job(run, "pretrain"))
