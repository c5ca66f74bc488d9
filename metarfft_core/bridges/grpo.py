"""What trl's GRPOTrainer takes from a run: a reward function, and the prompts of a split.

The kit's own reinforcement learning (`metarfft train --stage rl`) is made of the same.
"""

from metarfft_core.training.rl.prompts import prompts
from metarfft_core.training.rl.rewards import outcome as reward

__all__ = ["prompts", "reward"]
