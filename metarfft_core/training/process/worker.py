"""One supervised fine-tuning, for RF-pretraining, adaptation and every baseline (Section 4.1).

`launch` starts a training as a process of its own. To train on several machines, start it by hand
on each of them; `launch` then finds it finished:

    accelerate launch --config_file FILE -m metarfft_core.training --params FILE --stage pretrain

The loss is computed on the completion alone, including the end token, and no sample is ever
truncated. A training that was killed at any time resumes from its last whole checkpoint, with the
same samples in the same order, which the seed alone decides. AdamW with the defaults of
transformers is our assumption, because the paper does not say.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from metarfft_core import models, params
from metarfft_core.params import Params, ParamsError
from metarfft_core.system import elapsed, processes
from metarfft_core.system.files import all_sha256, explain, write_json, write_whole
from metarfft_core.training import batches
from metarfft_core.training.job import (
    PRODUCTS,
    STAGES,
    Job,
    base_folder,
    finished,
    kept_jobs,
    read_log,
)
from metarfft_core.training.merging import pissa_start_of
from metarfft_core.training.process import acceleration, checkpoints, record

if TYPE_CHECKING:
    from datasets import Dataset

WAIT_SECONDS = 12 * 3600  # how long the other processes wait for the first to make the PiSSA start
_SCHEDULERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def train(job: Job) -> Path:
    """Run one training in this process.

    A finished training is skipped. An interrupted one resumes.

    Returns:
        The folder of the training.

    Raises:
        ParamsError: Before the model is loaded, if the batch does not divide over the processes, if
            a sample is longer than the context, or as `finished` does.
    """
    if not finished(job):
        world = int(os.environ.get("WORLD_SIZE", 1))
        accumulation = batches.accumulation_steps(job.settings, world)
        _check_trackers(job.config)
        with processes.alone(job.folder) if _is_main() else nullcontext():
            # Another process may have finished it while this one waited for the folder.
            if not _agreed(finished(job), world):
                if _is_main():
                    job.manifest.unlink(missing_ok=True)  # of a training that lost a file
                _train(job, accumulation)
    if _is_main():
        shutil.rmtree(job.folder / "checkpoints", ignore_errors=True)
    return job.folder


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _agreed(value: bool, world: int) -> bool:
    """Return the value of the first process on all processes.

    Each process could otherwise see a different state of the folder and wait for the others
    forever.
    """
    if world == 1:
        return value
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    gpu = torch.cuda.is_available()
    PartialState(cpu=not gpu, timeout=timedelta(seconds=WAIT_SECONDS),
                 **({} if gpu else {"backend": "gloo"}))
    return broadcast_object_list([value])[0]


def _check_trackers(config: Params) -> None:
    for name in config.trackers:
        if find_spec(name) is None:
            raise ParamsError(f"trackers: the package {name} is not installed")


@dataclass(frozen=True)
class _Origin:
    """The model that a training starts from."""

    base: str  # the folder of its weights
    pissa: Path | None  # the PiSSA start; None for a full fine-tuning


@dataclass(frozen=True)
class _Course:
    """The samples of a training in their order, and how they are packed."""

    samples: "Dataset"
    bins: list[list[int]]  # the positions of the samples in each micro batch
    steps_per_epoch: float


def _train(job: Job, accumulation: int) -> None:
    base = base_folder(job)
    tokenizer = models.load_tokenizer(base, job.config.model.chat_template)
    data = batches.load_training(job, tokenizer)
    validation = batches.load_validation(job, tokenizer)
    settings = job.settings
    tokens = [data.samples["tokens"][row] for row in data.order]
    bins = batches.micro_batches(tokens, settings.batch_size, settings.micro_batch_size)
    fullest = max(sum(tokens[position] for position in positions) for positions in bins)
    arguments = _arguments(job, base, len(data.order) // settings.batch_size, accumulation, fullest)
    checkpoint = checkpoints.last(job.folder / "checkpoints")
    with arguments.main_process_first():
        start = pissa_start_of(job, base)
        if checkpoint and _is_main():
            checkpoints.verify(checkpoint)
    samples = data.samples.select(data.order)
    if checkpoint:
        checkpoints.check_kind(checkpoint)
    if checkpoint is None or not checkpoints.stopped(checkpoint):
        _fit(job, arguments, checkpoint, _Origin(base, start), tokenizer,
             _Course(samples, bins, data.steps_per_epoch), validation)
    if _is_main():
        _finish(job, Path(base), start, samples, arguments, tokenizer,
                resumed=checkpoint is not None)


def _sharded() -> bool:
    """Return whether accelerate was told to shard the model over the processes."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false") == "true"


