"""The process of one reinforcement learning with trl's GRPO (the paper's Figure 7).

The paper trains with PPO, which trl no longer has. As there, the reward is of the whole answer and
there is no divergence term unless the parameter file asks for one. A step generates its answers
with the weights of that step, so every update is on-policy and its ratio is never clipped.

A training that was killed resumes from its last whole checkpoint, with the same prompts in the same
order. With the engine transformers in one process on a CPU, it also draws the same answers.
"""

import argparse
import logging
import os
import shutil
import warnings
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

from metarfft_core import corpus, models
from metarfft_core.models import chat_template
from metarfft_core.params import ParamsError
from metarfft_core.system import elapsed, processes
from metarfft_core.system.files import sha256, write_json
from metarfft_core.training.job import read_log
from metarfft_core.training.process import checkpoints, record, worker
from metarfft_core.training.rl import prompts
from metarfft_core.training.rl.arms import Arm, base_folder, check_engine, finished

LIBRARIES = ("torch", "transformers", "trl", "accelerate")
SYNC_EACH = {"gradient_accumulation_kwargs": {"sync_each_batch": True}}
"""Otherwise each GPU of a sharded training would keep whole gradients while it accumulates."""


def train(arm: Arm) -> Path:
    """Run one reinforcement learning in this process.

    A finished training is skipped. An interrupted one resumes.

    Returns:
        The folder of the training.

    Raises:
        ParamsError: Before the model is loaded, if the answers of a step do not divide over the
            processes, if the engine cannot run here, if the longest answer does not fit the
            context, or as `job.finished` does.
    """
    if not finished(arm):
        world = int(os.environ.get("WORLD_SIZE", 1))
        accumulation = accumulation_steps(arm, world)
        check_engine(arm.config)
        _check_sharding(arm)
        with processes.alone(arm.folder) if worker._is_main() else nullcontext():
            # Another process may have finished it while this one waited for the folder.
            if not worker._agreed(finished(arm), world):
                if worker._is_main():
                    arm.manifest.unlink(missing_ok=True)  # of a training that lost a file
                _train(arm, accumulation)
    if worker._is_main():
        shutil.rmtree(arm.folder / "checkpoints", ignore_errors=True)
    return arm.folder


def accumulation_steps(arm: Arm, world: int) -> int:
    """Return how many micro batches each process takes in a step.

    Raises:
        ParamsError: The answers of a step do not divide over the processes.
    """
    settings = arm.settings
    at_once = settings.micro_batch_size * world
    if settings.completions % at_once:
        raise ParamsError(f"rl: the {settings.completions} answers of a step do not divide into "
                          f"micro batches of {settings.micro_batch_size} on {world} processes")
    return settings.completions // at_once


def _check_sharding(arm: Arm) -> None:
    if arm.settings.engine == "transformers" and worker._sharded():
        raise ParamsError("rl.engine: transformers cannot generate from a model that is sharded "
                          "over the processes (FSDP); set vllm")


def _check_kind(checkpoint: Path) -> None:
    sharded = worker._sharded()
    if (checkpoint / "pytorch_model_fsdp.bin").exists() != sharded:
        raise ParamsError(f"{checkpoint} was written by a training that was "
                          f"{'not ' if sharded else ''}sharded over its processes (FSDP): resume "
                          f"it as it was started, or delete {checkpoint.parent}")


def _train(arm: Arm, accumulation: int) -> None:
    if arm.settings.engine == "transformers":  # trl imports vLLM nevertheless, and warns
        warnings.filterwarnings("ignore", message="TRL currently supports vLLM")
    base = base_folder(arm)
    tokenizer = models.load_tokenizer(base, arm.config.model.chat_template)
    data = prompts.of_arm(arm, tokenizer)
    arguments = _arguments(arm, accumulation)
    checkpoint = checkpoints.last(arm.folder / "checkpoints")
    if checkpoint:
        if worker._is_main():
            checkpoints.verify(checkpoint)
        _check_kind(checkpoint)
    if checkpoint is None or not checkpoints.stopped(checkpoint):
        _fit(arm, arguments, checkpoint, base, tokenizer, data)
    if worker._is_main():
        _finish(arm, Path(base), tokenizer, arguments, resumed=checkpoint is not None)


