"""One supervised fine-tuning, for RF-pretraining, adaptation and every baseline (Section 4.1).

`launch` starts a training as a process of its own; on several machines or with a configuration
of accelerate's, start it by hand and let `launch` find it finished:

    accelerate launch --config_file FILE -m metarfft_core.training --params FILE --stage pretrain

The loss is taken on the completion alone, the end token included, and nothing is ever cut. A
training killed at any time goes on from its last whole checkpoint, over the same samples in the
same order, which the seed alone decides. Where the paper is silent, AdamW with the defaults of
transformers is our assumption.
"""

import argparse
import json
import os
import random
import resource
import shutil
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from metarfft_core import models, params
from metarfft_core.files import read_json, sha256, write_json, write_whole
from metarfft_core.params import METHODS, Params, ParamsError
from metarfft_core.processes import alone, follow

STAGES = ("pretrain", "adapt")
RECOMPUTE_FROM = 2048  # tokens of a micro batch from which activations are recomputed on a CPU
WAIT_SECONDS = 12 * 3600  # how long other processes wait for the first one's PiSSA start
_SCHEDULERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


@dataclass(frozen=True)
class Job:
    """One training of a run: RF-pretraining, or the adaptation to a task with a method."""

    run: Params
    stage: str
    task: str | None = None
    method: str | None = None

    def __post_init__(self):
        tasks, methods = self.run.corpus.adaptation.tasks, self.run.adaptation.methods
        if self.stage not in STAGES:
            raise ParamsError(f"stage: expected {' or '.join(STAGES)}, got {self.stage!r}")
        if self.stage == "pretrain" and (self.task or self.method):
            raise ParamsError("stage pretrain takes no task and no method, "
                              f"got {self.task!r} and {self.method!r}")
        if self.stage == "adapt" and self.task not in tasks:
            raise ParamsError(f"task: expected one of {', '.join(tasks)}, got {self.task!r}")
        if self.stage == "adapt" and self.method not in methods:
            raise ParamsError(f"method: expected one of {', '.join(methods)}, "
                              f"got {self.method!r}")

    @property
    def name(self) -> str:
        return " ".join(part for part in (self.stage, self.task, self.method) if part)

    @property
    def folder(self) -> Path:
        parts = ("pretrain",) if self.stage == "pretrain" else ("adapt", self.task, self.method)
        return self.run.folder.joinpath(*parts)

    @property
    def settings(self) -> params.Training:
        return self.run.pretraining if self.stage == "pretrain" else self.run.adaptation

    @property
    def format(self) -> str:
        return METHODS[self.method or "meta_rfft"]

    @property
    def splits(self) -> tuple[str, str]:
        """The corpus splits to train and to validate on."""
        if self.stage == "pretrain":
            return "pretrain", "validation"
        return "adaptation", "adaptation_validation"

    @property
    def after_pretraining(self) -> bool:
        return self.method == "meta_rfft"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"


def stage_folder(run: Params, stage: str, task: str | None = None,
                 method: str | None = None) -> Path:
    """The folder of one training, with its log, its model and its manifest."""
    return Job(run, stage, task, method).folder


def model_folder(run: Params, stage: str, task: str | None = None,
                 method: str | None = None) -> Path:
    """The trained model: plain bfloat16 safetensors with tokenizer and chat template."""
    return stage_folder(run, stage, task, method) / "model"


def read_log(folder: Path) -> list[dict]:
    """The lines of a training's log.jsonl; a last line that was cut by a kill is left out.

    A step's line holds step, epoch (passes over the data), loss (mean over the batch's completion
    tokens), learning_rate, tokens, completion_tokens, tokens_per_second and seconds (since the
    training began, time between a kill and its resume not counted); a look at the validation data
    holds step, validation_loss (mean over all its completion tokens), validation_tokens, seconds.
    """
    lines = []
    path = folder / "log.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def launch(run: Params, stage: str, task: str | None = None, method: str | None = None) -> Path:
    """Run one training under `accelerate launch`, a process a GPU, printing what it prints.

    Returns the stage's folder, at once where the training is finished. Raises ParamsError for a
    user's error, RuntimeError with the last lines where the training fails.
    """
    job = Job(run, stage, task, method)
    params.open_folder(run)
    if finished(job):
        print(f"{job.name}: finished, in {job.folder}")
        return job.folder
    models.resolve(run.model.name)  # refuses or downloads it here: the training itself is offline
    command = [sys.executable, "-m", "accelerate.commands.launch", *_launch_options(),
               "-m", "metarfft_core.training", "--params", str(run.folder / "params.yaml"),
               "--stage", stage]
    for option, value in (("--task", task), ("--method", method)):
        command += [option, value] if value else []
    follow(command, f"training {job.name}")
    return job.folder


