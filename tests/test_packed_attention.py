"""Attention over packed samples: each implementation keeps the samples of a row apart.

The reference is every sample in a row of its own, by transformers' plain attention. `varlen` has no
kernel on a CPU; here it gets one that computes the formula (`varlen_on_a_cpu`), so everything above
the kernel is the code that runs on a GPU. The kernel itself is tested by the tests marked gpu.
"""

import pytest
import rounding
import torch
import varlen_on_a_cpu
from transformers import Qwen2Config, Qwen2ForCausalLM
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
from trl.trainer.utils import add_fused_lm_head

from metarfft_core import models
from metarfft_core.models import packed_attention
from metarfft_core.params import ParamsError

LENGTHS = [23, 2, 40, 11, 64]
ON_A_GPU = [pytest.param(name, marks=pytest.mark.gpu)
            for name in ("sdpa", "split", "varlen", "flex")]


@pytest.fixture(scope="module", autouse=True)
def _kernel():
    varlen_on_a_cpu.register()
    packed_attention.register()


def model_with(attention, **changes):
    """A small random model, the same for every attention, whose keys serve two heads each."""
    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(
        vocab_size=97, hidden_size=64, intermediate_size=96, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False,
        attn_implementation=packed_attention.NAMES.get(attention, attention), **changes)).train()


@pytest.fixture(scope="module")
def samples():
    """Samples of very different lengths; the first half of each is its prompt."""
    rng = torch.Generator().manual_seed(1)
    ids = [torch.randint(1, 97, (length,), generator=rng).tolist() for length in LENGTHS]
    return [{"input_ids": one, "labels": [-100] * (len(one) // 2) + one[len(one) // 2:]}
            for one in ids]


def laid(samples, device="cpu"):
    """The samples as one row, as trl's collator lays the kit's micro batches."""
    row = {key: [token for one in samples for token in one[key]] for key in samples[0]}
    collate = DataCollatorForLanguageModeling(0, padding_free=True)
    batch = collate([row | {"seq_lengths": [len(one["input_ids"]) for one in samples]}])
    return {key: value.to(device) if isinstance(value, torch.Tensor) else value
            for key, value in batch.items()}


def fused(model, batch):
    """The summed loss by trl's fused output layer, which trainings on a GPU use."""
    add_fused_lm_head(model)
    return -model(**batch, use_cache=False, fused_lm_head=True).log_probs.sum()


def by_logits(model, rows):
    """The summed loss of the rows, each alone in the model, by its logits."""
    total = 0
    device = next(model.parameters()).device
    for row in rows:
        ids, labels = (torch.tensor(row[key], device=device)[None]
                       for key in ("input_ids", "labels"))
        scores = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        total += torch.nn.functional.cross_entropy(scores, labels[0, 1:], reduction="sum")
    return total


def slopes(loss, model):
    """The gradient of every weight, as one vector."""
    return torch.cat([one.flatten() for one in torch.autograd.grad(loss, model.parameters())])


@pytest.fixture(scope="module")
def alone(samples):
    """Loss and gradient of the samples one by one, and how far rounding may move each."""
    values = []
    for attention, order in (("eager", samples), ("sdpa", samples[::-1])):
        model = model_with(attention)
        loss = by_logits(model, order)
        values.append((loss.item(), slopes(loss, model)))
    (loss, gradient), (other, turned) = values
    return loss, gradient, rounding.measured(other, loss), rounding.measured(turned, gradient)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "split", "varlen"])
def test_packed_samples_are_as_separate_ones(samples, alone, attention, recompute):
    """A packed row has the summed loss of its samples one by one and the gradient of every weight,
    to ten times what another order of sums changes; also where the layers are computed twice."""
    expected, gradient, near, near_gradient = alone
    model = model_with(attention)
    if recompute:
        model.gradient_checkpointing_enable()
    loss = fused(model, laid(samples))
    assert loss.item() == pytest.approx(expected, rel=near)
    assert (slopes(loss, model) - gradient).abs().max() < near_gradient * gradient.abs().max()


@pytest.mark.parametrize("attention", ["sdpa", "split", "varlen"])
def test_samples_that_see_each_other_would_be_noticed(samples, alone, attention):
    """With the end of one sample left out, loss and gradient are far from the separate ones."""
    expected, gradient, near, near_gradient = alone
    joined = [{key: samples[0][key] + samples[1][key] for key in samples[0]}, *samples[2:]]
    model = model_with(attention)
    loss = fused(model, laid(joined))
    assert loss.item() != pytest.approx(expected, rel=10 * near)
    assert (slopes(loss, model) - gradient).abs().max() > 10 * near_gradient * gradient.abs().max()


@pytest.mark.parametrize("attention", ["split", "varlen"])
def test_positions_alone_tell_the_samples_apart(samples, alone, attention):
    """Without the collator's ends, the positions tell the samples apart, also in several rows."""
    expected, _, near, _ = alone
    batch = laid(samples)
    kept = {key: batch[key] for key in ("input_ids", "labels", "position_ids")}
    assert fused(model_with(attention), kept).item() == pytest.approx(expected, rel=near)
    rows = torch.tensor([samples[4]["input_ids"], samples[2]["input_ids"] + 24 * [5]])
    assert torch.allclose(model_with(attention)(input_ids=rows).logits,
                          model_with("eager")(input_ids=rows).logits, atol=1e-5)


