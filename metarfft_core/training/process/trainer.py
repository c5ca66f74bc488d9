"""The trainer of one fine-tuning: trl's, with an exact validation loss and a plain log.

This module imports torch and trl, so it is imported only when a training starts. A batch here is
one packed micro batch: one row, whose `position_ids` restart with every sample.
"""

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import DistributedType
from torch import distributed
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback
from trl import SFTTrainer

from metarfft_core import models
from metarfft_core.models import operations, shards
from metarfft_core.params import ParamsError
from metarfft_core.system import processes
from metarfft_core.system.files import naming
from metarfft_core.training.process import checkpoints

PEAK_TFLOPS = {"H100": 989, "H200": 989, "H800": 989, "H20": 148, "A100": 312, "A800": 312,
               "B200": 2250, "L40S": 362}
"""Dense bfloat16 peaks of GPUs by a part of their name, from the makers' data sheets."""


class Trainer(SFTTrainer):
    """trl's trainer with the loss on completions only, summed exactly during validation."""

    waited = 0.0  # seconds, for the checkpoint since the last step

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the mean loss over the step's `num_items_in_batch` completion tokens.

        On a GPU this is trl's own loss. It works tile by tile, so it never holds all logits. On a
        CPU trl would also score every prompt token, which takes most of a small model's time.
        """
        if inputs["labels"].is_cuda:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss, _ = _summed_loss(model, inputs)
        # Several processes average their gradients.
        return loss / num_items_in_batch * self.accelerator.num_processes

    def evaluate(self, *_, **__) -> dict[str, float]:
        """Return the mean loss over all validation completion tokens.

        trl's own validation loss is a mean of batch means.
        """
        self.model.eval()
        total = torch.zeros(2, dtype=torch.float64)  # summed loss, tokens
        for batch in self.get_eval_dataloader():
            with torch.no_grad(), self.compute_loss_context_manager():
                found = torch.stack(_summed_loss(self.model_wrapped, self._prepare_inputs(batch)))
            # Leave out the rows that pad the last batch over several processes.
            total += self.accelerator.gather_for_metrics(found[None]).sum(0).cpu()
        metrics = {"eval_loss": (total[0] / total[1]).item(), "eval_tokens": int(total[1])}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control,
                                                         metrics)
        return metrics

    def check_sharded(self) -> None:
        """Raise ParamsError if accelerate was told to shard the model but would not.

        Also makes FSDP sum the gradients over the processes in float32; accelerate would use
        bfloat16.
        """
        if self.accelerator.distributed_type != DistributedType.FSDP:
            raise ParamsError("accelerate was told to shard the model (FSDP), but on a CPU it "
                              "gives every process a whole model: leave FSDP out there")
        self.accelerator.state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if self.args.bf16 else None, reduce_dtype=torch.float32)

    def check_batches(self, tokenizer, samples, bins: list[list[int]]) -> None:
        """Check the micro batches of the first step as the model receives them.

        They must hold whole samples, each with its own positions, and the loss on completions only.
        """
        first = self.args.gradient_accumulation_steps * self.args.world_size
        for number, positions in enumerate(bins[:first]):
            expected = {"input_ids": [], "labels": [], "position_ids": []}
            for position in positions:
                row = samples[position]
                prompt = models.encode_prompt(tokenizer, row["prompt"])
                completion = models.encode_completion(tokenizer, row["completion"])
                expected["input_ids"] += prompt + completion
                expected["labels"] += [-100] * len(prompt) + completion
                expected["position_ids"] += range(len(prompt) + len(completion))
            got = self.data_collator([self.train_dataset[number]])
            wrong = [key for key, values in expected.items() if got[key][0].tolist() != values]
            if wrong:
                raise RuntimeError(f"micro batch {number} would not be trained on as it should: "
                                   f"{', '.join(wrong)} differ (task {row['task']}, length "
                                   f"{row['length']})")
        if self.is_world_process_zero():
            print(f"loss on {len(completion)} of {len(prompt) + len(completion)} tokens of a "
                  f"sample, up to its {tokenizer.decode(completion[-8:])!r}", flush=True)

    def _determine_best_metric(self, metrics, trial):
        """Keep the weights of the best validation in host memory; save when it ends the training.

        Every checkpoint holds them, so none has to be written at each validation.
        """
        better = super()._determine_best_metric(metrics, trial)
        if better:
            self.best = shards.copied(shards.trained(self.model))
        if self.control.should_training_stop:
            self.control.should_save = True
        return better

    def _save_checkpoint(self, *arguments, **options):
        """Save what transformers does beside weights and optimizer, then these in shards.

        An error of the disk names the folder. The seconds that the training waits are logged with
        the next step.
        """
        began = time.monotonic()
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        self.writer.wait()
        with naming(folder.parent):
            super()._save_checkpoint(*arguments, **options)
        self.writer.write(folder, self._resumed_from())
        self.waited = time.monotonic() - began

    def _resumed_from(self) -> dict:
        """Return what a checkpoint of this step holds, by parts.

        A checkpoint that is written while the training continues is a copy. After the last step
        no copy is needed, because the weights no longer change.
        """
        best, weights = self.state.best_global_step, shards.trained(self.model)
        if self.control.should_training_stop:
            return {"model": self.best if best else weights}
        copied = shards.copied if self.writer.in_background else dict
        state = {"model": self.best if best == self.state.global_step else copied(weights),
                 "optimizer": copied(shards.optimizer_state(self.model, self.optimizer))}
        return state | ({"best": self.best} if best not in (None, self.state.global_step) else {})

    def save_model(self, output_dir=None, _internal_call=False) -> None:
        """Write the configuration alone; the weights are in the shards."""
        if self.is_world_process_zero():
            self.model.config.save_pretrained(output_dir)
            if self.model.generation_config is not None:
                self.model.generation_config.save_pretrained(output_dir)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.is_world_process_zero():
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        folder = Path(resume_from_checkpoint) / checkpoints.SHARDS
        shards.load({"model": shards.trained(self.model)}, folder)
        if self.args.metric_for_best_model:
            self.best = shards.copied(shards.trained(self.model))
            if "best" in shards.parts(folder):
                shards.load({"best": self.best}, folder)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            shards.load_optimizer(self.model, self.optimizer, Path(checkpoint) / checkpoints.SHARDS)
            self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / "scheduler.pt",
                                                         weights_only=True))

    def log(self, logs: dict, *arguments) -> None:
        """Log as transformers does; the first step after a checkpoint says how long it took."""
        if "loss" in logs and self.waited:
            logs["checkpoint_seconds"], self.waited = round(self.waited, 3), 0.0
        super().log(logs, *arguments)

    def create_model_card(self, *_, **__) -> None:
        """Write no card, because the checkpoint is deleted at the end."""


def _summed_loss(model, inputs: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the summed loss of a row's completion tokens, and their number, as scalars."""
    if inputs["labels"].is_cuda:
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        return -outputs.log_probs.sum(), outputs.label_mask.sum().float()
    labels = inputs["labels"][0]
    trained = (labels != -100).nonzero()[:, 0]
    logits = model(input_ids=inputs["input_ids"], position_ids=inputs["position_ids"],
                   use_cache=False, logits_to_keep=trained - 1).logits[0]
    loss = cross_entropy(logits.float(), labels[trained], reduction="sum")
    return loss, torch.tensor(float(len(trained)))