def _arguments(job: Job, base: str, steps: int, accumulation: int, fullest: int):
    """Return the trainer's arguments; `fullest` is the size of the fullest micro batch in tokens.

    A row of the data is a whole micro batch, so the trainer's own batch is one row.
    """
    import torch
    from trl import SFTConfig

    settings, gpu = job.settings, torch.cuda.is_available()
    models.attention()  # refuses a wrong variable before a model is loaded
    early = settings.early_stopping_patience is not None
    if "tensorboard" in job.config.trackers:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(job.folder / "tensorboard")
    # Otherwise each GPU would keep whole gradients while it accumulates.
    each = {"gradient_accumulation_kwargs": {"sync_each_batch": True}}
    return SFTConfig(
        output_dir=str(job.folder / "checkpoints"), max_steps=steps, max_length=None,
        padding_free=True, per_device_train_batch_size=1, per_device_eval_batch_size=1,
        gradient_accumulation_steps=accumulation,
        dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False,
        train_sampling_strategy="sequential",  # the rows are already in the order of `sample_order`
        learning_rate=settings.learning_rate, lr_scheduler_type=_SCHEDULERS[settings.scheduler],
        warmup_steps=round(settings.warmup_ratio * steps), weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm, seed=job.order_seed, use_cpu=not gpu,
        bf16=models.compute() == "bfloat16", gradient_checkpointing=acceleration.recomputes(
            base, settings.rank, fullest, _sharded()),
        eval_strategy="steps", eval_steps=settings.evaluate_every,
        save_strategy="steps", save_steps=settings.save_every,
        metric_for_best_model="eval_loss" if early else None, greater_is_better=False,
        restore_callback_states_from_checkpoint=early,
        logging_steps=1, logging_nan_inf_filter=False, disable_tqdm=True,
        report_to=list(job.config.trackers) or "none", run_name=f"{job.config.name} {job.name}",
        accelerator_config=each if _sharded() and settings.method == "full" else None,
        dataloader_pin_memory=gpu, ddp_timeout=WAIT_SECONDS, ddp_find_unused_parameters=False,
        ddp_backend="gloo" if not gpu and "WORLD_SIZE" in os.environ else None)


def _load_model(origin: _Origin):
    """Load the model to train.

    The weights of a full fine-tuning stay in float32, because updates at the paper's learning rate
    of 1e-5 are lost when bfloat16 weights are rounded. It computes in bfloat16 if that is fast.
    """
    import torch
    from transformers import AutoModelForCausalLM

    attention = models.attention()
    if origin.pissa is None:
        model = AutoModelForCausalLM.from_pretrained(origin.base, dtype=torch.float32,
                                                     trust_remote_code=False,
                                                     attn_implementation=attention)
    else:
        model = models.load_pissa(origin.pissa, getattr(torch, models.compute()),
                                  attn_implementation=attention)
    acceleration.fuse(model, origin.base)
    return model


def _fit(job: Job, arguments, checkpoint: Path | None, origin: _Origin, tokenizer,
         course: _Course, validation: "Dataset") -> None:
    """Train from the start or from a checkpoint; the last checkpoint is kept."""
    import logging

    import transformers
    from peft.helpers import disable_input_dtype_casting
    from transformers.trainer_callback import EarlyStoppingCallback, PrinterCallback

    from metarfft_core.training.process.kept_steps import Keep
    from metarfft_core.training.process.trainer import CheckpointWriter, Log, Trainer

    samples = course.samples
    keep = Keep(kept_jobs(job), lambda one, source: _finish(
        one, Path(origin.base), origin.pissa, samples, arguments, tokenizer, source))
    if _is_main():
        keep.begin(job, arguments.max_steps, checkpoint)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)  # it mistakes our rows for single samples
    log = _resume_log(job.folder, checkpoint)
    arguments.eval_on_start = checkpoint is None
    held_out = batches.micro_batches(validation["tokens"], len(validation),
                                     job.settings.micro_batch_size)
    trainer = Trainer(model=_load_model(origin), args=arguments,
                      train_dataset=batches.packed(samples, course.bins),
                      eval_dataset=batches.packed(validation, held_out),
                      processing_class=tokenizer)
    if _sharded():
        trainer.check_sharded()
    trainer.remove_callback(PrinterCallback)
    patience = job.settings.early_stopping_patience
    if patience is not None:
        trainer.add_callback(EarlyStoppingCallback(patience))
    trainer.writer = keep.writer = CheckpointWriter(in_background=_sharded())
    trainer.add_callback(trainer.writer)
    trainer.add_callback(keep)
    trainer.add_callback(Log(job.folder / "log.jsonl", job.settings.batch_size,
                             course.steps_per_epoch, samples["tokens"],
                             samples["completion_tokens"], log[-1]["seconds"] if log else 0.0))
    trainer.check_batches(tokenizer, samples, course.bins)
    # Autocast alone casts the inputs of an adapter. peft casts them to float32 first; the bits are
    # the same either way.
    with disable_input_dtype_casting(trainer.model, active=arguments.bf16):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.writer.wait()


