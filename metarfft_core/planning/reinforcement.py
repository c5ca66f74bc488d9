"""What reinforcement learning takes, roughly: its answers are those of the right traces.

How long a model's answers are is not known before. The plan takes the right completions in their
place, so it is an estimate even where tokens are counted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metarfft_core.models import memory
from metarfft_core.models.operations import Operations
from metarfft_core.params import Params
from metarfft_core.planning import assumptions
from metarfft_core.planning.counting import Counter, Sample
from metarfft_core.training.rl.arms import Arm, arms

PAPER = {"Qwen/Qwen2.5-7B-Instruct": 64.0}
"""GPU hours that the paper's PPO took for one task, by model."""
PROCESSES = 8  # GPUs of one node, which share weights, gradients and optimizer states
_GIB, _GB = 2**30, 1e9


@dataclass(frozen=True)
class Needs:
    """What a plan knows of its model and its machine."""

    parameters: int
    trained: Operations  # of full fine-tuning
    generating: Operations
    machine: Any  # of `plan`: utilisation, gpu_memory_gib, and the hours of operations


def rows(config: Params, counter: Counter, shape: Any, machine: Any,
         operations: Callable[..., Operations]) -> list[tuple[dict, None]]:
    """Return a row of the plan for each reinforcement learning of a run, each without a problem.

    Args:
        config: The resolved parameters of the run.
        counter: Counts its samples.
        shape: The shape of its model.
        machine: The machine of the plan.
        operations: Makes the sizes that operations follow from, as in `plan`.
    """
    full = config.pretraining.model_copy(update={"method": "full"})
    needs = Needs(shape.parameters, operations(shape, full), operations(shape), machine)
    return [(_row(arm, counter, needs), None) for arm in arms(config)]


def _row(arm: Arm, counter: Counter, needs: Needs) -> dict:
    settings = arm.settings
    exemplar = settings.prompt.endswith("_1shot")
    asked = counter.of_tasks([arm.task], settings.lengths, "rl", arm.format, exemplar)
    held = counter.of_tasks([arm.task], settings.evaluation.lengths, "evaluation", arm.format,
                            exemplar)
    answers = settings.steps * settings.completions
    evaluations = 1 + settings.steps // settings.evaluate_every
    held_out = evaluations * len(settings.evaluation.lengths) * \
        settings.evaluation.samples_per_length
    tokens, scored, squares = _totals(asked, answers)
    evaluated = _totals(held, held_out)
    training = needs.trained.training(tokens, scored, squares)
    recomputed = needs.trained.recomputed(tokens, squares)
    generated = needs.generating.forward(tokens, scored, squares)
    validated = needs.generating.forward(*evaluated)
    machine = needs.machine
    compute = machine.hours(training + recomputed, machine.utilisation) + machine.hours(
        generated + validated, assumptions.GENERATION)
    waiting = _waiting(arm, needs) * PROCESSES / 3600
    paper = PAPER.get(arm.config.model.name, math.nan) if arm.reward == "outcome" else math.nan
    return {
        "stage": arm.stage, "method": f"{arm.start} {arm.reward}", "task": arm.task,
        "seed": arm.config.seed, "processes": PROCESSES, "steps": settings.steps,
        "samples": answers, "tokens": round(tokens), "trained_tokens": round(scored),
        "validation_tokens": round(evaluated[0]), "flops": training + generated,
        "recomputed_flops": recomputed, "validation_flops": validated,
        "attention_flops": needs.trained.training(0, 0, squares)
        + needs.generating.forward(0, 0, squares),
        "compute_hours": compute, "waiting_hours": waiting, "gpu_hours": compute + waiting,
        "hours": (compute + waiting) / PROCESSES, "utilisation": machine.utilisation,
        "paper_low": paper, "paper_high": paper,
        "longest": max(asked, default=Sample(0, 0)).tokens, **_memory(arm, needs)}


def _totals(samples: list[Sample], count: int) -> tuple[float, float, float]:
    """Return tokens, completion tokens and squared tokens of `count` samples like these."""
    each = count / max(1, len(samples))
    return (each * sum(sample.tokens for sample in samples),
            each * sum(sample.completion for sample in samples),
            each * sum(sample.tokens**2 for sample in samples))


def _waiting(arm: Arm, needs: Needs) -> float:
    """Return the seconds of a start, of reading the weights, and of the checkpoints."""
    saved = arm.settings.steps // arm.settings.save_every * 16.0 * needs.parameters
    return (assumptions.TRAINING_START + assumptions.ENGINE_START
            + 2.0 * needs.parameters / assumptions.READ
            + (saved + 2.0 * needs.parameters) / assumptions.WRITE)


def _memory(arm: Arm, needs: Needs) -> dict[str, float | bool]:
    """Return the memory of one GPU that is sure to be taken, and the disk; not the activations."""
    states = 4.0 * needs.parameters / PROCESSES / _GIB
    share = arm.settings.vllm_memory if arm.settings.engine == "vllm" else 0.0
    engine = share * needs.machine.gpu_memory_gib
    total = 4 * states + engine
    return {"weights": states + engine, "gradients": states, "optimizer": 2 * states,
            "total": total, "fits": total <= memory.USABLE * needs.machine.gpu_memory_gib,
            "host": 4.0 * PROCESSES * needs.parameters / _GB,
            "checkpoints": 3 * 16.0 * needs.parameters / _GB, "kept": 2.0 * needs.parameters / _GB}