def peak_flops() -> float | None:
    """Return the bfloat16 peak of this process's GPU in operations per second; None if unknown."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((peak * 1e12 for part, peak in PEAK_TFLOPS.items() if part in name), None)


class CheckpointWriter(TrainerCallback):
    """Writes the checkpoints of a training, each process its own files.

    A checkpoint counts once all processes have written and hashed theirs: see `checkpoints`.

    Args:
        in_background: Whether the training continues meanwhile. Then what is written must not
            change.
    """

    def __init__(self, in_background: bool):
        self.in_background = in_background
        self._group = None
        if distributed.is_initialized():  # a group for host memory that the training does not use
            self._group = distributed.new_group(backend="gloo", timeout=timedelta(hours=12))
        self._thread = ThreadPoolExecutor(1)
        self._pending = None

    def write(self, checkpoint: Path, state: dict) -> None:
        """Write a checkpoint, after the one before it."""
        self.wait()
        self._pending = self._thread.submit(self._write, checkpoint, state)
        if not self.in_background:
            self.wait()

    def _write(self, checkpoint: Path, state: dict) -> None:
        shards.save(state, checkpoint / checkpoints.SHARDS, self._group)
        process = distributed.get_rank() if self._group else 0
        every = [checkpoints.hashes(checkpoint, process)]
        if self._group:
            own, every = every[0], [None] * distributed.get_world_size() if process == 0 else None
            distributed.gather_object(own, every, group=self._group)
        if process == 0:
            checkpoints.seal(checkpoint, {name: value for own in every
                                          for name, value in own.items()})
            checkpoints.remove_old(checkpoint.parent)

    def wait(self) -> None:
        """Wait until the last checkpoint is whole; raises what kept it from that."""
        if self._pending is not None:
            self._pending.result()

    def on_step_end(self, args, state, control, **_):
        """Stop the training at once if a checkpoint could not be written."""
        if self._pending is not None and self._pending.done():
            self._pending.result()


class Log(TrainerCallback):
    """Writes log.jsonl during the training and prints a line per step.

    Args:
        path: The log file.
        batch_size: Samples per step.
        steps_per_epoch: The steps that one pass over the data takes.
        tokens: The tokens of each training sample, in order.
        completion_tokens: The completion tokens of each training sample, in order.
        seconds: The time that earlier processes of this training took.
    """

    def __init__(self, path: Path, batch_size: int, steps_per_epoch: float,
                 tokens: list[int], completion_tokens: list[int], seconds: float):
        self.path, self.batch_size, self.steps_per_epoch = path, batch_size, steps_per_epoch
        self.tokens, self.completion_tokens = list(tokens), list(completion_tokens)
        self.origin = time.monotonic() - seconds
        self.took = []  # seconds of each step in this process

    def on_train_begin(self, args, state, control, model=None, **_):
        peak = peak_flops()
        self.peak = peak and peak * args.world_size
        self.operations = operations.of_model(model) if peak else None

    def on_step_begin(self, args, state, control, **_):
        self.began = time.monotonic()

    def on_log(self, args, state, control, logs, **_):
        if not state.is_world_process_zero:
            return
        if "eval_loss" in logs:
            self._write({"step": state.global_step, "validation_loss": logs["eval_loss"],
                         "validation_tokens": logs["eval_tokens"]})
            print(f"step {state.global_step}/{state.max_steps}  "
                  f"validation loss {logs['eval_loss']:.4f}", flush=True)
        elif "loss" in logs:
            self._step(state, logs)

    def _step(self, state, logs: dict) -> None:
        if not math.isfinite(logs["loss"]):
            raise RuntimeError(f"the loss is {logs['loss']} at step {state.global_step}")
        self.took.append(time.monotonic() - self.began)
        rows = slice((state.global_step - 1) * self.batch_size,
                     state.global_step * self.batch_size)
        lengths, scored = self.tokens[rows], sum(self.completion_tokens[rows])
        tokens = sum(lengths)
        rate = tokens / self.took[-1]
        self._write({"step": state.global_step, "epoch": state.global_step / self.steps_per_epoch,
                     "loss": logs["loss"], "grad_norm": logs["grad_norm"],
                     "learning_rate": logs["learning_rate"],
                     "tokens": tokens, "completion_tokens": scored,
                     "tokens_per_second": round(rate, 1),
                     "mfu": self._mfu(lengths, scored),
                     "memory_gib": round(_memory(), 2),
                     **{key: logs[key] for key in ("checkpoint_seconds",) if key in logs}})
        left = (state.max_steps - state.global_step) * sum(self.took) / len(self.took)
        print(f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}  "
              f"{rate:.0f} tokens/s  {left / 60:.1f} min left", flush=True)

    def _mfu(self, lengths: list[int], scored: int) -> float | None:
        """Return the share of the GPUs' peak in the last step, without what is recomputed."""
        if not self.peak:
            return None
        done = self.operations.training(sum(lengths), scored, sum(one**2 for one in lengths))
        return round(done / self.took[-1] / self.peak, 4)

    def _write(self, line: dict) -> None:
        line["seconds"] = round(time.monotonic() - self.origin, 2)
        with naming(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _memory() -> float:
    """Return the peak memory in GiB: of the GPU if there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return processes.peak_memory()