def _resume_log(folder: Path, checkpoint: Path | None) -> list[dict]:
    """Remove the log lines after the checkpoint, so that no step is logged twice."""
    step = checkpoints.state(checkpoint)["global_step"] if checkpoint else -1
    log = [line for line in read_log(folder) if line["step"] <= step]
    if _is_main():
        write_whole(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in log))
        whole = checkpoints.whole(folder / "checkpoints")
        for path in (folder / "checkpoints").glob("checkpoint-*"):
            if path not in whole:
                shutil.rmtree(path)
        if checkpoint:
            print(f"resuming from step {step}", flush=True)
    return log


def _finish(job: Job, base: Path, start: Path | None, samples, arguments, tokenizer,
            kept: Path | None = None, resumed: bool = False) -> None:
    """Write the trained weights and, last of all, the manifest; `kept` is a kept checkpoint."""
    checkpoint = kept or checkpoints.last(job.folder / "checkpoints")
    change = _write_weights(job, base, start, checkpoint)
    steps = checkpoints.state(checkpoint)["global_step"]
    used = steps * job.settings.batch_size
    write_json(job.manifest, {
        "stage": job.stage, "task": job.task, "method": job.method,
        **record.provenance(job, tokenizer),
        "base_model": {"name": base.name, "sha256": models.weights_hash(base),
                       "model_sha256": models.model_hash(base)},
        "samples": used, "steps": steps,
        "model_step": checkpoints.model_step(checkpoint),
        "tokens": sum(samples["tokens"][:used]),
        "completion_tokens": sum(samples["completion_tokens"][:used]),
        **record.summary(read_log(job.folder)),
        "processes": arguments.world_size, "device": arguments.device.type,
        "gpu": processes.gpu_name(), "compute": "bfloat16" if arguments.bf16 else "float32",
        "attention": models.attention(), "recomputation": arguments.gradient_checkpointing,
        "fused_layers": acceleration.fused(base), "compiled": arguments.torch_compile,
        **record.of_start(start),
        **_made(job),
        "relative_change": change, "peak_memory_gib": record.peak_memory(),
        # with the launch; what interrupted processes took is not known
        "launch_seconds": None if kept or resumed else elapsed.lap()})
    print(f"{job.name}: {steps} steps, finished, in {job.folder}", flush=True)


def _made(job: Job) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of every file that a training made, with the weights listed separately."""
    paths = [job.folder / "log.jsonl", *(
        path for part in PRODUCTS for path in sorted((job.folder / part).glob("*"))
        if path.is_file())]
    made = {str(path.relative_to(job.folder)): value
            for path, value in zip(paths, all_sha256(paths), strict=True)}
    weights = {name: value for name, value in made.items() if name.endswith(".safetensors")}
    return {"weights": weights, "files": {name: value for name, value in made.items()
                                          if name not in weights}}


def _write_weights(job: Job, base: Path, start: Path | None, checkpoint: Path) -> float:
    """Write the results of a training; returns the relative change of the weights.

    A full fine-tuning writes the model. PiSSA writes the adapter and, for RF-pretraining, also the
    merged model that adaptations start from.
    """
    trained = models.Weights(checkpoint / checkpoints.SHARDS, "model")
    if start is None:
        models.save(models.load_full(base, checkpoint, trained), base, job.folder / "model",
                    job.config.model.chat_template)
        return models.change_full(base, trained)
    name = str(base) if job.after_pretraining else job.config.model.name
    trained.write_adapter(checkpoint)
    models.save_adapter(start, checkpoint, name, job.folder)
    if job.stage == "pretrain":
        models.save(models.merge_pissa(start, job.folder / "adapter"), base, job.folder / "model",
                    job.config.model.chat_template)
    return models.change_pissa(base, start, checkpoint)


def main(arguments: list[str] | None = None) -> int:
    """Run one training from the command line.

    Returns:
        0, 1 for an error of the system, 2 for a user's error.
    """
    elapsed.begin()
    parser = argparse.ArgumentParser(prog="python -m metarfft_core.training",
                                     description="One supervised fine-tuning of a run.")
    parser.add_argument("--params", required=True, metavar="FILE")
    parser.add_argument("--stage", required=True, choices=STAGES)
    parser.add_argument("--task")
    parser.add_argument("--method")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only-start", action="store_true",
                        help="make the PiSSA start of the training, and end")
    options = parser.parse_args(arguments)

    def work(config: Params) -> None:
        job = Job.named(config, options.stage, task=options.task, method=options.method,
                        seed=options.seed)
        if options.only_start:
            pissa_start_of(job, base_folder(job))
        else:
            train(job)

    return status_of(work, options.params)


def status_of(work: Callable[[Params], None], file: str) -> int:
    """Do the work of a training process; returns its exit status, as `main` does.

    Args:
        work: What is done with the run's parameters.
        file: The parameter file.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        config = params.load(file)
        params.open_folder(config)
        work(config)
    except (ParamsError, OSError) as error:
        user = isinstance(error, ParamsError)
        print(f"error: {error if user else explain(error)}", file=sys.stderr)
        return 2 if user else 1
    finally:
        if "torch" in sys.modules:
            from torch import distributed

            if distributed.is_initialized():
                distributed.destroy_process_group()
    return 0
