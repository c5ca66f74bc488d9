"""One supervised fine-tuning, for RF-pretraining, adaptation and every baseline (Section 4.1).

`launch` starts a training as a process of its own. On several machines, start it by hand on each
of them and let `launch` find it finished:

    accelerate launch --config_file FILE -m metarfft_core.training --params FILE --stage pretrain

The loss is taken on the completion alone, the end token included, and nothing is ever cut. A
training killed at any time goes on from its last whole checkpoint, over the same samples in the
same order, which the seed alone decides. Where the paper is silent, AdamW with the defaults of
transformers is our assumption.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from metarfft_core import models, params, tasks
from metarfft_core.models import chat_template
from metarfft_core.params import METHODS, Params, ParamsError
from metarfft_core.system import places, processes, yaml_files
from metarfft_core.system.files import (
    changed,
    explain,
    read_json,
    remove_leftovers,
    sha256,
    temporary_name,
    whole_folder,
    write_json,
    write_whole,
)
from metarfft_core.training import batches, checkpoints

STAGES = ("pretrain", "adapt")
RECOMPUTE_FROM = 2048  # tokens of a micro batch from which activations are recomputed on a CPU
WAIT_SECONDS = 12 * 3600  # how long other processes wait for the first one's PiSSA start
PRODUCTS = ("model", "adapter", "lora")
"""The folders that a training leaves, as many of them as its method and stage make."""
_ACCELERATE = Path(__file__).parent.parent / "data" / "accelerate"  # copies of params/accelerate
_SCHEDULERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


@dataclass(frozen=True)
class Job:
    """One training of a run: RF-pretraining, or the adaptation to a task with a method.

    `task` may be given as a name; it becomes the id. `seed` decides the order of an adaptation's
    samples; it is the run's own where it is not given.
    """

    run: Params
    stage: str
    task: str | None = None
    method: str | None = None
    seed: int | None = None

    def __post_init__(self):
        if self.stage not in STAGES:
            raise ParamsError(f"stage: expected {' or '.join(STAGES)}, got {self.stage!r}")
        if self.task is not None:
            object.__setattr__(self, "task", tasks.id_of(self.task))
        given = (self.task, self.method, self.seed)
        if self.stage == "pretrain":
            if given != (None, None, None):
                raise ParamsError("stage pretrain takes no task, no method and no seed, got "
                                  f"{', '.join(map(repr, given))}")
            return
        if self.seed is None:
            object.__setattr__(self, "seed", self.run.seed)
        for place, name in enumerate(("task", "method")):
            allowed = list(dict.fromkeys(cell[place] for cell in self.run.trainings))
            if given[place] not in allowed:
                raise ParamsError(f"{name}: expected one of {', '.join(allowed)}, "
                                  f"got {given[place]!r}")
        if (self.task, self.method, self.seed) not in self.run.trainings:
            raise ParamsError(f"seed: this run has no training of {self.method} on {self.task} "
                              f"with seed {self.seed}")

    @property
    def name(self) -> str:
        seed = f"seed {self.seed}" if self.stage == "adapt" and self.seed != self.run.seed else None
        return " ".join(part for part in (self.stage, self.task, self.method, seed) if part)

    @property
    def folder(self) -> Path:
        if self.stage == "pretrain":
            return self.run.folder / "pretrain"
        seed = "" if self.seed == self.run.seed else f"-seed{self.seed}"
        return self.run.folder / "adapt" / self.task / f"{self.method}{seed}"

    @property
    def settings(self) -> params.Training:
        return self.run.pretraining if self.stage == "pretrain" else self.run.adaptation

    @property
    def format(self) -> str:
        return METHODS[self.method or "meta_rfft"].format

    @property
    def splits(self) -> tuple[str, str]:
        """The corpus splits to train and to validate on."""
        if self.stage == "pretrain":
            return "pretrain", "validation"
        return "adaptation", "adaptation_validation"

    @property
    def after_pretraining(self) -> bool:
        return self.method is not None and METHODS[self.method].start == "pretrained"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def order_seed(self) -> int:
        return self.run.seed if self.seed is None else self.seed


def stage_folder(run: Params, stage: str, task: str | None = None, method: str | None = None,
                 seed: int | None = None) -> Path:
    """The folder of one training, with its log, its model or adapter, and its manifest."""
    return Job(run, stage, task, method, seed).folder


def model_folder(run: Params) -> Path:
    """The RF-pretrained model: plain bfloat16 safetensors with tokenizer and chat template."""
    return Job(run, "pretrain").folder / "model"


def jobs(run: Params) -> list[Job]:
    """Every training that a run needs, in order: RF-pretraining first, where it has a use."""
    adaptations = [Job(run, "adapt", *cell) for cell in run.trainings]
    used = any(job.after_pretraining for job in adaptations) or \
        "meta_1shot" in run.evaluation.in_context
    return [Job(run, "pretrain")] * used + adaptations


@contextmanager
def weights(run: Params, method: str, task: str, seed: int | None = None) -> Iterator[Path]:
    """A folder with the plain bfloat16 weights and the tokenizer that a method answers a task with.

    An adapter is merged into a folder that is gone after the block: the merged weights of every
    task and method would fill a disk.
    """
    if not METHODS[method].adapted:
        pretrained = METHODS[method].start == "pretrained"
        yield model_folder(run) if pretrained else Path(models.resolve(run.model.name))
        return
    job = Job(run, "adapt", task, method, seed)
    if (job.folder / "model").exists():  # a full fine-tuning
        yield job.folder / "model"
        return
    base, merged = _base(job), temporary_name(job.folder / "merged")
    remove_leftovers(job.folder)
    try:
        models.save(models.merge_pissa(_pissa_start(job, base), job.folder / "adapter"), base,
                    merged)
        yield merged
    finally:
        shutil.rmtree(merged, ignore_errors=True)


def export(run: Params, method: str, task: str, folder: Path, seed: int | None = None) -> Path:
    """Write the merged bfloat16 weights of a finished adaptation to `folder`, whole.

    The plain LoRA stands in the training's own folder. Raises ParamsError where the training is
    not finished or `folder` exists.
    """
    if Path(folder).exists():
        raise ParamsError(f"{folder} exists: name a folder that does not")
    job = Job(run, "adapt", task, method, seed)
    if not finished(job):
        raise ParamsError(f"{job.name} is not finished: there is no {job.manifest}")
    with weights(run, method, task, seed) as made, whole_folder(Path(folder)) as temporary:
        shutil.copytree(made, temporary, dirs_exist_ok=True)
    return Path(folder)


def read_log(folder: Path) -> list[dict]:
    """The lines of a training's log.jsonl; a last line that was cut by a kill is left out.

    A step's line holds step, epoch (passes over the data), loss (mean over the batch's completion
    tokens), grad_norm, learning_rate, tokens, completion_tokens, tokens_per_second, mfu (the share
    of the GPUs' peak, counted as `trainer.flops`; null on a CPU), memory_gib (the most so far, of
    the first process) and seconds (since the training began, time between a kill and its resume
    not counted); a look at the validation data holds step, validation_loss (mean over all its
    completion tokens), validation_tokens, seconds.
    """
    lines = []
    path = folder / "log.jsonl"
    for line in path.read_bytes().split(b"\n") if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:  # cut, or what is behind the last newline
            break
    return lines


def launch(run: Params, stage: str, task: str | None = None, method: str | None = None,
           seed: int | None = None) -> Path:
    """Run one training under `accelerate launch`, printing what it prints; see `launch_all`.

    Returns the stage's folder, at once where the training is finished. Raises ParamsError for a
    user's error, RuntimeError with the last lines where the training fails.
    """
    job = Job(run, stage, task, method, seed)
    _launch([job])
    return job.folder


def launch_variable(stage: str) -> str:
    """The environment variable that names a configuration of accelerate's for a stage."""
    return f"METARFFT_{stage.upper()}_ON"


