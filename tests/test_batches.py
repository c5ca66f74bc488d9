"""What a training is fed: order, shares, micro batches without padding, and the loss on them."""

import json
import random

import pytest
import rounding
import torch
from tiny_model import tiny_run, write_tiny
from transformers import AutoModelForCausalLM
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from metarfft_core import corpus, models
from metarfft_core.params import Cell, Mix, ParamsError
from metarfft_core.training import batches
from metarfft_core.training.process.trainer import _summed_loss


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def encoded(tiny, tmp_path_factory):
    """The encoded pre-training samples of the tiny run, of very different lengths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        run = tiny_run(tiny)
        corpus.build(run)
        return batches.encode(corpus.read(run, "pretrain", "rfft"),
                              models.load_tokenizer(str(tiny)))


@pytest.mark.parametrize("shares", [[1.0], [0.75, 0.25], [0.5, 0.3, 0.2], [0.98, 0.02]])
def test_pools_make_up_their_shares_at_every_point(shares):
    """After any number of draws each pool has its share, to one sample for each other pool."""
    sizes = [40, 25, 30][:len(shares)]
    order = batches.sample_order(sizes, shares, 200, seed=1)
    ends = [sum(sizes[:pool + 1]) for pool in range(len(sizes))]
    pools = [next(pool for pool, end in enumerate(ends) if row < end) for row in order]
    for drawn in range(1, 201):
        for pool, share in enumerate(shares):
            assert abs(pools[:drawn].count(pool) - share * drawn) <= max(1, len(shares) - 1)


def test_pools_do_not_change_each_others_order():
    """The samples of the tasks come in the same order with general data among them as without,
    and every pool is used up before one of its samples comes again."""
    alone = batches.sample_order([30], [1.0], 60, seed=5)
    mixed = batches.sample_order([30, 8], [0.8, 0.2], 75, seed=5)
    assert [row for row in mixed if row < 30] == alone
    general = [row for row in mixed if row >= 30]
    assert sorted(general[:8]) == list(range(30, 38))
    assert batches.sample_order([30, 8], [0.8, 0.2], 20, seed=5) == mixed[:20]


@pytest.mark.parametrize("bins", [1, 3, 8, 32])
def test_micro_batches_hold_every_sample_once_and_are_balanced(bins):
    """Packing loses and doubles nothing, fills every bin, and no bin is fuller than the fullest
    of the same samples in their order, nor by more than the longest sample than another."""
    rng = random.Random(bins)
    tokens = [rng.choice([40, 90, 300, 700, 2500]) for _ in range(64)]
    packed = batches.pack(tokens, bins)
    assert sorted(place for places in packed for place in places) == list(range(64))
    loads = [sum(tokens[place] for place in places) for places in packed]
    assert loads == sorted(loads, reverse=True)
    assert loads[0] - loads[-1] <= max(tokens)
    size = 64 // bins
    assert loads[0] <= max(sum(tokens[at:at + size]) for at in range(0, 64, size))
    assert all(packed)


def test_a_step_has_the_samples_of_its_batch_on_any_number_of_processes():
    """The micro batches of a step hold exactly the samples of that step, whatever their size."""
    tokens = [random.Random(n).randrange(20, 900) for n in range(48)]
    for micro in (1, 2, 4, 8, 16):
        bins = batches.micro_batches(tokens, 16, micro)
        assert len(bins) == 48 // micro
        for step in range(3):
            held = bins[step * 16 // micro:(step + 1) * 16 // micro]
            assert sorted(place for places in held for place in places) == list(
                range(16 * step, 16 * step + 16))


def padded_loss(model, samples):
    """The summed loss of the completions in rows with padding, by transformers' own logits, and
    the gradient of one weight."""
    width = max(one["tokens"] for one in samples)
    ids = torch.tensor([one["input_ids"] + [2] * (width - one["tokens"]) for one in samples])
    mask = torch.tensor([[1] * one["tokens"] + [0] * (width - one["tokens"]) for one in samples])
    scores = model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
    trained = [(row, at) for row, one in enumerate(samples)
               for at in range(one["tokens"] - one["completion_tokens"], one["tokens"])]
    rows, places = torch.tensor(trained).T
    loss = -scores[rows, places - 1, ids[rows, places]].sum()
    return loss.item(), gradient_of(model, loss)


def gradient_of(model, loss):
    """The gradient of the first projection of queries."""
    [gradient] = torch.autograd.grad(loss, [model.model.layers[0].self_attn.q_proj.weight])
    return gradient


def test_the_loss_without_padding_is_the_padded_one(tiny, encoded):
    """Samples laid end to end have the loss of the same samples in rows with padding, and its
    gradient, to ten times what leaving the padding out changes; seeing each other they would not.
    """
    tokenizer = models.load_tokenizer(str(tiny))
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    places = [0, 9, 12, 17, 19]
    samples = [encoded[place] for place in places]
    expected, slope = padded_loss(model, samples)
    alone = [padded_loss(model, [one]) for one in samples]
    near = rounding.measured(sum(loss for loss, _ in alone), expected)
    near_slope = rounding.measured(sum(gradient for _, gradient in alone), slope)

    collate = DataCollatorForLanguageModeling(tokenizer.pad_token_id, padding_free=True)
    laid = collate([batches.packed(encoded, [places])[0]])
    assert laid["input_ids"].shape == (1, sum(one["tokens"] for one in samples))
    loss, counted = _summed_loss(model, laid)
    assert counted == sum(one["completion_tokens"] for one in samples)
    assert loss.item() == pytest.approx(expected, rel=near)
    assert (gradient_of(model, loss) - slope).abs().max() < near_slope * slope.abs().max()

    laid["position_ids"] = torch.arange(laid["input_ids"].numel())[None]
    loss, _ = _summed_loss(model, laid)
    assert loss.item() != pytest.approx(expected, rel=10 * near)
    assert (gradient_of(model, loss) - slope).abs().max() > 10 * near_slope * slope.abs().max()


def test_equal_tokens_take_as_many_steps_as_reach_them():
    """The steps are the fewest whose samples' tokens, counted one by one, reach the budget."""
    tokens = [3, 8, 5, 1, 9]
    for budget in (1, 12, 26, 27, 100, 1000):
        steps = batches.steps_for_tokens(tokens, 2, budget)
        trained = [tokens[n % 5] for n in range(2 * steps)]
        assert sum(trained) >= budget
        assert steps == 1 or sum(trained[:-2]) < budget


