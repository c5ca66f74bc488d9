"""The prompts of a reinforcement learning, as trl's trainers take them."""

from random import Random
from typing import TYPE_CHECKING

from metarfft_core import corpus, models
from metarfft_core.params import Params, ParamsError
from metarfft_core.training.rl.arms import Arm

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = ("task", "length", "index")


def prompts(config: Params, format: str = "rfft", task: str | None = None,
            split: str = "adaptation") -> "Dataset":
    """The prompts of a split of the corpus, for GRPOTrainer.

    Args:
        config: The parameters of the run.
        format: The format of the samples.
        task: The task's id or name; all tasks if not given.
        split: The name of the split.

    Returns:
        A `datasets.Dataset` with the columns prompt (a conversation of one user message, so that
        trl applies the model's chat template as the kit does), gold_answer (a Python literal),
        task, length and index.

    Raises:
        ParamsError: As `corpus.files` does.
    """
    from datasets import Dataset

    data = corpus.read(config, split, format, task)
    return Dataset.from_dict({
        "prompt": [[{"role": "user", "content": prompt}] for prompt in data["prompt"]],
        "gold_answer": data["answer"], **{name: data[name] for name in COLUMNS}})


def of_arm(arm: Arm, tokenizer) -> "Dataset":
    """The prompts of a training, in the order of its steps; with their right completions.

    The order is a new permutation of all samples whenever they are used up. The seed alone decides
    it, so a resumed training continues with the same prompts.

    Raises:
        ParamsError: A prompt and the longest answer do not fit the model's context, or a right
            completion is longer than the longest answer.
    """
    settings = arm.settings
    data = _with_gold(arm, "rl")
    _check_sizes(arm, data, tokenizer)
    rng, order = Random(f"{arm.config.seed}/rl/{arm.task}"), []
    wanted = settings.steps * settings.prompts_per_step
    while len(order) < wanted:
        order += rng.sample(range(len(data)), len(data))
    return data.select(order[:wanted])


def held_out(arm: Arm) -> "Dataset":
    """The prompts of a training's evaluations, with their right completions."""
    return _with_gold(arm, "rl_evaluation")


def _with_gold(arm: Arm, split: str) -> "Dataset":
    data = prompts(arm.config, arm.format, arm.task, split)
    return data.add_column("gold", list(corpus.read(arm.config, split, arm.format,
                                                    arm.task)["completion"]))


def _check_sizes(arm: Arm, data: "Dataset", tokenizer) -> None:
    limit, context = arm.settings.max_completion_tokens, arm.config.model.context
    asked = [prompt[0]["content"] for prompt in data["prompt"]]
    longest = max(map(len, models.encode_prompts(tokenizer, asked)))
    if longest + limit > context:
        raise ParamsError(f"rl.max_completion_tokens: {limit} tokens and the {longest} of the "
                          f"longest prompt exceed model.context, {context}")
    gold = max(map(len, models.encode_completions(tokenizer, list(data["gold"]))))
    if gold > limit:
        raise ParamsError(f"rl.max_completion_tokens: the longest right completion takes {gold} "
                          f"tokens, so no answer to it is right within {limit}")
