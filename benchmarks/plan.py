"""How far the plan's memory estimate is from what small trainings take on this machine's CPU.

    python benchmarks/plan.py [CASE ...]

Each case trains a random Qwen2 model with the kit's own trainer: two steps of two micro batches,
gradient checkpointing on, nothing saved. The first step makes the optimizer's state from a few
tokens; the second has the tokens of the case. What it took is the most resident memory that Linux
saw (VmHWM), less what the process had after a much smaller training of the same kind: libraries and
their buffers are not the plan's. The allocator is told to give freed memory back at once
(MALLOC_MMAP_THRESHOLD_), so that what it keeps for later is not counted. Prints MiB estimated by
parts, MiB taken and their ratio. A case takes at most 1.2 GB beside the libraries and 20 seconds of
one core. It needs Linux.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from metarfft_core import models
from metarfft_core.models import memory

MIB = 2**20
RANK = 8
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}

# name: kind, data type, (hidden, layers, vocabulary), tokens and completion tokens of a micro batch
CASES = {
    "full": ("full", "float32", (448, 8, 16384), 512, 384),
    "pissa": ("pissa", "float32", (448, 8, 16384), 768, 384),
    "pissa-layer": ("pissa", "float32", (448, 4, 2048), 1024, 64),
    "full-layer": ("full", "float32", (448, 4, 2048), 1024, 64),
    "full-bfloat16": ("full", "bfloat16", (512, 8, 32000), 512, 384),
    "pissa-bfloat16": ("pissa", "bfloat16", (512, 8, 32000), 768, 512)}
TINY = ((128, 2, 512), 96, 64)
"""Of the training before the baseline: sizes, tokens, completion tokens."""


def config(sizes: tuple[int, int, int]):
    """The configuration of a Qwen2 model of those hidden, layers and vocabulary sizes."""
    from transformers import Qwen2Config

    hidden, layers, vocabulary = sizes
    return Qwen2Config(vocab_size=vocabulary, hidden_size=hidden, intermediate_size=4 * hidden,
                       num_hidden_layers=layers, num_attention_heads=hidden // 64,
                       num_key_value_heads=1, max_position_embeddings=4096,
                       tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)


def build(kind: str, compute: str, sizes: tuple[int, int, int]):
    """The model as a training has it: float32; or frozen in `compute`, with float32 adapters."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(0)
    model = Qwen2ForCausalLM._from_config(config(sizes),
                                          attn_implementation=models.attention())
    if kind == "full":
        return model
    # The start of the adapter changes no size, and a decomposition would take memory of its own.
    return get_peft_model(model.to(getattr(torch, compute)),
                          LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear"))


def train(kind: str, compute: str, sizes: tuple[int, int, int], tokens: int,
          completion: int) -> None:
    """Two steps of two micro batches; each micro batch holds two samples, laid end to end.

    The first step's are short: all that it leaves behind is the optimizer's state.
    """
    import logging

    from datasets import Dataset
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig

    from metarfft_core.training.process.trainer import Trainer

    logging.getLogger("trl").setLevel(logging.ERROR)
    short, whole = _row(*TINY[1:]), _row(tokens, completion)
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder, max_steps=2, max_length=None, padding_free=True, use_cpu=True,
            per_device_train_batch_size=1, gradient_accumulation_steps=2,
            train_sampling_strategy="sequential",
            dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False,
            gradient_checkpointing=True, bf16=compute == "bfloat16", save_strategy="no",
            report_to="none", disable_tqdm=True, dataloader_pin_memory=False)
        trainer = Trainer(model=build(kind, compute, sizes), args=arguments,
                          train_dataset=Dataset.from_list([short, short, whole, whole]),
                          processing_class=models.load_tokenizer(models.EMBEDDED))
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def _row(tokens: int, completion: int) -> dict:
    """Two samples of those tokens together, laid end to end."""
    half, given = tokens // 2, (tokens - completion) // 2
    one = list(range(1, half + 1))
    return {"input_ids": 2 * one, "labels": 2 * ([-100] * given + one[given:]),
            "seq_lengths": [half, half]}


def taken(kind: str, compute: str, sizes: tuple[int, int, int], tokens: int,
          completion: int) -> float:
    """The bytes that such a training takes beside what a tiny one leaves behind."""
    train(kind, compute, *TINY)
    gc.collect()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    train(kind, compute, sizes, tokens, completion)
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def estimated(kind: str, compute: str, sizes: tuple[int, int, int], tokens: int,
              completion: int) -> memory.Memory:
    """What the plan says of such a training."""
    with tempfile.TemporaryDirectory() as folder:
        config(sizes).save_pretrained(folder)
        shape = memory.shape(folder)
    return memory.training(memory.Load(shape, RANK if kind == "pissa" else None, tokens,
                                       completion, device="cpu", compute=compute))


def run(names: list[str]) -> Iterator[dict]:
    """Each case in a process of its own, where the allocator can be told what to do, and where no
    earlier case has left memory to be used again."""
    for name in names:
        done = subprocess.run([sys.executable, __file__, "--here", name], text=True, check=True,
                              stdout=subprocess.PIPE, env=os.environ | _ALLOCATOR)
        yield json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Estimated and measured memory of trainings.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--here", action="store_true", help="measure in this process, print JSON")
    options = parser.parse_args()
    names = options.cases or list(CASES)
    if not options.here:
        for one in run(names):
            parts = "  ".join(f"{part} {size:.0f}" for part, size in one["parts"].items() if size)
            print(f"{one['case']:15} estimated {one['estimated']:5.0f} MiB ({parts}), "
                  f"took {one['taken']:5.0f}: {one['estimated'] / one['taken']:.3f}", flush=True)
        return
    [name] = names
    parts = estimated(*CASES[name])
    print(json.dumps({"case": name, "estimated": parts.total / MIB,
                      "taken": taken(*CASES[name]) / MIB,
                      "parts": {part: size / MIB for part, size in vars(parts).items()}}))


if __name__ == "__main__":
    main()