def test_baselines_can_be_given_the_same_trained_tokens(tiny, tmp_path, monkeypatch):
    """With `equal: trained_tokens` direct answers are repeated until as many tokens were trained
    on as by the rule-following samples; the others keep their steps."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    from metarfft_core import training

    run = tiny_run(tiny, epochs=1)
    run = run.model_copy(update={
        "adaptation": run.adaptation.model_copy(update={"equal": "trained_tokens", "steps": 2})})
    corpus.build(run)
    tokenizer = models.load_tokenizer(str(tiny))
    trained = {}
    for method in ("direct", "vanilla_rfft"):
        job = training.Job(run, "adapt", Cell(method, "lc_2544", run.seed))
        loaded = batches.load_training(job, tokenizer)
        data, order = loaded.samples, loaded.order
        counts = data["completion_tokens"]
        trained[method] = [sum(counts[row] for row in order[at:at + 4])
                           for at in range(0, len(order), 4)]
    assert len(trained["vanilla_rfft"]) == 2
    budget = sum(trained["vanilla_rfft"])
    assert abs(sum(trained["direct"]) - budget) <= 2 * max(trained["direct"])


def test_general_data_join_the_training(tiny, tmp_path, monkeypatch):
    """A JSONL file makes up its share of the samples, encoded as all others are."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    from metarfft_core import training

    path = tmp_path / "general.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"What is {n} + 1?", "completion": str(n + 1)})
                            + "\n" for n in range(6)))
    run = tiny_run(tiny, mix={"file": str(path), "share": 0.25})
    corpus.build(run)
    tokenizer = models.load_tokenizer(str(tiny))
    loaded = batches.load_training(training.Job(run, "pretrain"), tokenizer)
    data, order, epoch = loaded.samples, loaded.order, loaded.steps_per_epoch
    general = [row for row in order if data[row]["task"] == batches.GENERAL]
    assert len(order) == 32
    assert len(general) == 8
    assert epoch == pytest.approx(20 / 0.75 / 4)
    row = data[general[0]]
    asked = int(row["prompt"].split()[2])
    assert tokenizer.decode(row["input_ids"]).endswith(
        f"What is {asked} + 1?<|im_end|>\n<|im_start|>assistant\n{asked + 1}<|im_end|>")


@pytest.mark.parametrize(("line", "message"), [
    ("{not json", "line 2: expected a JSON object"),
    ('{"prompt": "a"}', "line 2: expected a JSON object"),
    ('{"prompt": "a", "completion": 3}', "line 2: expected a JSON object"),
    ('{"prompt": "a", "completion": " "}', "line 2: expected a JSON object"), (None, "is empty")])
def test_broken_general_data_are_refused_by_line(tmp_path, line, message):
    """A line that is no prompt with a completion is named, with what was got."""
    path = tmp_path / "general.jsonl"
    path.write_text("" if line is None else '{"prompt": "a", "completion": "b"}\n' + line + "\n")
    with pytest.raises(ParamsError, match=message):
        batches.general(Mix(file=str(path), share=0.5))
    with pytest.raises(ParamsError, match="No such file"):
        batches.general(Mix(file=str(tmp_path / "none.jsonl"), share=0.5))