def launch_all(run: Params) -> None:
    """Run every training of a run: RF-pretraining, then the adaptations.

    On GPUs, RF-pretraining takes all of them and an adaptation takes one, as many at once as there
    are. A configuration of accelerate's, named by $METARFFT_PRETRAIN_ON or $METARFFT_ADAPT_ON,
    says otherwise: then as many adaptations run at once as its processes leave GPUs for. On a
    CPU adaptation.workers run at once.
    """
    _launch([job for job in jobs(run) if job.stage == "pretrain"])
    launch_adaptations(run)


def launch_adaptations(run: Params) -> None:
    """The second half of `launch_all`."""
    _launch([job for job in jobs(run) if job.stage == "adapt"])


def _launch(every: list[Job]) -> None:
    left = []
    for job in every:
        params.open_folder(job.run)
        if finished(job):
            print(f"{job.name}: finished, in {job.folder}")
        else:
            left.append(job)
            if gone := lost(job):
                print(f"{job.name}: {gone} is missing or changed, so it is trained again",
                      flush=True)
    if not left:
        return
    models.resolve(left[0].run.model.name)  # refused or downloaded here: a training is offline
    options, size = _launch_options(left[0])
    commands = []
    for job in left:
        line = [sys.executable, "-m", "accelerate.commands.launch", *options, "-m",
                "metarfft_core.training", "--params", str(job.run.folder / "params.yaml"),
                "--stage", job.stage]
        for option in ("task", "method", "seed"):
            value = getattr(job, option)
            line += [] if value is None else [f"--{option}", str(value)]
        commands.append(processes.Command(line, f"training {job.name}"))
    processes.follow_all(commands, processes.places(size, _workers(left[0])))