def launch_all(run: Params) -> None:
    """Run every training of a run: RF-pretraining, then each task's adaptation with each method."""
    launch(run, "pretrain")
    for task in run.corpus.adaptation.tasks:
        for method in run.adaptation.methods:
            launch(run, "adapt", task, method)


def _launch_options() -> list[str]:
    """Everything that accelerate would otherwise guess, and warn about."""
    import torch

    processes = max(1, torch.cuda.device_count())  # counts through NVML: CUDA stays untouched
    kind = ["--cpu"] if not torch.cuda.device_count() else []
    kind += ["--multi_gpu"] if processes > 1 else []
    # Where neither is given, accelerate trains on one thread.
    threads = os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)) // processes or 1)
    return ["--quiet", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
            "--num_processes", str(processes), "--num_cpu_threads_per_process", str(threads),
            *kind]


def finished(job: Job) -> bool:
    """Whether this training is done; ParamsError where it cannot be started, or is another's."""
    if job.manifest.exists():
        digest = read_json(job.manifest)["params_digest"]
        if digest != job.run.digest:
            raise ParamsError(f"{job.folder} was trained with other parameters (digest {digest}, "
                              f"this run has {job.run.digest}): give this run another name, or "
                              "delete that folder")
        return True
    if job.after_pretraining and not finished(Job(job.run, "pretrain")):
        raise ParamsError(f"{job.name} starts from the RF-pretrained model: finish the stage "
                          f"pretrain of run {job.run.name} first")
    return False


def train(run: Params, stage: str, task: str | None = None, method: str | None = None) -> Path:
    """Run one training in this process; returns its folder.

    What is finished is skipped, what was interrupted goes on. Raises ParamsError before the model
    is loaded: for a batch that does not divide, for a sample longer than the context, and for
    whatever `finished` refuses.
    """
    job = Job(run, stage, task, method)
    if not finished(job):
        accumulation = accumulation_steps(job.settings, int(os.environ.get("WORLD_SIZE", 1)))
        with alone(job.folder) if _is_main() else nullcontext():
            if not finished(job):  # another process may have done it while this one waited
                _train(job, accumulation)
    if _is_main():
        shutil.rmtree(job.folder / "checkpoints", ignore_errors=True)
    return job.folder


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def accumulation_steps(settings: params.Training, processes: int) -> int:
    """Micro batches that each process adds up to a step, so that batch_size stays what it is.

    Raises ParamsError where batch_size is no multiple of micro_batch_size times `processes`.
    """
    batch, micro = settings.batch_size, settings.micro_batch_size
    if batch % (micro * processes):
        works = [str(size) for size in range(1, batch + 1) if batch % (size * processes) == 0]
        hint = f"micro_batch_size can be {', '.join(works)}" if works else \
            f"the number of processes must divide batch_size {batch}"
        raise ParamsError(f"batch_size {batch} is no multiple of micro_batch_size {micro} x "
                          f"{processes} processes: with {processes} processes {hint}")
    return batch // (micro * processes)


