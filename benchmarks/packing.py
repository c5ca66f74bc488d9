"""What laying samples end to end saves, against trl's defaults, on the paper's pre-training data.

    python benchmarks/packing.py [--samples N] [--rounds N] [--batch N] [--layers N]

Draws N samples (2 unless told) of every length of every pre-training task as params/7b.yaml has
them, with its in-context samples and their share, by the tokenizer of the embedded model. Prints

1. the tokens of samples over the tokens computed, in the batches that the kit's trainer and trl's
   with its defaults (padding to the longest sample of a batch) collate, for several sizes; and the
   samples that trl's default of 1,024 tokens would cut;
2. for 8 processes, the fullest of the micro batches that work at the same time over their mean;
3. tokens of samples a second in training steps of the kit and of trl's own SFTTrainer, on the same
   samples and in turn: medians over the rounds, and their ratios. The model is a small random one
   (hidden size 192, N layers, 2 unless told) with the embedded one's vocabulary. Both run as trl
   does by default: bfloat16 autocast, gradient checkpointing; nothing is cut. The third line, trl's
   trainer on the kit's micro batches, tells what the padding takes from what the loss takes.
"""

import argparse
import os
import statistics
import tempfile
import time

from metarfft_core import corpus, models, params, training
from metarfft_core.system.places import ROOT
from metarfft_core.training import batches

CUT = 1024
"""trl's default of max_length, in tokens."""
PROCESSES = 8
KIT, PADDED, LAID = "the kit", "trl, its defaults", "trl, without padding"


def parameters(samples: int) -> params.Params:
    """The run of params/7b.yaml with fewer samples of each length and the embedded tokenizer."""
    values = params.read(ROOT / "params" / "7b.yaml")
    least = {"lengths": [1], "samples_per_length": 1}
    values["name"] = "benchmark"
    values["model"]["name"] = models.EMBEDDED
    part = values["corpus"]
    whole = part["pretrain"]["samples_per_length"]
    part |= {"workers": 2, "validation": least, "adaptation_validation": least,
             "evaluation": least, "adaptation": least | {"tasks": "downstream"}}
    part["pretrain"]["samples_per_length"] = part["in_context"]["samples_per_length"] = samples
    part["in_context"]["synthetic_samples"] = \
        part["in_context"]["synthetic_samples"] * samples // whole
    return params.check(values)


def draw(samples: int) -> tuple:
    """The tokenizer, and the encoded samples of a pass in the order of the training."""
    run = parameters(samples)
    tokenizer = models.load_tokenizer(run.model.name)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["METARFFT_OUTPUTS"] = folder
        corpus.build(run)
        loaded = batches.load_training(training.Job(run, "pretrain"), tokenizer)
        data, order = loaded.samples, loaded.order
        return tokenizer, data.select(order)


def in_order(number: int, size: int) -> list[list[int]]:
    """The places of `number` samples in rows of `size`, as they come; a rest is left out."""
    return [list(range(at, at + size)) for at in range(0, number - size + 1, size)]


def share(data, tokenizer, rows: list[list[int]], padding: bool) -> float:
    """The tokens of the samples in `rows` over those of the tensors that are computed."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    collate = DataCollatorForLanguageModeling(tokenizer.pad_token_id, padding_free=not padding)
    if padding:
        collated = (collate([data[place] for place in places]) for places in rows)
    else:
        collated = (collate([row]) for row in batches.packed(data, rows))
    computed = sum(batch["input_ids"].numel() for batch in collated)
    tokens = list(data["tokens"])
    return sum(tokens[place] for places in rows for place in places) / computed


def imbalance(tokens: list[int], rows: list[list[int]]) -> float:
    """The fullest of PROCESSES micro batches in turn over their mean, over all of them."""
    loads = [sum(tokens[place] for place in places) for places in rows]
    groups = [loads[at:at + PROCESSES] for at in range(0, len(loads), PROCESSES)]
    return PROCESSES * sum(map(max, groups)) / sum(loads)


def build(layers: int):
    """A random model of the embedded one's kind and vocabulary, much smaller, of so many layers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(models.resolve(models.EMBEDDED), trust_remote_code=False)
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = layers, 192, 512
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = 3, 1, 64
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32,
                                            attn_implementation=models.attention())