def _arguments(arm: Arm, accumulation: int):
    """Return trl's arguments. One optimizer step learns from the answers of one generation."""
    import torch
    from trl import GRPOConfig

    settings, gpu = arm.settings, torch.cuda.is_available()
    if "tensorboard" in arm.config.trackers:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(arm.folder / "tensorboard")
    vllm = {"use_vllm": True, "vllm_mode": "colocate",
            "vllm_gpu_memory_utilization": settings.vllm_memory,
            "vllm_max_model_length": arm.config.model.context} \
        if settings.engine == "vllm" else {}
    return GRPOConfig(
        output_dir=str(arm.folder / "checkpoints"), max_steps=settings.steps,
        per_device_train_batch_size=settings.micro_batch_size, per_device_eval_batch_size=1,
        gradient_accumulation_steps=accumulation, steps_per_generation=accumulation,
        num_generations=settings.group_size, num_generations_eval=1, num_iterations=1,
        max_completion_length=settings.max_completion_tokens, temperature=settings.temperature,
        top_p=1.0, top_k=0, repetition_penalty=1.0, beta=settings.kl, epsilon=settings.clip,
        loss_type="dapo", scale_rewards="group", shuffle_dataset=False,
        learning_rate=settings.learning_rate, lr_scheduler_type="constant", warmup_steps=0,
        weight_decay=0.0, max_grad_norm=settings.max_grad_norm, seed=arm.config.seed,
        use_cpu=not gpu, bf16=models.compute() == "bfloat16", gradient_checkpointing=gpu,
        eval_strategy="steps", eval_steps=settings.evaluate_every, save_strategy="steps",
        save_steps=settings.save_every, save_total_limit=checkpoints.KEPT,
        logging_steps=1, logging_nan_inf_filter=False, disable_tqdm=True,
        report_to=list(arm.config.trackers) or "none", run_name=f"{arm.config.name} {arm.name}",
        accelerator_config=SYNC_EACH if worker._sharded() else None, dataloader_pin_memory=gpu,
        ddp_timeout=worker.WAIT_SECONDS, ddp_find_unused_parameters=False,
        ddp_backend="gloo" if not gpu and "WORLD_SIZE" in os.environ else None, **vllm)