def count_steps(settings: params.Training, samples: int, name: str) -> int:
    """Optimizer steps: `steps` at the most, and no more than fill `epochs` passes."""
    steps = min(settings.steps, settings.epochs * samples // settings.batch_size)
    if steps == 0:
        raise ParamsError(f"{name}: {samples} samples in {settings.epochs} epochs do not fill one "
                          f"batch of batch_size {settings.batch_size}")
    return steps


def sample_order(samples: int, needed: int, seed: int) -> list[int]:
    """The rows to train on: `needed` of them, every pass over `samples` rows shuffled anew."""
    order = []
    for epoch in range(-(-needed // samples)):
        rows = list(range(samples))
        random.Random(f"{seed}/order/{epoch}").shuffle(rows)
        order += rows
    return order[:needed]


def encode(data, tokenizer):
    """A corpus split (datasets.Dataset) with the columns input_ids, labels (-100 on the prompt),
    tokens and completion_tokens added."""
    def batch(rows: dict) -> dict:
        prompts = models.encode_prompts(tokenizer, rows["prompt"])
        completions = models.encode_completions(tokenizer, rows["completion"])
        pairs = list(zip(prompts, completions, strict=True))
        return {"input_ids": [prompt + completion for prompt, completion in pairs],
                "labels": [[-100] * len(prompt) + completion for prompt, completion in pairs],
                "tokens": [len(prompt) + len(completion) for prompt, completion in pairs],
                "completion_tokens": [len(completion) for completion in completions]}

    return data.map(batch, batched=True, keep_in_memory=True)


def check_samples(data, context: int, end: int, name: str) -> None:
    """Refuse (ParamsError) encoded samples beyond the context or without the end token."""
    columns = data.select_columns(["task", "length", "tokens"])
    long = [row for row in columns if row["tokens"] > context]
    if long:
        worst = max(long, key=lambda row: row["tokens"])
        raise ParamsError(f"{name}: {len(long)} of {len(data)} samples are longer than "
                          f"model.context, {context} tokens; the longest, task {worst['task']} "
                          f"at length {worst['length']}, takes {worst['tokens']}: train on "
                          "shorter lengths")
    for row in data.select_columns(["task", "length", "input_ids"]):
        if row["input_ids"][-1] != end:
            raise ParamsError(f"{name}: a sample of task {row['task']} at length "
                              f"{row['length']} does not end with the end token {end}")


def _train(job: Job, accumulation: int) -> None:
    base = models.resolve(str(model_folder(job.run, "pretrain")) if job.after_pretraining
                          else job.run.model.name)
    tokenizer = models.load_tokenizer(base)
    training, validation = _load_data(job, tokenizer)
    settings = job.settings
    steps = count_steps(settings, len(training), job.name)
    order = sample_order(len(training), steps * settings.batch_size, job.run.seed)
    epoch = len(training) / settings.batch_size  # steps a pass takes
    training = training.select(order)
    arguments = _arguments(job, steps, accumulation, max(training["tokens"]))
    with arguments.main_process_first():
        start = _pissa_start(job, base)
    checkpoint = last_checkpoint(job.folder / "checkpoints")
    if checkpoint is None or not _stopped(checkpoint):
        _fit(job, arguments, checkpoint, (base, start), tokenizer, training, validation, epoch)
    if _is_main():
        _finish(job, Path(base), start, training, arguments)


def _load_data(job: Job, tokenizer):
    """The encoded training and validation samples, every one of them checked."""
    import datasets

    from metarfft_core import corpus

    datasets.disable_progress_bars()
    datasets.disable_caching()
    both = []
    for split in job.splits:
        data = encode(corpus.read(job.run, split, job.format, job.task), tokenizer)
        check_samples(data, job.run.model.context, tokenizer.eos_token_id,
                      f"{job.name}, split {split}")
        both.append(data)
    return both


def _pissa_start(job: Job, base: str) -> Path | None:
    """The PiSSA start, kept beside the pre-trained model or, for a named model, in the cache."""
    if job.settings.method == "full":
        return None
    rank = job.settings.rank
    if job.after_pretraining:
        folder = Job(job.run, "pretrain").folder / f"pissa-{rank}"
    else:
        folder = models.cache_folder() / "pissa" / f"{models.weights_hash(base)[:16]}-{rank}"
    return models.pissa_start(base, rank, folder)


def _fast_bfloat16() -> bool:
    """Whether this machine computes bfloat16 faster than float32."""
    import torch

    abilities = torch.cpu.get_capabilities()
    return torch.cuda.is_available() or any(
        abilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _arguments(job: Job, steps: int, accumulation: int, longest: int):
    """The trainer's arguments; `longest` is the longest training sample, in tokens."""
    import torch
    from trl import SFTConfig

    settings, gpu = job.settings, torch.cuda.is_available()
    early = settings.early_stopping_patience is not None
    return SFTConfig(
        output_dir=str(job.folder / "checkpoints"), max_steps=steps, max_length=None,
        per_device_train_batch_size=settings.micro_batch_size,
        per_device_eval_batch_size=settings.micro_batch_size,
        gradient_accumulation_steps=accumulation,
        train_sampling_strategy="sequential",  # the rows come in the order of `sample_order`
        learning_rate=settings.learning_rate, lr_scheduler_type=_SCHEDULERS[settings.scheduler],
        warmup_steps=round(settings.warmup_ratio * steps), weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm, seed=job.run.seed, use_cpu=not gpu,
        bf16=_fast_bfloat16(),
        gradient_checkpointing=gpu or longest * settings.micro_batch_size > RECOMPUTE_FROM,
        eval_strategy="steps", eval_steps=settings.evaluate_every,
        save_strategy="steps", save_steps=settings.save_every,
        save_total_limit=2 if early else 1,  # with 1 the trainer ends by deleting all but the best
        metric_for_best_model="eval_loss" if early else None, greater_is_better=False,
        restore_callback_states_from_checkpoint=early,
        logging_steps=1, logging_nan_inf_filter=False, report_to="none", disable_tqdm=True,
        dataloader_pin_memory=gpu, ddp_timeout=WAIT_SECONDS, ddp_find_unused_parameters=False)


def _load_model(job: Job, base: str, start: Path | None):
    """The model to train. A full one stays in float32, because the paper's learning rate of 1e-5
    vanishes in the rounding of bfloat16 weights; it computes in bfloat16 where that is fast."""
    import torch
    from transformers import AutoModelForCausalLM

    if start is None:
        return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return models.load_pissa(start, torch.bfloat16 if _fast_bfloat16() else torch.float32)


def _fit(job: Job, arguments, checkpoint: Path | None, weights: tuple[str, Path | None],
         tokenizer, training, validation, epoch: float) -> None:
    """Train from the start or from a checkpoint up to the last one, which is kept."""
    import transformers
    from transformers.trainer_callback import EarlyStoppingCallback, PrinterCallback

    from metarfft_core.trainer import Log, Trainer

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    log = _resume_log(job.folder, checkpoint)
    arguments.eval_on_start = checkpoint is None
    trainer = Trainer(model=_load_model(job, *weights), args=arguments,
                      train_dataset=training, eval_dataset=validation, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    patience = job.settings.early_stopping_patience
    if patience is not None:
        trainer.add_callback(EarlyStoppingCallback(patience))
    trainer.add_callback(Log(job.folder / "log.jsonl", job.settings.batch_size, epoch,
                             training["tokens"], training["completion_tokens"],
                             log[-1]["seconds"] if log else 0.0))
    _check_mask(trainer, tokenizer, training)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _check_mask(trainer, tokenizer, training) -> None:
    """Look at the first micro batch as the model will get it: the loss is on completions only."""
    rows = range(trainer.args.per_device_train_batch_size)
    labels = trainer.data_collator([trainer.train_dataset[row] for row in rows])["labels"]
    for row, got in zip(rows, labels.tolist(), strict=True):
        prompt = models.encode_prompt(tokenizer, training[row]["prompt"])
        completion = models.encode_completion(tokenizer, training[row]["completion"])
        expected = [-100] * len(prompt) + completion
        if got != expected + [-100] * (len(got) - len(expected)):
            raise RuntimeError("the loss would not be taken on the completion alone "
                               f"(task {training[row]['task']}, length {training[row]['length']})")
    if _is_main():
        print(f"loss on {len(completion)} of {len(expected)} tokens of a sample, up to its "
              f"{tokenizer.decode(completion[-8:])!r}", flush=True)


def last_checkpoint(folder: Path) -> Path | None:
    """The latest whole checkpoint; a half-written one, left by a kill, does not count.

    transformers writes trainer_state.json last.
    """
    whole = [path for path in folder.glob("checkpoint-*") if _state(path)]
    return max(whole, key=lambda path: _state(path)["global_step"], default=None)


def _state(checkpoint: Path) -> dict | None:
    try:
        return read_json(checkpoint / "trainer_state.json")
    except (OSError, json.JSONDecodeError):
        return None


def _stopped(checkpoint: Path) -> bool:
    """Whether the training had ended, at its last step or early, when it wrote a checkpoint."""
    return _state(checkpoint)["stateful_callbacks"]["TrainerControl"]["args"][
        "should_training_stop"]


def _resume_log(folder: Path, checkpoint: Path | None) -> list[dict]:
    """Take the lines past the checkpoint out of the log, so that no step stands twice."""
    step = _state(checkpoint)["global_step"] if checkpoint else -1
    log = [line for line in read_log(folder) if line["step"] <= step]
    if _is_main():
        write_whole(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in log))
        for path in (folder / "checkpoints").glob("checkpoint-*"):
            if not _state(path):
                shutil.rmtree(path)
    if checkpoint:
        print(f"going on from step {step}", flush=True)
    return log


def _finish(job: Job, base: Path, start: Path | None, training, arguments) -> None:
    """Write the plain model and, last of all, the manifest."""
    import torch
    from transformers import AutoModelForCausalLM

    checkpoint = last_checkpoint(job.folder / "checkpoints")
    best = _state(checkpoint).get("best_model_checkpoint")
    source = checkpoint.with_name(Path(best).name) if best else checkpoint
    if start is None:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
        change = models.change_full(base, source)
    else:
        model = models.merge_pissa(start, source)
        change = models.change_pissa(base, start, source)
    folder = job.folder / "model"
    models.save(model, base, folder)
    steps = _state(checkpoint)["global_step"]
    used = steps * job.settings.batch_size
    write_json(job.manifest, {
        "stage": job.stage, "task": job.task, "method": job.method,
        **_provenance(job),
        "base_model": {"name": base.name, "sha256": models.weights_hash(base)},
        "samples": used, "steps": steps,
        "model_step": _state(source)["global_step"],
        "tokens": sum(training["tokens"][:used]),
        "completion_tokens": sum(training["completion_tokens"][:used]),
        **_summary(read_log(job.folder)),
        "processes": arguments.world_size, "device": arguments.device.type,
        "compute": "bfloat16" if arguments.bf16 else "float32",
        "weights": {path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))},
        "relative_change": change, "peak_memory_gib": _peak_memory()})
    print(f"{job.name}: {steps} steps, finished, in {job.folder}", flush=True)


def _summary(log: list[dict]) -> dict:
    looks = [line["validation_loss"] for line in log if "validation_loss" in line]
    return {"seconds": log[-1]["seconds"], "first_validation_loss": looks[0],
            "last_validation_loss": looks[-1]}


def _provenance(job: Job) -> dict:
    """Digest, commit, versions, and the SHA-256 of every corpus file that was read."""
    from metarfft_core import corpus

    libraries = ("torch", "transformers", "trl", "peft", "accelerate")
    made = corpus.provenance(job.run)
    files = [path for split in job.splits
             for path in corpus.files(job.run, split, job.format, job.task)]
    return {"params_digest": made["params_digest"], "seed": job.run.seed,
            "git_commit": made["git_commit"],
            "versions": made["versions"] | {name: version(name) for name in libraries},
            "data": {str(path.relative_to(job.run.folder)): sha256(path) for path in files}}


def _peak_memory() -> dict[str, float]:
    """The most memory that this process took, in GiB, on the host and on its GPU."""
    import torch

    peak = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    if torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated() / 2**30
    return {name: round(value, 2) for name, value in peak.items()}


def main(arguments: list[str] | None = None) -> int:
    """The process of one training; returns 0, or 2 for a user's error."""
    parser = argparse.ArgumentParser(prog="python -m metarfft_core.training",
                                     description="One supervised fine-tuning of a run.")
    parser.add_argument("--params", required=True, metavar="FILE")
    parser.add_argument("--stage", required=True, choices=STAGES)
    parser.add_argument("--task")
    parser.add_argument("--method")
    options = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        run = params.load(options.params)
        params.open_folder(run)
        train(run, options.stage, options.task, options.method)
    except ParamsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
