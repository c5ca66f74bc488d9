"""Item 6: where the time of one step goes, by kind of work and by the longest kernels.

A PiSSA step of a few layers of the 7B model over a real micro batch, with recomputation. The shares
of a layer hold for all 28; the output head and the loss weigh seven times as much as in the whole.
"""

from sitting import attentions, shapes
from sitting.attention import inputs
from sitting.record import Record
from sitting.steps import RANK

KINDS = (
    ("attention", ("flash", "fmha", "attention", "flex")),
    ("matrix products", ("gemm", "cutlass", "nvjet", "xmma", "::mm", "addmm", "matmul", "bmm")),
    ("loss", ("logprob", "log_prob", "softmax", "logsumexp", "cross_entropy")),
    ("copies and casts", ("copy", "cat", "memcpy", "memset", "fill", "index", "scatter")),
    ("norms and reductions", ("norm", "reduce", "mean", "rsqrt")),
    ("elementwise", ("elementwise", "vectorized", "aten::mul", "aten::add", "silu", "triton")))
"""Kinds of work, each by parts of the names of its kernels; the first that fits counts."""


def kind(kernel: str) -> str:
    """What kind of work a kernel does, by its name."""
    name = kernel.lower()
    return next((kind for kind, parts in KINDS if any(part in name for part in parts)), "other")


def run(record: Record) -> None:
    for attention in (attentions.NEW, attentions.OLD):
        with record.case(f"PiSSA step, {attention}") as values:
            values |= _profile(record, attentions.usable(record)[attention])


def _profile(record: Record, attention: str) -> dict:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.profiler import ProfilerActivity, profile
    from trl.trainer.utils import add_fused_lm_head

    sizes = record.pick(shapes.QWEN_7B, shapes.TOY)
    model = shapes.random_model(sizes, torch.bfloat16, attention, record.device,
                                layers=record.pick(4, 1))
    add_fused_lm_head(model)
    model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=RANK,
                                             target_modules="all-linear"))
    model.train()
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    [samples] = shapes.micro_batches(record, 1)
    batch = inputs(shapes.row(samples, sizes["vocab_size"], 0), record.device)

    def step() -> None:
        with torch.autocast(record.device, torch.bfloat16):
            loss = -model(**batch, use_cache=False, fused_lm_head=True).log_probs.sum()
        loss.backward()
        if record.device == "cuda":
            torch.cuda.synchronize()

    step()
    gpu = record.device == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU]) as seen:
        step()
    return _shares({event.key: event.self_device_time_total if gpu else event.self_cpu_time_total
                    for event in seen.key_averages()})


def _shares(microseconds: dict[str, float]) -> dict:
    """The share of each kind of work, and the longest kernels."""
    whole, shares = sum(microseconds.values()), {}
    for name, took in microseconds.items():
        shares[kind(name)] = shares.get(kind(name), 0.0) + took
    longest = sorted(microseconds.items(), key=lambda pair: -pair[1])[:15]
    return {"milliseconds": round(whole / 1000, 3),
            "shares": {name: round(took / whole, 4)
                       for name, took in sorted(shares.items(), key=lambda pair: -pair[1])},
            "longest": [{"kernel": name[:120], "milliseconds": round(took / 1000, 3)}
                        for name, took in longest]}