def _fit(arm: Arm, arguments, checkpoint: Path | None, base: str, tokenizer, data) -> None:
    """Train from the start or from a checkpoint; the last checkpoint is kept."""
    import transformers
    from transformers.trainer_callback import PrinterCallback

    from metarfft_core.training.rl.trainer import Rewards, RlLog, RlTrainer, Seal

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)
    end = models.encode_completion(tokenizer, "")[-1]
    rewards = Rewards(arm, tokenizer, end)
    arguments.reward_weights = rewards.weights
    arguments.eval_on_start = checkpoint is None
    if arguments.use_vllm:
        arguments.generation_kwargs = {"stop_token_ids": [end], "ignore_eos": True}
    log = worker._resume_log(arm.folder, checkpoint)
    _remove_answers(arm.folder, checkpoint)
    written = RlLog(arm.folder / "log.jsonl", log[-1]["seconds"] if log else 0.0)
    trainer = RlTrainer(arm, written, model=_load_model(base, tokenizer, end), args=arguments,
                      reward_funcs=rewards.functions, train_dataset=data,
                      eval_dataset=prompts.held_out(arm), processing_class=tokenizer)
    if worker._sharded():
        trainer.check_sharded()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Seal())
    trainer.add_callback(written)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _load_model(base: str, tokenizer, end: int):
    """Load the model to train, with float32 weights, as a full fine-tuning does.

    Its own generation config is replaced: Qwen2.5's has a repetition penalty and a second end
    token, which the kit's evaluation ignores too.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
    model.generation_config = GenerationConfig(eos_token_id=end,
                                               pad_token_id=tokenizer.pad_token_id)
    return model


def _remove_answers(folder: Path, checkpoint: Path | None) -> None:
    """Remove the answers after the checkpoint, which are generated again."""
    step = checkpoints.state(checkpoint)["global_step"] if checkpoint else -1
    if worker._is_main():
        for path in (folder / "answers").glob("*-*.parquet"):
            if int(path.stem.rpartition("-")[2]) > step:
                path.unlink()


def _finish(arm: Arm, base: Path, tokenizer, arguments, resumed: bool) -> None:
    """Write the trained weights and, last of all, the manifest."""
    checkpoint = checkpoints.last(arm.folder / "checkpoints")
    change = _write_weights(arm, base, checkpoint)
    steps = checkpoints.state(checkpoint)["global_step"]
    log, made = read_log(arm.folder), worker._made(arm)
    made["files"] |= {f"answers/{path.name}": sha256(path)
                      for path in sorted((arm.folder / "answers").glob("*.parquet"))}
    write_json(arm.manifest, {
        "stage": arm.stage, "task": arm.task, "start": arm.start, "reward": arm.reward,
        **_provenance(arm, tokenizer),
        "base_model": {"name": base.name, "sha256": models.weights_hash(base),
                       "model_sha256": models.model_hash(base)},
        "algorithm": "GRPO", "steps": steps, "answers": steps * arm.settings.completions,
        "tokens": sum(line.get("tokens", 0) for line in log),
        "completion_tokens": round(arm.settings.completions * sum(
            line.get("answer_tokens", 0) for line in log)),
        "seconds": log[-1]["seconds"], "gpu_hours": log[-1]["gpu_hours"],
        "engine": arm.settings.engine, "processes": arguments.world_size,
        "device": arguments.device.type, "gpu": processes.gpu_name(),
        "compute": "bfloat16" if arguments.bf16 else "float32", **made,
        "relative_change": change, "peak_memory_gib": record.peak_memory(),
        # with the launch; what interrupted processes took is not known
        "launch_seconds": None if resumed else elapsed.lap()})
    print(f"{arm.name}: {steps} steps, finished, in {arm.folder}", flush=True)


def _write_weights(arm: Arm, base: Path, checkpoint: Path) -> float:
    """Write the trained model as bfloat16.

    Returns:
        The relative change of the weights, |trained - base| / |base|, over all tensors.
    """
    import torch
    from transformers import AutoModelForCausalLM

    start, model = (AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False) for folder in (base, checkpoint))
    before, after = start.state_dict(), model.state_dict()
    moved, whole = (sum(values) for values in zip(*(
        ((after[name] - tensor).square().sum().item(), tensor.square().sum().item())
        for name, tensor in before.items()), strict=True))
    models.save(model.to(torch.bfloat16), base, arm.folder / "model",
                arm.config.model.chat_template)
    return (moved / whole) ** 0.5


def _provenance(arm: Arm, tokenizer) -> dict:
    """Return digest, commit, versions, and the SHA-256 of every file that prompts come from."""
    made = corpus.provenance(arm.config)
    engine = {"vllm": version("vllm")} if arm.settings.engine == "vllm" else {}
    data = {str(path.relative_to(corpus.home(arm.config))): sha256(path)
            for split in ("rl", "rl_evaluation")
            for path in corpus.files(arm.config, split, arm.format, arm.task)}
    return {"params_digest": made["params_digest"], "seed": arm.config.seed,
            "git_commit": made["git_commit"],
            "chat_template": chat_template.about(tokenizer.get_chat_template()),
            "versions": made["versions"] | {name: version(name) for name in LIBRARIES} | engine,
            "data": data}


def main(arguments: list[str] | None = None) -> int:
    """Run one reinforcement learning from the command line.

    Returns:
        0, 1 for an error of the system, 2 for a user's error.
    """
    elapsed.begin()
    parser = argparse.ArgumentParser(prog="python -m metarfft_core.training.rl",
                                     description="One reinforcement learning of a run.")
    for option in ("--params", "--task", "--start", "--reward"):
        parser.add_argument(option, required=True)
    options = parser.parse_args(arguments)
    return worker.status_of(lambda config: train(
        Arm(config, options.task, options.start, options.reward)), options.params)
