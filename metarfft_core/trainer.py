"""The trainer of one fine-tuning: trl's, with an exact validation loss and a plain log.

It imports torch and trl, and is itself imported where a training starts.
"""

import json
import math
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback
from trl import SFTTrainer


class Trainer(SFTTrainer):
    """trl's trainer, its loss taken where a completion is, and summed exactly when validating."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean loss over the step's completion tokens (`num_items_in_batch` of them).

        On a GPU it is trl's own: tile by tile, so that all logits are never held. Its fallback on
        a CPU scores every prompt token too and takes most of a small model's time.
        """
        if inputs["labels"].is_cuda:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        losses, _ = _losses(model, inputs)
        # Several processes average their gradients.
        return losses.sum() / num_items_in_batch * self.accelerator.num_processes

    def evaluate(self, *_, **__) -> dict[str, float]:
        """The validation loss over all completion tokens; trl's own is a mean of batch means."""
        self.model.eval()
        total = torch.zeros(2, dtype=torch.float64)  # summed loss, tokens
        for batch in self.get_eval_dataloader():
            with torch.no_grad(), self.compute_loss_context_manager():
                losses, mask = _losses(self.model, self._prepare_inputs(batch))
            samples = torch.stack([losses.sum(1), mask.sum(1)], dim=1)
            # Rows that fill up the last batch over several processes are left out again.
            total += self.accelerator.gather_for_metrics(samples).sum(0).cpu()
        metrics = {"eval_loss": (total[0] / total[1]).item(), "eval_tokens": int(total[1])}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control,
                                                         metrics)
        return metrics

    def create_model_card(self, *_, **__) -> None:
        """No card beside a checkpoint that is deleted at the end."""


def _losses(model, inputs: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of each token from the batch's first completion token on, and which count.

    Both are of shape (samples, tokens); the loss is 0 where a token does not count.
    """
    labels = inputs["labels"]
    first = int((labels != -100).any(0).nonzero()[0])
    targets = labels[:, first:]
    before = torch.arange(first - 1, labels.shape[1] - 1, device=labels.device)
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
                   use_cache=False, logits_to_keep=before).logits
    losses = cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    return losses.view(targets.shape), targets != -100


class Log(TrainerCallback):
    """Writes log.jsonl as the training goes, and prints a line a step.

    `tokens` and `completion_tokens` belong to each training sample in order, `epoch` is the
    number of steps that a pass over the data takes, `seconds` what an earlier process took.
    """

    def __init__(self, path: Path, batch_size: int, epoch: float, tokens: list[int],
                 completion_tokens: list[int], seconds: float):
        self.path, self.batch_size, self.epoch = path, batch_size, epoch
        self.tokens, self.completion_tokens = list(tokens), list(completion_tokens)
        self.origin = time.monotonic() - seconds
        self.took = []  # seconds of each step in this process

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
        tokens = sum(self.tokens[rows])
        rate = tokens / self.took[-1]
        self._write({"step": state.global_step, "epoch": state.global_step / self.epoch,
                     "loss": logs["loss"], "learning_rate": logs["learning_rate"],
                     "tokens": tokens, "completion_tokens": sum(self.completion_tokens[rows]),
                     "tokens_per_second": round(rate, 1)})
        left = (state.max_steps - state.global_step) * sum(self.took) / len(self.took)
        print(f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}  "
              f"{rate:.0f} tokens/s  {left / 60:.1f} min left", flush=True)

    def _write(self, line: dict) -> None:
        line["seconds"] = round(time.monotonic() - self.origin, 2)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
