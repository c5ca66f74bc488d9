"""Reinforcement learning on the outcome, with trl's GRPOTrainer (the paper's Section on it).

The paper trains with PPO; trl has no PPO any more, and GRPO takes the same reward: 1 where the
final answer is right, else 0.
"""

from metarfft_core import corpus, scoring
from metarfft_core.params import Params


def reward(completions: list, gold_answer: list[str], **_) -> list[float]:
    """1.0 for each completion whose final answer is right, by the kit's own scoring, else 0.0.

    A completion is a text, or a conversation whose last message is the model's. `gold_answer` and
    what else trl passes are the columns of the data set, one value for each completion.
    """
    texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
    return [float(scoring.score(text, "stop", gold)[1] == "right")
            for text, gold in zip(texts, gold_answer, strict=True)]


def prompts(config: Params, format: str = "rfft", task: str | None = None,
            split: str = "adaptation"):
    """The prompts of a split of the corpus, as a `datasets.Dataset` for GRPOTrainer.

    Columns: prompt (a conversation of one user message, so that trl puts it into the model's chat
    template as the kit does), gold_answer (a Python literal), task, length, index. Raises
    ParamsError as `corpus.files` does.
    """
    from datasets import Dataset

    data = corpus.read(config, split, format, task)
    return Dataset.from_dict({
        "prompt": [[{"role": "user", "content": prompt}] for prompt in data["prompt"]],
        "gold_answer": data["answer"],
        **{name: data[name] for name in ("task", "length", "index")}})
