"""Item 4: full fine-tuning of 8 layers of a 7B model on one GPU, and what 28 on 8 GPUs would take.

Whole, the model does not fit one GPU. Two depths tell what a layer takes. The optimizer's time is
divided by 8, as its states are. What the GPUs send each other is not in these figures.
"""

from sitting import attentions, shapes
from sitting.record import Record
from sitting.steps import Setting, measure

GPUS = 8
RUN_TOKENS = 223e6  # of the RF-pretraining of params/7b.yaml, by `metarfft plan`


def run(record: Record) -> None:
    deep, shallow = record.pick((8, 4), (2, 1))
    found = {}
    for layers, attention in ((deep, attentions.NEW), (shallow, attentions.NEW),
                              (deep, attentions.OLD)):
        setting = Setting(None, layers, attention)
        with record.case(setting.name) as values:
            values |= measure(record, setting)
            found.setdefault(layers, dict(values))
    if len(found) == 2:
        with record.case(f"full, {attentions.NEW}, extrapolated") as values:
            values |= extrapolated(record, found[deep], found[shallow], deep, shallow)


def extrapolated(record: Record, deep: dict, shallow: dict, more: int, fewer: int) -> dict:
    """What a step of all layers takes on each of 8 GPUs, from two depths."""
    layers = record.pick(shapes.QWEN_7B, shapes.TOY)["num_hidden_layers"]

    def at(value) -> float:
        return value(deep) + (layers - more) * (value(deep) - value(shallow)) / (more - fewer)

    passes = at(lambda one: one["seconds"] - one["optimizer_seconds"])
    update = at(lambda one: one["optimizer_seconds"]) / GPUS
    rate = deep["tokens"] / (passes + update)
    return {"layers": layers, "gpus": GPUS, "micro_batch_tokens": deep["micro_batch_tokens"],
            "seconds": round(passes + update, 4), "optimizer_seconds": round(update, 4),
            "tokens_per_second": round(rate, 1),
            "run_gpu_hours": round(RUN_TOKENS / rate / 3600, 2)}