def step(kind: str, model, tokenizer, data) -> float:
    """Seconds of one optimizer step over the samples `data`, all in one micro batch."""
    import torch
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from metarfft_core.training.process.trainer import Trainer

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.began = time.perf_counter()

        def on_step_end(self, *_, **__):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.took = time.perf_counter() - self.began

    rows, size = batches.packed(data, [list(range(len(data)))]), 1
    if kind == PADDED:
        rows, size = data.map(lambda one: {"labels": batches.labels(one)},
                              remove_columns=data.column_names[:-3]), len(data)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = (Trainer if kind == KIT else SFTTrainer)(
            model=model, processing_class=tokenizer, train_dataset=rows, callbacks=[clock],
            args=SFTConfig(
                output_dir=folder, max_steps=1, max_length=None, padding_free=kind != PADDED,
                per_device_train_batch_size=size, dataset_kwargs={"skip_prepare_dataset": True},
                remove_unused_columns=False, save_strategy="no", report_to="none",
                disable_tqdm=True, use_cpu=not torch.cuda.is_available(),
                dataloader_pin_memory=torch.cuda.is_available()))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.took


def speeds(tokenizer, data, batch: int, layers: int, rounds: int) -> dict[str, list[float]]:
    """Tokens of samples a second of each kind, round by round, after a warm-up on one sample."""
    import logging

    logging.getLogger("trl").setLevel(logging.ERROR)  # it takes our rows for single samples
    built = {kind: build(layers) for kind in (KIT, PADDED, LAID)}
    found: dict[str, list[float]] = {kind: [] for kind in built}
    for number, places in enumerate([[0], *in_order(len(data), batch)[:rounds]]):
        samples = data.select(places)
        for kind, model in built.items():
            rate = sum(samples["tokens"]) / step(kind, model, tokenizer, samples)
            if number:
                found[kind].append(rate)
                print(f"round {number}: {kind}, {sum(samples['tokens']):,} tokens, "
                      f"{rate:.0f} a second", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Training without padding, against trl's.")
    parser.add_argument("--samples", type=int, default=2, help="of a length (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of steps (%(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="samples of a step (%(default)s)")
    parser.add_argument("--layers", type=int, default=2, help="of the model (%(default)s)")
    options = parser.parse_args()
    tokenizer, data = draw(options.samples)
    tokens = list(data["tokens"])
    print(f"{len(tokens):,} samples, {statistics.mean(tokens):,.0f} tokens on average, "
          f"{max(tokens):,} at the most; {sum(count > CUT for count in tokens) / len(tokens):.1%} "
          f"of them longer than {CUT:,}")
    print("micro batch  share, kit  share, trl  fullest/mean, kit  in the samples' order")
    for micro in (2, 4, 8):
        ours = batches.micro_batches(tokens, 256, micro)
        plain = in_order(len(tokens), micro)
        print(f"{micro:11}  {share(data, tokenizer, ours, False):10.3f}  "
              f"{share(data, tokenizer, plain, True):10.3f}  {imbalance(tokens, ours):17.3f}  "
              f"{imbalance(tokens, plain):21.3f}", flush=True)
    found = speeds(tokenizer, data, options.batch, options.layers, options.rounds)
    middle = {kind: statistics.median(rates) for kind, rates in found.items()}
    for kind, rates in found.items():
        print(f"{kind:20}  {middle[kind]:7.0f} tokens/s ({min(rates):.0f} to {max(rates):.0f}), "
              f"{middle[kind] / middle[PADDED]:.2f} times trl's")


if __name__ == "__main__":
    main()
