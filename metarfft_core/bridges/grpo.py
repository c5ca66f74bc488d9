"""Outcome-based reinforcement learning with trl's GRPOTrainer (the paper's section on it).

The paper trains with PPO, which trl no longer has. GRPO uses the same reward: 1 if the final answer
is right, else 0.
"""

from metarfft_core import corpus, scoring
from metarfft_core.params import Params


def reward(completions: list, gold_answer: list[str], **_) -> list[float]:
    """Reward completions: 1.0 if the kit's scoring calls the final answer right, else 0.0.

    Args:
        completions: Texts, or conversations whose last message is the model's.
        gold_answer: The column of the data set, one value per completion.
        **_: The other columns, which trl passes too.
    """
    texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
    return [float(scoring.score(text, "stop", gold)[1] == "right")
            for text, gold in zip(texts, gold_answer, strict=True)]


def prompts(config: Params, format: str = "rfft", task: str | None = None,
            split: str = "adaptation"):
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
        "gold_answer": data["answer"],
        **{name: data[name] for name in ("task", "length", "index")}})
