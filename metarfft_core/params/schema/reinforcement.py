"""The section of a parameter file for reinforcement learning."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from metarfft_core.params.schema.kinds import Count, TaskIds, optional
from metarfft_core.params.schema.sections import Held


class Reinforcement(Held):
    """Reinforcement learning with trl's GRPO (the paper's Figure 7): its samples and settings.

    There is one training for each task, start and reward. A step generates `completions` answers:
    `group_size` for each of `prompts_per_step` prompts. Weights are fully trained, with AdamW.
    """

    tasks: TaskIds  # a part of corpus.adaptation.tasks
    # What a training starts from: the base model, or the RF-pretrained model of the same run.
    starts: list[Literal["base", "pretrained"]]
    # `outcome`: 1 for a right answer, else 0. `process`: the share of the trace before its first
    # false line. Both are measured in every training.
    rewards: list[Literal["outcome", "process"]]
    # What is asked: the question alone, the rule and the question, or these with an exemplar.
    prompt: Literal["direct", "rfft", "rfft_1shot"]
    evaluation: Held  # of the same tasks, evaluated along the training; not trained on
    engine: Literal["vllm", "transformers"]  # generates the answers; vllm needs a GPU
    # The share of a GPU's memory that vLLM takes beside the training.
    vllm_memory: Annotated[float, Field(gt=0, lt=1)] = optional(0.3)
    steps: Count  # optimizer steps
    prompts_per_step: Count  # over all devices together
    group_size: Annotated[int, Field(ge=2)]  # answers to each prompt of a step, compared in GRPO
    micro_batch_size: Count  # answers per device at once; divides those of a step
    max_completion_tokens: Count  # the longest answer of a step, its end token included
    learning_rate: Annotated[float, Field(gt=0, lt=1)]  # constant
    kl: Annotated[float, Field(ge=0)]  # the weight of the divergence from the start; 0 is without
    clip: Annotated[float, Field(gt=0, lt=1)]  # of the ratio of the new to the old probability
    temperature: Annotated[float, Field(gt=0)]  # of the answers of a step; evaluations are greedy
    max_grad_norm: Annotated[float, Field(gt=0)]  # a longer gradient is clipped to this norm
    evaluate_every: Count  # steps between two evaluations; divides steps
    save_every: Count  # steps between two checkpoints

    @property
    def completions(self) -> int:
        """The answers of a step."""
        return self.prompts_per_step * self.group_size

    @model_validator(mode="after")
    def _consistent(self):
        for key in ("starts", "rewards"):
            given = getattr(self, key)
            if not given or len(set(given)) < len(given):
                raise ValueError(f"{key}: expected at least one, without repeats, got {given}")
        if "process" in self.rewards and self.prompt == "direct":
            raise ValueError("rewards: process judges a trace of the rule, but a direct prompt "
                             "has no rule: set prompt to rfft or rfft_1shot")
        if self.completions % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} does not divide the "
                             f"{self.completions} answers of a step")
        if self.steps % self.evaluate_every:
            raise ValueError(f"evaluate_every {self.evaluate_every} does not divide steps "
                             f"{self.steps}, but the last step has to be evaluated")
        return self