def _launch_options(job: Job) -> tuple[list[str], int]:
    """Options of `accelerate launch`, all that it would otherwise guess and warn about, and the
    processes that they start."""
    gpus = len(processes.gpus())
    given = places.variable(launch_variable(job.stage))
    if given:
        return ["--config_file", str(given), "--main_process_port", "0"], _configured(job, given)
    size = max(1, gpus) if job.stage == "pretrain" else 1
    if size > 1 and job.settings.method == "full":
        return ["--config_file", str(_ACCELERATE / "fsdp2.yaml"),
                "--num_processes", str(size)], size
    kind = ["--cpu"] if not gpus else []
    kind += ["--multi_gpu"] if size > 1 else []
    threads = processes.threads(gpus or _workers(job))  # without it accelerate trains on one
    # Named, for accelerate would take what the user has configured for other programs.
    return ["--config_file", str(_ACCELERATE / "plain.yaml"),
            "--quiet", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
            "--num_processes", str(size), "--num_cpu_threads_per_process", threads,
            *kind], size


def _configured(job: Job, path: Path) -> int:
    """The processes that a configuration of accelerate's starts."""
    if not path.is_file():
        raise ParamsError(f"{launch_variable(job.stage)}: there is no file {path}")
    values = yaml_files.read(path)
    size = values.get("num_processes") if isinstance(values, dict) else None
    if not isinstance(size, int) or size < 1:
        raise ParamsError(f"{path}: num_processes: expected a number of processes, got {size!r}")
    return size


def _workers(job: Job) -> int:
    """The trainings of a stage that share a CPU."""
    return 1 if job.stage == "pretrain" else job.run.adaptation.workers


def finished(job: Job) -> bool:
    """Whether this training is done, and all that it made is there with its hash.

    Raises ParamsError where it cannot be started, or is another's.
    """
    manifest = read_json(job.manifest) if job.manifest.exists() else None
    if manifest and manifest["params_digest"] != job.run.digest:
        raise ParamsError(f"{job.folder} was trained with other parameters (digest "
                          f"{manifest['params_digest']}, this run has {job.run.digest}): give this "
                          "run another name, or delete that folder")
    if job.after_pretraining and not finished(Job(job.run, "pretrain")):
        raise ParamsError(f"{job.name} starts from the RF-pretrained model: finish the stage "
                          f"pretrain of run {job.run.name} first")
    return manifest is not None and lost(job) is None and _same_start(job, manifest)


def lost(job: Job) -> Path | None:
    """The first file of what a training made that is missing or changed since, by its manifest."""
    if not job.manifest.exists():
        return None
    manifest = read_json(job.manifest)
    made = manifest.get("weights", {}) | manifest.get("files", {})
    return next((job.folder / name for name, expected in made.items()
                 if changed(job.folder / name, expected)), None)


