"""Item 1: packed samples against separate ones, the cost of attention, and the fused loss.

A tiny Qwen2 model in bfloat16 computes the loss and the gradients of a few samples, laid end to end
and one by one. How far the two may differ is told by what bfloat16 itself changes: the separate
samples in bfloat16 against float32. A case that lays the samples end to end and forgets where they
end must differ by much more; it shows that the comparison would see a leak.
"""

import statistics

from sitting import attentions, shapes
from sitting.machine import seconds
from sitting.record import Record

SIZES = {"vocab_size": 512, "hidden_size": 256, "intermediate_size": 512,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
SAMPLES = [[160, 100], [37, 30], [220, 140], [64, 40], [129, 100]]


def run(record: Record) -> None:
    names = attentions.usable(record)
    reference = _separate(_model("float32", "sdpa", record.device))
    plain = _separate(_model("bfloat16", "sdpa", record.device))

    def compared(case: str, other: tuple, attention: str, **options: bool) -> None:
        with record.case(case) as values:
            found = _packed(_model("bfloat16", attention, record.device), **options)
            values |= _compared(found, other, reference)

    compared("packed without the ends of the samples", plain, "sdpa", ends=False)
    compared("fused loss against plain", _packed(_model("bfloat16", "sdpa", record.device)),
             "sdpa", fused=True)
    for name, attention in names.items():  # flex is the last, because it is compiled first
        compared(f"packed against separate, {name}", plain, attention)
        with record.case(f"one layer of 7B, {name}") as values:
            values |= _cost(record, attention)


def _model(dtype: str, attention: str, device: str):
    """The tiny model, the same one each time; its attention is far from uniform."""
    import torch

    torch.manual_seed(0)
    model = shapes.random_model(SIZES, torch.float32, attention, "cpu")
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.08)
    return model.to(device, getattr(torch, dtype))


def inputs(row: dict, device: str) -> dict:
    """A packed row as the kit's trainer gives it to the model."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    batch = DataCollatorForLanguageModeling(2, padding_free=True)([row])
    return {name: value.to(device) if hasattr(value, "to") else value
            for name, value in batch.items()}


def _packed(model, ends: bool = True, fused: bool = False) -> tuple:
    """Loss and gradients of all samples in one row."""
    row = shapes.row(SAMPLES, SIZES["vocab_size"], 0)
    if not ends:
        row["seq_lengths"] = [sum(row["seq_lengths"])]
    batch = inputs(row, str(model.device))
    if fused:
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
        loss = -model(**batch, use_cache=False, fused_lm_head=True).log_probs.sum()
    else:
        loss = _summed(model, batch)
    return _differentiated(model, loss)


def _separate(model) -> tuple:
    """Loss and gradients of the samples one by one."""
    row, start, total = shapes.row(SAMPLES, SIZES["vocab_size"], 0), 0, 0.0
    for tokens, _ in SAMPLES:
        one = {name: row[name][start:start + tokens] for name in ("input_ids", "labels")}
        total = total + _summed(model, inputs(one | {"seq_lengths": [tokens]}, str(model.device)))
        start += tokens
    return _differentiated(model, total)


def _summed(model, batch: dict):
    from torch.nn.functional import cross_entropy

    labels = batch.pop("labels")
    logits = model(**batch, use_cache=False).logits[0, :-1].float()
    return cross_entropy(logits, labels[0, 1:], reduction="sum")


def _differentiated(model, loss) -> tuple:
    """The mean loss of a token, and the gradient of all weights in a row, in float64."""
    import torch

    (loss / shapes.scored(SAMPLES)).backward()
    return (loss.item() / shapes.scored(SAMPLES),
            torch.cat([weight.grad.flatten().double() for weight in model.parameters()]))


def _compared(found: tuple, other: tuple, reference: tuple) -> dict:
    """Losses, and how far gradients are apart, as a share of their length."""

    def apart(one, two) -> float:
        return float(f"{((one[1] - two[1]).norm() / two[1].norm()).item():.3g}")

    return {"loss": found[0], "loss_compared": other[0], "loss_float32": reference[0],
            "gradients_apart": apart(found, other), "to_float32": apart(found, reference),
            "compared_to_float32": apart(other, reference)}


def _cost(record: Record, attention: str) -> dict:
    """Forward and backward of one layer of the 7B model over a real micro batch."""
    import torch

    sizes = record.pick(shapes.QWEN_7B, shapes.TOY) | {"vocab_size": 512}
    model = shapes.random_model(sizes, torch.bfloat16, attention, record.device, layers=1)
    [samples] = shapes.micro_batches(record, 1)
    batch = inputs(shapes.row(samples, 512, 0), record.device)
    batch.pop("labels")

    def work() -> None:
        model.model(**batch, use_cache=False).last_hidden_state.sum().backward()
        model.zero_grad(set_to_none=True)

    if record.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    took = seconds(work, record.pick(10, 2), record.device)
    values = {"tokens": shapes.total(samples), "samples": len(samples),
              "milliseconds": round(1000 * statistics.median(took), 3)}
    if record.device == "cuda":
        values["memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 3)
    return values