def test_varlen_computes_in_bfloat16_under_autocast(samples, alone):
    """Under autocast the kernel gets bfloat16 alone, and the loss is near that of float32."""
    expected, _, _, _ = alone
    model = model_with("varlen")
    varlen_on_a_cpu.received.clear()
    with torch.autocast("cpu", torch.bfloat16):
        loss = fused(model, laid(samples))
    assert varlen_on_a_cpu.received == {torch.bfloat16}
    assert loss.item() != expected
    assert loss.item() == pytest.approx(expected, rel=rounding.BFLOAT16)


def test_varlen_keeps_a_sliding_window(samples):
    """A model whose tokens see the last 7 tokens alone computes what plain attention does."""
    window = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 0}
    ids = torch.tensor(samples[4]["input_ids"])[None]
    logits = {name: model_with(name, **given)(input_ids=ids, use_cache=False).logits
              for name, given in (("varlen", window), ("eager", window), ("sdpa", {}))}
    assert torch.allclose(logits["varlen"], logits["eager"], atol=1e-5)
    assert not torch.allclose(logits["varlen"], logits["sdpa"], atol=1e-2)


@pytest.mark.parametrize("name", ["split", "varlen"])
def test_an_attention_refuses_what_it_has_not(samples, name):
    """Padding, dropout and a cache end in an error that says how to do without this attention."""
    ids = torch.tensor(samples[0]["input_ids"])[None]
    with pytest.raises(ValueError, match=r"padding or a cache.*METARFFT_ATTENTION=sdpa"):
        model_with(name)(input_ids=ids, attention_mask=(ids != ids[0, 0]).long())
    with pytest.raises(ValueError, match=r"no dropout; set"):
        model_with(name, attention_dropout=0.1)(input_ids=ids)
    model = model_with(name).eval()
    cache = model(input_ids=ids, use_cache=True).past_key_values
    with pytest.raises(ValueError, match="a cache"):
        model(input_ids=ids[:, :1], past_key_values=cache)


def test_split_has_no_sliding_window(samples):
    """A model whose tokens see the last 7 tokens alone is refused."""
    model = model_with("split", use_sliding_window=True, sliding_window=7, max_window_layers=0)
    with pytest.raises(ValueError, match="the attention split has no sliding_window; set"):
        model(input_ids=torch.tensor(samples[4]["input_ids"])[None])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_split_gives_a_sample_alone_the_bits_of_sdpa(samples, dtype):
    """In a row of one sample, loss and gradients are those of PyTorch's attention to the bit, so a
    training with micro batches of one sample does not depend on which of the two it takes."""
    found = []
    for name in ("sdpa", "split"):
        model = model_with(name)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = fused(model, laid(samples[4:]))
        found.append((loss, slopes(loss, model)))
    (loss, gradient), (other, turned) = found
    assert torch.equal(loss, other)
    assert torch.equal(gradient, turned)


def test_flex_keeps_the_samples_apart(samples, alone):
    """The loss of a packed row by flex attention, which has no gradient on a CPU."""
    expected, _, near, _ = alone
    model = model_with("flex").eval()
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        assert fused(model, laid(samples)).item() == pytest.approx(expected, rel=near)


@pytest.mark.parametrize("attention", ON_A_GPU)
def test_packed_samples_are_as_separate_ones_on_a_gpu(samples, attention):
    """In bfloat16, loss and gradient of a packed row are as near to those in float32 as those of
    the samples one by one are, times two."""
    exact = model_with("eager").cuda()
    loss = by_logits(exact, samples)
    gradient = slopes(loss, exact)
    found = []
    for model, compute in ((model_with("sdpa"), by_logits), (model_with(attention), fused)):
        model = model.cuda()
        with torch.autocast("cuda", torch.bfloat16):
            got = compute(model, samples if compute is by_logits else laid(samples, "cuda"))
        found.append((abs(got - loss).item(), rounding.apart(slopes(got, model), gradient)))
    (plain, plain_slope), (packed, packed_slope) = found
    assert packed <= 2 * plain + rounding.BFLOAT16 * loss.item()
    assert packed_slope <= 2 * plain_slope


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU takes")
def test_the_attention_is_chosen_by_the_machine(monkeypatch):
    """Without a GPU it is PyTorch's own, for each sample; a variable names another, and a wrong or
    impossible value is refused with those that are allowed or with what it needs."""
    monkeypatch.delenv("METARFFT_ATTENTION", raising=False)
    assert models.attention() == "split"
    for value, said in (("flash2", "expected sdpa, split, varlen, flex, flash, got 'flash2'"),
                        ("varlen", "varlen needs an NVIDIA GPU"), ("flex", "flex needs a GPU"),
                        ("flash", "flash needs a GPU and the package flash-attn")):
        monkeypatch.setenv("METARFFT_ATTENTION", value)
        with pytest.raises(ParamsError, match=f"METARFFT_ATTENTION: {said}"):
            models.attention()


@pytest.mark.gpu
def test_a_gpu_takes_varlen(monkeypatch):
    """An NVIDIA GPU of these days computes each sample alone, and each name is taken."""
    monkeypatch.delenv("METARFFT_ATTENTION", raising=False)
    assert models.attention() == "varlen"
    for value, name in (("sdpa", "sdpa"), ("flex", "flex_attention")):
        monkeypatch.setenv("METARFFT_ATTENTION", value)
        assert models.attention() == name