def _same_start(job: Job, manifest: dict) -> bool:
    """Whether an adaptation was trained from the RF-pretrained model that is there now."""
    if not job.after_pretraining or "base_model" not in manifest:
        return True
    if manifest["base_model"]["sha256"] != models.weights_hash(model_folder(job.run)):
        raise ParamsError(f"{job.folder} was trained from another RF-pretrained model than "
                          f"{model_folder(job.run)}: delete {job.folder}, and it is trained again")
    return True


def train(run: Params, stage: str, task: str | None = None, method: str | None = None,
          seed: int | None = None) -> Path:
    """Run one training in this process; returns its folder.

    What is finished is skipped, what was interrupted goes on. Raises ParamsError before the model
    is loaded: for a batch that does not divide, for a sample longer than the context, and for
    whatever `finished` refuses.
    """
    job = Job(run, stage, task, method, seed)
    if not finished(job):
        world = int(os.environ.get("WORLD_SIZE", 1))
        accumulation = batches.accumulation_steps(job.settings, world)
        _check_trackers(run)
        with processes.alone(job.folder) if _is_main() else nullcontext():
            # Another process may have done it while this one waited for the folder.
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
    """What the first process says, on all of them: each alone could see the folder at another
    moment, and then wait for the others for ever."""
    if world == 1:
        return value
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    gpu = torch.cuda.is_available()
    PartialState(cpu=not gpu, timeout=timedelta(seconds=WAIT_SECONDS),
                 **({} if gpu else {"backend": "gloo"}))
    return broadcast_object_list([value])[0]


def _check_trackers(run: Params) -> None:
    for name in run.trackers:
        if find_spec(name) is None:
            raise ParamsError(f"trackers: the package {name} is not installed")


def _base(job: Job) -> str:
    """The folder of the model that a training starts from."""
    return models.resolve(str(model_folder(job.run)) if job.after_pretraining
                          else job.run.model.name)


