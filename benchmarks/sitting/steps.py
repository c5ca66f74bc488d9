"""Training steps with the kit's own trainer, on rows of random tokens of real lengths."""

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sitting import attentions, shapes, tiny
from sitting.record import Record

RANK = 8  # of the paper's adapters


@dataclass(frozen=True)
class Setting:
    """One training to measure: PiSSA, or full fine-tuning where `rank` is None."""

    rank: int | None
    layers: int | None = None  # all of them
    attention: str = attentions.NEW
    recompute: bool = True
    liger: bool = False
    samples: int | None = None  # of a micro batch; all of them
    accumulation: int = 2  # micro batches of a step

    @property
    def name(self) -> str:
        parts = ["PiSSA" if self.rank else "full", self.attention,
                 "recomputed" if self.recompute else "not recomputed"]
        parts += ["liger"] if self.liger else []
        parts += [f"{self.layers} layers"] if self.layers else []
        return ", ".join(parts + ([f"{self.samples} samples"] if self.samples else []))


def measure(record: Record, setting: Setting, steps: int = 3) -> dict:
    """The speed, MFU and memory of a training, and the memory that the plan gives it.

    The first step does not count.
    """
    import torch
    from transformers import AutoTokenizer

    from metarfft_core.models import operations
    from metarfft_core.training.process import acceleration
    from metarfft_core.training.process.trainer import peak_flops

    sizes = record.pick(shapes.QWEN_7B, shapes.TOY)
    names = attentions.usable(record)
    dtype = torch.float32 if setting.rank is None else torch.bfloat16
    model = shapes.random_model(sizes, dtype, names[setting.attention], record.device,
                                setting.layers)
    if setting.rank:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=setting.rank, lora_alpha=setting.rank,
                                                 target_modules="all-linear"))
    if setting.liger:
        acceleration.fuse(model, _shape_folder(record, setting))
    micro = [samples[:setting.samples]
             for samples in shapes.micro_batches(record, setting.accumulation)]
    rows = [shapes.row(samples, sizes["vocab_size"], number)
            for number, samples in enumerate(micro)] * (steps + 1)
    counted = operations.of_model(model)
    tokenizer = AutoTokenizer.from_pretrained(tiny.write_tokenizer(record.work / "tokenizer"),
                                              trust_remote_code=False)
    clock = _train(record, setting, model, rows, steps + 1, tokenizer)
    took = statistics.median(clock.steps[1:])
    tokens = sum(map(shapes.total, micro))
    done = counted.training(tokens, sum(map(shapes.scored, micro)),
                            sum(count**2 for samples in micro for count, _ in samples))
    peak = peak_flops()
    return {"tokens": tokens, "micro_batch_tokens": max(map(shapes.total, micro)),
            "seconds": round(took, 4),
            "optimizer_seconds": round(statistics.median(clock.updates[1:]), 4),
            "tokens_per_second": round(tokens / took, 1),
            "mfu": peak and round(done / took / peak, 4),
            **_memory(record, setting, micro)}


def _shape_folder(record: Record, setting: Setting) -> Path:
    """A folder with the configuration of the model, which the plan and liger-kernel ask for."""
    folder = record.work / f"shape-{setting.layers}"
    sizes = record.pick(shapes.QWEN_7B, shapes.TOY)
    shapes.config(sizes, setting.layers).save_pretrained(folder)
    return folder


def _memory(record: Record, setting: Setting, micro: list) -> dict:
    """The most memory of the GPU, and the plan's estimate for the fullest micro batch, in GiB."""
    import torch

    from metarfft_core.models import memory

    fullest = max(micro, key=shapes.total)
    planned = memory.training(memory.Load(
        memory.shape(_shape_folder(record, setting)), setting.rank, shapes.total(fullest),
        shapes.scored(fullest), recompute=setting.recompute, fused=setting.liger))
    values = {"plan_gib": round(planned.total / 2**30, 3)}
    if record.device == "cuda":
        values["memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 3)
        values["reserved_gib"] = round(torch.cuda.max_memory_reserved() / 2**30, 3)
    return values


def _train(record: Record, setting: Setting, model, rows: list[dict], steps: int, tokenizer):
    """Train with the arguments that the kit gives its trainer; returns the clock."""
    import logging

    import torch
    import transformers
    from datasets import Dataset
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig

    from metarfft_core.training.process.trainer import Trainer

    transformers.logging.set_verbosity_error()
    logging.getLogger("trl").setLevel(logging.ERROR)  # it takes our rows for single samples
    gpu, clock = record.device == "cuda", _clock(record.device)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory(dir=record.work) as folder:
        trainer = Trainer(model=model, processing_class=tokenizer, callbacks=[clock],
                          train_dataset=Dataset.from_list(rows), args=SFTConfig(
            output_dir=folder, max_steps=steps, max_length=None, padding_free=True,
            per_device_train_batch_size=1, gradient_accumulation_steps=setting.accumulation,
            dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False,
            train_sampling_strategy="sequential", learning_rate=1e-5, use_cpu=not gpu, bf16=True,
            gradient_checkpointing=setting.recompute, save_strategy="no", report_to="none",
            disable_tqdm=True, logging_steps=1, dataloader_pin_memory=gpu))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock


def _clock(device: str):
    """A callback with the seconds of every step (`steps`), and of the optimizer in it (`updates`).

    On a GPU it waits until the work before is done.
    """
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self):
            self.steps, self.updates = [], []

        def now(self) -> float:
            if device == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter()

        def on_step_begin(self, *_, **__):
            self.began = self.now()

        def on_pre_optimizer_step(self, *_, **__):
            self.computed = self.now()

        def on_optimizer_step(self, *_, **__):
            self.updates.append(self.now() - self.computed)

        def on_step_end(self, *_, **__):
            self.steps.append(self.now() - self.began)

    return Clock()