def _train(job: Job, accumulation: int) -> None:
    base = _base(job)
    tokenizer = models.load_tokenizer(base)
    data, order, epoch = batches.load_training(job, tokenizer)
    validation = batches.load_validation(job, tokenizer)
    settings = job.settings
    tokens = [data["tokens"][row] for row in order]
    bins = batches.micro_batches(tokens, settings.batch_size, settings.micro_batch_size)
    fullest = max(sum(tokens[place] for place in places) for places in bins)
    arguments = _arguments(job, len(order) // settings.batch_size, accumulation, fullest)
    checkpoint = checkpoints.last(job.folder / "checkpoints")
    with arguments.main_process_first():
        start = _pissa_start(job, base)
        if checkpoint and _is_main():
            checkpoints.verify(checkpoint)
    samples = data.select(order)
    if checkpoint:
        checkpoints.check_kind(checkpoint, sharded=_sharded())
    if checkpoint is None or not checkpoints.stopped(checkpoint):
        _fit(job, arguments, checkpoint, (base, start), tokenizer,
             (samples, bins, epoch), validation)
    if _is_main():
        _finish(job, Path(base), start, samples, arguments)


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


def _sharded() -> bool:
    """Whether accelerate was told to shard the model over the processes."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false") == "true"


def _fast_bfloat16() -> bool:
    """Whether this machine computes bfloat16 faster than float32."""
    import torch

    abilities = torch.cpu.get_capabilities()
    return torch.cuda.is_available() or any(
        abilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _arguments(job: Job, steps: int, accumulation: int, fullest: int):
    """The trainer's arguments; `fullest` is the fullest micro batch, in tokens.

    A row of the data is a whole micro batch, so the trainer's own batch is one row.
    """
    import torch
    from trl import SFTConfig

    settings, gpu = job.settings, torch.cuda.is_available()
    early = settings.early_stopping_patience is not None
    if "tensorboard" in job.run.trackers:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(job.folder / "tensorboard")
    # Or each GPU would keep whole gradients while it accumulates.
    each = {"gradient_accumulation_kwargs": {"sync_each_batch": True}}
    return SFTConfig(
        output_dir=str(job.folder / "checkpoints"), max_steps=steps, max_length=None,
        padding_free=True, per_device_train_batch_size=1, per_device_eval_batch_size=1,
        gradient_accumulation_steps=accumulation,
        dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False,
        train_sampling_strategy="sequential",  # the rows come in the order of `sample_order`
        learning_rate=settings.learning_rate, lr_scheduler_type=_SCHEDULERS[settings.scheduler],
        warmup_steps=round(settings.warmup_ratio * steps), weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm, seed=job.order_seed, use_cpu=not gpu,
        bf16=_fast_bfloat16(), gradient_checkpointing=gpu or fullest > RECOMPUTE_FROM,
        eval_strategy="steps", eval_steps=settings.evaluate_every,
        save_strategy="steps", save_steps=settings.save_every, save_total_limit=checkpoints.KEPT,
        metric_for_best_model="eval_loss" if early else None, greater_is_better=False,
        restore_callback_states_from_checkpoint=early,
        logging_steps=1, logging_nan_inf_filter=False, disable_tqdm=True,
        report_to=list(job.run.trackers) or "none", run_name=f"{job.run.name} {job.name}",
        accelerator_config=each if _sharded() and settings.method == "full" else None,
        dataloader_pin_memory=gpu, ddp_timeout=WAIT_SECONDS, ddp_find_unused_parameters=False,
        ddp_backend="gloo" if not gpu and "WORLD_SIZE" in os.environ else None)


def _load_model(job: Job, base: str, start: Path | None):
    """The model to train. A full one stays in float32, because the paper's learning rate of 1e-5
    vanishes in the rounding of bfloat16 weights; it computes in bfloat16 where that is fast."""
    import torch
    from transformers import AutoModelForCausalLM

    attention = models.attention()
    if start is None:
        return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32,
                                                    attn_implementation=attention)
    return models.load_pissa(start, torch.bfloat16 if _fast_bfloat16() else torch.float32,
                             attn_implementation=attention)


def _fit(job: Job, arguments, checkpoint: Path | None, origin: tuple[str, Path | None],
         tokenizer, training: tuple, validation) -> None:
    """Train from the start or from a checkpoint up to the last one, which is kept."""
    import logging

    import transformers
    from transformers.trainer_callback import EarlyStoppingCallback, PrinterCallback

    from metarfft_core.training.trainer import Log, Seal, Trainer

    samples, bins, epoch = training
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)  # it takes our rows for single samples
    log = _resume_log(job.folder, checkpoint)
    arguments.eval_on_start = checkpoint is None
    looks = batches.micro_batches(validation["tokens"], len(validation),
                                  job.settings.micro_batch_size)
    trainer = Trainer(model=_load_model(job, *origin), args=arguments,
                      train_dataset=batches.packed(samples, bins),
                      eval_dataset=batches.packed(validation, looks), processing_class=tokenizer)
    if _sharded():
        trainer.check_sharded()
    trainer.remove_callback(PrinterCallback)
    patience = job.settings.early_stopping_patience
    if patience is not None:
        trainer.add_callback(EarlyStoppingCallback(patience))
    trainer.add_callback(Seal())
    trainer.add_callback(Log(job.folder / "log.jsonl", job.settings.batch_size, epoch,
                             samples["tokens"], samples["completion_tokens"],
                             log[-1]["seconds"] if log else 0.0))
    trainer.check_batches(tokenizer, samples, bins)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _resume_log(folder: Path, checkpoint: Path | None) -> list[dict]:
    """Take the lines past the checkpoint out of the log, so that no step stands twice."""
    step = checkpoints.state(checkpoint)["global_step"] if checkpoint else -1
    log = [line for line in read_log(folder) if line["step"] <= step]
    if _is_main():
        write_whole(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in log))
        whole = checkpoints.whole(folder / "checkpoints")
        for path in (folder / "checkpoints").glob("checkpoint-*"):
            if path not in whole:
                shutil.rmtree(path)
        if checkpoint:
            print(f"going on from step {step}", flush=True)
    return log


def _finish(job: Job, base: Path, start: Path | None, samples, arguments) -> None:
    """Write what was trained and, last of all, the manifest."""
    checkpoint = checkpoints.last(job.folder / "checkpoints")
    source = checkpoints.best(checkpoint)
    change = _write_weights(job, base, start, source)
    steps = checkpoints.state(checkpoint)["global_step"]
    used = steps * job.settings.batch_size
    write_json(job.manifest, {
        "stage": job.stage, "task": job.task, "method": job.method,
        **_provenance(job, models.load_tokenizer(str(base))),
        "base_model": {"name": base.name, "sha256": models.weights_hash(base)},
        "samples": used, "steps": steps,
        "model_step": checkpoints.state(source)["global_step"],
        "tokens": sum(samples["tokens"][:used]),
        "completion_tokens": sum(samples["completion_tokens"][:used]),
        **_summary(read_log(job.folder)),
        "processes": arguments.world_size, "device": arguments.device.type,
        "compute": "bfloat16" if arguments.bf16 else "float32",
        "attention": models.attention(),
        **_made(job),
        "relative_change": change, "peak_memory_gib": _peak_memory()})
    print(f"{job.name}: {steps} steps, finished, in {job.folder}", flush=True)


def _made(job: Job) -> dict[str, dict[str, str]]:
    """The SHA-256 of every file that a training made, weights apart."""
    paths = [job.folder / "log.jsonl", *(
        path for part in PRODUCTS for path in sorted((job.folder / part).glob("*"))
        if path.is_file())]
    made = {str(path.relative_to(job.folder)): sha256(path) for path in paths}
    weights = {name: value for name, value in made.items() if name.endswith(".safetensors")}
    return {"weights": weights, "files": {name: value for name, value in made.items()
                                          if name not in weights}}


def _write_weights(job: Job, base: Path, start: Path | None, source: Path) -> float:
    """Write the plain model, or the adapter and for RF-pretraining the model too, which others
    start from; returns how far the weights moved."""
    import torch
    from transformers import AutoModelForCausalLM

    if start is None:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
        models.save(model, base, job.folder / "model")
        return models.change_full(base, source)
    name = str(base) if job.after_pretraining else job.run.model.name
    models.save_adapter(start, source, name, job.folder)
    if job.stage == "pretrain":
        models.save(models.merge_pissa(start, job.folder / "adapter"), base, job.folder / "model")
    return models.change_pissa(base, start, source)


def _summary(log: list[dict]) -> dict:
    looks = [line["validation_loss"] for line in log if "validation_loss" in line]
    return {"seconds": log[-1]["seconds"], "first_validation_loss": looks[0],
            "last_validation_loss": looks[-1]}


def _provenance(job: Job, tokenizer) -> dict:
    """Digest, commit, versions, and the SHA-256 of every file that samples were read from."""
    from metarfft_core import corpus

    libraries = ("torch", "transformers", "trl", "peft", "accelerate")
    made = corpus.provenance(job.run)
    splits = [*job.splits]
    if job.stage == "pretrain" and job.settings.in_context_share:
        splits.append("in_context")
    data = {str(path.relative_to(job.run.folder)): sha256(path) for split in splits
            for path in corpus.files(job.run, split, job.format, job.task)}
    if job.settings.mix:
        data[job.settings.mix.file] = sha256(job.settings.mix.path)
    return {"params_digest": made["params_digest"], "seed": job.order_seed,
            "git_commit": made["git_commit"],
            "chat_template": chat_template.about(tokenizer.get_chat_template()),
            "versions": made["versions"] | {name: version(name) for name in libraries},
            "data": data}


def _peak_memory() -> dict[str, float]:
    """The most memory that this process took, in GiB, on the host and on its GPU."""
    import torch

    peak = {"host": processes.peak_memory()}
    if torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated() / 2**30
    return {name: round(value, 2) for name, value in peak.items()}


def main(arguments: list[str] | None = None) -> int:
    """The process of one training; returns 0, 1 for an error of the system, 2 for a user's."""
    parser = argparse.ArgumentParser(prog="python -m metarfft_core.training",
                                     description="One supervised fine-tuning of a run.")
    parser.add_argument("--params", required=True, metavar="FILE")
    parser.add_argument("--stage", required=True, choices=STAGES)
    parser.add_argument("--task")
    parser.add_argument("--method")
    parser.add_argument("--seed", type=int)
    options = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        run = params.load(options.params)
        params.open_folder(run)
        train(run, options.stage, options.task, options.method, options.seed)
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
